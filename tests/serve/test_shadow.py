"""Shadows answer into the log alone; labels come later; both are scored from the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pegbox.cli import main
from pegbox.serve.errors import BusyError
from pegbox.serve.log import JsonLines

TEXTS = ["a fine day", "so dull", "well"]


def test_a_shadow_answers_into_the_log_and_the_log_is_scored(
    start: Callable[..., Any], until: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "pegbox.serve")
    served = start("soft", "words", "pair")
    shares = {"soft@1": 1, "words@1": "shadow", "pair@1": "shadow"}
    (served.folder / "splits.json").write_text(json.dumps({"mood": shares}))
    until(lambda: served.http.get("/v1/prompts").json()["splits"] == {"mood": shares})

    def told(message: str) -> list[Any]:
        return [record.__dict__ for record in caplog.records if record.message == message]

    answer = served.predict("mood", *TEXTS).json()
    until(lambda: len(told("predicted")) == 2 and told("shadow left out"))
    assert answer["prompt"] == "soft@1"
    assert [row["label"] for row in answer["predictions"]] == served.prompts["soft"].predict(TEXTS)
    first, shadow = told("predicted")
    assert (first["request"], first["prompt"], first["shadow"]) == (answer["request"], "soft@1", False)
    assert first["answers"] == served.prompts["soft"].predict(TEXTS)
    assert (shadow["request"], shadow["prompt"], shadow["shadow"]) == (answer["request"], "words@1", True)
    assert shadow["answers"] == served.prompts["words"].predict(TEXTS)
    assert "row 1 has no field 'first'" in told("shadow left out")[0]["why"]

    asked = {"model": "mood", "messages": [{"role": "user", "content": "well"}]}
    chatted = served.http.post("/v1/chat/completions", json=asked)
    assert chatted.json()["pegbox"]["request"] == chatted.headers["x-request-id"]
    served.predict("soft@1", "a")
    until(lambda: len(told("predicted")) == 5)  # no shadow beside a version that was asked for by itself

    right = served.prompts["soft"].predict(TEXTS)
    assert served.http.post("/v1/feedback", json={"request": answer["request"], "labels": [*right[:2], None]}).json() == {
        "noted": 2
    }
    assert served.http.post("/v1/feedback", json={"request": "../x", "labels": ["a"]}).status_code == 422
    log = tmp_path / "serve.log"
    log.write_text("".join(JsonLines().format(record) + "\n" for record in caplog.records) + '{"half a line')
    assert "so dull" not in log.read_text()
    main(["compare", "--from-log", str(log), "--json"])
    mood, alone = json.loads(capsys.readouterr().out)
    assert (mood["name"], alone["name"]) == ("mood", "soft@1")
    assert [(one["prompt"], one["shadow"], one["rows"], one["labelled"]) for one in mood["versions"]] == [
        ("soft@1", False, 4, 2),
        ("words@1", True, 4, 2),
    ]
    assert mood["versions"][0]["accuracy"]["value"] == 1.0
    assert mood["pairs"][0]["paired"]


def test_texts_are_in_the_log_only_where_it_was_asked(start: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pegbox.serve")
    start("soft", log_texts=True).predict("soft", *TEXTS)
    (told,) = [record.__dict__ for record in caplog.records if record.message == "predicted"]
    assert told["rows"] == [{"text": text} for text in TEXTS]


def test_a_busy_server_leaves_shadows_out(start: Callable[..., Any], until: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pegbox.serve")
    served = start("soft", "words")
    (served.folder / "splits.json").write_text(json.dumps({"mood": {"soft@1": 1, "words@1": "shadow"}}))
    until(lambda: served.http.get("/v1/prompts").json()["splits"])
    submit, works = served.house.scheduler.submit, []

    def full_for_the_second(work: Any) -> Any:
        works.append(work)
        if len(works) > 1:
            raise BusyError(2, 1)
        return submit(work)

    served.house.scheduler.submit = full_for_the_second
    assert served.predict("mood", "a", "b").status_code == 200
    until(lambda: "rows are waiting" in "".join(str(record.__dict__.get("why")) for record in caplog.records))
