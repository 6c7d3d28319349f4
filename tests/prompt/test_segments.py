"""Prompts as values: nothing changes behind their back, and equal means equal to the bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pegbox.errors import PromptError
from pegbox.prompt import Answer, DeepSlot, Field, HardSlot, Prompt, SoftSlot, Text, Turn, parse

PROMPT = parse("[hard say] Review: {text} [soft steer 2] {more} Mood: [answer]")
VECTORS = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_neighbouring_texts_are_one_and_empty_ones_are_none() -> None:
    assert Prompt.of(Text("a"), Text(""), Text("b"), Answer(), Text("")) == Prompt.of(Text("ab"), Answer())


def test_filling_makes_a_new_prompt_and_leaves_the_old_one_open() -> None:
    filled = PROMPT.fill(say="Judge it.", steer=VECTORS)
    assert PROMPT.open_slots == ("say", "steer")
    assert filled.open_slots == ()
    assert filled.slots["say"] == HardSlot("say", "Judge it.")
    assert filled.fill(say=None).open_slots == ("say",)
    assert filled.fill(say=None, steer=None) == PROMPT


def test_names_fields_and_answer_are_listed_in_order() -> None:
    assert tuple(PROMPT.slots) == ("say", "steer")
    assert PROMPT.field_names == ("text", "more")
    assert parse("{b} {a} {b} [answer]").field_names == ("b", "a")
    assert PROMPT.answer == Answer()
    assert not PROMPT.readable
    assert parse("[hard say] {text} [answer]").readable


def test_any_slot_name_of_the_notation_can_be_filled() -> None:
    prompt = parse("[hard self] [hard a-b] [answer]")
    assert prompt.fill(**{"self": "x", "a-b": "y"}).open_slots == ()


def test_vectors_are_copied_so_that_an_optimisers_array_can_go_on_changing() -> None:
    own = VECTORS.copy()
    filled = PROMPT.fill(steer=own)
    before = filled.digest()
    own += 1
    assert filled.digest() == before
    slot = filled.slots["steer"]
    assert isinstance(slot, SoftSlot)
    assert slot.vectors is not None
    np.testing.assert_array_equal(slot.vectors, VECTORS)
    with pytest.raises(ValueError, match="read-only"):
        slot.vectors[0, 0] = 9
    assert own.flags.writeable


def test_vectors_become_float32() -> None:
    slot = SoftSlot("s", 2, VECTORS.astype(np.float64))
    assert slot.vectors is not None
    assert slot.vectors.dtype == np.float32
    assert slot == SoftSlot("s", 2, VECTORS)


def test_slots_are_equal_when_their_bits_are() -> None:
    assert SoftSlot("s", 2, VECTORS) == SoftSlot("s", 2, VECTORS.copy())
    assert hash(SoftSlot("s", 2, VECTORS)) == hash(SoftSlot("s", 2, VECTORS.copy()))
    assert SoftSlot("s", 2, VECTORS) != SoftSlot("s", 2, VECTORS + 1)
    assert SoftSlot("s", 2, VECTORS) != SoftSlot("s", 2)
    assert SoftSlot("s", 2) != SoftSlot("t", 2)
    zero = np.zeros((1, 2), dtype=np.float32)
    assert SoftSlot("s", 1, zero) != SoftSlot("s", 1, -zero)  # their hashes differ, so they must
    nothing = np.full((1, 2), np.nan, dtype=np.float32)
    assert SoftSlot("s", 1, nothing) == SoftSlot("s", 1, nothing.copy())


def test_the_digest_sees_every_part() -> None:
    filled = PROMPT.fill(say="a", steer=VECTORS)
    others = [
        PROMPT,
        PROMPT.fill(steer=VECTORS),
        filled.fill(say="b"),
        filled.fill(steer=np.nextafter(VECTORS, np.float32(9))),
        filled.with_words({"x": ("y",)}),
        filled.map(lambda s: Field("other") if s == Field("more") else s),
        filled.map(lambda s: SoftSlot("steer", 1, VECTORS[:1]) if isinstance(s, SoftSlot) else s),
        filled.map(lambda s: SoftSlot("steers", 2, VECTORS) if isinstance(s, SoftSlot) else s),
        Prompt((Turn("assistant", filled.turns[0].segments),)),
        Prompt((Turn("user", filled.turns[0].segments[:2]), Turn("assistant", filled.turns[0].segments[2:]))),
    ]
    assert len({filled.digest(), *(other.digest() for other in others)}) == len(others) + 1
    assert PROMPT.fill(say="a", steer=VECTORS.copy()).digest() == filled.digest()


def test_slots_of_different_kinds_are_never_the_same() -> None:
    soft, deep = SoftSlot("s", 2, VECTORS), DeepSlot("s", 2, VECTORS)
    assert soft != deep
    assert {soft, deep, DeepSlot("s", 2, VECTORS.copy())} == {deep, soft}
    assert Prompt.of(soft, Answer()).digest() != Prompt.of(deep, Answer()).digest()


def test_map_may_put_several_segments_or_none_in_the_place_of_one() -> None:
    longer = PROMPT.map(lambda s: (Text("<"), s, Text(">")) if s == Field("text") else s)
    assert longer == parse("[hard say] Review: <{text}> [soft steer 2] {more} Mood: [answer]")
    shorter = PROMPT.map(lambda s: () if isinstance(s, HardSlot | SoftSlot) else s)
    assert shorter == parse(" Review: {text}  {more} Mood: [answer]")


def test_map_keeps_the_turns() -> None:
    chat = parse("[system] A [user] {text} [assistant] [answer]")
    changed = chat.map(lambda s: Text("B") if s == Text("A") else s)
    assert changed == parse("[system] B [user] {text} [assistant] [answer]")


def test_words_are_spaced_where_a_space_stands_before_them() -> None:
    prompt = parse("[hard a] b [hard c]x[hard d] {text}[hard e]\\n[hard f] [answer]")
    assert {name: prompt.spaced(name) for name in prompt.slots} == {"a": False, "c": True, "d": False, "e": False, "f": False}
    with pytest.raises(PromptError, match="no slot 'z' in this prompt"):
        prompt.spaced("z")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PROMPT.fill(nope="x"), "no slot 'nope' in this prompt\n  expected: one of: say, steer"),
        (lambda: parse("{text}[answer]").fill(nope="x"), "expected: one of: no slots"),
        (lambda: PROMPT.fill(say=VECTORS), "vectors for hard slot 'say'\n  expected: words"),
        (lambda: PROMPT.fill(steer="words"), "words for soft slot 'steer'\n  expected: vectors"),
        (lambda: PROMPT.fill(steer=VECTORS[:1]), r"vectors of shape \(1, 3\) for soft slot 'steer' of length 2"),
        (lambda: PROMPT.fill(steer=VECTORS[0]), r"vectors of shape \(3,\) for soft slot 'steer'"),
        (lambda: Prompt(()), "a prompt with 0 answers"),
        (lambda: Prompt((Turn("wizard", (Answer(),)),)), r"turns of roles \['wizard'\]"),
        (lambda: Prompt((Turn("", ()), Turn("", (Answer(),)))), r"turns of roles \['', ''\]"),
        (lambda: Field("a}b"), "a field named 'a}b'"),
        (lambda: Field(""), "a field named ''"),
        (lambda: HardSlot("a b"), "a slot named 'a b'"),
        (lambda: SoftSlot("1", 2), "a slot named '1'"),
        (lambda: SoftSlot("s", 0), "soft slot 's' has length 0"),
        (lambda: DeepSlot("d", 0), r"deep slot 'd' has length 0\n  expected: at least 1\n  what to do: write \[deep name 16\]"),
        (lambda: DeepSlot("d", 3, VECTORS), r"vectors of shape \(2, 3\) for deep slot 'd' of length 3"),
        (lambda: parse("[deep d 2]{text}[answer]").fill(d="words"), "words for deep slot 'd'"),
        (lambda: Answer((("a", ("x",)), ("a", ("y",)))), "words for the label 'a' twice"),
        (lambda: Answer((("a", ()),)), "no words for the label 'a'"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PromptError, match=message):
        make()


def test_segments_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROMPT.turns = ()  # type: ignore[misc]


def test_learned_numbers_are_counted_in_slots_of_every_kind() -> None:
    prompt = parse("[deep d 2] {text} [soft s 3] [input i 1] [soft open 4] [answer]")
    filled = prompt.fill(d=np.zeros((2, 8)), s=np.zeros((3, 5)), i=np.zeros((3, 5)))  # for one unit: 1 shared, 1 look, 1 add
    assert (prompt.parameters, filled.parameters) == (0, 16 + 15 + 15)
