"""Frozen matrices that are kept once more as the processor reads them: the same products, and only where they should be."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pegbox.backbone import matrices
from pegbox.backbone.engine import Engine
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.matrices import VARIABLE, Matrix, kept_twice, lays_out, times
from pegbox.backbone.seam import Spent
from pegbox.backbone.tiny import tiny_family

needs_layouts = pytest.mark.skipif(not lays_out(), reason="this processor, or torch, has no products of bfloat16")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).bfloat16()


def near(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    return bool((found.float() - wanted.float()).norm() <= 1e-2 * wanted.float().norm())


@needs_layouts
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [0, 1, 7, 300])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("added", [False, True])
def test_products_are_the_same_there_and_back(rows: int, biased: bool, added: bool, threads: int) -> None:
    torch.set_num_threads(threads)
    plus = numbers(rows, 1600).requires_grad_() if added else None
    weight, bias = numbers(1600, 96), numbers(1600) if biased else None
    matrix = Matrix(weight, bias, twice=True)
    x, change = numbers(rows, 96).requires_grad_(), numbers(rows, 1600)
    found = times(x, matrix, plus)
    wanted = F.linear(x.float(), weight.float(), None if bias is None else bias.float())
    assert near(found, wanted if plus is None else wanted + plus.float())
    assert plus is None or torch.equal(torch.autograd.grad(found, plus, change, retain_graph=True)[0], change)
    assert near(torch.autograd.grad(found, x, change)[0], change.float() @ weight.float())
    assert set(matrix._laid) == ({False, True} if threads == 1 else {False})  # 96 columns are too few for two threads


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_gradients_of_parts_are_added(parts: int) -> None:
    weight, change = numbers(60, 96), numbers(8, 60)
    found = Matrix(weight).back_in_parts(torch.stack(change.chunk(parts, dim=1)))
    assert near(found, change.float() @ weight.float())


@needs_layouts
def test_many_rows_are_not_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrices, "_FEW", 7 * 96)
    matrix = Matrix(numbers(64, 96), twice=True)
    assert matrix.times(numbers(8, 96)).shape == (8, 64)
    assert not matrix._laid
    matrix.times(numbers(7, 96))
    assert set(matrix._laid) == {False}


@pytest.mark.parametrize("biased", [False, True])
def test_other_number_types_are_kept_once(biased: bool) -> None:
    weight, bias, x, plus = numbers(64, 96).float(), numbers(64).float(), numbers(8, 96).float(), numbers(8, 64).float()
    matrix = Matrix(weight, bias if biased else None, twice=True)
    assert torch.allclose(matrix.times(x, plus), x @ weight.T + plus + (bias if biased else 0), atol=1e-4)
    assert torch.allclose(matrix.back(plus), plus @ weight, atol=1e-4)
    assert not matrix._laid


@needs_layouts
def test_weights_that_change_are_laid_out_again() -> None:
    weight, x = torch.nn.Parameter(numbers(64, 96), requires_grad=False), numbers(8, 96)
    matrix = Matrix(weight, twice=True)
    before = matrix.times(x), matrix.back(numbers(8, 64))
    weight.mul_(2)
    assert torch.equal(matrix.times(x), 2 * before[0])
    assert torch.equal(matrix.back(numbers(8, 64)), 2 * before[1])


@needs_layouts
def test_weights_that_change_unseen_by_torch_are_laid_out_again() -> None:
    weight, x = torch.nn.Parameter(numbers(64, 96), requires_grad=False), numbers(8, 96)
    matrix = Matrix(weight, twice=True)
    before = matrix.times(x)
    weight.data *= 2
    assert torch.equal(matrix.times(x), 2 * before)
    with torch.inference_mode():
        other = Matrix(numbers(64, 96), twice=True)
        assert torch.equal(other.times(x), before)
        other.weight.mul_(2)
        assert torch.equal(other.times(x), 2 * before)


@needs_layouts
def test_a_matrix_is_written_down_without_its_copies() -> None:
    matrix, x = Matrix(numbers(64, 96), numbers(64), twice=True), numbers(8, 96)
    found = matrix.times(x)
    assert pickle.dumps(matrix)
    again = copy.copy(matrix)  # made of what would be written down
    assert not again._laid
    assert torch.equal(again.times(x), found)
    assert again._laid


def laid(model: Any) -> int:
    """Copies that a model has."""
    return sum(len(matrix._laid) for part in model.modules() for matrix in getattr(part, "matrices", {}).values())


def opened() -> Any:
    return HuggingFaceBackbone(tiny_family("llama", dtype="bfloat16")).loaded.model


@needs_layouts
def test_large_models_are_kept_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.tensor([[5, 9, 3, 7, 2]])
    small = opened()
    found = small(ids).logits
    assert laid(small) == 4 * len(small.model.layers)  # the way back is not asked for
    monkeypatch.setattr(matrices, "LARGEST", 1)
    large = opened()
    assert near(large(ids).logits, found)
    assert laid(large) == 0


@needs_layouts
def test_a_copy_of_a_model_has_matrices_of_its_own() -> None:
    ids, model = torch.tensor([[5, 9, 3, 7, 2]]), opened()
    before = model(ids).logits
    other = copy.deepcopy(model)
    assert torch.equal(other(ids).logits, before)
    with torch.no_grad():
        for part in other.model.layers:
            part.mlp.down_proj.weight.zero_()
    assert not torch.equal(other(ids).logits, before)
    assert torch.equal(model(ids).logits, before)


def test_a_torch_that_lays_nothing_out_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_: Any) -> None:
        raise RuntimeError("not built for this")

    monkeypatch.setattr(matrices, "_product", cannot)
    assert not lays_out.__wrapped__()
    monkeypatch.setattr(matrices, "_product", lambda x, *_: x.new_zeros(3, 32))  # it multiplies wrongly
    assert not lays_out.__wrapped__()


@needs_layouts
@torch.no_grad()
def test_an_output_matrix_is_laid_out_too_and_its_changes_count() -> None:
    model, hidden = opened(), numbers(2, 64)
    engine, head = Engine(model, Spent()), model.get_output_embeddings()
    before = engine.logits(hidden)
    assert near(before, hidden.float() @ head.weight.float().T)
    assert engine._head is not None
    assert engine._head._laid
    head.weight.mul_(2)
    assert near(engine.logits(hidden), 2 * before)
    head.weight = torch.nn.Parameter(head.weight / 4, requires_grad=False)
    assert near(engine.logits(hidden), before / 2)


def test_an_output_matrix_that_is_trained_gets_its_gradient() -> None:
    model = opened()
    weight = model.get_output_embeddings().weight.requires_grad_()
    Engine(model, Spent()).logits(numbers(2, 64)).sum().backward()
    assert weight.grad is not None
    assert bool(weight.grad.abs().sum() > 0)


def test_a_switch_keeps_all_matrices_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = opened()
    assert kept_twice(model)
    monkeypatch.setenv(VARIABLE, "0")
    assert not kept_twice(model)
