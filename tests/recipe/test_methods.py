"""The registry."""

from __future__ import annotations

import pytest

from pegbox.errors import SettingsError
from pegbox.recipe.methods import DEFAULTS, METHODS, method


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
