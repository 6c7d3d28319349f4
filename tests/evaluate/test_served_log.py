"""Versions scored from a server's log: shares by themselves, pairs on the same rows or on rows of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pegbox.cli import main
from pegbox.errors import DataError
from pegbox.evaluate.served_log import read_labels, read_log, standings
from pegbox.metrics.proportions import apart, fisher_p, wilson


def line(request: str, prompt: str, answers: list[Any], shadow: bool = False, name: str = "mood") -> str:
    about = {"request": request, "asked": name, "prompt": prompt, "shadow": shadow, "answers": answers}
    return json.dumps({"message": "predicted", **about}) + "\n"


def answers(right: int, rows: int) -> list[str]:
    return ["good"] * right + ["bad"] * (rows - right)


def labels(path: Path, rows: dict[str, int]) -> Path:
    lines = [f"{request},{row},good" for request, count in rows.items() for row in range(1, count + 1)]
    path.write_text("\n".join(["request,row,label", *lines]) + "\n")
    return path


def test_shares_with_intervals_as_the_papers_print_them() -> None:
    found = wilson(8, 10)
    assert (found.value, round(found.low, 4), round(found.high, 4)) == (0.8, 0.4902, 0.9433)
    assert (wilson(10, 10).high, round(wilson(10, 10).low, 4)) == (1.0, 0.7225)
    gap = apart((56, 70), (48, 80))  # Newcombe 1998, table II, example (a)
    assert (round(gap.value, 4), round(gap.low, 4), round(gap.high, 4)) == (0.2, 0.0524, 0.3339)
    assert fisher_p((8, 10), (3, 10)) == pytest.approx(2 * (45 * 120 + 10 * 45 + 10) / 167960)
    with pytest.raises(DataError, match="no rows to score"):
        wilson(0, 0)


def test_versions_on_rows_of_their_own_are_two_shares(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        line("a", "mood@1", answers(8, 10)) + "INFO other\n" + line("b", "mood@2", answers(3, 10)) + '{"message": "pre'
    )
    found = read_log([log])
    assert found.other_lines == 2
    (mood,) = standings(found, read_labels(labels(tmp_path / "l.csv", {"a": 10, "b": 10, "other": 1}), found))
    assert [(one.prompt, one.rows, one.accuracy.value) for one in mood.versions if one.accuracy] == [
        ("mood@1", 10, 0.8),
        ("mood@2", 10, 0.3),
    ]
    (pair,) = mood.pairs
    assert (pair.paired, pair.rows, pair.same) == (False, 20, None)
    assert pair.gap == pytest.approx(0.5)
    assert pair.p == pair.corrected == pytest.approx(0.069778, abs=1e-6)


def test_a_shadow_is_compared_row_by_row(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first, second = answers(9, 10), answers(5, 10)  # 4 rows right by the first alone, none by the second alone
    log.write_text(line("a", "mood@1", first) + line("a", "mood@2", second, shadow=True))
    found = read_log([log])
    (mood,) = standings(found, read_labels(labels(tmp_path / "l.csv", {"a": 10}), found))
    assert [one.shadow for one in mood.versions] == [False, True]
    (pair,) = mood.pairs
    assert (pair.paired, pair.rows, pair.same) == (True, 10, 0.6)
    assert pair.p == pytest.approx(2 * 0.5**4)
    (unlabelled,) = standings(found, {})
    assert (unlabelled.pairs[0].p, unlabelled.pairs[0].same, unlabelled.versions[0].accuracy) == (None, 0.6, None)


def test_several_pairs_are_corrected_together(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(line(n, f"mood@{n}", answers(right, 10)) for n, right in (("1", 10), ("2", 1), ("3", 9))))
    found = read_log([log])
    (mood,) = standings(found, read_labels(labels(tmp_path / "l.csv", {"1": 10, "2": 10, "3": 10}), found))
    p = sorted(pair.p for pair in mood.pairs if pair.p is not None)
    corrected = sorted(pair.corrected for pair in mood.pairs if pair.corrected is not None)
    assert corrected == pytest.approx([3 * p[0], max(3 * p[0], 2 * p[1]), max(2 * p[1], p[2])])


def test_feedback_in_the_log_is_taken_and_a_file_comes_before_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log"
    told = {"message": "feedback", "request": "a", "labels": ["good", None, "bad"]}
    log.write_text(line("a", "mood@1", ["good", "good", "good"]) + json.dumps(told) + "\n" + line("b", "mood@2", ["bad"]))
    main(["compare", "--from-log", str(log)])
    said = capsys.readouterr().out
    assert "50.0 %" in said
    assert "mood@1 and mood@2: no labelled rows to compare them on" in said
    (tmp_path / "l.csv").write_text("request,row,label\na,3,good\n")
    main(["compare", "--from-log", str(log), "--labels", str(tmp_path / "l.csv"), "--json"])
    assert json.loads(capsys.readouterr().out)[0]["versions"][0]["accuracy"]["value"] == 1.0


def test_that_nothing_is_right_can_be_said_in_a_table(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(line("a", "mood@1", [[], ["0-3:PER"], [], ["fee", "law"], ["fee"]]))
    found = read_log([tmp_path / "log"])
    (tmp_path / "l.csv").write_text("request,row,label\na,1,\na,2,\na,3,0-3:PER\na,4,law| fee\n")
    (tmp_path / "l.jsonl").write_text(
        "".join(
            json.dumps({"request": "a", "row": row, "label": label}) + "\n"
            for row, label in enumerate([[], "", ["0-3:PER"], ["law", "fee", "law"], None], 1)
        )
    )
    for name in ("l.csv", "l.jsonl"):
        (version,) = standings(found, read_labels(tmp_path / name, found))[0].versions
        assert version.labelled == 4
        assert version.accuracy is not None
        assert version.accuracy.value == 0.5


def test_labels_that_hold_the_mark_between_labels(tmp_path: Path) -> None:
    """A classifier's label is never taken apart, and a list holds its labels as they are."""
    told = {"message": "feedback", "request": "a", "labels": ["a|b", ["a|b"], ["a|b"], ["a", "a"], "a"]}
    one, other = ["a|b", "b|a", ["a|b"], ["a"], ["a"]], ["b|a", "b|a", ["a", "b"], ["a"], "a"]
    log = tmp_path / "log"
    log.write_text(line("a", "mood@1", one) + line("a", "mood@2", other, shadow=True) + json.dumps(told) + "\n")
    found = read_log([log])
    (mood,) = standings(found, found.labels)
    assert [version.accuracy.value for version in mood.versions if version.accuracy] == [0.8, 0.4]
    assert mood.pairs[0].same == 0.6


