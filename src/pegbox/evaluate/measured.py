"""The numbers of a comparison whose task is seen through measures: entity F1, BLEU, micro F1 and the like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pegbox.errors import DataError
from pegbox.evaluate.lines import Line, MeasuredLine, PartLine
from pegbox.evaluate.record import Cell, Comparison
from pegbox.evaluate.slices import positions
from pegbox.evaluate.standing import Standing, alone, by_method, check_rows
from pegbox.metrics.intervals import interval
from pegbox.metrics.measures import measure
from pegbox.metrics.sums import Summed, estimates, resampled_measure

Statistics = Mapping[str, NDArray[np.float64]]


def measured_lines(comparison: Comparison, resamples: tuple[int, int], seed: int) -> tuple[list[Line], Standing]:
    """The lines, in the order of the methods, and how these stand by the main measure.

    Settings:
        resamples: for the main measure and its differences, and for everything else.

    Raises: DataError for results that do not fit together.
    """
    _check(comparison)
    cells = by_method(comparison)
    main = measure(comparison.measures[0])
    summed = [{name: _summed(own, name) for name in comparison.measures} for own in cells.values()]
    mains = [one[main.name] for one in summed]
    runs = [one.runs(main, quick=not own[0].spends) for own, one in zip(cells.values(), mains, strict=True)]
    samples = resampled_measure(main, mains, resamples[0], seed)
    standing = Standing(list(cells), runs, samples)
    scores = estimates(summed, resamples[1], seed)
    parts = _parts(list(cells.values()), resamples[1], seed)
    slices = _slices(comparison, summed, resamples[1], seed)
    lines: list[Line] = []
    for i, own in enumerate(cells.values()):
        each = [float(score) for score in mains[i].scores(main)]
        scores[i][main.name] = interval(float(np.mean(each)), samples[:, i])
        found = alone(own, each) | standing.of(i)
        lines.append(MeasuredLine(**found, scores=scores[i], parts=parts[i], slices=slices[i]))
    return lines, standing


def _check(comparison: Comparison) -> None:
    check_rows(comparison)
    main = measure(comparison.measures[0])
    if not (main.higher and main.percent):
        raise DataError(f"{main.title} as the main measure", "one that is a share, better when higher", "name another first")
    for cell in comparison.cells:
        for name in comparison.measures:
            found = cell.statistics.get(name)
            if found is None or found.ndim != 2 or len(found) != comparison.rows:
                raise DataError(
                    f"{'no statistics' if found is None else f'statistics of shape {found.shape}'} for {name} from "
                    f"{cell.method!r}, seed {cell.seed}",
                    f"{comparison.rows} test rows by the measure's sums",
                    "score every test row",
                )


def _summed(cells: Sequence[Cell], name: str) -> Summed:
    return Summed(np.stack([cell.statistics[name] for cell in cells]), tuple(cell.seed for cell in cells))


def _parts(methods: Sequence[Sequence[Cell]], resamples: int, seed: int) -> list[tuple[PartLine, ...]]:
    """For each method the scores of each class or type that any run knows; a run that lacks one has nothing of it."""
    every = [cell for cells in methods for cell in cells]
    names = dict.fromkeys(part for cell in every for part in cell.breakdown)
    found: list[list[PartLine]] = [[] for _ in methods]
    for name in names:
        known = next(cell.breakdown[name] for cell in every if name in cell.breakdown)
        summed = [
            {key: Summed(np.stack([_part(cell, name, key, known) for cell in cells]), _seeds(cells)) for key in known}
            for cells in methods
        ]
        for at, scores in enumerate(estimates(summed, resamples, seed)):
            found[at].append(PartLine(name, scores))
    return [tuple(one) for one in found]


def _part(cell: Cell, name: str, key: str, known: Statistics) -> NDArray[np.float64]:
    return cell.breakdown[name][key] if name in cell.breakdown else np.zeros_like(known[key])


def _seeds(cells: Sequence[Cell]) -> tuple[int, ...]:
    return tuple(cell.seed for cell in cells)


def _slices(
    comparison: Comparison, summed: Sequence[Mapping[str, Summed]], resamples: int, seed: int
) -> list[tuple[PartLine, ...]]:
    """For each method the scores of each group of rows, every measure."""
    found: list[list[PartLine]] = [[] for _ in summed]
    for name, index in positions(comparison.groups).items():
        some = [{key: one.take(index) for key, one in method.items()} for method in summed]
        for at, scores in enumerate(estimates(some, resamples, seed)):
            found[at].append(PartLine(name, scores, len(index)))
    return [tuple(one) for one in found]


def run_score(comparison: Comparison, cell: Cell) -> float:
    """The main score of one run."""
    if not comparison.measures:
        return float((cell.probabilities.argmax(1) == comparison.gold).mean())
    main = measure(comparison.measures[0])
    return float(main.score(cell.statistics[main.name].sum(0)))
