"""Prompts taken apart and written in other layouts, by hand."""

import pytest

from pegbox.prompt import Field, Text, notation, parse
from pegbox.tune.templates import asked, instruction_of, layouts, take_apart

PLAIN = r"Sort it.\nReview: {text}\nMood: [answer]"


def written(prompt: str, name: str, words: str, chat: bool = True) -> str:
    return notation.format(layouts(parse(prompt), ("good", "bad"), chat, "Choose.")[name](words))


def test_a_plain_prompt_is_taken_apart_by_lines() -> None:
    parts = take_apart(parse(PLAIN))
    assert parts is not None
    assert (parts.instruction, parts.lead) == ("Sort it.", "Mood: ")
    assert parts.text == (Text("Review: "), Field("text"))


def test_what_stands_between_text_and_answer_line_belongs_to_the_text() -> None:
    parts = take_apart(parse(r"Review: {text}, {place}\nSort it.\nMood: [answer]"))
    assert parts is not None
    assert parts.instruction == ""
    assert parts.text == (Text("Review: "), Field("text"), Text(", "), Field("place"), Text("\nSort it."))


def test_a_chat_is_taken_apart_by_turns() -> None:
    parts = take_apart(parse(r"[system] Sort it. [user] Review: {text} [assistant] Mood:\s[answer]"))
    assert parts is not None
    assert (parts.instruction, parts.lead) == ("Sort it.", "Mood: ")
    same = take_apart(parse(r"[user] Sort it.\nReview: {text} [assistant] Mood:\s[answer]"))
    assert same == parts


@pytest.mark.parametrize(
    "prompt",
    [
        "[hard say] {text} [answer]",
        "[soft say 4] {text} [answer]",
        "Say it: [answer]",
        "[user] {text} [assistant] a [user] {text} [assistant] [answer]",
    ],
)
def test_slots_longer_chats_and_prompts_without_text_stay_whole(prompt: str) -> None:
    assert take_apart(parse(prompt)) is None


@pytest.mark.parametrize(
    "prompt",
    [
        PLAIN,
        "{text} It is [answer]",
        r"Sort it.\n\nReview: {text}\nMood:[answer].",
        r"[system] Sort it. [user] Review: {text} [assistant] Mood:\s[answer]",
        r"[user] Sort it.\nReview: {text} [assistant] [answer]",
    ],
)
def test_the_first_layout_with_its_own_words_is_the_prompt_itself(prompt: str) -> None:
    found = layouts(parse(prompt), ("good", "bad"), True, "Choose.")
    assert next(iter(found)) == "as written"
    assert found["as written"](instruction_of(parse(prompt), "Choose.")) == parse(prompt)


def test_as_written_changes_nothing_but_the_instruction() -> None:
    assert (
        written(r"Sort it.\n\nReview: {text}\nMood:[answer].", "as written", "Go.") == r"Go.\n\nReview: {text}\nMood:[answer]."
    )
    assert written(r"Sort it.\n\nReview: {text}\nMood:[answer].", "as written", "") == r"Review: {text}\nMood:[answer]."
    assert written("{text} It is [answer]", "as written", "Go.") == r"Go.\n{text} It is [answer]"
    chat = r"[system] Sort it. [user] {text} [assistant] Mood:\s[answer]"
    assert written(chat, "as written", "Go.") == "[system] Go. [user] {text} [assistant] Mood: [answer]"
    assert written(chat, "as written", "") == "[user] {text} [assistant] Mood: [answer]"


def test_layouts_by_hand() -> None:
    assert written(PLAIN, "plain", "Go.") == r"Go.\nReview: {text}\nMood: [answer]"
    assert written(PLAIN, "plain", "") == r"Review: {text}\nMood: [answer]"
    assert written(PLAIN, "apart", "Go.") == r"Go.\n\nReview: {text}\nMood: [answer]"
    assert written(PLAIN, "options", "Go.") == r"Go.\nOptions: good, bad\n\nReview: {text}\nMood: [answer]"
    assert written(PLAIN, "instruction last", "Go.") == r"Review: {text}\nGo.\nMood: [answer]"
    assert written(PLAIN, "quoted", "Go.") == r'Go.\nReview: "{text}"\nMood: [answer]'
    assert written(PLAIN, "input and output", "Go.") == r"Go.\nInput: {text}\nOutput: [answer]"
    assert written(PLAIN, "chat", "Go.") == r"[user] Go.\nReview: {text} [assistant] Mood: [answer]"
    assert written(PLAIN, "chat with a system turn", "Go.") == r"[system] Go. [user] Review: {text} [assistant] Mood: [answer]"


def test_chat_layouts_only_where_the_model_knows_chat() -> None:
    assert not any("chat" in name for name in layouts(parse(PLAIN), ("good", "bad"), False, "Choose."))


def test_answers_keep_their_spacing_in_every_layout() -> None:
    for prompt, end in ((PLAIN, " "), (r"Sort it.\nReview: {text}\nMood:[answer]", ":")):
        for layout in layouts(parse(prompt), ("good", "bad"), True, "Choose.").values():
            segments = layout("Go.").turns[-1].segments
            assert isinstance(segments[-2], Text)
            assert segments[-2].text.endswith(end)


def test_named_layouts_need_a_single_field() -> None:
    assert "quoted" not in layouts(parse(r"{one} or {two}\nMood: [answer]"), ("good", "bad"), False, "Choose.")


def test_a_prompt_with_hard_slots_keeps_its_layout() -> None:
    prompt = parse("[hard say] {text} [hard more] [answer]")
    found = layouts(prompt, ("good", "bad"), True, "Choose.")
    assert list(found) == ["as written"]
    assert notation.format(found["as written"]("Go.")) == '[hard say="Go."] {text} [hard more="Choose."] [answer]'
    assert instruction_of(prompt, "Choose.") == "Choose."
    assert instruction_of(parse('[hard say="Hm."] {text} [answer]'), "Choose.") == "Hm."


def test_an_open_slot_begins_with_the_labels() -> None:
    assert asked({"a": ("good", "fine"), "b": ("bad",), "c": ("so so",)}) == "Choose good, bad or so so."


def test_many_labels_are_not_all_written_into_prompts() -> None:
    names = [f"label {n}" for n in range(21)]
    assert "options" in layouts(parse(PLAIN), names[:20], False, "")
    assert "options" not in layouts(parse(PLAIN), names, False, "")
    assert asked({name: [name] for name in names[:3]}) == "Choose label 0, label 1 or label 2."
    some = "Give the text a label of a few words, such as label 0, label 10 or label 20."
    assert asked({name: [name] for name in names}) == some
