"""Where soft slots go, and words turned into one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Choices
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import Field, Prompt, SoftSlot, Text, format, parse
from pegbox.task.classification import Classification
from pegbox.tune.place import FEWEST_WORDS, MOST_WORDS, check_slot, soft_slots, with_soft_slots, words_to_slot


@pytest.mark.parametrize(
    ("written", "place", "expected"),
    [
        ("Say. {text} Mood: [answer]", "after", "Say. {text}[soft after 3] Mood: [answer]"),
        ("Say. {text} Mood: [answer]", "first", r"[soft first 3]\nSay. {text} Mood: [answer]"),
        ("{text} Mood: [answer]", "both", r"[soft first 3]\n{text}[soft after 3] Mood: [answer]"),
        ("{a} and {b} [answer]", "after", "{a} and {b}[soft after 3] [answer]"),
        ("Say it: [answer]", "after", "Say it: [soft after 3][answer]"),
        ("[hard after] {text} [answer]", "after", "[hard after] {text}[soft after_ 3] [answer]"),
        (
            "[system] Sort. [user] {text} Now. [assistant] Mood: [answer]",
            "both",
            r"[system] [soft first 3]\nSort. [user] {text}[soft after 3] Now. [assistant] Mood: [answer]",
        ),
        ("{text} [soft mine 9] [answer]", "both", "{text} [soft mine 9] [answer]"),  # the user's own come before ours
    ],
)
def test_a_slot_is_put_in_where_it_is_asked_for(written: str, place: Any, expected: str) -> None:
    assert format(with_soft_slots(parse(written), place, 3)) == expected


@pytest.mark.parametrize(("place", "length", "came"), [("middle", 3, "place='middle'"), ("after", 0, "length=0")])
def test_a_place_that_there_is_not_is_an_error(place: str, length: int, came: str) -> None:
    with pytest.raises(SettingsError) as raised:
        check_slot(place, length)
    assert raised.value.came == came


def scores(prompt: Prompt, backbone: HuggingFaceBackbone) -> Any:
    rows = Rows.from_texts(["a fine day", "x"])
    return backbone.bind(prompt, rows, Choices(("good", "bad"))).score([0, 1]).numpy()


@pytest.mark.parametrize(
    "written",
    [
        "Sort it well. {text} Mood: [answer]",
        r"Sort it.\nDay: {text}\nMood: [answer]",
        "[user] Sort it: {text} [assistant] [answer]",
        "[hard say] then say it: {text} [answer]",
    ],
)
def test_words_turned_into_vectors_score_as_the_words_did(tiny_backbone: HuggingFaceBackbone, written: str) -> None:
    prompt = parse(written)
    prompt = prompt.fill(say="Look") if "say" in prompt.slots else prompt
    turned = words_to_slot(prompt, tiny_backbone)
    assert not turned.readable
    np.testing.assert_allclose(scores(turned, tiny_backbone), scores(prompt, tiny_backbone), atol=1e-5)


def test_a_prompt_without_words_has_nothing_to_turn(tiny_backbone: HuggingFaceBackbone) -> None:
    prompt = parse("{text} [answer]")
    assert words_to_slot(prompt, tiny_backbone) == prompt


def test_a_prompt_without_words_before_its_text_stays_as_it_is(tiny_backbone: HuggingFaceBackbone) -> None:
    prompt = parse(r"{text}\nMood: [answer]")
    assert words_to_slot(prompt, tiny_backbone) == prompt


def test_many_words_give_their_first_whole_lines_and_score_as_before(tiny_backbone: HuggingFaceBackbone) -> None:
    lines = [f"Line {number} of many words.\n" for number in range(8)]
    assert MOST_WORDS / 8 < len(tiny_backbone.encode(lines[0])) < MOST_WORDS / 2  # so that some lines are vectors, some words
    prompt = Prompt.of(Text("".join(lines) + "Day: "), Field("text"), *parse(r"\nMood: [answer]"))
    turned = words_to_slot(prompt, tiny_backbone)
    slot, rest, *_ = turned
    assert isinstance(slot, SoftSlot)
    assert isinstance(rest, Text)
    taken = "".join(lines) + "Day: "
    taken = taken[: -len(rest.text)]
    assert slot.length == len(tiny_backbone.encode(taken)) <= MOST_WORDS
    assert len(tiny_backbone.encode(taken + "\n" + lines[len(taken.splitlines())])) > MOST_WORDS
    assert rest.text.startswith("\nLine ")
    np.testing.assert_allclose(scores(turned, tiny_backbone), scores(prompt, tiny_backbone), atol=1e-5)


def test_one_line_of_many_words_becomes_vectors_whole(tiny_backbone: HuggingFaceBackbone) -> None:
    prompt = Prompt.of(Text("word " * MOST_WORDS), Field("text"), *parse(r"\nMood: [answer]"))
    slot = next(iter(words_to_slot(prompt, tiny_backbone)))
    assert isinstance(slot, SoftSlot)
    assert slot.length == len(tiny_backbone.encode(("word " * MOST_WORDS)[:-1]))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{text} Mood: [answer]", r"[soft first 3]\n{text} Mood: [answer]"),  # no words to take the place of
        ("Say. {text} [soft mine 9] [answer]", "Say. {text} [soft mine 9] [answer]"),
    ],
)
def test_instead_of_words_that_there_are_not(tiny_backbone: HuggingFaceBackbone, written: str, expected: str) -> None:
    assert format(soft_slots(parse(written), "instead", 3, tiny_backbone)) == expected


def test_instead_of_words_is_as_many_vectors(tiny_backbone: HuggingFaceBackbone) -> None:
    placed = soft_slots(parse("Say it all. {text} Mood: [answer]"), "instead", None, tiny_backbone)
    slot = placed.slots["words"]
    assert isinstance(slot, SoftSlot)
    assert slot.length == len(tiny_backbone.encode("Say it all."))
    after = soft_slots(parse("Say it. {text} [answer]"), "after", 3, tiny_backbone)
    assert format(after) == "Say it. {text}[soft after 3] [answer]"
    shorter, longer = (
        soft_slots(parse("Say it all. {text} [answer]"), "instead", n, tiny_backbone).slots["words"] for n in (3, 15)
    )
    assert isinstance(shorter, SoftSlot)
    assert isinstance(longer, SoftSlot)
    np.testing.assert_array_equal(shorter.vectors, tiny_backbone.embed(tiny_backbone.encode("Say")).numpy())
    np.testing.assert_array_equal(longer.vectors, tiny_backbone.embed(tiny_backbone.encode("Say it all.Say ")).numpy())


def test_a_few_words_are_too_few(tiny_backbone: HuggingFaceBackbone) -> None:
    assert len(tiny_backbone.encode("Review:")) < FEWEST_WORDS
    assert format(soft_slots(parse("Review: {text} [answer]"), "instead", None, tiny_backbone)).startswith(
        r"[soft first 20]\nReview:"
    )


def test_a_long_line_after_a_blank_one_becomes_vectors_too(tiny_backbone: HuggingFaceBackbone) -> None:
    written = "\n \n" + "word " * MOST_WORDS + "\nDay: "
    prompt = Prompt.of(Text(written), Field("text"), *parse(r"\nMood: [answer]"))
    turned = words_to_slot(prompt, tiny_backbone)
    slot = turned.slots["words"]
    assert isinstance(slot, SoftSlot)
    assert slot.length == len(tiny_backbone.encode(written[: -len(" \nDay: ")]))  # the space at its end is lent to what follows
    np.testing.assert_allclose(scores(turned, tiny_backbone), scores(prompt, tiny_backbone), atol=1e-5)


def test_for_a_channel_the_texts_own_line_stays_words(tiny_backbone: HuggingFaceBackbone) -> None:
    """That line is moved to the text, which comes last."""
    task, rows = Classification(("bad", "good"), channel=True), Rows.from_texts(["a fine day", "x"])
    prompt = parse(r"Sort it well.\nReview: {text}\nMood: [answer]")
    turned = soft_slots(prompt, "instead", None, tiny_backbone, channel=True)
    assert not turned.readable
    found, expected = (task.bind(some, tiny_backbone, rows).log_probabilities() for some in (turned, prompt))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    alone = parse(r"Sort this review well: {text}\nMood: [answer]")
    assert words_to_slot(alone, tiny_backbone, whole_lines=True) is alone
