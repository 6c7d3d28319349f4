"""Transformers' causal models behind the seam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pegbox.backbone.bound import HuggingFaceBound
from pegbox.backbone.decoding import Decoding
from pegbox.backbone.engine import Engine
from pegbox.backbone.guide import Guide, guide
from pegbox.backbone.laid import Written
from pegbox.backbone.loaded import Kind
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.mixed import Passage, Standing, advance
from pegbox.backbone.seam import Answers
from pegbox.backbone.writing import Steps, write, write_by_steps
from pegbox.data.rows import Rows
from pegbox.prompt import Prompt


class HuggingFaceBackbone(LoadedBackbone):
    """See `pegbox.backbone.seam.Backbone`; settings as in `pegbox.backbone.loaded_backbone.LoadedBackbone`."""

    kind: Kind = "causal"
    _engine: Engine

    def _engine_of(self, model: Any) -> Engine:
        return Engine(model, self.spent)

    def bind(self, prompt: Prompt, rows: Rows, answers: Answers) -> HuggingFaceBound:
        """See `pegbox.backbone.seam.Backbone.bind`."""
        return HuggingFaceBound(prompt, rows, answers, self._engine, self.store, self._speller)

    def standing(self, prompt: Prompt, words: Sequence[str] = ()) -> Standing:
        """A filled prompt, ready for rows that come later; see `pegbox.backbone.mixed`."""
        return Standing(prompt, tuple(words), self._engine, self.store, self._speller)

    def advance(self, passages: Sequence[Passage]) -> int:
        """Reads passages of any prompts on, together; see `pegbox.backbone.mixed.advance`."""
        return advance(self._engine, passages)

    def _written(self, prompt: Prompt, rows: Rows, room: int) -> HuggingFaceBound:
        return HuggingFaceBound(prompt, rows, Written(room), self._engine, self.store, self._speller)

    @torch.no_grad()
    def keys_values(self, ids: Sequence[int]) -> torch.Tensor:
        """See `pegbox.backbone.seam.Backbone.keys_values`."""
        embeds = self.embed([*self._speller.start, *ids])[None]
        run, *_ = self._engine.extend([()], embeds, [embeds.shape[1]])
        return self._engine.kept.rows(run).float()

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
        return write(self._engine, standing, rows, decoding, self._start(standing, decoding))

    def generate_by_steps(self, standing: Standing, rows: Rows, decoding: Decoding) -> Steps:
        """The same, token by token: others may use the model after each one."""
        return write_by_steps(self._engine, standing, rows, decoding, self._start(standing, decoding))

    def _start(self, standing: Standing, decoding: Decoding) -> Guide:
        return guide(decoding, self.loaded.tokenizer, self._engine.embedding.shape[0], standing.ends)
