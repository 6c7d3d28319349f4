"""Words that may stand for labels."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.tune.lexicon import Lexicon, build_lexicon, distinct, single_words, telling


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def test_telling_is_the_t_statistic_for_two_labels() -> None:
    rng = np.random.default_rng(0)
    logs, gold = rng.normal(size=(30, 4)), np.array([0] * 12 + [1] * 18)
    expected = ttest_ind(logs[gold == 0], logs[gold == 1]).statistic
    found = telling(logs, gold, 2)
    assert found[0] == pytest.approx(expected, rel=1e-2)  # the added noise term shrinks it a little
    assert found[1] == pytest.approx(-expected, rel=1e-2)


def test_a_label_without_rows_gets_zeros() -> None:
    found = telling(np.eye(4), np.array([0, 0, 2, 2]), 3)
    assert (found[1] == 0).all()
    assert found[0, 0] > 0


def test_words_of_the_byte_level_vocabulary_are_its_letters(backbone: HuggingFaceBackbone) -> None:
    words = single_words(backbone, spaced=False, shortest=1)
    assert set(words.values()) == set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert all(ord(word) == token for token, word in words.items())
    assert single_words(backbone, spaced=True, shortest=1) == {}  # no token here is a space and a letter
    assert single_words(backbone, spaced=False, shortest=2) == {}


def test_own_words_come_first_and_every_label_finds_its_letters(backbone: HuggingFaceBackbone) -> None:
    logs = np.zeros((20, 259))
    gold = np.arange(20) % 2
    logs[gold == 0, ord("k")] = 5
    logs[gold == 1, ord("m")] = 5
    logs[gold == 1, ord("!")] = 9  # no word
    logs += np.random.default_rng(0).normal(size=logs.shape) * 0.1
    found = build_lexicon(logs, gold, [("yes",), ("no", "bad")], backbone, spaced=False, size=8, shortest=1)
    assert found.words[:3] == ("yes", "no", "bad")
    assert found.tokens[:3] == (ord("y"), ord("n"), ord("b"))
    assert found.own == ((0,), (1, 2))
    assert {"k", "m"} <= set(found.words)
    assert len(set(found.tokens)) == len(found.words) == 3 + 8
    assert found.written(((3,), (0, 2)), ("A", "B")) == {"A": (found.words[3],), "B": ("yes", "bad")}


def test_own_words_with_one_beginning_cannot_be_looked_up(backbone: HuggingFaceBackbone) -> None:
    logs, gold = np.random.default_rng(0).normal(size=(8, 259)), np.arange(8) % 2
    found = build_lexicon(logs, gold, [("good",), ("great",)], backbone, spaced=False, size=8, shortest=1)
    assert found.own == ()
    assert "g" not in found.words


def test_distinct_gives_each_label_another_column() -> None:
    assert distinct(np.array([[0.0, 3.0, 1.0], [0.0, 3.0, 2.0]])) == ((1,), (2,))


def test_a_lexicon_is_a_value() -> None:
    assert Lexicon(("a",), (1,), ()) == Lexicon(("a",), (1,), ())
