"""The recommendation: what a comparison says, in plain words and with its reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pegbox.evaluate.lines import Line, Summary
from pegbox.evaluate.standing import ZERO_SHOT
from pegbox.evaluate.terms import Terms
from pegbox.evaluate.wording import counted, listed, milliseconds, p_phrase, points
from pegbox.metrics.ranking import APART, WIN

MAJORITY = "majority"
SIMPLICITY = {MAJORITY: 0, "tfidf": 1, ZERO_SHOT: 2, "few-shot": 3, "hard": 4, "probe": 5, "soft": 6, "hybrid": 6}
"""What to prefer among methods that cannot be told apart, by name or else by kind: smaller is simpler to keep and to serve."""
BASELINES = (MAJORITY, "tfidf", ZERO_SHOT, "few-shot", "probe")


@dataclass(frozen=True)
class Advice:
    """What to do under one circumstance."""

    topic: str
    text: str


@dataclass(frozen=True)
class Recommendation:
    """What to use, and why.

    Settings:
        use: the recommended method: the winner, or the simplest method that is about as good as the best.
        verdict: what won, or that nothing did.
        evidence: by how much, and whether it is real.
        choice: why `use` is what to use.
        advice: which to use where something else than the score rules.
        warnings: what a careful reader should know first.
    """

    use: str
    verdict: str
    evidence: str
    choice: str
    advice: tuple[Advice, ...]
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        first = " ".join(part for part in (self.verdict, self.evidence, self.choice) if part)
        return "\n".join([first, *self.warnings, *(f"{one.topic}: {one.text}" for one in self.advice)])


def recommend(summary: Summary, settings: Mapping[str, Any] | None = None) -> Recommendation:
    """The recommendation for a summary.

    Settings:
        settings: of the comparison; ``train_rows`` and ``model`` are used where they are there.
    """
    known = settings or {}
    use = _use(summary)
    return Recommendation(
        use=use.method,
        verdict=_verdict(summary),
        evidence=_evidence(summary),
        choice=_choice(summary, use),
        advice=(_readable(summary, known), _latency(summary), _few_labels(summary, known)),
        warnings=tuple(_warnings(summary)),
    )


def _rivals(summary: Summary) -> list[Line]:
    """All methods that are not the best or its equal, best first."""
    best = summary.best
    return [line for line in summary.methods[1:] if line.method not in best.same_as]


def _verdict(summary: Summary) -> str:
    best, rivals, terms = summary.best, _rivals(summary), Terms.of(summary)
    names, right = listed([best.method, *best.same_as]), terms.on_rows(best.main.value, summary.rows)
    if len(summary.methods) == 1:
        return f"Only {best.method} was run: {right}. There is nothing to compare it with."
    if not rivals:
        return f"No difference: {names} {terms.no_difference} ({right})."
    if summary.winner is not None:
        return f"{names} win together, {terms.alike}: {right}." if best.same_as else f"{names} wins: {right}."
    if all(line.group > 1 for line in rivals):
        return f"{names} {'are' if best.same_as else 'is'} ahead with {right}, but not surely enough to be called the winner."
    low, high = (pick(line.main.value for line in summary.top) for pick in (min, max))
    apart = f"cannot be told apart on {counted(summary.rows, 'test row')} ({terms.span(low, high)})"
    return f"Nothing wins: {listed([line.method for line in summary.top])} {apart}."


def _evidence(summary: Summary) -> str:
    best, rivals = summary.best, _rivals(summary)
    if not rivals:
        return f"The 95% interval is {Terms.of(summary).ends(best.main)}." if len(summary.methods) == 1 else ""
    near = min(rivals, key=lambda line: line.group)  # of the nearest group the most accurate
    far = f"{points(_lead(near))} ahead of" if _lead(near) else "level with"
    lead = f"{far} {near.method} ({_lead_range(near)}, {p_phrase(near.p_best or 0.0)} after correction)"
    if summary.winner is not None:
        others = ", and further ahead of the others" if len(rivals) > 1 else ""
        first = "They are" if best.same_as else "It is"
        return f"{first} {lead}{others}: a difference that chance does not explain.{_seed_clause(summary, near)}"
    if near.group > 1:
        need = f"to be called the winner it would need p < {WIN} against every other method."
        return f"{best.method} is {lead}; {need}{_seed_clause(summary, near)}"
    return f"{best.method} is {lead}, which may well be chance. {_power(summary)}".rstrip() + _seed_clause(summary, near)


def _power(summary: Summary) -> str:
    if not summary.detectable:
        return ""
    if summary.detectable > 1:
        return "With so few rows and seeds no difference at all is usually found."
    return f"Differences below about {points(summary.detectable)} are usually not found with this many rows and seeds."


def _lead(line: Line) -> float:
    return -line.behind.value if line.behind else 0.0


def _lead_range(line: Line) -> str:
    """The interval of the best method's lead over this one."""
    if line.behind is None:
        return ""
    low, high = (f"{-100 * end:.1f}" for end in (line.behind.high, line.behind.low))
    return f"95% interval {'0.0' if low == '-0.0' else low} to {'0.0' if high == '-0.0' else high}"


def _seed_clause(summary: Summary, near: Line) -> str:
    """Says what one seed of the best method or of its nearest rival cannot show."""
    once = [line.method for line in (summary.best, near) if line in summary.once]
    if not once:
        return ""
    return f" One seed was run of {listed(once)}: this speaks of what that seed gave, not of what another would give."


def _simplicity(line: Line) -> tuple[int, float]:
    """Smaller is simpler: by name or kind, then by the time to answer."""
    known = SIMPLICITY.get(line.method, SIMPLICITY.get(line.kind, len(SIMPLICITY)))
    return known, line.cost.predict_ms_1 or 0.0


