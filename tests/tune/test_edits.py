"""Phrase edits, worked out by hand."""

import numpy as np
import pytest

from pegbox.tune.edits import PHRASES, add, delete, edit, phrases, sentences, swap

SORT = "Sort the review by its mood, good or bad. Be quick."


def test_phrases_end_at_punctuation_and_begin_at_joining_words() -> None:
    assert phrases(SORT) == ["Sort the review", "by its mood,", "good", "or bad.", "Be quick."]


def test_sentences_end_at_full_stops() -> None:
    assert sentences(SORT) == ["Sort the review by its mood, good or bad.", "Be quick."]


def test_nothing_has_no_phrases() -> None:
    assert phrases("  ") == []
    assert sentences("") == []


def test_joining_the_phrases_gives_the_instruction_back() -> None:
    assert " ".join(phrases(SORT)) == SORT


def test_a_joining_word_within_a_word_does_not_cut() -> None:
    assert phrases("Order the forms") == ["Order the forms"]


def test_delete_swap_and_add() -> None:
    parts = ["Read it,", "then choose", "a label."]
    assert delete(parts, 1) == "Read it, a label."
    assert swap(parts, 0, 2) == "a label. then choose Read it,"
    assert add(parts, 3, "Be precise.") == "Read it, then choose a label. Be precise."
    assert add([], 0, "Be precise.") == "Be precise."


@pytest.mark.parametrize("kind", ["delete", "swap", "add", "re-order"])
def test_every_kind_of_edit_happens_and_does_what_it_says(kind: str) -> None:
    words = sorted(SORT.split())
    seen = 0
    for seed in range(60):
        changed, what = edit(SORT, np.random.default_rng(seed))
        if what != kind:
            continue
        seen += 1
        if kind == "delete":
            assert any(changed == delete(phrases(SORT), at) for at in range(5))
        elif kind == "add":
            assert len(changed) > len(SORT)
        elif kind == "swap":
            assert sorted(changed.split()) == words
        else:
            assert changed == "Be quick. Sort the review by its mood, good or bad."
    assert seen > 3


def test_an_empty_instruction_can_only_grow() -> None:
    for seed in range(10):
        changed, kind = edit("", np.random.default_rng(seed))
        assert kind == "add"
        assert changed in PHRASES


def test_deleted_phrases_may_come_back() -> None:
    found = {edit("Sort it.", np.random.default_rng(seed), ("by mood",))[0] for seed in range(200)}
    assert found & {"Sort it. by mood", "by mood Sort it."}


def test_a_one_phrase_instruction_is_never_emptied() -> None:
    assert all(edit("Sort it", np.random.default_rng(seed))[1] == "add" for seed in range(20))
