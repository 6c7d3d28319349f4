"""The tree of answers: where they part, and probabilities that add up to 1."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pegbox.backbone.trie import Fork, answer_trie, sum_ways
from pegbox.errors import PromptError

END = 0


def names(count: int) -> list[str]:
    return [f"word {number}" for number in range(count)]


def test_answers_of_one_token_part_at_once() -> None:
    trie = answer_trie([(5,), (7,), (6,)], END, names(3))
    assert trie.forks == (Fork((), (5, 7, 6)),)
    assert trie.turns == (((0, 0),), ((0, 1),), ((0, 2),))
    assert trie.trunks() == ((),)


def test_certain_continuations_cost_nothing() -> None:
    """1 2 3 and 1 2 4 4 part only after 1 2; what comes after is certain."""
    trie = answer_trie([(1, 2, 3), (1, 2, 4, 4)], END, names(2))
    assert trie.forks == (Fork((1, 2), (3, 4)),)
    assert trie.turns == (((0, 0),), ((0, 1),))
    assert trie.trunks() == ((1, 2),)


def test_a_word_that_begins_another_is_told_from_it_by_what_follows() -> None:
    """good = 1, goodness = 1 2, bad = 3: a first fork between 1 and 3, then between 2 and the end."""
    trie = answer_trie([(1,), (1, 2), (3,)], END, names(3))
    assert trie.forks == (Fork((), (1, 3)), Fork((1,), (END, 2)))
    assert trie.turns == (((0, 0), (1, 0)), ((0, 0), (1, 1)), ((0, 1),))
    assert trie.trunks() == ((1,),)  # one path passes both forks


def test_log_probabilities_by_hand() -> None:
    """p(1) = 3/4 and p(3) = 1/4 at first; after 1, p(end) = 1/3 and p(2) = 2/3."""
    trie = answer_trie([(1,), (1, 2), (3,)], END, names(3))
    ways = [torch.tensor([3 / 4, 1 / 4]).log(), torch.tensor([1 / 3, 2 / 3]).log()]
    found = [math.exp(float(sum_ways(ways, turns))) for turns in trie.turns]
    assert found == pytest.approx([1 / 4, 1 / 2, 1 / 4])


def test_two_trunks_where_one_path_cannot_pass_all_forks() -> None:
    trie = answer_trie([(1, 2), (1, 3), (4, 5), (4, 6)], END, names(4))
    assert {fork.path for fork in trie.forks} == {(), (1,), (4,)}
    assert trie.trunks() == ((1,), (4,))


WORDS = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=4).map(tuple), min_size=2, max_size=8, unique=True)


@given(WORDS, st.integers(0, 2**31))
def test_probabilities_add_up_to_1_over_any_choices(words: list[tuple[int, ...]], seed: int) -> None:
    trie = answer_trie(words, END, names(len(words)))
    chance = torch.Generator().manual_seed(seed)
    ways = [torch.randn(len(fork.tokens), generator=chance, dtype=torch.float64).log_softmax(-1) for fork in trie.forks]
    total = sum(math.exp(float(sum_ways(ways, turns))) for turns in trie.turns)
    assert total == pytest.approx(1.0)
    for fork in trie.forks:  # every fork lies on a trunk, and no trunk is longer than it must be
        assert any(trunk[: len(fork.path)] == fork.path for trunk in trie.trunks())
    assert set(trie.trunks()) <= {fork.path for fork in trie.forks}
    assert all(other[: len(one)] != one for one, other in pairwise(trie.trunks()))


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([(1,), ()], "the answer 'word 1' has no tokens\n  expected: words of at least one token"),
        ([(1,), (2,), (1,)], "the answers 'word 0' and 'word 2' are the same tokens"),
        ([(1,), (1, END)], "the answer 'word 1' goes on after 'word 0' just as the prompt itself does"),
        ([(1, END, 4), (1,)], "the answer 'word 0' goes on after 'word 1' just as the prompt itself does"),
    ],
)
def test_answers_that_cannot_be_told_apart_are_refused(sequences: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(PromptError, match=re.escape(message)):
        answer_trie(sequences, END, names(len(sequences)))
