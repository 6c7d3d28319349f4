"""Passes over long texts hold little for the way back: the same gradients, each layer run twice."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from pegbox.backbone import bound as bound_module
from pegbox.backbone import engine as engine_module
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import FAMILIES, tiny_family
from pegbox.data.rows import Rows
from pegbox.prompt import parse

ROWS = Rows.from_texts(["some words that are long enough", "a few"])


def gradient(backbone: HuggingFaceBackbone, notation: str) -> tuple[torch.Tensor, Counter[str]]:
    """The gradient of a slot, and how often each layer ran."""
    ran: Counter[str] = Counter()
    layers = [part for name, part in backbone.loaded.model.named_modules() if name.endswith(".mlp")]
    hooks = [layer.register_forward_pre_hook(lambda *_, at=at: ran.update([str(at)])) for at, layer in enumerate(layers)]
    vectors = (0.2 * torch.randn(1, 3, 64, generator=torch.Generator().manual_seed(0))).requires_grad_()
    scores = backbone.bind(parse(notation), ROWS, Choices(("yes", "no"), "vocabulary")).score([0], {"s": vectors})
    found = torch.autograd.grad(scores[..., 0].sum(), vectors)[0]
    for hook in hooks:
        hook.remove()
    return found, ran


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("notation", ["[soft s 3] Say: {text} Is it? [answer]", "Well. [soft s 3] Say: {text} Is it? [answer]"])
def test_gradients_are_the_same_and_layers_run_again(notation: str, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    monkeypatch.setattr(bound_module, "PACKED", 0)
    held, once = gradient(backbone, notation)
    for module in (bound_module, engine_module):
        monkeypatch.setattr(module, "CHECKPOINTED", 20)
    found, twice = gradient(backbone, notation)
    assert torch.allclose(found, held, atol=1e-5, rtol=1e-4)
    assert once
    # kept words before the slot were run once already, at each of two calls one time more or less
    assert all(twice[at] >= 2 for at in once)
    assert set(once.values()) <= {1, 2}
    assert not any(part.training or getattr(part, "gradient_checkpointing", False) for part in backbone.loaded.model.modules())


def test_a_text_after_which_the_slot_stands_stays_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = HuggingFaceBackbone(tiny_family("llama"))
    held, _ = gradient(backbone, "Say: {text} [soft s 3] Is it? [answer]")
    for module in (bound_module, engine_module):
        monkeypatch.setattr(module, "CHECKPOINTED", 20)
    backbone.forget()
    found, ran = gradient(backbone, "Say: {text} [soft s 3] Is it? [answer]")
    assert torch.equal(found, held)
    assert backbone.spent.backward == 2 * (3 + len(" Is it? "))
    assert ran
