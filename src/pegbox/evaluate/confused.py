"""The test rows that a method got most wrong: where a person should look first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pegbox.evaluate.record import Comparison
from pegbox.evaluate.standing import by_method
from pegbox.metrics.measures import influence, measure


@dataclass(frozen=True)
class ConfusedRow:
    """One wrong answer, with probabilities averaged over seeds.

    Settings:
        number: the row's number in its source.
        text: the row's text.
        gold: the right answer.
        answer: the answer given.
        sure: probability of the answer given.
        right: probability of the right answer.
    """

    number: int
    text: str
    gold: str
    answer: str
    sure: float
    right: float


def most_confused(comparison: Comparison, method: str, limit: int = 12) -> list[ConfusedRow]:
    """The wrong answers of a method that were furthest from right, the worst first."""
    cells = [cell.probabilities for cell in comparison.cells if cell.method == method]
    chances = np.asarray(np.mean(np.stack(cells), axis=0, dtype=np.float64))
    answers, places = chances.argmax(1), np.arange(len(chances))
    lost = chances[places, answers] - chances[places, comparison.gold]
    wrong = np.flatnonzero(answers != comparison.gold)
    return [
        ConfusedRow(
            number=comparison.numbers[i],
            text=comparison.texts[i],
            gold=comparison.labels[int(comparison.gold[i])],
            answer=comparison.labels[int(answers[i])],
            sure=float(chances[i, answers[i]]),
            right=float(chances[i, comparison.gold[i]]),
        )
        for i in wrong[np.argsort(-lost[wrong], kind="stable")][:limit]
    ]


@dataclass(frozen=True)
class CostlyRow:
    """A row that lowers the main measure, under the method's first seed.

    Settings:
        number: the row's number in its source.
        text: the row's text.
        gold: the right answer.
        output: what the method answered.
        lost: by how many points the score would be better without it, times the number of rows.
    """

    number: int
    text: str
    gold: str
    output: str
    lost: float


def costliest(comparison: Comparison, method: str, limit: int = 12) -> list[CostlyRow]:
    """The rows that lower a method's main measure most, the worst first; those that do not lower it are no mistakes."""
    cell, main = by_method(comparison)[method][0], measure(comparison.measures[0])
    values = influence(cell.statistics[main.name], main)
    lost = values.mean() - values
    worst = np.argsort(-lost, kind="stable")[:limit]
    return [
        CostlyRow(comparison.numbers[i], comparison.texts[i], comparison.answers[i], cell.outputs[i], float(lost[i]))
        for i in worst
        if lost[i] > 1e-9
    ]
