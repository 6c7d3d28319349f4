"""Calibration by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pegbox.errors import SettingsError
from pegbox.task.calibration import Calibration, fit_calibration

SCORES = np.log([[0.8, 0.2], [0.6, 0.4]])


def test_no_calibration_only_makes_probabilities_add_up_to_1() -> None:
    assert Calibration().apply(np.log([[0.3, 0.1]])) == pytest.approx(np.log([[0.75, 0.25]]))
    assert fit_calibration("none", SCORES, [0.5, 0.5]) == Calibration()


@pytest.mark.parametrize("method", ["batch", "contextual"])
def test_offsets_divide_out_the_mean_probability_and_put_the_prior_in_its_place(method: str) -> None:
    """The mean of 0.8 and 0.6 is 0.7: offsets log(0.5 / 0.7) and log(0.5 / 0.3)."""
    fitted = fit_calibration(method, SCORES, [0.5, 0.5])  # type: ignore[arg-type]
    assert fitted.method == method
    assert fitted.offsets == pytest.approx((np.log(5 / 7), np.log(5 / 3)))
    # 0.6 / 0.7 against 0.4 / 0.3, made to add up to 1: 18 : 28
    assert np.exp(fitted.apply(SCORES))[1] == pytest.approx([18 / 46, 28 / 46])


def test_unequal_shares_shift_the_balance() -> None:
    """0.6 * 0.9 / 0.7 against 0.4 * 0.1 / 0.3: 0.7714 : 0.1333."""
    fitted = fit_calibration("batch", SCORES, [0.9, 0.1])
    assert np.exp(fitted.apply(SCORES))[1, 0] == pytest.approx((0.54 / 0.7) / (0.54 / 0.7 + 0.04 / 0.3))


def test_scores_that_do_not_add_up_are_made_to_first() -> None:
    assert fit_calibration("batch", SCORES - 3.0, [0.5, 0.5]).offsets == pytest.approx((np.log(5 / 7), np.log(5 / 3)))


def test_a_model_that_always_says_the_same_comes_out_with_the_labels_shares() -> None:
    same = np.log(np.tile([0.90, 0.09, 0.01], (20, 1)))
    fitted = fit_calibration("batch", same, [0.2, 0.3, 0.5])
    assert np.exp(fitted.apply(same)) == pytest.approx(np.tile([0.2, 0.3, 0.5], (20, 1)))


def test_batch_calibration_restores_the_shares_that_a_lean_has_hidden() -> None:
    """Half of the rows speak for each label, but a lean of 3 towards the first hides all of the second."""
    rng = np.random.default_rng(0)
    gold = np.arange(200) % 2
    telling = np.where(gold[:, None] == np.arange(2), 1.0, -1.0) + 0.1 * rng.standard_normal((200, 2))
    leaning = telling + np.array([3.0, 0.0])
    assert (leaning.argmax(-1) == 0).all()
    fitted = fit_calibration("batch", leaning, [0.5, 0.5])
    assert (fitted.apply(leaning).argmax(-1) == gold).all()


def test_a_label_that_is_never_expected_does_not_become_infinite() -> None:
    fitted = fit_calibration("batch", np.array([[0.0, -1e4]]), [0.5, 0.5])
    assert np.isfinite(fitted.offsets).all()


@given(st.lists(st.lists(st.floats(-50, 0), min_size=3, max_size=3), min_size=1, max_size=5))
def test_calibrated_probabilities_add_up_to_1_in_any_shape(scores: list[list[float]]) -> None:
    found = Calibration("batch", (0.5, -2.0, 1.0)).apply(np.array(scores)[None])
    assert found.shape == (1, len(scores), 3)
    assert np.exp(found).sum(-1) == pytest.approx(np.ones((1, len(scores))))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(SettingsError, match="calibration 'platt'\n  expected: one of none, contextual, batch"):
        fit_calibration("platt", SCORES, [0.5, 0.5])  # type: ignore[arg-type]
