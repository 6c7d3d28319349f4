"""Prompts for several labels and for long texts on a server: as the artifact itself answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pegbox.artifact import Tuned
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.prompt import parse
from pegbox.prompt.names import Name
from pegbox.serve.predicted import labelled
from pegbox.serve.served import open_served
from pegbox.task.classification import Classification
from pegbox.task.long import Long
from pegbox.task.many_labels import MultiLabel, SetPredictor
from pegbox.task.predictor import PromptPredictor

PROMPT = parse("Sort. {text} It is [answer]")
ROWS = Rows.from_texts(["a fine day", "so dull"])


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def test_several_labels_are_said_beside_the_likeliest(backbone: HuggingFaceBackbone, tmp_path: Path) -> None:
    task = MultiLabel(("a", "b"), none="none")
    inner = PromptPredictor(PROMPT, task.choice, backbone)
    shares = inner.predict_proba(ROWS)
    kept = SetPredictor(task, inner, (float(shares[0, 0]) - 1e-3, 1.0))  # "a" is given to the first text, "b" to none
    served = open_served(Name("x", 1), Tuned(kept).save(tmp_path / "x"), backbone)
    assert served.labels == ("a", "b", "none")
    assert not served.alone
    found = labelled(served, shares, ())
    assert found[0]["labels"] == ["a"]
    assert set(found[0]["probabilities"]) == {"a", "b", "none"}
    asked = served.standing.ask(ROWS)
    while any(not passage.done for one in asked for passage in one.passages):
        backbone.advance([passage for one in asked for passage in one.passages if not passage.done])
    np.testing.assert_allclose(served.probabilities(asked[0].passages), shares[0], atol=1e-4)


def test_long_texts_and_many_branches_are_scored_by_themselves(backbone: HuggingFaceBackbone, tmp_path: Path) -> None:
    long = PromptPredictor(PROMPT, Classification(("bad", "good"), long=Long("chunks", 6)), backbone)
    served = open_served(Name("x", 1), Tuned(long).save(tmp_path / "x"), backbone)
    assert served.alone
    np.testing.assert_allclose(served.by_itself(ROWS), long.predict_proba(ROWS), atol=1e-5)
    assert "labels" not in labelled(served, long.predict_proba(ROWS), ())[0]
    many = tuple(f"{one} {other}" for one in "abcdef" for other in "xyz")
    wide = PromptPredictor(PROMPT, Classification(many), backbone)
    assert open_served(Name("y", 1), Tuned(wide).save(tmp_path / "y"), backbone).alone
    few = PromptPredictor(PROMPT, Classification(("bad", "good")), backbone)
    assert not open_served(Name("z", 1), Tuned(few).save(tmp_path / "z"), backbone).alone
