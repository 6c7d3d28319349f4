"""Many label words: a text is read once for all of them, and training reads the right one's alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch

from pegbox.backbone import stems
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.opening import backbone_of
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import FAMILIES, tiny, tiny_family
from pegbox.backbone.tiny_two_way import tiny_two_way
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import parse

ROWS = Rows.from_texts(["a text that is rather long, as texts go", "short", "another one, of middling length", ""])
ASKED = [2, 0, 3, 1]
FEW = ("card lost", "card stolen", "cash not given", "cash late", "card")


def intents(count: int) -> tuple[str, ...]:
    """Names as intents have them: one of 10 actions, one of 15 things."""
    actions = ("add", "block", "book", "cancel", "change", "find", "play", "report", "send", "stop")
    things = ("alarm", "bank card", "bill", "bus", "cash", "flight", "hotel", "list", "mail", "meal", "music", "pin", "taxi")
    names = [f"{action} {thing}" for action, thing in itertools.product(actions, (*things, "text", "visa"))]
    return tuple(names[:: len(names) // count][:count])


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("Sort it. {text} Label: [answer]", FEW),
        ("{text} [hard say] Label: [answer]", FEW),
        ("[soft s 3] {text} [answer]", FEW),
        ("Sort it. {text} Label:[answer]", ("ab", "ac", "de", "df", "fg", "fh")),  # branches of one token
    ],
)
def test_scores_are_those_of_texts_read_again_for_every_branch(
    prompt: str, words: tuple[str, ...], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    live = {"say": [[5, 6], [7, 8, 9]]} if "hard" in prompt else {"s": 0.3 * torch.ones(2, 3, 64)} if "soft" in prompt else {}

    def scored(saved: int) -> torch.Tensor:
        monkeypatch.setattr(stems, "SAVED", saved)
        return backbone.bind(parse(prompt), ROWS, Choices(words)).score(ASKED, live)  # type: ignore[arg-type]

    assert torch.allclose(scored(0), scored(10**9), atol=1e-4)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_gradients_are_those_of_texts_read_again_for_every_branch(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = HuggingFaceBackbone(tiny_family(family))
    monkeypatch.setattr("pegbox.backbone.bound.PACKED", 0)
    found = []
    for saved in (0, 10**9):
        monkeypatch.setattr(stems, "SAVED", saved)
        vectors = (0.3 * torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(1))).requires_grad_()
        scores = backbone.bind(parse("[soft s 3] {text} Label: [answer]"), ROWS, Choices(FEW)).score(ASKED, {"s": vectors})
        weights = torch.randn(scores.shape, generator=torch.Generator().manual_seed(2))
        found.append(torch.autograd.grad((scores * weights).sum(), vectors)[0])
    assert torch.allclose(*found, atol=2e-5, rtol=1e-3)


def _read_once(text: str, names: Sequence[str], backbone: HuggingFaceBackbone) -> int:
    """Positions of the text, and of every run of tokens after which names still part; runs that begin another count in it."""
    spelled = [backbone.encode(f" {name}") for name in names]
    shared = {
        one[:n]
        for one in spelled
        for n in range(len(one))
        if len({other[n:][:1] for other in spelled if other[:n] == one[:n]}) > 1
    }
    ends = [run for run in shared if not any(other != run and other[: len(run)] == run for other in shared)]
    return len(backbone.encode(text)) + sum(map(len, ends))


@pytest.mark.parametrize("count", [6, 77, 150])
def test_the_text_is_read_once_however_many_labels_there_are(count: int) -> None:
    names = intents(count)
    assert len(set(names)) == count
    backbone = HuggingFaceBackbone(tiny())
    text = "which of the things that I can ask for would this be? " * 4
    bound = backbone.bind(parse("{text}\nLabel: [answer]"), Rows.from_texts([text]), Choices(names))
    before = backbone.spent.forward
    scores = bound.score([0])
    assert scores.shape == (1, 1, count)
    assert float(scores.exp().sum()) == pytest.approx(1, abs=1e-4)
    spent = backbone.spent.forward - before
    assert spent == _read_once(f"{text}\nLabel:", names, backbone)
    trunks = len(bound.trie.trunks()) if bound.trie else 0
    assert spent < trunks * len(text) / 2 or count == 6


def test_one_choice_for_each_row_is_that_of_all_of_them_and_reads_its_own_way_alone() -> None:
    backbone = HuggingFaceBackbone(tiny())
    names = intents(150)
    bound = backbone.bind(parse("[soft s 3] {text} Label: [answer]"), ROWS, Choices(names, "vocabulary"))
    found, spent = [], []
    only = [149, 0, 77, 20]
    for asked in (None, only):
        vectors = (0.3 * torch.randn(2, 3, 64, generator=torch.Generator().manual_seed(1))).requires_grad_()
        before = backbone.spent.forward
        scores = bound.score(ASKED, {"s": vectors}, asked)
        spent.append(backbone.spent.forward - before)
        own = scores[..., 0] if asked else scores.gather(-1, torch.tensor(only).expand(2, -1)[..., None])[..., 0]
        found.append((own.detach(), torch.autograd.grad(own.sum(), vectors)[0]))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=2e-4, rtol=1e-3)
    texts = sum(len(f"{ROWS.fields[at]['text']} Label:") for at in ASKED)
    assert spent[1] <= 2 * (texts + sum(len(names[at]) + 3 + 1 + 2 for at in only)) < spent[0] / 4


@pytest.mark.parametrize("family", ["bert", "t5"])
def test_families_that_score_all_choices_give_the_one_that_is_asked_for(family: str) -> None:
    backbone = backbone_of(tiny_two_way(family))
    bound = backbone.bind(parse("{text} Label: [answer]"), ROWS, Choices(FEW, "vocabulary"))
    every, own = bound.score(ASKED), bound.score(ASKED, None, [4, 0, 2, 1])
    assert own.shape == (1, 4, 1)
    assert torch.allclose(own[0, :, 0], every[0][torch.arange(4), torch.tensor([4, 0, 2, 1])], atol=1e-5)


def test_one_choice_among_the_choices_needs_all_of_them() -> None:
    bound = HuggingFaceBackbone(tiny()).bind(parse("{text} [answer]"), ROWS, Choices(FEW))
    with pytest.raises(PromptError, match="one answer for each row"):
        bound.score([0], None, [1])
