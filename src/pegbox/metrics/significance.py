"""Tests of the difference between two methods, over test rows and over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pegbox.errors import DataError
from pegbox.metrics.runs import Runs

EXACT_STEPS = 6000
"""Where the differences of all rows add up to more steps than this, the t test has long converged on the sign-flip test."""


GRID = 1000
"""How finely differences that are no whole numbers are told apart when their signs are flipped: parts of their sum."""

FEW = 100.0
"""With the weight of this many equal rows behind a difference, the t test has long converged on the sign-flip test."""

CAP = 10.0
"""A method whose variance over seeds is more than this many times the usual one counts as if it were this many times."""


@dataclass(frozen=True)
class Spread:
    """A variance and the degrees of freedom it was estimated with."""

    variance: float
    df: float


@dataclass(frozen=True)
class Difference:
    """How far two methods lie apart, and how surely.

    Settings:
        mean: score (accuracy, or another measure) of the first less that of the second.
        error: standard error of `mean`, over rows and seeds.
        df: its degrees of freedom (Satterthwaite).
        p: two-sided, before any correction for how many tests are made.
        equal: the two gave right answers on exactly the same rows, or did equally well on each.
    """

    mean: float
    error: float
    df: float
    p: float
    equal: bool

    def detectable(self, level: float = 0.05, power: float = 0.8) -> float:
        """The smallest true difference that a test like this one finds with this power.

        Source:
            the usual two-term formula, (t[1 - level/2] + t[power]) x standard error; one comparison, no Holm correction.
        """
        from scipy.special import stdtrit

        return float((stdtrit(self.df, 1 - level / 2) + stdtrit(self.df, power)) * self.error)


def _mean_spread(values: NDArray[np.float64]) -> Spread:
    """Variance of the mean of these values; of a single value, its square, which is the cautious end."""
    if len(values) == 1:
        return Spread(float(values[0] ** 2), 1.0)
    return Spread(float(values.var(ddof=1) / len(values)), len(values) - 1.0)


def usual_seed_spread(runs: Sequence[Runs]) -> Spread | None:
    """How much a tuned run's accuracy usually varies with its seed: the median over the tuning methods with several seeds.

    Quick methods lend nothing: `majority` says the same under every seed, and its 0 would pass for the steadiness of others.
    The median, so that one method that diverges under one seed does not hide all other differences; divided by the median
    of chi-square / df, so that it estimates the variance. The degrees of freedom are those of a sum of the methods'
    variances, each cut to `CAP` medians: fewer where the methods are unlike. None where no method that tunes has several
    seeds: a spread that nobody measured is not made up.
    """
    from scipy.special import chdtri

    several = [run.values.mean(1) for run in runs if len(run.seeds) > 1 and not run.quick]
    if not several:
        return None
    found = [Spread(float(means.var(ddof=1)), len(means) - 1.0) for means in several]
    typical = float(np.median([part.variance * part.df / float(chdtri(part.df, 0.5)) for part in found]))
    return Spread(typical, _sum([Spread(min(part.variance, CAP * typical), part.df) for part in found]).df)


def _seed_spreads(first: Runs, second: Runs, usual: Spread | None) -> list[Spread]:
    """What the seeds add to the variance of the difference.

    Two or three seeds measure a spread badly, and one that comes out small by chance would make any difference look real.
    So the spread is the larger of the one measured on these two methods and the usual one of those of them that tune, with
    the latter's degrees of freedom. Without a usual one a method with a single seed adds nothing.

    The price: methods several times less steady than is usual are tested too kindly. In simulations with one
    method ten times as unsteady as seven others, 3 seeds and no true difference, p fell below 5 % in 15 % of its pairs
    (and a winner was named in 4.5 % of comparisons); alike methods give 3 % or less.
    """
    tuned = [run for run in (first, second) if not (run.fixed or run.quick)]
    if first.seeds == second.seeds and len(first.seeds) > 1:
        own = [_mean_spread(first.values.mean(1) - second.values.mean(1))]
    else:
        own = [_mean_spread(run.values.mean(1)) for run in (first, second) if len(run.seeds) > 1]
    if usual is None or not tuned:
        return own
    floor = sum(usual.variance / len(run.seeds) for run in tuned)
    return [Spread(max(_sum(own).variance, floor), usual.df)]


def _sum(spreads: Sequence[Spread]) -> Spread:
    """The variance of a sum, with Satterthwaite's degrees of freedom."""
    variance = sum(part.variance for part in spreads)
    below = sum(part.variance**2 / part.df for part in spreads)
    return Spread(variance, variance**2 / below if below > 0 else max((part.df for part in spreads), default=1.0))


