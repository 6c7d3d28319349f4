"""Several labels for a text: what methods tune, what predicts, and what is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegbox import artifact
from pegbox.api import compare, evaluate, tune
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Data, Rows, Sealed
from pegbox.errors import DataError, SettingsError
from pegbox.prompt import format, parse
from pegbox.recipe.methods import for_task
from pegbox.reference.aims import aim_of, whole_texts
from pegbox.reference.tfidf import TfIdf
from pegbox.task.classification import BoundClassification, Classification
from pegbox.task.entry import Asked
from pegbox.task.long import Long
from pegbox.task.many_labels import LabelChoice, MultiLabel, SetPredictor, SetReference
from pegbox.task.multilabel import make
from pegbox.tune.budget import Budget
from pegbox.tune.trail import Trail

PROMPT = parse("Sort. {text} It is [answer]")
TELLING = {"fee": "pay", "law": "court", "leave": "end"}


def clauses(count: int, seed: int) -> Rows:
    """Texts in which each of three labels has its word, in any company; every fifth has none."""
    rng = np.random.default_rng(seed)
    gold = [[] if n % 5 == 0 else sorted(rng.choice(list(TELLING), rng.integers(1, 3), replace=False)) for n in range(count)]
    texts = [f"we {' '.join(TELLING[label] for label in own)} no {seed * 1000 + n}" for n, own in enumerate(gold)]
    return Rows(tuple({"text": text} for text in texts), gold=tuple([str(label) for label in own] for own in gold))


@pytest.fixture(scope="module")
def backbone() -> HuggingFaceBackbone:
    return HuggingFaceBackbone(tiny())


def test_a_text_stands_among_the_rows_once_with_each_of_its_labels() -> None:
    task = MultiLabel(("a", "b"), none="none")
    rows = Rows(({"text": "x"}, {"text": "y"}, {"text": "z"}), gold=(["b", "a"], [], ["b"]))
    choice, train, dev = task.tuned_as(rows, rows.take([2]))
    assert choice.labels == ("a", "b", "none")
    assert choice.words["none"] == ("none",)
    assert list(zip(train.column(), train.answers(), strict=True)) == [("x", "b"), ("x", "a"), ("y", "none"), ("z", "b")]
    assert dev.answers() == ("b",)


def sparse(bare: int, labelled: int) -> Rows:
    """Rows of the tuned classification of which most have no label."""
    labels = ["none"] * bare + ["a"] * labelled
    return Rows.from_texts([f"{label} {at}" for at, label in enumerate(labels)], labels)


@pytest.mark.parametrize(("bare", "labelled", "sizes"), [(9, 3, [3, 9]), (4, 3, [3, 4]), (3, 3, [6]), (3, 0, [3]), (0, 2, [2])])
def test_texts_with_a_label_are_a_stratum_where_they_are_fewer(bare: int, labelled: int, sizes: list[int]) -> None:
    rows = sparse(bare, labelled)
    strata = MultiLabel(("a", "b"), none="none").choice.strata(rows)
    assert [len(stratum) for stratum in strata] == sizes
    assert sorted(at for stratum in strata for at in stratum) == list(range(len(rows)))
    if len(strata) == 2:
        assert {rows.answers()[at] for at in strata[0]} == {"a"}


@pytest.mark.parametrize(("bare", "labelled", "left"), [(200, 3, 61), (200, 40, 40), (60, 3, 60), (90, 0, 90), (0, 9, 0)])
def test_steps_are_chosen_by_all_dev_rows_with_a_label_and_some_without(bare: int, labelled: int, left: int) -> None:
    rows = sparse(bare, labelled)
    looked_at = MultiLabel(("a", "b"), none="none").choice.looked_at(rows)
    assert looked_at.answers().count("a") == labelled
    assert looked_at.answers().count("none") == left
    assert looked_at.numbers == tuple(sorted(set(looked_at.numbers)))
    if left < bare:
        assert max(looked_at.numbers[:left]) > bare - bare / left - 1  # spread over them all


@pytest.mark.parametrize("method", ["soft", "deep", "lora"])
def test_descents_draw_from_strata_and_go_by_some_dev_rows(
    method: str, backbone: HuggingFaceBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = clauses(20, 0)
    few = replace(rows, gold=tuple(own if at < 4 else [] for at, own in enumerate(rows.gold or ())))
    task, prompt = make(few, Asked())
    tuned, train, dev = task.tuned_as(few, few)
    others = dev.take([1, 2, 3])
    monkeypatch.setattr(LabelChoice, "looked_at", lambda _, rows: others if len(rows) else rows)
    read: list[int] = []
    losses = BoundClassification.losses

    def noted(self: BoundClassification, index: Any, *args: Any) -> Any:
        assert self.gold is not None
        if self.size > 16:  # not the few rows that a step's cost is measured on
            read.extend(int(self.gold[at]) for at in index)
        return losses(self, index, *args)

    monkeypatch.setattr(BoundClassification, "losses", noted)
    bound: list[tuple[int, ...]] = []
    binds = Classification.bind

    def bind(self: Classification, prompt: Any, backbone: Any, rows: Rows, *args: Any) -> Any:
        bound.append(tuple(sorted(set(rows.numbers))))
        return binds(self, prompt, backbone, rows, *args)

    monkeypatch.setattr(Classification, "bind", bind)
    maker, spend = for_task(method, "multilabel").make(), {"budget": Budget.parse("20ktokens"), "trail": Trail(None)}
    learn = maker.fit if method == "lora" else maker.tune
    learn(prompt, tuned, backbone, train, dev, rng=np.random.default_rng(0), **spend)
    assert tuple(sorted(set(others.numbers))) in bound
    assert set(read) == set(tuned.gold(train))
    drawn = {"lora": (4, 8)}.get(method, (4, 4))  # the four texts with a label, and half of a batch
    share = np.mean([tuned.labels[label] != "none" for label in read])
    assert share == pytest.approx(drawn[0] / sum(drawn), abs=0.02)


def test_where_every_training_text_has_a_label_there_is_none_for_no_label() -> None:
    task, start = make(Rows(({"text": "x"}, {"text": "y"}), gold=(["b", "a"], ["b"])), Asked())
    assert task.choice.labels == ("a", "b")
    assert format(start) == r"Classify the text as a or b.\nText: {text}\nLabel: [answer]"
    assert task.parted(Rows(({"text": "w"},), gold=([],))).answers() == ()
    named, start = make(Rows(({"text": "x"}, {"text": "y"}), gold=(["b", "None"], [])), Asked())
    assert named.none == "no label"
    assert format(start) == r"Classify the text as None, b or no label.\nText: {text}\nLabel: [answer]"


def test_unknown_labels_are_told_with_their_row() -> None:
    with pytest.raises(DataError, match="rows, row 2 has the label 'c'\n  expected: some of a, b"):
        MultiLabel(("a", "b")).sets(Rows(({"text": "x"}, {"text": "y"}), gold=(["a"], ["b", "c"])))
    with pytest.raises(DataError, match="rows has no labels"):
        MultiLabel(("a", "b")).sets(Rows.from_texts(["x"]))
    with pytest.raises(SettingsError, match="words for 'c'"):
        MultiLabel(("a", "b"), {"c": ("see",)})


def test_labels_are_given_from_their_thresholds_on() -> None:
    class Shares:
        prompt, parameters, nbytes = None, 7, 100

        def predict_proba(self, rows: Rows) -> Any:
            return np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], np.float32)

    found = SetReference(MultiLabel(("a", "b"), none="none"), Shares(), (0.4, 0.25))
    assert found.answers(Rows.from_texts(["x", "y"])) == [("a", "b"), ()]
    assert (found.parameters, found.nbytes) == (9, 116)
    assert [found.task.show(one) for one in (("a", "b"), ())] == ["a, b", "(no label)"]


def test_thresholds_are_chosen_on_dev_rows_alone(backbone: HuggingFaceBackbone) -> None:
    task = MultiLabel(tuple(TELLING), none="none")
    train, dev = clauses(40, 1), clauses(40, 2)
    said: list[str] = []
    found = task.settled(task.predictor(PROMPT, backbone, train), train, dev, said.append)
    assert isinstance(found, SetPredictor)
    assert len(found.thresholds) == 3
    main = task.dev_score(found, dev)
    for at in range(3):  # no other threshold of a label gives its own F1 a better value
        scores, gold = found.scores(dev)[:, at], task.sets(dev)[:, at]
        best = max(2 * (gold & (scores >= cut)).sum() / ((scores >= cut).sum() + gold.sum()) for cut in scores)
        own = scores >= found.thresholds[at]
        assert 2 * (gold & own).sum() / (own.sum() + gold.sum()) == pytest.approx(best)
    assert 0 < main <= 1


def test_tfidf_is_fitted_to_each_label_by_itself(backbone: HuggingFaceBackbone) -> None:
    task = MultiLabel(tuple(TELLING), none="none")
    train, dev = clauses(80, 1), clauses(40, 2)
    choice, rows, judges = task.tuned_as(train, dev)
    assert whole_texts(choice, rows)[0].numbers == train.numbers
    trail = Trail()
    spend: dict[str, Any] = {"budget": Budget(tokens=1000), "rng": np.random.default_rng(0), "trail": trail}
    fitted = TfIdf(grams=("words",)).fit(PROMPT, choice, backbone, rows, judges, **spend)
    found = task.settled(task.around(fitted, backbone, train), train, dev, print)
    test = clauses(60, 3)
    assert task.dev_score(found, test) > 0.95
    shares = fitted.predict_proba(test)
    assert shares.shape == (60, 4)
    assert shares[:, :3].sum(1).max() > 1.5  # a text with two labels has two likely ones
    np.testing.assert_allclose(shares[:, 3], np.prod(1 - shares[:, :3], axis=1), rtol=1e-4)


def test_a_label_that_no_text_lacks_is_always_given() -> None:
    task = MultiLabel(("a", "b"))
    rows = Rows(({"text": "x"}, {"text": "y"}), gold=(["a"], ["a", "b"]))
    choice, parted, _ = task.tuned_as(rows, rows)
    fitted = aim_of(choice, *whole_texts(choice, parted, parted)).learned(np.eye(2), 1.0)
    assert fitted.probabilities(np.eye(2))[:, 0].tolist() == [1, 1]
    assert fitted.parameters == 1 + 3


def test_tuned_saved_loaded_and_evaluated(tmp_path: Path, backbone: HuggingFaceBackbone) -> None:
    rows, test = clauses(60, 1), clauses(30, 3)
    settings = {"schedule.steps": 2, "schedule.learning_rates": [0.1]}
    tuned = tune(rows, task="multilabel", method="soft", model=backbone, budget=Budget(tokens=200_000), settings=settings)
    asked = [row["text"] for row in test]
    answers = tuned.predict(asked)
    assert all(set(own) <= set(TELLING) for own in answers)
    place = tuned.save(tmp_path / "prompt")
    again = artifact.load(place, backbone)
    assert again.predictor.thresholds == tuned.predictor.thresholds
    assert again.predict(asked) == answers
    assert again.task == tuned.task
    found = evaluate(again, test)
    assert list(found.scores)[:2] == ["macro_f1", "micro_f1"]  # type: ignore[union-attr]
    assert {one.name for one in found.parts} == set(TELLING)  # type: ignore[union-attr]


def test_a_damaged_list_of_thresholds_is_refused(backbone: HuggingFaceBackbone) -> None:
    task = MultiLabel(("a", "b"), long=Long("tail", 8), none="none")
    assert MultiLabel.from_json(task.to_json()) == task
    state = SetPredictor(task, task.choice.predictor(PROMPT, backbone, _few())).state()
    assert task.restored(PROMPT, backbone, state).thresholds == (0.5, 0.5)
    with pytest.raises(ValueError, match="1 thresholds for 2 labels"):
        task.restored(PROMPT, backbone, {**state, "thresholds": [0.5]})


def _few() -> Rows:
    return Rows.from_texts(["x", "y", "z"], ["a", "b", "none"])


def test_long_texts_are_pooled_as_their_labels_classification_pools_them(backbone: HuggingFaceBackbone) -> None:
    rows = clauses(30, 1)
    rows = replace(rows, fields=tuple({"text": f"{'and so on ' * 4}{row['text']}"} for row in rows))
    task = MultiLabel(tuple(TELLING), long=Long("chunks", 24), none="none")
    said: list[str] = []
    found = task.settled(task.predictor(PROMPT, backbone, rows), rows, rows, said.append)
    assert found.task.long.pool in ("mean", "max", "average")
    assert found.inner.task.long == found.task.long
    assert said[0].startswith(f"pieces are pooled by {found.task.long.pool}, the best of")
    assert found.told(rows, "texts")[0].startswith("30 of 30 texts were too long and read in ")


def test_a_comparison_ranks_by_macro_f1(backbone: HuggingFaceBackbone) -> None:
    data = Data(clauses(60, 1), Sealed(clauses(40, 3)))
    report = compare(
        data, task="multilabel", methods=["majority", "tfidf", "zero-shot"], model=backbone, budget=Budget(tokens=100_000)
    )
    assert report.best == "tfidf"
    assert {line.method for line in report.summary.methods} == {"majority", "tfidf", "zero-shot"}
