"""The seam: the whole contract between tuning methods and frozen models.

    bound = backbone.bind(prompt, rows, answers)
    bound.score(index, live)        -> log-probabilities [K, B, C], differentiable in live's vectors
    backbone.generate(prompt, rows) -> texts

A method sees nothing else of a model, so it runs on every backbone. Letters: K variants, B rows, C answers, P slot length,
H width, V vocabulary, L layers, T positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pegbox.backbone.loaded import Kind
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt

Words = Sequence[Sequence[int]]
"""Token ids for K variants, which may differ in length: K sequences of P ids."""

Live = Mapping[str, torch.Tensor | Words]
"""What stands in each named slot for one call.

Shape: words as K sequences of ids or an integer tensor [K, P]; vectors as a float tensor [K, P, H], or [K or 1, B or 1, P, H]
where each row has its own. 1 stands for all. A deep slot takes [K, P, W], its keys and values; see `DeepSlot`.
"""


@dataclass(frozen=True)
class Choices:
    """Answers to choose from, the same C words for every row.

    Their log-probabilities are those of the words spelled token by token, at each token among the tokens that lead on to some
    choice; so they add up to 1 over the choices, a word may have any number of tokens, and longer words pay nothing for their
    certain continuations. Only the choices' rows of the output matrix are multiplied. A masked model reads all tokens of a word
    at once, at as many masks (`pegbox.backbone.masked`).

    Settings:
        words: the answers.
        over: "vocabulary": where choices part, a token's probability is that among all tokens there are, so the whole output
            matrix is multiplied. The probabilities then add up to less than 1, by what the model would rather say than any
            of the choices: dearer, and a better teacher. What follows certainly costs nothing here either.
    """

    words: tuple[str, ...]
    over: Literal["choices", "vocabulary"] = "choices"


@dataclass(frozen=True)
class Targets:
    """One text to be scored for each row (C = 1): the sum of its tokens' log-probabilities over the whole vocabulary.

    A text longer than half of what the prompt's own words leave of the model's context is cut at its end; an encoder-decoder
    model has all of its decoder for it. A masked model gives its pseudo-log-likelihood.

    Settings:
        ended: the token that ends an answer is scored too, so that a model can be taught where to stop; a text that was cut
            has none.
    """

    texts: tuple[str, ...]
    ended: bool = False


Answers = Choices | Targets


@dataclass
class Spent:
    """Tokens that went through a backbone so far. Backward tokens are counted apart from the forward pass before them.

    Settings:
        reused: how many of the forward tokens were not run, since their keys and values lay in files of an earlier run.
    """

    forward: int = 0
    backward: int = 0
    reused: int = 0

    def __sub__(self, before: Spent) -> Spent:
        return Spent(self.forward - before.forward, self.backward - before.backward, self.reused - before.reused)


class Bound(Protocol):
    """A prompt, rows and answers, tied to a backbone and ready to be scored."""

    @property
    def cut_rows(self) -> tuple[int, ...]:
        """Positions of the rows whose fields or targets were cut to fit into the model's context."""

    @property
    def target_lengths(self) -> tuple[int, ...]:
        """How many tokens of each row's target are scored, the one that ends it included where it is."""

    def score(self, index: Sequence[int], live: Live | None = None, only: Sequence[int] | None = None) -> torch.Tensor:
        """Log-probabilities of the answers.

        Settings:
            index: positions of the B rows asked about.
            live: what stands in the open slots (a filled slot may be overruled too).
            only: for each of these rows the number of the one choice to score, and C is 1: the others' words are not read then.
                For choices over the vocabulary, which need not know each other.

        Shape: [K, B, C], float32; K is 1 without live values.
        Raises: PromptError when a slot is neither filled nor live.
        """

    def next_words(self, index: Sequence[int], tokens: Sequence[int] | None = None) -> torch.Tensor:
        """Log-probabilities of tokens where the answer begins; all slots are filled.

        Settings:
            index: positions of the B rows asked about; without `tokens` ask for a few dozen at a time.
            tokens: which tokens; the probabilities add up to 1 over these. None: the whole vocabulary.

        Shape: [B, V] or [B, number of tokens], float32.
        """


class Backbone(Protocol):
    """A frozen model behind the seam.

    Settings:
        name: the model as the user named it.
        digest: SHA-256 over weights, configuration and tokenizer.
        width: H.
        deep_width: W, the numbers that a deep slot holds for each position.
        context: how many positions the model can read.
        spent: tokens that went through it so far.
        kind: "causal", "masked" or "encoder-decoder": what it reads before it answers, and where the answer is read.
    """

    name: str
    digest: str
    dtype: str
    device: str
    width: int
    context: int
    spent: Spent
    kind: Kind

    @property
    def deep_width(self) -> int: ...

    def bind(self, prompt: Prompt, rows: Rows, answers: Answers) -> Bound:
        """Ties a prompt, rows and answers together; the slots may still be open."""

    def generate(
        self,
        prompt: Prompt,
        rows: Rows,
        *,
        max_tokens: int = 64,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        seed: int = 0,
        **more: Any,
    ) -> list[str]:
        """What the model writes where the prompt's answer stands, for each row.

        Settings:
            max_tokens: the most that is written; texts are cut so that there is room for it.
            stop: strings at which the writing ends; they are left out.
            temperature: 0 takes the likeliest token each time. Above 0 tokens are drawn, for each row from its own stream of
                chance.
            seed: of those streams.
            more: `top_p`, `beams`, `length_penalty`, `regex`, `json_schema`; see `pegbox.backbone.decoding.Decoding`.

        The slots are filled; words and vectors may stand in any place.
        """

    def context_lengths(self, prompt: Prompt, rows: Rows) -> list[int]:
        """How many positions each row takes up to the answer, all slots filled; where the model reads all of a prompt before it
        answers, all but the answer's own."""

    def cut_rows(self, prompt: Prompt, rows: Rows, room: int) -> tuple[int, ...]:
        """Positions of the rows whose fields are cut so that there is room for so many tokens after them."""

    def encode(self, text: str) -> tuple[int, ...]:
        """The text's token ids. Marks such as ``<|im_end|>`` in it are plain characters."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""

    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Input embeddings. Shape: [P, H], float32."""

    def keys_values(self, ids: Sequence[int]) -> torch.Tensor:
        """What a deep slot holds that scores as a text with these tokens does where it stands first.

        Shape: [P, W], float32. P is one more than there are tokens where the model begins its texts with a token of its own.
        Raises: BackboneError for a model that is not causal.
        """

    def vocabulary(self) -> tuple[torch.Tensor, NDArray[np.bool_]]:
        """All input embeddings and which of them are ordinary words. Shape: [V, H]; [V]."""

    def features(self, rows: Rows, layers: Sequence[float] = (1.0,)) -> NDArray[np.float32]:
        """What the frozen model makes of each row's field ``text``, for probes and nearest neighbours.

        Settings:
            layers: depths to read, as shares of the model's layers.

        Shape: [B, len(layers), 2, H]: the mean over the text's positions, and the last position.
        """

    def forget(self) -> None:
        """Drops what was kept of earlier prompts and rows, so that the work to come costs what it would cost alone."""

    def weights_digest(self) -> str:
        """SHA-256 over the weights as they are in memory, to prove that nothing moved them."""