def _use(summary: Summary) -> Line:
    """The simplest method whose score is within one standard error of the best one's.

    Source:
        Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3: the one-standard-error rule, here with the
        standard error of the difference. Only methods of the top group come into question.
    """
    near = [line for line in summary.top if _lead(line) <= (line.behind_error or 0.0)]
    return min(near, key=_simplicity)


def _choice(summary: Summary, use: Line) -> str:
    best = summary.best
    if len(summary.top) == 1:
        return ""
    if use.method in (best.method, *best.same_as) and (summary.winner is not None or not _rivals(summary)):
        return f"Use {use.method}, the simplest of them."
    if use is best:
        return f"Use {use.method}: nothing simpler comes within one standard error of it."
    enough = "The simple baseline is enough. " if use.method in BASELINES else ""
    most = Terms.of(summary).most
    return f"{enough}Use {use.method}: it is the simplest method within one standard error of {best.method}, {most}."


def _warnings(summary: Summary) -> list[str]:
    found = []
    top, prompted = summary.top, [line for line in summary.methods if line.prompted]
    if any(line.method == MAJORITY for line in top) and len(summary.methods) > 1:
        found.append(
            f"Nothing here is surely better than always giving {Terms.of(summary).commonest}: "
            "look at the labels before the prompts."
        )
    best = summary.best
    if prompted and not best.prompted and best.method != MAJORITY:
        found.append(_beaten(best, prompted[0]))
    tuned = [line for line in summary.methods if line.kind != "reference" and line.gain is not None]
    if tuned and not any((line.p_zero_shot or 0.0) < APART and line.gain and line.gain.value > 0 for line in tuned):
        base = summary.find(ZERO_SHOT)
        assert base is not None
        found.append(
            f"The simple baseline holds: no tuned prompt is surely better than the written one, "
            f"{Terms.of(summary).method(base)}; tuning bought nothing that these rows can show."
        )
    return found


def _beaten(best: Line, prompt: Line) -> str:
    lead = f"{points(_lead(prompt))} ahead of the best prompt, {prompt.method} ({_lead_range(prompt)})"
    if prompt.group == 1:
        return f"{best.method} uses no prompt and has the highest average, {lead}; the two cannot be told apart."
    said = f"A prompt is not the best tool here: {best.method}, which uses none, is {lead}."
    return f"{said} Use a prompt only for other reasons."


def _against_best(summary: Summary, line: Line) -> str:
    """How far a method is behind the best, and whether that is sure."""
    if line is summary.best:
        return f"which is also {Terms.of(summary).most}"
    if line.method in summary.best.same_as:
        return f"{Terms.of(summary).alike} as {summary.best.method}"
    sure = "told apart" if line.group > 1 else "not told apart"
    return f"{points(_lead(line))} behind {summary.best.method} ({_lead_range(line)}; {sure})"


def _readable(summary: Summary, settings: Mapping[str, Any]) -> Advice:
    topic = "If people must read the prompt, or only an API can be reached"
    readable = [line for line in summary.methods if line.readable and line.prompted]
    if not readable:
        return Advice(topic, "no method here has a prompt of words alone; compare search or few-shot too.")
    line = readable[0]
    where = f"on {settings['model']}" if settings.get("model") else "on this model"
    return Advice(
        topic,
        f"use {Terms.of(summary).method(line)}, {_against_best(summary, line)}. Its prompt is all words. Its score was "
        f"measured {where} and need not hold behind another model: measure there again.",
    )


def _latency(summary: Summary) -> Advice:
    topic = "If latency rules"
    timed = [line for line in summary.methods if line.cost.predict_ms_1 is not None and line.method != MAJORITY]
    if not timed:
        return Advice(topic, "prediction times were not measured, so this comparison cannot say.")
    fastest = min(timed, key=lambda line: line.cost.predict_ms_1 or 0.0)
    inside = [line for line in timed if line.group == 1]
    if not inside or fastest in inside:
        return Advice(
            topic, f"use {fastest.method}: {milliseconds(fastest.cost.predict_ms_1)} a row, {_against_best(summary, fastest)}."
        )
    quick = min(inside, key=lambda line: line.cost.predict_ms_1 or 0.0)
    among = "the best takes" if len(inside) == 1 else "the fastest of the top group takes"
    return Advice(
        topic,
        f"{among} {milliseconds(quick.cost.predict_ms_1)} a row ({quick.method}); {fastest.method} takes "
        f"{milliseconds(fastest.cost.predict_ms_1)} and is {_against_best(summary, fastest)}: that is the price of speed.",
    )


def _few_labels(summary: Summary, settings: Mapping[str, Any]) -> Advice:
    terms = Terms.of(summary)
    topic = "If labels are few" if terms.accurate else "If training rows are few"
    rows = settings.get("train_rows")
    many = counted(int(rows), terms.rows_that_teach) if rows else f"the same {terms.rows_that_teach}s"
    said = f"all methods here learned from {many}; how they do with fewer was not measured."
    base = summary.find(ZERO_SHOT)
    if base is not None:
        ahead = "" if base is summary.best else f", {_against_best(summary, base)}"
        needs = "no labels" if terms.accurate else "no tuning"
        said += f" {ZERO_SHOT} needs {needs} and reaches {terms.score(base.main.value)}{ahead}."
    spread = [line for line in summary.methods if line.seed_sd is not None and line.kind != "reference"]
    if len(spread) > 1:
        calm = min(spread, key=lambda line: line.seed_sd or 0.0)
        said += f" Over seeds, {calm.method} is the steadiest of the tuned prompts (sd {points(calm.seed_sd or 0.0)})."
    return Advice(topic, said)
