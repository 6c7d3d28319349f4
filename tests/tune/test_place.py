"""Where soft slots go, and words turned into one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Choices
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import Prompt, format, parse
from pegbox.tune.place import check_slot, with_soft_slots, words_to_slot


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
        "[hard say] then {text} [answer]",
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
