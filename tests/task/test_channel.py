"""Noisy-channel scoring: the prompt turned round, and the text's probability after each label."""

from __future__ import annotations

import pytest
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.errors import PromptError
from pegbox.prompt import parse
from pegbox.task.channel import channel_prompt
from pegbox.task.classification import Classification


@pytest.mark.parametrize(
    ("notation", "turned"),
    [
        ("Sort it.\\nReview: {text}\\nMood: [answer]", "Sort it.\\nMood: {label word}\\nReview: [answer]"),
        ("Review: {text}\\nMood: [answer].", "Mood: {label word}\\nReview: [answer]"),
        ("{text} It is [answer]", "It is {label word}\\n[answer]"),
        ("[soft a 2] Sort. {text} [soft b 3] Mood: [answer]", "[soft a 2][soft b 3] Mood: {label word}\\n Sort. [answer]"),
        ("One: {text}[answer]", "{label word}\\nOne: [answer]"),
    ],
)
def test_the_prompt_is_turned_round(notation: str, turned: str) -> None:
    assert channel_prompt(parse(notation)) == (parse(turned), "text")


@pytest.mark.parametrize("notation", ["[user] {text} [assistant] [answer]", "{a} {b} [answer]", "no field [answer]"])
def test_chats_and_other_than_one_field_are_refused(notation: str) -> None:
    with pytest.raises(PromptError, match="a chat, or several fields, with channel scoring"):
        channel_prompt(parse(notation))


def by_hand(words: tuple[str, ...], text: str) -> torch.Tensor:
    """log p(text | word), byte by byte, for the prompt ``Review: {text}\\nMood: [answer]``."""
    model = tiny().model
    found = []
    for word in words:
        before, target = f"Mood: {word}\nReview:".encode(), f" {text}".encode()
        steps = model(input_ids=torch.tensor([list(before + target)])).logits[0].log_softmax(-1)[len(before) - 1 : -1]
        found.append(sum(float(step[token]) for step, token in zip(steps, target, strict=True)))
    return torch.tensor(found)


def test_scores_are_the_texts_probabilities_after_each_labels_word() -> None:
    backbone, rows = HuggingFaceBackbone(tiny()), Rows.from_texts(["so so", "ok"], ["pos", "neg"])
    prompt = parse("Review: {text}\\nMood: [answer]")
    task = Classification(("neg", "pos"), words={"neg": ("bad",), "pos": ("good", "great")}, channel=True)
    found = task.bind(prompt, backbone, rows).scores([0, 1])[0]
    for at, text in enumerate(rows.column()):
        bad, good, great = by_hand(("bad", "good", "great"), text)
        labels = torch.stack([bad, torch.logaddexp(good, great) - torch.log(torch.tensor(2.0))])
        assert torch.allclose(found[at], labels.log_softmax(-1), atol=1e-4)


@pytest.mark.parametrize("calibration", ["batch", "contextual", "none"])
@pytest.mark.parametrize("notation", ["Review: {text}\\nMood: [answer]", "{text}\\nMood: [answer]"])
def test_every_calibration_works_in_the_channel(notation: str, calibration: str) -> None:
    backbone, rows = HuggingFaceBackbone(tiny()), Rows.from_texts(["so so", "ok", "x"], ["pos", "neg", "pos"])
    task = Classification(("neg", "pos"), calibration=calibration, channel=True)  # type: ignore[arg-type]
    fitted = task.calibrate(parse(notation), backbone, rows)
    assert len(fitted.offsets) == (0 if calibration == "none" else 2)
    assert task.predict_proba(parse(notation), backbone, rows, fitted).sum(1) == pytest.approx([1, 1, 1])


def test_a_text_longer_than_the_context_is_cut_alike_after_every_label() -> None:
    loaded = tiny()
    loaded.model.config.max_position_embeddings = 128
    rows = Rows.from_texts(["abc " * 200, "short"], ["a", "a much longer label"])
    bound = Classification(("a", "a much longer label"), channel=True).bind(
        parse("Review: {text}\\nMood: [answer]"), HuggingFaceBackbone(loaded), rows
    )
    assert bound.cut_rows == (0,)
    scores = bound.scores([0, 1])
    assert torch.isfinite(scores).all()
    lengths = {len(part.targets[0]) for part in bound._bounds}  # type: ignore[attr-defined]
    assert len(lengths) == 1
