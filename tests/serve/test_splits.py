"""A name for two prompts: shares are kept, answers say which, and what cannot be read is told."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegbox.errors import SettingsError
from pegbox.prompt.names import Name
from pegbox.serve.splits import Split, drawn, read_splits

A, B = Name("a", 1), Name("b", 2)


def test_shares_are_kept() -> None:
    chance = random.Random(0)
    split = Split({A: 3.0, B: 1.0})
    count = Counter(drawn(split, {A, B}, chance) for _ in range(4000))
    assert abs(count[B] / 4000 - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5
    assert {drawn(split, {B}, chance) for _ in range(20)} == {B}
    assert drawn(split, set(), chance) is None
    assert {drawn(Split({A: 1.0}, (B,)), {A, B}, chance) for _ in range(20)} == {A}


UNREADABLE = {
    "cut": "{",
    "a list": "[]",
    "a number": '{"m": 1}',
    "one prompt": '{"m": {"a@1": 1}}',
    "no version": '{"m": {"a@1": 1, "b": 1}}',
    "a name with a version": '{"m@1": {"a@1": 1, "b@1": 1}}',
    "nothing of a share": '{"m": {"a@1": 0, "b@1": 1}}',
    "shadows alone": '{"m": {"a@1": "shadow", "b@1": "shadow"}}',
    "no number": '{"m": {"a@1": NaN, "b@1": 1}}',
    "a path": '{"../m": {"a@1": 1, "b@1": 1}}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(content)
    with pytest.raises(SettingsError, match=r"splits\.json"):
        read_splits(tmp_path)


def test_a_split_name_is_answered_by_both_and_says_which(start: Callable[..., Any], until: Callable[..., None]) -> None:
    served = start("soft", "words")
    file = served.folder / "splits.json"
    file.write_text(json.dumps({"mood": {"soft@1": 1, "words@1": 1}}))
    until(lambda: served.predict("mood", "a").status_code == 200)
    answers = [served.predict("mood", "a").json() for _ in range(40)]
    assert {answer["prompt"] for answer in answers} == {"soft@1", "words@1"}
    for answer in answers:
        tuned = served.prompts[answer["prompt"].removesuffix("@1")]
        found = list(answer["predictions"][0]["probabilities"].values())
        np.testing.assert_allclose(found, tuned.predict_proba(["a"])[0], atol=1e-4)
    assert served.http.get("/v1/models").json()["data"][0]["id"] == "mood"
    asked = {"model": "mood", "prompt": "a"}
    assert served.http.post("/v1/completions", json=asked).json()["pegbox"]["prompt"] in ("soft@1", "words@1")
    file.write_text("{")
    until(lambda: served.predict("mood", "a").status_code == 404)
    told = served.http.get("/v1/prompts").json()
    assert [one["folder"] for one in told["broken"]] == ["splits.json"]
    assert served.predict("soft", "a").status_code == 200
