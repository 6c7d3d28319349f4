"""Multi-label classification: which of the labels a text has; any number of them, or none.

Methods tune it as a classification: a text with several labels stands among the training rows once with each, and one without
any with the label "none" of its own. So one pass over a text gives a share to every label, whatever their number, and every
method for classification works as it is. From which share on a label is given is then decided on the dev rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.label_sets import gold_of
from pegbox.data.rows import Rows
from pegbox.errors import DataError
from pegbox.metrics.label_sets import as_sets, label_counts, set_statistics, thresholds
from pegbox.prompt import Prompt
from pegbox.task.calibration import Method
from pegbox.task.classification import Classification
from pegbox.task.long import Long
from pegbox.task.predictor import PromptPredictor, told_of
from pegbox.task.task import Statistics, Task
from pegbox.task.verbalizer import own_words

LOOKED_AT = 64
"""Dev rows that steps are chosen by, at least, where there are so many."""

Labels = tuple[str, ...]
"""An output: a text's labels, in the task's order."""


@dataclass(frozen=True)
class LabelChoice(Classification):
    """The classification that a multi-label task is tuned as. Its rows keep all labels of their text as `Rows.gold`.

    Settings:
        sets: the labels, without the one for texts that have none.
    """

    sets: tuple[str, ...] = ()

    def strata(self, rows: Rows) -> list[list[int]]:
        """Where most rows have no label, these and the others: else a prompt first learns to give none."""
        labelled, bare = self._divided(rows)
        return [labelled, bare] if 0 < len(labelled) < len(bare) else [sorted([*labelled, *bare])]

    def looked_at(self, rows: Rows) -> Rows:
        """Where most rows have no label, the others and as many of these, evenly spread; LOOKED_AT in all at least."""
        labelled, bare = self._divided(rows)
        wanted = max(len(labelled), LOOKED_AT - len(labelled))
        if not labelled or len(bare) <= wanted:
            return rows
        spread = [bare[at * len(bare) // wanted] for at in range(wanted)]
        return rows.take(sorted([*labelled, *spread]))

    def _divided(self, rows: Rows) -> tuple[list[int], list[int]]:
        """Positions of the rows with a label, and of those without."""
        named = [label in self.sets for label in rows.answers()]
        return [at for at, yes in enumerate(named) if yes], [at for at, yes in enumerate(named) if not yes]


@dataclass(frozen=True)
class MultiLabel(Task):
    """Which labels a text has.

    Settings:
        labels: the C labels.
        words: for each label the words that stand for it, and for `none` those of no label; by default their own names.
        calibration: as in `Classification`.
        channel: likewise.
        long: likewise.
        none: what stands for no label at all; empty where every training row has one.

    Source: the transformation is "copy" of Tsoumakas and Katakis 2007, "Multi-Label Classification: An Overview"; thresholds
        for each label by F1 are the SCut of Yang 2001, "A Study of Thresholding Strategies", one for all where rows are few.
    """

    name: ClassVar[str] = "multilabel"
    measures: ClassVar[tuple[str, ...]] = (
        "macro_f1",
        "micro_f1",
        "micro_precision",
        "micro_recall",
        "exact_sets",
        "hamming_loss",
    )

    labels: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    calibration: Method = "batch"
    channel: bool = False
    long: Long = field(default_factory=Long)
    none: str = ""

    def __post_init__(self) -> None:
        known = (*self.labels, self.none) if self.none else self.labels
        words = {**own_words(known), **self.words}
        object.__setattr__(self, "words", {label: tuple(words[label]) for label in known} | dict(self.words))
        self.choice  # noqa: B018  # complains of labels and words that cannot be

    @cached_property
    def choice(self) -> LabelChoice:
        """The classification that methods tune."""
        known = (*self.labels, self.none) if self.none else self.labels
        return LabelChoice(known, self.words, self.calibration, self.channel, self.long, self.labels)

    def parted(self, rows: Rows) -> Rows:
        """Each row once for each of its labels; one that no training row was like, without any label, is left out."""
        found, labels = [], []
        for at, own in enumerate(self._known(rows)):
            for label in own or ([self.none] if self.none else []):
                found.append(at)
                labels.append(label)
        return replace(rows.take(found), labels=tuple(labels))

    def tuned_as(self, train: Rows, dev: Rows) -> tuple[LabelChoice, Rows, Rows]:
        return self.choice, self.parted(train), self.parted(dev)

    def predictor(self, prompt: Prompt, backbone: Backbone, train: Rows) -> SetPredictor:
        return SetPredictor(self, self.choice.predictor(prompt, backbone, self.parted(train)))

    def around(self, fitted: Any, backbone: Backbone, train: Rows) -> SetReference:  # noqa: ARG002
        return SetReference(self, fitted)

    def settled(self, predictor: Any, train: Rows, dev: Rows, say: Callable[[str], None]) -> Any:
        """The predictor with each label's threshold, chosen on the dev rows, and the rule for pooling pieces likewise."""
        task = self
        inner = self.choice.settled(predictor.inner, self.parted(train), self.parted(dev), say)
        if isinstance(inner, PromptPredictor):
            task = replace(self, long=inner.task.long)
        found = replace(predictor, task=task, inner=inner)
        cuts = thresholds(found.scores(dev), self.sets(dev))
        return replace(found, thresholds=tuple(float(cut) for cut in cuts))

    def sets(self, rows: Rows) -> NDArray[np.bool_]:
        """Which rows have which labels. Shape: [N, C]."""
        return as_sets(self._known(rows), self.labels)

    def _known(self, rows: Rows) -> Sequence[Sequence[str]]:
        gold = gold_of(rows)
        for number, own in zip(rows.numbers, gold, strict=True):
            if new := [label for label in own if label not in self.labels]:
                raise DataError(
                    f"{rows.source}, row {number} has the label {new[0]!r}",
                    f"some of {', '.join(self.labels)}",
                    "correct or drop the row",
                )
        return gold

    def statistics(self, outputs: Sequence[Any], rows: Rows) -> Statistics:
        return set_statistics(as_sets(outputs, self.labels), self.sets(rows))

    def breakdown(self, outputs: Sequence[Any], rows: Rows) -> Mapping[str, Statistics]:
        counts = label_counts(as_sets(outputs, self.labels), self.sets(rows))
        names = ("label_f1", "label_precision", "label_recall")
        return {label: dict.fromkeys(names, counts[:, at]) for at, label in enumerate(self.labels)}

    def show(self, output: Any) -> str:
        return ", ".join(output) or "(no label)"

    def plain(self, output: Any) -> Any:
        return list(output)

    def gold_texts(self, rows: Rows) -> list[str]:
        return [self.show(own) for own in self._known(rows)]

    def to_json(self) -> Mapping[str, Any]:
        words = {label: list(words) for label, words in self.words.items()}
        found = {"labels": list(self.labels), "words": words, "calibration": self.calibration, "channel": self.channel}
        return {**found, "long": asdict(self.long), "none": self.none}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        words = {label: tuple(some) for label, some in content["words"].items()}
        settings = (content["calibration"], bool(content["channel"]), Long(**content["long"]), str(content["none"]))
        return cls(tuple(content["labels"]), words, *settings)

    def restored(self, prompt: Prompt, backbone: Backbone, state: Mapping[str, Any]) -> SetPredictor:
        cuts = tuple(float(cut) for cut in state["thresholds"])
        if len(cuts) != len(self.labels):
            raise ValueError(f"{len(cuts)} thresholds for {len(self.labels)} labels")
        return SetPredictor(self, self.choice.restored(prompt, backbone, state), cuts)


