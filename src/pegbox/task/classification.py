"""Classification: labels as words, scored on those words alone, trained on them or on all that the model could say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone, Bound, Choices, Live
from pegbox.data.marks import row_marks
from pegbox.data.rows import Rows
from pegbox.errors import DataError, SettingsError
from pegbox.prompt import Prompt
from pegbox.task import channel
from pegbox.task.calibration import CONTENT_FREE, METHODS, Calibration, Method, fit_calibration, some_rows
from pegbox.task.long import Long, Parted, pooled, spread
from pegbox.task.pooling import chosen
from pegbox.task.predictor import PromptPredictor
from pegbox.task.task import Statistics, Task
from pegbox.task.verbalizer import check_words, own_words

Over = Literal["labels", "vocabulary"]
"""What a loss compares the right label's word with: the other labels' words, or all that the model could say."""


@dataclass(frozen=True)
class Classification(Task):
    """Which label fits a text.

    Settings:
        labels: the C labels.
        words: for each label the words that stand for it; by default its own name. A prompt's own words come before these.
        calibration: "batch", "contextual" or "none"; one for all prompt methods.
        channel: score the text given the label instead of the label given the text (noisy channel).
        long: what is done with texts that are too long.
    """

    name: ClassVar[str] = "classify"
    chooses: ClassVar[bool] = True
    """Whether there are labels to choose from; a subclass may have texts of the rows' own instead."""
    measures: ClassVar[tuple[str, ...]] = ("accuracy",)

    labels: tuple[str, ...]
    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    calibration: Method = "batch"
    channel: bool = False
    long: Long = field(default_factory=Long)

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels) or len(self.labels) < 2:
            raise DataError(
                f"labels {', '.join(self.labels) or 'none'}", "at least two different labels", "check the label column"
            )
        if self.calibration not in METHODS:
            raise SettingsError(f"calibration {self.calibration!r}", f"one of {', '.join(METHODS)}", "choose one of them")
        object.__setattr__(self, "words", check_words(self.words or own_words(self.labels), self.labels))

    @classmethod
    def of(cls, rows: Rows, **settings: object) -> Classification:
        """The task that these rows' labels describe."""
        return replace(cls(rows.label_set()), **settings)  # type: ignore[arg-type]  # checked by __post_init__

    def words_in(self, prompt: Prompt) -> Mapping[str, tuple[str, ...]]:
        """The verbalizer in force: the prompt's own, or the task's."""
        return check_words(dict(prompt.answer.words), self.labels) if prompt.answer.words else self.words

    def asks(self, prompt: Prompt) -> str:
        """A plain instruction that names the labels, to start vectors from."""
        return f"Classify the text as {', '.join(words[0] for words in self.words_in(prompt).values())}."

    def shown(self, rows: Rows, index: Sequence[int], words: Sequence[str], cut: Callable[[str], str]) -> list[str]:  # noqa: ARG002
        """What stands for the answers of these rows where they are shown as examples.

        Settings:
            words: for each label.
            cut: shortens a text that is too long for an example.
        """
        gold = self.gold(rows)
        return [words[gold[at]] for at in index]

    def example(self, row: Mapping[str, str], names: Sequence[str], cut: Callable[[str], str]) -> dict[str, str]:
        """A row's fields of these names where it is shown as an example, shortened by `cut`."""
        return {name: cut(row[name]) for name in names}

    def strata(self, rows: Rows) -> list[list[int]]:
        """Positions of training rows in parts of which each batch of a descent has an equal share: here in one."""
        return [list(range(len(rows)))]

    def looked_at(self, rows: Rows) -> Rows:
        """The dev rows by which a descent goes: here all."""
        return rows

    def gold(self, rows: Rows) -> NDArray[np.int64]:
        """The rows' labels as numbers. Raises DataError for a label that the task does not know. Shape: [B]."""
        number = {label: at for at, label in enumerate(self.labels)}
        for row, label in zip(rows.numbers, rows.answers(), strict=True):
            if label not in number:
                raise DataError(
                    f"{rows.source}, row {row} has the label {label!r}",
                    f"one of {', '.join(self.labels)}",
                    "correct or drop the row",
                )
        return np.array([number[label] for label in rows.answers()], dtype=np.int64)

    def prior(self, rows: Rows) -> NDArray[np.float64]:
        """The labels' shares, with one more row of each so that none is 0. Shape: [C]."""
        counts = np.bincount(self.gold(rows), minlength=len(self.labels)) + 1.0
        shares: NDArray[np.float64] = counts / counts.sum()
        return shares

    def bind(self, prompt: Prompt, backbone: Backbone, rows: Rows, loss: Over = "labels") -> BoundClassification:
        """The prompt over these rows, ready to be scored and trained.

        Settings:
            loss: what `losses` compares the right label with. A noisy channel compares labels, whatever is said here.
        """
        return BoundClassification(self, prompt, backbone, rows, loss)

    def calibrate(self, prompt: Prompt, backbone: Backbone, train: Rows, prior: Sequence[float] | None = None) -> Calibration:
        """Fits the calibration on training rows; the test rows play no part.

        Settings:
            prior: the labels' shares, where `train` is only some of the training rows.
        """
        if self.calibration == "none":
            return Calibration()
        rows = some_rows(train) if self.calibration == "batch" else self._content_free(prompt)
        scores = self.bind(prompt, backbone, rows).log_probabilities()
        return fit_calibration(self.calibration, scores[0], list(self.prior(train) if prior is None else prior))

    def _content_free(self, prompt: Prompt) -> Rows:
        """Texts that say nothing. Where the text itself is scored, it cannot be nothing at all."""
        texts = [text for text in CONTENT_FREE if text or not self.channel]
        return Rows(tuple(dict.fromkeys(prompt.field_names, text) for text in texts), source="content-free texts")

    def predict_proba(self, prompt: Prompt, backbone: Backbone, rows: Rows, calibration: Calibration) -> NDArray[np.float32]:
        """Probabilities of the labels. Shape: [B, C], rows sum to 1."""
        return calibration.probabilities(self.bind(prompt, backbone, rows).log_probabilities()[0])

    def statistics(self, outputs: Sequence[Any], rows: Rows) -> Statistics:
        """Whether each row's likeliest label is the right one. Shape: outputs [B, C]."""
        right = np.asarray(outputs).argmax(1) == self.gold(rows)
        return {"accuracy": np.stack([right, np.ones(len(rows))], axis=1).astype(np.float64)}

    def show(self, output: Any) -> str:
        return self.labels[int(np.argmax(output))]

    def plain(self, output: Any) -> Any:
        return {label: float(p) for label, p in zip(self.labels, output, strict=True)}

    def marks(self, prompt: Prompt, rows: Rows) -> list[str]:
        return row_marks(rows, prompt.field_names)

    def gold_texts(self, rows: Rows) -> list[str]:
        return [self.labels[at] for at in self.gold(rows)]

    def predictor(self, prompt: Prompt, backbone: Backbone, train: Rows) -> PromptPredictor:
        return PromptPredictor(prompt, self, backbone, self.calibrate(prompt, backbone, train))

    def taught(self, prompt: Prompt, backbone: Backbone, train: Rows, say: Callable[[str], None]) -> Rows:
        """Of each text that is too long what is learned from: its head or tail, or one of its pieces, drawn by chance."""
        if self.long.plain or not len(train):
            return train
        parted = self._parted(prompt, backbone, train)
        if parted.cut:
            part = {"head": "their beginning", "tail": "their end", "chunks": "one piece of each"}[self.long.way]
            say(f"{len(parted.cut)} of {len(train)} training texts are too long: what is learned from is {part}")
        return parted.rows.take(parted.one_each())

    def _parted(self, prompt: Prompt, backbone: Backbone, rows: Rows) -> Parted:
        words = (word for some in self.words_in(prompt).values() for word in some)
        return self.long.parted(prompt, backbone, rows, words, 0.5 if self.channel else 1.0)

    def settled(self, predictor: Any, train: Rows, dev: Rows, say: Callable[[str], None]) -> Any:
        """The predictor with the rule for pooling pieces' scores that does best on the dev rows, where one is to be chosen."""
        if self.long.way != "chunks" or self.long.pool != "dev" or not isinstance(predictor, PromptPredictor):
            return predictor
        return chosen(predictor, train, dev, say)

    def dev_score(self, predictor: Any, dev: Rows) -> float:
        return float((predictor.predict_proba(dev).argmax(axis=1) == self.gold(dev)).mean())

    def to_json(self) -> Mapping[str, Any]:
        words = {label: list(words) for label, words in self.words.items()}
        found = {"labels": list(self.labels), "words": words, "channel": self.channel, "task_calibration": self.calibration}
        return found if self.long.plain else {**found, "long": asdict(self.long)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        words = {label: tuple(some) for label, some in content["words"].items()}
        long = Long(**content.get("long", {}))
        return cls(tuple(content["labels"]), words, content["task_calibration"], bool(content["channel"]), long)

    def restored(self, prompt: Prompt, backbone: Backbone, state: Mapping[str, Any]) -> PromptPredictor:
        found = state["calibration"]
        return PromptPredictor(prompt, self, backbone, Calibration(found["method"], tuple(found["offsets"])))


class BoundClassification:
    """A prompt over rows, scored label by label.

    Settings:
        gold: the rows' labels as numbers [B]; None for unlabelled rows.
    """

    def __init__(self, task: Classification, prompt: Prompt, backbone: Backbone, rows: Rows, loss: Over) -> None:
        words = task.words_in(prompt)
        self._counts = [len(words[label]) for label in task.labels]
        flat = tuple(word for label in task.labels for word in words[label])
        self.gold = None if rows.labels is None else torch.from_numpy(task.gold(rows))
        self.size = len(rows)
        self.long = task.long
        self.parted = None if task.long.plain else task._parted(prompt, backbone, rows)
        rows = rows if self.parted is None else self.parted.rows
        self._among_labels = task.channel or loss == "labels"
        self._bounds: tuple[Bound, ...]
        if task.channel:
            self._bounds = channel.bind(prompt, backbone, rows, flat)
        else:
            self._bounds = (backbone.bind(prompt, rows, Choices(flat, "choices" if self._among_labels else "vocabulary")),)

    @property
    def cut_rows(self) -> tuple[int, ...]:
        """Positions of rows of whose text something is not read: cut to the model's context, or to its head or tail."""
        cut = sorted({row for bound in self._bounds for row in bound.cut_rows})
        if self.parted is None:
            return tuple(cut)
        return tuple(sorted({*self.parted.owner(cut), *(() if self.long.way == "chunks" else self.parted.cut)}))

    def told(self, what: str) -> tuple[str, ...]:
        """What is to be said of texts that were too long.

        Settings:
            what: which texts, such as "test texts".
        """
        notes, cut = [], len(self.cut_rows)
        where = {"head": "beginning", "tail": "end"}.get(self.long.way)
        if cut and where and self.parted is not None:
            notes.append(f"of {cut} of {self.size} {what} the {where} was read, as they were too long")
        elif cut:
            notes.append(f"{cut} of {self.size} {what} were cut to the model's context")
        if self.long.way == "chunks" and self.parted is not None and (many := len(self.parted.cut)):
            pieces = len(self.parted.of(self.parted.cut))
            rule = "mean" if self.long.pool == "dev" else self.long.pool
            notes.append(f"{many} of {self.size} {what} were too long and read in {pieces} pieces, pooled by {rule}")
        return tuple(notes)

    def scores(self, index: Sequence[int], live: Live | None = None) -> torch.Tensor:
        """Label log-probabilities, before calibration; several words of one label share its place equally.

        Shape: [K, B, C], differentiable in live's vectors.
        """
        if self.parted is None:
            return self._labels(index, live).log_softmax(-1)
        sizes = [len(self.parted.spans[at]) for at in index]
        found = self._labels(self.parted.of(index), spread(live, sizes)).log_softmax(-1)
        return pooled(found, sizes, self.long.pool)

    @torch.no_grad()
    def pieces(self) -> tuple[torch.Tensor, list[int]]:
        """The pieces' label log-probabilities, and how many pieces each row has. Shape: [K, sum of sizes, C]."""
        assert self.parted is not None
        sizes = [len(span) for span in self.parted.spans]
        return self._labels(range(sum(sizes)), None).log_softmax(-1), sizes

    def _labels(self, index: Sequence[int], live: Live | None) -> torch.Tensor:
        """The labels' log-probabilities as the bounds give them. Shape: [K, B, C]."""
        words = torch.cat([bound.score(index, live) for bound in self._bounds], dim=-1)
        return join_words(words, self._counts)

    def losses(self, index: Sequence[int], live: Live | None = None) -> torch.Tensor:
        """Cross-entropy in nats, over the labels alone or the whole vocabulary, as bound. Shape: [K, B]."""
        if self.gold is None:
            raise DataError("a loss for rows without labels", "labelled rows", "name the label column")
        if not self._among_labels and max(self._counts) == 1:  # a share of the vocabulary needs no other label's words
            return -self._bounds[0].score(self._first(index), live, self.gold[list(index)].tolist())[..., 0]
        scores = self.scores(index, live) if self._among_labels else self._labels(self._first(index), live)
        gold = self.gold[list(index)].to(scores.device).expand(scores.shape[0], -1)
        return -scores.gather(-1, gold[..., None])[..., 0]

    def _first(self, index: Sequence[int]) -> list[int]:
        """Each row's first piece: rows that are learned from have one; see `Classification.taught`."""
        return list(index) if self.parted is None else [self.parted.spans[at][0] for at in index]

    @torch.no_grad()
    def log_probabilities(self, index: Sequence[int] | None = None, live: Live | None = None) -> NDArray[np.float32]:
        """Label log-probabilities of all rows or some, before calibration. Shape: [K, B, C]."""
        found = self.scores(range(self.size) if index is None else index, live)
        return found.cpu().numpy()


def join_words(words: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """The labels' log-probabilities from those of their words; several words of one label share its place equally.

    Settings:
        counts: how many words each label has.

    Shape: words [..., sum of counts]; result [..., C].
    """
    if words.shape[-1] == len(counts):
        return words
    parts = words.split(list(counts), dim=-1)
    return torch.stack([part.logsumexp(-1) - float(np.log(part.shape[-1])) for part in parts], dim=-1)
