"""Entities, sets of labels and texts over HTTP: the answers of the artifact itself, beside prompts of other kinds."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from bench.fuzzing import anything
from tests.serve.kinds import TALK, TEXTS, TYPES, WORDS, plain, predict, told

from pegbox.artifact import Tuned
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.errors import ArtifactError
from pegbox.prompt import parse
from pegbox.prompt.names import Name
from pegbox.serve.errors import GoneError, LateError
from pegbox.serve.house import House
from pegbox.serve.served import open_served
from pegbox.serve.settings import Limits
from pegbox.task.classification import Classification
from pegbox.task.generation import Generation
from pegbox.task.predictor import PromptPredictor

StartAll = Callable[..., tuple[House, httpx2.Client]]


def test_entities_are_those_of_the_artifact(start_all: StartAll, kinds: dict[str, Tuned]) -> None:
    _, http = start_all()
    rows = [*({"text": text} for text in TEXTS), WORDS, {"words": ["Rome"]}]
    expected = plain(kinds["names"], rows)
    assert {tag for one in expected for tag in one["tags"]} >= {"O", "B-PER", "I-PER", "B-LOC"}
    found = predict(http, "names", *TEXTS, WORDS, {"words": ["Rome"]})
    assert [told(one) for one in found] == expected
    for text, one in zip([*TEXTS, " ".join(WORDS["tokens"])], found, strict=False):
        assert all(text[span["start"] : span["end"]] == span["text"] for span in one["spans"])
    further = [{"text": text, "lang": "en"} for text in TEXTS[:3]]
    assert [told(one) for one in predict(http, "around", *further)] == plain(kinds["around"], further)


def test_texts_are_those_of_the_artifact(start_all: StartAll, kinds: dict[str, Tuned]) -> None:
    _, http = start_all()
    for name in ("line", "drawn", "beams"):
        expected = kinds[name].predict(TEXTS)
        assert [told(one) for one in predict(http, name, *TEXTS)] == expected
        assert [told(one) for one in predict(http, name, *TEXTS[2:], first=2)] == expected[2:]  # chance goes by the number
    assert len(set(kinds["drawn"].predict(["a"] * 4))) > 1
    talks = [TALK, TALK[:1], [{"role": "user", "content": "Say it"}]]
    expected = kinds["talk"].predict(talks)
    shapes = [{"messages": TALK}, {"conversations": [{"from": "human", "value": "Hi there"}]}, "Say it"]
    assert [told(one) for one in predict(http, "talk", *talks)] == expected
    assert [told(one) for one in predict(http, "talk", *shapes)] == expected


def test_sets_of_labels_are_those_of_the_artifact(start_all: StartAll, kinds: dict[str, Tuned]) -> None:
    _, http = start_all()
    expected = [list(labels) for labels in kinds["several"].predict(TEXTS)]
    assert len({tuple(labels) for labels in expected}) > 1
    assert [told(one) for one in predict(http, "several", *TEXTS)] == expected


def test_turns_are_a_field_where_the_task_is_no_conversation(start: Any, until: Any) -> None:
    """A label for a conversation: its field holds the turns, as the artifact's own rows do."""
    served = start("soft")
    backbone = served.prompts["soft"].backbone
    prompt = parse("[system] Is it kind? [turns] {turns} [assistant] [answer]")
    kind = Tuned(PromptPredictor(prompt, Classification(("no", "yes")), backbone))
    kind.save(served.folder / "kind")
    until(lambda: served.http.get("/v1/prompts/kind").status_code == 200)
    row = {"turns": json.dumps(TALK)}
    (found,) = predict(served.http, "kind", row)
    np.testing.assert_allclose(list(found["probabilities"].values()), kind.predict_proba(Rows((row,)))[0], atol=1e-4)
    assert served.predict("kind", {"turns": "no turns"}).status_code == 400
    said = served.http.post("/v1/chat/completions", json={"model": "kind", "messages": TALK}).json()
    assert said["choices"][0]["message"]["content"] == found["label"]


