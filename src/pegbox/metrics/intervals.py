"""95 % intervals by resampling test rows and seeds together, the same rows for every method."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pegbox.errors import DataError
from pegbox.metrics import confusion
from pegbox.metrics.classification import BINS, brier_rows, checked, confidence_bins, log_loss_rows
from pegbox.metrics.runs import Runs

CHUNK_BYTES = 64 * 2**20
"""How much memory one chunk of resamples may take."""

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval."""

    value: float
    low: float
    high: float


def interval(value: float, samples: Samples, level: float = 0.95) -> Estimate:
    """The percentile interval: the middle `level` of the resampled values. Shape: samples [R]."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(value), float(low), float(high))


def centred_interval(value: float, samples: Samples, level: float = 0.95) -> Estimate:
    """The percentile interval moved so that the resampled values average to the estimate, and not below 0.

    For calibration error, whose resampled values lie above the estimate by construction: resampling adds noise to every
    bin, and the error takes absolute values.
    """
    raw, shift = interval(value, samples, level), float(value - samples.mean())
    return Estimate(float(value), max(0.0, raw.low + shift), max(0.0, raw.high + shift))


def row_weights(rows: int, resamples: int, seed: int) -> Iterator[NDArray[np.float32]]:
    """How often each row is drawn in each resample, in chunks [r, N] that add up to `resamples`."""
    generator = np.random.default_rng([seed, 0])
    size = max(1, min(resamples, CHUNK_BYTES // (16 * rows)))
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        drawn = generator.integers(0, rows, (count, rows), dtype=np.int64)
        drawn += np.arange(count)[:, None] * rows
        yield np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows).astype(np.float32)


def seed_weights(seeds: tuple[int, ...], resamples: int, seed: int) -> NDArray[np.float32]:
    """The weight of each seed in each resample, [R, S]; equal for methods with equal seeds.

    S - 1 of the S seeds are drawn with replacement: drawing S would understate the variance of a mean by the factor
    (S - 1) / S, which for 3 seeds is a third.

    Source:
        McCarthy and Snowden 1985, "The bootstrap and finite population sampling"; Rao and Wu 1988.
    """
    count = len(seeds)
    if count == 1:
        return np.ones((resamples, 1), dtype=np.float32)
    generator = np.random.default_rng([seed, 1, *(value + 1 for value in seeds)])
    drawn = generator.integers(0, count, (resamples, count - 1)) + np.arange(resamples)[:, None] * count
    counts = np.bincount(drawn.ravel(), minlength=resamples * count).reshape(resamples, count)
    return (counts / (count - 1)).astype(np.float32)


def resampled_accuracy(runs: Sequence[Runs], resamples: int = 10_000, seed: int = 0) -> Samples:
    """Each method's accuracy in each resample of rows and seeds.

    The same rows are drawn for all methods, and the same seeds for all methods that have the same seeds, so differences
    of columns are paired.

    Shape:
        [R, M].
    Source:
        Owen 2007, "The pigeonhole bootstrap" (rows and columns resampled independently).
    """
    rows = same_rows([run.values.shape[1] for run in runs], resamples)
    correct = np.concatenate([run.values for run in runs]).astype(np.float32)
    each = np.concatenate([weights @ correct.T / rows for weights in row_weights(rows, resamples, seed)])
    return over_seeds(each, [run.seeds for run in runs], seed)


def same_rows(counts: Sequence[int], resamples: int) -> int:
    """The number of rows, equal for all. Raises DataError where it is not, or without resamples."""
    if resamples < 1 or len(set(counts)) != 1:
        raise DataError(
            f"{resamples} resamples of methods with {sorted(set(counts))} rows",
            "at least one resample, and methods scored on the same rows",
            "score every method on the same test rows",
        )
    return counts[0]


def over_seeds(values: NDArray[np.floating], seeds: Sequence[tuple[int, ...]], seed: int) -> Samples:
    """Average each method's runs with the resampled seeds. Shape: [R, G, ...] to [R, M, ...]; G runs lie method by method."""
    means, start = [], 0
    for own in seeds:
        weights = seed_weights(own, len(values), seed)
        means.append(np.einsum("rs,rs...->r...", weights, values[:, start : start + len(own)]))
        start += len(own)
    return np.stack(means, axis=1).astype(np.float64)


