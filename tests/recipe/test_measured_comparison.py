"""A task other than classification through the same doors: compare, tune, keep, load, predict, evaluate, and the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.spotting import ENTRY, Spotting

from pegbox import api
from pegbox.artifact import load, read_task
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.cli import main
from pegbox.data.read import read
from pegbox.data.rows import Rows, Sealed
from pegbox.errors import ArtifactError, DataError, SettingsError
from pegbox.evaluate.scores import Evaluation, MeasuredEvaluation
from pegbox.recipe.comparison import Plan, compare
from pegbox.recipe.methods import METHODS, TASK_DEFAULTS, Method, defaults
from pegbox.task import registry
from pegbox.task.classify import default_prompt
from pegbox.tune.budget import Budget

Moods = Callable[[int, int], Rows]
TASK = Spotting(("bad", "good"), 0.4)
QUICK = {"soft": {"length": 2, "place": "after"}}


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.TASKS, "multilabel", ("which moods", lambda: ENTRY))


def plan(*names: str, **changes: Any) -> Plan:
    return Plan(names, default_prompt(TASK.single), TASK, Budget(tokens=5_000), **changes)


def run(what: Plan, backbone: HuggingFaceBackbone, moods: Moods, folder: Path, told: list[Any] | None = None) -> Any:
    heard = [] if told is None else told
    watch = lambda method, seed, event: heard.append((method, seed, event))
    return compare(what, backbone, moods(40, 1), Sealed(moods(15, 3)), None, folder, watch, ())


def test_a_comparison_holds_sums_and_outputs(tiny_backbone: HuggingFaceBackbone, moods: Moods, tmp_path: Path) -> None:
    told: list[Any] = []
    found = run(plan("majority", "soft", settings=QUICK), tiny_backbone, moods, tmp_path, told)
    majority, soft = found.cells
    # Of 15 rows 10 are good, and good is what is always said (its share is 2/3, above the threshold; bad's is below).
    assert found.answers == moods(15, 3).answers()
    assert majority.statistics["spot_f1"].sum(0).tolist() == [10, 15, 15]
    assert set(majority.outputs) == {"good"}
    assert majority.breakdown["bad"]["spot_f1"].sum(0).tolist() == [0, 0, 5]
    assert (found.measures, found.labels, soft.probabilities.shape) == (TASK.measures, (), (15, 0))
    assert soft.prompt
    assert soft.cost.artifact_bytes
    assert soft.cost.extra_tokens
    assert soft.cost.predict_ms_1
    end = next(event for method, _, event in told if method == "majority" and event["event"] == "end")
    assert (end["score"], end["measure"]) == (2 / 3, "spotting F1")
    assert found.settings["task"] == {"name": "multilabel", "labels": ["bad", "good"], "threshold": 0.4}
    # The next call reads what is there.
    again: list[Any] = []
    second = run(plan("majority", "soft", settings=QUICK), tiny_backbone, moods, tmp_path, again)
    assert [event["event"] for _, _, event in again] == ["read", "read"]
    for one, other in zip(found.cells, second.cells, strict=True):
        assert (one.statistics["spot_f1"] == other.statistics["spot_f1"]).all()
        assert (one.breakdown["good"]["spot_f1"] == other.breakdown["good"]["spot_f1"]).all()
        assert one.outputs == other.outputs
    # The prompt that was tuned is kept, with its task, and answers as it did.
    kept = load(next(tmp_path.glob("cells/soft-*/prompt")), tiny_backbone)
    assert kept.task == TASK
    outputs = kept.predict(moods(15, 3))
    assert tuple(TASK.show(output) for output in outputs) == soft.outputs
    assert kept.record["scores"].keys() == {"dev_spot_f1"}


def test_slices_do_not_change_which_cells_are_run(tiny_backbone: HuggingFaceBackbone, moods: Moods, tmp_path: Path) -> None:
    found = run(plan("majority"), tiny_backbone, moods, tmp_path)
    test = replace(moods(15, 3), groups=tuple("ab"[i % 2] for i in range(15)))
    told: list[Any] = []
    sliced = compare(
        plan("majority", group="kind"), tiny_backbone, moods(40, 1), Sealed(test), None, tmp_path,
        lambda *event: told.append(event), (),
    )  # fmt: skip
    assert [event["event"] for _, _, event in told] == ["read"]
    assert (sliced.settings["group"], sliced.groups) == ("kind", test.groups)
    assert (sliced.cells[0].statistics["spot_f1"] == found.cells[0].statistics["spot_f1"]).all()


def test_a_method_that_cannot_do_the_task_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="few-shot-mmr for --task generate"):
        replace(plan("few-shot-mmr"), task=_Named("generate"))
    monkeypatch.setitem(METHODS, "crf", Method("crf", "reference", "", lambda: None, tasks=("tag",), whole=True))
    with pytest.raises(SettingsError, match="crf for --task multilabel"):
        plan("crf")


class _Named:
    def __init__(self, name: str) -> None:
        self.name = name


def test_defaults_are_those_that_can_do_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    assert defaults("classify")[0] == "majority"
    monkeypatch.setitem(TASK_DEFAULTS, "tag", ("zero-shot", "soft"))
    assert defaults("tag") == ("zero-shot", "soft")


def test_tuned_for_a_task_kept_and_used(tiny_backbone: HuggingFaceBackbone, moods: Moods, tmp_path: Path) -> None:
    made = api.tune(
        moods(40, 1), task="multilabel", task_settings={"threshold": "0.3"}, method="soft", model=tiny_backbone,
        budget="5ktokens", settings=QUICK["soft"],
    )  # fmt: skip
    assert made.task == Spotting(("bad", "good"), 0.3)
    assert 0 <= made.record["scores"]["dev_spot_f1"] <= 1
    loaded = load(made.save(tmp_path / "p"), tiny_backbone)
    assert loaded.predict(["a lovely day", "a dull day"]) == made.predict(["a lovely day", "a dull day"])
    assert read_task(tmp_path / "p") == made.task
    with pytest.raises(SettingsError, match="a prompt for multilabel"):
        loaded.predict_proba(["a"])
    rows = Rows(
        tuple({"text": row["text"], "lang": "de" if n < 4 else "en"} for n, row in enumerate(moods(20, 5))),
        moods(20, 5).answers(),
    )
    found = api.evaluate(loaded, rows, group="lang")
    assert isinstance(found, MeasuredEvaluation)
    assert [part.name for part in found.parts] == ["bad", "good"]
    assert {one.name: one.rows for one in found.slices} == {"de": 4, "en": 16}
    sums = made.task.statistics(made.predict(rows), rows)["spot_f1"].sum(0)
    assert found.scores["spot_f1"].value == pytest.approx(2 * sums[0] / (sums[1] + sums[2]))
    assert loaded.evaluations[-1]["measure"] == "spot_f1"
    assert found.as_dict()["slices"]["de"]["few"] is True
    assert any("were there in tuning" in note for note in api.evaluate(loaded, moods(40, 1)).notes)


def test_an_artifact_of_an_unknown_task_is_refused(moods: Moods, tiny_backbone: HuggingFaceBackbone, tmp_path: Path) -> None:
    made = api.tune(moods(30, 1), task="multilabel", method="zero-shot", model=tiny_backbone, budget="5ktokens")
    path = made.save(tmp_path / "p")
    content = json.loads((path / "prompt.json").read_text(encoding="utf-8"))
    (path / "prompt.json").write_text(json.dumps({**content, "task": "juggle"}), encoding="utf-8")
    with pytest.raises(ArtifactError, match="no task 'juggle'"):
        read_task(path)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="did you mean 'classify'"):
        api.tune([("a", "x"), ("b", "y")], task="clasify")


def test_a_classification_by_group(moods: Moods, tiny_backbone: HuggingFaceBackbone) -> None:
    rows = [
        {"text": row["text"], "label": label, "lang": "de" if n % 3 else "en"}
        for n, (row, label) in enumerate(zip(moods(60, 1), moods(60, 1).answers(), strict=True))
    ]
    chosen = {"methods": ["majority", "zero-shot"], "model": tiny_backbone, "budget": "5ktokens"}
    report = api.compare(rows, text="text", label="label", group="lang", **chosen)
    plain = api.compare(read([{k: v for k, v in r.items() if k != "lang"} for r in rows], "text", "label"), **chosen)
    assert {one["slice"] for one in report.slice_table()} == {"de", "en"}
    # an artifact's manifest holds seconds, which take one digit more or less
    drop = {"predict_ms_1", "predict_ms_32", "tune_seconds", "peak_memory_bytes", "artifact_bytes"}
    for one, other in zip(report.table(), plain.table(), strict=True):
        assert {k: v for k, v in one.items() if k not in drop} == {k: v for k, v in other.items() if k not in drop}
    with pytest.raises(DataError, match="region"):
        api.compare(rows, text="text", label="label", group="region", **chosen)


def test_the_commands(moods: Moods, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.csv"
    told = zip(moods(60, 1).column(), moods(60, 1).answers(), strict=True)
    lines = [f"{text},{label},{'de' if n % 3 else 'en'}" for n, (text, label) in enumerate(told)]
    path.write_text("text,label,lang\n" + "\n".join(lines) + "\n", encoding="utf-8")
    common = ["--task", "multilabel", "--task-set", "threshold=0.4", "--model", "tiny", "--budget", "4ktokens"]
    main(["compare", str(path), "--methods", "majority,zero-shot", "--group", "lang", "--out", str(tmp_path / "run"), *common])
    out = capsys.readouterr().out
    assert "spotting F1" in out
    assert "by lang" in out
    report = json.loads((tmp_path / "run/report.json").read_text(encoding="utf-8"))
    assert report["comparison"]["settings"]["task"]["threshold"] == 0.4
    assert "task_set" in (tmp_path / "run/recipe.toml").read_text(encoding="utf-8")
    prompt = str(tmp_path / "p")
    main(["tune", str(path), "--method", "zero-shot", "--out", prompt, *common])
    assert "spotting F1" in capsys.readouterr().out
    main(["evaluate", prompt, str(path), "--group", "lang"])
    out = capsys.readouterr().out
    assert "spotting precision" in out
    assert "de" in out
    main(["evaluate", prompt, str(path), "--json", "--group", "lang"])
    assert set(json.loads(capsys.readouterr().out)["slices"]) == {"de", "en"}
    main(["show", prompt])
    assert "task: multilabel" in capsys.readouterr().out
    main(["predict", prompt, str(path), "--text", "text", "--json"])
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert set(first["predicted"]) <= {"bad", "good"}
    main(["predict", prompt, str(path), "--text", "text"])
    assert capsys.readouterr().out.splitlines()[0] == "row,text,predicted"


def test_classification_by_group_in_the_commands(moods: Moods, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.csv"
    told = zip(moods(40, 1).column(), moods(40, 1).answers(), strict=True)
    lines = [f"{text},{label},{'de' if n % 3 else 'en'}" for n, (text, label) in enumerate(told)]
    path.write_text("text,label,lang\n" + "\n".join(lines) + "\n", encoding="utf-8")
    made = api.tune(moods(30, 2), method="zero-shot", model="tiny", budget="4ktokens")
    made.save(tmp_path / "p")
    main(["evaluate", str(tmp_path / "p"), str(path), "--json", "--group", "lang"])
    found = json.loads(capsys.readouterr().out)["slices"]
    assert found["de"]["rows"] == 26
    assert set(found["de"]) == {"rows", "few", "accuracy", "macro_f1"}
    rows = Rows.from_texts(moods(40, 1).column(), moods(40, 1).answers())
    plain = api.evaluate(made, rows)
    assert isinstance(plain, Evaluation)
    right = np.array(made.predict(rows)) == np.array(rows.answers())
    assert found["de"]["accuracy"]["value"] == pytest.approx(right[[n % 3 != 0 for n in range(40)]].mean())
