"""Scores of one run, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pegbox.errors import DataError
from pegbox.metrics import confusion
from pegbox.metrics.classification import brier_rows, confidence_bins, ece, score

# Ten rows of three classes: gold in rows, predicted in columns, 4/3/3 rows of each class.
TABLE = np.array([[3, 1, 0], [1, 2, 0], [0, 2, 1]])


def rows_of(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(g, p) for g in range(len(table)) for p in range(len(table)) for _ in range(table[g, p])]
    gold, predicted = np.array(pairs).T
    return gold, predicted


def certain(predicted: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[predicted]


def test_scores_from_a_known_table() -> None:
    gold, predicted = rows_of(TABLE)
    found = score(gold, certain(predicted, 3))
    assert found.accuracy == pytest.approx(6 / 10)
    assert [c.precision for c in found.classes] == pytest.approx([3 / 4, 2 / 5, 1 / 1])
    assert [c.recall for c in found.classes] == pytest.approx([3 / 4, 2 / 3, 1 / 3])
    assert [c.f1 for c in found.classes] == pytest.approx([6 / 8, 4 / 8, 2 / 4])
    assert [c.support for c in found.classes] == [4, 3, 3]
    assert found.macro_f1 == pytest.approx((0.75 + 0.5 + 0.5) / 3)
    assert found.macro_precision == pytest.approx((0.75 + 0.4 + 1) / 3)
    # right x total - sum gold x predicted = 60 - (16 + 15 + 3); (100 - 34) x (100 - 42)
    assert found.mcc == pytest.approx((60 - 34) / math.sqrt((100 - 34) * (100 - 42)))
    assert found.confusion.tolist() == TABLE.tolist()


def test_ece_by_hand() -> None:
    # 0.9 twice (one right): |1.8 - 1|; 0.6 twice (both right): |1.2 - 2|; over 4 rows.
    gold = [0, 1, 1, 1]
    chances = [[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]]
    assert ece(gold, chances) == pytest.approx((0.8 + 0.8) / 4)


def test_ece_of_certain_answers_is_the_error_rate() -> None:
    gold, predicted = rows_of(TABLE)
    assert ece(gold, certain(predicted, 3)) == pytest.approx(4 / 10)


def test_bins_are_closed_on_the_right() -> None:
    assert confidence_bins(np.array([0.0, 0.2, 0.20001, 1.0]), bins=5).tolist() == [0, 0, 1, 4]


def test_brier_and_log_loss_by_hand() -> None:
    found = score([0, 1], [[0.8, 0.2], [0.5, 0.5]])
    assert found.brier == pytest.approx((2 * 0.04 + 2 * 0.25) / 2)
    assert found.log_loss == pytest.approx(-(math.log(0.8) + math.log(0.5)) / 2)
    assert brier_rows(np.array([0]), np.array([[0.0, 1.0]])).tolist() == [2.0]


def test_a_certain_wrong_answer_costs_a_finite_log_loss() -> None:
    assert score([0], [[0.0, 1.0]]).log_loss == pytest.approx(12 * math.log(10))


def test_a_class_that_never_occurs_does_not_count_in_the_mean() -> None:
    found = score([0, 0, 1], [[1, 0, 0], [1, 0, 0], [0, 1, 0]])
    assert found.macro_f1 == 1.0
    assert found.classes[2].support == 0


def test_constant_answers_have_no_correlation() -> None:
    assert score([0, 1, 1], [[0, 1]] * 3).mcc == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_scikit_learn(seed: int) -> None:
    from sklearn.metrics import confusion_matrix, log_loss, matthews_corrcoef, precision_recall_fscore_support

    generator = np.random.default_rng(seed)
    gold, chances = generator.integers(0, 5, 40), generator.dirichlet([0.5] * 6, 40)
    predicted = chances.argmax(1)
    found = score(gold, chances)
    each = precision_recall_fscore_support(gold, predicted, labels=np.arange(6), zero_division=0)
    means = precision_recall_fscore_support(gold, predicted, average="macro", zero_division=0)
    for place, name in enumerate(("precision", "recall", "f1")):
        assert [getattr(c, name) for c in found.classes] == pytest.approx(each[place])
        assert getattr(found, f"macro_{name}") == pytest.approx(means[place])
    assert found.mcc == pytest.approx(matthews_corrcoef(gold, predicted))
    assert found.log_loss == pytest.approx(log_loss(gold, chances, labels=np.arange(6)), rel=1e-6)
    assert (found.confusion == confusion_matrix(gold, predicted, labels=np.arange(6))).all()


def test_formulas_take_many_tables_at_once() -> None:
    tables = np.stack([TABLE, 3 * TABLE, TABLE.T])
    assert confusion.mcc(tables) == pytest.approx([26 / math.sqrt(66 * 58)] * 3)
    assert confusion.accuracy(tables) == pytest.approx([0.6] * 3)
    precision, recall, f1 = confusion.per_class(tables)
    assert precision[2] == pytest.approx(recall[0])
    assert f1[2] == pytest.approx(f1[1])
    assert confusion.macro(f1, tables) == pytest.approx([1.75 / 3] * 3)


def test_no_rows_is_an_error_not_a_zero() -> None:
    with pytest.raises(DataError, match="an empty set has no score, not a score of 0"):
        score([], np.zeros((0, 2)))


@pytest.mark.parametrize(
    ("gold", "chances", "message"),
    [
        ([0, 2], [[1.0, 0.0], [1.0, 0.0]], "gold label 2 at position 1, with 2 classes"),
        ([0, 1], [[0.5, 0.5], [float("nan"), 0.5]], "1 rows whose values are no probabilities, the first at position 1"),
        ([0, 1], [[-2.0, 3.0], [0.5, 0.5]], "the first at position 0"),
        ([0, 1], [[0.5, 0.9], [0.5, 0.5]], "add up to 1"),
        ([0], [[0.5, 0.5], [0.5, 0.5]], r"shape \(2, 2\) for gold labels of shape \(1,\)"),
    ],
)
def test_what_is_wrong_is_named(gold: list[int], chances: list[list[float]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        score(gold, chances)
