"""Prompts as scikit-learn estimators."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from pegbox.api import open_backbone, tune
from pegbox.artifact import Tuned
from pegbox.backbone.loaded_backbone import LoadedBackbone
from pegbox.data.rows import Rows
from pegbox.errors import DataError, SettingsError

_LOADED: dict[tuple[str, str, str], LoadedBackbone] = {}
"""Models by name, dtype and device: cross-validation clones estimators, and each clone would load the model anew."""


class PromptClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no annotations
    """A text classifier whose `fit` tunes a prompt. X is a list, an array or a column of strings, y of labels.

    Settings:
        method, model, prompt, words, budget, calibration, channel, settings, dtype, device: as in `pegbox.tune`.
        random_state: the seed; None draws one, and a RandomState gives one at each fit.

    After `fit`: `classes_` (sorted labels, in y's own type) and `tuned_` (the tuned prompt). `n_features_in_` is not set, for
    texts are no features. To keep a fitted classifier, save `tuned_`: the model itself is not pickled.
    """

    def __init__(
        self,
        method: str = "hybrid",
        model: str = "smollm2",
        prompt: str | None = None,
        words: Any = None,
        budget: str = "5m",
        calibration: str = "batch",
        channel: bool = False,
        settings: Any = None,
        random_state: Any = 0,
        dtype: str = "auto",
        device: str = "auto",
    ) -> None:
        self.method = method
        self.model = model
        self.prompt = prompt
        self.words = words
        self.budget = budget
        self.calibration = calibration
        self.channel = channel
        self.settings = settings
        self.random_state = random_state
        self.dtype = dtype
        self.device = device

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:  # noqa: N803  # scikit-learn's name
        """Tunes a prompt on these texts and labels."""
        check_classification_targets(y)
        labels = column_or_1d(np.asarray(y))
        self.classes_ = np.unique(labels)
        key = (self.model, self.dtype, self.device)
        if key not in _LOADED:
            _LOADED[key] = open_backbone(*key)
        self.tuned_: Tuned = tune(
            Rows.from_texts(_texts(X), [str(label) for label in labels], "X"),
            method=self.method,
            model=_LOADED[key],
            prompt=self.prompt,
            words=self.words,
            budget=self.budget,
            seed=self._seed(),
            calibration=self.calibration,  # type: ignore[arg-type]  # checked by the task
            channel=self.channel,
            settings=self.settings,
        )
        order = {label: at for at, label in enumerate(self.tuned_.labels)}
        self._columns = [order[str(label)] for label in self.classes_]
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:  # noqa: N803
        """Probabilities, columns in the order of `classes_`. Shape: [B, C]."""
        check_is_fitted(self, "tuned_")
        return self.tuned_.predict_proba(Rows.from_texts(_texts(X), source="X"))[:, self._columns]

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The likeliest labels, in y's own type. Shape: [B]."""
        at = self.predict_proba(X).argmax(axis=1)
        found: NDArray[Any] = self.classes_[at]
        return found

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))

    def __getstate__(self) -> Any:
        if hasattr(self, "tuned_"):
            raise SettingsError(
                "pickling or copying a fitted PromptClassifier, which holds a language model",
                "the tuned prompt saved on its own",
                "say classifier.tuned_.save(folder), and later pegbox.load(folder)",
            )
        return super().__getstate__()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        return tags


def _texts(values: ArrayLike) -> list[str]:
    flat = np.asarray(values, dtype=object)
    if flat.ndim == 2 and flat.shape[1] == 1:  # a single text column, as a Pipeline may pass it
        flat = flat[:, 0]
    if flat.ndim != 1:
        raise DataError(f"X of shape {flat.shape}", "one text for each row: shape (rows,)", "pass the text column alone")
    if bad := [at for at, text in enumerate(flat) if not isinstance(text, str)]:
        raise DataError(f"X[{bad[0]}] is {flat[bad[0]]!r}", "a string", "convert or drop the row")
    return [str(text) for text in flat]