def difference(first: Runs, second: Runs, usual: Spread | None = None) -> Difference:
    """Test whether two methods differ in score, for new rows and new seeds alike.

    Rows and seeds are crossed random effects. The variance of the mean difference is taken as s2_rows / N + s2_seeds / S,
    where s2_rows is the variance over rows of the difference averaged over seeds and s2_seeds the variance over seeds of
    the difference averaged over rows; what is neither row nor seed is counted in both, which errs on the careful side.
    The degrees of freedom are Satterthwaite's. The p of this t test is raised to that of the exact sign-flip test over
    rows where that is larger, which matters where few rows differ. With one run each the sign-flip test alone is used:
    it is then McNemar's exact test. Where the rows' values are no whole numbers (measures other than a share of rows),
    signs are flipped on a grid, for the rows on which the two did not do the same, and that p alone is never used.

    Settings:
        usual: seed spread for a method with one seed only, from `usual_seed_spread`; without it such a test speaks of
            that one run, not of what other seeds would give.
    Raises:
        DataError: the two were scored on different numbers of rows.
    Source:
        Clark 1973, "The language-as-fixed-effect fallacy" (F1 and F2 together; here as one t); Satterthwaite 1946;
        McNemar 1947.
    """
    if first.values.shape[1] != second.values.shape[1]:
        raise DataError(
            f"{first.values.shape[1]} test rows for one method and {second.values.shape[1]} for the other",
            "the same test rows for both",
            "score both methods on the same rows",
        )
    gaps = first.values.mean(0) - second.values.mean(0)
    mean, spreads = float(gaps.mean()), [_mean_spread(gaps), *_seed_spreads(first, second, usual)]
    total = _sum(spreads)
    error = total.variance**0.5
    whole = first.whole and second.whole
    scale = int(np.lcm(len(first.seeds), len(second.seeds)))
    exact = sign_flip_p(gaps, scale) if whole else graded_flip_p(gaps[~first.same_rows(second)])
    rows_only = whole and len(spreads) == 1 and exact is not None and len(first.seeds) == len(second.seeds) == 1
    p = exact if rows_only and exact is not None else max(t_p(mean, error, total.df), exact or 0.0)
    return Difference(mean, error, total.df, p, first.same_answers(second))


def t_p(mean: float, error: float, df: float) -> float:
    """Two-sided p of mean / error under Student's t."""
    from scipy.special import stdtr

    if mean == 0:
        return 1.0
    return float(2 * stdtr(df, -abs(mean) / error)) if error > 0 else 0.0


def sign_flip_p(gaps: ArrayLike, scale: int = 1) -> float | None:
    """Exact two-sided p if every row's difference were as likely to have the other sign.

    The sum of the flipped differences is a sum of scaled binomials, one for each size of difference, so its distribution
    is found by convolution rather than by drawing. None where the sizes are mixed and add up to more than `EXACT_STEPS`.

    Settings:
        gaps: [N] differences.
        scale: what makes them whole numbers.
    Source:
        Fisher 1935, section 21. Where differences are -1, 0 or 1 it is McNemar's exact test.
    """
    sizes = np.rint(np.asarray(gaps, dtype=np.float64) * scale).astype(np.int64)
    counts = np.bincount(np.abs(sizes))[1:]
    if (counts > 0).sum() > 1 and np.abs(sizes).sum() > EXACT_STEPS:
        return None
    chances = np.ones(1)
    for size, count in enumerate(counts, start=1):
        if count:
            chances = np.convolve(chances, _flipped(size, int(count)))
    distance = np.abs(np.arange(len(chances)) - len(chances) // 2)
    return float(min(1.0, chances[distance >= abs(int(sizes.sum()))].sum()))


def graded_flip_p(gaps: ArrayLike) -> float | None:
    """The sign-flip test of differences of any size, which are rounded to parts of their sum.

    None where no few rows bear the difference: (sum of sizes)^2 / (sum of squares) is above `FEW`. What rounding may hide is
    counted as equal to what was seen, so that p errs upwards.

    Shape: gaps [N].
    """
    sizes = np.abs(np.asarray(gaps, dtype=np.float64))
    total = float(sizes.sum())
    if total == 0:
        return 1.0
    if total**2 / float((sizes**2).sum()) > FEW:
        return None
    steps = np.rint(sizes / total * GRID).astype(np.int64)
    chances = np.ones(1)
    for size, count in enumerate(np.bincount(steps)[1:], start=1):
        if count:
            chances = np.convolve(chances, _flipped(size, int(count)))
    slack = 1 + 0.5 * float((steps > 0).sum()) ** 0.5
    seen = abs(float(np.asarray(gaps, dtype=np.float64).sum())) / total * GRID - slack
    distance = np.abs(np.arange(len(chances)) - len(chances) // 2)
    return float(min(1.0, chances[distance >= seen].sum()))


def _flipped(size: int, count: int) -> NDArray[np.float64]:
    """Chances of the sum of `count` signs times `size`, from -count x size to count x size."""
    from scipy.special import gammaln

    plus = np.arange(count + 1)
    logs = gammaln(count + 1) - gammaln(plus + 1) - gammaln(count - plus + 1) - count * np.log(2)
    chances = np.zeros(2 * size * count + 1)
    chances[:: 2 * size] = np.exp(logs)
    return chances


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """P-values corrected for being several: each may be read as if it were the only one.

    Source:
        Holm 1979. The smallest is multiplied by their number, the next by one less, and none falls below the one before.
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * (len(values) - np.arange(len(values)))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(values) else steps
    return adjusted
