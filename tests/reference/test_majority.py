"""The majority reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from pegbox.data.rows import Rows
from pegbox.reference.majority import Majority


def test_it_answers_with_the_labels_shares(setting: dict[str, Any]) -> None:
    setting["train"] = Rows.from_texts(["a", "b", "c"], ["good", "good", "bad"])
    found = Majority().fit(**setting)
    probabilities = found.predict_proba(Rows.from_texts(["x", "y"]))
    np.testing.assert_allclose(probabilities, [[2 / 5, 3 / 5]] * 2, rtol=1e-6)  # one more row of each label: (1+1, 2+1) of 5
    assert probabilities.dtype == np.float32
    assert (found.parameters, found.nbytes, found.prompt) == (2, 16, None)


def test_no_rows_no_answers(setting: dict[str, Any]) -> None:
    assert Majority().fit(**setting).predict_proba(Rows(())).shape == (0, 2)
