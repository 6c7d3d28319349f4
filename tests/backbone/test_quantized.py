"""Weights in fewer bits: prompts are scored and tuned through them, and belong to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pegbox.backbone import quantized
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.loaded import Loaded
from pegbox.backbone.quantized import KINDS, parted
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import tiny, tiny_family
from pegbox.backbone.weights import load
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError
from pegbox.prompt import parse

Save = Callable[[Loaded, Path], Path]
WORDS = Choices(("good", "bad", "so so"))
TEXTS = ("Crust is not good.", "ok", "Would not go back to this place, not even for the cake that my aunt praised so much.")


@pytest.fixture(params=list(KINDS))
def backbones(request: pytest.FixtureRequest, tmp_path: Path, save: Save) -> tuple[HuggingFaceBackbone, ...]:
    """The rounded model and the same one in full."""
    folder = str(save(tiny_family("llama"), tmp_path / "m"))
    return tuple(HuggingFaceBackbone(load(name, "float32", "cpu")) for name in (f"{folder}+{request.param}", folder))


def _rows() -> Rows:
    return Rows(tuple({"text": text} for text in TEXTS))


def test_a_row_scores_the_same_whatever_stands_beside_it(backbones: tuple[HuggingFaceBackbone, ...]) -> None:
    rounded, full = backbones
    bound = rounded.bind(parse("{text} It was [answer]"), _rows(), WORDS)
    together = bound.score(range(3))
    alone = torch.cat([bound.score([at]) for at in range(3)], dim=1)
    assert (together - alone).abs().max() < 1e-4
    away = (together - full.bind(parse("{text} It was [answer]"), _rows(), WORDS).score(range(3))).abs().max()
    assert away > 1e-4


def test_four_bits_are_the_weights_that_they_stand_for(tmp_path: Path, save: Save) -> None:
    """A model in full with the rounded weights written out scores the same."""
    from bitsandbytes.functional import dequantize_4bit

    folder = str(save(tiny_family("llama"), tmp_path / "m"))
    rounded, full = (load(name, "float32", "cpu") for name in (f"{folder}+nf4", folder))
    for name, weight in full.model.named_parameters():
        kept = rounded.model.get_parameter(name)
        if kept.dtype == torch.uint8:
            weight.data = dequantize_4bit(kept.data, kept.quant_state).to(torch.float32)
    scores = [
        HuggingFaceBackbone(one).bind(parse("{text} It was [answer]"), _rows(), WORDS).score(range(3))
        for one in (rounded, full)
    ]
    assert (scores[0] - scores[1]).abs().max() < 1e-4


def test_vectors_are_learned_through_rounded_weights(backbones: tuple[HuggingFaceBackbone, ...]) -> None:
    bound = backbones[0].bind(parse("[soft s 3] {text} It was [answer]"), _rows(), WORDS)
    before = backbones[0].weights_digest()
    vectors = (0.02 * torch.randn(1, 3, backbones[0].width, generator=torch.Generator().manual_seed(0))).requires_grad_()
    gold = [0, 2, 1]
    start = bound.score(range(3), {"s": vectors})[0, range(3), gold].sum()
    start.backward()
    assert vectors.grad is not None
    with torch.no_grad():
        moved = vectors + 1e-3 * vectors.grad / vectors.grad.norm()
        after = bound.score(range(3), {"s": moved})[0, range(3), gold].sum()
    assert after > start
    assert backbones[0].weights_digest() == before


def test_the_digest_and_the_name_say_what_the_weights_are_kept_in(backbones: tuple[HuggingFaceBackbone, ...]) -> None:
    rounded, full = backbones
    assert parted(rounded.name)[0] == full.name
    assert rounded.digest != full.digest


def test_fewer_bits_take_less_memory(tmp_path: Path, save: Save) -> None:
    folder = str(save(tiny_family("llama"), tmp_path / "m"))
    sizes = []
    for name in (folder, f"{folder}+int8", f"{folder}+nf4"):
        layers = load(name, "float32", "cpu").model.get_submodule("model.layers")
        sizes.append(sum(parameter.nbytes for parameter in layers.parameters()))
    assert sizes[0] > 2 * sizes[1] > 2 * sizes[2]


@pytest.mark.parametrize(
    ("name", "found"),
    [("smollm2+nf4", ("smollm2", "nf4")), ("a/b+int8", ("a/b", "int8")), ("a+b", ("a+b", None)), ("+nf4", ("+nf4", None))],
)
def test_the_ending_of_a_name(name: str, found: tuple[str, str | None]) -> None:
    assert parted(name) == found


def test_a_path_that_is_there_is_that_path(tmp_path: Path) -> None:
    (tmp_path / "m+nf4").mkdir()
    assert parted(str(tmp_path / "m+nf4")) == (str(tmp_path / "m+nf4"), None)


def test_without_the_libraries_the_error_says_what_to_install(
    tmp_path: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save(tiny(), tmp_path / "m")
    monkeypatch.setattr(quantized, "LIBRARIES", ("accelerate", "no_such_library"))
    with pytest.raises(BackboneError, match="without no_such_library") as caught:
        load(f"{folder}+nf4", "float32", "cpu")
    assert "pegbox[quantized]" in str(caught.value)


def test_tiny_is_not_rounded() -> None:
    with pytest.raises(BackboneError, match=r"tiny\+nf4"):
        load("tiny+nf4")
