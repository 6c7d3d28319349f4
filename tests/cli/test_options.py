"""How options' values are read."""

from __future__ import annotations

import pytest

from pegbox.cli.options import label_words, listed, method_names, pairs, pairs_by_method
from pegbox.errors import SettingsError
from pegbox.recipe.methods import METHODS


def test_names_with_commas() -> None:
    assert listed("a, b,,c ") == ("a", "b", "c")
    assert listed(None) == listed(" ") == ()


def test_methods_by_name_or_all_of_them() -> None:
    assert method_names("soft, tfidf") == ("soft", "tfidf")
    assert method_names("all") == tuple(name for name in METHODS if name != "crf")
    assert "crf" in (method_names("all", "tag") or ())
    assert method_names(None) is None
    for nothing in ("", " , "):
        with pytest.raises(SettingsError, match="leave --methods out"):
            method_names(nothing)


def test_settings() -> None:
    assert pairs(["length=8", "prompt = a=b "]) == {"length": "8", "prompt": "a=b"}
    assert pairs(None) == {}
    with pytest.raises(SettingsError, match="--set length"):
        pairs(["length"])


def test_settings_by_method() -> None:
    found = pairs_by_method(["soft.length=8", "soft.schedule.batch=4", "hybrid.share=0.5"])
    assert found == {"soft": {"length": "8", "schedule.batch": "4"}, "hybrid": {"share": "0.5"}}
    with pytest.raises(SettingsError, match=r"say whose setting, e\.g\. --set soft\.length=8"):
        pairs_by_method(["length=8"])


def test_label_words() -> None:
    assert label_words(["neg=bad|not good", "pos = good"]) == {"neg": ("bad", "not good"), "pos": ("good",)}
    assert label_words(None) is None
    with pytest.raises(SettingsError, match="--words neg"):
        label_words(["neg"])
