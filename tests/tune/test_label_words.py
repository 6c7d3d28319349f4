"""Label words chosen by the calibrated loss."""

import itertools

import numpy as np
import pytest

from pegbox.task.calibration import Method, fit_calibration
from pegbox.tune.label_words import Sheet, WordChoice, held_out, label_scores


def a_sheet(method: Method = "batch", rows: int = 40, labels: int = 3, words: int = 9, seed: int = 0) -> Sheet:
    rng = np.random.default_rng(seed)
    logs = np.log(rng.dirichlet(np.full(words, 0.5), rows))
    gold = rng.integers(labels, size=rows)
    basis = np.log(rng.dirichlet(np.ones(words), 3)) if method == "contextual" else np.zeros((0, 0))
    return Sheet(logs, gold, rng.dirichlet(np.full(labels, 5.0)), method, basis)


def loss(sheet: Sheet, columns: tuple[tuple[int, ...], ...]) -> float:
    """The total calibrated loss, by way of the task's own calibration."""
    scores = label_scores(sheet.logs, columns)
    near = label_scores(sheet.basis, columns) if sheet.method == "contextual" else scores
    logs = fit_calibration(sheet.method, near, list(sheet.prior)).apply(scores)
    return float(-logs[np.arange(len(sheet.gold)), sheet.gold].sum())


def test_label_scores_share_a_labels_place_equally_among_its_words() -> None:
    logs = np.log(np.array([[0.1, 0.3, 0.2, 0.4]]))
    found = np.exp(label_scores(logs, ((0, 1), (3,))))
    assert found == pytest.approx(np.array([[0.2 / 0.6, 0.4 / 0.6]]))


@pytest.mark.parametrize("method", ["batch", "contextual", "none"])
def test_one_word_for_each_label_is_the_best_single_change_at_every_turn(method: Method) -> None:
    """Without a price and with one word a label, no single change of one label improves the end result."""
    sheet = a_sheet(method)
    found = WordChoice(most=1, price=0.0, rounds=50).find(sheet, ((0,), (1,), (2,)))
    at_end = loss(sheet, found)
    assert at_end < loss(sheet, ((0,), (1,), (2,)))
    for label, column in itertools.product(range(3), range(9)):
        changed = tuple((column,) if number == label else some for number, some in enumerate(found))
        if len(set(changed)) == 3:
            assert loss(sheet, changed) > at_end - 1e-3


@pytest.mark.parametrize("method", ["batch", "contextual", "none"])
def test_more_words_are_taken_only_where_they_pay(method: Method) -> None:
    sheet = a_sheet(method, rows=60)
    cheap = WordChoice(most=3, price=0.0, rounds=50).find(sheet, ((0,), (1,), (2,)))
    dear = WordChoice(most=3, price=1e6, rounds=50).find(sheet, ((0,), (1,), (2,)))
    assert all(1 <= len(some) <= 3 for some in cheap)
    assert all(len(some) == 1 for some in dear)
    flat = [column for some in cheap for column in some]
    assert len(set(flat)) == len(flat)


def test_words_that_tell_the_labels_apart_are_found() -> None:
    rng = np.random.default_rng(1)
    gold = np.arange(60) % 2
    logs = rng.normal(size=(60, 12)) * 0.2
    logs[gold == 0, 7] += 3
    logs[gold == 1, 4] += 3
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    sheet = Sheet(logs, gold, np.array([0.5, 0.5]))
    assert WordChoice(most=1).find(sheet, ((0,), (1,))) == ((7,), (4,))


def test_held_out_scores_of_noise_are_no_better_than_chance() -> None:
    """On rows whose labels are noise the chosen words fit those rows, and held-out scores show that they tell nothing."""
    inside, outside = [], []
    for seed in range(6):
        sheet = a_sheet(rows=60, labels=2, words=30, seed=seed)
        sheet = Sheet(sheet.logs, sheet.gold, np.array([0.5, 0.5]))
        found = WordChoice().find(sheet, ((0,), (1,)))
        inside.append(loss(sheet, found) / 60)
        logs = held_out(sheet, WordChoice(), ((0,), (1,)))
        outside.append(-logs[np.arange(60), sheet.gold].mean())
        assert np.exp(logs).sum(axis=1) == pytest.approx(np.ones(60))
    assert np.mean(inside) < np.log(2) - 0.05
    assert np.mean(outside) > np.log(2) - 0.02


def test_held_out_rows_never_see_their_own_label() -> None:
    sheet = a_sheet(rows=24, labels=2, words=6)
    before = held_out(sheet, WordChoice(), ((0,), (1,)), folds=4)
    other = sheet.gold.copy()
    other[5] = 1 - other[5]
    after = held_out(Sheet(sheet.logs, other, sheet.prior), WordChoice(), ((0,), (1,)), folds=4)
    assert np.array_equal(before[1::4], after[1::4])
