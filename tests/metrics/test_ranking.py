"""Groups and winners; and the null bar, that equals are called winners in few of many comparisons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pegbox.errors import DataError
from pegbox.metrics.intervals import resampled_accuracy
from pegbox.metrics.ranking import Ranking, rank
from pegbox.metrics.runs import FIXED, Runs

Draw = Callable[[np.random.Generator], list[Runs]]


def ranking(runs: list[Runs], resamples: int = 500) -> Ranking:
    def interval(i: int, j: int) -> tuple[float, float]:
        samples = resampled_accuracy([runs[i], runs[j]], resamples)
        low, high = np.quantile(samples[:, 0] - samples[:, 1], [0.025, 0.975])
        return float(low), float(high)

    return rank(runs, interval)


def right(count: int, rows: int = 400, start: int = 0) -> Runs:
    return Runs(((np.arange(rows) - start) % rows < count)[None], (FIXED,))


def test_a_clear_winner() -> None:
    found = ranking([right(200), right(350), right(210)])
    assert found.winner == 1
    assert found.order == (1, 2, 0)
    assert found.groups[1] == 1
    assert found.p[0] < 1e-6
    assert found.against_best[1] is None


def test_methods_that_differ_by_a_hair_share_the_top_group() -> None:
    found = ranking([right(350), right(352), right(100)])
    assert found.winner is None
    assert found.groups == (1, 1, 2)


def test_a_twin_shares_the_win_and_two_twins_alone_win_nothing() -> None:
    twins = ranking([right(350), right(200), right(350)])
    assert twins.winner == 0
    assert twins.groups == (1, 2, 1)
    assert twins.against_best[2] is not None
    assert twins.against_best[2].equal
    assert ranking([right(350), right(350)]).winner is None


def test_one_method_alone_wins_nothing() -> None:
    found = ranking([right(10)])
    assert (found.winner, found.groups, found.order) == (None, (1,), (0,))


def test_the_interval_has_a_veto() -> None:
    runs = [right(350), right(200)]
    assert rank(runs, lambda i, j: (-0.01, 0.4)).winner is None
    assert rank(runs, lambda i, j: (0.2, 0.4)).winner == 0


def test_apart_but_not_enough_to_win() -> None:
    # 11 rows against 2: exact p = 2 x (1 + 13 + 78) / 2^13 = 0.0225; 10 against 2: 2 x (1 + 12 + 66) / 2^12 = 0.0386.
    base = np.zeros(200, bool)

    def pair(gained: int, lost: int) -> list[Runs]:
        other = base.copy()
        first = base.copy()
        first[:gained], other[50 : 50 + lost] = True, True
        return [Runs(first[None], (FIXED,)), Runs(other[None], (FIXED,))]

    assert ranking(pair(11, 2)).winner == 0
    close = ranking(pair(10, 2))
    assert close.p[1] == pytest.approx(2 * 79 / 2**12)
    assert close.winner is None
    assert close.groups == (1, 2)


def test_p_values_against_the_best_are_one_family() -> None:
    # The best is 10 and 5 rows ahead, each all one way: 2 / 2^10 doubled, and 2 / 2^5 as it is.
    found = ranking([right(300), right(305), right(310)])
    assert found.p == pytest.approx((2 * 2 / 2**10, 2 / 2**5, 1.0))
    assert found.groups == (2, 1, 1)


def test_an_unsteady_method_far_behind_is_told_apart() -> None:
    """Three seeds measure a spread badly; the other methods' spreads help where the distance is plain."""

    def seeds(*hundreds: int) -> Runs:
        return Runs(np.array([np.arange(1000) % 997 < 10 * h for h in hundreds]), (0, 1, 2))

    found = ranking([seeds(83, 84, 85), seeds(81, 82, 83), seeds(80, 83, 82), seeds(32, 38, 50)])
    assert found.groups == (1, 1, 1, 2)


def test_nothing_to_rank_is_an_error() -> None:
    with pytest.raises(DataError, match="no methods to rank"):
        rank([], lambda i, j: (0.0, 0.0))


def same_prompt(names: int, seeds: int, imbalanced: bool) -> Draw:
    """One method under several names: rows differ in difficulty, classes in ease, seeds in luck, overall and by class.

    With one seed the luck is noise on single rows only. If one seed's prompt were truly better than another's, a single
    seed could not know that the method is not, and the report says so in words.
    """

    def draw(generator: np.random.Generator) -> list[Runs]:
        prior = [0.7, 0.15, 0.1, 0.05] if imbalanced else [0.25] * 4
        gold = generator.choice(4, 400, p=prior)
        easy = np.array([1.5, 0.5, 0.0, -0.5])[gold] + 1.5 * generator.standard_normal(400)
        luck = 0.2 if seeds > 1 else 0.0
        shift = luck * generator.standard_normal((names, seeds, 1))
        by_class = luck * generator.standard_normal((names, seeds, 4))[:, :, gold]
        right = easy + shift + by_class + 0.7 * generator.standard_normal((names, seeds, 400)) > 0
        return [Runs(one, tuple(range(seeds))) for one in right]

    return draw