@dataclass(frozen=True)
class SetReference:
    """A reference that gives each label a share, and the thresholds from which on a label is given.

    Settings:
        inner: what gives the shares.
        thresholds: one for each label; none: 0.5 for all.
    """

    task: MultiLabel
    inner: Any
    thresholds: tuple[float, ...] = ()

    @property
    def prompt(self) -> Prompt | None:
        found: Prompt | None = self.inner.prompt
        return found

    @property
    def parameters(self) -> int:
        return int(self.inner.parameters) + len(self.task.labels)

    @property
    def nbytes(self) -> int | None:
        return None if self.inner.nbytes is None else int(self.inner.nbytes) + 8 * len(self.task.labels)

    def scores(self, rows: Rows) -> NDArray[np.float32]:
        """Each label's share. Shape: [B, C]."""
        found: NDArray[np.float32] = self.inner.predict_proba(rows)[:, : len(self.task.labels)]
        return found

    def answers(self, rows: Rows) -> Sequence[Labels]:
        """Each row's labels."""
        return [tuple(own) for own in self.given(self.scores(rows))]

    def given(self, scores: NDArray[np.float32]) -> list[list[str]]:
        """The labels whose shares reach their thresholds; that of no label is left aside. Shape: [B, C or more]."""
        cuts = np.array(self.thresholds or [0.5] * len(self.task.labels))
        reached = scores[:, : len(cuts)] >= cuts
        return [[label for label, yes in zip(self.task.labels, row, strict=True) if yes] for row in reached]

    def told(self, rows: Rows, what: str) -> tuple[str, ...]:
        """See `pegbox.task.predictor.told_of`."""
        return told_of(self.inner, replace(rows, gold=None), what)


@dataclass(frozen=True)
class SetPredictor(SetReference):
    """A tuned prompt that gives each label a share, and the thresholds from which on a label is given."""

    inner: PromptPredictor

    @property
    def prompt(self) -> Prompt:
        return self.inner.prompt

    @property
    def backbone(self) -> Backbone:
        return self.inner.backbone

    def state(self) -> Mapping[str, Any]:
        """The calibration and the thresholds, as `MultiLabel.restored` reads them."""
        return {**self.inner.state(), "thresholds": list(self.thresholds or [0.5] * len(self.task.labels))}

    def request(self, rows: Rows) -> tuple[Prompt, Rows]:
        """See `pegbox.task.predictor.Requesting.request`."""
        return self.inner.request(rows)

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        """Positions of the rows whose texts are cut to fit into the model's context."""
        return self.inner.cut_rows(rows)
