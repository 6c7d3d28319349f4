"""Writing: beams against all texts there are, chance by row, and texts that keep to a form."""

from __future__ import annotations

import itertools
import json
import math
import re

import numpy as np
import pytest
import torch

from pegbox.backbone.decoding import Decoding, chance, pick
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.seam import Choices
from pegbox.backbone.tiny import tiny, tiny_family
from pegbox.data.rows import Rows
from pegbox.errors import SettingsError
from pegbox.prompt import parse

PROMPT = parse("Say: {text}\nNow:[answer]")
ROWS = Rows.from_texts(["one", "two and three", "x"])


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def best_by_hand(backbone: HuggingFaceBackbone, text: str, allowed: str, most: int, penalty: float) -> str:
    """The likeliest text of these letters, of all that there are: ended before `most` tokens, or cut there."""
    end = 258
    found: dict[str, float] = {}
    for length in range(most + 1):
        for letters in itertools.product(allowed, repeat=length):
            said, score = "", 0.0
            for letter in (*letters, None) if length < most else letters:
                prompt = parse("Say: {text}\nNow:{said}[answer]")
                logs = backbone.bind(prompt, Rows(({"text": text, "said": said},)), Choices(("a", "b"))).next_words([0])[0]
                score += float(logs[end if letter is None else ord(letter)])
                said += letter or ""
            found[said] = score / (min(length + 1, most)) ** penalty
    return max(found, key=lambda said: found[said])


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_enough_beams_find_the_likeliest_of_all_texts(backbone: HuggingFaceBackbone, penalty: float) -> None:
    pytest.importorskip("llguidance")
    written = backbone.generate(PROMPT, ROWS, max_tokens=2, beams=16, length_penalty=penalty, regex="[a-c]*")
    assert written == [best_by_hand(backbone, row["text"], "abc", 2, penalty) for row in ROWS]


def test_beams_do_not_depend_on_batch_mates_or_prefixes_kept(backbone: HuggingFaceBackbone) -> None:
    together = backbone.generate(PROMPT, ROWS, max_tokens=6, beams=3)
    alone = [
        HuggingFaceBackbone(tiny(), cache_bytes=0).generate(PROMPT, ROWS.take([at]), max_tokens=6, beams=3)[0]
        for at in range(3)
    ]
    assert together == alone


def test_one_beam_is_greedy_and_more_are_never_less_likely(backbone: HuggingFaceBackbone) -> None:
    def likelihood(text: str, said: str) -> float:
        ids = backbone.encode(said)
        score = 0.0
        for at in range(len(ids)):
            row = Rows(({"text": text, "said": backbone.decode(ids[:at])},))
            logs = backbone.bind(parse("Say: {text}\nNow:{said}[answer]"), row, Choices(("a", "b"))).next_words([0])[0]
            score += float(logs[ids[at]])
        return score

    greedy = backbone.generate(PROMPT, ROWS, max_tokens=3, regex="[a-z]{3}")
    beams = backbone.generate(PROMPT, ROWS, max_tokens=3, regex="[a-z]{3}", beams=26)
    pairs = [(likelihood(r["text"], b), likelihood(r["text"], g)) for r, b, g in zip(ROWS, beams, greedy, strict=True)]
    assert all(better >= worse - 1e-4 for better, worse in pairs)


@pytest.mark.parametrize("family", ["gemma3", "mistral", "gpt2"])
def test_soft_slots_windows_and_beams_in_other_families(family: str) -> None:
    """Writing goes on over kept keys and values, where one pass over everything would give the same."""
    backbone = HuggingFaceBackbone(tiny_family(family))
    vectors = np.random.default_rng(0).normal(0, 0.2, (3, 64)).astype(np.float32)
    prompt = parse("Say [soft s 3] this, at some length: {text}\nNow:[answer]").fill(s=vectors)
    (text,) = backbone.generate(prompt, ROWS.take([1]), max_tokens=5)
    said: list[int] = []
    embeds = backbone.embed([*b"Say"])  # the space before vectors has no word to belong to
    after = backbone.embed([*b" this, at some length: two and three\nNow:"])
    start = backbone.loaded.tokenizer("", add_special_tokens=True)["input_ids"]
    whole = torch.cat([*([backbone.embed(start)] if start else []), embeds, torch.tensor(vectors), after])
    for _ in range(5):
        with torch.no_grad():
            logits = backbone.loaded.model(inputs_embeds=whole[None], use_cache=False).logits[0, -1]
        token = int(logits.argmax())
        if token >= 256:
            break
        said.append(token)
        whole = torch.cat([whole, backbone.embed([token])])
    assert text == bytes(said).decode(errors="replace")
    assert len(backbone.generate(prompt, ROWS, max_tokens=5, beams=2)) == 3


def test_a_rows_chance_is_its_own(backbone: HuggingFaceBackbone) -> None:
    drawn = backbone.generate(PROMPT, ROWS, max_tokens=6, temperature=2.0, seed=4)
    again = backbone.generate(PROMPT, ROWS.take([0, 2]), max_tokens=6, temperature=2.0, seed=4)
    assert again[0] == drawn[0]
    assert len(set(backbone.generate(PROMPT, ROWS.take([0] * 8), max_tokens=6, temperature=2.0))) > 1


def test_top_p_keeps_to_the_likeliest() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2]))
    drawn = {pick(logits, 1.0, 0.75, chance(0, at)) for at in range(60)}
    assert drawn == {0, 1}
    assert {pick(logits, 1.0, 0.4, chance(0, at)) for at in range(20)} == {0}
    shares = np.bincount([pick(logits, 1.0, 1.0, chance(1, at)) for at in range(2000)]) / 2000
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=4 * math.sqrt(0.25 / 2000))


def test_what_is_written_keeps_to_its_form(backbone: HuggingFaceBackbone) -> None:
    pytest.importorskip("llguidance")
    for settings in ({}, {"beams": 3}, {"temperature": 1.5}):
        texts = backbone.generate(PROMPT, ROWS, max_tokens=12, regex=r"[0-9]{2}-(yes|no)", **settings)
        assert all(re.fullmatch(r"[0-9]{2}-(yes|no)", text) for text in texts)
    schema = {"type": "object", "properties": {"n": {"enum": [1, 22]}}, "required": ["n"], "additionalProperties": False}
    texts = backbone.generate(PROMPT, ROWS, max_tokens=60, json_schema=json.dumps(schema), temperature=1.0)
    assert all(json.loads(text)["n"] in (1, 22) for text in texts)


def test_forms_that_make_no_sense_are_refused(backbone: HuggingFaceBackbone) -> None:
    pytest.importorskip("llguidance")
    with pytest.raises(SettingsError, match="the regular expression '\\('"):
        backbone.generate(PROMPT, ROWS, regex="(")
    with pytest.raises(SettingsError, match="the JSON schema"):
        backbone.generate(PROMPT, ROWS, json_schema='{"type": "nope"}')
    with pytest.raises(SettingsError, match="a regular expression and a JSON schema"):
        Decoding(regex="a", json_schema="{}")
    with pytest.raises(SettingsError, match="top_p=0"):
        Decoding(top_p=0)
