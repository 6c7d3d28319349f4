import pytest
import torch

from pegbox.backbone.passes import Row
from pegbox.backbone.seam import Choices
from pegbox.backbone.trees import LARGEST, fold, groves, tree_batches
from pegbox.data.rows import Rows
from pegbox.prompt import parse

TEXTS = ("a long sentence that every word of it shares", "quite another one, longer still than the one above it is")
WORDS = ("long", "word", "shares", "it")


def rows_of_words() -> Rows:
    return Rows(tuple({"text": text, "word": word} for text in TEXTS for word in WORDS))


def tree_size(*runs: str) -> int:
    """How many different beginnings these runs have, the runs themselves among them: by a set of strings, not by a tree."""
    return len({run[: end + 1] for run in runs for end in range(len(run))})


def test_a_tree_holds_each_beginning_once_and_the_way_to_it() -> None:
    tree = fold([(1, 2, 3), (1, 2, 4, 5), (6,), (1, 2, 3)])
    assert tree.codes == (1, 2, 3, 4, 5, 6)
    assert tree.parents == (-1, 0, 1, 1, 3, -1)
    assert tree.paths == ((0, 1, 2), (0, 1, 3, 4), (5,), (0, 1, 2))
    assert tree.depths() == [0, 1, 2, 2, 3, 0]


def test_a_position_sees_the_way_to_it_and_nothing_else() -> None:
    seen = fold([(1, 2), (1, 3)]).seen(4)
    assert seen.int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]]


def row(codes: tuple[int, ...], variant: int = 0, at: int | None = None) -> Row:
    return Row((), codes, len(codes), variant, sum(codes) if at is None else at)


def test_rows_go_together_that_share_half_of_their_codes() -> None:
    one, two, other = (1, 2, 3, 4), (1, 2, 3, 5), (9, 8, 7, 6)
    assert groves([row(one), row(other), row(two)]) == [[0, 2], [1]]
    assert groves([row(one), row(two, variant=1)]) == []  # variants differ in what stands at the same codes
    assert groves([row(one), row(other), row((5, 6, 7, 8))]) == []
    assert groves([row(one, at=0), row(two, at=0)]) == []  # the ways to two answers of one row


def test_a_tree_is_not_larger_than_it_may_be() -> None:
    shared = tuple(range(10))
    many = [row((*shared, *range(100 * at, 100 * at + 9))) for at in range(1, 300)]
    sizes = [len(fold([many[at].codes for at in some]).codes) for some in groves(many)]
    assert len(sizes) > 1
    assert max(sizes) <= LARGEST + 10


def test_batches_hold_trees_of_near_size() -> None:
    trees = [fold([tuple(range(size))]) for size in (300, 10, 290, 12)]
    assert tree_batches(trees, 4096) == [[1, 3], [2, 0]]
    assert tree_batches(trees, 295) == [[1, 3], [2], [0]]


@pytest.mark.parametrize(
    "notation",
    ["Say it.\nText: {text}\nType of {word}: [answer]", "[soft s 3] Text: {text}\nType of {word}: [answer]",
     "Text: {text}[soft s 3]\nType of {word}: [answer]"],
)  # fmt: skip
@pytest.mark.parametrize("words", [("none", "person"), ("none", "person", "place one", "place two")])
def test_words_of_a_sentence_score_as_each_alone(tiny_backbone, notation, words) -> None:  # type: ignore[no-untyped-def]
    prompt, rows, choices = parse(notation), rows_of_words(), Choices(words)
    live = (
        {"s": torch.randn(2, 3, tiny_backbone.width, generator=torch.Generator().manual_seed(0))} if "soft" in notation else {}
    )
    together = tiny_backbone.bind(prompt, rows, choices).score(range(len(rows)), live)
    alone = [tiny_backbone.bind(prompt, rows.take([at]), choices).score([0], live) for at in range(len(rows))]
    torch.testing.assert_close(together, torch.cat(alone, dim=1), atol=2e-4, rtol=0)


