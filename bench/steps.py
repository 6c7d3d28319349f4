"""pegbox's training step: its own descent, one step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bench.flops import causal, step
from bench.setting import LABEL, TEXT, VECTORS, Setting
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt, parse
from pegbox.tune.budget import Budget, Meter
from pegbox.tune.descent import Descent, Vectors, _Course
from pegbox.tune.place import Place, with_soft_slots
from pegbox.tune.schedule import Costs, Schedule
from pegbox.tune.standing import Parameters, Standing
from pegbox.tune.start import root_mean_square, start_vectors
from pegbox.tune.trail import Trail

WRITTEN = r"Text: {text}\nLabel: [answer]"
STEPS = 1000
"""Of the descent that the measured steps belong to; only the learning rates depend on it."""


def stepper(setting: Setting, rows: Rows, place: Place, variants: int = 1) -> Callable[[int], None]:
    """What does one step over all these rows, for so many variants at once."""
    written = parse(WRITTEN)
    descent = _descent(setting, written, with_soft_slots(written, place, VECTORS), len(rows), variants)
    course = _course(descent, setting, rows)
    standing = Standing.begun(descent.start)

    def run(turn: int) -> None:  # noqa: ARG001  # every turn is one more step
        descent._step(standing, course)

    return run


def _descent(setting: Setting, written: Prompt, placed: Prompt, batch: int, variants: int) -> Descent:
    """As `pegbox.tune.soft.Soft.tune` makes it."""
    starts = start_vectors(placed, setting.backbone, setting.task, variants)
    scale = root_mean_square(setting.backbone.vocabulary()[0])

    def make(parameters: Parameters) -> Vectors:
        return {name: starts[name][: len(moved)] + scale * moved for name, moved in parameters.items()}

    zero: Parameters = {name: vectors.new_zeros(vectors.shape) for name, vectors in starts.items()}
    schedule = Schedule(learning_rates=tuple(0.04 + 0.01 * n for n in range(variants)), batch=batch)
    return Descent(schedule, written, placed, zero, make, setting.task, setting.backbone, Trail(None))


def _course(descent: Descent, setting: Setting, rows: Rows) -> _Course:
    bound = setting.task.bind(descent.prompt, setting.backbone, rows, descent.schedule.loss)
    meter = Meter(Budget(tokens=10**12), setting.backbone, descent.trail)
    return _Course(STEPS, Costs(0.0, 0.0, 0.0, 0.0), bound, descent._lengths(rows), bound, meter, seed=0)


def after_flops(setting: Setting, rows: Rows, variants: int = 1) -> float:
    """Of a step whose slot stands after texts that are kept: the slot and the words behind it, for each row."""
    new = VECTORS + setting.words(LABEL)
    runs = [(variants * new, causal(length, new)) for length in text_lengths(setting, rows)]
    return step(setting.decoder, runs, variants * len(rows))


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
