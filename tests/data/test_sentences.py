import json
from pathlib import Path
from typing import Any

import pytest

from pegbox.data.rows import Rows
from pegbox.data.sentences import rarest, read_sentences
from pegbox.data.stream import Reading
from pegbox.data.tagged import read_tagged, types_of
from pegbox.errors import DataError, SettingsError

CONLL = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
calls VBZ B-VP O
Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER

Paris NNP B-NP B-LOC
. . O O
"""


def file(folder: Path, content: str, name: str = "data.conll") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_a_conll_file_is_sentences_of_words_with_tags(tmp_path: Path) -> None:
    found = read_sentences(file(tmp_path, CONLL))
    assert found.rows.column() == ["EU calls Peter Blackburn", "Paris ."]
    assert found.rows.gold == (
        {"words": [[0, 2], [3, 8], [9, 14], [15, 24]], "tags": ["B-ORG", "O", "B-PER", "I-PER"]},
        {"words": [[0, 5], [6, 7]], "tags": ["B-LOC", "O"]},
    )
    assert found.rows.labels == ("ORG", "LOC")
    assert "skipped 1 line of -DOCSTART-" in found.notes[0]


def test_columns_are_chosen_by_number(tmp_path: Path) -> None:
    path = file(tmp_path, "1\tNew York\tB-LOC\tx\n2\twins\tO\ty\n")
    found = read_sentences(path, "2", "3")
    assert found.rows.column() == ["New York wins"]
    assert found.rows.gold is not None
    assert found.rows.gold[0]["tags"] == ["B-LOC", "O"]
    assert read_sentences(path, "2", "-2").rows.gold == found.rows.gold


@pytest.mark.parametrize("tags", [("I-PER", "I-PER", "B-PER"), ("B-PER", "E-PER", "S-PER"), ("B-PER", "L-PER", "U-PER")])
def test_other_schemes_are_kept_in_bio(tmp_path: Path, tags: tuple[str, ...]) -> None:
    found = read_sentences(file(tmp_path, "".join(f"{word} {tag}\n" for word, tag in zip("abc", tags, strict=True))))
    assert found.rows.gold is not None
    assert found.rows.gold[0]["tags"] == ["B-PER", "I-PER", "B-PER"]


def test_words_alone_are_read_where_no_tags_are_wanted(tmp_path: Path) -> None:
    found = read_sentences(file(tmp_path, "EU\ncalls\n\nPeter\n"), labelled=False)
    assert found.rows.column() == ["EU calls", "Peter"]
    assert found.rows.gold is not None
    assert found.rows.gold[0]["tags"] is None
    assert found.rows.labels is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("EU B-ORG\ncalls\n", r"1 row with a word that has no tag \(row 1 \(line 2\): 'calls'\)"),
        ("a O\n\nEU B-ORG\ncalls VERB\n", r"row 2 \(line 4\): 'VERB' for 'calls'"),
        ("a B-PER\n\nEU B-ORG\ncalls I-PER\n", r"row 2 \(line 4\): 'I-PER' after 'B-ORG' for 'calls', read as BIO"),
        ("a B-PER\nb E-PER\n\nc I-PER\n", r"row 2 \(line 4\): 'I-PER' after 'O' for 'c', read as BIOES"),
        ("a\tB-PER\n\tO\n", r"row 1 \(line 2\): ' O' has no word in column 1"),
    ],
)
def test_a_bad_line_is_told_with_its_file_and_number(tmp_path: Path, content: str, told: str) -> None:
    path = file(tmp_path, content)
    with pytest.raises(DataError, match=rf"data\.conll has {told}|{told}") as caught:
        read_sentences(path)
    assert str(path) in caught.value.came
    assert caught.value.expected
    assert "--on-problem drop" in caught.value.remedy


def test_bad_sentences_are_left_out_on_demand(tmp_path: Path) -> None:
    found = read_sentences(file(tmp_path, "EU B-ORG\n\ncalls\n\nb O\n"), reading=Reading(on_problem="drop"))
    assert found.rows.numbers == (1, 3)
    assert "left out 1 row with a word that has no tag (row 2 (line 3)" in found.notes[0]


def test_a_column_name_makes_no_sense_in_a_conll_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="whose columns have no names"):
        read_sentences(file(tmp_path, CONLL), label="tag")


def lines(folder: Path, *rows: Any) -> Path:
    return file(folder, "".join(json.dumps(row) + "\n" for row in rows), "data.jsonl")


def span(start: int, end: int, label: str) -> dict[str, Any]:
    return {"start": start, "end": end, "label": label}


def test_character_spans_become_tags_of_the_texts_own_words(tmp_path: Path) -> None:
    text = "Peter Blackburn, of New-York"
    path = lines(
        tmp_path, {"id": 3, "text": text, "spans": [span(20, 28, "LOC"), span(0, 15, "PER")]}, {"text": "x", "spans": []}
    )
    found = read_sentences(path)
    assert found.rows.gold is not None
    assert found.rows.gold[0]["tags"] == ["B-PER", "I-PER", "O", "O", "B-LOC", "I-LOC", "I-LOC"]
    assert [text[start:end] for start, end in found.rows.gold[0]["words"]] == text.replace(",", " ,").replace(
        "-", " - "
    ).split()
    assert found.records[0]["id"] == 3
    assert found.rows.labels == ("LOC", "O")


@pytest.mark.parametrize(
    ("spans", "told"),
    [
        ([span(0, 40, "PER")], r"with a span outside its text \(row 1 \(line 1\).*in a text of 15 characters"),
        ([span(3, 3, "PER")], "outside its text"),
        ([span(-1, 3, "PER")], "outside its text"),
        ([span(0, 5, "PER"), span(3, 15, "ORG")], r"spans that overlap \(row 1 \(line 1\).*the one from 0 to 5"),
        ([span(0, 3, "PER")], r"cuts a word \(row 1 \(line 1\).*'Pet', holds part of the word 'Peter'"),
        ([span(5, 6, "PER")], "cuts a word .*holds no word"),
        ([{"start": 0, "end": 5}], "spans that cannot be read"),
        ([span(0, 5, "")], "spans that cannot be read"),
        ({"start": 0}, "spans that cannot be read .*a dict"),
        (None, "spans that cannot be read .*none"),
    ],
)
def test_a_bad_span_is_told_with_its_file_and_line(tmp_path: Path, spans: Any, told: str) -> None:
    path = lines(tmp_path, {"text": "Peter Blackburn", "spans": spans})
    with pytest.raises(DataError, match=told) as caught:
        read_sentences(path)
    assert str(path) in caught.value.came


def test_lists_of_words_and_tags_are_read_from_tables(tmp_path: Path) -> None:
    path = lines(tmp_path, {"tokens": ["EU", "calls"], "ner_tags": ["B-ORG", "O"]})
    assert read_sentences(path).rows.column() == ["EU calls"]
    with pytest.raises(DataError, match=r"has no tag \(row 1 \(line 1\): 2 words and 1 tags"):
        read_sentences(lines(tmp_path, {"tokens": ["EU", "calls"], "tags": ["B-ORG"]}))


def test_a_csv_holds_its_spans_as_json(tmp_path: Path) -> None:
    path = file(tmp_path, 'text,spans\nEU calls,"[{""start"": 0, ""end"": 2, ""label"": ""ORG""}]"\nno,\n', "data.csv")
    found = read_sentences(path)
    assert found.rows.gold is not None
    assert [one["tags"] for one in found.rows.gold] == [["B-ORG", "O"], ["O"]]


def test_pairs_of_lists_and_plain_texts() -> None:
    found = read_sentences([(["EU", "calls"], ["B-ORG", "O"]), (["x"], ["O"])])
    assert found.rows.column() == ["EU calls", "x"]
    plain = read_sentences(["EU calls Peter.", "x"])
    assert plain.rows.gold is not None
    assert plain.rows.gold[0] == {"words": [[0, 2], [3, 8], [9, 14], [14, 15]], "tags": None}
    with pytest.raises(DataError, match="has no tags"):
        types_of(plain.rows)
    with pytest.raises(DataError, match="row 2 of the list"):
        read_sentences([(["EU"], ["O"]), "x"])


def test_a_hugging_face_data_set_with_named_tags() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=["O", "B-PER"])),
        }
    )
    content = {"tokens": [["Peter", "calls"], ["EU"]], "ner_tags": [[1, 0], [0]]}
    whole = datasets.DatasetDict({"train": datasets.Dataset.from_dict(content, features=features)})
    whole["test"] = datasets.Dataset.from_dict({"tokens": [["Ann"]], "ner_tags": [[1]]}, features=features)
    found = read_tagged(whole)
    assert found.train.gold is not None
    assert [one["tags"] for one in found.train.gold] == [["B-PER", "O"], ["O"]]
    assert found.test is not None
    assert len(found.test) == 1
    assert not found.test.openings


def test_sentences_are_drawn_by_their_rarest_type() -> None:
    tags = [["B-PER", "B-ORG"], ["B-PER"], ["O"], ["B-PER", "I-PER"]]
    assert rarest(tags) == ("ORG", "PER", "O", "PER")


def many(kinds: str) -> list[tuple[list[str], list[str]]]:
    return [([f"w{number}", "x"], [f"B-{kind}" if kind != "-" else "O", "O"]) for number, kind in enumerate(kinds)]


def test_a_test_part_is_split_off_by_sentences_and_sealed() -> None:
    found = read_tagged(many("PPPPPPPPPPLLLLLLLLLL----------"), test_size=0.2)
    assert found.test is not None
    assert len(found.test) == 6
    rows = found.test.open("a look")
    assert sorted(rows.labels or ()) == ["L", "L", "O", "O", "P", "P"]
    assert not set(rows.column()) & set(found.train.column())
    assert any("6 of 30 sentences are split off as test rows" in note for note in found.notes)


def test_training_sentences_that_are_tested_too_are_left_out_and_told_of() -> None:
    found = read_tagged(many("PPL"), test=[(["w1", "x"], ["B-P", "O"]), (["new"], ["B-Q"])])
    assert found.train.numbers == (1, 3)
    assert any("left out 1 sentence that the list has too (row 2)" in note for note in found.notes)
    assert any("entities of type Q can only be missed" in note for note in found.notes)


def test_text_without_any_entity_cannot_be_learned_from() -> None:
    with pytest.raises(DataError, match="no word of the list is part of an entity"):
        read_tagged(many("----"), test_size=0)


def test_an_unknown_scheme_is_told_before_anything_is_read() -> None:
    with pytest.raises(SettingsError):
        read_sentences("no such file", scheme="iob9")  # type: ignore[arg-type]


def test_sentences_of_the_test_part_are_no_dev_sentences() -> None:
    from pegbox.data.tagged import read_tagged

    train = [([f"see{n}", "Rome"], ["O", "B-LOC"]) for n in range(6)]
    both, other = (["in", "Oslo"], ["O", "B-LOC"]), (["in", "Paris"], ["O", "B-LOC"])
    found = read_tagged(train, test=[both], dev=[both, other])
    assert found.dev is not None
    assert found.dev.column() == ["in Paris"]
    assert any("left out 1 sentence" in note for note in found.notes)


def test_an_unknown_encoding_of_a_conll_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Ann B-PER\n")
    with pytest.raises(SettingsError, match=r"encoding 'utf-99'\n  expected: an encoding that Python knows"):
        read_sentences(tmp_path / "a.conll", reading=Reading("utf-99"))


def test_rows_are_sentences_whose_words_are_found_where_they_have_none() -> None:
    found = read_sentences(Rows.from_texts(["Ann saw."])).rows
    assert found.gold == ({"words": [[0, 3], [4, 7], [7, 8]], "tags": None},)
    tagged = read_sentences([(["Ann", "saw"], ["B-PER", "O"])]).rows
    assert read_sentences(tagged, labelled=True).rows == tagged
    for rows, came in (
        (Rows.from_texts(["Ann"]), "row 1 has no tags"),
        (Rows.from_texts([" "]), "row 1 has no words"),
        (Rows(({"text": "a"},), gold=(["a reference"],)), "row 1 has no words"),
        (Rows(({"other": "a"},)), "row 1 has no field 'text'"),
    ):
        with pytest.raises(DataError, match=came):
            read_sentences(rows, labelled=True)
