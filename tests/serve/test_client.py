"""`pegbox.Client` and `pegbox predict --server`: as the artifact itself."""

from __future__ import annotations

import hashlib
import io
import json
import urllib.error
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pegbox
from pegbox import client as module
from pegbox.cli import main
from pegbox.data.rows import Rows
from pegbox.errors import DataError, ServerError, SettingsError
from pegbox.serve.keys import Key, Keys
from pegbox.serve.settings import Limits

Start = Callable[..., Any]


def test_it_predicts_as_the_artifact_does(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 3)
    served = start("soft", "pair")
    client = pegbox.Client(served.url)
    assert [prompt["name"] for prompt in client.prompts()] == ["pair", "soft"]
    texts = [f"text {n}" for n in range(8)]
    soft, tuned = client.prompt("soft@1"), served.prompts["soft"]
    assert soft.labels == tuned.labels
    np.testing.assert_allclose(soft.predict_proba(texts), tuned.predict_proba(texts), atol=1e-4)
    assert soft.predict(texts) == tuned.predict(texts)
    pair, rows = client.prompt("pair"), Rows(({"first": "a", "second": "b"},))
    assert pair.further_fields == ("first", "second")
    np.testing.assert_allclose(pair.predict_proba(rows), served.prompts["pair"].predict_proba(rows), atol=1e-4)


def test_other_labels_than_before_are_told(start: Start, make_prompt: Any, until: Any) -> None:
    served = start("soft")
    soft = pegbox.Client(served.url).prompt("soft")
    tuned = make_prompt("late", served.prompts["soft"].backbone)
    task = replace(tuned.predictor.task, labels=("good", "bad"))
    replace(tuned, predictor=replace(tuned.predictor, task=task)).save(served.folder / "soft@2")
    until(lambda: served.predict("soft", "a").json()["prompt"] == "soft@2")
    with pytest.raises(ServerError, match="now answers with the labels good, bad"):
        soft.predict(["a"])


def test_texts_that_were_cut_are_told(start: Start) -> None:
    soft = pegbox.Client(start("soft").url).prompt("soft")
    rows = Rows.from_texts(["short", "x" * 3000])
    assert soft.cut_rows(rows) == (1,)
    assert soft.cut_rows(Rows.from_texts(["short"])) == ()


def test_errors_are_the_servers_own(start: Start) -> None:
    key = Key("shop", "use", hashlib.sha256(b"the-key").hexdigest())
    served = start("soft", keys=Keys((key,)), limits=Limits(text_characters=10))
    with pytest.raises(ServerError, match="no key"):
        pegbox.Client(served.url).prompts()
    client = pegbox.Client(served.url, "the-key")
    with pytest.raises(ServerError, match="no prompt 'none' is served here"):
        client.prompt("none")
    with pytest.raises(ServerError, match="row 1 has a text of 11 characters"):
        client.prompt("soft").predict(["x" * 11])
    with pytest.raises(ServerError, match="no answer from http://127"):
        pegbox.Client("http://127.0.0.1:9").prompts()
    with pytest.raises(SettingsError, match="the server 'here'"):
        pegbox.Client("here")


def test_a_busy_server_is_asked_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    served = start("soft", limits=Limits(rows=4, queue_rows=4))
    soft = pegbox.Client(served.url).prompt("soft")
    import threading

    release = threading.Event()
    held = [served.house.scheduler.call(lambda: release.wait(20)) for _ in range(4)]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        release.set()
        for one in held:
            one.result(20)

    monkeypatch.setattr(module.time, "sleep", sleep)
    assert len(soft.predict([*"abcd"])) == 4
    assert slept
    assert slept[0] >= 1


@pytest.mark.parametrize(
    ("after", "least", "most"),
    [
        ("3", 3, 3),
        ("0", 1, 1),
        ("900", 60, 60),
        ("-5", 1, 1),
        ("nan", 1, 1),
        ("soon", 1, 1),
        ("", 1, 1),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 1, 1),
        (format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True), 60, 60),
    ],
)
def test_a_time_to_come_again_is_heeded_however_it_is_said(
    after: str, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy before the server may say a date."""
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)

    def busy(request: Any, **_: Any) -> Any:
        headers = Message()
        headers["Retry-After"] = after
        raise urllib.error.HTTPError(request.full_url, 429, "busy", headers, io.BytesIO(b"busy"))

    monkeypatch.setattr(module.urllib.request, "urlopen", busy)
    with pytest.raises(ServerError, match="answered 429"):
        pegbox.Client("http://127.0.0.1:9").prompts()
    assert len(slept) == module.TRIES - 1
    assert least <= min(slept) <= max(slept) <= most


def test_right_labels_go_back_to_the_requests_that_asked(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "ROWS", 2)
    caplog.set_level("INFO", "pegbox.serve")
    soft = pegbox.Client(start("soft").url).prompt("soft")
    soft.predict([*"abc"])
    soft.feedback(["good", None, "bad"])
    told = [record.__dict__ for record in caplog.records if record.message in ("predicted", "feedback")]
    assert [one["labels"] for one in told[2:]] == [["good", None], ["bad"]]
    assert [one["request"] for one in told[:2]] == [one["request"] for one in told[2:]]
    with pytest.raises(DataError, match="1 labels for the 3 rows predicted last"):
        soft.feedback(["good"])


def test_predict_on_the_command_line(start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    served = start("soft")
    (tmp_path / "new.csv").write_text("id,text\n1,a fine day\n2,so dull\n")
    main(["predict", "soft", str(tmp_path / "new.csv"), "--server", served.url, "--json"])
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["predicted"] for row in told] == served.prompts["soft"].predict(["a fine day", "so dull"])
    assert [row["id"] for row in told] == ["1", "2"]
