"""A cache folder of their own for the backbone's tests, and models on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pegbox.backbone.loaded import Loaded


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """An empty cache folder for every test but those on the real weights, which lie in the user's own."""
    folder = tmp_path / "cache"
    if request.node.get_closest_marker("weights") is None:
        monkeypatch.setenv("PEGBOX_HOME", str(folder))
    return folder


@pytest.fixture
def save() -> Callable[[Loaded, Path], Path]:
    """Writes a model as a Transformers folder, with nothing on the screen."""

    def write(loaded: Loaded, folder: Path) -> Path:
        loaded.model.save_pretrained(folder)
        loaded.tokenizer.save_pretrained(folder)
        return folder

    return write
