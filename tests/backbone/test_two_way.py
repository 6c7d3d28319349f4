"""Masked and encoder-decoder models: what a score may depend on, as `test_invariances` holds it for causal ones.

The reference is worked out apart from pegbox: tokens are bytes, a row goes alone and unpadded through a second copy of the
model with Transformers' plainest attention, and the full vocabulary's logits are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pegbox.backbone.loaded import Loaded
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.backbone.opening import backbone_of
from pegbox.backbone.seam import Bound, Choices, Live, Targets
from pegbox.backbone.tiny_two_way import ENCODER_DECODER, IDS, MASK, MASKED, PAD, tiny_two_way
from pegbox.backbone.tiny_two_way import END as END_MARK
from pegbox.backbone.tiny_two_way import START as START_MARK
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError
from pegbox.prompt import Prompt, SoftSlot, parse

TOLERANCE = 1e-4
WIDTH = 64
START, END, MASKED_PLACE = IDS[START_MARK], IDS[END_MARK], IDS[MASK]
BEGIN = {"t5": [IDS[PAD]], "bart": [END, START]}
WORDS = ("good", "goodness", "bad", "fair")
CHOICES = Choices(WORDS)
Part = str | int | torch.Tensor


def _texts() -> list[str]:
    rng = np.random.default_rng(7)
    lengths = [0, 1, 2, 40, 90, *rng.integers(3, 60, size=7)]
    return [*("".join(rng.choice(list("abc defg"), size=length)) for length in lengths), "crème brûlée — ça va?"]


TEXTS = _texts()
ROWS = Rows.from_texts(TEXTS)
ALL = range(len(TEXTS))
SOME = (0, 1, 4, 12)  # the empty text, a short one, the longest, one with long characters


def vectors(count: int, seed: int, variants: int = 1) -> torch.Tensor:
    return 0.2 * torch.randn(variants, count, WIDTH, generator=torch.Generator().manual_seed(seed))


Layout = Callable[[str, torch.Tensor, torch.Tensor], list[Part]]
LAYOUTS: dict[str, tuple[str, Layout, str]] = {
    "after": (
        "Sort it.\\nText: {text} [soft b 3] Kind: [answer]",
        lambda text, a, b: ["Sort it.\nText: " + text, b, " Kind:"],
        "",
    ),
    "first": (
        "[soft a 2] Sort it.\\nText: {text}\\nKind: [answer]. So be it",
        lambda text, a, b: [a, " Sort it.\nText: " + text + "\nKind:"],
        ". So be it",
    ),
    "both": (
        "Well: [soft a 2] Text: {text} [soft b 3] Kind: [answer]",
        lambda text, a, b: ["Well:", a, " Text: " + text, b, " Kind:"],
        "",
    ),
}


def live_of(prompt: Prompt, variants: int = 1) -> dict[str, torch.Tensor]:
    return {name: vectors(s.length, ord(name), variants) for name, s in prompt.slots.items() if isinstance(s, SoftSlot)}


class Plain:
    """The model, asked the plain way."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.model: Any = tiny_two_way(family).model
        self.model.set_attn_implementation("eager")

    def embeds(self, parts: Sequence[Part]) -> torch.Tensor:
        table, rows = self.model.get_input_embeddings(), []
        for part in parts if self.family == "t5" else [START, *parts]:
            ids = [part] if isinstance(part, int) else list(part.encode()) if isinstance(part, str) else []
            rows.append(part if isinstance(part, torch.Tensor) else table(torch.tensor(ids, dtype=torch.long)))
        return torch.cat([*rows, table(torch.tensor([END]))])[None]

    def answered(self, parts: Sequence[Part], answer: Sequence[int], rest: str) -> torch.Tensor:
        """Logits that decide each token of an answer, and the one after it. Shape: [T + 1, V]."""
        if self.family in MASKED:
            read = self.embeds([*parts, *answer, rest])
            start = self.embeds(parts).shape[1] - 1
            return self.model(inputs_embeds=read).logits[0, start : start + len(answer) + 1]
        begin = BEGIN[self.family]
        ids = torch.tensor([[*begin, *answer]])
        found = self.model(inputs_embeds=self.embeds(parts), decoder_input_ids=ids, use_cache=False)
        return found.logits[0, len(begin) - 1 :]

    def choices(self, parts: Sequence[Part], words: Sequence[str], rest: str) -> torch.Tensor:
        return (self._masked_choices if self.family in MASKED else self._trie_choices)(parts, words, rest)

    def _masked_choices(self, parts: Sequence[Part], words: Sequence[str], rest: str) -> torch.Tensor:
        """Every word begins with a space."""
        sums = []
        for word in words:
            ids = list((" " + word).encode())
            logs = self.answered(parts, [MASKED_PLACE] * len(ids), rest).log_softmax(-1)
            sums.append(sum((logs[at, token] for at, token in enumerate(ids)), torch.zeros(())))
        return torch.stack(sums).log_softmax(-1)

    def _trie_choices(self, parts: Sequence[Part], words: Sequence[str], rest: str) -> torch.Tensor:
        """No word begins with a space; each is followed by the text's end, or by what the prompt has after it."""
        runs = [[*word.encode(), rest.encode()[0] if rest else END] for word in words]
        found = []
        for run in runs:
            logits = self.answered(parts, run[:-1], rest)
            total = torch.zeros(())
            for depth, token in enumerate(run):
                ways = sorted({other[depth] for other in runs if other[:depth] == run[:depth]})
                total = total + logits[depth, ways].log_softmax(-1)[ways.index(token)]
            found.append(total)
        return torch.stack(found)

    def target(self, parts: Sequence[Part], text: str) -> float:
        ids = list((" " * (self.family in MASKED) + text).encode())
        if self.family not in MASKED:
            logs = self.answered(parts, ids, "").log_softmax(-1)
            return sum(float(logs[at, token]) for at, token in enumerate(ids))
        total = 0.0
        for at, token in enumerate(ids):
            logs = self.answered(parts, [*ids[:at], MASKED_PLACE, *ids[at + 1 :]], "").log_softmax(-1)
            total += float(logs[at, token])
        return total


