"""The estimator, as scikit-learn's own tools use it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import pegbox
from pegbox.data.rows import Rows
from pegbox.errors import DataError, SettingsError
from pegbox.sklearn import PromptClassifier

QUICK = {"length": 2, "place": "after", "schedule.loss": "labels", "schedule.learning_rates": (0.3, 1.0)}

Moods = Callable[[int, int], Rows]


def classifier(**changes: Any) -> PromptClassifier:
    return PromptClassifier(**{"method": "soft", "model": "tiny", "budget": "5ktokens", "settings": QUICK, **changes})


@pytest.fixture(scope="module")
def xy(moods: Moods) -> tuple[list[str], list[str]]:
    rows = moods(36, 1)
    return rows.column(), list(rows.answers())


def test_parameters_are_those_of_any_estimator() -> None:
    made = classifier(random_state=3)
    params = made.get_params()
    assert (params["method"], params["budget"], params["random_state"]) == ("soft", "5ktokens", 3)
    assert made.set_params(budget="1m", settings={"length": 4}).budget == "1m"
    assert made.settings == {"length": 4}
    with pytest.raises(ValueError, match="Invalid parameter 'lenght'"):
        made.set_params(lenght=4)
    copy = clone(made)
    assert copy is not made
    assert copy.get_params() == made.get_params()
    assert "budget='1m'" in repr(made)


def test_fit_predict_and_score(xy: Any, moods: Moods) -> None:
    x, y = xy
    made = classifier()
    assert made.fit(x, y) is made
    assert made.classes_.tolist() == ["bad", "good"]
    new = moods(24, 5)
    probabilities = made.predict_proba(new.column())
    assert probabilities.shape == (24, 2)
    np.testing.assert_array_equal(probabilities, made.tuned_.predict_proba(new))
    predicted = made.predict(new.column())
    assert predicted.tolist() == made.tuned_.predict(new)
    assert made.score(new.column(), new.answers()) == np.mean(predicted == np.array(new.answers()))
    assert (
        made.tuned_.prompt
        == pegbox.tune(Rows.from_texts(x, y, "X"), method="soft", model="tiny", budget="5ktokens", settings=QUICK).prompt
    )


def test_before_fit_it_says_so() -> None:
    with pytest.raises(NotFittedError):
        classifier().predict(["x"])


@pytest.mark.parametrize("kind", ["integers", "booleans", "strings out of order", "objects"])
def test_labels_come_back_in_their_own_type(xy: Any, kind: str) -> None:
    x, y = xy
    names = {
        "integers": {"bad": 10, "good": 9},
        "booleans": {"bad": False, "good": True},
        "strings out of order": {"bad": "z", "good": "a"},
        "objects": {"bad": "no", "good": "yes"},
    }[kind]
    labels = np.array([names[label] for label in y], dtype=object if kind == "objects" else None)
    plain = {"method": "zero-shot", "settings": None, "prompt": "Mood of {text}: [answer]"}
    made = classifier(**plain, words={names["bad"]: "bad", names["good"]: ["good", "fine"]}).fit(x, labels)
    assert made.classes_.tolist() == sorted(names.values())
    predicted = made.predict(x[:9])
    assert predicted.dtype == labels.dtype
    probabilities = made.predict_proba(x[:9])
    assert predicted.tolist() == [made.classes_[at] for at in probabilities.argmax(1)]
    named = classifier(**plain, words={"bad": "bad", "good": ["good", "fine"]}).fit(x, y)
    columns = [made.classes_.tolist().index(names[label]) for label in ("bad", "good")]
    np.testing.assert_allclose(probabilities[:, columns], named.predict_proba(x[:9]), atol=1e-5)


def test_cross_validation(xy: Any) -> None:
    x, y = xy
    scores = cross_val_score(classifier(), x, y, cv=3)
    assert scores.shape == (3,)
    assert (scores >= 0).all()
    assert scores.mean() > 0.5


def test_in_a_pipeline_over_a_column_of_a_frame(xy: Any) -> None:
    import pandas as pd

    x, y = xy
    frame = pd.DataFrame({"text": x, "stars": 3})
    pick = FunctionTransformer(lambda found: found[["text"]])
    made = make_pipeline(pick, classifier()).fit(frame, pd.Series(y))
    assert made.predict(frame).tolist() == classifier().fit(x, y).predict(x).tolist()
    assert made.predict_proba(frame.head(3)).shape == (3, 2)


def test_a_grid_over_a_setting(xy: Any) -> None:
    x, y = xy
    grid = {"settings": [{**QUICK, "length": 1}, {**QUICK, "length": 3, "schedule.learning_rates": [0.1]}]}
    found = GridSearchCV(classifier(), grid, cv=2, refit=True).fit(x, y)
    assert found.best_params_ in [{"settings": some} for some in grid["settings"]]
    length = found.best_params_["settings"]["length"]
    assert found.best_estimator_.tuned_.record["settings"]["length"] == length
    assert len(found.predict(x[:4])) == 4


def test_the_seed_may_be_anything_that_scikit_learn_takes(xy: Any) -> None:
    x, y = xy
    one, same, other = (classifier(random_state=seed).fit(x, y).tuned_.prompt for seed in (1, np.int64(1), 2))
    assert one == same
    assert one != other
    quick = {"method": "zero-shot", "settings": None}
    state = np.random.RandomState(0)
    first, second = (classifier(**quick, random_state=state).fit(x, y).tuned_.record["seed"] for _ in range(2))
    assert first != second
    assert classifier(**quick, random_state=None).fit(x, y).tuned_.record["seed"] >= 0
    with pytest.raises(ValueError, match="cannot be used to seed"):
        classifier(**quick, random_state="x").fit(x, y)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ([["a", "b"], ["c", "d"]], ["x", "y"], "X of shape"),
        (["a", 3], ["x", "y"], "X\\[1\\] is 3"),
        (["a", None], ["x", "y"], "X\\[1\\] is None"),
        (["a", "b", "c"], ["x", "y"], "2 labels for 3 rows"),
        (["a", "b"], ["x", "x"], "at least two different labels"),
        (["a", "b", "c"], [0.5, 1.25, 2.75], "Unknown label type: continuous"),
    ],
)
def test_what_is_no_text_classification_is_told(x: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classifier().fit(x, y)
    assert issubclass(DataError, ValueError)


def test_a_fitted_model_is_saved_not_pickled(xy: Any, tmp_path: Any) -> None:
    x, y = xy
    made = classifier(method="zero-shot", settings=None)
    assert pickle.loads(pickle.dumps(made)).get_params() == made.get_params()  # noqa: S301  # our own, to show that it works
    made.fit(x, y)
    with pytest.raises(SettingsError, match=r"classifier\.tuned_\.save\(folder\)"):
        pickle.dumps(made)
    assert clone(made).get_params() == made.get_params()
    again = pegbox.load(made.tuned_.save(tmp_path / "prompt"))
    np.testing.assert_array_equal(again.predict_proba(x), made.predict_proba(x))


def test_clones_share_one_model(xy: Any) -> None:
    x, y = xy
    quick = classifier(method="zero-shot", settings=None)
    assert clone(quick).fit(x, y).tuned_.backbone is clone(quick).fit(x, y).tuned_.backbone
