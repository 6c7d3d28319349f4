"""What tuning sees of a task whose answers are whole texts: how likely the frozen model finds them, a token at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone, Live, Targets
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt
from pegbox.prompt.turns import said, written
from pegbox.task.calibration import Method
from pegbox.task.classification import BoundClassification, Classification, Over

REFERENCE = "reference"


@dataclass(frozen=True)
class Likelihood(Classification):
    """A classification with one answer, the row's own text, which is its label.

    There is nothing to choose from: a row's score is the mean log-probability of the text's tokens, the one that ends it among
    them, and prompts are compared by it. So every method that learns from losses alone works on texts as it does on labels.

    Settings:
        instruction: a plain one, to start vectors and open slots from.
        turns: the field that holds the turns of a conversation, where it is one.
    """

    chooses: ClassVar[bool] = False
    labels: tuple[str, ...] = (REFERENCE,)
    calibration: Method = "none"
    instruction: str = "Write the answer that belongs to the text."
    turns: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", {REFERENCE: (REFERENCE,)})

    def words_in(self, prompt: Prompt) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002  # texts have no other words
        return self.words

    def asks(self, prompt: Prompt) -> str:  # noqa: ARG002
        return self.instruction

    def shown(self, rows: Rows, index: Sequence[int], words: Sequence[str], cut: Callable[[str], str]) -> list[str]:  # noqa: ARG002
        given = rows.answers()
        return [cut(given[at]) for at in index]

    def example(self, row: Mapping[str, str], names: Sequence[str], cut: Callable[[str], str]) -> dict[str, str]:
        """Of a conversation the user's last turn alone."""
        if self.turns is None:
            return super().example(row, names, cut)
        role, content = said(row[self.turns])[-1]
        plain = super().example(row, [name for name in names if name != self.turns], cut)
        return {**plain, self.turns: written([(role, cut(content))])}

    def gold(self, rows: Rows) -> NDArray[np.int64]:
        return np.zeros(len(rows.answers()), dtype=np.int64)

    def prior(self, rows: Rows) -> NDArray[np.float64]:  # noqa: ARG002
        return np.ones(1)

    def bind(self, prompt: Prompt, backbone: Backbone, rows: Rows, loss: Over = "labels") -> BoundClassification:  # noqa: ARG002
        return BoundLikelihood(prompt, backbone, rows)


class BoundLikelihood(BoundClassification):
    """A prompt over rows, scored by the texts that are their labels."""

    def __init__(self, prompt: Prompt, backbone: Backbone, rows: Rows) -> None:
        bound = backbone.bind(prompt, rows, Targets(rows.answers(), ended=True))
        self._bounds, self.parted, self.long = (bound,), None, Likelihood().long  # texts are cut, never read in pieces
        self._lengths = torch.tensor(bound.target_lengths, dtype=torch.float32)
        self.gold = torch.zeros(len(rows), dtype=torch.int64)
        self.size = len(rows)

    def scores(self, index: Sequence[int], live: Live | None = None) -> torch.Tensor:
        """Mean log-probability of each text's tokens. Shape: [K, B, 1]."""
        found = self._bounds[0].score(index, live)
        return found / self._lengths[list(index)].to(found.device)[:, None]

    def losses(self, index: Sequence[int], live: Live | None = None) -> torch.Tensor:
        """Nats for a token. Shape: [K, B]."""
        return -self.scores(index, live)[..., 0]

    @torch.no_grad()
    def sums(self) -> NDArray[np.float64]:
        """Each text's loss in nats, and its number of tokens. Shape: [B, 2]."""
        losses = -self._bounds[0].score(range(self.size))[0, :, 0]
        return np.stack([losses.double().cpu().numpy(), self._lengths.double().numpy()], axis=1)
