"""The bars that the engine was asked to reach, each with what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import names as n
from bench.figures import Figure, find, size, times_faster

NO_BFLOAT16 = "this machine does not multiply bfloat16 faster than float32"


@dataclass(frozen=True)
class Bar:
    """One bar.

    Settings:
        text: what is compared.
        target: the number to reach.
        seen: the number seen; None where it was not measured.
        unit: how both are written: "x", "%", "s" or "" for a share.
        most: whether less is better, so that the target is the most allowed.
        note: what a reader should know.
    """

    text: str
    target: float
    seen: float | None
    unit: str = "x"
    most: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """Met, not met, or not measured."""
        if self.seen is None:
            return "not measured"
        return "met" if (self.seen <= self.target if self.most else self.seen >= self.target) else "NOT met"

    @property
    def wanted(self) -> str:
        """The target, as it is written."""
        return f"{'at most ' if self.most else ''}{self._written(self.target)}"

    @property
    def shown(self) -> str:
        """What was seen, as it is written."""
        return "" if self.seen is None else self._written(self.seen)

    def _written(self, value: float) -> str:
        return f"{100 * value:.0f} %" if self.unit == "%" else f"{size(value)} {self.unit}".rstrip()


def bars(figures: Sequence[Figure], rates: dict[str, float], measured: dict[str, float]) -> list[Bar]:
    """All of them.

    Settings:
        rates: GFLOP/s by number type.
        measured: numbers that are no times of contestants: memory, seconds of a cold start.
    """
    return [*_training(figures, rates), *_scoring(figures, _best(rates)), *_others(measured)]


def _best(rates: dict[str, float]) -> str:
    """The number type that pegbox would choose by itself here: the one with the higher rate."""
    return max(rates, key=lambda dtype: rates[dtype], default="float32")


def _against_peft(figures: Sequence[Figure], own: str, text: str, part: str, ours: str, targets: dict[str, float]) -> list[Bar]:
    found = []
    for dtype, target in targets.items():
        seen = times_faster(find(figures, part, ours, own), find(figures, part, n.PROMPT_TUNING, dtype))
        note = f"pegbox in {own}" if seen is not None and own != dtype else ""
        if dtype == "bfloat16" and own == "float32":
            same = times_faster(find(figures, part, ours, own), find(figures, part, n.PROMPT_TUNING, own))
            note = NO_BFLOAT16 + ("" if same is None else f"; {size(same)} x with both in float32")
        found.append(Bar(f"{text}, against PEFT prompt tuning in {dtype}", target, seen, note=note))
    return found


def _training(figures: Sequence[Figure], rates: dict[str, float]) -> list[Bar]:
    own = _best(rates)
    after = find(figures, n.SHORT, n.AFTER, own)
    share = None if after is None else after.share(rates.get(own))
    together = times_faster(find(figures, n.VARIANTS, n.TOGETHER, own), find(figures, n.VARIANTS, n.SINGLY, own))
    single = find(figures, n.VARIANTS, n.SINGLY, own)
    alone = None if single is None else single.share(rates.get(own))
    limit = f"in {own}" + ("" if alone is None else f"; 8 passes are at {100 * alone:.0f} % of the floor by themselves")
    step, deep = "training step, slot after cached text", "training step, keys and values after cached text"
    return [
        *_against_peft(figures, own, f"{step}, short texts", n.SHORT, n.AFTER, {"bfloat16": 6.0, "float32": 12.0}),
        *_against_peft(figures, own, f"{step}, 256-token texts", n.LONG, n.AFTER, {"bfloat16": 25.0}),
        *_against_peft(figures, own, f"{deep}, short texts", n.SHORT, n.DEEP, {"bfloat16": 6.0, "float32": 12.0}),
        *_against_peft(figures, own, f"{deep}, 256-token texts", n.LONG, n.DEEP, {"bfloat16": 25.0}),
        Bar("share of the floor, that step on short texts", 0.6, share, "%", note=f"in {own}"),
        *_against_peft(figures, own, "training step, slot first, short texts", n.SHORT, n.FIRST, {"bfloat16": 2.5}),
        Bar("8 variants in one pass against 8 passes, slot after the text", 1.2, together, note=limit),
    ]


def _scoring(figures: Sequence[Figure], own: str) -> list[Bar]:
    after, before = find(figures, n.SCORING, n.SCORE_COLD, own), find(figures, n.SCORING, n.SCORE_BEFORE, own)
    cold = f"in {own}; the texts' first reading counts"
    found = [
        Bar(f"candidates x rows a second, against {name}", 60.0, _times(after, figures, name, own), note=cold)
        for name in (n.PROMPTOLUTION, n.PROMPTOLUTION_CUT, n.DSPY)
    ]
    found.append(Bar("the same against the plain forward", 5.0, _times(after, figures, n.PLAIN_AFTER, own), note=cold))
    seen = _times(before, figures, n.PLAIN_BEFORE, own)
    return [*found, Bar("the same, candidates before the text, against the plain forward", 1.8, seen, note=f"in {own}")]


def _times(ours: Figure | None, figures: Sequence[Figure], name: str, dtype: str) -> float | None:
    return times_faster(ours, find(figures, n.SCORING, name, dtype))


def _others(measured: dict[str, float]) -> list[Bar]:
    apart = "by itself: python -m bench.time_to_accuracy"
    share = measured["memory pegbox"] / measured["memory peft"] if "memory peft" in measured else None
    return [
        Bar("time to the dev accuracy that PEFT reaches in 200 steps", 10.0, None, note=apart),
        Bar(
            "peak memory of a tuning run, as a share of PEFT's",
            0.6,
            share,
            "",
            most=True,
            note="interpreter and libraries count",
        ),
        Bar("cold `pegbox predict` of one row, weights in cache", 4.0, measured.get("cold predict"), "s", most=True),
    ]
