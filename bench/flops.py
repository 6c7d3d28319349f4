"""How many multiplications and additions a job cannot do without, in a decoder of the Llama kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Decoder:
    """The sizes of a model.

    Settings:
        width, layers, heads, shared, depth, inner, vocabulary: of hidden states, layers, query heads, key heads, one head,
            the feed-forward part, and the output matrix.
    """

    width: int
    layers: int
    heads: int
    shared: int
    depth: int
    inner: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Decoder:
        """From a Transformers configuration."""
        depth = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        heads, shared = config.num_attention_heads, config.num_key_value_heads
        return cls(
            config.hidden_size, config.num_hidden_layers, heads, shared, depth, config.intermediate_size, config.vocab_size
        )

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """One layer's matrices, as (in, out)."""
        query, key = self.heads * self.depth, self.shared * self.depth
        attention = ((self.width, query), (self.width, key), (self.width, key), (query, self.width))
        return (*attention, (self.width, self.inner), (self.width, self.inner), (self.inner, self.width))

    def forward(self, new: int, seen: float) -> float:
        """Of `new` positions, each of which looks at `seen` positions on average."""
        products = sum(2.0 * first * last for first, last in self.matrices)
        looks = 4.0 * self.heads * self.depth * seen
        return new * self.layers * (products + looks)

    def head(self, positions: int, words: int | None = None) -> float:
        """Of the output matrix at so many positions, for so many words of the vocabulary (all by default)."""
        return 2.0 * positions * self.width * (self.vocabulary if words is None else words)


def step(model: Decoder, runs: Sequence[tuple[int, float]], answers: int) -> float:
    """Of one training step with frozen weights: forward, and back toward the input only.

    Settings:
        runs: (new positions, positions each looks at) of what must be run.
        answers: positions at which the whole vocabulary is scored.
    """
    return 2 * (sum(model.forward(new, seen) for new, seen in runs) + model.head(answers))


def causal(before: int, new: int) -> float:
    """How many positions each of `new` ones looks at on average, with `before` earlier ones."""
    return before + (new + 1) / 2
