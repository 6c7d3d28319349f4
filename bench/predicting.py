"""Prediction with a tuned soft prompt, row by row and 32 rows at once, on texts that nobody has read before."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from bench import names, plain, texts
from bench.figures import Figure
from bench.flops import causal
from bench.setting import LABEL, TEXT, VECTORS, Setting
from bench.steps import WRITTEN
from bench.turns import Contestant, take_turns
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt, parse
from pegbox.task.predictor import PromptPredictor
from pegbox.tune.place import with_soft_slots
from pegbox.tune.start import start_vectors

SINGLE = 8
"""Rows of a turn that are asked about one by one."""


def prediction(setting: Setting) -> list[Figure]:
    """Both ways."""
    rows = texts.short_rows(setting.backbone, plain.AT_ONCE * (setting.repeats + 1))
    return [*_part(setting, names.PREDICTION, rows, SINGLE, 1), *_part(setting, names.PREDICTION_32, rows, 32, 32)]


def _part(setting: Setting, part: str, rows: Rows, count: int, at_once: int) -> list[Figure]:
    """Each turn has `count` rows of its own, asked about `at_once` at a time."""
    written = parse(WRITTEN)
    tuned, vectors = _filled(setting, written)
    everybody = [
        _ours(setting, names.WITH_VECTORS, tuned, rows, count, at_once),
        _plain(setting, names.PLAIN_VECTORS, vectors, rows, count, at_once),
        _ours(setting, names.WITHOUT_VECTORS, written, rows, count, at_once),
        _plain(setting, names.PLAIN_NOTHING, None, rows, count, at_once),
    ]
    return take_turns(part, "row", setting.dtype, everybody, setting.repeats)


def _filled(setting: Setting, written: Prompt) -> tuple[Prompt, torch.Tensor]:
    """A prompt with 20 vectors in front; which ones makes no difference here."""
    placed = with_soft_slots(written, "first", VECTORS)
    (name, vectors), *_ = start_vectors(placed, setting.backbone, setting.task, 1).items()
    return placed.fill(**{name: vectors[0].numpy()}), vectors[0]


def _ours(setting: Setting, name: str, prompt: Prompt, rows: Rows, count: int, at_once: int) -> Contestant:
    predictor = PromptPredictor(prompt, setting.task, setting.backbone)

    def run(turn: int) -> None:
        for some in _portions(turn, count, at_once):
            predictor.predict_proba(rows.take(some))

    return Contestant(name, run, count, _flops(setting, rows, count, VECTORS if prompt.slots else 0))


def _plain(setting: Setting, name: str, vectors: torch.Tensor | None, rows: Rows, count: int, at_once: int) -> Contestant:
    def run(turn: int) -> None:
        for some in _portions(turn, count, at_once):
            prompts = [f"{TEXT}{text}{LABEL}" for text in rows.take(some).column()]
            plain.label_shares(setting, prompts if vectors is None else [f"\n{text}" for text in prompts], vectors)

    return Contestant(name, run, count, _flops(setting, rows, count, 0 if vectors is None else VECTORS))


def _portions(turn: int, count: int, at_once: int) -> Sequence[Sequence[int]]:
    first = (turn + 1) * plain.AT_ONCE
    return [range(at, at + at_once) for at in range(first, first + count, at_once)]


def _flops(setting: Setting, rows: Rows, count: int, before: int) -> float:
    """Of a turn on average; what stands before the text is kept from one request to the next."""
    lengths = [setting.words(f"{TEXT}{text}{LABEL}") for text in rows.column()]
    whole = sum(setting.decoder.forward(length, causal(before, length)) for length in lengths)
    return whole / len(rows) * count
