"""Writing: stop strings, ends, room, chance, and nobody's settings but ours."""

from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import POSITIONS, tiny, tiny_family
from pegbox.data.rows import Rows
from pegbox.errors import PromptError, SettingsError
from pegbox.prompt import Answer, Text, parse

ROWS = Rows.from_texts(["one", "a longer text", "", "x y z"])
PROMPT = parse("Say: {text}\\nNow: [answer]")


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny(seed=2))


def written_by_hand(backbone: HuggingFaceBackbone, context: str, count: int) -> list[int]:
    ids = list(context.encode())
    for _ in range(count):
        ids.append(int(backbone.loaded.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == 258:
            break
    return ids[len(context.encode()) :]


def test_greedy_writing_takes_the_likeliest_token_each_time(backbone: HuggingFaceBackbone) -> None:
    texts = backbone.generate(PROMPT, ROWS, max_tokens=12)
    for text, row in zip(texts, ROWS.column(), strict=True):
        by_hand = written_by_hand(backbone, f"Say: {row}\nNow:", 12)
        assert text == bytes(token for token in by_hand if token < 256).decode(errors="replace")


def test_a_models_own_generation_settings_do_not_mix_in(backbone: HuggingFaceBackbone) -> None:
    model = backbone.loaded.model
    before, own = backbone.generate(PROMPT, ROWS, max_tokens=12), model.generation_config
    assert any(len(set(text)) < len(text) for text in before)  # some character comes twice
    loud = GenerationConfig(repetition_penalty=9.0, max_new_tokens=2, no_repeat_ngram_size=1)
    try:
        model.generation_config = loud
        assert backbone.generate(PROMPT, ROWS, max_tokens=12) == before
        assert model.generation_config is loud
    finally:
        model.generation_config = own


def test_writing_ends_before_a_stop_string(backbone: HuggingFaceBackbone) -> None:
    free = backbone.generate(PROMPT, ROWS, max_tokens=16)
    mark = free[1][3]
    stopped = backbone.generate(PROMPT, ROWS, max_tokens=16, stop=[mark, "never written"])
    assert stopped == [text.split(mark)[0] for text in free]
    assert any(len(text) < len(before) for text, before in zip(stopped, free, strict=True))


def test_writing_ends_at_the_end_token_and_padding_is_not_spent(backbone: HuggingFaceBackbone) -> None:
    """The token that the model writes third after the first row is declared an end: nothing of it and after it is left."""
    model, alone = backbone.loaded.model, ROWS.take([0])
    by_hand = written_by_hand(backbone, "Say: one\nNow:", 8)
    end = next(at for at in range(2, 8) if by_hand[at] not in by_hand[:at])
    own = model.generation_config
    try:
        model.generation_config = GenerationConfig(eos_token_id=by_hand[end])
        backbone.generate(PROMPT, alone, max_tokens=1)  # reads the prompt's own beginning, "Say:", which is kept
        before = backbone.spent.forward
        assert backbone.generate(PROMPT, alone, max_tokens=8) == [bytes(by_hand[:end]).decode(errors="replace")]
        assert backbone.spent.forward - before == len(" one\nNow:") + end
        together = backbone.generate(PROMPT, ROWS, max_tokens=8)
        assert together[0] == bytes(by_hand[:end]).decode(errors="replace")
    finally:
        model.generation_config = own


def test_a_chat_ends_with_what_follows_the_answer_in_its_turn(backbone: HuggingFaceBackbone) -> None:
    """Though it is no special token, it is no part of the answer either."""
    prompt = parse("[user] {text} [assistant] Now: [answer]")
    free = backbone.generate(prompt, ROWS, max_tokens=24)
    row, letter = next((at, c) for at, text in enumerate(free) for c in text[1:] if c.isascii() and c not in (" ", text[0]))
    ending = prompt.map(lambda segment: (segment, Text(letter)) if isinstance(segment, Answer) else segment)
    assert backbone.generate(ending, ROWS.take([row]), max_tokens=24) == [free[row].split(letter)[0]]


def test_texts_are_cut_to_leave_room_for_what_is_written() -> None:
    backbone = HuggingFaceBackbone(tiny_family("gpt2"))  # which has no position after its last one
    long = Rows.from_texts(["a" * 5000])
    (text,) = backbone.generate(PROMPT, long, max_tokens=8)
    assert text
    assert backbone.spent.forward <= POSITIONS
    with pytest.raises(PromptError, match="the prompt without any text"):
        backbone.generate(PROMPT, long, max_tokens=POSITIONS)


def test_chance_follows_the_seed_and_leaves_the_callers_alone(backbone: HuggingFaceBackbone) -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    first = backbone.generate(PROMPT, ROWS, max_tokens=8, temperature=1.5, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert backbone.generate(PROMPT, ROWS, max_tokens=8, temperature=1.5, seed=1) == first
    assert backbone.generate(PROMPT, ROWS, max_tokens=8, temperature=1.5, seed=2) != first


def test_at_a_high_temperature_every_token_can_be_drawn(backbone: HuggingFaceBackbone) -> None:
    """Transformers would keep to the 50 likeliest unless told otherwise."""
    rows = Rows.from_texts(["x"] * 160)
    drawn = backbone.generate(parse("Say: {text}[answer]"), rows, max_tokens=1, temperature=1000.0)
    assert len(set(drawn)) > 50


@pytest.mark.parametrize("settings", [{"max_tokens": 0}, {"temperature": -1.0}, {"stop": ("",)}])
def test_settings_that_make_no_sense_are_refused(backbone: HuggingFaceBackbone, settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"max_tokens=.*temperature=.*stop="):
        backbone.generate(PROMPT, ROWS, **settings)  # type: ignore[arg-type]


def test_an_open_slot_is_refused(backbone: HuggingFaceBackbone) -> None:
    with pytest.raises(PromptError, match="slot 's' is open"):
        backbone.generate(parse("{text} [soft s 2] [answer]"), ROWS)