@pytest.mark.parametrize("notation", ["[soft s 3] Text: {text}\nType of {word}: [answer]",
                                      "Text: {text}[soft s 3]\nType of {word}: [answer]"])  # fmt: skip
def test_a_step_over_a_sentence_has_the_gradient_of_its_words_alone(tiny_backbone, notation) -> None:  # type: ignore[no-untyped-def]
    prompt, rows, choices = parse(notation), rows_of_words(), Choices(("none", "person"))
    vectors = torch.randn(2, 3, tiny_backbone.width, generator=torch.Generator().manual_seed(0)).requires_grad_()
    (together,) = torch.autograd.grad(
        tiny_backbone.bind(prompt, rows, choices).score(range(8), {"s": vectors})[..., 0].sum(), vectors
    )
    alone = sum(
        torch.autograd.grad(
            tiny_backbone.bind(prompt, rows.take([at]), choices).score([0], {"s": vectors})[..., 0].sum(), vectors
        )[0]
        for at in range(8)
    )
    torch.testing.assert_close(together, alone, atol=2e-4, rtol=1e-3)


def test_a_sentence_is_read_once_for_all_its_words(tiny_backbone) -> None:  # type: ignore[no-untyped-def]
    tiny_backbone.forget()
    rows = rows_of_words()
    bound = tiny_backbone.bind(parse("Say.\nText: {text}\nType of {word}: [answer]"), rows, Choices(("none", "person")))
    before = tiny_backbone.spent.forward
    bound.score(range(8))
    # tiny reads bytes: what several rows have in common counts once, in the tree of all their texts
    asked = [f"Say.\nText: {row['text']}\nType of {row['word']}:" for row in rows]
    start = 1 + len("Say.\nText:")  # the token before all texts
    spent = tiny_backbone.spent.forward - before
    assert spent <= start + tree_size(*asked) + 8


@pytest.mark.parametrize("notation", ["[soft s 3] Text: {text}\nType of {word}: [answer]",
                                      "Text: {text}[soft s 3]\nType of {word}: [answer]"])  # fmt: skip
def test_a_training_step_reads_a_sentence_once(tiny_backbone, notation) -> None:  # type: ignore[no-untyped-def]
    tiny_backbone.forget()
    rows = rows_of_words()
    bound = tiny_backbone.bind(parse(notation), rows, Choices(("none", "person")))
    vectors = torch.zeros(2, 3, tiny_backbone.width).requires_grad_()
    before = tiny_backbone.spent - type(tiny_backbone.spent)()
    bound.score(range(8), {"s": vectors}).sum().backward()
    step = tiny_backbone.spent - before
    texts = sum(len(f" {text}") for text in TEXTS)
    each = sum(len("\nType of") + 2 * 4 + sum(len(f" {word}") for word in WORDS) for _ in TEXTS)
    live_texts = texts if notation.startswith("[soft") else 0
    assert step.backward <= 2 * (2 * (3 + len(" Text:")) + live_texts + each)
    assert step.forward - step.backward <= texts + 16  # what is frozen is read once for both variants


def test_a_single_sentence_leaves_the_prompts_beginning_behind_and_not_itself(tiny_backbone) -> None:  # type: ignore[no-untyped-def]
    tiny_backbone.forget()
    prompt, choices = parse("Say it.\nText: {text}\nType of {word}: [answer]"), Choices(("none", "person"))
    spent = []
    for text in (0, 4):
        before = tiny_backbone.spent.forward
        tiny_backbone.bind(prompt, rows_of_words().take(range(text, text + 4)), choices).score(range(4))
        spent.append(tiny_backbone.spent.forward - before)
    # tiny reads bytes; both answers begin with a space, which is read as well
    own = [tree_size(*(f" {TEXTS[at]}\nType of {word}: " for word in WORDS)) for at in (0, 1)]
    assert spent[1] == own[1]
    assert spent[0] - own[0] >= len("Say it.\nText:")