def beside_quick(draw: Draw) -> Draw:
    """The same beside three references that are plainly worse and give the same answers under each of three seeds."""

    def both(generator: np.random.Generator) -> list[Runs]:
        low = np.repeat(generator.random((3, 1, 400)) < 0.2, 3, axis=1)
        return [*draw(generator), *(Runs(one, (0, 1, 2), quick=True) for one in low)]

    return both


def shuffled_labels(names: int, seeds: int, classes: int) -> Draw:
    """Different methods whose guesses share features but have nothing to do with the labels.

    The labels are balanced, so all methods are truly equal. With imbalanced labels they would not be: `majority` really is
    better than guessing evenly, and a win for it would be true.
    """

    def draw(generator: np.random.Generator) -> list[Runs]:
        gold = generator.permutation(np.arange(480) % classes)
        shared = generator.standard_normal((1, 1, 480, classes))
        own = 0.7 * generator.standard_normal((names, 1, 480, classes))
        noise = 0.5 * generator.standard_normal((names, seeds, 480, classes))
        lean = 0.5 * generator.standard_normal((names, seeds, 1, classes))
        right = (shared + own + noise + lean).argmax(-1) == gold
        return [Runs(one, tuple(range(seeds)) if seeds > 1 else (FIXED,)) for one in right]

    return draw


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(same_prompt(2, 1, False), id="same prompt, 1 seed"),
        pytest.param(same_prompt(2, 3, False), id="same prompt, 3 seeds"),
        pytest.param(same_prompt(2, 3, True), id="same prompt, 3 seeds, imbalanced"),
        pytest.param(same_prompt(2, 2, True), id="same prompt, 2 seeds, imbalanced"),
        pytest.param(same_prompt(5, 3, False), id="same prompt, 5 names"),
        pytest.param(beside_quick(same_prompt(2, 1, False)), id="same prompt, 1 seed, beside quick methods"),
        pytest.param(beside_quick(same_prompt(2, 3, False)), id="same prompt, 3 seeds, beside quick methods"),
        pytest.param(shuffled_labels(2, 1, 6), id="shuffled labels, 2 fixed methods"),
        pytest.param(shuffled_labels(2, 3, 2), id="shuffled labels, 2 methods"),
        pytest.param(shuffled_labels(6, 3, 6), id="shuffled labels, 6 methods"),
    ],
)
def test_equals_are_rarely_called_winners(draw: Draw) -> None:
    generator = np.random.default_rng(20)
    found = [ranking(draw(generator), resamples=300) for _ in range(200)]
    assert sum(one.winner is not None for one in found) <= 10
    # The method that comes first in the list, as good as any other, stays in the top group nearly always.
    assert sum(one.groups[0] > 1 for one in found) <= 10


def test_one_lucky_seed_passes_for_a_better_method() -> None:
    """What rows alone cannot tell, and why the report warns: equals by method, unequal by the luck of their one seed."""
    generator = np.random.default_rng(22)

    def lucky() -> list[Runs]:
        easy, luck = 1.5 * generator.standard_normal(400), 0.4 * generator.standard_normal((2, 1, 1))
        steady = np.repeat(easy[None] - 3 > 0, 3, axis=0)
        return [*(Runs(easy + one > 0, (0,)) for one in luck), Runs(steady, (0, 1, 2), quick=True)]

    drawn = [lucky() for _ in range(50)]
    found = [ranking(runs, 300) for runs in drawn]
    assert sum(one.winner is not None for one in found) > 10
    # The p is that of the rows alone: what the quick method does under its seeds changes nothing.
    for runs, one in zip(drawn, found, strict=True):
        alone = ranking(runs[:2], 300)
        worse = alone.order[1]
        assert one.against_best[worse] == alone.against_best[worse]


def test_a_real_difference_is_found() -> None:
    """The other side of the bar: thirteen points on 400 rows and 3 seeds that vary by one are found nearly always."""
    generator = np.random.default_rng(21)
    found = 0
    for _ in range(50):
        easy = 1.5 * generator.standard_normal(400)
        noise = 0.7 * generator.standard_normal((2, 3, 400))
        shift = 0.04 * generator.standard_normal((2, 3, 1)) + np.array([0.55, 0.0])[:, None, None]
        found += ranking([Runs(one, (0, 1, 2)) for one in easy + shift + noise > 0], 300).winner == 0
    assert found >= 45
