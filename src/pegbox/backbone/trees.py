"""Rows that begin alike, folded into a tree: what several have in common is run once for all of them.

The words of a sentence that are asked about one by one share the sentence; the ways to several answers share the whole row. A
tree is one sequence in which every position looks back on the positions that lead to it, and stands as far from the beginning
as there are of them; so each row reads what it would read alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pegbox.backbone.engine import Engine, Head
from pegbox.backbone.layout import Ids
from pegbox.backbone.passes import SLACK, TOKENS, Row

LARGEST = 1024
"""Positions of a tree, beyond what two of its rows share: each of them is compared with every other."""
_WORTH = 0.75
"""Rows are folded where that leaves at most this share of their positions."""


@dataclass(frozen=True)
class Tree:
    """Runs of codes, folded.

    Settings:
        codes: of the T positions.
        parents: the position before each one; -1: none.
        paths: for each run the places of its positions.
    """

    codes: Ids
    parents: tuple[int, ...]
    paths: tuple[tuple[int, ...], ...]

    def depths(self) -> list[int]:
        """How many positions lead to each one."""
        found: list[int] = []
        for parent in self.parents:
            found.append(0 if parent < 0 else found[parent] + 1)
        return found

    def seen(self, width: int) -> torch.Tensor:
        """Which positions each one looks back on, itself included; padding sees itself. Shape: [width, width]."""
        found = np.eye(width, dtype=np.bool_)
        for at, parent in enumerate(self.parents):
            if parent >= 0:
                found[at] |= found[parent]
        return torch.from_numpy(found)


def fold(runs: Sequence[Ids]) -> Tree:
    """The tree of runs of codes."""
    codes: list[int] = []
    parents: list[int] = []
    known: dict[tuple[int, int], int] = {}
    paths = []
    for run in runs:
        at, path = -1, []
        for code in run:
            step = (at, code)
            if step not in known:
                known[step] = len(codes)
                codes.append(code)
                parents.append(at)
            at = known[step]
            path.append(at)
        paths.append(tuple(path))
    return Tree(tuple(codes), tuple(parents), tuple(paths))


def groves(rows: Sequence[Row]) -> list[list[int]]:
    """The rows by the tree that they are folded into; nothing where that saves too little, or joins no two of the rows asked.

    Rows go together that look back on the same, belong to one variant, and share half of the shorter one's codes.
    """
    by: dict[tuple[Head, int], list[int]] = {}
    for at, row in enumerate(rows):
        by.setdefault((row.head, row.variant), []).append(at)
    found: list[list[int]] = []
    left = 0
    for group in by.values():
        before: Ids = ()
        size = 0
        for at in sorted(group, key=lambda at: rows[at].codes):
            codes = rows[at].codes
            shared = _shared(before, codes)
            if 2 * shared < min(len(before), len(codes)) or not shared or size + len(codes) - 2 * shared > LARGEST:
                found.append([])
                shared = size = 0
            found[-1].append(at)
            size += len(codes) - shared
            left += len(codes) - shared
            before = codes
    joined = any(len({rows[at].at for at in some}) > 1 for some in found)
    return found if joined and left <= _WORTH * sum(len(row.codes) for row in rows) else []


def _shared(one: Ids, other: Ids) -> int:
    """With how many codes both begin."""
    same = zip(one, other, strict=False)
    return next((at for at, (mine, theirs) in enumerate(same) if mine != theirs), min(len(one), len(other)))


def tree_batches(trees: Sequence[Tree], tokens: int | None = TOKENS) -> list[list[int]]:
    """The trees of near size together, at most so many positions at once, of which few are padding.

    Settings:
        tokens: None: as many as there are.
    """
    found: list[list[int]] = [[]]
    real = 0
    for at in sorted(range(len(trees)), key=lambda at: len(trees[at].codes)):
        width = len(trees[at].codes)
        size, real = (len(found[-1]) + 1) * width, real + width
        if found[-1] and ((tokens is not None and size > tokens) or size - real > SLACK + real // 8):
            found.append([])
            real = width
        found[-1].append(at)
    return found


def read_folded(
    rows: Sequence[Row],
    together: Sequence[Sequence[int]],
    embeds: Callable[[Sequence[Ids], Sequence[int]], torch.Tensor],
    engine: Engine,
) -> list[torch.Tensor]:
    """Last hidden states of every row, from where its answer begins: with a gradient in passes as long as need be.

    Settings:
        together: as `groves` gives them.
        embeds: embeddings of runs of codes, each of a variant, padded on the right.

    Shape: for each row [T, H].
    """
    trees = [fold([rows[at].codes for at in some]) for some in together]
    found: dict[int, torch.Tensor] = {}
    for batch in tree_batches(trees, None if torch.is_grad_enabled() else TOKENS):
        some, firsts = [trees[at] for at in batch], [rows[together[at][0]] for at in batch]
        width = max(len(tree.codes) for tree in some)
        places = torch.tensor([[*tree.depths(), *[0] * (width - len(tree.codes))] for tree in some])
        seen = torch.stack([tree.seen(width) for tree in some])
        new = embeds([tree.codes for tree in some], [row.variant for row in firsts])
        hidden = engine.trees([row.head for row in firsts], new, places, seen, sum(len(tree.codes) for tree in some))
        for number, at in enumerate(batch):
            for row, path in zip(together[at], trees[at].paths, strict=True):
                found[row] = hidden[number, list(path[rows[row].read - 1 :])]
    return [found[at] for at in range(len(rows))]
