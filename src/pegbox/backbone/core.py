"""What the engines of all families do alike: a frozen model's numbers, its words' vectors and its output matrix."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from pegbox.backbone.deep import Kept
from pegbox.backbone.matrices import Matrix, kept_twice, times
from pegbox.backbone.seam import Spent
from pegbox.errors import BackboneError


class Core:
    """A Transformers model with an output matrix.

    Settings:
        model: the model with its output head.
        spent: where tokens are counted.
    """

    without_cache: Mapping[str, bool] = {}
    """What tells the model's body to keep no keys and values, where it would."""

    def __init__(self, model: Any, spent: Spent) -> None:
        self.model = model
        self.body = model.base_model
        self.spent = spent
        self.dtype: torch.dtype = model.dtype
        self.device: torch.device = model.device
        self.embedding: torch.Tensor = model.get_input_embeddings().weight
        config = model.config.get_text_config()
        names = ("max_position_embeddings", "n_positions", "max_encoder_position_embeddings")
        self.context: int = int(next((found for name in names if (found := getattr(config, name, None))), 1 << 20))
        self._softcap: float | None = getattr(config, "final_logit_softcapping", None)
        self._scale: float = float(getattr(config, "logit_scale", None) or 1.0)
        self._scale /= float(getattr(config, "logits_scaling", None) or 1.0)
        self._head: Matrix | None = None

    @property
    def ends(self) -> frozenset[int]:
        """The tokens with which the model itself ends a text."""
        found: int | list[int] | None = self.model.generation_config.eos_token_id
        return frozenset([] if found is None else found if isinstance(found, list) else [found])

    @property
    def training(self) -> bool:
        """Whether a pass now leads a gradient to weights that are being trained; never so for a frozen model."""
        return torch.is_grad_enabled() and any(weights.requires_grad for weights in self.model.parameters())

    @cached_property
    def mean_embedding(self) -> torch.Tensor:
        """The mean of all words' input embeddings. Shape: [H], float32."""
        with torch.no_grad():  # through the layer: some models scale what stands in the table
            every = torch.arange(self.embedding.shape[0], device=self.device)
            mean: torch.Tensor = self.model.get_input_embeddings()(every).float().mean(0)
            return mean

    @property
    def kept(self) -> Kept:
        """How the model keeps a position, for deep slots. Raises BackboneError where it keeps none."""
        raise BackboneError(
            f"a deep slot for {type(self.model).__name__}",
            "a causal model, which looks back on kept keys and values",
            "use a soft slot on this model",
        )

    def logits(self, hidden: torch.Tensor, tokens: Sequence[int] | None = None) -> torch.Tensor:
        """The output matrix's rows for these tokens (all of them by default), applied to hidden states.

        Shape: hidden [..., H]; result [..., number of tokens], float32.
        """
        head = self.model.get_output_embeddings()
        weight, bias = head.weight, getattr(head, "bias", None)
        further = getattr(self.model, "final_logits_bias", None)  # of BART and its kin
        if further is not None:
            bias = further[0] if bias is None else bias + further[0]
        if tokens is not None:
            at = torch.as_tensor(list(tokens), device=self.device)
            bias = None if bias is None else bias[at]
            found = hidden.float() @ weight[at].float().T
        elif weight.requires_grad:
            found = (hidden.to(weight.dtype) @ weight.T).float()
        else:
            found = times(hidden.to(weight.dtype), self._output(weight)).float()
        found = found if bias is None else found + bias.float()
        found = found if self._scale == 1 else found * self._scale
        return found if self._softcap is None else torch.tanh(found / self._softcap) * self._softcap

    def _output(self, weight: torch.Tensor) -> Matrix:
        """The output matrix, for products."""
        if self._head is None or not self._head.holds(weight):
            self._head = Matrix(weight, parts=[weight], twice=kept_twice(self.model))
        return self._head

    def layers(self, ids: torch.Tensor, real: torch.Tensor) -> Sequence[torch.Tensor]:
        """Hidden states of every layer, the embeddings first, of texts padded on the right.

        Shape: ids [N, T]; real [N, T], True where there is no padding; result: tensors [N, T, H].
        """
        found = self.body(input_ids=ids, attention_mask=real.long(), output_hidden_states=True, **self.without_cache)
        self.count(int(real.sum()), found.last_hidden_state)
        states: Sequence[torch.Tensor] = found.hidden_states
        return states

    def count(self, positions: int, made: torch.Tensor) -> None:
        """Counts a pass; a gradient will go back through all of it where one goes back at all."""
        self.spent.forward += positions
        if made.requires_grad:
            self.spent.backward += positions

    def prove(self, theirs: torch.Tensor, ours: torch.Tensor) -> None:
        """Raises BackboneError unless `logits` gave what the model itself makes of its hidden states."""
        if not torch.allclose(theirs.float(), ours, rtol=2e-2, atol=1e-3 + 2e-2 * float(theirs.abs().max())):
            raise BackboneError(
                f"{type(self.model).__name__} changes its logits in a way that pegbox does not know",
                "logits = output matrix x hidden states, scaled or soft-capped as the configuration says",
                "use another model, or report this one",
            )


def before_output(model: Any, run: Callable[[], object]) -> torch.Tensor:
    """What a model's output matrix is given in a call, whatever layers lie before it; the matrix itself is spared.

    Settings:
        run: the call.

    Shape: [N, T, H].
    """
    caught: list[torch.Tensor] = []

    def catch(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        caught.append(given[0])
        return (given[0][:, :1],)

    hook = model.get_output_embeddings().register_forward_pre_hook(catch)
    try:
        run()
    finally:
        hook.remove()
    return caught[0]
