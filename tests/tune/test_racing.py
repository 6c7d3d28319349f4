"""Racing: who is dropped, and how often wrongly."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from pegbox.tune.racing import Rule, worse_p

BLOCK = 30


def test_p_value_is_that_of_the_one_sided_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.exponential(size=40), rng.exponential(size=40)
    assert worse_p(one, other) == pytest.approx(ttest_rel(one, other, alternative="greater").pvalue)


def test_equal_losses_are_no_evidence_and_a_constant_gap_is() -> None:
    losses = np.linspace(0, 2, 10)
    assert worse_p(losses, losses) == 1.0
    assert worse_p(losses + 0.5, losses) == 0.0
    assert worse_p(losses - 0.5, losses) == 1.0


def test_no_look_before_the_least_number_of_rows() -> None:
    losses = {"a": np.zeros(29), "b": np.ones(29)}
    assert Rule(least=30).losers(losses) == set()
    assert Rule(least=29).losers(losses) == {"b"}


def test_a_single_candidate_is_never_dropped() -> None:
    assert Rule().losers({"a": np.ones(30)}) == set()


def race(rule: Rule, means: np.ndarray, rng: np.random.Generator) -> set[int]:
    """The candidates left after all looks; rows are hard or easy for all candidates alike, as real rows are."""
    alive = set(range(len(means)))
    rows = rng.normal(size=(rule.looks * BLOCK, 1))
    losses = means + rows + rng.normal(size=(len(rows), len(means)))
    for look in range(1, rule.looks + 1):
        alive -= rule.losers({key: losses[: look * BLOCK, key] for key in alive})
    return alive


def test_the_best_of_equals_is_kept_at_the_level_asked_for() -> None:
    """Any of ten equal candidates may be called the best: each must survive in 90 % of the races."""
    rng, rule = np.random.default_rng(1), Rule(level=0.1, looks=8)
    runs = 300
    left = np.zeros(10)
    for _ in range(runs):
        left[list(race(rule, np.zeros(10), rng))] += 1
    assert (left / runs).min() > 0.9


def test_an_uncorrected_test_would_drop_most_equals() -> None:
    """What the correction is for: the same races at the 20 % level without it."""
    rng, runs, left = np.random.default_rng(2), 60, 0
    for _ in range(runs):
        alive = set(range(10))
        losses = rng.normal(size=(8 * BLOCK, 1)) + rng.normal(size=(8 * BLOCK, 10))
        for look in range(1, 9):
            alive -= Rule(level=0.2 * (len(alive) - 1), looks=1).losers({key: losses[: look * BLOCK, key] for key in alive})
        left += len(alive)
    assert left / (10 * runs) < 0.4


def test_the_best_stays_and_the_clearly_worse_go() -> None:
    rng, rule = np.random.default_rng(3), Rule(level=0.1, looks=8)
    means = np.array([0.0, 0.1, 1.0, 1.0, 1.0])
    ends = [race(rule, means, rng) for _ in range(100)]
    assert sum(0 in end for end in ends) >= 97
    assert sum(not end & {2, 3, 4} for end in ends) >= 97