FAMILIES = [*MASKED, *ENCODER_DECODER]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def loaded(family: str) -> Loaded:
    return tiny_two_way(family)


@pytest.fixture(scope="module")
def plain(family: str) -> Plain:
    return Plain(family)


@pytest.fixture(scope="module")
def backbone(loaded: Loaded) -> LoadedBackbone:
    return backbone_of(loaded, cache_bytes=50_000_000)


@pytest.fixture(scope="module", params=list(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def expected(plain: Plain, layout: str) -> NDArray[np.float32]:
    """The reference for SOME rows. Shape: [len(SOME), C]."""
    _, parts, rest = LAYOUTS[layout]
    a, b = (live_of(parse(LAYOUTS["both"][0]))[name][0] for name in "ab")
    with torch.no_grad():
        return torch.stack([plain.choices(parts(TEXTS[row], a, b), WORDS, rest) for row in SOME]).numpy()


def bound_to(backbone: LoadedBackbone, layout: str, rows: Rows = ROWS) -> Bound:
    return backbone.bind(parse(LAYOUTS[layout][0]), rows, CHOICES)


def score(bound: Bound, index: Sequence[int], live: Live) -> NDArray[np.float32]:
    return bound.score(index, live)[0].detach().numpy()


def difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(np.abs(one - other).max())


def test_scores_are_those_of_the_plain_model_whatever_the_batch_padding_and_company(
    loaded: Loaded, backbone: LoadedBackbone, layout: str, expected: NDArray[np.float32]
) -> None:
    some, live = list(SOME), live_of(parse(LAYOUTS[layout][0]))
    bound = bound_to(backbone, layout)
    whole = score(bound, ALL, live)
    assert whole.std() > 0.3  # there is something to compare
    shuffled = np.random.default_rng(0).permutation(len(TEXTS)).tolist()
    long = Rows.from_texts([*(TEXTS[row] for row in some), "x" * 400])
    ways = {
        "batch of all": whole[some],
        "batch of 1": np.concatenate([score(bound, [row], live) for row in some]),
        "a bound of its own": np.concatenate([score(bound_to(backbone, layout, ROWS.take([row])), [0], live) for row in some]),
        "only these rows": score(bound, some, live),
        "another order": score(bound, shuffled, live)[[shuffled.index(row) for row in some]],
        "with a much longer text": score(bound_to(backbone, layout, long), range(len(some) + 1), live)[:-1],
        "a row asked for twice": score(bound, [*some, *some], live)[len(some) :],
    }
    worst = {name: difference(found, expected) for name, found in ways.items()}
    assert max(worst.values()) < TOLERANCE, worst


def test_filled_slots_score_as_live_ones_kept_or_not(
    loaded: Loaded, backbone: LoadedBackbone, layout: str, expected: NDArray[np.float32]
) -> None:
    prompt = parse(LAYOUTS[layout][0])
    live = live_of(prompt)
    filled = prompt.fill(**{name: value[0].numpy() for name, value in live.items()})
    other = prompt.fill(**{name: np.full(value.shape[1:], 0.5, np.float32) for name, value in live.items()})
    assert difference(score(backbone.bind(other, ROWS, CHOICES), SOME, live), expected) < TOLERANCE
    warm, small = backbone, backbone_of(loaded, cache_bytes=60_000)  # room for some rows' readings
    for one in (warm, small, backbone_of(loaded, cache_bytes=0)):
        one.bind(other, ROWS, CHOICES).score(ALL)  # another prompt's readings are not taken for this one's
        bound = one.bind(filled, ROWS, CHOICES)
        for _ in range(2):
            assert difference(score(bound, SOME, {}), expected) < TOLERANCE
        assert difference(score(one.bind(filled, ROWS.take([4]), CHOICES), [0], {}), expected[2:3]) < TOLERANCE
    assert small.store.held <= 60_000


def test_variants_and_rows_with_vectors_of_their_own_score_as_each_alone(backbone: LoadedBackbone, layout: str) -> None:
    bound, index = bound_to(backbone, layout), [3, 0, 12]
    live = live_of(bound.prompt, variants=3)  # type: ignore[attr-defined]
    together = bound.score(index, live)
    assert together.shape == (3, len(index), len(WORDS))
    for k in range(3):
        assert difference(together[k].numpy(), score(bound, index, {n: v[k : k + 1] for n, v in live.items()})) < TOLERANCE
    own = {n: torch.stack([vectors(v.shape[1], seed, 2) for seed in range(3)], dim=1) for n, v in live.items()}
    each = bound.score(index, own)  # [K, B, C] from vectors [K, B, P, H]
    for k, (at, row) in ((k, pair) for k in range(2) for pair in enumerate(index)):
        alone = score(bound, [row], {name: v[k : k + 1, at] for name, v in own.items()})
        assert difference(each[k, at].numpy(), alone[0]) < TOLERANCE


def test_a_soft_slot_with_words_embeddings_scores_as_the_words(backbone: LoadedBackbone) -> None:
    words = "be kind"
    for soft, text in (
        ("Text: {text} [soft s 8] Kind: [answer]", f"Text: {{text}} {words} Kind: [answer]"),
        ("[soft s 7] {text}. Kind: [answer]", f"{words} {{text}}. Kind: [answer]"),
    ):
        prompt = parse(soft)
        embedded = backbone.embed(backbone.encode((" " if prompt.spaced("s") else "") + words))
        want = score(backbone.bind(parse(text), ROWS, CHOICES), SOME, {})
        assert difference(score(backbone.bind(prompt, ROWS, CHOICES), SOME, {"s": embedded[None]}), want) < TOLERANCE


def test_live_words_score_as_filled_ones(backbone: LoadedBackbone) -> None:
    prompt = parse("Text: {text} [hard h] Kind: [answer]")
    wordings = ("say", "a longer wording", "")
    want = [score(backbone.bind(prompt.fill(h=words), ROWS, CHOICES), SOME, {}) for words in wordings]
    together = backbone.bind(prompt, ROWS, CHOICES).score(SOME, {"h": [backbone.encode(" " + words) for words in wordings]})
    for k in range(len(wordings)):
        assert difference(together[k].numpy(), want[k]) < TOLERANCE


def test_next_words_are_the_plain_models(backbone: LoadedBackbone, plain: Plain) -> None:
    bound = backbone.bind(parse("Text: {text}\\nKind: [answer]"), ROWS, CHOICES)
    with torch.no_grad():
        logits = [plain.answered(["Text: " + TEXTS[row] + "\nKind:"], [MASKED_PLACE], "")[0] for row in SOME]
    want = torch.stack(logits)
    assert torch.allclose(bound.next_words(SOME), want.log_softmax(-1), atol=TOLERANCE)
    assert torch.allclose(bound.next_words(SOME, [65, 66]), want[:, [65, 66]].log_softmax(-1), atol=TOLERANCE)


def test_targets_score_as_the_plain_model_scores_them(backbone: LoadedBackbone, plain: Plain) -> None:
    """A masked model's pseudo-log-likelihood, token by token; an encoder-decoder model's likelihood."""
    index = [0, 4, 12]
    texts = tuple("an answer" if at % 2 else "ok, a rather long one" for at in ALL)
    b = vectors(3, 1)
    found = backbone.bind(parse("Text: {text} [soft b 3] Say: [answer]"), ROWS, Targets(texts)).score(index, {"b": b})
    assert found.shape == (1, 3, 1)
    for at, row in enumerate(index):
        want = plain.target(["Text: " + TEXTS[row], b[0], " Say:"], texts[row])
        assert abs(float(found[0, at, 0]) - want) < 22 * 1e-5 + TOLERANCE


def test_gradients_are_those_of_the_plain_model(backbone: LoadedBackbone, plain: Plain, layout: str) -> None:
    notation, parts, rest = LAYOUTS[layout]
    prompt, rows = parse(notation), [0, 4, 12]
    start = live_of(parse(LAYOUTS["both"][0]))
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0])

    def gradients(total: Callable[[dict[str, torch.Tensor]], torch.Tensor]) -> dict[str, torch.Tensor]:
        live = {name: value.clone().requires_grad_() for name, value in start.items()}
        made = torch.autograd.grad(total(live), list(live.values()), allow_unused=True)
        return {name: g for name, g in zip(live, made, strict=True) if g is not None}

    want = gradients(
        lambda live: sum(  # type: ignore[arg-type, return-value]
            plain.choices(parts(TEXTS[row], live["a"][0], live["b"][0]), WORDS, rest) @ weights for row in rows
        )
    )
    assert set(want) == set(prompt.slots)
    bound = bound_to(backbone, layout)
    found = gradients(lambda live: (bound.score(rows, {name: live[name] for name in prompt.slots}) @ weights).sum())
    for name, gradient in want.items():
        assert float(gradient.abs().max()) > 0.1
        assert float((found[name] - gradient).abs().max()) < 1e-4 * float(gradient.abs().max()) + 1e-5


