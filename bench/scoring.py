"""Scoring candidate prompts on rows: candidates x rows a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from bench import names, plain, texts
from bench.figures import Figure
from bench.flops import causal
from bench.setting import LABEL, TEXT, WORDS, Setting
from bench.turns import Contestant, take_turns
from bench.writing import DspyScorer, PromptolutionScorer
from pegbox.backbone.seam import Bound, Choices
from pegbox.data.rows import Rows
from pegbox.prompt import parse

AFTER = r"Text: {text}\n[hard slot]\nLabel: [answer]"
BEFORE = r"[hard slot]\nText: {text}\nLabel: [answer]"

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Sizes:
    """How many candidates on how many rows each scores; the slow ones get fewer, and their rate is what counts."""

    ours: tuple[int, int] = (16, 256)
    before: tuple[int, int] = (4, 256)
    plain: tuple[int, int] = (4, 64)
    cut: tuple[int, int] = (2, 32)
    slow: tuple[int, int] = (1, 16)


def scoring(setting: Setting, sizes: Sizes) -> list[Figure]:
    """All of them, in turns."""
    rows = texts.short_rows(setting.backbone, sizes.ours[1])
    ids = texts.candidates(setting.backbone, sizes.ours[0])
    everybody = [
        *_ours(setting, rows, ids, ids[: sizes.before[0]]),
        *_plain(setting, rows, ids, sizes.plain),
        *_writers(setting, rows, ids, sizes),
    ]
    return take_turns(names.SCORING, "candidate on a row", setting.dtype, everybody, setting.repeats)


def _ours(setting: Setting, rows: Rows, ids: Sequence[Ids], few: Sequence[Ids]) -> list[Contestant]:
    """Settings: few: candidates that stand before the text."""
    warm, cold = (_after_flops(setting, rows, ids, read) for read in (False, True))
    before, forget = _before_flops(setting, rows, few), setting.backbone.forget
    count, size, note = len(ids) * len(rows), len(few) * len(rows), f"{len(ids)} x {len(rows)}"
    return [
        Contestant(names.SCORE_COLD, _scorer(setting, AFTER, rows, ids), count, cold, note, ready=forget),
        Contestant(names.SCORE_WARM, _scorer(setting, AFTER, rows, ids), count, warm, note),
        Contestant(
            names.SCORE_BEFORE, _scorer(setting, BEFORE, rows, few), size, before, f"{len(few)} x {len(rows)}", ready=forget
        ),
    ]


def _scorer(setting: Setting, notation: str, rows: Rows, ids: Sequence[Ids]) -> Callable[[int], object]:
    """Binds and scores, as a search does; the untimed turn has one candidate, which is enough to read all texts."""
    words = tuple(some[0] for some in WORDS.values())

    def run(turn: int) -> torch.Tensor:
        bound = setting.backbone.bind(parse(notation), rows, Choices(words))
        return _score(bound, len(rows), ids[:1] if turn < 0 else ids)

    return run


@torch.no_grad()
def _score(bound: Bound, rows: int, ids: Sequence[Ids]) -> torch.Tensor:
    return bound.score(range(rows), {"slot": ids})


def _after_flops(setting: Setting, rows: Rows, ids: Sequence[Ids], read: bool) -> float:
    lengths = [setting.words(TEXT + text) for text in rows.column()]
    new = len(ids[0]) + setting.words("\n") + setting.words(LABEL)
    model = setting.decoder
    tails = sum(model.forward(len(ids) * new, causal(length, new)) for length in lengths)
    return tails + (sum(model.forward(length, causal(0, length)) for length in lengths) if read else 0.0)


def _before_flops(setting: Setting, rows: Rows, ids: Sequence[Ids]) -> float:
    lengths = [setting.words(f"\n{TEXT}{text}{LABEL}") for text in rows.column()]
    first, model = len(ids[0]), setting.decoder
    stems = len(ids) * model.forward(first, causal(0, first))
    return stems + sum(model.forward(len(ids) * length, causal(first, length)) for length in lengths)


def _plain(setting: Setting, rows: Rows, ids: Sequence[Ids], size: tuple[int, int]) -> list[Contestant]:
    few, some = rows.take(range(min(size[1], len(rows)))), ids[: size[0]]
    told = [setting.backbone.decode(run) for run in some]
    after = [f"{TEXT}{text}\n{words}{LABEL}" for words in told for text in few.column()]
    before = [f"{words}\n{TEXT}{text}{LABEL}" for words in told for text in few.column()]
    note = _note(len(some), len(few))
    return [
        Contestant(names.PLAIN_AFTER, lambda _: plain.label_shares(setting, after), len(after), note=note),
        Contestant(names.PLAIN_BEFORE, lambda _: plain.label_shares(setting, before), len(before), note=note),
    ]


def _writers(setting: Setting, rows: Rows, ids: Sequence[Ids], sizes: Sizes) -> list[Contestant]:
    """Those who let the model write an answer and read the label out of it."""
    told = [setting.backbone.decode(run) for run in ids]

    def one(name: str, size: tuple[int, int], score: Callable[[list[str], Rows], object]) -> Contestant:
        some, few = told[: size[0]], rows.take(range(min(size[1], len(rows))))
        return Contestant(name, lambda _: score(some, few), len(some) * len(few), note=_note(len(some), len(few)))

    return [
        one(names.PROMPTOLUTION, sizes.slow, PromptolutionScorer(setting).score),
        one(names.PROMPTOLUTION_CUT, sizes.cut, PromptolutionScorer(setting, most=8).score),
        one(names.DSPY, sizes.slow, DspyScorer(setting).score),
    ]


def _note(candidates: int, rows: int) -> str:
    return f"{candidates} x {rows}"
