"""Prompts of every kind over the tiny model, and what they answer, for servers that hold them all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx2
import numpy as np

from pegbox.artifact import Tuned
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.prompt import DeepSlot, parse
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

    def chance(slot: Any) -> Any:
        width = backbone.deep_width if isinstance(slot, DeepSlot) else backbone.width
        return rng.normal(0, 0.3, (slot.length, width)).astype(np.float32)

    return prompt.fill(**{name: chance(slot) for name, slot in prompt.slots.items()})


def tagger(notation: str, backbone: HuggingFaceBackbone, words: dict[str, tuple[str, ...]] | None = None) -> Tuned:
    """A prompt that tags nearly at random: its matrix spreads what an untrained model says, so that all tags are given."""
    task = Tagging(TYPES, words or {}, "none")
    grammar = Grammar.counted(task.types, [["O", "B-PER", "I-PER", "O", "B-LOC"]])
    scaling = Scaling(((9.0, -2.0, -2.0), (-2.0, 9.0, -2.0), (-2.0, -2.0, 9.0)), (-1.0, 0.5, 0.0))
    return Tuned(TagPredictor(PromptPredictor(soft(notation, backbone), task.of_words, backbone), task, grammar, scaling))


def made_prompts() -> dict[str, Tuned]:
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
