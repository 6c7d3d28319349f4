import pytest

from pegbox.data.rows import Rows
from pegbox.data.words import joined, names, thinned, word_rows, word_spans


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Peter's dog, in New-York.", ["Peter", "'", "s", "dog", ",", "in", "New", "-", "York", "."]),
        ("  two  spaces\tand\na line ", ["two", "spaces", "and", "a", "line"]),
        ("snake_case 3.5 %", ["snake_case", "3", ".", "5", "%"]),
        ("Ça va? हिन्दी में", ["Ça", "va", "?", "हिन्दी", "में"]),
        ("e\u0301te\u0301!", ["e\u0301te\u0301", "!"]),
        ("😀😀", ["😀", "😀"]),
        (" \u200b\t", []),
    ],
)
def test_words_of_raw_text(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in word_spans(text)] == words


def test_words_that_come_one_by_one_are_joined_by_spaces() -> None:
    text, spans = joined(["New York", "is", "big"])
    assert text == "New York is big"
    assert [text[start:end] for start, end in spans] == ["New York", "is", "big"]


def test_a_word_that_comes_twice_is_named_with_those_before_it() -> None:
    assert names(["the", "cat", "saw", "the", "dog"]) == ["the", "cat", "saw", "saw the", "dog"]
    assert names(["of", "the", "king", "of", "the", "hill"]) == ["of", "of the", "king", "king of", "king of the", "hill"]
    assert names(["no", "no", "no", "no"]) == ["no", "no no", "no no no", "no no no"]  # three words at most


def rows() -> Rows:
    text = "EU calls Peter Blackburn again and again"
    words = joined(text.split())[1]
    tags = ["B-ORG", "O", "B-PER", "I-PER", "O", "O", "O"]
    gold = {"words": [list(word) for word in words], "tags": tags}
    plain = {"words": [[0, 2]], "tags": ["O"]}
    return Rows(({"text": text, "of": "news"}, {"text": "no"}), None, (7, 9), "file", (gold, plain))


def test_every_word_is_a_row_over_its_sentence() -> None:
    found = word_rows(rows().take([0]))
    assert found.labels == ("ORG", "O", "PER", "PER", "O", "O", "O")
    assert found.numbers == (7,) * 7
    assert dict(found.fields[6]) == {
        "text": "EU calls Peter Blackburn again and again", "word": "and again", "of": "news",
        "bare": "again", "before": "EU calls Peter Blackburn again and ", "after": "",
    }  # fmt: skip
    assert len(found.fields[6]) == 6
    assert "other" not in found.fields[6]


def test_taking_rows_keeps_their_sentences() -> None:
    found = word_rows(rows())
    assert found.sentences == (0,) * 7 + (1,)
    assert found.take([7, 2]).sentences == (1, 0)


def test_as_many_words_of_no_type_are_kept_as_words_of_types() -> None:
    many = Rows(rows().fields[:1] * 1, None, (1,), "file", rows().gold[:1])  # type: ignore[index]
    whole = word_rows(many)
    found, share = thinned(whole)
    assert share == 3 / 4
    assert [label for label in found.answers() if label != "O"] == ["ORG", "PER", "PER"]
    assert thinned(whole)[0] == found  # the same ones every time
    texts = [f"{number} Smith {number}" for number in range(400)]
    gold = tuple({"words": [list(w) for w in joined(text.split())[1]], "tags": ["O", "B-PER", "O"]} for text in texts)
    kept, share = thinned(word_rows(Rows(tuple({"text": text} for text in texts), gold=gold)))
    assert share == 0.5
    assert kept.answers().count("O") == pytest.approx(400, abs=60)  # 800 draws at one half: four standard deviations


def test_sentences_without_entities_keep_a_word() -> None:
    plain = word_rows(rows().take([1]))
    assert thinned(plain) == (plain, 1.0)
