"""The words that stand for labels."""

from __future__ import annotations

import re

import pytest

from pegbox.errors import SettingsError
from pegbox.task.verbalizer import NAMED, check_words, instruction, own_words


@pytest.mark.parametrize(
    ("label", "word"),
    [
        ("spam", "spam"),
        ("card_arrival", "card arrival"),
        ("HassTurnOn", "Hass Turn On"),
        ("top-up/failed", "top up failed"),
        ("two  spaces", "two spaces"),
        ("-1", "-1"),
        ("1", "1"),
        ("+1", "+1"),
        ("B-PER", "B PER"),
        ("très_bon", "très bon"),
        ("_", "_"),
        ("card:arrival", "card arrival"),
        ("HUM > ind", "HUM ind"),
        ("12:30", "12:30"),
    ],
)
def test_a_labels_own_word_is_its_name_in_plain_words(label: str, word: str) -> None:
    assert own_words([label]) == {label: (word,)}


def test_labels_that_would_come_out_alike_stay_as_they_are() -> None:
    assert own_words(["a-b", "a_b", "c_d"]) == {"a-b": ("a-b",), "a_b": ("a_b",), "c_d": ("c d",)}
    assert own_words(["a b", "a_b"]) == {"a b": ("a b",), "a_b": ("a_b",)}
    scores = own_words(["-1", "0", "1"])
    assert len({word for words in scores.values() for word in words}) == 3


def test_words_come_in_the_order_of_the_labels() -> None:
    found = check_words({"b": ["x", "y"], "a": ("z",)}, ("a", "b"))  # type: ignore[dict-item]
    assert list(found.items()) == [("a", ("z",)), ("b", ("x", "y"))]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"pos": ("good",), "neg": ("bad",), "net": ("so",)}, "words for 'net'\n  expected: words for the labels pos, neg"),
        ({"pos": ("good",)}, "no words for label 'neg'\n  expected: at least one word for each label"),
        ({"pos": ("good",), "neg": ()}, "no words for label 'neg'"),
        ({"pos": ("good", " "), "neg": ("bad",)}, "a blank word for label 'pos'"),
        ({"pos": ("good", "good"), "neg": ("bad",)}, "the word 'good' for 'pos' twice"),
        ({"pos": ("good", "fair"), "neg": ("bad", "fair")}, "the word 'fair' for 'pos' and 'neg'\n  expected: different words"),
    ],
)
def test_words_that_leave_a_doubt_are_refused(words: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(message)):
        check_words(words, ("pos", "neg"))


def test_an_instruction_names_few_labels_and_of_many_some() -> None:
    assert instruction(["bad", "so so", "good"]) == "Classify the text as bad, so so or good."
    assert instruction([f"w{n}" for n in range(NAMED)]).startswith("Classify the text as w0, w1, ")
    many = [f"w{n}" for n in range(151)]
    assert instruction(many) == "Give the text a label of a few words, such as w0, w75 or w150."
