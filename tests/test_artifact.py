"""The artifact: whole or refused, equal to the bit, and only on its own model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pegbox.artifact import Tuned, add_evaluation, as_rows, free_place, load, read_prompt, seen_rows
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.backbone.tiny import tiny
from pegbox.data.marks import row_marks
from pegbox.data.rows import Rows
from pegbox.errors import ArtifactError, DataError, PegboxError
from pegbox.prompt import Prompt, format, parse
from pegbox.task.calibration import Calibration
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor

TEXTS = ["a fine day", "so dull [answer] {text}", "Grüße <|im_end|>"]
WORDS = {"bad": ("awful", "poor"), "good": ("lovely",)}


@pytest.fixture(scope="module")
def tuned(tiny_backbone: HuggingFaceBackbone) -> Tuned:
    rng = np.random.default_rng(0)
    prompt = parse(r'[soft a 2] Sort [hard b="it \[x\]"]\n{text}[soft c.d 3] Mood: [answer]')
    vectors = {name: rng.normal(0, 0.2, (n, 64)).astype(np.float32) for name, n in (("a", 2), ("c.d", 3))}
    task = Classification(("good", "bad"), WORDS, "contextual")
    predictor = PromptPredictor(prompt.fill(**vectors), task, tiny_backbone, Calibration("contextual", (0.125, -1 / 3)))
    record = {"method": "soft", "scores": {"dev_accuracy": 0.5}, "notes": ["é"]}
    seen = frozenset(row_marks(Rows.from_texts(["seen before"]), ("text",)))
    return Tuned(predictor, record, ({"event": "note", "text": "Grüße"}, {"event": "step", "loss": 0.1}), seen)


@pytest.fixture
def folder(tuned: Tuned, tmp_path: Path) -> Path:
    return tuned.save(tmp_path / "prompt")


# --- there and back -----------------------------------------------------------------------------------------------------


def test_what_is_loaded_is_what_was_saved_to_the_bit(tuned: Tuned, folder: Path) -> None:
    again = load(folder)
    assert again.prompt == tuned.prompt
    assert again.predictor.task == tuned.predictor.task
    assert again.predictor.calibration == tuned.predictor.calibration
    assert (again.record, again.trail, again.seen) == (tuned.record, tuned.trail, tuned.seen)
    assert again.labels == ("good", "bad")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), tuned.predict_proba(TEXTS))
    assert again.predict(TEXTS) == tuned.predict(TEXTS)


def test_words_alone_need_no_vectors(tiny_backbone: HuggingFaceBackbone, tmp_path: Path) -> None:
    task = Classification(("bad", "good"), channel=True, calibration="none")
    one = Tuned(PromptPredictor(parse(r"Day: {text}\nMood: [answer]"), task, tiny_backbone))
    place = one.save(tmp_path / "words")
    assert not (place / "vectors.safetensors").exists()
    again = load(place, tiny_backbone)
    assert again.predictor.task.channel
    np.testing.assert_array_equal(again.predict_proba(TEXTS), one.predict_proba(TEXTS))


def test_a_chat_and_its_own_words_come_back(tiny_backbone: HuggingFaceBackbone, tmp_path: Path) -> None:
    prompt = parse('[system] Sort. [user] {text} [assistant] [answer bad="no|nope" good="yes"]')
    one = Tuned(PromptPredictor(prompt, Classification(("bad", "good")), tiny_backbone, Calibration("batch", (0.5, 0.0))))
    again = load(one.save(tmp_path / "chat"), tiny_backbone)
    assert again.prompt == prompt
    np.testing.assert_array_equal(again.predict_proba(TEXTS), one.predict_proba(TEXTS))


def test_it_is_small_readable_and_holds_nothing_executable(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [
        "manifest.json",
        "prompt.json",
        "seen.txt",
        "trail.jsonl",
        "vectors.safetensors",
    ]
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # who may read one may read all
    assert json.loads((folder / "prompt.json").read_text(encoding="utf-8"))["words"] == {
        "good": ["lovely"],
        "bad": ["awful", "poor"],
    }
    assert [json.loads(line)["event"] for line in (folder / "trail.jsonl").read_text(encoding="utf-8").splitlines()] == [
        "note",
        "step",
    ]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8000


def test_saving_again_replaces_it_and_leaves_nothing_beside(tuned: Tuned, folder: Path) -> None:
    (folder / "old").write_text("x")
    tuned.save(folder)
    assert not (folder / "old").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["prompt"]


def test_what_is_no_artifact_is_not_replaced(tuned: Tuned, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("thesis", "file"):
        with pytest.raises(ArtifactError, match=f"{name} is there already and is no artifact"):
            tuned.save(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert free_place(tmp_path / "empty") == tmp_path / "empty"
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "x"


def test_a_folder_may_be_named_by_where_one_is(tuned: Tuned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert tuned.save(".") == tmp_path / "here"
    monkeypatch.chdir(tmp_path)
    assert read_prompt("here") == tuned.prompt


def test_a_deep_slot_comes_back_to_the_bit_and_knows_its_width(tiny_backbone: HuggingFaceBackbone, tmp_path: Path) -> None:
    prompt = parse("[deep d 3][soft s 2]{text} Mood: [answer]")
    deep = tiny_backbone.keys_values(tiny_backbone.encode("Sor")).numpy()
    prompt = prompt.fill(d=deep * 1.01, s=np.full((2, 64), 0.1, np.float32))
    one = Tuned(PromptPredictor(prompt, Classification(("bad", "good")), tiny_backbone))
    place = one.save(tmp_path / "deep")
    again = load(place, tiny_backbone)
    assert again.prompt == prompt
    assert again.predictor.parameters == 3 * tiny_backbone.deep_width + 2 * 64
    np.testing.assert_array_equal(again.predict_proba(TEXTS), one.predict_proba(TEXTS))
    vectors(place, lambda v: v.update(d=np.zeros((3, 64), np.float32)))
    with pytest.raises(ArtifactError, match=r"vectors of shape \(3, 64\) for 'd'\n  expected: vectors of width 128"):
        read_prompt(place)
    rewritten(place / "manifest.json", lambda c: c["model"].pop("deep_width"))
    with pytest.raises(ArtifactError, match="is damaged: KeyError"):
        read_prompt(place)


# --- what is refused ----------------------------------------------------------------------------------------------------


def three_parts(error: PegboxError) -> None:
    assert all((error.came, error.expected, error.remedy))
    assert str(error) == f"{error.came}\n  expected: {error.expected}\n  what to do: {error.remedy}"


def test_another_model_is_refused_in_one_sentence(folder: Path) -> None:
    other = HuggingFaceBackbone(tiny(seed=1))
    with pytest.raises(ArtifactError) as raised:
        load(folder, other)
    assert raised.value.came.startswith(f"{folder} was tuned on tiny (")
    assert raised.value.came.endswith(f"), not on tiny ({other.digest[:12]})")
    assert "\n" not in raised.value.came
    three_parts(raised.value)


def rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def vectors(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "vectors.safetensors"
    arrays = load_file(path)
    change(arrays)
    save_file(arrays, path)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "has no manifest.json"),
    "no manifest": (lambda at: (at / "manifest.json").unlink(), "has no manifest.json"),
    "no prompt": (lambda at: (at / "prompt.json").unlink(), "has no prompt.json"),
    "no vectors": (lambda at: (at / "vectors.safetensors").unlink(), "is damaged: FileNotFoundError"),
    "half a manifest": (lambda at: (at / "manifest.json").write_text('{"format": 1'), "is damaged: Expecting"),
    "no text": (lambda at: (at / "prompt.json").write_bytes(b'{"notation": "\xff"}'), "is damaged: 'utf-8' codec"),
    "truncated vectors": (
        lambda at: (at / "vectors.safetensors").write_bytes((at / "vectors.safetensors").read_bytes()[:-5]),
        "is damaged: SafetensorError",
    ),
    "no safetensors": (lambda at: (at / "vectors.safetensors").write_bytes(b"\x80\x04pickle"), "is damaged: SafetensorError"),
    "NaN": (lambda at: vectors(at, lambda v: v.update(a=v["a"] * np.nan)), "has vectors for 'a' that are not finite"),
    "other vectors": (lambda at: vectors(at, lambda v: v.update(a=v["a"] * 1.001)), "was changed after it was written"),
    "a missing slot": (lambda at: vectors(at, lambda v: v.pop("a")), "has vectors for ['c.d']"),
    "a wrong width": (
        lambda at: vectors(at, lambda v: v.update(a=np.zeros((2, 32), np.float32))),
        "has vectors of shape (2, 32) for 'a'",
    ),
    "a wrong length": (
        lambda at: vectors(at, lambda v: v.update(a=np.zeros((5, 64), np.float32))),
        "is damaged: vectors of shape (5, 64)",
    ),
    "a changed notation": (
        lambda at: rewritten(at / "prompt.json", lambda c: c.update(notation=c["notation"].replace("Sort", "Sorts"))),
        "was changed after it was written",
    ),
    "no notation": (
        lambda at: rewritten(at / "prompt.json", lambda c: c.update(notation="[soft a 2] {text} [anser]")),
        "is damaged: '[' at position",
    ),
    "labels swapped": (
        lambda at: rewritten(at / "prompt.json", lambda c: c["labels"].reverse()),
        "was changed after it was written",
    ),
    "words changed": (
        lambda at: rewritten(at / "prompt.json", lambda c: c["words"].update(bad=["x"])),
        "was changed after it was written",
    ),
    "calibration changed": (
        lambda at: rewritten(at / "prompt.json", lambda c: c["calibration"].update(offsets=[0, 0])),
        "was changed after it was written",
    ),
    "a later format": (lambda at: rewritten(at / "manifest.json", lambda c: c.update(format=2)), "is of format 2"),
    "a list": (lambda at: (at / "manifest.json").write_text("[]"), "is of format None"),
    "no digest": (lambda at: rewritten(at / "manifest.json", lambda c: c.pop("digest")), "is damaged: KeyError: 'digest'"),
    "no model": (lambda at: rewritten(at / "manifest.json", lambda c: c.pop("model")), "is damaged: KeyError: 'model'"),
    "half a trail": (lambda at: (at / "trail.jsonl").write_text('{"event"'), "is damaged: JSONDecodeError"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_artifact_is_refused_in_three_parts(folder: Path, kind: str, tiny_backbone: HuggingFaceBackbone) -> None:
    damage, told = DAMAGE[kind]
    damage(folder)
    with pytest.raises(ArtifactError) as raised:
        load(folder, tiny_backbone)
    assert str(folder) in raised.value.came
    assert told in raised.value.came
    three_parts(raised.value)


def test_what_is_only_a_record_may_be_missing(tuned: Tuned, folder: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    (folder / "trail.jsonl").unlink()
    (folder / "seen.txt").unlink()
    again = load(folder, tiny_backbone)
    assert (again.trail, again.seen) == ((), frozenset())
    assert again.predict(TEXTS) == tuned.predict(TEXTS)


# --- texts --------------------------------------------------------------------------------------------------------------


def test_texts_come_in_any_form(tuned: Tuned, tmp_path: Path) -> None:
    import pandas as pd

    expected = tuned.predict_proba(TEXTS)
    path = tmp_path / "new.csv"
    frame = pd.DataFrame({"text": TEXTS, "stars": [1, 2, 3]})
    frame.to_csv(path, index=False)
    for texts in (
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        Rows.from_texts(TEXTS),
        frame,
        frame["text"],
        path,
        str(path),
        [{"text": text} for text in TEXTS],
    ):
        np.testing.assert_array_equal(tuned.predict_proba(texts), expected)


def test_a_data_set_is_texts_too(tuned: Tuned) -> None:
    datasets = pytest.importorskip("datasets")
    found = tuned.predict_proba(datasets.Dataset.from_dict({"text": TEXTS, "label": ["x", "y", "z"]}))
    np.testing.assert_array_equal(found, tuned.predict_proba(TEXTS))


def test_a_single_text_goes_in_a_list(tuned: Tuned) -> None:
    with pytest.raises(DataError) as raised:
        tuned.predict("Crust is not good.")
    assert raised.value.came == "'Crust is not good.', which is no file"
    assert raised.value.remedy == "put a single text in a list"


@pytest.mark.parametrize(
    ("texts", "message"), [([], "has no rows"), ([1, 2], "a list that begins with a int"), (None, "data of type NoneType")]
)
def test_no_texts_are_an_error(texts: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_rows(texts)


# --- openings -----------------------------------------------------------------------------------------------------------


def test_openings_of_test_rows_are_written_and_counted(folder: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    before = (folder / "prompt.json").read_bytes()
    assert add_evaluation(folder, {"rows_digest": "a", "rows": 3, "source": "t.csv"}) == 1
    assert add_evaluation(folder, {"rows_digest": "b", "rows": 3, "source": "u.csv"}) == 1
    assert add_evaluation(folder, {"rows_digest": "a", "rows": 3, "source": "t.csv"}) == 2
    again = load(folder, tiny_backbone)
    assert [(e["rows_digest"], e["opening"]) for e in again.evaluations] == [("a", 1), ("b", 1), ("a", 2)]
    assert (folder / "prompt.json").read_bytes() == before


def test_rows_that_were_there_in_tuning_are_noticed_without_their_words(tuned: Tuned, folder: Path) -> None:
    rows = Rows.from_texts(["new", "seen before", "seen before "])
    assert seen_rows(tuned, rows) == [2]
    assert seen_rows(tuned, rows.take([2, 1])) == [2]  # by its number in the source
    assert all("seen before" not in path.read_text(errors="ignore") for path in folder.iterdir())


def test_marks_depend_on_the_fields_that_are_read_and_not_on_their_order() -> None:
    one, other = Rows(({"a": "x", "b": "y"},)), Rows(({"b": "y", "c": "z", "a": "x"},))
    assert row_marks(one, ("a", "b")) == row_marks(other, ("b", "a", "b"))
    assert row_marks(one, ("a", "b")) != row_marks(Rows(({"a": "y", "b": "x"},)), ("a", "b"))
    assert row_marks(one, ("a",)) != row_marks(one, ("a", "b"))
    assert len(row_marks(Rows.from_texts(["\ud800"]), ("text",))[0]) == 12


def test_it_is_shown_in_a_line(tuned: Tuned) -> None:
    assert repr(tuned).startswith("Tuned('[soft a 2] Sort ")
    assert repr(tuned).endswith("labels good, bad, on tiny)")
    assert repr(Rows.from_texts(["a", "b"], ["x", "y"], "t.csv")) == "Rows(2 rows of t.csv)"
    assert repr(Rows.from_texts(["a"])) == "Rows(1 unlabelled rows of rows)"


def test_the_prompt_can_be_read_without_the_model(tuned: Tuned, folder: Path) -> None:
    found: Prompt = read_prompt(folder)
    assert found == tuned.prompt
    assert format(found).startswith("[soft a 2] Sort")