@pytest.mark.parametrize(
    ("content", "came"),
    [
        ("request,label\na,\n", "row 1 has no label"),
        ("request,row\na,1\n", "row 1 has no label"),
        ("request,label\n,good\n", "row 1 has no request"),
        ("id,label\na,good\n", "row 1 has no request"),
        ("request,row,label\na,0,good\n", "row 1 has row '0'"),
        ("request,row,label\na,x,good\n", "row 1 has row 'x'"),
        ("request,label\nz,good\n", "names none of the log's requests"),
    ],
)
def test_labels_that_cannot_be_joined_are_named(content: str, came: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(line("a", "mood@1", ["good"]))
    (tmp_path / "l.csv").write_text(content)
    with pytest.raises(DataError, match=came):
        read_labels(tmp_path / "l.csv", read_log([tmp_path / "log"]))


@pytest.mark.parametrize("label", [{"a": 1}, [1], ["a", None], [["a"]]])
def test_labels_that_are_no_texts_are_refused(label: Any, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(line("a", "mood@1", [["fee"]]))
    (tmp_path / "l.jsonl").write_text(json.dumps({"request": "a", "label": label}) + "\n")
    with pytest.raises(DataError, match="row 1 has the label"):
        read_labels(tmp_path / "l.jsonl", read_log([tmp_path / "log"]))


@pytest.mark.parametrize("content", ["", "{}\n", "text\n", '{"message": "answered", "request": "a"}\n'])
def test_a_log_without_answers_is_refused(content: Any, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(content)
    with pytest.raises(DataError, match="tells no answers"):
        read_log([tmp_path / "log"])
