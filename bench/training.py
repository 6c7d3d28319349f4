"""Training steps of 16 rows with 20 vectors: pegbox and PEFT on the same texts."""

from __future__ import annotations

from bench import names, peers, steps, texts
from bench.figures import Figure
from bench.setting import BATCH, Setting
from bench.turns import Contestant, take_turns
from pegbox.data.rows import Rows

VARIANTS = 8
_TURN = 1.0
"""Seconds of steps at a time."""


def short(setting: Setting) -> list[Figure]:
    """Tweets of about 25 tokens."""
    return _beside(setting, names.SHORT, texts.short_rows(setting.backbone, BATCH))


def long(setting: Setting) -> list[Figure]:
    """Texts of 256 tokens."""
    return _beside(setting, names.LONG, texts.long_rows(setting.backbone, BATCH))


def _beside(setting: Setting, part: str, rows: Rows) -> list[Figure]:
    after, first = steps.stepper(setting, rows, "after"), steps.stepper(setting, rows, "first")
    read = "texts read before the first timed step"
    own = [
        Contestant(names.AFTER, after, flops=steps.after_flops(setting, rows), note=read),
        Contestant(names.DEEP, steps.deep_stepper(setting, rows), flops=steps.deep_flops(setting, rows), note=read),
        Contestant(names.FIRST, first, flops=steps.first_flops(setting, rows)),
    ]
    return take_turns(part, "step", setting.dtype, [*own, *_peers(setting, rows)], setting.repeats, _TURN)


def _peers(setting: Setting, rows: Rows) -> list[Contestant]:
    batch, slot, bare = peers.padded(setting, rows), steps.first_flops(setting, rows), steps.bare_flops(setting, rows)
    return [
        Contestant(
            name, peers.stepper(setting, batch, config), flops=slot if name in (names.PROMPT_TUNING, names.P_TUNING) else bare
        )
        for name, config in peers.configurations().items()
    ]


def variants(setting: Setting) -> list[Figure]:
    """8 learning rates in one pass, and one after the other."""
    rows = texts.short_rows(setting.backbone, BATCH)
    together = steps.stepper(setting, rows, "after", VARIANTS)
    single = [steps.stepper(setting, rows, "after") for _ in range(VARIANTS)]
    flops = steps.after_flops(setting, rows, VARIANTS)

    def one_by_one(turn: int) -> None:
        for run in single:
            run(turn)

    both = [
        Contestant(names.TOGETHER, together, VARIANTS, flops),
        Contestant(names.SINGLY, one_by_one, VARIANTS, flops),
    ]
    return take_turns(names.VARIANTS, "step of one variant", setting.dtype, both, setting.repeats, _TURN)
