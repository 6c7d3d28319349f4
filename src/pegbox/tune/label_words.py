"""Label words chosen from data, by the calibrated loss of rows that were read once.

All candidates are single tokens that differ from each other, so that a label's score is a sum over columns of one table of
log-probabilities. Reading a row once through the model therefore tells how it would score under every choice of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pegbox.task.calibration import Calibration, Method, fit_calibration
from pegbox.tune.lexicon import Columns, telling


@dataclass(frozen=True)
class Sheet:
    """Readings of rows with labels: what words are chosen by.

    Settings:
        logs: log-probabilities of a lexicon's words for each row.
        gold: the rows' labels.
        prior: the labels' shares that calibration aims at.
        method: how scores are calibrated.
        basis: for contextual calibration the readings of texts that say nothing.

    Shape: logs [N, M]; gold [N]; prior [C]; basis [N', M].
    """

    logs: NDArray[np.float64]
    gold: NDArray[np.int64]
    prior: NDArray[np.float64]
    method: Method = "batch"
    basis: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))

    def take(self, rows: NDArray[np.bool_]) -> Sheet:
        """The sheet of some rows."""
        return replace(self, logs=self.logs[rows], gold=self.gold[rows])

    def calibration(self, columns: Columns) -> Calibration:
        """The calibration fitted on these rows, for these words."""
        rows = self.basis if self.method == "contextual" else self.logs
        return fit_calibration(self.method, label_scores(rows, columns), list(self.prior))


def label_scores(logs: NDArray[np.float64], columns: Columns) -> NDArray[np.float64]:
    """Label log-probabilities; several words of one label share its place equally. Shape: [N, M] to [N, C]."""
    parts = [np.logaddexp.reduce(logs[:, list(some)], axis=1) - np.log(len(some)) for some in columns]
    return Calibration().apply(np.stack(parts, axis=1))


@dataclass(frozen=True)
class WordChoice:
    """How label words are chosen among a lexicon's: by the calibrated log loss of the rows read.

    Settings:
        most: words for one label, at most.
        options: candidates in all, shared out among the labels; at least 5 for each.
        price: nats, over all rows, that another word must gain.
        rounds: passes over the labels, at most.

    Source: the candidates by lift are in the spirit of LM-BFF (Gao et al. 2021, section 4.1) and PETAL (Schick et al. 2020); we
        differ in choosing all labels' words together, by coordinate descent on the calibrated loss.
    """

    most: int = 4
    options: int = 120
    price: float = 0.3
    rounds: int = 3

    def find(self, sheet: Sheet, start: Columns) -> Columns:
        """The words found for each label, going out from `start`. Some word is always left to every label."""
        chosen = [list(some) for some in start]
        options = self._options(sheet, start)
        loss = _loss(sheet, start)
        for _ in range(self.rounds):
            before = loss
            for label in range(len(chosen)):
                moves = self._moves(chosen, label, options[label])
                if not moves:
                    continue
                losses = _totals(sheet, chosen, label, moves)
                prices = self.price * np.array([len(move) - len(chosen[label]) for move in moves])
                best = int(np.argmin(losses + prices))
                if losses[best] + max(0.1 * self.price, prices[best]) < loss:
                    chosen[label], loss = moves[best], float(losses[best])
            if loss > before - 1e-3:
                break
        return tuple(tuple(some) for some in chosen)

    def _options(self, sheet: Sheet, start: Columns) -> list[list[int]]:
        """For each label the columns most telling of it, and those it starts with."""
        each = max(5, self.options // len(start))
        scores = telling(sheet.logs, sheet.gold, len(start))
        best = [[int(at) for at in np.argsort(-row, kind="stable")[:each]] for row in scores]
        return [list(dict.fromkeys([*some, *own])) for some, own in zip(best, start, strict=True)]

    def _moves(self, chosen: Sequence[Sequence[int]], label: int, options: Sequence[int]) -> list[list[int]]:
        taken = {at for other, some in enumerate(chosen) if other != label for at in some}
        mine = list(chosen[label])
        free = [at for at in options if at not in taken]
        moves = [[at] for at in free if [at] != mine]
        if len(mine) < self.most:
            moves += [[*mine, at] for at in free if at not in mine]
        if len(mine) > 1:
            moves += [[kept for kept in mine if kept != at] for at in mine]
        return moves


def _loss(sheet: Sheet, columns: Columns) -> float:
    """The calibrated log loss of all rows together."""
    logs = sheet.calibration(columns).apply(label_scores(sheet.logs, columns))
    return float(-logs[np.arange(len(sheet.gold)), sheet.gold].sum())


def _totals(sheet: Sheet, chosen: Sequence[Sequence[int]], label: int, moves: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """What `_loss` would be with each of the moves of one label, all at once.

    Only one label's score changes, so the softmax is taken apart into the others' share and its own. Shape: result [moves].
    """
    order = [other for other in range(len(chosen)) if other != label]
    others, mine = _weights(sheet.logs, chosen, order, moves)
    shares = np.ones(len(moves)), np.ones((len(moves), len(order)))
    if sheet.method != "none":
        near = _weights(sheet.basis, chosen, order, moves) if sheet.method == "contextual" else (others, mine)
        shares = _offsets(near[0], near[1], sheet.prior, label, order)
    below = others @ shares[1].T + mine * shares[0]
    is_mine = sheet.gold == label
    above = mine * shares[0]
    at = np.searchsorted(order, sheet.gold[~is_mine])
    above[~is_mine] = others[~is_mine, at][:, None] * shares[1][:, at].T
    return np.asarray(-(np.log(above) - np.log(below)).sum(axis=0))


def _weights(
    logs: NDArray[np.float64], chosen: Sequence[Sequence[int]], order: Sequence[int], moves: Sequence[Sequence[int]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unnormalised label probabilities: of the other labels [N, C - 1], and of the one label with each move [N, moves]."""
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    others = weights @ _means([chosen[other] for other in order], logs.shape[1])
    mine = weights @ _means(moves, logs.shape[1])
    return np.maximum(others, 1e-290), np.maximum(mine, 1e-290)


def _means(groups: Sequence[Sequence[int]], size: int) -> NDArray[np.float64]:
    """A matrix that takes the mean over each group of columns. Shape: [size, groups]."""
    found = np.zeros((size, len(groups)))
    for number, group in enumerate(groups):
        found[list(group), number] = 1 / len(group)
    return found


def _offsets(
    others: NDArray[np.float64], mine: NDArray[np.float64], prior: NDArray[np.float64], label: int, order: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Calibration's factors for the one label [moves] and for the others [moves, C - 1]."""
    inverse = 1 / (others.sum(axis=1, keepdims=True) + mine)
    share_mine = (mine * inverse).mean(axis=0)
    share_others = inverse.T @ others / len(others)
    return prior[label] / np.maximum(share_mine, 1e-12), prior[order] / np.maximum(share_others, 1e-12)


def held_out(sheet: Sheet, choice: WordChoice, start: Columns, folds: int = 4) -> NDArray[np.float64]:
    """Calibrated log-probabilities of the labels, each row's under words and calibration that were fitted without it.

    Shape: [N, C].
    """
    folds = max(1, min(folds, len(sheet.gold)))
    fold = np.arange(len(sheet.gold)) % folds
    found = np.zeros((len(sheet.gold), len(sheet.prior)))
    for number in range(folds):
        inside = sheet.take(fold != number) if folds > 1 else sheet
        columns = choice.find(inside, start)
        rows = fold == number
        found[rows] = inside.calibration(columns).apply(label_scores(sheet.logs[rows], columns))
    return found
