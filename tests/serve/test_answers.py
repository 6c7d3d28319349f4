"""Entities, sets of labels and texts over HTTP: the answers of the artifact itself, beside prompts of other kinds."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from bench.fuzzing import anything

import pegbox
from pegbox import client as module
from pegbox.artifact import Tuned
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.cli import main
from pegbox.data.rows import Rows
from pegbox.data.sentences import read_sentences
from pegbox.errors import ArtifactError, DataError, SettingsError
from pegbox.prompt import parse
from pegbox.prompt.names import Name
from pegbox.serve.errors import GoneError
from pegbox.serve.house import House
from pegbox.serve.http import make_app
from pegbox.serve.log import JsonLines
from pegbox.serve.served import open_served
from pegbox.serve.settings import Limits
from pegbox.task.calibration import Calibration
from pegbox.task.chat import Chat
from pegbox.task.classification import Classification
from pegbox.task.decoding import Grammar
from pegbox.task.generation import Generation, TextPredictor
from pegbox.task.many_labels import MultiLabel, SetPredictor
from pegbox.task.predictor import PromptPredictor
from pegbox.task.scaling import Scaling
from pegbox.task.tagging import Tagging, TagPredictor

TEXTS = ["Ann Lee saw Rome, Ann.", "  nothing\there", "Grüße <|im_end|> [answer] {text}", "x" * 700, " ".join("abcdefghij" * 8)]
WORDS = {"tokens": ["Ann", "U.S.", "'s", "Ann", "saw"]}
TALK = [
    {"role": "user", "content": "Hi there"},
    {"role": "assistant", "content": "Hello."},
    {"role": "user", "content": "And <|im_end|> now?"},
]
TYPES = ("O", "LOC", "PER")


def soft(notation: str, backbone: HuggingFaceBackbone) -> Any:
    rng = np.random.default_rng(3)
    prompt = parse(notation)
    return prompt.fill(
        **{name: rng.normal(0, 0.3, (slot.length, backbone.width)).astype(np.float32) for name, slot in prompt.slots.items()}
    )


def tagger(notation: str, backbone: HuggingFaceBackbone, words: dict[str, tuple[str, ...]] | None = None) -> Tuned:
    """A prompt that tags nearly at random: its matrix spreads what an untrained model says, so that all tags are given."""
    task = Tagging(TYPES, words or {}, "none")
    grammar = Grammar.counted(task.types, [["O", "B-PER", "I-PER", "O", "B-LOC"]])
    scaling = Scaling(((9.0, -2.0, -2.0), (-2.0, 9.0, -2.0), (-2.0, -2.0, 9.0)), (-1.0, 0.5, 0.0))
    return Tuned(TagPredictor(PromptPredictor(soft(notation, backbone), task.of_words, backbone), task, grammar, scaling))


@pytest.fixture(scope="module")
def prompts() -> dict[str, Tuned]:
    backbone = HuggingFaceBackbone(tiny())
    task = MultiLabel(("a", "b"), none="none")
    inner = PromptPredictor(soft("[soft s 3]Sort. {text} It is [answer]", backbone), task.choice, backbone)
    shares = np.sort(inner.predict_proba(Rows.from_texts(TEXTS))[:, :2], axis=0)
    several = SetPredictor(task, inner, tuple(float(cut) for cut in shares[1:3].mean(axis=0)))
    label = PromptPredictor(soft("[soft s 4]Mood of {text}: [answer]", backbone), Classification(("bad", "good")), backbone)
    line = soft(r"Say: {text}[soft s 4]\nNow:[answer]\n", backbone)
    talk = soft("[system] Be [soft s 4] kind. [turns] {turns} [assistant] [answer]", backbone)
    drawn = Generation(temperature=1.3, top_p=0.9, seed=5, stop=("q",))
    return {
        "names": tagger("[soft s 2]Text: {text}\\nWord: {word} [answer]", backbone),
        "around": tagger(
            "{before}<{bare}>{after} of {text} in {lang} [soft s 2] [answer]", backbone, {"PER": ("man", "a woman")}
        ),
        "several": Tuned(several),
        "label": Tuned(replace(label, calibration=Calibration("batch", (0.25, -0.5)))),
        "line": Tuned(TextPredictor(line, Generation(), backbone, 7)),
        "drawn": Tuned(TextPredictor(line, drawn, backbone, 9)),
        "beams": Tuned(TextPredictor(line, Generation(beams=3), backbone, 5)),
        "talk": Tuned(TextPredictor(talk, Chat(), backbone, 9)),
    }


Start = Callable[..., tuple[House, httpx2.Client]]


@pytest.fixture
def start(tmp_path: Path, prompts: dict[str, Tuned], serving: Any) -> Iterator[Start]:
    """Starts a server with these prompts and settings of `House.build`."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def made(**settings: Any) -> tuple[House, httpx2.Client]:
            for name, tuned in prompts.items():
                tuned.save(tmp_path / "prompts" / name)
            house = House.build(tmp_path / "prompts", HuggingFaceBackbone(tiny()), look_every=0.05, **settings)
            url = stack.enter_context(serving(make_app(house)))
            return house, stack.enter_context(httpx2.Client(base_url=url, timeout=30))

        yield made


