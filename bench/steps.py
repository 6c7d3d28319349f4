"""pegbox's training step: its own descent, one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bench.flops import causal, step
from bench.setting import LABEL, TEXT, VECTORS, Setting
from pegbox.data.rows import Rows
from pegbox.prompt import parse
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.deep import Deep
from pegbox.tune.descent import Descent, _Course
from pegbox.tune.place import Place
from pegbox.tune.schedule import Costs, Schedule
from pegbox.tune.soft import Soft
from pegbox.tune.standing import Standing
from pegbox.tune.trail import Trail

WRITTEN = r"Text: {text}\nLabel: [answer]"
STEPS = 1000
"""Of the descent that the measured steps belong to; only the learning rates depend on it."""


def stepper(setting: Setting, rows: Rows, place: Place, variants: int = 1) -> Callable[[int], None]:
    """What does one step over all these rows, for so many variants at once."""
    return _stepper(setting, rows, Soft(VECTORS, place, _schedule(rows, variants)))


def deep_stepper(setting: Setting, rows: Rows) -> Callable[[int], None]:
    """The same for keys and values after the text."""
    return _stepper(setting, rows, Deep(VECTORS, "after", schedule=_schedule(rows, 1)))


def _schedule(rows: Rows, variants: int) -> Schedule:
    return Schedule(learning_rates=tuple(0.04 + 0.01 * n for n in range(variants)), batch=len(rows))


def _stepper(setting: Setting, rows: Rows, method: Soft | Deep) -> Callable[[int], None]:
    descent = method.descent(parse(WRITTEN), setting.task, setting.backbone, np.random.default_rng(0), Trail(None))
    course = _course(descent, setting, rows)
    standing = Standing.begun(descent.start)

    def run(turn: int) -> None:  # noqa: ARG001  # every turn is one more step
        descent._step(standing, course)

    return run


def _course(descent: Descent, setting: Setting, rows: Rows) -> _Course:
    meter = Meter(Budget(tokens=10**12), setting.backbone, descent.trail)
    return descent.course(rows, rows, STEPS, Costs(0.0, 0.0, 0.0, 0.0), meter, seed=0)


def after_flops(setting: Setting, rows: Rows, variants: int = 1) -> float:
    """Of a step whose slot stands after texts that are kept: the slot and the words behind it, for each row."""
    new = VECTORS + setting.words(LABEL)
    runs = [(variants * new, causal(length, new)) for length in text_lengths(setting, rows)]
    return step(setting.decoder, runs, variants * len(rows))


def deep_flops(setting: Setting, rows: Rows) -> float:
    """Of a step whose keys and values stand after texts that are kept: the words behind them, for each row."""
    new = setting.words(LABEL)
    runs = [(new, causal(length + VECTORS, new)) for length in text_lengths(setting, rows)]
    return step(setting.decoder, runs, len(rows))


def first_flops(setting: Setting, rows: Rows) -> float:
    """Of a step whose slot stands first: the slot once, then each row's text and the words behind it."""
    lengths = [length + setting.words(LABEL) for length in text_lengths(setting, rows)]
    runs = [(VECTORS, causal(0, VECTORS)), *((length, causal(VECTORS, length)) for length in lengths)]
    return step(setting.decoder, runs, len(rows))


def bare_flops(setting: Setting, rows: Rows) -> float:
    """Of a step without a slot, for weights that are trained beside the frozen ones."""
    lengths = [length + setting.words(LABEL) for length in text_lengths(setting, rows)]
    return step(setting.decoder, [(length, causal(0, length)) for length in lengths], len(rows))


def text_lengths(setting: Setting, rows: Rows) -> Sequence[int]:
    """Tokens of each text with the word before it."""
    return [setting.words(TEXT + text) for text in rows.column()]
