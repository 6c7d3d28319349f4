"""Transformers' causal models behind the seam."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  # the field's name for it
from transformers import GenerationConfig

from pegbox.backbone.bound import HuggingFaceBound
from pegbox.backbone.engine import Engine
from pegbox.backbone.laid import Written
from pegbox.backbone.loaded import Kind
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.mixed import Passage, Standing, advance
from pegbox.backbone.seam import Answers
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import Prompt

_BATCH = 16


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

    @torch.no_grad()
    def generate(
        self,
        prompt: Prompt,
        rows: Rows,
        *,
        max_tokens: int = 64,
        stop: Sequence[str] = (),
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """See `pegbox.backbone.seam.Backbone.generate`."""
        if max_tokens < 1 or temperature < 0 or "" in stop:
            raise SettingsError(
                f"max_tokens={max_tokens}, temperature={temperature}, stop={list(stop)}",
                "at least one token, a temperature of 0 or more, and stop strings with something in them",
                "correct the one that is not so",
            )
        bound = self._written(prompt, rows, max_tokens)
        ends = {self._speller.eos, *self._engine.ends}
        if prompt.is_chat:
            ends.add(bound.end_token)
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}
        config = GenerationConfig(
            max_new_tokens=max_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=self._speller.eos,
            stop_strings=list(stop) or None,
            **sampling,
        )
        texts: list[str] = []
        with _without_own_settings(self._engine.model), torch.random.fork_rng():
            torch.manual_seed(seed)
            batch = _BATCH if not bound.given or self._engine.full_attention else 1  # padding would stand behind a deep slot
            for first in range(0, len(rows), batch):
                index = range(first, min(first + batch, len(rows)))
                codes = bound.contexts(index)
                made = [_finished(ids, ends) for ids in self._write(bound, index, config)]
                self.spent.forward += sum(map(len, codes)) + sum(map(len, made))
                texts.extend(until(self._speller.words(ids), stop) for ids in made)
        return texts

    def _write(self, bound: HuggingFaceBound, index: Sequence[int], config: GenerationConfig) -> list[list[int]]:
        embeds, mask = self._left_padded(bound, index)
        tokenizer = self._speller.tokenizer if config.stop_strings else None
        kept = self._engine.cache(bound.before(len(index))) if bound.given else None
        made = self._engine.model.generate(
            inputs_embeds=embeds, attention_mask=mask, past_key_values=kept, generation_config=config, tokenizer=tokenizer
        )
        return [[int(token) for token in ids] for ids in made]

    def _left_padded(self, bound: HuggingFaceBound, index: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings and what of them is real; Transformers asks for places before them for what is kept already."""
        codes = bound.contexts(index)
        width = max(len(run) for run in codes)
        right = bound.values(index).embeds(codes, [0] * len(codes), range(len(codes))).to(self._engine.dtype)
        embeds, mask = torch.zeros_like(right), torch.zeros(right.shape[:2], dtype=torch.long, device=right.device)
        for row, run in enumerate(codes):
            embeds[row, width - len(run) :] = right[row, : len(run)]
            mask[row, width - len(run) :] = 1
        return F.pad(embeds, (0, 0, bound.given, 0)), F.pad(mask, (bound.given, 0), value=1)


@contextmanager
def _without_own_settings(model: Any) -> Iterator[None]:
    """Within it, the settings that a model brings along, such as a penalty on repeating words, do not mix in."""
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def _finished(ids: Sequence[int], ends: set[int]) -> list[int]:
    """What was written before the first token that ends a text; after it comes padding."""
    at = next((at for at, token in enumerate(ids) if token in ends), len(ids))
    return list(ids[:at])


def until(text: str, stop: Sequence[str]) -> str:
    """The text up to the first stop string in it; none of these is empty."""
    ends = [text.index(mark) for mark in stop if mark in text]
    return text[: min(ends)] if ends else text