def test_prompts_of_all_kinds_share_the_batch(start_all: StartAll, kinds: dict[str, Tuned]) -> None:
    _, http = start_all(limits=Limits(turn_tokens=300, batch_rows=8))
    names = ("names", "label", "line", "several", "drawn", "talk")
    jobs = [(name, [text, f"text {n}"]) for n, text in enumerate(TEXTS[:3] * 3) for name in names]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda job: predict(http, job[0], *job[1]), jobs))
    for (name, texts), found in zip(jobs, answers, strict=True):
        expected = kinds[name].predict(texts) if name == "label" else plain(kinds[name], texts)
        assert [told(one) for one in found] == expected
    page = http.get("/metrics").text
    assert 'pegbox_rows_total{prompt="names@1"} 18.0' in page
    assert 'pegbox_rows_total{prompt="line@1"} 18.0' in page
    turns = float(next(line for line in page.splitlines() if line.startswith("pegbox_turn_rows_count")).split()[1])
    rows = float(next(line for line in page.splitlines() if line.startswith("pegbox_turn_rows_sum")).split()[1])
    assert rows > 1.5 * turns  # they sat side by side


def test_a_sentence_is_read_once_for_its_words(start_all: StartAll) -> None:
    house, http = start_all()
    sentence = " ".join(f"word{n}" for n in range(20))
    predict(http, "names", sentence)
    before = tokens_read(house, http)
    predict(http, "names", sentence)
    assert tokens_read(house, http) - before < 4 * len(
        sentence
    )  # a token is a byte: 20 times the sentence if each word read it anew


def test_words_before_their_sentence_keep_to_the_bounds_of_a_turn(start_all: StartAll, kinds: dict[str, Tuned]) -> None:
    """Each word is read with the whole sentence then: 32 of them are many rows, not one."""
    limits = Limits(turn_tokens=600, batch_rows=8)
    house, http = start_all(limits=limits)
    row = {"text": " ".join(f"w{n:02d}" for n in range(40)), "lang": "en"}
    positions, under_way, waiting = [], [], house.scheduler._meter.turn

    def turn(rows: int, tokens: int, seconds: float) -> None:
        positions.append(tokens)
        under_way.append(sum(len(one._words) for one in house.scheduler._seats))
        waiting(rows, tokens, seconds)

    house.scheduler._meter.turn = turn  # type: ignore[method-assign]
    assert [told(one) for one in predict(http, "around", row)] == plain(kinds["around"], [row])
    assert len(positions) >= 20  # some words at a time
    assert max(positions) <= limits.turn_tokens
    assert 1 < max(under_way) < 2 * limits.batch_rows


BAD: list[tuple[str, Any, int, str]] = [
    ("names", {"tokens": []}, 400, "blank"),
    ("names", {"tokens": ["a", " "]}, 400, "blank"),
    ("names", {"tokens": [{"a": "b"}]}, 400, "blank"),
    ("names", {"tokens": [1]}, 422, "rows"),
    ("names", "", 400, "blank"),
    ("names", " \u200b ", 400, "nothing that is seen"),
    ("names", {"other": "a", "more": "b"}, 400, "no column of texts or of words"),
    ("names", {"text": ["a"]}, 400, "blank or no text"),
    ("names", [{"role": "user", "content": "a"}], 400, "row 1 is a list"),
    ("names", "a\0b", 400, "character 2"),
    ("names", "x" * 101, 413, "101 characters"),
    ("names", "a " * 9, 413, "9 words"),
    ("around", "a", 400, "lang"),
    ("around", {"text": "a", "lang": ["en"]}, 400, "a list in its field 'lang'"),
    ("line", {"text": ["a"]}, 400, "a list in its field 'text'"),
    ("line", {"other": "a"}, 400, "no field 'text'"),
    ("line", [{"role": "user", "content": "a"}], 400, "row 1 is a list"),
    ("line", "x" * 101, 413, "101 characters"),
    ("label", {"text": ["a"]}, 400, "a list in its field 'text'"),
    ("talk", {"text": "a"}, 400, "empty"),
    ("talk", [], 400, "empty"),
    ("talk", "", 400, "turn 1"),
    ("talk", [{"role": "assistant", "content": "a"}], 400, "turn 1"),
    ("talk", [{"role": "judge", "content": "a"}], 400, "judge"),
    ("talk", [{"content": [{"type": "image"}]}], 400, "turn 1"),
    ("talk", {"messages": ["a"]}, 400, "turn 1"),
    ("talk", "x" * 101, 413, "characters"),
    ("talk", [{"role": "system", "content": "a"}, *TALK[:1]], 400, "row 1 has a system turn"),
    ("talk", {"conversations": [{"from": "developer", "value": "a"}, {"from": "human", "value": "b"}]}, 400, "a system turn"),
    ("talk", TALK[:2], 400, "row 1 ends with the assistant"),
    ("talk", {"messages": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}, 400, "ends with the assistant"),
    ("names", {"text": "Ann saw", "tokens": ["Bob"]}, 400, "words that are not that text"),
]


