"""The backbone's lesser verbs: spelling, embeddings, features, lengths, and weights that are being trained."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import FAMILIES, POSITIONS, tiny, tiny_family
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError
from pegbox.prompt import parse

END = 258


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def test_marks_are_spelled_as_plain_characters(backbone: HuggingFaceBackbone) -> None:
    assert backbone.encode("a<|im_end|>") == tuple(b"a<|im_end|>")
    assert backbone.encode("") == ()
    assert backbone.decode(backbone.encode("Ça va ?")) == "Ça va ?"


@pytest.mark.parametrize("family", ["llama", "gemma", "gemma3"])
def test_embeddings_are_what_the_model_reads_for_these_ids(family: str) -> None:
    """Gemma scales them on the way in; what is embedded must come out as the ids themselves do."""
    loaded = tiny_family(family)
    backbone = HuggingFaceBackbone(loaded)
    ids = list(b"what it reads")
    embedded = backbone.embed(ids)
    assert embedded.dtype == torch.float32
    by_ids = loaded.model(input_ids=torch.tensor([ids])).logits
    by_vectors = loaded.model(inputs_embeds=embedded[None]).logits
    assert torch.allclose(by_ids, by_vectors, atol=1e-5)
    assert backbone.embed([]).shape == (0, 64)


def test_ordinary_words_are_those_that_come_back_and_are_not_special(backbone: HuggingFaceBackbone) -> None:
    vectors, ordinary = backbone.vocabulary()
    assert vectors.shape == (259, 64)
    assert ordinary.shape == (259,)
    assert set(np.flatnonzero(ordinary)) == set(range(128))  # other bytes are no characters by themselves
    assert torch.equal(vectors[65], backbone.embed([65])[0])


@pytest.mark.parametrize("family", list(FAMILIES))
def test_features_are_means_and_last_states_of_each_text_alone(family: str) -> None:
    loaded = tiny_family(family)
    backbone = HuggingFaceBackbone(loaded)
    texts = ["", "one", "a much longer text than the others, so that there is padding", "x"] * 6
    found = backbone.features(Rows.from_texts(texts), layers=(0.0, 0.5, 1.0))
    assert found.shape == (24, 3, 2, 64)
    for at, text in enumerate(texts[:4]):
        ids = torch.tensor([[END, *text.encode()]])  # tiny's texts begin with the end of another
        states = loaded.model(input_ids=ids, output_hidden_states=True).hidden_states
        want = torch.stack([torch.stack([state[0].mean(0), state[0, -1]]) for state in states])
        assert np.abs(found[at] - want.detach().numpy()).max() < 1e-4
        assert np.abs(found[at + 20] - found[at]).max() < 1e-4


def test_features_of_an_over_long_text_are_those_of_its_beginning() -> None:
    backbone = HuggingFaceBackbone(tiny_family("gpt2"))
    long = Rows.from_texts(["a" * 5000, "a" * (POSITIONS - 1)])
    found = backbone.features(long)
    assert np.allclose(found[0], found[1], atol=1e-4)


def test_lengths_count_every_position_up_to_the_answer(backbone: HuggingFaceBackbone) -> None:
    prompt = parse("Say: {text} [soft s 3] It is [answer]").fill(s=np.zeros((3, 64), dtype=np.float32))
    assert backbone.context_lengths(prompt, Rows.from_texts(["abc", "", "a" * 9000])) == [
        len("Say: abc") + 3 + len(" It is"),
        len("Say: ") + 3 + len(" It is"),
        POSITIONS,
    ]


def test_weights_that_are_being_trained_get_gradients_and_leave_nothing_stale() -> None:
    backbone = HuggingFaceBackbone(tiny(), cache_bytes=10_000_000)
    model = copy.deepcopy(backbone.loaded.model)
    other = backbone.with_model(model, "another")
    rows, choices = Rows.from_texts(["one", "two words"]), Choices(("a", "b"))
    prompt = parse("Say: {text} [soft s 2] Now: [answer]")
    live = {"s": torch.full((1, 2, 64), 0.2)}
    bound = other.bind(prompt, rows, choices)
    want = backbone.bind(prompt, rows, choices).score([0, 1], live)
    assert torch.allclose(bound.score([0, 1], live), want, atol=1e-5)
    weight = model.model.layers[0].self_attn.k_proj.weight.requires_grad_()
    bound.score([0, 1], live)[..., 0].sum().backward()
    slope = weight.grad
    assert slope is not None
    assert other.spent is backbone.spent

    def total(step: float) -> float:
        with torch.no_grad():
            weight.add_(step * slope)
            found = float(bound.score([0, 1], live)[..., 0].double().sum())
            weight.sub_(step * slope)
        return found

    step = 1e-3 / float(slope.norm())
    rise = (total(step) - total(-step)) / (2 * step)
    assert rise == pytest.approx(float((slope**2).sum()), rel=0.02)  # kept keys would hide the weight's part in the texts
    assert torch.equal(backbone.bind(prompt, rows, choices).score([0, 1], live), want)


def test_a_model_that_bends_its_logits_in_an_unknown_way_is_refused() -> None:
    loaded = tiny()
    forward = loaded.model.forward

    def bent(*args: object, **kwargs: object) -> object:
        found = forward(*args, **kwargs)
        found.logits = found.logits * 1.5
        return found

    loaded.model.forward = bent  # type: ignore[method-assign, assignment]
    with pytest.raises(BackboneError, match="LlamaForCausalLM changes its logits in a way that pegbox does not know"):
        HuggingFaceBackbone(loaded)
