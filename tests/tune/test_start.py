"""Where soft slots start: at the words of an instruction, never at random."""

from __future__ import annotations

import numpy as np
import torch

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.prompt import parse
from pegbox.task.classification import Classification
from pegbox.tune.schedule import START_APART, Schedule
from pegbox.tune.start import start_vectors, start_words, starts_apart

TASK = Classification(("bad", "ok"))


def words(backbone: HuggingFaceBackbone, written: str, count: int) -> str:
    return backbone.decode(start_words(parse(written), backbone, TASK, count))


def test_a_slot_starts_as_an_instruction_with_the_labels_in_their_order(tiny_backbone: HuggingFaceBackbone) -> None:
    assert words(tiny_backbone, "Sort. {text} [answer]", 29) == "Classify the text as bad, ok."


def test_the_prompts_own_words_for_the_labels_come_before_the_tasks(tiny_backbone: HuggingFaceBackbone) -> None:
    said = words(tiny_backbone, '{text} [answer bad="awful|poor" ok="fine"]', 33)
    assert said == "Classify the text as awful, fine."


def test_a_long_slot_says_it_again_and_a_short_one_only_its_beginning(tiny_backbone: HuggingFaceBackbone) -> None:
    assert words(tiny_backbone, "{text}[answer]", 33)[29:] == "Clas"
    assert words(tiny_backbone, "{text}[answer]", 4) == "Clas"


def test_all_variants_start_alike_and_filled_slots_at_their_own_vectors(tiny_backbone: HuggingFaceBackbone) -> None:
    own = np.arange(2 * 64, dtype=np.float32).reshape(2, 64)
    prompt = parse("[soft mine 2] {text} [soft new 7] [answer]").fill(mine=own)
    found = start_vectors(prompt, tiny_backbone, TASK, 3)
    assert {name: tuple(v.shape) for name, v in found.items()} == {"mine": (3, 2, 64), "new": (3, 7, 64)}
    assert torch.equal(found["mine"], torch.tensor(own).expand(3, -1, -1))
    label_words = tiny_backbone.embed(start_words(prompt, tiny_backbone, TASK, 7))
    assert torch.equal(found["new"][2], label_words)


def test_further_starts_lie_a_little_apart_and_each_learning_rate_has_them_all() -> None:
    schedule = Schedule(learning_rates=(0.1, 0.3), starts=3)
    apart = starts_apart({"a": torch.zeros(6, 50, 64)}, schedule, np.random.default_rng(0))["a"]
    assert apart.shape == (6, 50, 64)
    assert apart[:2].abs().max() == 0
    assert torch.equal(apart[2], apart[3])
    assert torch.equal(apart[4], apart[5])
    assert not torch.equal(apart[2], apart[4])
    assert abs(float(apart[2:].std()) - START_APART) < 0.01  # 6,400 numbers


def test_of_many_labels_some_are_named(tiny_backbone: HuggingFaceBackbone) -> None:
    task = Classification(tuple(f"w{n:02}" for n in range(21)))
    found = tiny_backbone.decode(start_words(parse("Sort. {text} [answer]"), tiny_backbone, task, 64))
    assert found == "Give the text a label of a few words, such as w00, w10 or w20.Gi"
