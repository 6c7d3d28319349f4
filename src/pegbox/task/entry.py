"""A task's entry in the registry: what the commands must know of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pegbox.data.rows import Data, Rows
from pegbox.prompt import Prompt
from pegbox.task.task import Task


@dataclass(frozen=True)
class Asked:
    """What a user said of the task.

    Settings:
        prompt: the written prompt; None: the task's own.
        words: for each label its word or words; None: the task's own.
        calibration: batch, contextual or none, for tasks that score labels.
        channel: noisy-channel scoring, for tasks that score labels.
    """

    prompt: Prompt | None = None
    words: Mapping[Any, str | Sequence[str]] | None = None
    calibration: str = "batch"
    channel: bool = False


@dataclass(frozen=True)
class Entry:
    """What commands must know of a task.

    Settings:
        task: its class.
        read: ``read(source, text, label, *, fields, test, dev, test_size, seed, encoding, on_problem, field_limit, quotes)``
            gives `Data`.
        rows: ``rows(source, text, label, labelled, *, fields, reading)`` gives rows and notes; a source may be Rows already.
        make: from training rows and what was asked, the task and the prompt to start from.
    """

    task: type[Task]
    read: Callable[..., Data]
    rows: Callable[..., tuple[Rows, tuple[str, ...]]]
    make: Callable[[Rows, Asked], tuple[Task, Prompt]]
