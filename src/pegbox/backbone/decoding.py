"""How texts are written: greedily, by chance, or by a search over several beams; and when a text is at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pegbox.errors import SettingsError


@dataclass(frozen=True)
class Decoding:
    """How a text is written.

    Settings:
        max_tokens: the most that is written; texts are cut so that there is room for it.
        stop: strings at which the writing ends; they are left out.
        temperature: 0 takes the likeliest token each time; above 0 tokens are drawn.
        top_p: tokens are drawn from the likeliest that together have this share.
        seed: of the draws. Each row has its own stream of chance, whichever rows are beside it.
        beams: how many beginnings are kept of each text; from 2 on the likeliest whole text of these is taken.
        length_penalty: beams are compared by their log-probability divided by their number of tokens to this power: above 0
            longer texts are preferred.
        regex: what is written matches this regular expression, as a whole.
        json_schema: what is written is JSON of this schema (a schema in JSON).

    Raises: SettingsError for numbers out of range, and for chance together with beams.
    """

    max_tokens: int = 64
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    beams: int = 1
    length_penalty: float = 1.0
    regex: str | None = None
    json_schema: str | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.temperature < 0 or "" in self.stop:
            raise SettingsError(
                f"max_tokens={self.max_tokens}, temperature={self.temperature}, stop={list(self.stop)}",
                "at least one token, a temperature of 0 or more, and stop strings with something in them",
                "correct the one that is not so",
            )
        if not 0 < self.top_p <= 1 or self.beams < 1 or self.seed < 0:
            raise SettingsError(
                f"top_p={self.top_p}, beams={self.beams}, seed={self.seed}",
                "a share above 0 and up to 1, at least one beam, and a seed from 0 up",
                "correct the one that is not so",
            )
        if self.beams > 1 and self.temperature > 0:
            raise SettingsError(
                f"{self.beams} beams at temperature {self.temperature}",
                "either chance or beams",
                "say temperature=0 for beams, or beams=1 for chance",
            )
        if self.regex is not None and self.json_schema is not None:
            raise SettingsError("a regular expression and a JSON schema", "one of them", "leave one out")

    def worth(self, score: float, tokens: int) -> float:
        """By what a text of so many tokens, the one that ends it among them, is compared with other beams of its row."""
        return float(score / tokens**self.length_penalty)


def chance(seed: int, number: int) -> torch.Generator:
    """The stream of chance of one row."""
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def pick(logits: torch.Tensor, temperature: float, top_p: float, stream: torch.Generator) -> int:
    """The likeliest token, or one drawn. Shape: logits [V]."""
    if temperature == 0:
        return int(logits.argmax())
    shares, order = (logits.double().cpu() / temperature).softmax(-1).sort(descending=True)
    shares = shares * (shares.cumsum(-1) - shares < top_p)  # the likeliest one is always among them
    return int(order[torch.multinomial(shares, 1, generator=stream)])


def until(text: str, stop: Sequence[str]) -> str:
    """The text up to the first stop string in it; none of these is empty."""
    ends = [text.index(mark) for mark in stop if mark in text]
    return text[: min(ends)] if ends else text
