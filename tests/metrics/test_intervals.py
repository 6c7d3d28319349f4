"""Resampling, against standard deviations that have a formula."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from pegbox.errors import DataError
from pegbox.metrics.classification import score
from pegbox.metrics.intervals import (
    Scored,
    centred_interval,
    interval,
    resampled_accuracy,
    resampled_scores,
    row_weights,
    seed_weights,
)
from pegbox.metrics.runs import FIXED, Runs


def test_every_resample_draws_as_many_rows_as_there_are() -> None:
    weights = np.concatenate(list(row_weights(rows=7, resamples=50, seed=0)))
    assert weights.shape == (50, 7)
    assert (weights.sum(1) == 7).all()


def test_chunks_do_not_change_the_number_of_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pegbox.metrics.intervals.CHUNK_BYTES", 16 * 7 * 4)
    assert [len(part) for part in row_weights(rows=7, resamples=10, seed=0)] == [4, 4, 2]


def test_accuracy_spreads_as_the_binomial_does() -> None:
    correct = np.arange(400) < 300
    samples = resampled_accuracy([Runs(correct[None], (FIXED,))], resamples=8000)
    assert samples.mean() == pytest.approx(0.75, abs=0.002)
    assert samples.std() == pytest.approx(math.sqrt(0.75 * 0.25 / 400), rel=0.05)
    found = interval(0.75, samples[:, 0])
    assert found.low == pytest.approx(0.75 - 1.96 * 0.02165, abs=0.004)
    assert found.high == pytest.approx(0.75 + 1.96 * 0.02165, abs=0.004)


def test_seeds_add_their_unbiased_share() -> None:
    # Seeds all right, all right, all wrong: variance of their mean s2 / S = (1/3) / 3. Rows add nothing.
    correct = np.array([[True] * 10, [True] * 10, [False] * 10])
    samples = resampled_accuracy([Runs(correct, (0, 1, 2))], resamples=20_000)
    assert samples.var() == pytest.approx(1 / 9, rel=0.03)


def test_seed_weights_average_to_one_over_the_seeds() -> None:
    weights = seed_weights((3, 5, 8, 9), resamples=4000, seed=1)
    assert weights.sum(1) == pytest.approx(np.ones(4000))
    assert weights.mean(0) == pytest.approx(np.full(4, 0.25), abs=0.01)


def test_rows_are_shared_so_differences_are_paired() -> None:
    generator = np.random.default_rng(0)
    first = generator.random((1, 300)) < 0.8
    second = first.copy()
    second[0, :30] = ~second[0, :30]
    samples = resampled_accuracy([Runs(first, (FIXED,)), Runs(second, (FIXED,))], resamples=4000)
    gaps = first[0].astype(float) - second[0]
    assert (samples[:, 0] - samples[:, 1]).std() == pytest.approx(gaps.std() / math.sqrt(300), rel=0.05)
    same = resampled_accuracy([Runs(first, (FIXED,)), Runs(first, (FIXED,))], resamples=100)
    assert (same[:, 0] == same[:, 1]).all()


def test_equal_seeds_are_drawn_together() -> None:
    correct = np.array([[True] * 20, [False] * 20, [True] * 20])
    samples = resampled_accuracy([Runs(correct, (0, 1, 2)), Runs(correct, (0, 1, 2))], resamples=200)
    assert (samples[:, 0] == samples[:, 1]).all()


def probabilities(generator: np.random.Generator, gold: np.ndarray, seeds: int, classes: int) -> np.ndarray:
    scores = generator.standard_normal((seeds, len(gold), classes)) + 1.5 * np.eye(classes)[gold]
    odds = np.exp(scores)
    return odds / odds.sum(-1, keepdims=True)


def test_one_resample_by_hand_gives_the_scores_of_the_drawn_rows() -> None:
    """Draw the rows of the first resample for real, score them, and find the same numbers."""
    generator = np.random.default_rng(4)
    gold = generator.integers(0, 3, 60)
    chances = probabilities(generator, gold, 1, 3)
    found = resampled_scores(gold, [Scored(chances, (FIXED,))], resamples=3, seed=9)
    for number, weights in enumerate(next(iter(row_weights(60, 3, 9)))):
        drawn = np.repeat(np.arange(60), weights.astype(int))
        expected = score(gold[drawn], chances[0][drawn])
        for name in ("macro_precision", "macro_recall", "macro_f1", "mcc", "ece", "brier", "log_loss"):
            assert found[name][number, 0] == pytest.approx(getattr(expected, name), rel=1e-4), name
        assert found["f1"][number, 0] == pytest.approx([c.f1 for c in expected.classes])


def test_brier_spreads_as_a_mean_does() -> None:
    generator = np.random.default_rng(5)
    gold = generator.integers(0, 2, 500)
    chances = probabilities(generator, gold, 1, 2)
    rows = ((chances[0] - np.eye(2)[gold]) ** 2).sum(1)
    samples = resampled_scores(gold, [Scored(chances, (FIXED,))], resamples=3000)["brier"]
    assert samples.std() == pytest.approx(rows.std() / math.sqrt(500), rel=0.06)


def test_small_memory_gives_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(6)
    gold = generator.integers(0, 3, 50)
    methods = [Scored(probabilities(generator, gold, 2, 3), (0, 1))]
    whole = resampled_scores(gold, methods, resamples=40)
    monkeypatch.setattr("pegbox.metrics.intervals.CHUNK_BYTES", 16 * 50 * 7)
    parts = resampled_scores(gold, methods, resamples=40)
    assert whole["f1"].shape == (40, 1, 3)
    for name, values in whole.items():
        assert parts[name] == pytest.approx(values, rel=1e-5), name


def test_the_same_seed_gives_the_same_numbers() -> None:
    runs = [Runs(np.random.default_rng(0).random((3, 100)) < 0.7, (0, 1, 2))]
    assert (resampled_accuracy(runs, 50, seed=3) == resampled_accuracy(runs, 50, seed=3)).all()
    assert (resampled_accuracy(runs, 50, seed=3) != resampled_accuracy(runs, 50, seed=4)).any()


def test_a_centred_interval_holds_its_estimate() -> None:
    samples = np.linspace(0.04, 0.08, 101)
    found = centred_interval(0.03, samples)
    # The middle 95 % of 0.04 to 0.08 is 0.041 to 0.079, moved down by 0.06 - 0.03.
    assert (found.low, found.high) == pytest.approx((0.011, 0.049))
    assert centred_interval(0.001, samples).low == 0.0


def test_ten_thousand_resamples_of_a_large_comparison_take_seconds() -> None:
    generator = np.random.default_rng(7)
    runs = [Runs(generator.random((3, 5000)) < 0.8, (0, 1, 2)) for _ in range(12)]
    start = time.process_time()
    assert resampled_accuracy(runs, 10_000).shape == (10_000, 12)
    assert time.process_time() - start < 20


def test_methods_scored_on_different_rows_are_refused() -> None:
    runs = [Runs(np.ones((1, 5), bool), (0,)), Runs(np.ones((1, 6), bool), (0,))]
    with pytest.raises(DataError, match=r"methods with \[5, 6\] rows"):
        resampled_accuracy(runs)


@pytest.mark.parametrize(
    ("correct", "seeds", "message"),
    [
        (np.ones((1, 0), bool), (0,), r"answers of shape \(1, 0\)"),
        (np.ones((2, 3), bool), (0,), r"seeds \(0,\) for 2 runs"),
        (np.ones((2, 3), bool), (1, 1), "all different"),
        (np.ones((2, 3), bool), (-1, 1), "-1 among others"),
    ],
)
def test_runs_that_make_no_sense_are_refused(correct: np.ndarray, seeds: tuple[int, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Runs(correct, seeds)
