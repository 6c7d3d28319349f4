"""What every task is to those who tune, compare and serve; and what its predictors are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone
from pegbox.data.marks import row_marks
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.metrics.measures import measure, overall
from pegbox.prompt import Prompt, format

Statistics = Mapping[str, NDArray[np.float64]]
"""For each measure what every row contributes to its sums. Shape: [N, S]."""


class Answering(Protocol):
    """Anything that answers the rows of a task.

    Settings:
        prompt: the prompt behind it, in case there is one.
        parameters: numbers that tuning set.
        nbytes: bytes that must be kept besides the backbone; None where it was not worked out.
    """

    @property
    def prompt(self) -> Prompt | None: ...
    @property
    def parameters(self) -> int: ...
    @property
    def nbytes(self) -> int | None: ...
    def answers(self, rows: Rows) -> Sequence[Any]:
        """The task's own outputs, one for each row: labels' probabilities, spans, a text, a set of labels."""


class Prompted(Answering, Protocol):
    """One whose answers come of a tuned prompt, so that it can be kept as an artifact."""

    @property
    def task(self) -> Task: ...
    @property
    def backbone(self) -> Backbone: ...
    @property
    def prompt(self) -> Prompt: ...
    def state(self) -> Mapping[str, Any]:
        """What was fitted besides the prompt (calibration, thresholds), in JSON's own types; see `Task.restored`."""

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        """Positions of the rows whose texts are cut to fit into the model's context."""

    def request(self, rows: Rows) -> tuple[Prompt, Rows]:
        """The prompt and the rows as they are sent, from which the tokens of a request are counted."""


class Task(Protocol):
    """What is asked of a text, and how well it was answered. A frozen dataclass of settings.

    Tasks inherit from this one, and so get the parts below that have a body.

    Settings:
        name: as in the registry: classify, tag, generate, chat, multilabel.
        measures: names in `pegbox.metrics.measures`; the first is the main one, by which methods are ranked, tested and
            recommended. It is a share or the like: better when higher, shown times 100.
    """

    @property
    def name(self) -> str: ...
    @property
    def measures(self) -> tuple[str, ...]: ...

    def statistics(self, outputs: Sequence[Any], rows: Rows) -> Statistics:
        """What each row contributes to every measure. Raises DataError where rows have no right answers."""

    def breakdown(self, outputs: Sequence[Any], rows: Rows) -> Mapping[str, Statistics]:  # noqa: ARG002  # for tasks that have some
        """The same for each class or type there is, for the measures that make sense there; empty where there are none."""
        return {}

    def said(self, rows: Rows) -> tuple[str, ...]:  # noqa: ARG002  # for tasks that have something to say
        """What is to be said beside scores on these rows, such as how a measure was computed."""
        return ()

    def show(self, output: Any) -> str:
        """An output as a person reads it."""

    def plain(self, output: Any) -> Any:
        """An output in JSON's own types."""
        return output

    def gold_texts(self, rows: Rows) -> list[str]:
        """Each row's right answer as a person reads it. Raises DataError for a right answer that the task does not know."""

    def reads(self, prompt: Prompt) -> tuple[str, ...]:
        """The columns of rows that the prompt reads; not the fields that the task fills in itself."""
        return prompt.field_names

    def check(self, prompt: Prompt, *parts: Rows) -> None:
        """Raises PromptError where the prompt reads no field, and DataError where a row lacks one that it reads."""
        if not prompt.field_names:
            raise PromptError(
                f"a prompt that reads no text: {format(prompt)}", "at least one field", "say with {text} where it stands"
            )
        for rows in parts:
            for name in self.reads(prompt):
                rows.column(name)

    def inputs(self, prompt: Prompt, rows: Rows) -> list[str]:
        """Each row's text as a person reads it."""
        return [" | ".join(row[name] for name in self.reads(prompt)) for row in rows]

    def marks(self, prompt: Prompt, rows: Rows) -> list[str]:
        """A short digest of what is read of each row, by which rows that were there in tuning are known again."""
        return row_marks(Rows.from_texts(self.inputs(prompt, rows)), ("text",))

    def tuned_as(self, train: Rows, dev: Rows) -> tuple[Any, Rows, Rows]:
        """The task and the rows that methods tune on: for tagging, the classification of words."""
        return self, train, dev

    def predictor(self, prompt: Prompt, backbone: Backbone, train: Rows) -> Prompted:
        """What answers with a tuned prompt; whatever else it needs is fitted on the training rows."""

    def taught(self, prompt: Prompt, backbone: Backbone, train: Rows, say: Callable[[str], None]) -> Rows:  # noqa: ARG002
        """The rows of `tuned_as` as a prompt learns from them, for tasks that part long texts.

        Settings:
            say: takes what people should know.
        """
        return train

    def settled(self, predictor: Any, train: Rows, dev: Rows, say: Callable[[str], None]) -> Any:  # noqa: ARG002  # likewise
        """The predictor with what is chosen on the dev rows: thresholds, a rule for pooling.

        Settings:
            say: takes what people should know.
        """
        return predictor

    def around(self, fitted: Any, backbone: Backbone, train: Rows) -> Any:  # noqa: ARG002  # for tasks that wrap it
        """What answers with a reference that was fitted on what `tuned_as` gave."""
        return fitted

    def dev_score(self, predictor: Any, dev: Rows) -> float:
        """The main measure on the rows that were chosen on."""
        main = measure(self.measures[0])
        return overall(self.statistics(predictor.answers(dev), dev)[main.name], main)

    def to_json(self) -> Mapping[str, Any]:
        """The task's settings in JSON's own types."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The task that `to_json` wrote. Raises KeyError, TypeError or ValueError for anything else."""

    def restored(self, prompt: Prompt, backbone: Backbone, state: Mapping[str, Any]) -> Prompted:
        """The predictor of a saved prompt, with its `Prompted.state`."""
