"""The probe reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.data.rows import Rows
from pegbox.reference.probe import Probe
from pegbox.tune.budget import Budget


def test_it_finds_what_the_features_hold(setting: dict[str, Any], backbone: HuggingFaceBackbone, test_rows: Rows) -> None:
    before = backbone.weights_digest()
    found = Probe().fit(**setting)
    right = found.predict_proba(test_rows).argmax(axis=1) == setting["task"].gold(test_rows)
    assert right.mean() >= 0.9  # the telling words' bytes are plain in the features of even a random model
    assert len(setting["trail"].of("candidate")) == 3 * 2 * 5
    assert found.parameters == backbone.width + 1
    assert found.nbytes > 4 * found.parameters
    assert backbone.weights_digest() == before


def test_features_are_scaled_by_the_training_rows(setting: dict[str, Any], backbone: HuggingFaceBackbone) -> None:
    found = Probe(layers=(1.0,), strengths=(0.01,)).fit(**setting)
    seen = backbone.features(setting["train"], (1.0,))[:, 0, found.pool]
    np.testing.assert_allclose(found.scale(seen).mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(found.scale(seen).std(axis=0), 1, atol=1e-3)


def test_texts_that_the_model_cannot_read_whole_are_counted(setting: dict[str, Any], backbone: HuggingFaceBackbone) -> None:
    """tiny has a token for each byte; one position is the mark that begins a text."""
    fits, longer = "a" * (backbone.context - 1), "b" * backbone.context
    rows = [*setting["train"].column(), fits, longer]
    setting["train"] = Rows.from_texts(rows, [*setting["train"].answers(), "good", "bad"])
    found = Probe(layers=(1.0,), strengths=(0.01,)).fit(**setting)
    assert [line["text"] for line in setting["trail"].of("note")] == ["1 of 62 training texts were cut to the model's context"]
    assert found.cut_rows(Rows.from_texts(["a", longer, fits])) == (1,)


def test_a_small_budget_takes_fewer_rows_and_says_so(setting: dict[str, Any]) -> None:
    setting["train"] = Rows.from_texts([f"fine {n:03}" if n % 2 else f"dull {n:03}" for n in range(200)], ["good", "bad"] * 100)
    setting["budget"] = Budget(tokens=2_000)  # 30 dev rows of about 20 bytes, then chunks of 64 rows of 9 tokens
    Probe(layers=(1.0,), strengths=(0.01,)).fit(**setting)
    assert [line["text"] for line in setting["trail"].of("note")] == ["the budget was spent after 128 of 200 training rows"]