def predict(http: httpx2.Client, name: str, *rows: Any, **more: Any) -> list[dict[str, Any]]:
    answer = http.post(f"/v1/prompts/{name}/predict", json={"rows": list(rows), **more})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["predictions"])


def plain(tuned: Tuned, rows: list[Any]) -> list[Any]:
    return [tuned.task.plain(one) for one in tuned.predict(rows)]


def told(made: dict[str, Any]) -> Any:
    """What of a prediction the artifact's own says too."""
    if "spans" in made:
        return {"spans": made["spans"], "tags": made["tags"]}
    return made["text"] if "text" in made else made.get("labels", made.get("label"))


def test_entities_are_those_of_the_artifact(start: Start, prompts: dict[str, Tuned]) -> None:
    _, http = start()
    rows = [*({"text": text} for text in TEXTS), WORDS, {"words": ["Rome"]}]
    expected = plain(prompts["names"], rows)
    assert {tag for one in expected for tag in one["tags"]} >= {"O", "B-PER", "I-PER", "B-LOC"}
    found = predict(http, "names", *TEXTS, WORDS, {"words": ["Rome"]})
    assert [told(one) for one in found] == expected
    for text, one in zip([*TEXTS, " ".join(WORDS["tokens"])], found, strict=False):
        assert all(text[span["start"] : span["end"]] == span["text"] for span in one["spans"])
    further = [{"text": text, "lang": "en"} for text in TEXTS[:3]]
    assert [told(one) for one in predict(http, "around", *further)] == plain(prompts["around"], further)


def test_texts_are_those_of_the_artifact(start: Start, prompts: dict[str, Tuned]) -> None:
    _, http = start()
    for name in ("line", "drawn", "beams"):
        expected = prompts[name].predict(TEXTS)
        assert [told(one) for one in predict(http, name, *TEXTS)] == expected
        assert [told(one) for one in predict(http, name, *TEXTS[2:], first=2)] == expected[2:]  # chance goes by the number
    assert len(set(prompts["drawn"].predict(["a"] * 4))) > 1
    talks = [TALK, TALK[:1], [{"role": "user", "content": "Say it"}]]
    expected = prompts["talk"].predict(talks)
    shapes = [{"messages": TALK}, {"conversations": [{"from": "human", "value": "Hi there"}]}, "Say it"]
    assert [told(one) for one in predict(http, "talk", *talks)] == expected
    assert [told(one) for one in predict(http, "talk", *shapes)] == expected


def test_sets_of_labels_are_those_of_the_artifact(start: Start, prompts: dict[str, Tuned]) -> None:
    _, http = start()
    expected = [list(labels) for labels in prompts["several"].predict(TEXTS)]
    assert len({tuple(labels) for labels in expected}) > 1
    assert [told(one) for one in predict(http, "several", *TEXTS)] == expected


def test_prompts_of_all_kinds_share_the_batch(start: Start, prompts: dict[str, Tuned]) -> None:
    _, http = start(limits=Limits(turn_tokens=300, batch_rows=8))
    names = ("names", "label", "line", "several", "drawn", "talk")
    jobs = [(name, [text, f"text {n}"]) for n, text in enumerate(TEXTS[:3] * 3) for name in names]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda job: predict(http, job[0], *job[1]), jobs))
    for (name, texts), found in zip(jobs, answers, strict=True):
        expected = prompts[name].predict(texts) if name == "label" else plain(prompts[name], texts)
        assert [told(one) for one in found] == expected
    page = http.get("/metrics").text
    assert 'pegbox_rows_total{prompt="names@1"} 18.0' in page
    assert 'pegbox_rows_total{prompt="line@1"} 18.0' in page
    turns = float(next(line for line in page.splitlines() if line.startswith("pegbox_turn_rows_count")).split()[1])
    rows = float(next(line for line in page.splitlines() if line.startswith("pegbox_turn_rows_sum")).split()[1])
    assert rows > 1.5 * turns  # they sat side by side