def test_rows_that_cannot_be_read_are_told(start_all: StartAll, caplog: pytest.LogCaptureFixture) -> None:
    _, http = start_all(limits=Limits(rows=8, text_characters=100))
    for name, row, status, came in BAD:
        answer = http.post(f"/v1/prompts/{name}/predict", json={"rows": [row]})
        assert answer.status_code == status, (name, row, answer.text)
        error = answer.json()["error"]
        assert came in error["came"], (name, row, error)
        assert error["expected"], error["remedy"]
    for name in ("names", "line", "talk"):
        assert http.post(f"/v1/prompts/{name}/predict", json={"rows": ["a"] * 9}).status_code == 413
        assert http.post(f"/v1/prompts/{name}/predict", json={"rows": ["a"], "first": -1}).status_code == 422
        body = json.dumps({"rows": [f"a{chr(0xD800)}"]})
        assert (
            http.post(f"/v1/prompts/{name}/predict", content=body, headers={"content-type": "application/json"}).status_code
            == 400
        )
        assert predict(http, name, "ok")
    assert not [record for record in caplog.records if record.exc_info]


def test_a_client_that_leaves_a_full_queue_and_a_deadline(start_all: StartAll, until: Any) -> None:
    house, http = start_all(limits=Limits(rows=40, queue_rows=40, batch_rows=1))
    many = " ".join(f"w{n}" for n in range(40))
    predict(http, "names", "a")  # what is the same for all rows is read now
    predict(http, "line", "a")
    for name, rows in (("names", [many]), ("line", ["a"] * 40)):
        began, release, path = threading.Event(), threading.Event(), f"/v1/prompts/{name}/predict"
        before = tokens_read(house, http)
        held = house.scheduler.call(partial(hold, began, release))
        assert began.wait(20)  # from now on the queue is empty, and stays as it is
        body = json.dumps({"rows": rows}).encode()
        with socket.create_connection((http.base_url.host, http.base_url.port)) as client:
            client.sendall(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n".encode())
            client.sendall(b"Content-Type: application/json\r\n\r\n" + body)
            until(lambda: house.scheduler.waiting == 40)
            busy = http.post(path, json={"rows": ["a b"]})
            assert (busy.status_code, int(busy.headers["retry-after"]) >= 1) == (429, True)
        until(lambda: isinstance(house.scheduler._works[0].ending, GoneError))
        release.set()
        held.result(20)
        until(lambda: house.scheduler.waiting == 0 and not house.scheduler._seats, 5)
        assert tokens_read(house, http) == before  # nothing was done for those who had left
        began, release = threading.Event(), threading.Event()
        held = house.scheduler.call(partial(hold, began, release))
        assert began.wait(20)  # before that, the errand itself would stand in the queue
        with ThreadPoolExecutor(1) as aside:
            late = aside.submit(http.post, path, json={"rows": rows, "seconds": 0.05})
            until(lambda: house.scheduler._works and isinstance(house.scheduler._works[0].ending, LateError))
            release.set()
            assert late.result(20).status_code == 504
        held.result(20)
        until(lambda: house.scheduler.waiting == 0, 5)
        assert predict(http, name, "a b")


def hold(began: threading.Event, release: threading.Event) -> None:
    began.set()
    release.wait(20)


def tokens_read(house: House, http: httpx2.Client) -> float:
    """Positions that the model has read."""
    house.scheduler.call(lambda: None).result(20)  # a turn is noted after its rows are answered
    page = http.get("/metrics").text
    return float(next(line for line in page.splitlines() if line.startswith("pegbox_tokens_total")).split()[1])


def test_what_goes_in_and_comes_out_is_described(start_all: StartAll) -> None:
    _, http = start_all()
    page = http.get("/openapi.json").json()
    predict = page["paths"]["/v1/prompts/{name}/predict"]["post"]
    examples = predict["responses"]["200"]["content"]["application/json"]["examples"]
    for name, example in (("names", "entities"), ("several", "several labels"), ("line", "a text"), ("label", "a label")):
        answer = http.post(f"/v1/prompts/{name}/predict", json={"rows": ["a b"]}).json()
        described = examples[example]["value"]
        assert described.keys() == answer.keys()
        assert described["predictions"][0].keys() == answer["predictions"][0].keys()
    rows = page["components"]["schemas"]["Predict"]["properties"]["rows"]
    assert {kind["type"] for kind in rows["items"]["anyOf"]} == {"string", "object", "array"}
    described = [way["responses"] for path in page["paths"].values() for way in path.values()]
    assert not any("ValidationError" in json.dumps(one) for one in described)  # what comes is an error in three parts
    assert "first thing that is wrong" in predict["responses"]["422"]["description"]
    assert http.get("/v1/prompts/names").json()["settings"]["types"] == list(TYPES)


def test_settings_that_json_cannot_tell_and_texts_of_no_length_are_left_out(kinds: dict[str, Tuned], tmp_path: Path) -> None:
    backbone = HuggingFaceBackbone(tiny())
    line = kinds["line"].predictor
    for number, (task, room, came) in enumerate(
        [(Generation(temperature=float("inf")), 5, "no numbers"), (Generation(), 0, "texts of 0 tokens")]
    ):
        place = Tuned(replace(line, task=task, max_tokens=room)).save(tmp_path / str(number))
        with pytest.raises(ArtifactError, match=came):
            open_served(Name("x", 1), place, backbone)


ROWS: dict[str, list[Any]] = {
    "names": [TEXTS[0], WORDS, {"words": ["a", "b"]}, {"text": "Ann", "id": "7"}],
    "around": [{"text": "Ann saw", "lang": "en"}, {**WORDS, "lang": "en"}],
    "line": ["a", {"text": "b", "other": "c"}],
    "talk": [TALK, {"messages": TALK}, {"conversations": [{"from": "human", "value": "a"}]}, "Hi"],
    "several": ["a", {"text": "b"}],
}


def test_no_rows_break_the_server(start_all: StartAll, caplog: pytest.LogCaptureFixture) -> None:
    """Good rows with something in them changed, by chance: see bench/fuzzing.py."""
    _, http = start_all(limits=Limits(rows=40, text_characters=2000, written_tokens=3), log_texts=True)
    chance, seen = random.Random(0), Counter[int]()
    for name in list(ROWS) * 60:
        row = changed(json.loads(json.dumps(chance.choice(ROWS[name]))), chance)
        body = json.dumps({"rows": [row, chance.choice(ROWS[name])]})
        answer = http.post(f"/v1/prompts/{name}/predict", content=body, headers={"content-type": "application/json"})
        seen[answer.status_code] += 1
        assert answer.status_code < 500, (name, body[:300], answer.text)
        assert answer.status_code == 200 or answer.json()["error"]["remedy"]
    assert {200, 400, 422} <= seen.keys()
    assert not [record for record in caplog.records if record.exc_info]


def changed(value: Any, chance: random.Random) -> Any:
    """The value with some part of it replaced by anything, added or left out."""
    if not value or not isinstance(value, (list, dict)) or chance.random() < 0.2:
        return anything(chance)
    at = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
    if (kind := chance.random()) < 0.1:
        del value[at]
    elif kind < 0.2 and isinstance(value, dict):
        value[chance.choice(("text", "tokens", "words", "messages", "turns", "system", "role", "lang"))] = anything(chance)
    else:
        value[at] = changed(value[at], chance)
    return value
