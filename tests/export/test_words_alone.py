"""What leaves as words: a request of OpenAI's interface, plain text, and the measured cost of what stays behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegbox.artifact import Tuned, read_folder
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.cli import main
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.export.cost import cost_of_words
from pegbox.export.openai_json import to_openai_json
from pegbox.prompt import parse
from pegbox.task.calibration import Calibration
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor

HYBRID = '[hard h="Sort it."] {text}[soft a 3] Mood: [answer]'
TEXTS = [f"{word} {number}" for number in range(10) for word in ("fine", "dull", "so so")]


def saved(notation: str, folder: Path, backbone: HuggingFaceBackbone, offsets: tuple[float, ...] = ()) -> Tuned:
    rng = np.random.default_rng(1)
    prompt = parse(notation)
    lengths = {name: slot.length for name, slot in prompt.slots.items() if hasattr(slot, "length")}
    filled = {name: rng.normal(0, 0.5, (n, backbone.width)).astype(np.float32) for name, n in lengths.items()}
    task = Classification(("bad", "good"), {"bad": ("awful", "poor"), "good": ("fine",)}, "none")
    tuned = Tuned(PromptPredictor(prompt.fill(**filled), task, backbone, Calibration("batch", offsets)))
    tuned.save(folder)
    return tuned


def labelled(tuned: Tuned) -> Rows:
    """Rows that the whole prompt gets right, but for every tenth."""
    other = {"bad": "good", "good": "bad"}
    labels = [other[label] if at % 10 == 9 else label for at, label in enumerate(tuned.predict(TEXTS))]
    return Rows.from_texts(TEXTS, labels)


def test_a_prompt_of_words_becomes_a_request(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    saved('[system] Sort. [user] {title}: {text} [hard h="now"] [assistant] Mood: [answer]', tmp_path / "p", tiny_backbone)
    found = to_openai_json(tmp_path / "p")
    assert found["request"]["messages"] == [
        {"role": "system", "content": "Sort."},
        {"role": "user", "content": "{title}: {text} now\nMood:"},
    ]
    assert found["fields"] == ["title", "text"]
    schema = found["held_to_labels"]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"]["enum"] == ["awful", "fine", "poor"]
    assert found["held_to_labels_vllm"]["structured_outputs"]["choice"] == ["awful", "fine", "poor"]
    assert found["words"] == {"bad": ["awful", "poor"], "good": ["fine"]}
    assert found["about"]["tuned_on"]["digest"] == tiny_backbone.digest
    saved("Review: {text} Mood: [answer]", tmp_path / "plain", tiny_backbone)
    assert to_openai_json(tmp_path / "plain")["request"]["messages"] == [{"role": "user", "content": "Review: {text} Mood:"}]
    saved(r"Put \{text\} here: {text} [answer]", tmp_path / "same", tiny_backbone)
    with pytest.raises(PromptError, match="beside the field of that name"):
        to_openai_json(tmp_path / "same")


def test_vectors_are_refused_or_dropped_with_their_cost(
    tmp_path: Path, tiny_backbone: HuggingFaceBackbone, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = saved(HYBRID, tmp_path / "p", tiny_backbone, (0.25, -0.5))
    with pytest.raises(PromptError, match="3 learned vectors, which OpenAI's interface cannot hold"):
        to_openai_json(tmp_path / "p")
    arguments = ["export", str(tmp_path / "p"), "--to", "openai-json", "--drop-soft"]
    with pytest.raises(SystemExit):
        main(arguments)
    assert "--drop-soft without --data" in capsys.readouterr().err
    rows = labelled(tuned)
    table = "".join(f"{text},{label}\n" for text, label in zip(rows.column(), rows.answers(), strict=True))
    (tmp_path / "rows.csv").write_text("text,label\n" + table)
    main([*arguments, "--data", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "p.json")])
    told = json.loads((tmp_path / "p.json").read_text())
    assert told["request"]["messages"] == [{"role": "user", "content": "Sort it. {text} Mood:"}]
    assert told["about"]["dropped_vectors"] == 3
    names = [step["prompt"] for step in told["about"]["cost"]["steps"]]
    assert names == ["as it was tuned", "without its vectors", "without both"]
    assert told["about"]["cost"]["steps"][0]["value"] == 0.9
    manifest, _ = read_folder(tmp_path / "p")
    assert (manifest["evaluations"][0]["rows"], manifest["evaluations"][0]["accuracy"]) == (30, 0.9)


def test_the_cost_is_that_of_the_words_by_themselves(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    tuned = saved(HYBRID, tmp_path / "p", tiny_backbone, (0.25, -0.5))
    rows = labelled(tuned)
    found = cost_of_words(tuned, rows)
    words = parse('[hard h="Sort it."] {text} Mood: [answer]')
    alone = PromptPredictor(words, tuned.predictor.task, tiny_backbone)
    said = [("bad", "good")[at] for at in alone.predict_proba(rows).argmax(1)]
    right = [label == one for label, one in zip(rows.answers(), said, strict=True)]
    assert found.steps[-1][1].value == pytest.approx(sum(right) / 30)
    assert found.gap.value == pytest.approx(sum(right) / 30 - 0.9)
    assert found.gap.low <= found.gap.value <= found.gap.high
    assert "as it leaves" in found.sentences()[-1]


def test_a_card_in_words_says_what_it_costs(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    tuned = saved(HYBRID, tmp_path / "p", tiny_backbone)
    rows = labelled(tuned)
    table = "".join(f"{text},{label}\n" for text, label in zip(rows.column(), rows.answers(), strict=True))
    (tmp_path / "rows.csv").write_text("text,label\n" + table)
    out, arguments = tmp_path / "words", ["export", str(tmp_path / "p"), "--to", "text"]
    main([*arguments, "--out", str(out), "--data", str(tmp_path / "rows.csv")])
    assert (out / "prompt.txt").read_text() == "Sort it. {text} Mood:\n"
    card = (out / "README.md").read_text()
    assert "- as it was tuned: 90.0 % right" in card
    assert "- `bad`: 'awful', 'poor'" in card
    assert "3 learned vectors and the calibration stayed behind" in card
    main([*arguments, "--out", str(tmp_path / "unmeasured")])
    assert "Not measured" in (tmp_path / "unmeasured" / "README.md").read_text()


@pytest.mark.parametrize(
    "wrong", [["--to", "vllm"], ["--to", "peft", "--data", "x.csv", "--out", "y"], ["--to", "yaml"]], ids=lambda some: some[1]
)
def test_what_makes_no_sense_is_told(
    wrong: Any, tmp_path: Path, tiny_backbone: HuggingFaceBackbone, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(HYBRID, tmp_path / "p", tiny_backbone)
    with pytest.raises(SystemExit):
        main(["export", str(tmp_path / "p"), *wrong])
    assert "expected:" in capsys.readouterr().err
