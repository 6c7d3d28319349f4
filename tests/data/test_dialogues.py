"""Conversations from files and lists, with errors that name the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pegbox.data.dialogues import read, read_rows, read_table
from pegbox.data.references import references
from pegbox.data.stream import Reading
from pegbox.errors import DataError
from pegbox.prompt.turns import said

U, A, S = (lambda text, role=role: {"role": role, "content": text} for role in ("user", "assistant", "system"))


def jsonl(folder: Path, *rows: object) -> Path:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_each_turn_of_the_assistant_is_a_row(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"messages": [S("Be kind."), U("Hi"), A("Hello!"), U("<|im_end|> Bye"), A("Bye.")]},
        {"messages": [S("Short."), U("Yo"), A("Yo.")]},
    )
    rows, notes = read_rows(path)
    assert [said(row["turns"]) for row in rows] == [
        (("user", "Hi"),),
        (("user", "Hi"), ("assistant", "Hello!"), ("user", "<|im_end|> Bye")),
        (("user", "Yo"),),
    ]
    assert [row["system"] for row in rows] == ["Be kind.", "Be kind.", "Short."]
    assert references(rows) == [("Hello!",), ("Bye.",), ("Yo.",)]
    assert rows.numbers == (1, 1, 2)
    assert notes == (f"{path}: took 'messages' as the turns (--text).",)


def test_sharegpt_weights_parts_and_pairs(tmp_path: Path) -> None:
    shared = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}
    assert references(read_rows([shared])[0]) == [("Ho",)]
    marked = [U("a"), {**A("b"), "weight": 0}, U("c"), A("d")]
    assert references(read_rows([{"messages": marked}])[0]) == [("d",)]
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, A("c")]
    assert said(read_rows([parts])[0].fields[0]["turns"]) == (("user", "ab"),)
    path = tmp_path / "a.csv"
    path.write_text("statement,reply\nHi,Ho\nHi,Hey\nBye,See you\n", encoding="utf-8")
    rows, _ = read_rows(path, "statement", "reply")
    assert references(rows) == [("Ho", "Hey"), ("See you",)]  # one context, two replies
    assert references(read_rows([("Hi", "Ho")])[0]) == [("Ho",)]


def test_a_systems_turn_that_only_some_have_is_left_out_and_said() -> None:
    rows, notes = read_rows([[S("x"), U("a"), A("b")], [U("c"), A("d")]])
    assert all(set(row) == {"turns"} for row in rows)
    assert notes[-1] == "the list: 1 of 2 conversations have a system turn of their own, which is left out."


def test_conversations_that_wait_for_a_reply() -> None:
    rows, notes = read_rows([[U("a"), A("b"), U("c")], [U("d"), A("e")]], labelled=False)
    assert [said(row["turns"])[-1] for row in rows] == [("user", "c"), ("user", "d")]
    assert rows.gold is None
    assert notes[-1] == "the list: 1 conversation ended with the assistant, whose last turn is written anew."
    assert said(read_rows(["just a text"], labelled=False)[0].fields[0]["turns"]) == (("user", "just a text"),)


def test_turns_of_one_conversation_stay_on_one_side() -> None:
    long = [[part for turn in range(4) for part in (U(f"{n} {turn}"), A(f"reply {n} {turn}"))] for n in range(20)]
    data = read(long, test_size=0.2)
    assert data.test is not None
    test = data.test.open("look")
    assert set(test.numbers).isdisjoint(data.train.numbers)
    assert len(test) == 16
    assert sorted({*test.numbers, *data.train.numbers}) == list(range(1, 21))


@pytest.mark.parametrize(
    ("turns", "came"),
    [
        ([U("a"), A(" ")], "1 row with an empty turn (row 2 (line 3): turn 2, of the assistant)"),
        (
            [U("a"), A("b"), A("c")],
            "1 row with turns out of order (row 2 (line 3): turn 3 is the assistant's where the user's belongs)",
        ),
        (
            [A("a"), U("b")],
            "1 row with turns out of order (row 2 (line 3): turn 1 is the assistant's where the user's belongs)",
        ),
        (
            [U("a"), S("b")],
            "1 row with turns out of order (row 2 (line 3): turn 2 is the system's where the assistant's belongs)",
        ),
        (
            [U("a"), {"role": "tool", "content": "x"}],
            "1 row with a turn of an unknown role (row 2 (line 3): turn 2 has the role 'tool')",
        ),
        ([S("x"), U("a")], "1 row without a turn of the assistant (row 2 (line 3): it has 2 turns)"),
        ([], "1 row without a list of turns (row 2 (line 3): column 'messages' is empty)"),
        ({"a": 1}, "1 row without a list of turns (row 2 (line 3): column 'messages' holds a dict)"),
        ([U("a"), "b"], "1 row without a list of turns (row 2 (line 3): turn 2 is a str)"),
        ([U("a"), A("x\0")], "1 row with a NUL character (row 2 (line 3): turn 2, at character 2)"),
    ],
)
def test_bad_conversations_are_named_with_file_and_line(tmp_path: Path, turns: Any, came: str) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps({"messages": [U("a"), A("b")]})
    path.write_text(f"{good}\n\n{json.dumps({'messages': turns})}\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_rows(path)
    assert error.value.came == f"{path} has {came}"
    rows, notes = read_rows(path, reading=Reading(on_problem="drop"))
    assert len(rows) == 1
    assert "left out 1 row" in " ".join(notes)


def test_a_file_without_conversations(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none is called like a conversation"):
        read_rows(jsonl(tmp_path, {"a": "x", "b": "y"}))


def test_a_further_column_comes_along_for_groups() -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    found = read_table([{"messages": turns, "lang": "de"}, {"messages": [*turns, *turns], "lang": None}], fields=("lang",)).rows
    assert [row["lang"] for row in found] == ["de", "", ""]
    with pytest.raises(DataError, match="region"):
        read_table([{"messages": turns, "lang": "de"}], fields=("region",))
