"""The registry: every method by its name, one line each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pegbox.errors import SettingsError

Kind = Literal["reference", "hard", "soft", "hybrid"]

LABELLING = ("classify", "tag", "multilabel")
"""The tasks that are tuned as a classification: of texts, of words, of each label."""
ANY = (*LABELLING, "generate", "chat")
"""The same, and those whose answers are texts: for methods that need no more than losses."""
OF_TEXTS = ("classify", "multilabel")
"""Those of them that ask about whole texts."""


@dataclass(frozen=True)
class Method:
    """A method that can be asked for by name.

    Settings:
        name: as in tables and on the command line.
        kind: reference, hard, soft or hybrid.
        summary: one line.
        make: the method with its default settings: a `Tuner`, or a `Reference` where `predictor` is set.
        spends: whether it uses up its budget; the others are quick, and take more seeds in their stride.
        predictor: it returns no prompt but something else that predicts.
        tasks: the tasks that it can do.
        whole: it is handed the task itself, not what the task is tuned as.
        keeps: it needs a model that keeps what it has read: a causal one.
    """

    name: str
    kind: Kind
    summary: str
    make: Callable[[], Any]
    spends: bool = True
    predictor: bool = False
    tasks: tuple[str, ...] = LABELLING
    whole: bool = False
    keeps: bool = False


# The methods are imported where they are made, so that listing them takes no torch.


def _majority() -> Any:
    from pegbox.reference.majority import Majority

    return Majority()


def _tfidf() -> Any:
    from pegbox.reference.tfidf import TfIdf

    return TfIdf()


def _zero_shot() -> Any:
    from pegbox.tune.zero_shot import ZeroShot

    return ZeroShot()


def _few_shot() -> Any:
    from pegbox.tune.few_shot import FewShot

    return FewShot()


def _nearest() -> Any:
    from pegbox.reference.nearest import NearestExamples

    return NearestExamples()


def _mmr() -> Any:
    from pegbox.reference.nearest import NearestExamples

    return NearestExamples(choose="mmr")


def _probe() -> Any:
    from pegbox.reference.probe import Probe

    return Probe()


def _lora() -> Any:
    from pegbox.reference.lora import Lora

    return Lora()


def _search() -> Any:
    from pegbox.tune.search import Search

    return Search()


def _tokens() -> Any:
    from pegbox.tune.tokens import Tokens

    return Tokens()


def _soft() -> Any:
    from pegbox.tune.soft import Soft

    return Soft()


def _soft_after() -> Any:
    from pegbox.tune.schedule import Schedule
    from pegbox.tune.soft import Soft

    return Soft(place="after", length=10, schedule=Schedule(learning_rates=(0.3, 1.0)))


def _residual() -> Any:
    from pegbox.tune.residual import Residual

    return Residual()


def _lowrank() -> Any:
    from pegbox.tune.lowrank import LowRank

    return LowRank()


def _deep() -> Any:
    from pegbox.tune.deep import Deep

    return Deep()


def _deep_after() -> Any:
    from pegbox.tune.deep import Deep
    from pegbox.tune.schedule import Schedule

    return Deep(place="after", schedule=Schedule(learning_rates=(0.02, 0.04), batch=16))


def _input() -> Any:
    from pegbox.tune.input_made import InputMade

    return InputMade()


def _hybrid() -> Any:
    from pegbox.tune.search import Search
    from pegbox.tune.soft import Soft
    from pegbox.tune.then import Then

    # Examples make every step of the vectors dearer, and several words for a label are harder for them to learn.
    return Then(Search(shots=(), words=1), Soft(), share=0.15)


def _hybrid_after() -> Any:
    from pegbox.tune.search import Search
    from pegbox.tune.then import Then

    return Then(Search(shots=(), words=1), _deep_after(), share=0.15)


def _word_majority() -> Any:
    from pegbox.reference.word_majority import WordMajority

    return WordMajority()


def _word_probe() -> Any:
    from pegbox.reference.word_probe import WordProbe

    return WordProbe()


def _crf() -> Any:
    from pegbox.reference.crf import Crf

    return Crf()


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("majority", "reference", "the commonest label, always", _majority, spends=False, predictor=True, tasks=OF_TEXTS),
        Method(
            "tfidf",
            "reference",
            "logistic regression on word counts, without the model",
            _tfidf,
            spends=False,
            predictor=True,
            tasks=OF_TEXTS,
        ),
        Method("zero-shot", "reference", "the written prompt as it is", _zero_shot, spends=False, tasks=ANY),
        Method("few-shot", "reference", "the written prompt with examples drawn from the training rows", _few_shot, tasks=ANY),
        Method(
            "few-shot-nearest",
            "reference",
            "for each text the training rows nearest to it as examples",
            _nearest,
            predictor=True,
            tasks=OF_TEXTS,
        ),
        Method("few-shot-mmr", "reference", "the same, near but unlike each other", _mmr, predictor=True, tasks=OF_TEXTS),
        Method(
            "probe",
            "reference",
            "logistic regression on the frozen model's features",
            _probe,
            spends=False,
            predictor=True,
            tasks=OF_TEXTS,
        ),
        Method(
            "crf",
            "reference",
            "a conditional random field over words' letters, without the model",
            _crf,
            spends=False,
            predictor=True,
            tasks=("tag",),
            whole=True,
        ),
        Method("lora", "reference", "low-rank changes to the model's weights, through PEFT", _lora, predictor=True, tasks=ANY),
        Method(
            "search", "hard", "templates, label words, examples and phrase edits, raced on training rows", _search, tasks=ANY
        ),
        Method("tokens", "hard", "words swapped under the guidance of the task's gradient", _tokens),
        Method("soft", "soft", "the words before the text turned into vectors, and these learned", _soft, tasks=ANY),
        Method("soft-after", "soft", "learned vectors after the text, whose reading is then kept", _soft_after, tasks=ANY),
        Method(
            "residual", "soft", "learned vectors through a small residual network, dropped after tuning", _residual, tasks=ANY
        ),
        Method("lowrank", "soft", "learned vectors, few numbers each, through a fixed random projection", _lowrank, tasks=ANY),
        Method(
            "deep",
            "soft",
            "keys and values in every layer, begun as those of the words before the text",
            _deep,
            tasks=ANY,
            keeps=True,
        ),
        Method(
            "deep-after",
            "soft",
            "keys and values in every layer after the text, whose reading is then kept",
            _deep_after,
            tasks=ANY,
            keeps=True,
        ),
        Method("input", "soft", "vectors that a small learned network makes for each text from its words", _input, tasks=ANY),
        Method(
            "hybrid",
            "hybrid",
            "words searched first, then those before the text turned into vectors and learned on",
            _hybrid,
            tasks=ANY,
        ),
        Method(
            "hybrid-after",
            "hybrid",
            "words searched first, then keys and values in every layer learned after the text",
            _hybrid_after,
            tasks=ANY,
            keeps=True,
        ),
    )
}


OWN: dict[str, dict[str, Method]] = {
    "tag": {
        method.name: method
        for method in (
            Method("majority", "reference", "the type that a word mostly has", _word_majority, False, True, ("tag",), True),
            Method(
                "probe",
                "reference",
                "logistic regression on the words' frozen features",
                _word_probe,
                False,
                True,
                ("tag",),
                True,
            ),
        )
    }
}
"""By task, the methods that are made otherwise for it."""


def able(task: str) -> dict[str, Method]:
    """The methods that can do a task, as they are made for it, by name."""
    return {
        name: OWN.get(task, {}).get(name, one)
        for name, one in METHODS.items()
        if task in one.tasks or name in OWN.get(task, {})
    }


DEFAULTS = ("majority", "tfidf", "zero-shot", "few-shot", "probe", "search", "soft", "deep-after", "hybrid-after", "lora")
"""What a comparison compares unless it is told: the main method of each kind, and what they have to beat."""

TASK_DEFAULTS: dict[str, tuple[str, ...]] = {
    "tag": ("majority", "zero-shot", "few-shot", "probe", "search", "soft", "deep", "hybrid", "lora"),
}
"""The same for tasks where other methods matter; the rest compare those of `DEFAULTS` that can do them."""


_INSTEAD = {"hybrid-after": "hybrid"}
"""For models that do not keep what they have read."""


def defaults(task: str, keeps: bool = True) -> tuple[str, ...]:
    """What a comparison of this task compares unless it is told.

    Settings:
        keeps: the model keeps what it has read, as causal ones do.
    """
    found = TASK_DEFAULTS.get(task) or tuple(name for name in DEFAULTS if task in METHODS[name].tasks)
    if keeps:
        return found
    return tuple(name for name in dict.fromkeys(_INSTEAD.get(name, name) for name in found) if not METHODS[name].keeps)


def for_task(name: str, task: str) -> Method:
    """The method of this name. Raises SettingsError where it cannot do the task."""
    if own := OWN.get(task, {}).get(name):
        return own
    found = method(name)
    if task not in found.tasks:
        able = [one.name for one in METHODS.values() if task in one.tasks or one.name in OWN.get(task, {})]
        raise SettingsError(f"{name} for --task {task}", f"one of {', '.join(able) or 'none yet'}", "choose another method")
    return found


def method(name: str) -> Method:
    """The method of this name. Raises SettingsError that names the nearest known one."""
    if name in METHODS:
        return METHODS[name]
    import difflib

    near = difflib.get_close_matches(name, METHODS, 1)
    raise SettingsError(
        f"no method {name!r}", f"one of {', '.join(METHODS)}", f"did you mean {near[0]!r}?" if near else "see `pegbox methods`"
    )
