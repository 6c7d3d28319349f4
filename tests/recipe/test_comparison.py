"""Comparisons: the seal on the test rows, equal terms, and cells that are read, gone on with, or run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegbox.artifact import load
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.rows import Rows, Sealed
from pegbox.errors import DataError, SettingsError
from pegbox.evaluate.record import Comparison
from pegbox.prompt import Prompt
from pegbox.recipe import methods
from pegbox.recipe.comparison import Plan, compare
from pegbox.recipe.methods import Method
from pegbox.recipe.run import default_prompt
from pegbox.reference.majority import Majority
from pegbox.task.classification import Classification
from pegbox.tune.budget import Budget

Moods = Callable[[int, int], Rows]
TASK = Classification(("bad", "good"))


def plan(*names: str, **changes: Any) -> Plan:
    return Plan(names, default_prompt(TASK), TASK, Budget(tokens=6_000), **changes)


class Run:
    """A comparison in a process of its own, as it were, with what was told of it."""

    def __init__(self, moods: Moods, folder: Path | None = None, stop: Callable[..., bool] | None = None) -> None:
        self.backbone = HuggingFaceBackbone(tiny())
        self.test = Sealed(moods(15, 3))
        self.train = moods(40, 1)
        self.dev: Rows | None = None
        self.folder = folder
        self.told: list[tuple[str, int, Any]] = []
        self._stop = stop

    def __call__(self, what: Plan) -> Comparison:
        return compare(what, self.backbone, self.train, self.test, self.dev, self.folder, self._listen, ("a note",))

    def _listen(self, method: str, seed: int, event: Any) -> None:
        self.told.append((method, seed, event))
        if self._stop is not None and self._stop(method, seed, event):
            raise KeyboardInterrupt

    def of(self, kind: str) -> list[tuple[str, int]]:
        return [(method, seed) for method, seed, event in self.told if event["event"] == kind]


# --- the seal -----------------------------------------------------------------------------------------------------------

SEEN: list[Any] = []


@dataclass(frozen=True)
class Spy:
    """Tunes nothing, and writes down everything that it is given."""

    def tune(self, prompt: Prompt, *given: Any, **more: Any) -> Prompt:
        SEEN.append((prompt, *given, more))
        return prompt

    def fit(self, *given: Any, **more: Any) -> Any:
        SEEN.append((*given, more))
        return Majority().fit(*given, **more)


def strings_within(value: Any, seen: set[int]) -> set[str]:
    """Every text that can be reached from a value through attributes, items and closures."""
    if isinstance(value, str):
        return {value}
    if id(value) in seen or isinstance(value, int | float | bytes | np.ndarray | type(None) | type):
        return set()
    seen.add(id(value))
    parts: list[Any] = []
    if isinstance(value, dict):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    elif callable(value):
        parts = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
    if type(value).__module__.startswith("pegbox"):
        parts += list(vars(value).values()) if hasattr(value, "__dict__") else []
    return set().union(*(strings_within(part, seen) for part in parts)) if parts else set()


@pytest.mark.parametrize("predictor", [False, True])
def test_tuning_code_never_receives_test_rows(moods: Moods, monkeypatch: pytest.MonkeyPatch, predictor: bool) -> None:
    SEEN.clear()
    monkeypatch.setitem(methods.METHODS, "spy", Method("spy", "soft", "spies", Spy, predictor=predictor))
    made = Run(moods)
    made(plan("spy", seeds=2))
    assert len(SEEN) == 2
    for given in SEEN:
        backbone = next(value for value in given if isinstance(value, HuggingFaceBackbone))
        listener = given[-1]["trail"]._listen
        given[-1]["trail"]._listen = None  # the watcher's side of things, which no tuner calls for rows
        reached = strings_within([value for value in given if value is not backbone], set())
        given[-1]["trail"]._listen = listener
        assert set(moods(40, 1).column()) <= reached  # the search finds what is there
        assert not set(moods(15, 3).column()) & reached


def test_openings_are_counted_and_written_in_the_artifact(moods: Moods, tmp_path: Path) -> None:
    made = Run(moods, tmp_path)
    found = made(plan("majority", "zero-shot"))
    assert [opening["reason"] for opening in found.settings["test_openings"]] == [
        "a look at their labels alone, to see that all are known",
        "final scores of majority, seed 0",
        "final scores of zero-shot, seed 0",
        "the report's texts and labels",
    ]
    folder = next((tmp_path / "cells").glob("zero-shot-*")) / "prompt"
    tuned = load(folder)
    rows = moods(15, 3)
    assert tuned.evaluations == [
        {"rows_digest": rows.digest(), "rows": 15, "source": "rows", "reason": "compare", "opening": 1}
    ]
    np.testing.assert_array_equal(tuned.predict_proba(rows), found.cells[1].probabilities)


def reasons(found: Comparison) -> list[tuple[int, str]]:
    """The numbered openings for scores."""
    openings = found.settings["test_openings"]
    assert [one["count"] for one in openings] == list(range(1, len(openings) + 1))
    return [(one["count"], one["reason"]) for one in openings if one["reason"].startswith("final")]


def test_openings_outlive_the_process(moods: Moods, tmp_path: Path) -> None:
    def before_the_scores_are_kept(method: str, seed: int, event: Any) -> bool:
        return method == "zero-shot" and event["event"] == "end"

    with pytest.raises(KeyboardInterrupt):
        Run(moods, tmp_path, before_the_scores_are_kept)(plan("majority", "zero-shot"))
    (done,) = (tmp_path / "cells").glob("zero-shot-*")
    (done / "cell.json").unlink()  # as if killed a moment earlier
    with (tmp_path / "openings.jsonl").open("a") as file:
        file.write('{"rows_di')  # a line that a kill cut off
    found = Run(moods, tmp_path)(plan("majority", "zero-shot"))
    assert reasons(found) == [
        (2, "final scores of majority, seed 0"),
        (3, "final scores of zero-shot, seed 0"),
        (5, "final scores of zero-shot, seed 0"),
    ]
    assert [opening["opening"] for opening in load(done / "prompt").evaluations] == [1, 2]
    assert found.notes == ("a note",)  # nothing was scored but what the report shows


def test_rows_opened_for_other_settings_are_told(moods: Moods, tmp_path: Path) -> None:
    Run(moods, tmp_path)(plan("majority", "zero-shot"))
    changed = replace(plan("majority", "zero-shot"), prompt=default_prompt(TASK, "Sort it."))
    found = Run(moods, tmp_path)(changed)
    assert len(reasons(found)) == 4
    assert found.notes == (
        "a note",
        "the test rows were opened 2 times for scores outside this comparison (final scores of zero-shot, seed 0 and others): "
        "what was chosen by those scores makes these too good",
    )
    other = Run(moods, tmp_path)
    other.test = Sealed(moods(16, 3))
    assert (len(reasons(said := other(changed))), said.notes) == (2, ("a note",))  # other rows


def test_openings_from_before_the_comparison_are_told_and_written_once(moods: Moods, tmp_path: Path) -> None:
    made = Run(moods, tmp_path)
    made.test.open("curiosity")
    for _ in range(2):
        found = made(plan("majority"))
        assert [one["reason"] for one in found.settings["test_openings"]].count("curiosity") == 1
        assert found.notes[1].startswith("the test rows were opened once for scores outside this comparison (curiosity):")


def test_a_test_label_that_training_lacks_is_told_before_anything_is_run(moods: Moods) -> None:
    made = Run(moods)
    rows = moods(15, 3)
    assert rows.labels is not None
    made.test = Sealed(replace(rows, labels=(*rows.labels[:-1], "odd")))
    with pytest.raises(DataError, match="row 15 has the label 'odd'"):
        made(plan("majority"))
    assert made.told == []


# --- what is compared ---------------------------------------------------------------------------------------------------


def test_every_method_gets_the_same_rows_and_seeds(moods: Moods, monkeypatch: pytest.MonkeyPatch) -> None:
    SEEN.clear()
    for name in ("a", "b"):
        monkeypatch.setitem(methods.METHODS, name, Method(name, "soft", "spies", Spy))
    Run(moods)(plan("a", "b", seeds=2))
    (a0, a1, b0, b1) = [given[3:5] for given in SEEN]
    assert (a0, a1) == (b0, b1)
    assert a0 != a1
    assert {given[-1]["budget"] for given in SEEN} == {Budget(tokens=6_000)}
    draws = [given[-1]["rng"].random() for given in SEEN]
    assert draws[:2] == draws[2:]


def test_quick_methods_may_get_more_seeds() -> None:
    made = plan("soft", "zero-shot", seeds=3, tuning_seeds=1)
    assert made.cells() == [("zero-shot", 0), ("zero-shot", 1), ("zero-shot", 2), ("soft", 0)]
    assert len(plan("soft", "zero-shot", seeds=2).cells()) == 4


@pytest.mark.parametrize(
    ("names", "changes", "message"),
    [
        ((), {}, "different methods, at least one"),
        (("soft", "soft"), {}, "different methods, at least one"),
        (("soft",), {"seeds": 0}, "0 seeds"),
        (("sotf",), {}, "no method 'sotf'"),
        (("soft",), {"settings": {"soft": {"lenth": 3}}}, "did you mean 'length'"),
        (("soft",), {"settings": {"hybrid": {}}}, "settings for 'hybrid'"),
    ],
)
def test_a_plan_that_cannot_be_done_is_told_at_once(names: tuple[str, ...], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        plan(*names, **changes)


def test_cells_hold_scores_costs_and_prompts(moods: Moods) -> None:
    found = Run(moods)(plan("majority", "soft", settings={"soft": {"length": 3, "place": "after"}}))
    assert found.labels == ("bad", "good")
    assert found.texts == tuple(moods(15, 3).column())
    assert found.notes == ("a note",)
    majority, soft = found.cells
    assert (majority.kind, majority.prompt, majority.readable) == ("reference", "", False)
    assert (majority.spends, soft.spends) == (False, True)  # as the registry has it
    assert majority.cost.extra_tokens is None
    assert majority.probabilities.shape == (15, 2)
    assert soft.prompt.endswith(r"{text}[soft after 3]\nLabel: [answer]")
    assert not soft.readable
    assert soft.cost.trained_parameters == 3 * 64
    assert soft.cost.artifact_bytes is not None
    assert 3 * 64 * 4 < soft.cost.artifact_bytes < 3 * 64 * 4 + 5000
    assert soft.cost.tokens_backward > 0
    assert soft.cost.predict_ms_1 is not None
    assert soft.cost.predict_ms_1 > 0
    template = len("Classify the text as bad or good.\nText: " + "\nLabel: ")  # tokens are bytes here
    assert soft.cost.extra_tokens == pytest.approx(template - 2 + 3, abs=1)  # the spaces belong to text and answer
    assert list(soft.nearest) == ["after"]


# --- cells --------------------------------------------------------------------------------------------------------------


def same(one: Comparison, other: Comparison) -> None:
    """Equal but for clocks."""
    for a, b in zip(one.cells, other.cells, strict=True):
        assert (a.method, a.seed, a.prompt, a.nearest, a.notes, a.dev_accuracy) == (
            b.method,
            b.seed,
            b.prompt,
            b.nearest,
            b.notes,
            b.dev_accuracy,
        )
        np.testing.assert_array_equal(a.probabilities, b.probabilities)


def test_finished_cells_are_read_and_equal(moods: Moods, tmp_path: Path) -> None:
    first = Run(moods, tmp_path)
    one = first(plan("zero-shot", "soft"))
    again = Run(moods, tmp_path)
    other = again(plan("zero-shot", "soft"))
    assert again.of("begin") == []
    assert again.of("read") == [("zero-shot", 0), ("soft", 0)]
    same(one, other)
    assert one.cells[1].cost == other.cells[1].cost
    assert one.cells[1].trail == other.cells[1].trail
    assert again.backbone.spent.forward == HuggingFaceBackbone(tiny()).spent.forward  # nothing was read anew


@pytest.mark.parametrize("what", ["settings", "budget", "prompt", "words", "train", "test", "dev", "model"])
def test_what_could_change_a_result_makes_a_new_cell(moods: Moods, tmp_path: Path, what: str) -> None:
    Run(moods, tmp_path)(plan("soft", settings={"soft": {"length": 2, "place": "after"}}))
    made, changed = Run(moods, tmp_path), plan("soft", settings={"soft": {"length": 2, "place": "after"}})
    if what == "settings":
        changed = plan("soft", settings={"soft": {"length": 3, "place": "after"}})
    elif what == "budget":
        changed = replace(changed, budget=Budget(tokens=6_001))
    elif what == "prompt":
        changed = replace(changed, prompt=default_prompt(TASK, "Sort it."))
    elif what == "words":
        changed = replace(changed, task=Classification(("bad", "good"), {"bad": ("awful",), "good": ("good",)}))
    elif what == "train":
        made.train = moods(41, 1)
    elif what == "test":
        made.test = Sealed(moods(16, 3))
    elif what == "dev":
        made.dev = moods(9, 8)
    else:
        made.backbone = HuggingFaceBackbone(tiny(seed=1))
    made(changed)
    assert made.of("begin") == [("soft", 0)]
    assert len(list((tmp_path / "cells").iterdir())) == 2


def test_another_vector_in_the_starting_prompt_makes_a_new_cell(moods: Moods, tmp_path: Path) -> None:
    from pegbox.prompt import parse

    open_ = parse("[soft mine 1] {text} [answer]")
    for value in (0.1, 0.2):
        made = Run(moods, tmp_path)
        made(replace(plan("zero-shot"), prompt=open_.fill(mine=np.full((1, 64), value, np.float32))))
        assert made.of("begin") == [("zero-shot", 0)]


STOPS: dict[str, Callable[[str, int, Any], bool]] = {
    "at the beginning": lambda method, seed, event: event["event"] == "begin",
    "in the first cell that tunes": lambda method, seed, event: method == "soft" and event.get("step") == 3,
    "in the second cell that tunes": lambda method, seed, event: (method, seed) == ("soft", 1) and event["event"] == "step",
    "before a cell's test rows": lambda method, seed, event: (method, seed) == ("few-shot", 1) and event["event"] == "test",
    "after a cell": lambda method, seed, event: (method, seed) == ("soft", 0) and event["event"] == "end",
}


@pytest.fixture(scope="module")
def whole(moods: Moods) -> Comparison:
    return Run(moods)(plan(*RESUMED, **RESUMED_WITH))


RESUMED = ("zero-shot", "few-shot", "soft")
RESUMED_WITH: dict[str, Any] = {
    "seeds": 2,
    "settings": {"soft": {"length": 2, "place": "after"}, "few-shot": {"shots": (2,), "draws": 2, "dev_rows": 6}},
}


@pytest.mark.parametrize("when", STOPS)
def test_an_interrupted_comparison_goes_on_and_ends_as_a_whole_one(
    moods: Moods, tmp_path: Path, whole: Comparison, when: str
) -> None:
    cut = Run(moods, tmp_path, STOPS[when])
    with pytest.raises(KeyboardInterrupt):
        cut(plan(*RESUMED, **RESUMED_WITH))
    again = Run(moods, tmp_path)
    found = again(plan(*RESUMED, **RESUMED_WITH))
    same(whole, found)
    assert again.of("read") == cut.of("end")
    for a, b in zip(whole.cells, found.cells, strict=True):
        steps = [[(e["step"], e["loss"], e["tokens"]) for e in cell.trail if e["event"] == "step"] for cell in (a, b)]
        assert steps[0] == steps[1]


def test_without_a_folder_nothing_is_left(moods: Moods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Run(moods)(plan("zero-shot"))
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_that_several_seeds_end_with_reads_the_test_rows_once_and_each_is_calibrated_on_its_own_rows(
    moods: Moods, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound: list[int] = []
    whole = Classification.bind

    def counted(self: Classification, prompt: Any, backbone: Any, rows: Rows, loss: Any = "labels") -> Any:
        bound.append(len(rows))
        return whole(self, prompt, backbone, rows, loss)

    monkeypatch.setattr(Classification, "bind", counted)
    made = Run(moods)
    cells = made(plan("zero-shot", seeds=2)).cells
    assert bound.count(len(made.test)) == 1
    assert cells[0].prompt == cells[1].prompt
    assert not np.array_equal(cells[0].probabilities, cells[1].probabilities)


@pytest.mark.parametrize("method", ["zero-shot", "few-shot-nearest"])
def test_test_texts_that_are_cut_are_counted_in_the_report(moods: Moods, method: str) -> None:
    made, rows = Run(moods), moods(15, 3)
    made.test = Sealed(replace(rows, fields=({"text": "long " * 1000}, *rows.fields[1:])))
    (cell,) = made(plan(method)).cells
    assert "1 of 15 test texts were cut to the model's context" in cell.notes
