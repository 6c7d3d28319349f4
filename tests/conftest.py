"""What several rooms' tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pegbox.backbone.loaded import Loaded


@pytest.fixture(scope="session")
def smollm2() -> Loaded:
    """The real weights, loaded once, in float32 on the CPU. Ask for it only in tests marked `weights`."""
    from pegbox.backbone.weights import load

    return load("smollm2", dtype="float32", device="cpu")
