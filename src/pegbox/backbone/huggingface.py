"""Transformers' causal models behind the seam."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from pegbox.backbone.bound import HuggingFaceBound, Written
from pegbox.backbone.decoding import Decoding
from pegbox.backbone.engine import Engine
from pegbox.backbone.guide import guide
from pegbox.backbone.kept_files import KeptFiles
from pegbox.backbone.layout import Speller
from pegbox.backbone.loaded import Loaded, state_digest
from pegbox.backbone.mixed import Passage, Standing, advance
from pegbox.backbone.passes import Row, batches
from pegbox.backbone.prefix_store import PrefixStore
from pegbox.backbone.seam import Answers, Spent
from pegbox.backbone.storage import Storage
from pegbox.backbone.writing import write
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt

FEATURES = 1024
"""Positions in one pass for features: every layer's are held until it is over."""
FORMAT = "1"
"""Of kept keys and values; to be raised when what a block holds, or how it is computed, changes."""


class HuggingFaceBackbone:
    """See `pegbox.backbone.seam.Backbone`.

    Settings:
        loaded: the model, its tokenizer and its digest.
        cache_bytes: budget for kept keys and values in memory; a quarter of the free memory by default.
        storage: in which numbers these are kept; bfloat16 and int8 hold more texts in the same bytes, and round scores.
        cache_disk_bytes: budget for kept keys and values in files, which the next run finds again; 0: none; None: some
            gigabytes, as the disk allows.
    """

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
        files = None if cache_disk_bytes == 0 else KeptFiles(_identity(loaded, storage), cache_disk_bytes)
        self.store = PrefixStore(cache_bytes, storage, loaded.model.dtype, files, self._count_reused)
        self._engine = Engine(loaded.model, self.spent)
        self._speller = Speller(loaded.tokenizer)
        self.width = int(self._engine.embedding.shape[1])
        self.context = self._engine.context

    def _count_reused(self, positions: int) -> None:
        self.spent.forward += positions
        self.spent.reused += positions

    def bind(self, prompt: Prompt, rows: Rows, answers: Answers) -> HuggingFaceBound:
        """See `pegbox.backbone.seam.Backbone.bind`."""
        return HuggingFaceBound(prompt, rows, answers, self._engine, self.store, self._speller)

    def standing(self, prompt: Prompt, words: Sequence[str] = ()) -> Standing:
        """A filled prompt, ready for rows that come later; see `pegbox.backbone.mixed`."""
        return Standing(prompt, tuple(words), self._engine, self.store, self._speller)

    def advance(self, passages: Sequence[Passage]) -> int:
        """Reads passages of any prompts on, together; see `pegbox.backbone.mixed.advance`."""
        return advance(self._engine, passages)

    def context_lengths(self, prompt: Prompt, rows: Rows) -> list[int]:
        """How many positions each row takes up to the answer, all slots filled."""
        return [len(codes) for codes in self._written(prompt, rows, 0).contexts(range(len(rows)))]

    def cut_rows(self, prompt: Prompt, rows: Rows, room: int) -> tuple[int, ...]:
        """See `pegbox.backbone.seam.Backbone.cut_rows`."""
        return self._written(prompt, rows, room).cut_rows

    def _written(self, prompt: Prompt, rows: Rows, room: int) -> HuggingFaceBound:
        return HuggingFaceBound(prompt, rows, Written(room), self._engine, self.store, self._speller)

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
        start = self._speller.start or (self._speller.eos,)
        codes = [(start + ids)[: self._engine.context] for ids in texts]
        asked = [Row((), run, len(run), 0, at) for at, run in enumerate(codes)]
        found = np.zeros((len(codes), len(layers), 2, self.width), dtype=np.float32)
        for batch in batches(asked, FEATURES):
            found[batch] = self._read_layers([codes[at] for at in batch], layers)
        return found

    def _read_layers(self, codes: Sequence[tuple[int, ...]], layers: Sequence[float]) -> NDArray[np.float32]:
        lengths = torch.tensor([len(run) for run in codes], device=self._engine.device)
        width = int(lengths.max())
        ids = torch.tensor([[*run, *[0] * (width - len(run))] for run in codes], device=self._engine.device)
        real = torch.arange(width, device=self._engine.device)[None] < lengths[:, None]
        out = self._engine.body(input_ids=ids, attention_mask=real.long(), use_cache=False, output_hidden_states=True)
        self.spent.forward += int(lengths.sum())
        states = [out.hidden_states[round(depth * (len(out.hidden_states) - 1))].float() for depth in layers]
        stacked = torch.stack(states, dim=1)  # [B, layers, T, H]
        mean = (stacked * real[:, None, :, None]).sum(2) / lengths[:, None, None]
        last = stacked[torch.arange(len(codes)), :, lengths - 1]
        return torch.stack([mean, last], dim=2).cpu().numpy()

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
        decoding = Decoding(max_tokens, tuple(stop), temperature, seed=seed, **more)
        standing = self.standing(prompt)
        start = guide(decoding, self.loaded.tokenizer, self._engine.embedding.shape[0], standing.ends)
        return write(self._engine, standing, rows, decoding, start)

    def forget(self) -> None:
        """See `pegbox.backbone.seam.Backbone.forget`."""
        self.store.clear()

    def weights_digest(self) -> str:
        """See `pegbox.backbone.seam.Backbone.weights_digest`."""
        return state_digest(self._engine.model)

    def with_model(self, model: Any, digest: str) -> HuggingFaceBackbone:
        """A backbone around another model with the same tokenizer: for weights that are being trained.

        It keeps no keys and values, which each step of training would make stale, and lets gradients through to every weight
        that asks for one. Its tokens count as spent here.
        """
        loaded = Loaded(model, self.loaded.tokenizer, self.name, digest, self.dtype, self.device)
        other = HuggingFaceBackbone(loaded, cache_bytes=0)
        other.spent = other._engine.spent = self.spent
        return other


def _identity(loaded: Loaded, storage: Storage) -> str:
    """All that kept numbers depend on besides the texts: another version of the libraries may round otherwise."""
    made_by = (torch.__version__, transformers.__version__)
    return "\n".join([FORMAT, loaded.digest, loaded.dtype, torch.device(loaded.device).type, storage, *made_by])
