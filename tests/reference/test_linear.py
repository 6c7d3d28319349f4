"""Logistic regression as the references use it."""

from __future__ import annotations

import numpy as np
import pytest

from pegbox.errors import DataError
from pegbox.reference.linear import fit_linear


def test_two_equal_groups_are_parted_in_the_middle() -> None:
    features = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    found = fit_linear(features, np.array([0, 0, 1, 1]), 2, 1.0)
    np.testing.assert_allclose(found.probabilities(np.zeros((1, 1))), [[0.5, 0.5]], atol=1e-3)
    assert found.probabilities(features).argmax(axis=1).tolist() == [0, 0, 1, 1]
    assert found.parameters == 2  # one weight and one offset


def test_a_label_without_training_rows_keeps_its_column() -> None:
    found = fit_linear(np.array([[-1.0], [1.0]]), np.array([0, 2]), 3, 1.0).probabilities(np.array([[3.0]]))
    assert found.shape == (1, 3)
    assert found[0].argmax() == 2
    assert 0 < found[0, 1] < 1e-5
    assert found[0].sum() == pytest.approx(1.0)


def test_one_label_is_an_error() -> None:
    with pytest.raises(DataError, match="training rows with a single label"):
        fit_linear(np.zeros((2, 1)), np.array([1, 1]), 2, 1.0)
