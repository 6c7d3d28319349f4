"""The registry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pegbox.api import default_methods, task_and_prompt
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.opening import backbone_of
from pegbox.backbone.tiny_two_way import tiny_two_way
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError, SettingsError
from pegbox.recipe.methods import DEFAULTS, METHODS, TASK_DEFAULTS, defaults, method
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_made_and_does_what_it_says(name: str) -> None:
    made = method(name).make()
    assert callable(made.fit if method(name).predictor else made.tune)
    assert method(name).name == name
    assert method(name).summary[0].islower()


def test_an_unknown_method_is_told_with_the_nearest() -> None:
    with pytest.raises(SettingsError) as raised:
        method("hybird")
    assert raised.value.came == "no method 'hybird'"
    assert raised.value.remedy == "did you mean 'hybrid'?"
    with pytest.raises(SettingsError, match="see `pegbox methods`"):
        method("qqqqq")


def test_the_defaults_are_in_the_registry_and_of_every_kind() -> None:
    assert {METHODS[name].kind for name in DEFAULTS} == {"reference", "hard", "soft", "hybrid"}
    assert {"zero-shot", "few-shot", "tfidf", "lora"} <= set(DEFAULTS)


@pytest.mark.parametrize("task", ["classify", *TASK_DEFAULTS, "generate", "chat", "multilabel"])
def test_models_that_do_not_keep_what_they_read_are_asked_for_nothing_that_needs_it(task: str) -> None:
    found = defaults(task, keeps=False)
    assert not any(METHODS[name].keeps for name in found)
    assert {METHODS[name].kind for name in found} == {METHODS[name].kind for name in defaults(task)}
    assert default_methods(task, "tiny") == defaults(task)
    assert default_methods(task, backbone_of(tiny_two_way("bert"))) == found


@pytest.mark.parametrize(
    "name", [name for name, one in METHODS.items() if one.kind in ("soft", "hybrid") and not one.predictor]
)
def test_a_method_that_needs_a_model_that_keeps_what_it_reads_is_refused_by_others(
    name: str, moods: Callable[[int, int], Rows]
) -> None:
    train, backbone = moods(12, 1), backbone_of(tiny_two_way("bert"))
    task: Any
    task, prompt = task_and_prompt(train, None, None, "none", False)

    def tune() -> None:
        made, rng = method(name).make(), np.random.default_rng(0)
        made.tune(prompt, task, backbone, train, moods(8, 2), budget=Budget(tokens=3000), rng=rng, trail=Trail())

    if METHODS[name].keeps:
        with pytest.raises(BackboneError, match="a deep slot for"):
            tune()
    else:
        tune()


def test_a_causal_model_whose_keys_and_values_differ_in_size_is_asked_for_no_deep_slots(
    tiny_backbone: HuggingFaceBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: object) -> int:
        raise BackboneError(
            "keys of one shape and values of another", "a model whose keys and values are of one size", "use soft"
        )

    monkeypatch.setattr(type(tiny_backbone), "deep_width", property(refused))
    assert default_methods("classify", tiny_backbone) == defaults("classify", keeps=False)
