"""What every backbone around a Transformers model does alike: spelling, embeddings, features, digests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from pegbox.backbone import fused
from pegbox.backbone.core import Core
from pegbox.backbone.kept_files import KeptFiles
from pegbox.backbone.laid import LaidOut
from pegbox.backbone.layout import Ids, Speller
from pegbox.backbone.loaded import Kind, Loaded, state_digest
from pegbox.backbone.passes import Row, batches
from pegbox.backbone.prefix_store import PrefixStore
from pegbox.backbone.seam import Answers, Bound, Spent
from pegbox.backbone.storage import Storage
from pegbox.backbone.word_features import word_features
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt

FEATURES = 1024
"""Positions in one pass for features: every layer's are held until it is over."""
FORMAT = "1"
"""Of kept keys and values; to be raised when what a block holds, or how it is computed, changes."""


class LoadedBackbone(ABC):
    """See `pegbox.backbone.seam.Backbone`.

    Settings:
        loaded: the model, its tokenizer and its digest.
        cache_bytes: budget for what is kept in memory; a quarter of the free memory by default.
        storage: in which numbers it is kept; bfloat16 and int8 hold more texts in the same bytes, and round scores.
        cache_disk_bytes: budget for what is kept in files, which the next run finds again; 0: none; None: some gigabytes, as
            the disk allows.
    """

    kind: Kind
    _engine: Core

    def __init__(
        self,
        loaded: Loaded,
        cache_bytes: int | None = None,
        storage: Storage = "exact",
        cache_disk_bytes: int | None = 0,
    ) -> None:
        self.name, self.digest, self.dtype, self.device = loaded.name, loaded.digest, loaded.dtype, loaded.device
        self.loaded = loaded
        self.spent = Spent()
        self.storage = storage
        self._engine = self._engine_of(loaded.model)
        files = None if cache_disk_bytes == 0 else KeptFiles(_identity(loaded, storage), cache_disk_bytes)
        self.store = PrefixStore(cache_bytes, storage, loaded.model.dtype, files, self._count_reused)
        self._speller = Speller(loaded.tokenizer, wraps=self.kind != "causal")
        self.width = int(self._engine.embedding.shape[1])
        self.context = self._engine.context

    @abstractmethod
    def _engine_of(self, model: Any) -> Core:
        """What runs the model."""

    @property
    def deep_width(self) -> int:
        """See `pegbox.backbone.seam.Backbone.deep_width`."""
        return self._engine.kept.width

    def keys_values(self, ids: Sequence[int]) -> torch.Tensor:  # noqa: ARG002  # causal models know more
        """See `pegbox.backbone.seam.Backbone.keys_values`. Raises BackboneError: only causal models look back on a prefix."""
        return torch.zeros(0, self._engine.kept.width)

    @abstractmethod
    def bind(self, prompt: Prompt, rows: Rows, answers: Answers) -> Bound:
        """See `pegbox.backbone.seam.Backbone.bind`."""

    @abstractmethod
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
        """See `pegbox.backbone.seam.Backbone.generate`."""

    def _count_reused(self, positions: int) -> None:
        self.spent.forward += positions
        self.spent.reused += positions

    def context_lengths(self, prompt: Prompt, rows: Rows) -> list[int]:
        """See `pegbox.backbone.seam.Backbone.context_lengths`."""
        bound = self._written(prompt, rows, 0)
        return [bound.given + len(codes) + len(bound.after) for codes in bound.contexts(range(len(rows)))]

    def cut_rows(self, prompt: Prompt, rows: Rows, room: int) -> tuple[int, ...]:
        """See `pegbox.backbone.seam.Backbone.cut_rows`."""
        return self._written(prompt, rows, room).cut_rows

    @abstractmethod
    def _written(self, prompt: Prompt, rows: Rows, room: int) -> LaidOut:
        """The prompt over rows, with room for so many tokens to be written."""

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a plain text; what looks like a special token is plain text too."""
        return self._speller.plain([text])[0]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids."""
        return str(self._speller.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    @torch.no_grad()
    def embed(self, ids: Sequence[int]) -> torch.Tensor:
        """Input embeddings. Shape: [P, H], float32."""
        at = torch.tensor(list(ids), dtype=torch.long, device=self._engine.device)
        found: torch.Tensor = self._engine.model.get_input_embeddings()(at)
        return found.float()

    def vocabulary(self) -> tuple[torch.Tensor, NDArray[np.bool_]]:
        """All input embeddings [V, H], and which of them are ordinary words [V]: not special, and the same after decoding."""
        return self.embed(range(self._engine.embedding.shape[0])), self._ordinary

    @cached_property
    def _ordinary(self) -> NDArray[np.bool_]:
        size = self._engine.embedding.shape[0]
        special = set(self._speller.tokenizer.all_special_ids) | set(self._speller.tokenizer.added_tokens_decoder)
        texts = [self.decode([token]) for token in range(min(size, len(self._speller.tokenizer)))]
        again = self._speller.plain(texts)
        ordinary = np.zeros(size, dtype=np.bool_)
        for token, ids in enumerate(again):
            ordinary[token] = token not in special and ids == (token,)
        return ordinary

    @torch.no_grad()
    def features(self, rows: Rows, layers: Sequence[float] = (1.0,)) -> NDArray[np.float32]:
        """See `pegbox.backbone.seam.Backbone.features`."""
        texts = self._speller.plain(rows.column())
        start, after = self._speller.start, self._speller.after
        if not after:  # an empty text, too, is something to read
            start = start or (self._speller.eos,)
        codes = [(start + ids)[: self.context - len(after)] + after for ids in texts]
        asked = [Row((), run, len(run), 0, at) for at, run in enumerate(codes)]
        found = np.zeros((len(codes), len(layers), 2, self.width), dtype=np.float32)
        for batch in batches(asked, FEATURES):
            found[batch] = self._read_layers([codes[at] for at in batch], layers)
        return found

    @torch.no_grad()
    def word_features(
        self, texts: Sequence[str], words: Sequence[Sequence[tuple[int, int]]], layers: Sequence[float] = (1.0,)
    ) -> NDArray[np.float32]:
        """See `pegbox.backbone.word_features.word_features`."""
        return word_features(self._speller, self.context, lambda codes: self._states(codes, layers), texts, words)

    def _read_layers(self, codes: Sequence[Ids], layers: Sequence[float]) -> NDArray[np.float32]:
        lengths = torch.tensor([len(run) for run in codes], device=self._engine.device)
        stacked = self._states(codes, layers)
        real = torch.arange(stacked.shape[2], device=self._engine.device)[None] < lengths[:, None]
        mean = (stacked * real[:, None, :, None]).sum(2) / lengths[:, None, None]
        last = stacked[torch.arange(len(codes)), :, lengths - 1]
        return torch.stack([mean, last], dim=2).cpu().numpy()

    def _states(self, codes: Sequence[Ids], layers: Sequence[float]) -> torch.Tensor:
        """Hidden states of some depths at every position, padded on the right. Shape: [B, layers, T, H], float32."""
        lengths = torch.tensor([len(run) for run in codes], device=self._engine.device)
        width = int(lengths.max())
        ids = torch.tensor([[*run, *[0] * (width - len(run))] for run in codes], device=self._engine.device)
        found = self._engine.layers(ids, torch.arange(width, device=self._engine.device)[None] < lengths[:, None])
        return torch.stack([found[round(depth * (len(found) - 1))].float() for depth in layers], dim=1)

    def forget(self) -> None:
        """See `pegbox.backbone.seam.Backbone.forget`."""
        self.store.clear()

    def weights_digest(self) -> str:
        """See `pegbox.backbone.seam.Backbone.weights_digest`."""
        return state_digest(self._engine.model)

    def with_model(self, model: Any, digest: str) -> Self:
        """A backbone around another model with the same tokenizer: for weights that are being trained.

        It keeps no keys and values, which each step of training would make stale, and lets gradients through to every weight
        that asks for one. Its tokens count as spent here.
        """
        loaded = replace(self.loaded, model=model, digest=digest)
        other = type(self)(loaded, cache_bytes=0)
        other.spent = other._engine.spent = self.spent
        return other


def _identity(loaded: Loaded, storage: Storage) -> str:
    """All that kept numbers depend on besides the texts: another version of the libraries may round otherwise."""
    made_by = (
        torch.__version__,
        transformers.__version__,
        f"fused {fused.REVISION}" if fused.is_used(loaded.model) else "plain",
    )
    return "\n".join([FORMAT, loaded.digest, loaded.dtype, torch.device(loaded.device).type, storage, *made_by])
