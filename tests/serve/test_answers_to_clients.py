"""`pegbox.Client`, the command line, OpenAI's clients and the log, for prompts of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.serve.kinds import TALK, TEXTS, WORDS, predict

import pegbox
from pegbox import client as module
from pegbox.artifact import Tuned
from pegbox.cli import main
from pegbox.data.rows import Rows
from pegbox.data.sentences import read_sentences
from pegbox.errors import DataError, SettingsError
from pegbox.prompt import parse
from pegbox.serve.house import House
from pegbox.serve.log import JsonLines

StartAll = Callable[..., tuple[House, httpx2.Client]]


@pytest.mark.parametrize(
    ("name", "rows"), [("names", [TEXTS[0], WORDS]), ("several", TEXTS[:2]), ("line", TEXTS[:2]), ("talk", [TALK])]
)
def test_openai_clients_are_answered_too(start_all: StartAll, kinds: dict[str, Tuned], name: str, rows: list[Any]) -> None:
    _, http = start_all()
    asked = {"model": name, "messages": TALK if name == "talk" else [{"role": "user", "content": rows[0]}]}
    said = http.post("/v1/chat/completions", json=asked).json()["choices"][0]["message"]["content"].strip()
    (output,) = kinds[name].predict([rows[0]])
    assert said == kinds[name].task.show(output)


def test_words_that_are_asked_about_cannot_be_written_on_from(start_all: StartAll) -> None:
    _, http = start_all()
    for stream in (False, True):
        asked = {"model": "names", "prompt": "Ann saw", "answer": "text", "stream": stream}
        answer = http.post("/v1/completions", json=asked)
        assert (answer.status_code, answer.json()["error"]["came"]) == (400, "an answer in text of names@1, which tags")


def test_the_client_predicts_as_the_artifact_does(
    start_all: StartAll, kinds: dict[str, Tuned], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 6)
    monkeypatch.setattr(module, "TEXTS", 2)
    _, http = start_all()
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
        served, tuned = client.prompt(name), kinds[name]
        assert served.predict(texts) == tuned.predict(texts), name
        assert served.task == tuned.task
        assert served.further_fields == tuned.further_fields
    names = client.prompt("names")
    for source in ([WORDS, {"tokens": ["Rome"]}], [(["Ann", "U.S."], ["B-PER", "O"])], Rows.from_texts(TEXTS)):
        assert names.predict(source) == kinds["names"].predict(source)
        assert [one.spans() for one in names.predict(source)] == [one.spans() for one in kinds["names"].predict(source)]
    odd = Rows(({"text": "Ann's  hat"},), gold=({"words": [[0, 5], [7, 10]], "tags": None},))
    with pytest.raises(DataError, match="row 1 has words of its own in a text of its own"):
        names.predict(odd)
    with pytest.raises(SettingsError, match="a prompt for tag"):
        names.predict_proba(["a"])
    long = Rows.from_texts(["short", "x" * 3000])
    assert client.prompt("line").cut_rows(long) == kinds["line"].cut_rows(long) == (1,)
    sentences = read_sentences(["short", "a " * 3 + "x" * 3000]).rows
    assert names.cut_rows(sentences) == kinds["names"].cut_rows(sentences) == (1,)


def test_a_systems_turn_is_sent_where_the_prompt_reads_it(
    start_all: StartAll, kinds: dict[str, Tuned], until: Any, tmp_path: Path
) -> None:
    house, http = start_all()
    talk, own = kinds["talk"], parse("[system] {system} Be brief. [turns] {turns} [assistant] [answer]")
    told = Tuned(replace(talk.predictor, prompt=own))
    told.save(house.folder / "told")
    until(lambda: http.get("/v1/prompts/told").status_code == 200)
    talks = [[{"role": "system", "content": f"Say {n}."}, *TALK] for n in range(2)]
    client = pegbox.Client(str(http.base_url))
    assert client.prompt("told").predict(talks) == told.predict(talks)
    assert client.prompt("talk").predict(talks) == talk.predict(talks)  # it brings its own, and the rows' is left out
    assert client.prompt("talk").predict([TALK[:2]]) == talk.predict([TALK[:2]])  # what the assistant said is written anew


@pytest.mark.parametrize("name", ["names", "several", "line", "drawn", "talk"])
def test_the_command_line_prints_the_same_of_a_server(
    start_all: StartAll, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, http = start_all()
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
    start_all: StartAll, kinds: dict[str, Tuned], until: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level("INFO", "pegbox.serve")
    house, http = start_all()
    splits = {"ner": {"names@1": 1, "around@1": "shadow", "line@1": "shadow", "names@2": "shadow"}}
    kinds["names"].save(house.folder / "names@2")
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
    assert first == [[f"{span['start']}-{span['end']}:{span['label']}" for span in one.spans()] for one in found]
    assert any(len(answer) > 1 for answer in first)
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
    start_all: StartAll, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pegbox.serve")
    house, http = start_all(log_texts=True)
    splits = {"news": {"line@1": 1, "drawn@1": "shadow"}}
    (house.folder / "splits.json").write_text(json.dumps(splits))
    until(lambda: http.get("/v1/prompts").json()["splits"] == splits)
    made = predict(http, "news", "a", "b")
    until(lambda: len([record for record in caplog.records if record.message == "written"]) == 2)
    mine, shadow = [record.__dict__ for record in caplog.records if record.message == "written"]
    assert (mine["prompt"], mine["texts"]) == ("line@1", [one["text"] for one in made])
    assert (shadow["prompt"], shadow["shadow"], len(shadow["texts"])) == ("drawn@1", True, 2)