def test_training_steps_leave_the_weights_as_they_were(backbone: LoadedBackbone) -> None:
    before = backbone.weights_digest()
    bound, live = bound_to(backbone, "both"), live_of(parse(LAYOUTS["both"][0]))
    optimiser = torch.optim.AdamW([value.requires_grad_() for value in live.values()], lr=0.05)
    losses = []
    for _ in range(4):
        loss = -bound.score([1, 2, 3], live)[..., 2].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert backbone.weights_digest() == before


def test_bfloat16_scores_are_near(backbone: LoadedBackbone, family: str) -> None:
    """The random weights are ten times as spread as usual, and so are these differences; see `test_invariances`."""
    live = live_of(parse(LAYOUTS["both"][0]))
    half = backbone_of(tiny_two_way(family, dtype="bfloat16"))
    want, found = score(bound_to(backbone, "both"), ALL, live), score(bound_to(half, "both"), ALL, live)
    assert 0 < difference(found, want) < 0.5
    assert np.abs(found - want).mean() < 0.1


def test_a_batch_writes_what_each_row_alone_would(backbone: LoadedBackbone, plain: Plain, family: str) -> None:
    notation, parts, _ = LAYOUTS["both"]
    live = live_of(parse(notation))
    prompt = parse(notation).fill(**{name: value[0].numpy() for name, value in live.items()})
    rows = ROWS.take(list(SOME))
    if family in MASKED:
        with pytest.raises(BackboneError, match=rf"writing texts with 'tiny-{family}', a masked model"):
            backbone.generate(prompt, rows)
        return
    together = backbone.generate(prompt, rows, max_tokens=6)
    for at, row in enumerate(SOME):
        assert backbone.generate(prompt, rows.take([at]), max_tokens=6) == [together[at]]
        written: list[int] = []
        for _ in range(6):  # token by token, from the start each time
            with torch.no_grad():
                token = int(plain.answered(parts(TEXTS[row], live["a"][0], live["b"][0]), written, "")[-1].argmax())
            if token == END:
                break
            written.append(token)
        assert together[at] == backbone.decode([token for token in written if token < 256])