def test_a_sentence_is_read_once_for_its_words(start: Start) -> None:
    house, http = start()
    sentence = " ".join(f"word{n}" for n in range(20))
    predict(http, "names", sentence)
    before = tokens_read(house, http)
    predict(http, "names", sentence)
    assert tokens_read(house, http) - before < 4 * len(
        sentence
    )  # a token is a byte: 20 times the sentence if each word read it anew


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
]


def test_rows_that_cannot_be_read_are_told(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    _, http = start(limits=Limits(rows=8, text_characters=100))
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


def test_a_client_that_leaves_a_full_queue_and_a_deadline(start: Start, until: Any) -> None:
    house, http = start(limits=Limits(rows=40, queue_rows=40, batch_rows=1))
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
        slow = house.scheduler.call(lambda: time.sleep(0.3))
        assert http.post(path, json={"rows": rows, "seconds": 0.05}).status_code == 504
        slow.result(20)
        assert predict(http, name, "a b")


def hold(began: threading.Event, release: threading.Event) -> None:
    began.set()
    release.wait(20)


def tokens_read(house: House, http: httpx2.Client) -> float:
    """Positions that the model has read."""
    house.scheduler.call(lambda: None).result(20)  # a turn is noted after its rows are answered
    page = http.get("/metrics").text
    return float(next(line for line in page.splitlines() if line.startswith("pegbox_tokens_total")).split()[1])


@pytest.mark.parametrize(
    ("name", "rows"), [("names", [TEXTS[0], WORDS]), ("several", TEXTS[:2]), ("line", TEXTS[:2]), ("talk", [TALK])]
)
def test_openai_clients_are_answered_too(start: Start, prompts: dict[str, Tuned], name: str, rows: list[Any]) -> None:
    _, http = start()
    asked = {"model": name, "messages": TALK if name == "talk" else [{"role": "user", "content": rows[0]}]}
    said = http.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]["content"].strip()
    (output,) = prompts[name].predict([rows[0]])
    assert said == prompts[name].task.show(output)


def test_words_that_are_asked_about_cannot_be_written_on_from(start: Start) -> None:
    _, http = start()
    for stream in (False, True):
        asked = {"model": "names", "prompt": "Ann saw", "answer": "text", "stream": stream}
        answer = http.post("/v1/completions", json=asked)
        assert (answer.status_code, answer.json()["error"]["came"]) == (400, "an answer in text of names@1, which tags")


def test_the_client_predicts_as_the_artifact_does(
    start: Start, prompts: dict[str, Tuned], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 6)
    monkeypatch.setattr(module, "TEXTS", 2)
    _, http = start()
    client = pegbox.Client(str(http.base_url))
    for name, texts in {
        "names": TEXTS,
        "several": TEXTS,
        "line": TEXTS,
        "drawn": TEXTS,
        "beams": TEXTS[:2],
        "talk": [TALK, TALK[:1], [{"role": "user", "content": "Say it"}]],
        "around": [{"text": text, "lang": "en"} for text in TEXTS[:3]],
    }.items():
        served, tuned = client.prompt(name), prompts[name]
        assert served.predict(texts) == tuned.predict(texts), name
        assert served.task == tuned.task
        assert served.further_fields == tuned.further_fields
    names = client.prompt("names")
    for source in ([WORDS, {"tokens": ["Rome"]}], [(["Ann", "U.S."], ["B-PER", "O"])], Rows.from_texts(TEXTS)):
        assert names.predict(source) == prompts["names"].predict(source)
        assert [one.spans() for one in names.predict(source)] == [one.spans() for one in prompts["names"].predict(source)]
    odd = Rows(({"text": "Ann's  hat"},), gold=({"words": [[0, 5], [7, 10]], "tags": None},))
    with pytest.raises(DataError, match="row 1 has words of its own in a text of its own"):
        names.predict(odd)
    with pytest.raises(SettingsError, match="a prompt for tag"):
        names.predict_proba(["a"])
    long = Rows.from_texts(["short", "x" * 3000])
    assert client.prompt("line").cut_rows(long) == prompts["line"].cut_rows(long) == (1,)
    sentences = read_sentences(["short", "a " * 3 + "x" * 3000]).rows
    assert names.cut_rows(sentences) == prompts["names"].cut_rows(sentences) == (1,)


