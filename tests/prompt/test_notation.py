"""The notation: what it says is what it means, both ways, and its errors show the place."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pegbox.errors import PromptError
from pegbox.prompt import Answer, DeepSlot, Field, HardSlot, Prompt, Segment, SoftSlot, Text, Turn, VectorSlot, format, parse

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12),
    st.text('[]{}\\ \t\n\r"|=sn\u00a0\x1ca', min_size=1, max_size=12),  # what the notation itself is made of
    st.sampled_from(["[user]", " [answer] ", "{text}", "[soft x 3]", "<|im_end|>", "\\", "\\s", " ", "\n"]),
)
SLOT_NAMES = st.from_regex(r"[A-Za-z_][\w.-]{0,5}", fullmatch=True)
FIELD_NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="{}[]\\\n"), min_size=1, max_size=8)
VERBALIZERS = st.dictionaries(TEXTS, st.lists(st.one_of(TEXTS, st.just("")), min_size=1, max_size=3).map(tuple), max_size=3)
PIECES = st.one_of(
    st.builds(Text, TEXTS),
    st.builds(Field, FIELD_NAMES),
    st.builds(HardSlot, SLOT_NAMES, st.none() | TEXTS | st.just("")),
    st.builds(SoftSlot, SLOT_NAMES, st.integers(1, 999)),
)


@st.composite
def segments(draw: st.DrawFn, answer: bool) -> tuple[Segment, ...]:
    before = draw(st.lists(PIECES, max_size=5))
    if not answer:
        return tuple(before)
    after = [Text(draw(TEXTS))] if draw(st.booleans()) else []
    return (*before, Answer(tuple(draw(VERBALIZERS).items())), *after)


def distinct(turns: tuple[Turn, ...]) -> bool:
    names = [s.name for turn in turns for s in turn.segments if isinstance(s, HardSlot | VectorSlot)]
    return len(set(names)) == len(names)


PLAIN = segments(answer=True).map(lambda row: (Turn("", row),))
EARLIER = st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), segments(answer=False))
CHAT = st.tuples(st.lists(EARLIER, max_size=3), segments(answer=True)).map(
    lambda drawn: (*drawn[0], Turn("assistant", drawn[1]))
)
DEEP = st.none() | st.builds(DeepSlot, SLOT_NAMES, st.integers(1, 999))


def deepened(turns: tuple[Turn, ...], deep: DeepSlot | None, at: int) -> tuple[Turn, ...]:
    """With a deep slot before everything, or after so many of the segments before the answer."""
    if deep is None:
        return turns
    places = [(0, 0)]
    for number, turn in enumerate(turns):
        until = next((n for n, segment in enumerate(turn.segments) if isinstance(segment, Answer)), len(turn.segments))
        places += [(number, place) for place in range(until + 1) if place or any(one.segments for one in turns[:number])]
    number, place = places[at % len(places)]
    parts = turns[number].segments
    return (*turns[:number], Turn(turns[number].role, (*parts[:place], deep, *parts[place:])), *turns[number + 1 :])


PROMPTS = st.builds(deepened, st.one_of(PLAIN, CHAT), DEEP, st.integers(0, 9)).filter(distinct).map(Prompt)


@settings(max_examples=150, deadline=None)
@given(PROMPTS)
def test_any_prompt_comes_back_from_its_notation(prompt: Prompt) -> None:
    written = format(prompt)
    assert parse(written) == prompt
    assert format(parse(written)) == written


def test_a_deep_slot_stands_before_everything_and_in_a_chat_before_the_turns() -> None:
    assert parse("[deep steer 8] Text: {text} [answer]") == Prompt.of(
        DeepSlot("steer", 8), Text(" Text: "), Field("text"), Text(" "), Answer()
    )
    chat = parse("[deep steer 8] [system] Sort. [user] {text} [assistant] [answer]")
    assert chat.turns[0] == Turn("system", (DeepSlot("steer", 8), Text("Sort.")))
    assert parse("[system] [deep steer 8]Sort. [user] {text} [assistant] [answer]") == chat
    assert format(chat) == "[deep steer 8] [system] Sort. [user] {text} [assistant] [answer]"
    for twice in ("[deep a 1][deep b 1][answer]", "[deep a 1]{text}[deep b 1] so [answer]"):
        with pytest.raises(PromptError, match=r"deep slots 'a' and 'b'\n  expected: one deep slot"):
            parse(twice)
    with pytest.raises(PromptError, match="words before the first turn"):
        parse("[deep steer 8] so [user] {text} [assistant] [answer]")


def test_a_deep_slot_further_on_stays_where_it_is() -> None:
    assert parse("Text: [deep a 8]{text}[answer]").infix == DeepSlot("a", 8)
    assert parse("[deep a 8]{text}[answer]").infix is None
    assert parse("{text}[soft a 8] so [answer]").infix is None
    chat = parse("[system] Sort. [user] {text} [deep steer 8] [assistant] [answer]")
    assert chat.turns[1] == Turn("user", (Field("text"), Text(" "), DeepSlot("steer", 8)))
    assert format(chat) == "[system] Sort. [user] {text} [deep steer 8] [assistant] [answer]"
    assert chat.infix == DeepSlot("steer", 8)


def test_every_kind_of_segment_is_read() -> None:
    notation = 'Sort it. [hard say="a \\"b\\" ]"] Text: {the text} [hard more] [soft steer-1 16] Kind: '
    read = parse(notation + '[answer pos="good|great" neg="bad"].')
    assert read == Prompt.of(
        Text("Sort it. "),
        HardSlot("say", 'a "b" ]'),
        Text(" Text: "),
        Field("the text"),
        Text(" "),
        HardSlot("more"),
        Text(" "),
        SoftSlot("steer-1", 16),
        Text(" Kind: "),
        Answer((("pos", ("good", "great")), ("neg", ("bad",)))),
        Text("."),
    )


def test_escapes_are_the_characters_themselves() -> None:
    assert parse(r"\[answer\] \{text\} \\n a\nb\tc[answer]") == Prompt.of(Text("[answer] {text} \\n a\nb\tc"), Answer())


def test_bars_part_words_and_an_escaped_bar_is_part_of_one() -> None:
    assert parse(r'[answer x="a|b\|c|d"]').answer == Answer((("x", ("a", "b|c", "d")),))
    one, other = (("a|", "b"),), (("a", "|b"),)
    written = {format(Prompt.of(Answer((("x", words),)))) for words in (*one, *other)}
    assert written == {r'[answer "x"="a\||b"]', r'[answer "x"="a|\|b"]'}


def test_white_space_around_turn_marks_does_not_count_but_escaped_space_does() -> None:
    read = parse("  [system] Be brief. \n [user]\t{text}\\s[assistant] Kind:\\s [answer]")
    assert read == Prompt(
        (
            Turn("system", (Text("Be brief."),)),
            Turn("user", (Field("text"), Text(" "))),
            Turn("assistant", (Text("Kind:  "), Answer())),
        )
    )
    assert parse("[user] a [assistant] Kind:\\s[answer]").turns[-1].segments[0] == Text("Kind: ")


def test_white_space_inside_a_plain_prompt_counts() -> None:
    assert parse(" {text}  [answer] ") == Prompt.of(Text(" "), Field("text"), Text("  "), Answer(), Text(" "))


@pytest.mark.parametrize(
    ("notation", "came", "remedy"),
    [
        ("Review: {text", r"^'{' at position 8 of the prompt, before 'text'\n", "write \\{ for the character itself"),
        ("a [soft x] [answer]", r"^'\[' at position 2 of the prompt, before 'soft x\] \[answer\]'\n", "write \\[ for"),
        ("[soft 3x 4] [answer]", "at position 0", "write \\["),
        ("[hard  say] [answer]", "at position 0", "write \\["),
        ("a ] [answer]", "at position 2", "write \\]"),
        ("a [answer]\\", "at position 10", "write \\\\ for the character itself"),
        ("{} [answer]", "at position 0", "write \\{"),
        ("no answer {text}", "a prompt with 0 answers", "say with [answer]"),
        ("", "a prompt with 0 answers", "say with [answer]"),
        ("[answer] [answer]", "a prompt with 2 answers", "say with [answer]"),
        ("[answer] {text}", r"Field\(name='text'\) after the answer", "move it before"),
        ("[soft x 0] [answer]", "soft slot 'x' has length 0", "write [soft name 16]"),
        ("[soft x 2] [hard x] [answer]", "two slots named 'x'", "rename one"),
        (
            "hello [user] a [assistant] [answer]",
            "words before the first turn in 'hello",
            "begin with one of [system], [user], [assistant]",
        ),
        ("[soft x 1] [user] a [assistant] [answer]", "words before the first turn", "begin with"),
        ("[user] {text} [answer]", "an .answer. in the user turn", "end with [assistant] [answer]"),
        ("[assistant] [answer] [user] {text}", "after the answer", "move it before"),
        ("[assistant] [answer] [user] then", "an .answer. before the last turn", "end with [assistant] [answer]"),
        ('[answer a="x" a="y"]', "words for the label 'a' twice", 'write a="one|other"'),
    ],
)
def test_an_error_says_what_came_and_what_to_do(notation: str, came: str, remedy: str) -> None:
    with pytest.raises(PromptError, match=came) as caught:
        parse(notation)
    assert remedy in caught.value.remedy


def test_the_position_in_an_error_is_the_strays_own() -> None:
    notation = r"a\[b {ok} ] [answer]"
    with pytest.raises(PromptError, match=f"^']' at position {notation.index(' ]') + 1} of"):
        parse(notation)
