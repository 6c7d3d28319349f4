"""The registry of tasks: each by its name, imported when it is first asked for.

A new task is a module here with its `Task`, a reader in `pegbox.data`, measures in `pegbox.metrics` (with a line in
`pegbox.metrics.measures.HOMES`), and a line in `TASKS` below that leads to its `Entry`: the four things that commands must
know and that differ from task to task.

- How its data are read. `Entry.read` has the signature of `pegbox.data.read.read`, and takes what it needs of it: a CoNLL file
  names no columns, so its reader ignores `text` and `label` where they are None and refuses them otherwise. Rows hold what
  prompts read in `Rows.fields` (at least the columns asked for as `fields`), and right answers in `Rows.labels` where these are
  single labels, else in `Rows.gold`. `pegbox.data.read.parted` makes the parts of what was read.
- How single sets of rows are read, to be scored (`labelled`) or answered: `Entry.rows`.
- How the task is made of training rows, with the prompt that is tuned where the user writes none: `Entry.make`.
- What an artifact holds: `Entry.task` is the class, whose `from_json` reads the settings, and `restored` the predictor.

The task's settings that can be written as texts are set by name (`--task-set beams=4`), as methods' settings are.
Which methods can do it stands with the methods: `pegbox.recipe.methods`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from pegbox.errors import SettingsError
from pegbox.task.entry import Entry


def _classify() -> Entry:
    from pegbox.task.classify import ENTRY

    return ENTRY


def _multilabel() -> Entry:
    from pegbox.task.multilabel import ENTRY

    return ENTRY


def _tag() -> Entry:
    from pegbox.task.tag import ENTRY

    return ENTRY


def _generate() -> Entry:
    from pegbox.task.generate import ENTRY

    return ENTRY


def _chat() -> Entry:
    from pegbox.task.chat import ENTRY

    return ENTRY


TASKS: dict[str, tuple[str, Callable[[], Entry]]] = {
    "classify": ("one label for each text", _classify),
    "multilabel": ("any number of labels for each text", _multilabel),
    "tag": ("entities in each text: which words name what", _tag),
    "generate": ("a text written for each row, compared with references", _generate),
    "chat": ("the assistant's turns of conversations", _chat),
}
"""Each task's name, with a line for people and the way to its entry."""


def entry(name: str) -> Entry:
    """The task of this name. Raises SettingsError that names the nearest known one."""
    if name in TASKS:
        return TASKS[name][1]()
    near = difflib.get_close_matches(name, TASKS, 1)
    do = f"did you mean {near[0]!r}?" if near else "choose one of them"
    raise SettingsError(f"no task {name!r}", f"one of {', '.join(TASKS)}", do)
