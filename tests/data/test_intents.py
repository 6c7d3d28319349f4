"""Sentences from templates, and the samples that are made of more than one column or file."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from typing import Any

import pytest

from pegbox.data.clauses import parse_clauses
from pegbox.data.intents import EACH, LANGUAGES, intent_words, parse_intents, parse_slots
from pegbox.data.question_types import FINE
from pegbox.data.samples import CLAUSES, INTENTS, parse_questions
from pegbox.data.sentence_templates import Drawn, Templates
from pegbox.errors import DataError
from pegbox.prompt import parse

TEMPLATES = Templates({"the": "[the]", "turn": "(turn|switch)"}, {"area": ("hall", "(big|small) room"), "n": ("1", "2")})


def all_of(template: str, count: int = 400) -> set[str]:
    chance = random.Random(0)
    return {TEMPLATES.draw(template, chance).text for _ in range(count)}


@pytest.mark.parametrize(
    ("template", "sentences"),
    [
        ("light up", {"light up"}),
        ("lamp[s] on", {"lamp on", "lamps on"}),
        ("(a|b c) d", {"a d", "b c d"}),
        ("[(a|b)] c", {"c", "a c", "b c"}),
        ("(a;b)", {"a b", "b a"}),
        ("<turn> <the> hall", {"turn hall", "switch hall", "turn the hall", "switch the hall"}),
        ("in {area:where}", {"in hall", "in big room", "in small room"}),
        ("  {n}   %", {"1 %", "2 %"}),
        ("[a [b]] c", {"c", "a c", "a b c"}),
    ],
)
def test_every_sentence_of_a_template_can_be_drawn_and_no_other(template: str, sentences: set[str]) -> None:
    assert all_of(template) == sentences


@pytest.mark.parametrize("template", ["(a|b", "a]", "{nowhere}", "<nothing>", "a {n"])
def test_a_broken_template_is_told(template: str) -> None:
    with pytest.raises(DataError, match="brackets in pairs"):
        all_of(template)


@pytest.mark.parametrize(
    ("template", "sentences"),
    [
        ("in {area:where} {n}", {"in hall 1": "where n", "in small room 2": "where n"}),
        ("[{n}] <the>  hall", {"1 the hall": "n", "hall": ""}),
        ("({n} a;{n:m} b)", {"2 b 1 a": "m n", "1 a 2 b": "n m"}),
        ("light up", {"light up": ""}),
    ],
)
def test_a_drawn_sentence_knows_its_slots(template: str, sentences: dict[str, str]) -> None:
    chance = random.Random(1)
    drawn = {one.text: one for one in (TEMPLATES.draw(template, chance) for _ in range(400))}
    for text, names in sentences.items():
        assert " ".join(name for *_, name in drawn[text].slots) == names
    values = {text[start:end] for text, one in drawn.items() for start, end, _ in one.slots}
    assert values <= {"hall", "big room", "small room", "1", "2"}


def test_a_slot_without_a_value_is_none() -> None:
    templates = Templates({}, {"n": ("[x]",)})
    drawn = {templates.draw("a {n} b", random.Random(seed)) for seed in range(9)}
    assert drawn == {Drawn("a b"), Drawn("a x b", ((2, 3, "n"),))}


def language(**sentences: list[str]) -> bytes:
    intents: Mapping[str, Any] = {name: {"data": [{"sentences": own}]} for name, own in sentences.items()}
    lists = {"n": {"range": {"from": 0, "to": 100}}, "kind": {"values": [{"in": "lamp"}, "fan"]}, "free": {"wildcard": True}}
    return json.dumps({"intents": intents, "expansion_rules": {}, "lists": lists}).encode()


def test_intents_with_sentences_enough_in_every_language_are_kept() -> None:
    each = [
        language(
            HassSet=[f"set {lang} to {{n}}"],  # nine numbers of a range are drawn
            HassTurnOn=[f"{lang} on {{kind}} {{area}} {{free}}"],
            HassRare=[f"{lang} rare", f"{lang} seldom"] if lang == "de" else [f"{lang} {{n}} rare"],
        )
        for lang in LANGUAGES
    ]
    rows, note = parse_intents(each)
    assert note == "left out 1 intent with fewer than 8 different sentences in some language"
    assert [number for number, _, _ in rows] == list(range(1, len(rows) + 1))
    assert {label for *_, label in rows} == {"HassSet", "HassTurnOn"}
    assert {fields["text"] for _, fields, label in rows if label == "HassSet" and fields["language"] == "fr"} == {
        f"set fr to {n}0" for n in range(1, 10)
    }
    assert sum(label == "HassTurnOn" and fields["language"] == "it" for _, fields, label in rows) == EACH
    assert parse_intents(each)[0] == rows


def test_slots_are_spans_of_the_same_sentences_in_whole_words() -> None:
    each = [
        language(HassA=[f"{lang} {{n}}%", f"{lang} {{n:level}}s", f"{lang} x{{n}}"], HassB=[f"b {lang} {{kind}} {{n}}"])
        for lang in LANGUAGES
    ]
    rows, _ = parse_intents(each)
    records, note = parse_slots(each)
    glued = [number for number, fields, _ in rows if re.search(r"x\d|\ds", fields["text"])]
    assert glued
    assert note.endswith(f"in some language, and {len(glued)} sentences with a slot inside a word")
    texts = {number: (fields["text"], fields["language"], label) for number, fields, label in rows if number not in glued}
    assert {one.number: (one.values["text"], one.values["language"], one.values["intent"]) for one in records} == texts
    found = {
        (span["label"], one.values["text"][span["start"] : span["end"]]) for one in records for span in one.values["spans"]
    }
    assert found == {("n", f"{n}0") for n in range(1, 10)} | {("kind", "lamp"), ("kind", "fan")}


def test_a_sentence_of_two_intents_is_left_out() -> None:
    each = [language(HassA=[f"{lang} {{n}}"], HassB=[f"{lang} {{n}}", f"{lang} b {{n}}"]) for lang in LANGUAGES]
    rows, _ = parse_intents(each)
    assert {label for *_, label in rows} == {"HassB"}
    assert all(" b " in fields["text"] for _, fields, _ in rows)


def test_intents_are_said_as_people_say_them() -> None:
    assert intent_words("HassTurnOn") == "turn on"
    assert INTENTS.words["HassCancelAllTimers"] == "cancel all timers"
    assert len(INTENTS.labels) == len(set(INTENTS.words.values())) == 36


def test_clauses_come_with_their_questions_and_once() -> None:
    lines = [
        {"context": "We sell data. ", "question": "do they  sell?", "answer": "True"},
        {"context": "We sell data.", "question": "do they sell?", "answer": "True"},
        {"context": "We sell data.", "question": "is it free?", "answer": "False"},
    ]
    rows, note = parse_clauses("\n".join(map(json.dumps, lines)).encode())
    assert rows == [
        (1, {"text": "We sell data.", "question": "do they sell?"}, "relevant"),
        (3, {"text": "We sell data.", "question": "is it free?"}, "irrelevant"),
    ]
    assert note == "left out 1 line with the clause and question of an earlier one"
    assert CLAUSES.prompt is not None
    assert parse(CLAUSES.prompt).field_names == ("text", "question")


def test_fine_questions_keep_both_levels() -> None:
    rows, _ = parse_questions(b"DESC:manner How ?\nHUM:ind Who ?\n", fine=True)
    assert rows == [(1, "How ?", "DESC:manner"), (2, "Who ?", "HUM:ind")]
    assert len(FINE) == len(set(FINE.values())) == 50
    assert list(FINE) == sorted(FINE)