@dataclass(frozen=True)
class Scored:
    """One method's probabilities under each seed. Shape: probabilities [S, N, C]."""

    probabilities: NDArray[np.floating]
    seeds: tuple[int, ...]

    def runs(self, gold: ArrayLike) -> Runs:
        """Where its likeliest answer is the gold one."""
        return Runs(self.probabilities.argmax(2) == np.asarray(gold), self.seeds)


MACRO = ("precision", "recall", "f1")


def resampled_scores(gold: ArrayLike, methods: Sequence[Scored], resamples: int = 2_000, seed: int = 0) -> dict[str, Samples]:
    """Every other score in each resample of rows and seeds; a method's score is the mean over its runs.

    Shape:
        ``macro_precision``, ``macro_recall``, ``macro_f1``, ``mcc``, ``ece``, ``brier``, ``log_loss``: [R, M];
        ``precision``, ``recall``, ``f1``: [R, M, C].
    """
    rows = same_rows([method.probabilities.shape[1] for method in methods], resamples)
    runs = [checked(gold, run) for method in methods for run in method.probabilities]
    classes, losses = runs[0][1].shape[1], np.stack([[brier_rows(*run), log_loss_rows(*run)] for run in runs])
    cells, gaps = _cells(runs), _calibration(runs)
    parts: dict[str, list[NDArray[np.floating]]] = {}
    for weights in row_weights(rows, resamples, seed):
        few = max(1, CHUNK_BYTES // (8 * len(runs) * (classes**2 + BINS)))
        for part in np.split(weights, range(few, len(weights), few)):
            counts = (cells @ part.T).reshape(len(runs), classes, classes, -1).transpose(3, 0, 1, 2)
            bins = (gaps @ part.T).reshape(len(runs), BINS, -1)
            scores = _from_counts(counts)
            scores["ece"] = np.abs(bins).sum(1).T / rows
            scores["brier"], scores["log_loss"] = part @ losses.transpose(1, 2, 0) / rows
            for name, values in scores.items():
                parts.setdefault(name, []).append(values)
    own = [method.seeds for method in methods]
    return {name: over_seeds(np.concatenate(values), own, seed) for name, values in parts.items()}


def _from_counts(counts: NDArray[np.floating]) -> dict[str, NDArray[np.floating]]:
    """Scores that a confusion matrix decides. Shape: counts [R, G, C, C]."""
    each = dict(zip(MACRO, confusion.per_class(counts), strict=True))
    means = {f"macro_{name}": confusion.macro(values, counts) for name, values in each.items()}
    return {**each, **means, "mcc": confusion.mcc(counts)}


def _cells(runs: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> Any:
    """Sparse [G x C x C, N]: 1 where a row falls into a cell of a run's confusion matrix.

    Times the row weights it gives every confusion matrix of every resample, at one addition for each row, run and resample.
    """
    classes = runs[0][1].shape[1]
    places = [labels * classes + chances.argmax(1) for labels, chances in runs]
    return _sparse(places, [np.ones(len(place)) for place in places], classes**2)


def _calibration(runs: Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]) -> Any:
    """Sparse [G x BINS, N]: confidence less correctness, where a row falls into a bin of a run."""
    places = [confidence_bins(chances.max(1)) for _, chances in runs]
    return _sparse(places, [chances.max(1) - (chances.argmax(1) == labels) for labels, chances in runs], BINS)


def _sparse(places: Sequence[NDArray[np.int64]], values: Sequence[NDArray[np.float64]], width: int) -> Any:
    from scipy.sparse import csr_array

    count, rows = len(places), len(places[0])
    lines = np.concatenate([place + number * width for number, place in enumerate(places)])
    columns = np.tile(np.arange(rows), count)
    return csr_array((np.concatenate(values).astype(np.float32), (lines, columns)), shape=(count * width, rows))
