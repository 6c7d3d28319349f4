"""Reading whole data sets: parts, seals, leaks and notes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest

from pegbox.data.read import read
from pegbox.data.rows import Rows
from pegbox.errors import DataError, SettingsError

PAIRS = [(f"text number {n}", "xy"[n % 2]) for n in range(20)]


def csv_of(folder: Path, pairs: list[tuple[str, str]], name: str = "a.csv", header: str = "text,label") -> Path:
    path = folder / name
    path.write_text(header + "\n" + "".join(f"{text},{label}\n" for text, label in pairs), encoding="utf-8")
    return path


def test_a_fifth_is_split_off_and_sealed(tmp_path: Path) -> None:
    path = csv_of(tmp_path, PAIRS)
    data = read(path, "text", "label")
    assert len(data.train) == 16
    assert data.test is not None
    assert len(data.test) == 4
    assert data.dev is None
    assert data.test.openings == []
    assert data.notes == (f"{path}: 4 of 20 rows are split off as test rows (stratified, seed 0) and sealed.",)
    test = data.test.open("look")
    assert sorted(test.answers()) == ["x", "x", "y", "y"]
    assert not set(test.column()) & set(data.train.column())


def test_the_same_rows_from_every_kind_of_source(tmp_path: Path) -> None:
    frame = pd.DataFrame(PAIRS, columns=["text", "label"])
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.tsv", sep="\t", index=False)
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": t, "label": y}) + "\n" for t, y in PAIRS))
    sources: list[Any] = [
        csv_of(tmp_path, PAIRS),
        str(tmp_path / "a.parquet"),
        tmp_path / "a.tsv",
        tmp_path / "a.jsonl",
        frame,
        datasets.Dataset.from_pandas(frame),
        PAIRS,
        ([text for text, _ in PAIRS], [label for _, label in PAIRS]),
        [{"text": text, "label": label} for text, label in PAIRS],
        Rows.from_texts([text for text, _ in PAIRS], [label for _, label in PAIRS]),
    ]
    found = [read(source, seed=3) for source in sources]
    digests = {(data.train.digest(), data.test.digest()) for data in found if data.test is not None}
    assert len(digests) == 1
    assert len(found) == len(sources)


def test_test_size(tmp_path: Path) -> None:
    path = csv_of(tmp_path, PAIRS)
    assert read(path, test_size=0).test is None
    assert len(read(path, test_size=0).train) == 20
    for size, expected in ((0.5, 10), (6, 6)):
        sealed = read(path, test_size=size).test
        assert sealed is not None
        assert len(sealed) == expected
    with pytest.raises(SettingsError, match=r"a part of size -0\.2"):
        read(path, test_size=-0.2)


def test_guesses_are_said_and_used_for_the_test_file_too(tmp_path: Path) -> None:
    train = csv_of(tmp_path, PAIRS[:10], "train.csv", "said,verdict")
    test = csv_of(tmp_path, PAIRS[10:], "test.csv", "said,verdict")
    data = read(train, test=test)
    assert data.notes == (f"{train}: took 'said' as the text (--text) and 'verdict' as the label (--label).",)
    assert data.test is not None
    assert data.test.open("look").numbers == tuple(range(1, 11))
    assert len(data.train) == 10


def test_a_test_file_without_the_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test\.csv has no column 'said'"):
        read(
            csv_of(tmp_path, PAIRS[:10], "train.csv", "said,verdict"),
            "said",
            test=csv_of(tmp_path, PAIRS[10:], "test.csv", "saying,verdict"),
        )


def test_train_and_test_must_not_share_texts(tmp_path: Path) -> None:
    train, test = csv_of(tmp_path, PAIRS[:12], "train.csv"), csv_of(tmp_path, PAIRS[10:], "test.csv")
    with pytest.raises(DataError, match=r"train\.csv has 2 rows whose .*\(rows 11, 12: the first is row 1 of .*test\.csv"):
        read(train, test=test)
    data = read(train, test=test, on_problem="drop")
    assert data.train.numbers == tuple(range(1, 11))
    assert data.test is not None
    assert len(data.test) == 10
    assert any("left out 2 rows whose text is also" in note for note in data.notes)


def test_dev_rows_are_kept_apart_from_both(tmp_path: Path) -> None:
    train, dev, test = PAIRS[:12], PAIRS[10:16], PAIRS[14:]
    with pytest.raises(DataError, match="has 2 rows whose text is also"):
        read(train, dev=dev)
    data = read(train, dev=dev, test=test, on_problem="drop")
    assert data.dev is not None
    assert data.dev.column() == [text for text, _ in PAIRS[10:14]]
    assert data.train.column() == [text for text, _ in PAIRS[:10]]


def test_repeats_stay_on_one_side() -> None:
    for seed in range(10):
        data = read([*PAIRS, *PAIRS[:10]], seed=seed)
        assert data.test is not None
        assert not set(data.test.open("look").column()) & set(data.train.column())
        assert len(data.test) + len(data.train) == 30


def test_repeats_are_noted_and_on_request_dropped() -> None:
    assert "the list: 2 rows repeat the text and label of an earlier row (rows 21, 22); kept." in read(PAIRS + PAIRS[:2]).notes
    data = read(PAIRS + PAIRS[:2], on_problem="drop", test_size=0)
    assert data.train.numbers == tuple(range(1, 21))
    assert "the list: left out 2 rows with the text and label of an earlier row (rows 21, 22)." in data.notes


def test_test_labels_that_no_training_row_has() -> None:
    with pytest.raises(DataError, match="1 row whose label no training row has"):
        read(PAIRS, test=[("new", "x"), ("newer", "z")])
    sealed = read(PAIRS, test=[("new", "x"), ("newer", "z")], on_problem="drop").test
    assert sealed is not None
    assert len(sealed) == 1


def test_one_label_only() -> None:
    with pytest.raises(DataError, match="every row of the list has the label 'x'"):
        read([("a", "x"), ("b", "x"), ("c", "x")])


def test_bad_rows_stop_or_are_dropped(tmp_path: Path) -> None:
    path = csv_of(tmp_path, [*PAIRS, (" ", "x"), ("a", "")])
    with pytest.raises(DataError, match="1 row without a text"):
        read(path)
    data = read(path, on_problem="drop", test_size=0)
    assert len(data.train) == 20
    assert [note.partition(" (")[0] for note in data.notes[1:]] == [
        f"{path}: left out 1 row without a text",
        f"{path}: left out 1 row without a label",
    ]


def test_unknown_policy_comes_before_any_reading() -> None:
    with pytest.raises(SettingsError, match="on_problem='keep'"):
        read("nowhere.csv", on_problem="keep")  # type: ignore[arg-type]


def test_dataset_dict_parts_are_taken() -> None:
    def part(pairs: list[tuple[str, str]]) -> datasets.Dataset:
        return datasets.Dataset.from_dict({"text": [text for text, _ in pairs], "label": [label for _, label in pairs]})

    source = datasets.DatasetDict({"train": part(PAIRS[:10]), "validation": part(PAIRS[10:14]), "test": part(PAIRS[14:])})
    data = read(source)
    assert data.test is not None
    assert data.dev is not None
    assert (len(data.train), len(data.dev), len(data.test)) == (10, 4, 6)
    given = read(source, test=[("else", "x")])
    assert given.test is not None
    assert len(given.test) == 1
    only = read(datasets.DatasetDict({"train": part(PAIRS)}))
    assert only.test is not None
    assert len(only.test) == 4
    with pytest.raises(DataError, match="a DatasetDict with the parts test"):
        read(datasets.DatasetDict({"test": part(PAIRS)}))


def test_several_texts_and_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("p,h,why,y\n" + "".join(f"p{n},h{n},,{'xy'[n % 2]}\n" for n in range(10)))
    data = read(path, ["p", "h"], "y", fields=["why"])
    first = data.train.numbers[0] - 1
    assert data.train.fields[0] == {"text": f"p{first}", "h": f"h{first}", "why": ""}


def test_frame_and_pairs_together() -> None:
    frame = pd.DataFrame(PAIRS, columns=["review", "sentiment"])
    sealed = read(frame, test=[("new one", "x")]).test
    assert sealed is not None
    assert sealed.open("look").column() == ["new one"]
    sealed = read([("new one", "x"), ("newer one", "y")], "review", "sentiment", test=frame).test
    assert sealed is not None
    assert len(sealed) == 20


def test_importing_the_room_is_quick_and_light() -> None:
    heavy = ("torch", "transformers", "pandas", "pyarrow", "datasets", "numpy", "sklearn")
    code = f"import sys, pegbox.data; print([name for name in {heavy} if name in sys.modules])"
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
