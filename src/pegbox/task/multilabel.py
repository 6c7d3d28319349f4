"""Multi-label classification as the commands see it: how its data are read, its task made, its prompt written."""

from __future__ import annotations

from pegbox.data.label_sets import gold_of, label_set_rows, labels_of, read_label_sets
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.task.classify import default_prompt
from pegbox.task.entry import Asked, Entry
from pegbox.task.many_labels import MultiLabel

NONE = ("none", "no label", "nothing")
"""Names for no label at all; the first that is no label."""


def make(train: Rows, asked: Asked) -> tuple[MultiLabel, Prompt]:
    """The task that the rows describe, and the written prompt to start from."""
    labels = labels_of(train)
    folded = {label.casefold() for label in labels}
    none = "" if all(gold_of(train)) else next(name for name in NONE if name not in folded)
    words = {str(label): (some,) if isinstance(some, str) else tuple(some) for label, some in (asked.words or {}).items()}
    task = MultiLabel(labels, words, asked.calibration, asked.channel, none=none)  # type: ignore[arg-type]  # checked there
    return task, asked.prompt or default_prompt(task.choice)


ENTRY = Entry(MultiLabel, read_label_sets, label_set_rows, make)
