"""An encoder-decoder model in its two steps: a text is read by the encoder, and answered by the decoder over that reading.

A reading is kept as keys and values are: in the place of keys stand the encoder's last hidden states, in that of values
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from pegbox.backbone.core import Core, before_output
from pegbox.backbone.engine import Head, own_copy
from pegbox.backbone.layout import Ids
from pegbox.backbone.seam import Spent
from pegbox.backbone.storage import Block, KeysValues
from pegbox.errors import BackboneError


class EncoderDecoderEngine(Core):
    """A Transformers encoder-decoder model.

    Settings:
        model: the model with its output head.
        spent: where tokens are counted.

    Raises: BackboneError for a model that does not say with what its decoder begins.
    """

    def __init__(self, model: Any, spent: Spent) -> None:
        super().__init__(model, spent)
        self.body = model.get_encoder()
        begin = getattr(model.config, "decoder_start_token_id", None)
        begin = model.generation_config.decoder_start_token_id if begin is None else begin
        if begin is None:
            raise BackboneError(
                f"{type(model).__name__} without a decoder_start_token_id",
                "the token with which its decoder begins, in config.json or generation_config.json",
                "write it there, as the model's makers say it",
            )
        self.begin = int(begin)
        self._check_logits()

    def extend(self, heads: Sequence[Head], embeds: torch.Tensor, lengths: Sequence[int]) -> Block:
        """The encoder's readings of texts padded on the right, row by row and without padding.

        Settings:
            heads: nothing for each: an encoder cannot look back on what it has read before.

        Shape: embeds [N, T, H]; lengths N.
        """
        assert not any(heads)
        sizes = torch.tensor(lengths, device=self.device)[:, None]
        real = torch.arange(embeds.shape[1], device=self.device)[None] < sizes
        mask = real.long() if min(lengths) < embeds.shape[1] else None
        made: torch.Tensor = self.body(inputs_embeds=embeds.to(self.dtype), attention_mask=mask).last_hidden_state
        self.count(sum(lengths), made)
        runs = [own_copy(states[:length])[None, None] for states, length in zip(made, lengths, strict=True)]
        return tuple(KeysValues(run, run[..., :0]) for run in runs)

    def together(self, heads: Sequence[Head]) -> dict[str, Any]:
        """Readings side by side, as the model takes them. Shape: heads N."""
        read = [head[0].keys[0, 0] for head in heads]
        lengths = torch.tensor([len(states) for states in read], device=self.device)[:, None]
        states = pad_sequence(read, batch_first=True)
        mask = (torch.arange(states.shape[1], device=self.device)[None] < lengths).long()
        return {"encoder_outputs": BaseModelOutput(last_hidden_state=states), "attention_mask": mask}

    def states(self, heads: Sequence[Head], codes: Sequence[Ids]) -> torch.Tensor:
        """What the output matrix is given at every position of what the decoder reads, each over its own reading.

        Shape: heads N; codes N runs of token ids; result [N, T, H], in the model's dtype.
        """
        width = max(map(len, codes))
        ids = torch.tensor([[*run, *[run[-1]] * (width - len(run))] for run in codes], device=self.device)
        given = self.together(heads)
        made = before_output(self.model, lambda: self.model(**given, decoder_input_ids=ids, use_cache=False))
        self.count(sum(map(len, codes)), made)
        return made

    def selected(self, given: dict[str, Any], at: torch.Tensor) -> dict[str, Any]:
        """Some of the readings that lie side by side."""
        states = given["encoder_outputs"].last_hidden_state[at]
        return {"encoder_outputs": BaseModelOutput(last_hidden_state=states), "attention_mask": given["attention_mask"][at]}

    def go_on(self, given: dict[str, Any], ids: torch.Tensor, cache: EncoderDecoderCache) -> torch.Tensor:
        """What the output matrix is given after more tokens of texts whose keys and values lie in a cache, which grows by them.

        Settings:
            given: their readings, as `together` puts them.

        Shape: ids [N, T]; result [N, T, H].
        """
        more = {"decoder_input_ids": ids, "past_key_values": cache, "use_cache": True}
        made = before_output(self.model, lambda: self.model(**given, **more))
        self.count(ids.numel(), made)
        return made

    @torch.no_grad()
    def _check_logits(self) -> None:
        """Proves on two tokens that `logits` does what the model itself does, in its last step."""
        ids = torch.tensor([[1, 2]], device=self.device)
        given = {"input_ids": ids, "decoder_input_ids": ids, "use_cache": False}
        ours = self.logits(before_output(self.model, lambda: self.model(**given)))[0, -1]
        self.prove(self.model(**given).logits[0, -1], ours)
