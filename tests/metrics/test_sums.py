"""Intervals and tests of a ratio measure: micro F1 over sentences."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pegbox.errors import DataError
from pegbox.metrics.intervals import resampled_accuracy, row_weights
from pegbox.metrics.measures import Measure, add, f1, measure, share
from pegbox.metrics.ranking import Ranking, rank
from pegbox.metrics.runs import FIXED, Runs
from pegbox.metrics.significance import difference, graded_flip_p, t_p
from pegbox.metrics.sums import Summed, estimates, resampled_measure

F1 = Measure("test_micro_f1", "micro F1", f1)
add(F1)


def sentences(generator: np.random.Generator, skill: np.ndarray, gold: np.ndarray, hard: np.ndarray) -> np.ndarray:
    """Right, predicted and gold spans of sentences, some hard for everybody. Shape: skill [...], gold [N] to [..., N, 3]."""
    chance = 1 / (1 + np.exp(-(skill[..., None] + hard)))
    right = generator.binomial(np.broadcast_to(gold, chance.shape), chance)
    wrong = generator.poisson(0.5 * (1 - chance))
    return np.stack([right, right + wrong, np.broadcast_to(gold, right.shape)], axis=-1).astype(float)


def drawn(generator: np.random.Generator, methods: int, seeds: int, rows: int, luck: float = 0.15) -> list[Summed]:
    """Equal methods: their seeds differ by luck, their answers by chance."""
    gold = generator.poisson(1.5, rows)
    hard = 1.2 * generator.standard_normal(rows)
    skill = 0.8 + luck * generator.standard_normal((methods, seeds))
    return [Summed(one, tuple(range(seeds)) if seeds > 1 else (FIXED,)) for one in sentences(generator, skill, gold, hard)]


def ranking(methods: list[Summed], resamples: int = 300) -> Ranking:
    samples = resampled_measure(F1, methods, resamples)

    def interval(i: int, j: int) -> tuple[float, float]:
        low, high = np.quantile(samples[:, i] - samples[:, j], [0.025, 0.975])
        return float(low), float(high)

    return rank([one.runs(F1) for one in methods], interval)


def test_one_resample_gives_the_score_of_the_drawn_rows() -> None:
    one = drawn(np.random.default_rng(1), 1, 1, 40)[0]
    found = resampled_measure(F1, [one], resamples=3, seed=9)
    for number, weights in enumerate(next(iter(row_weights(40, 3, 9)))):
        t, p, g = one.statistics[0][np.repeat(np.arange(40), weights.astype(int))].sum(0)
        assert found[number, 0] == pytest.approx(2 * t / (p + g))


def test_of_a_share_the_samples_are_those_of_accuracy() -> None:
    generator = np.random.default_rng(2)
    right = generator.random((2, 3, 50)) < 0.7
    runs = [Runs(one, (0, 1, 2)) for one in right]
    summed = [Summed(np.stack([one, np.ones_like(one)], axis=-1).astype(float), (0, 1, 2)) for one in right]
    found = resampled_measure(measure("accuracy"), summed, 200, seed=5)
    assert found == pytest.approx(resampled_accuracy(runs, 200, seed=5), abs=1e-6)
    assert all((one.runs(measure("accuracy")).values == run.values).all() for one, run in zip(summed, runs, strict=True))


def test_the_bootstrap_spreads_as_the_jackknife_says() -> None:
    """The standard error, by leaving out one sentence after the other."""
    one = drawn(np.random.default_rng(3), 1, 1, 400)[0]
    rows = one.statistics[0]
    left_out = []
    for at in range(400):
        t, p, g = np.delete(rows, at, axis=0).sum(0)
        left_out.append(2 * t / (p + g))
    error = np.sqrt(399 / 400 * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
    samples = resampled_measure(F1, [one], 2000)[:, 0]
    assert samples.std() == pytest.approx(error, rel=0.08)
    assert one.runs(F1).values[0].std(ddof=1) / 20 == pytest.approx(error, rel=1e-6)


def test_intervals_hold_the_true_score_about_as_often_as_they_say() -> None:
    """The micro F1 of 200,000 sentences, and intervals from 200 of them at a time."""
    generator = np.random.default_rng(5)

    def some(rows: int) -> np.ndarray:
        return sentences(generator, np.array([0.8]), generator.poisson(1.5, rows), 1.2 * generator.standard_normal(rows))

    truth = f1(some(200_000).sum((0, 1)))

    def holds() -> bool:
        found = estimates([{F1.name: Summed(some(200), (FIXED,))}], 300)[0][F1.name]
        return bool(found.low <= truth <= found.high)

    assert 180 <= sum(holds() for _ in range(200)) <= 199


@pytest.mark.parametrize(("methods", "seeds"), [(2, 1), (2, 3), (5, 3)])
def test_equals_are_rarely_called_winners(methods: int, seeds: int) -> None:
    generator = np.random.default_rng(20)
    luck = 0.15 if seeds > 1 else 0.0
    found = [ranking(drawn(generator, methods, seeds, 150, luck)) for _ in range(200)]
    assert sum(one.winner is not None for one in found) <= 10
    assert sum(one.groups[0] > 1 for one in found) <= 10


def test_a_real_difference_is_found() -> None:
    generator = np.random.default_rng(21)
    found = 0
    for _ in range(30):
        gold, hard = generator.poisson(1.5, 300), 1.2 * generator.standard_normal(300)
        skill = np.array([[1.6], [0.8]]) + 0.05 * generator.standard_normal((2, 3))
        methods = [Summed(one, (0, 1, 2)) for one in sentences(generator, skill, gold, hard)]
        found += ranking(methods).winner == 0
    assert found >= 27


def test_flipped_signs_by_hand() -> None:
    # Four rows of one size, all one way: 2 of 16 flips reach as far. Then sizes 0.4, 0.3, 0.2, 0.1, each way counted out.
    assert graded_flip_p([0.31] * 4 + [0.0] * 50) == pytest.approx(2 / 16)
    gaps = np.array([0.4, 0.3, 0.2, -0.1])
    sums = [abs(sum(sign * gap for sign, gap in zip(signs, gaps, strict=True))) for signs in product((-1, 1), repeat=4)]
    assert graded_flip_p(gaps) == pytest.approx(np.mean([one >= 0.8 - 1e-9 for one in sums]))
    assert graded_flip_p([0.0, 0.0]) == 1.0


def test_many_rows_of_like_size_are_left_to_the_t_test() -> None:
    assert graded_flip_p(np.full(500, 0.2) * np.random.default_rng(1).choice([-1, 1], 500)) is None


def test_few_sentences_that_differ_prove_little() -> None:
    """Five sentences of 300, all better under one method: the t test alone would call that sure enough to win."""
    gold = np.tile([1.0, 2.0], 150)
    base = np.stack([gold - 1, gold, gold], axis=1)
    better = base.copy()
    better[:5, 0] += 1
    found = difference(*(Summed(one[None], (FIXED,)).runs(F1) for one in (better, base)))
    assert t_p(found.mean, found.error, found.df) < 0.03
    assert found.p == pytest.approx(2 / 2**5, rel=0.2)


def test_an_exact_match_is_tested_exactly() -> None:
    # 7 rows that only the first matches, 1 that only the second does: McNemar's 18 / 256.
    first, second = [1] * 7 + [0] + [1] * 20, [0] * 7 + [1] + [1] * 20
    exact = Measure("test_match", "exact match", share)
    runs = [Summed(np.stack([one, np.ones(28)], axis=1)[None], (FIXED,)).runs(exact) for one in (first, second)]
    assert difference(*runs).p == pytest.approx(18 / 256)


def test_equal_sums_are_equal_answers() -> None:
    one = drawn(np.random.default_rng(6), 1, 2, 30)[0]
    assert difference(one.runs(F1), one.runs(F1)).equal
    other = Summed(one.statistics + np.eye(3)[1] * (np.arange(30) == 3)[:, None], one.seeds)
    assert not difference(one.runs(F1), other.runs(F1)).equal


def test_methods_scored_on_different_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"methods with \[5, 6\] rows"):
        resampled_measure(F1, [Summed(np.ones((1, count, 3)), (0,)) for count in (5, 6)])