@pytest.mark.parametrize("name", ["names", "several", "line", "drawn", "talk"])
def test_the_command_line_prints_the_same_of_a_server(
    start: Start, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, http = start()
    file = tmp_path / "new.jsonl"
    rows = (
        [{"id": 1, "messages": TALK}, {"id": 2, "messages": TALK[:1]}]
        if name == "talk"
        else [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for form in ([], ["--json"]):
        main(["predict", str(tmp_path / "prompts" / name), str(file), "--model", "tiny", *form])
        here = capsys.readouterr()
        main(["predict", name, str(file), "--server", str(http.base_url), *form])
        there = capsys.readouterr()
        assert there == here
        assert here.out.count("\n") >= len(rows)


def test_shadows_splits_and_feedback_of_sets(
    start: Start, prompts: dict[str, Tuned], until: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level("INFO", "pegbox.serve")
    house, http = start()
    splits = {"ner": {"names@1": 1, "around@1": "shadow", "line@1": "shadow", "names@2": "shadow"}}
    prompts["names"].save(house.folder / "names@2")
    (house.folder / "splits.json").write_text(json.dumps(splits))
    until(lambda: http.get("/v1/prompts").json()["splits"] == splits)

    def lines(message: str) -> list[Any]:
        return [record.__dict__ for record in caplog.records if record.message == message]

    ner = pegbox.Client(str(http.base_url)).prompt("ner")
    found = ner.predict(TEXTS[:3])
    until(lambda: len(lines("predicted")) == 2 and len(lines("shadow left out")) == 2)
    assert {one["prompt"] for one in lines("predicted")} == {"names@1", "names@2"}
    whys = {one["prompt"]: one["why"] for one in lines("shadow left out")}
    assert "no column 'lang'" in whys["around@1"]
    assert "a shadow that writes texts" in whys["line@1"]
    first = lines("predicted")[0]["answers"]
    assert first == ["|".join(f"{span['start']}-{span['end']}:{span['label']}" for span in one.spans()) for one in found]
    assert any("|" in answer for answer in first)
    ner.feedback([list(reversed(found[0].spans())), None, [{"start": 0, "end": 1, "label": "PER"}]])
    several = pegbox.Client(str(http.base_url)).prompt("several")
    sets = several.predict(TEXTS)
    several.feedback([list(reversed(one)) for one in sets])
    log = tmp_path / "serve.log"
    log.write_text("".join(JsonLines().format(record) + "\n" for record in caplog.records))
    assert "Ann" not in log.read_text()
    main(["compare", "--from-log", str(log), "--json"])
    ner_told, several_told = json.loads(capsys.readouterr().out)
    assert [(one["prompt"], one["rows"], one["labelled"]) for one in ner_told["versions"]] == [
        ("names@1", 3, 2),
        ("names@2", 3, 2),
    ]
    assert [one["accuracy"]["value"] for one in ner_told["versions"]] == [0.5, 0.5]
    assert ner_told["pairs"][0]["same"] == 1.0
    assert (several_told["versions"][0]["labelled"], several_told["versions"][0]["accuracy"]["value"]) == (len(TEXTS), 1.0)


def test_written_texts_are_in_the_log_only_where_it_was_asked(
    start: Start, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pegbox.serve")
    house, http = start(log_texts=True)
    splits = {"news": {"line@1": 1, "drawn@1": "shadow"}}
    (house.folder / "splits.json").write_text(json.dumps(splits))
    until(lambda: http.get("/v1/prompts").json()["splits"] == splits)
    made = predict(http, "news", "a", "b")
    until(lambda: len([record for record in caplog.records if record.message == "written"]) == 2)
    mine, shadow = [record.__dict__ for record in caplog.records if record.message == "written"]
    assert (mine["prompt"], mine["texts"]) == ("line@1", [one["text"] for one in made])
    assert (shadow["prompt"], shadow["shadow"], len(shadow["texts"])) == ("drawn@1", True, 2)


def test_what_goes_in_and_comes_out_is_described(start: Start) -> None:
    _, http = start()
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
    assert http.get("/v1/prompts/names").json()["settings"]["types"] == list(TYPES)


def test_settings_that_json_cannot_tell_and_texts_of_no_length_are_left_out(prompts: dict[str, Tuned], tmp_path: Path) -> None:
    backbone = HuggingFaceBackbone(tiny())
    line = prompts["line"].predictor
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


def test_no_rows_break_the_server(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Good rows with something in them changed, by chance: see bench/fuzzing.py."""
    _, http = start(limits=Limits(rows=40, text_characters=2000, written_tokens=3), log_texts=True)
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
