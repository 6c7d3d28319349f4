"""How the main score is said: accuracy as right answers, any other measure by its title."""

from __future__ import annotations

from dataclasses import dataclass

from pegbox.evaluate.lines import Line, Summary
from pegbox.evaluate.wording import counted, percent, percent_range
from pegbox.metrics.intervals import Estimate
from pegbox.metrics.measures import measure

ACCURACY = "accuracy"


@dataclass(frozen=True)
class Terms:
    """The words for one comparison.

    Settings:
        title: what the main score is called.
    """

    title: str

    @classmethod
    def of(cls, summary: Summary) -> Terms:
        """The words that fit a summary."""
        return cls(summary.title)

    @property
    def accurate(self) -> bool:
        """Whether the main score counts right answers."""
        return self.title == ACCURACY

    @property
    def commonest(self) -> str:
        """What `majority` gives: in tagging it looks at each word."""
        entities = self.title == measure("entity_f1").title
        return "each word the type that it mostly has" if entities else "the most frequent answer"

    def value(self, score: float) -> str:
        """84.1%, or 84.1."""
        return percent(score) if self.accurate else f"{100 * score:.1f}"

    def score(self, score: float) -> str:
        """84.1%, or entity F1 84.1."""
        return percent(score) if self.accurate else f"{self.title} {self.value(score)}"

    def ends(self, found: Estimate) -> str:
        """82.0 to 86.1%, or without the sign."""
        return percent_range(found) if self.accurate else percent_range(found)[:-1]

    def on_rows(self, score: float, rows: int) -> str:
        """84.1% of 200 test rows right, or entity F1 84.1 on 200 test rows."""
        many = counted(rows, "test row")
        return f"{percent(score)} of {many} right" if self.accurate else f"{self.score(score)} on {many}"

    def span(self, low: float, high: float) -> str:
        """82.0 to 86.1% right, or entity F1 82.0 to 86.1."""
        ends = f"{100 * low:.1f} to {100 * high:.1f}"
        return f"{ends}% right" if self.accurate else f"{self.title} {ends}"

    @property
    def most(self) -> str:
        """What the best method is called."""
        return "the most accurate" if self.accurate else "the best"

    @property
    def no_difference(self) -> str:
        return "gave right answers on exactly the same rows" if self.accurate else "did equally well on every row"

    @property
    def alike(self) -> str:
        """Goes before "as" or stands at the end: how equals are equal."""
        return "with the same right answers" if self.accurate else "equally good on every row"

    @property
    def rows_that_teach(self) -> str:
        return "labelled row" if self.accurate else "training row"

    def method(self, line: Line) -> str:
        """A method with its score in brackets."""
        return f"{line.method} ({self.score(line.main.value)})"
