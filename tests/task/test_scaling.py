import json

import numpy as np
import pytest

from pegbox.task.scaling import Scaling, fit_scaling


def drawn(count: int, turn: np.ndarray, seed: int = 0):  # type: ignore[no-untyped-def]
    """Log-probabilities that are right once they are turned, and types drawn by them."""
    rng = np.random.default_rng(seed)
    right = np.log(rng.dirichlet([0.7] * 3, size=count))
    gold = np.array([rng.choice(3, p=np.exp(row)) for row in right])
    return right @ np.linalg.inv(turn).T, gold, right


def test_nothing_is_changed_without_weights() -> None:
    scores = np.log([[0.2, 0.8], [0.5, 0.5]])
    np.testing.assert_allclose(Scaling().apply(scores), scores)


def test_what_was_turned_is_turned_back() -> None:
    turn = np.array([[1.0, 0.4, 0.0], [0.0, 1.0, 0.0], [0.3, 0.0, 0.6]])
    scores, gold, right = drawn(4000, turn)
    found, _ = fit_scaling(scores, gold, range(4000))
    np.testing.assert_allclose(np.exp(found.apply(scores)), np.exp(right), atol=0.1)
    # maximum likelihood with free offsets gives every type its share
    np.testing.assert_allclose(np.exp(found.apply(scores)).mean(0), np.bincount(gold) / 4000, atol=1e-3)


def test_few_words_change_little_and_are_scored_as_if_left_out() -> None:
    scores, gold, _ = drawn(24, np.eye(3), 1)
    found, apart = fit_scaling(scores, np.random.default_rng(2).permutation(gold), [at // 3 for at in range(24)])
    assert np.abs(np.array(found.weights) - np.eye(3)).max() < 1
    np.testing.assert_allclose(np.exp(apart).sum(1), 1)
    assert fit_scaling(scores[:3], gold[:3], [0, 0, 0])[1] == pytest.approx(scores[:3], abs=1e-6)  # one sentence: as they are


def test_a_scaling_is_the_same_after_json() -> None:
    scores, gold, _ = drawn(50, np.eye(3))
    found, _ = fit_scaling(scores, gold, range(50))
    assert Scaling.from_json(json.loads(json.dumps(found.to_json()))) == found
