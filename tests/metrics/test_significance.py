"""Tests between methods, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pegbox.errors import DataError
from pegbox.metrics.runs import FIXED, Runs
from pegbox.metrics.significance import Spread, difference, holm, sign_flip_p, t_p, usual_seed_spread


def fixed(*right: int) -> Runs:
    return Runs(np.array([right], dtype=bool), (FIXED,))


def test_mcnemar_by_hand() -> None:
    # 7 rows that only the first has right, 1 that only the second has: 2 x (C(8,0) + C(8,1)) / 2^8.
    first, second = [1] * 7 + [0] + [1] * 20, [0] * 7 + [1] + [1] * 20
    found = difference(fixed(*first), fixed(*second))
    assert found.p == pytest.approx(18 / 256)
    assert found.mean == pytest.approx(6 / 28)
    assert not found.equal


def test_equal_answers_are_no_difference() -> None:
    found = difference(fixed(1, 0, 1), fixed(1, 0, 1))
    assert (found.mean, found.p, found.equal) == (0.0, 1.0, True)


def test_equal_accuracy_on_other_rows_is_not_equal_answers() -> None:
    found = difference(fixed(1, 0), fixed(0, 1))
    assert (found.mean, found.p, found.equal) == (0.0, 1.0, False)


def test_few_rows_that_differ_prove_little() -> None:
    # Four rows, all one way, of a thousand: a t test would say 0.045, the exact test 2 / 2^4.
    first = np.ones((1, 1000), bool)
    second = first.copy()
    second[0, :4] = False
    assert difference(Runs(first, (FIXED,)), Runs(second, (FIXED,))).p == pytest.approx(1 / 8)


def test_one_row_proves_nothing() -> None:
    assert difference(fixed(1), fixed(0)).p == 1.0


def test_rows_and_seeds_by_hand() -> None:
    # Gaps over rows 1, 1/2, -1/2, 0: variance 1.25 / 3, by 4 rows. Seed means 3/4 and 1/4: variance 1/8, by 2 seeds.
    first = Runs(np.array([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=bool), (0, 1))
    found = difference(first, fixed(0, 0, 1, 0))
    rows, seeds = 1.25 / 12, 1 / 16
    assert found.mean == pytest.approx(0.25)
    assert found.error == pytest.approx(math.sqrt(rows + seeds))
    assert found.df == pytest.approx((rows + seeds) ** 2 / (rows**2 / 3 + seeds**2 / 1))
    # Flips of 2, 1, -1, 0 halves: |sum| >= 2 for 2+1-1, 2-1+1, 2+1+1 and their opposites, 6 of 8.
    assert sign_flip_p([1, 0.5, -0.5, 0], scale=2) == pytest.approx(6 / 8)
    assert found.p == pytest.approx(6 / 8)


def test_equal_seeds_are_paired() -> None:
    # Both methods move together from seed to seed, by 0.5: the difference does not move at all.
    first = Runs(np.array([[1, 1, 1, 1], [1, 1, 0, 0]], dtype=bool), (0, 1))
    second = Runs(np.array([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=bool), (0, 1))
    paired = difference(first, second)
    apart = difference(first, Runs(second.correct, (7, 8)))
    gaps = np.array([0.0, 0.5, 0.0, 0.5])
    assert paired.error == pytest.approx(gaps.std(ddof=1) / 2)
    assert apart.error == pytest.approx(math.sqrt(gaps.var(ddof=1) / 4 + 0.125 / 2 + 0.125 / 2))


def test_a_usual_spread_is_the_floor() -> None:
    steady = Runs(np.array([[1, 1, 0, 0]] * 2, dtype=bool), (0, 1))
    other = Runs(np.array([[1, 0, 0, 0]] * 2, dtype=bool), (0, 1))
    found = difference(steady, other, usual=Spread(0.01, 4))
    gaps = np.array([0.0, 1.0, 0.0, 0.0])
    rows, seeds = gaps.var(ddof=1) / 4, 0.01 / 2 + 0.01 / 2
    assert found.error == pytest.approx(math.sqrt(rows + seeds))
    assert found.df == pytest.approx((rows + seeds) ** 2 / (rows**2 / 3 + seeds**2 / 4))


def test_a_spread_above_the_usual_is_kept() -> None:
    # Seed means 1 and 0: variance 1/2 by 2 seeds = 1/4, more than the usual; rows add nothing.
    first = Runs(np.array([[1, 1, 1, 1], [0, 0, 0, 0]], dtype=bool), (0, 1))
    found = difference(first, fixed(0, 0, 0, 0), usual=Spread(1e-6, 4))
    assert found.error == pytest.approx(0.5)
    assert found.df == pytest.approx(4.0)


def test_a_method_with_one_seed_borrows_the_usual_spread() -> None:
    once = Runs(np.tile([1, 1, 1, 0, 1, 1], (1, 10)).astype(bool), (0,))
    base = fixed(*[0, 1, 0, 0, 0, 1] * 10)
    alone, lent = difference(once, base), difference(once, base, usual=Spread(0.04, 4))
    assert lent.error == pytest.approx(math.sqrt(alone.error**2 + 0.04))
    assert lent.p > alone.p


def test_quick_methods_lend_no_spread_and_borrow_none() -> None:
    def seeds(*hundredths: int, quick: bool) -> Runs:
        return Runs(np.array([np.arange(100) < h for h in hundredths]), (0, 1, 2), quick)

    majority, probe = seeds(50, 50, 50, quick=True), seeds(59, 60, 61, quick=True)
    assert usual_seed_spread([majority, probe, fixed(*[1] * 100)]) is None
    tuned = seeds(78, 80, 82, quick=False)
    found = usual_seed_spread([majority, probe, tuned])
    assert found is not None
    assert found.variance == pytest.approx(4e-4 / math.log(2))
    # Of two quick methods the seeds count as measured: means 0.59, 0.60, 0.61 against 0.50, variance 1e-4 by 3.
    gaps = np.array([0.0] * 50 + [1.0] * 9 + [2 / 3, 1 / 3] + [0.0] * 39)
    assert difference(probe, majority, found).error == pytest.approx(math.sqrt(gaps.var(ddof=1) / 100 + 1e-4 / 3))
    # Of a tuned and a quick one the floor is the tuned one's alone.
    gaps = np.array([0.0] * 50 + [1.0] * 28 + [2 / 3] * 2 + [1 / 3] * 2 + [0.0] * 18)
    floor = 4e-4 / math.log(2) / 3
    assert difference(tuned, majority, found).error == pytest.approx(math.sqrt(gaps.var(ddof=1) / 100 + floor))


def test_nothing_is_borrowed_where_no_tuned_method_has_several_seeds() -> None:
    # 10 rows one way and 1 the other: McNemar's 2 x (1 + 11) / 2^11, whatever majority does under three seeds.
    first, second = np.array([[1] * 10 + [0] + [1] * 89], bool), np.array([[0] * 10 + [1] + [1] * 89], bool)
    soft, search = Runs(first, (0,)), Runs(second, (0,))
    majority = Runs(np.repeat(np.arange(100)[None] < 30, 3, axis=0), (0, 1, 2), quick=True)
    assert difference(soft, search, usual_seed_spread([soft, search, majority])).p == pytest.approx(24 / 2**11)


def test_the_usual_spread_is_a_median() -> None:
    def with_means(*hundredths: int) -> Runs:
        return Runs(np.array([np.arange(100) < h for h in hundredths]), (0, 1, 2))

    # Sample variances 1e-4, 4e-4 and, for a method that diverged once, 0.12; chi-square with 2 df has the median 2 ln 2.
    runs = [with_means(79, 80, 81), with_means(78, 80, 82), with_means(80, 80, 20), fixed(*[1] * 100)]
    found = usual_seed_spread(runs)
    assert found is not None
    assert found.variance == pytest.approx(4e-4 / math.log(2))
    cap = 10 * 4e-4 / math.log(2)
    assert found.df == pytest.approx((1e-4 + 4e-4 + cap) ** 2 / (1e-8 / 2 + 16e-8 / 2 + cap**2 / 2))
    assert usual_seed_spread([fixed(1, 0)]) is None


def test_t_against_a_table() -> None:
    # Student's t: 2.776 is the two-sided 5 % point for 4 degrees of freedom.
    assert t_p(2.776, 1.0, 4) == pytest.approx(0.05, abs=1e-4)
    assert t_p(0.5, 0.0, 4) == 0.0


def test_many_rows_of_mixed_sizes_are_left_to_the_t_test() -> None:
    gaps = np.tile([1.0, -1.0, 0.5], 4000)
    assert sign_flip_p(gaps, scale=2) is None
    assert sign_flip_p(np.tile([1.0, -1.0], 4000)) == pytest.approx(1.0)


def test_sign_flips_agree_with_trying_them_all() -> None:
    gaps = np.array([3, -1, 2, 2, 1, -3, 1, 2, 1])
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(gaps))).reshape(len(gaps), -1)
    expected = (np.abs(gaps @ signs) >= abs(gaps.sum())).mean()
    assert sign_flip_p(gaps) == pytest.approx(expected)


def test_holm_by_hand() -> None:
    # 0.01 x 3; 0.03 x 2; then 0.04 x 1, which may not fall below the one before.
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


def test_smallest_detectable_difference() -> None:
    # Many rows, half of which differ, evenly: error 1 / sqrt(2N); 1.96 + 0.842 errors.
    first = np.tile([1, 0, 1, 1], 10_000).astype(bool)
    second = np.tile([0, 1, 1, 1], 10_000).astype(bool)
    found = difference(Runs(first[None], (FIXED,)), Runs(second[None], (FIXED,)))
    assert found.detectable() == pytest.approx(2.8016 / math.sqrt(2 * 40_000), rel=1e-3)


def test_other_rows_are_refused() -> None:
    with pytest.raises(DataError, match="3 test rows for one method and 2 for the other"):
        difference(fixed(1, 0, 1), fixed(1, 0))
