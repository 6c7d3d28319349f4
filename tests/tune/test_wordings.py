"""Wordings: how they are written, and the steps between them."""

from dataclasses import replace

import numpy as np
import pytest

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows
from pegbox.prompt import notation, parse
from pegbox.task.classification import Classification
from pegbox.tune.wordings import Space, Wording, balanced

POOL = Rows.from_texts(["fine", "nice", "poor", "sad", "bleak"], ["p", "p", "n", "n", "n"])
TASK = Classification(("n", "p"), words={"n": ("bad", "awful"), "p": ("good",)})


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def a_space(backbone: HuggingFaceBackbone, prompt: str = r"Sort it.\nReview: {text}\nMood: [answer]") -> Space:
    return Space(parse(prompt), TASK, backbone, POOL, room=512, shots=(2, 4))


def test_the_start_is_the_prompt_itself(backbone: HuggingFaceBackbone) -> None:
    space = a_space(backbone)
    assert notation.format(space.prompt(space.start)) == r"Sort it.\nReview: {text}\nMood: [answer]"
    assert space.own == ("bad", "good")
    assert space.spaced
    assert not a_space(backbone, "{text}[answer]").spaced


def test_a_prompts_own_label_words_are_left_to_the_answer(backbone: HuggingFaceBackbone) -> None:
    space = a_space(backbone, '{text} [answer n="no" p="yes"]')
    assert space.own == ("no", "yes")
    assert notation.format(space.prompt(space.start)) == "{text} [answer]"


def test_examples_are_pool_rows_answered_in_the_spoken_words(backbone: HuggingFaceBackbone) -> None:
    space = a_space(backbone)
    wording = replace(space.start, examples=(2, 0), spoken=("dull", "bright"))
    found = notation.format(space.prompt(wording))
    assert found == r"Sort it.\nReview: poor\nMood: dull\n\nReview: fine\nMood: bright\n\nReview: {text}\nMood: [answer]"


def test_examples_of_long_texts_are_cut_to_the_room(backbone: HuggingFaceBackbone) -> None:
    space = Space(parse("{text} [answer]"), TASK, backbone, POOL, room=6, shots=(2,))
    assert notation.format(space.prompt(replace(space.start, examples=(4, 1), spoken=space.own))) == (
        r"ble bad\nnic good\n{text} [answer]"
    )


def test_the_model_knows_chat_when_its_tokenizer_has_a_template(backbone: HuggingFaceBackbone) -> None:
    assert "chat" in a_space(backbone).layouts
    loaded = tiny(seed=3)
    loaded.tokenizer.chat_template = None
    assert not any("chat" in name for name in a_space(HuggingFaceBackbone(loaded)).layouts)


def test_steps_lead_to_other_wordings(backbone: HuggingFaceBackbone) -> None:
    space = a_space(backbone)
    steps = space.steps()
    assert set(steps) == {"examples", "template", "edit"}
    for kind, step in steps.items():
        for seed in range(40):
            wording = step(space.start, np.random.default_rng(seed))
            assert wording != space.start
            space.prompt(wording)
            if kind == "template":
                assert (wording.instruction, wording.examples) == ("Sort it.", ())
            if kind == "edit":
                assert (wording.layout, wording.examples) == ("as written", ())
            if kind == "examples":
                assert len(wording.examples) in (2, 4)
                assert len(wording.spoken) == 2


def test_example_steps_keep_to_the_pool_and_the_most_shots(backbone: HuggingFaceBackbone) -> None:
    space = a_space(backbone)
    space.found = ("x", "y")
    rng, wording = np.random.default_rng(0), space.start
    seen = set()
    for _ in range(300):
        wording = space.steps()["examples"](wording, rng)
        assert len(wording.examples) <= 4
        assert len(set(wording.examples)) == len(wording.examples)
        assert bool(wording.spoken) == bool(wording.examples)
        seen.add((len(wording.examples), wording.spoken))
    assert {count for count, _ in seen} == {0, 1, 2, 3, 4}
    assert {spoken for _, spoken in seen} == {(), ("bad", "good"), ("x", "y")}


def test_without_shots_or_instruction_fewer_steps_make_sense(backbone: HuggingFaceBackbone) -> None:
    prompt = parse('[soft s 2] [hard say="Hm."] {text} [answer]').fill(s=np.zeros((2, 64), dtype=np.float32))
    assert set(Space(prompt, TASK, backbone, POOL, 512, ()).steps()) == {"edit"}
    bare = parse("[soft s 2] {text} [answer]").fill(s=np.zeros((2, 64), dtype=np.float32))
    assert set(Space(bare, TASK, backbone, POOL, 512, (2,)).steps()) == {"examples"}


def test_crossing_takes_the_words_of_one_and_the_examples_of_the_other(backbone: HuggingFaceBackbone) -> None:
    one, other = Wording("chat", "Go.", (1,), ("a", "b")), Wording("plain", "Sort.", (2, 3), ("c", "d"))
    assert a_space(backbone).cross(one, other) == Wording("chat", "Go.", (2, 3), ("c", "d"))


def test_balanced_draws_go_round_the_labels() -> None:
    gold = np.array([0] * 50 + [1] * 3 + [2] * 2)
    for seed in range(20):
        counts = np.bincount(gold[list(balanced(gold, 6, np.random.default_rng(seed)))], minlength=3)
        assert counts.tolist() == [2, 2, 2]
        many = balanced(gold, 9, np.random.default_rng(seed))
        assert np.bincount(gold[list(many)], minlength=3).tolist() == [4, 3, 2]
    assert sorted(balanced(np.array([0, 1]), 8, np.random.default_rng(0))) == [0, 1]
