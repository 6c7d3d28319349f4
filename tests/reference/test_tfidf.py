"""The TF-IDF reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pegbox.data.rows import Rows
from pegbox.errors import DataError
from pegbox.prompt import parse
from pegbox.reference.majority import Majority
from pegbox.reference.tfidf import TfIdf


def accuracy(predictor: Any, rows: Rows, setting: dict[str, Any]) -> float:
    return float((predictor.predict_proba(rows).argmax(axis=1) == setting["task"].gold(rows)).mean())


def test_it_beats_the_majority(setting: dict[str, Any], test_rows: Rows) -> None:
    majority = accuracy(Majority().fit(**setting), test_rows, setting)
    assert majority < 0.85
    assert accuracy(TfIdf().fit(**setting), test_rows, setting) == 1.0  # two words in each text name its label
    tried = setting["trail"].of("candidate")
    assert len(tried) == 3 * 3
    assert max(line["score"] for line in tried) == next(line["score"] for line in reversed(tried) if line["kept"])


def test_the_same_text_has_the_same_probabilities_in_any_company(setting: dict[str, Any], test_rows: Rows) -> None:
    found = TfIdf(grams=("word pairs and letters",), strengths=(1.0,)).fit(**setting)
    alone = np.concatenate([found.predict_proba(test_rows.take([at])) for at in range(5)])
    np.testing.assert_allclose(alone, found.predict_proba(test_rows)[:5], rtol=1e-5)


def test_one_letter_words_and_marks_are_counted(setting: dict[str, Any]) -> None:
    setting["train"] = Rows.from_texts(["a ?", "b !", "a ?", "b !"], ["good", "bad", "good", "bad"])
    setting["dev"] = setting["train"]
    found = TfIdf(grams=("words",), strengths=(100.0,)).fit(**setting)
    assert found.predict_proba(Rows.from_texts(["?", "!", "a", "b"])).argmax(axis=1).tolist() == [1, 0, 1, 0]
    assert found.parameters == 4 + 1
    assert found.nbytes == 5 * 8 + 4 * (1 + 8)  # four one-letter terms


def test_all_of_the_prompts_fields_are_read(setting: dict[str, Any]) -> None:
    rows = Rows(tuple({"a": "same", "b": word} for word in ("yes", "no", "yes", "no")), ("good", "bad", "good", "bad"))
    setting.update(prompt=parse("{a} {b} [answer]"), train=rows, dev=rows)
    found = TfIdf(grams=("words",), strengths=(100.0,)).fit(**setting)
    assert found.predict_proba(rows.take([0, 1])).argmax(axis=1).tolist() == [1, 0]


def test_empty_texts_are_an_error(setting: dict[str, Any]) -> None:
    setting["train"] = Rows.from_texts([" ", ""], ["good", "bad"], source="days.csv")
    with pytest.raises(DataError, match=r"2 empty texts in days\.csv"):
        TfIdf().fit(**setting)
