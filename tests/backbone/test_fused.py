"""The fused parts of a frozen layer: the same numbers and gradients as torch's many small steps, only where they are."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import transformers
from transformers import AutoModelForCausalLM

from pegbox.backbone import attention, fused, fused_math, fused_parts, kernels, openmp
from pegbox.backbone import bound as bound_module
from pegbox.backbone import engine as engine_module
from pegbox.backbone.attention import Seen
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.loaded import Loaded
from pegbox.backbone.loaded_backbone import _identity
from pegbox.backbone.matrices import Matrix, times
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import tiny_family
from pegbox.data.rows import Rows
from pegbox.prompt import parse

NEAR = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
DTYPES = sorted(NEAR, key=str)
GROUPS, COPIES, SIZE, PAST = 2, 3, 8, 5
ROWS = 4


@pytest.fixture(params=["one thread", "three threads", "a pool's threads"], autouse=True)
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loops run alone, and in parts even where they are short: in torch's threads, and as where those are not found."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if request.param == "one thread" else 3)
    monkeypatch.setattr(fused_math, "_ALONE", 1)
    monkeypatch.setattr(openmp, "FOUND", openmp.FOUND and request.param != "a pool's threads")
    yield
    torch.set_num_threads(before)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def same(ours: torch.Tensor, theirs: torch.Tensor, dtype: torch.dtype) -> bool:
    return bool((ours.float() - theirs.float()).norm() <= NEAR[dtype] * theirs.float().norm())


def both_ways(
    ours: Callable[..., torch.Tensor], theirs: Callable[..., torch.Tensor], dtype: torch.dtype, *given: torch.Tensor
) -> None:
    """Compares results and gradients: ours in the number type, torch's own in float32 from the same rounded numbers."""
    mine = [one.to(dtype).requires_grad_() for one in given]
    wide = [one.detach().float().requires_grad_() for one in mine]
    found, wanted = ours(*mine), theirs(*wide)
    assert found.dtype == dtype
    assert same(found, wanted, dtype)
    change = numbers(*wanted.shape, seed=1)
    for ours_of, theirs_of in zip(
        torch.autograd.grad(found, mine, change.to(dtype)), torch.autograd.grad(wanted, wide, change), strict=True
    ):
        assert same(ours_of, theirs_of, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_norm(dtype: torch.dtype) -> None:
    weight = numbers(48).to(dtype)
    both_ways(
        lambda x: fused_math.norm(x, weight, 1e-5),
        lambda x: F.rms_norm(x, (48,), weight.float(), 1e-5),
        dtype,
        numbers(ROWS, 7, 48),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gated(dtype: torch.dtype) -> None:
    into, back = (0.2 * numbers(80, 48)).to(dtype), (0.2 * numbers(48, 40)).to(dtype)

    def theirs(x: torch.Tensor) -> torch.Tensor:
        gate, up = (x @ into.float().T).chunk(2, dim=-1)
        return (F.silu(gate) * up) @ back.float().T

    both_ways(lambda x: fused_math.gated(x, Matrix(into), Matrix(back)), theirs, dtype, 3 * numbers(ROWS, 7, 48))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_passes_by_is_added_there_and_back(dtype: torch.dtype) -> None:
    weight, by = numbers(48).to(dtype), (0.2 * numbers(48, 48)).to(dtype)
    into, back = (0.2 * numbers(80, 48)).to(dtype), (0.2 * numbers(48, 40)).to(dtype)

    def ours(x: torch.Tensor) -> torch.Tensor:
        y, x = fused_math.norm_beside(x, weight, 1e-5)
        x = times(y, Matrix(by), x)
        y, x = fused_math.norm_beside(x, weight, 1e-5)
        return fused_math.gated(y, Matrix(into), Matrix(back), x)

    def theirs(x: torch.Tensor) -> torch.Tensor:
        x = x + F.rms_norm(x, (48,), weight.float(), 1e-5) @ by.float().T
        gate, up = (F.rms_norm(x, (48,), weight.float(), 1e-5) @ into.float().T).chunk(2, dim=-1)
        return x + (F.silu(gate) * up) @ back.float().T

    both_ways(ours, theirs, dtype, numbers(ROWS, 7, 48))


@pytest.mark.parametrize("which", [0, 1])
def test_a_norm_of_which_one_result_is_used(which: int) -> None:
    x, weight, change = numbers(ROWS, 48).requires_grad_(), numbers(48), numbers(ROWS, 48)
    found = torch.autograd.grad(fused_math.norm_beside(x, weight, 1e-5)[which], x, change)[0]
    wanted = change if which else torch.autograd.grad(F.rms_norm(x, (48,), weight, 1e-5), x, change)[0]
    assert torch.allclose(found, wanted, atol=1e-5)


def test_large_numbers_pass_the_gate_as_in_torch() -> None:
    both = torch.tensor([[-1e4, -100.0, -50.0, 0.0, 50.0, 1e4, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    found = fused_math.gated(both, Matrix(torch.eye(12)), Matrix(torch.eye(12)[:, :6]))[:, :6]
    assert torch.allclose(found, F.silu(both[:, :6]) * both[:, 6:], rtol=1e-6, atol=1e-30)


def attention_in_torch(
    packed: torch.Tensor,
    old_keys: torch.Tensor,
    old_values: torch.Tensor,
    *,
    cos: torch.Tensor,
    sin: torch.Tensor,
    seen: torch.Tensor,
) -> torch.Tensor:
    heads = packed.view(*packed.shape[:2], -1, SIZE).transpose(1, 2)
    cos, sin = cos[:, None], sin[:, None]

    def by_place(x: torch.Tensor) -> torch.Tensor:
        return x * cos + torch.cat([-x[..., SIZE // 2 :], x[..., : SIZE // 2]], dim=-1) * sin

    query, key = by_place(heads[:, : GROUPS * COPIES]), by_place(heads[:, GROUPS * COPIES : -GROUPS])
    keys, values = torch.cat([old_keys, key], dim=2), torch.cat([old_values, heads[:, -GROUPS:]], dim=2)
    keys, values = (some.repeat_interleave(COPIES, dim=1) for some in (keys, values))
    made = F.scaled_dot_product_attention(query, keys, values, seen[:, None], scale=0.3)
    return made.transpose(1, 2).reshape(*packed.shape[:2], -1)


def masks(width: int, branches: int) -> dict[str, tuple[Seen, torch.Tensor]]:
    """What each new position sees, by name: as our loops are told, and as a mask. Shape: [N or 1, T, PAST + T]."""
    branch = torch.arange(width) // (width // branches)
    own = ((branch == branch[:, None]) & torch.ones(width, width, dtype=torch.bool).tril())[None]
    everything = torch.ones(1, width, PAST, dtype=torch.bool)
    some = torch.rand(ROWS, 1, PAST, generator=torch.Generator().manual_seed(0)) > 0.4
    found = {
        "all": (Seen(), torch.cat([everything, own], dim=-1)),
        "some kept": (Seen(some.byte()), torch.cat([some.expand(-1, width, -1), own.expand(ROWS, -1, -1)], dim=-1)),
    }
    if branches == 1:  # others see their own past alone
        any_old = torch.rand(ROWS, width, PAST, generator=torch.Generator().manual_seed(1)) > 0.5
        any_new = (
            own & (torch.rand(ROWS, width, width, generator=torch.Generator().manual_seed(2)) > 0.5) | torch.eye(width).bool()
        )
        found["any"] = (Seen(any_old.byte(), any_new.byte()), torch.cat([any_old, any_new], dim=-1))
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("which", "branches"), [("all", 1), ("some kept", 1), ("any", 1), ("all", 2), ("some kept", 2)])
def test_attention(which: str, branches: int, dtype: torch.dtype) -> None:
    width = 6 if branches == 2 else 7
    seen, mask = masks(width, branches)[which]
    cos, sin = numbers(ROWS, width, SIZE).to(dtype), numbers(ROWS, width, SIZE, seed=3).to(dtype)

    def ours(packed: torch.Tensor, *old: torch.Tensor) -> torch.Tensor:
        query, key, value = fused_math.turned(packed, cos, sin, GROUPS * COPIES, GROUPS, branches)
        return fused_math.attended(query, (old[0], old[1]), (key, value), seen, 0.3)

    def theirs(packed: torch.Tensor, *old: torch.Tensor) -> torch.Tensor:
        return attention_in_torch(packed, old[0], old[1], cos=cos.float(), sin=sin.float(), seen=mask)

    packed, kept = numbers(ROWS, width, GROUPS * (COPIES + 2) * SIZE), (ROWS, GROUPS, PAST, SIZE)
    both_ways(ours, theirs, dtype, packed, numbers(*kept), numbers(*kept, seed=5))


def test_attention_with_nothing_kept() -> None:
    packed, nothing = numbers(ROWS, 7, GROUPS * (COPIES + 2) * SIZE), torch.empty(ROWS, GROUPS, 0, SIZE)
    cos, sin = numbers(1, 7, SIZE), numbers(1, 7, SIZE, seed=3)
    causal = torch.ones(1, 7, 7, dtype=torch.bool).tril()

    def ours(packed: torch.Tensor) -> torch.Tensor:
        query, key, value = fused_math.turned(packed, cos, sin, GROUPS * COPIES, GROUPS, 1)
        return fused_math.attended(query, (nothing, nothing), (key, value), Seen(), 0.3)

    def theirs(packed: torch.Tensor) -> torch.Tensor:
        return attention_in_torch(packed, nothing, nothing, cos=cos, sin=sin, seen=causal)

    both_ways(ours, theirs, torch.float32, packed)


def test_what_is_no_number_stays_none() -> None:
    broken = numbers(ROWS, 7, GROUPS * (COPIES + 2) * SIZE)
    broken[1, 3, 2] = torch.nan
    cos, sin, kept = numbers(1, 7, SIZE), numbers(1, 7, SIZE, seed=3), numbers(ROWS, GROUPS, PAST, SIZE)
    for dtype in DTYPES:
        query, key, value = fused_math.turned(broken.to(dtype), cos.to(dtype), sin.to(dtype), GROUPS * COPIES, GROUPS, 1)
        made = fused_math.attended(query, (kept.to(dtype),) * 2, (key, value), Seen(), 0.3)
        assert made[1, 3].isnan().any()
        assert not made[0].isnan().any()
        x = numbers(2, 48)
        x[0, 5] = torch.nan
        assert fused_math.norm(x.to(dtype), torch.ones(48, dtype=dtype), 1e-5)[0].isnan().all()
        matrices = Matrix(torch.ones(8, 48, dtype=dtype)), Matrix(torch.ones(48, 4, dtype=dtype))
        assert fused_math.gated(x.to(dtype), *matrices)[0].isnan().all()


def test_positions_that_are_not_seen_weigh_exactly_nothing() -> None:
    packed, kept = numbers(1, 4, GROUPS * (COPIES + 2) * SIZE), numbers(1, GROUPS, PAST, SIZE)
    cos, sin = numbers(1, 4, SIZE), numbers(1, 4, SIZE, seed=3)
    seen = torch.ones(1, 1, PAST)
    seen[..., 2] = 0
    found = []
    for wild in (1.0, 1e30):
        values = kept.clone()
        values[:, :, 2] = wild
        query, key, value = fused_math.turned(packed, cos, sin, GROUPS * COPIES, GROUPS, 1)
        found.append(fused_math.attended(query, (kept, values), (key, value), Seen(seen.byte()), 0.3))
    assert torch.equal(found[0], found[1])


def test_nothing_at_all_passes() -> None:
    x = torch.empty(2, 0, 48, requires_grad=True)
    made = fused_math.norm(fused_math.gated(x, Matrix(torch.ones(8, 48)), Matrix(torch.ones(48, 4))), torch.ones(48), 1e-5)
    assert torch.autograd.grad(made.sum(), x)[0].shape == x.shape


# --- in a model --------------------------------------------------------------------------------------------------------


def replaced(model: Any) -> set[str]:
    return {type(part).__name__ for part in model.modules() if "forward" in vars(part)}


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        ("llama", {"LlamaRMSNorm", "LlamaMLP", "LlamaAttention", "LlamaDecoderLayer"}),
        ("qwen2", {"Qwen2RMSNorm", "Qwen2MLP", "Qwen2Attention", "Qwen2DecoderLayer"}),
        ("qwen3", {"Qwen3RMSNorm", "Qwen3MLP"}),  # its attention has norms of its own
        ("mistral", {"MistralRMSNorm", "MistralMLP"}),  # its attention has a window
        ("gemma", {"GemmaAttention"}),  # norms of 1 + weight, gates of another kind
        ("gpt2", set()),
    ],
)
def test_parts_are_replaced_where_they_are_what_they_seem(family: str, parts: set[str]) -> None:
    assert replaced(HuggingFaceBackbone(tiny_family(family)).loaded.model) == parts


def test_a_switch_leaves_all_parts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(fused.VARIABLE, "0")
    assert replaced(HuggingFaceBackbone(tiny_family("llama")).loaded.model) == set()


SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "pad_token_id": 0,
    "eos_token_id": 1,
}


@pytest.mark.parametrize(
    ("kind", "more", "attention"),
    [
        ("StableLmConfig", {}, None),  # rotates a part of each head; its forward takes things in another order
        ("Ministral3Config", {"head_dim": 8}, False),  # its forward wants more than others
        ("OlmoConfig", {"clip_qkv": 0.01}, False),  # caps queries, keys and values
        ("OlmoConfig", {}, True),
    ],
)
def test_attention_that_only_looks_like_it_stays(kind: str, more: dict[str, Any], attention: bool | None) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(getattr(transformers, kind)(**SMALL, **more)).eval().requires_grad_(False)
    ids = torch.tensor([[5, 9, 3, 7, 2]])
    before = model(ids).logits
    fused.use(model)
    assert torch.allclose(model(ids).logits, before, atol=1e-5)
    found = any(name.endswith("Attention") for name in replaced(model))
    assert attention is None or found == attention


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("multiplier", [0.22, 0.8])
def test_a_layer_that_weighs_what_it_adds_stays(multiplier: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    config = transformers.GraniteConfig(**SMALL, residual_multiplier=multiplier)
    model = AutoModelForCausalLM.from_config(config).to(dtype).eval().requires_grad_(False)
    fused.use(model)
    assert replaced(model) == {"GraniteRMSNorm", "GraniteMLP", "GraniteAttention"}


def test_rounding_worse_than_ours_keeps_no_part_from_being_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    monkeypatch.setattr(fused, "_NEAR", {torch.bfloat16: 0.0})
    assert "LlamaRMSNorm" in replaced(HuggingFaceBackbone(tiny_family("llama", dtype="bfloat16")).loaded.model)
    theirs = LlamaRMSNorm.forward
    monkeypatch.setattr(LlamaRMSNorm, "forward", lambda self, x: theirs(self, x) * 1.05)
    assert "LlamaRMSNorm" not in replaced(HuggingFaceBackbone(tiny_family("llama", dtype="bfloat16")).loaded.model)


IDS = torch.tensor([[5, 9, 3, 7, 2]])


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for each layer that runs as a whole."""
    seen, beside = [], fused_parts.norm_beside

    def counted(x: torch.Tensor, *given: Any) -> Any:
        seen.append(x.shape[-1])
        return beside(x, *given)

    monkeypatch.setattr(fused_parts, "norm_beside", counted)
    return seen


def a_model(dtype: str = "float32") -> Any:
    """Without whatever tests did to others of its kind."""
    return copy.deepcopy(HuggingFaceBackbone(tiny_family("llama", dtype=dtype)).loaded.model)


LOOKING: dict[str, Callable[[Any, list[int]], object]] = {
    "forward": lambda part, seen: part.register_forward_hook(lambda *_: seen.append(1)),
    "forward pre": lambda part, seen: part.register_forward_pre_hook(lambda *_: seen.append(1)),
    "backward": lambda part, seen: part.register_full_backward_hook(lambda *_: seen.append(1)),
    "backward pre": lambda part, seen: part.register_full_backward_pre_hook(lambda *_: seen.append(1)),
}


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # attentions are called by name
@pytest.mark.parametrize("how", sorted(LOOKING))
@pytest.mark.parametrize("name", fused_parts.LAYER)
def test_who_looks_at_a_layers_parts_sees_them(name: str, how: str) -> None:
    model = a_model()
    before, seen = model(IDS).logits, []
    LOOKING[how](getattr(model.model.layers[0], name), seen)
    embeds = model.get_input_embeddings()(IDS).detach().requires_grad_()
    found = model(inputs_embeds=embeds).logits
    found.sum().backward()
    assert torch.allclose(found, before, atol=1e-5)
    assert seen == [1]


def test_layers_run_whole_after_hidden_states_were_asked_for(whole: list[int]) -> None:
    model = a_model()
    states = model(IDS, output_hidden_states=True).hidden_states
    assert len(states) == len(model.model.layers) + 1
    whole.clear()
    assert torch.allclose(model.model(IDS).last_hidden_state, states[-1], atol=1e-5)
    assert len(whole) == 2 * len(model.model.layers)  # norms


EXCHANGED: dict[str, Callable[[Any], object]] = {
    "another kind of norm": lambda layer: setattr(layer, "post_attention_layernorm", torch.nn.LayerNorm(64)),
    "a trained norm": lambda layer: layer.input_layernorm.weight.requires_grad_(),
    "a feed-forward part's own way": lambda layer: setattr(layer.mlp, "forward", lambda x: 0 * x),
    "trained gates": lambda layer: layer.mlp.up_proj.weight.requires_grad_(),
    "trained heads": lambda layer: layer.self_attn.k_proj.weight.requires_grad_(),
    "a trained output matrix": lambda layer: layer.self_attn.o_proj.weight.requires_grad_(),
}


@pytest.mark.parametrize("what", sorted(EXCHANGED))
def test_parts_that_are_exchanged_or_trained_later_count(what: str, whole: list[int]) -> None:
    model, plain = a_model(), tiny_family("llama").model
    model(IDS)
    whole.clear()
    assert not replaced(plain)
    for one in (model, plain):
        EXCHANGED[what](one.model.layers[0])
    assert torch.allclose(model(IDS).logits, plain(IDS).logits, atol=1e-5)
    assert len(whole) == 2 * len(model.model.layers) - 2
    trained = [name for name, weight in model.named_parameters() if weight.requires_grad and "proj" in name]
    for name in trained:
        ours, theirs = (
            torch.autograd.grad(one(IDS).logits[..., 3].sum(), dict(one.named_parameters())[name])[0] for one in (model, plain)
        )
        assert torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("targets", [["q_proj"], ["o_proj"], ["up_proj"], ["down_proj"]])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_adapter_in_one_part_and_what_is_merged_of_it_count(targets: list[str], dtype: str) -> None:
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    model = a_model(dtype)
    before = model(IDS).logits
    inject_adapter_in_model(LoraConfig(r=2, target_modules=targets), model)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.constant_(weights, 0.5)
    found = model(IDS).logits
    for name, part in list(model.named_modules()):
        if isinstance(part, LoraLayer):
            part.merge()  # into the weights' `.data`
            setattr(model.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2], part.get_base_layer())
    merged = model(IDS).logits
    apart = (found - before).norm()
    assert apart > 0.05 * before.norm()
    assert (merged - found).norm() < 0.3 * apart


def test_a_bias_that_is_exchanged_or_trained_counts() -> None:
    model = copy.deepcopy(HuggingFaceBackbone(tiny_family("qwen2")).loaded.model)
    before = model(IDS).logits
    heads = model.model.layers[0].self_attn
    heads.v_proj.bias = torch.nn.Parameter(heads.v_proj.bias + 3, requires_grad=False)
    assert not torch.allclose(model(IDS).logits, before, atol=1e-3)
    heads.v_proj.bias.requires_grad_()
    assert bool(torch.autograd.grad(model(IDS).logits.sum(), heads.v_proj.bias)[0].abs().sum() > 0)


def test_who_looks_at_the_last_layer_sees_all_of_it() -> None:
    loaded, seen = tiny_family("llama"), []
    backbone = HuggingFaceBackbone(loaded)
    loaded.model.model.layers[-1].register_forward_hook(lambda *given: seen.append(given[2]))
    bound = backbone.bind(parse("Say: {text} [soft s 3] Is it? [answer]"), Rows.from_texts(["a few"]), Choices(("y", "n")))
    bound.score([0], {"s": 0.2 * torch.randn(1, 3, 64)})
    assert bool((seen[-1].abs().sum(-1) > 0).all())


def test_long_passes_hold_little_in_whole_layers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, ran, gated = tiny_family("llama"), [], fused_parts.gated

    def counted(x: torch.Tensor, *given: Any) -> torch.Tensor:
        ran.append(len(x))
        return gated(x, *given)

    backbone = HuggingFaceBackbone(loaded)
    for module in (bound_module, engine_module):
        monkeypatch.setattr(module, "CHECKPOINTED", 20)
    monkeypatch.setattr(bound_module, "PACKED", 0)
    monkeypatch.setattr(fused_parts, "gated", counted)
    vectors = (0.2 * torch.randn(1, 3, 64)).requires_grad_()
    rows = Rows.from_texts(["some words that are long enough"])
    bound = backbone.bind(parse("[soft s 3] Say: {text} Is it? [answer]"), rows, Choices(("yes", "no"), "vocabulary"))
    scores = bound.score([0], {"s": vectors})
    once = len(ran)
    torch.autograd.grad(scores[..., 0].sum(), vectors)
    assert len(ran) == 2 * once > 0


def test_many_scores_are_not_held_at_once(monkeypatch: pytest.MonkeyPatch, whole: list[int]) -> None:
    model = a_model()
    before = model(IDS).logits
    whole.clear()
    monkeypatch.setattr(attention, "_MOST", 10)
    assert torch.allclose(model(IDS).logits, before, atol=1e-5)
    assert not whole


@pytest.mark.parametrize("variants", [1, 3])
def test_the_last_layer_ends_only_what_is_looked_at(variants: int, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, rows, gated = tiny_family("llama"), [], fused_parts.gated

    def counted(x: torch.Tensor, *given: Any) -> torch.Tensor:
        rows.append(x.numel() // x.shape[-1])
        return gated(x, *given)

    monkeypatch.setattr(fused_parts, "gated", counted)
    backbone = HuggingFaceBackbone(loaded)
    vectors = 0.2 * torch.randn(variants, 3, 64)
    bound = backbone.bind(
        parse("Say: {text} [soft s 3] Is it? [answer]"), Rows.from_texts(["a few", "words"]), Choices(("y", "n"))
    )
    rows.clear()
    bound.score(range(2), {"s": vectors})
    layers = loaded.model.config.num_hidden_layers
    assert rows[-1] == 2 * 2 * variants  # of each row the space before the answer, and that in the words
    assert rows[-2] > rows[-1]
    assert len(rows) % layers == 0


def test_a_part_that_differs_only_for_large_numbers_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.models.llama.modeling_llama import LlamaMLP

    theirs = LlamaMLP.forward
    monkeypatch.setattr(LlamaMLP, "forward", lambda self, x: theirs(self, x.clamp(max=8)))
    assert "LlamaMLP" not in replaced(HuggingFaceBackbone(tiny_family("llama")).loaded.model)


def test_loops_that_are_not_compiled_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "COMPILED", False)
    assert replaced(HuggingFaceBackbone(tiny_family("llama")).loaded.model) == set()


def test_loops_are_compiled_where_none_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = kernels.njit

    def without_folder(function: Any, cache: bool = False, **how: Any) -> Any:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(function, **how)

    monkeypatch.setattr(kernels, "njit", without_folder)
    assert kernels.compiled(lambda x: x + 1)(2) == 3


def test_what_fused_parts_kept_is_not_read_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fused_one = HuggingFaceBackbone(tiny_family("llama"))
    monkeypatch.setenv(fused.VARIABLE, "0")
    plain_one = HuggingFaceBackbone(tiny_family("llama"))
    assert _identity(fused_one.loaded, "exact") != _identity(plain_one.loaded, "exact")


def test_without_numba_all_parts_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pegbox.backbone.fused_math", None)  # as where numba is missing, or too old
    assert replaced(HuggingFaceBackbone(tiny_family("llama")).loaded.model) == set()


def slot_gradient(loaded: Loaded, notation: str, variants: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and the gradient of a slot [K, 3, H]."""
    backbone = HuggingFaceBackbone(loaded)
    vectors = (0.2 * torch.randn(variants, 3, 64, generator=torch.Generator().manual_seed(0))).requires_grad_()
    rows = Rows.from_texts(["some words that are long enough", "a few", "more of them"])
    bound = backbone.bind(parse(notation), rows, Choices(("yes", "no"), "vocabulary"))
    scores = bound.score(range(3), {"s": vectors})
    return scores.detach(), torch.autograd.grad(scores[..., 0].sum(), vectors)[0]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("variants", [1, 3])
@pytest.mark.parametrize("notation", ["[soft s 3] Say: {text} Is it? [answer]", "Say: {text} [soft s 3] Is it? [answer]"])
def test_scores_and_gradients_are_the_models_own(
    notation: str, variants: int, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, gradient = slot_gradient(tiny_family(family), notation, variants)
    monkeypatch.setenv(fused.VARIABLE, "0")
    plain_scores, plain_gradient = slot_gradient(tiny_family(family), notation, variants)
    assert torch.allclose(scores, plain_scores, atol=1e-5)
    assert torch.allclose(gradient, plain_gradient, atol=1e-5, rtol=1e-4)


def test_a_copy_runs_on_its_own_weights_and_changed_weights_count() -> None:
    model = HuggingFaceBackbone(tiny_family("llama")).loaded.model
    other, ids = copy.deepcopy(model), torch.tensor([[1, 2, 3, 4]])
    before = model(ids).logits
    assert torch.equal(other(ids).logits, before)
    for name in ("gate_proj", "up_proj"):
        with torch.no_grad():
            getattr(other.model.layers[0].mlp, name).weight.zero_()
        assert not torch.allclose(other(ids).logits, before, atol=1e-3)
        assert torch.equal(model(ids).logits, before)
        other = copy.deepcopy(model)
    other(ids)
    heads = other.model.layers[0].self_attn
    heads.v_proj.weight = torch.nn.Parameter(torch.zeros_like(heads.v_proj.weight), requires_grad=False)
    assert not torch.allclose(other(ids).logits, before, atol=1e-3)


def test_layers_that_an_adapter_holds_run_as_they_are() -> None:
    from peft import LoraConfig, inject_adapter_in_model

    model = copy.deepcopy(HuggingFaceBackbone(tiny_family("llama")).loaded.model)
    ids = torch.tensor([[1, 2, 3, 4]])
    before = model(ids).logits
    inject_adapter_in_model(LoraConfig(r=2, target_modules="all-linear"), model)
    assert torch.allclose(model(ids).logits, before, atol=1e-5)
    for name, weights in model.named_parameters():
        if "lora_B" in name and "gate_proj" in name:
            torch.nn.init.ones_(weights)
    assert not torch.allclose(model(ids).logits, before, atol=1e-3)
