"""Samples of tagged sentences, from hand-made wheels with a few sentences of each file's form."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from pegbox.data import tagged_samples
from pegbox.data.intents import LANGUAGES
from pegbox.data.sentences import read_sentences
from pegbox.data.tagged import read_tagged, types_of
from pegbox.data.tagged_samples import ENTITIES, SLOTS, TAGGED_SAMPLES, TaggedSample, tagged_sample
from pegbox.errors import DataError
from pegbox.task import tag
from pegbox.task.entry import Asked


def intents(language: str) -> bytes:
    sentences = [f"{language} on in {{area}} to {{n:level}} %", f"{language} off"]
    lists = {"n": {"range": {"from": 0, "to": 100}}}
    own = {"HassA": {"data": [{"sentences": sentences}]}}
    return json.dumps({"intents": own, "expansion_rules": {}, "lists": lists}).encode()


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pinned wheels' stand-ins, already in the cache folder."""
    parts = [(ENTITIES, part, [f"Ann B-PER\nsaw O\n{part} B-LOC\n\nBob B-PER\n".encode()]) for part in ENTITIES.parts]
    contents = [*parts, (SLOTS, "train", [intents(language) for language in LANGUAGES])]
    (tmp_path / "wheels").mkdir()
    pinned = {}
    for sample in TAGGED_SAMPLES.values():
        path = tmp_path / "wheels" / f"{sample.package.replace('-', '_')}-{sample.version}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for owner, part, files in contents:
                for member, content in zip(owner.parts[part], files, strict=True):
                    if owner is sample:
                        archive.writestr(member, content)
        pinned[sample.name] = dataclasses.replace(sample, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setenv("PEGBOX_HOME", str(tmp_path))
    monkeypatch.setattr(tagged_samples, "TAGGED_SAMPLES", pinned)


@pytest.mark.usefixtures("wheels")
def test_slots_are_split_and_may_be_grouped_by_their_columns() -> None:
    data = read_tagged("sample:intents", fields=("language", "intent"))
    assert data.test is not None
    assert any("split off as test rows" in note for note in data.notes)
    assert any("Home Assistant" in note for note in data.notes)
    assert any("0 sentences with a slot inside a word" in note for note in data.notes)
    assert types_of(data.train) == ("area", "level")
    assert set(data.train.column("intent")) == {"HassA"}
    assert set(data.train.column("language")) <= set(LANGUAGES)
    unlabelled = read_sentences("sample:intents", labelled=False)
    assert unlabelled.columns == ("text", "language", "intent", "spans")
    assert all(one["tags"] is None for one in unlabelled.rows.gold or ())


@pytest.mark.usefixtures("wheels")
def test_entities_are_tested_on_their_own_part() -> None:
    data = read_tagged("sample:entities")
    found = read_sentences("sample:entities")
    assert found.records[0] == {"text": "Ann saw train"}
    assert found.columns == ("text", "spans")
    assert data.train.column() == ["Ann saw train"]  # "Bob" is in the test part too
    assert data.test is not None
    assert data.test.open("to see it").column() == ["Ann saw test", "Bob"]
    assert read_tagged("sample:entities/valid", test_size=0).train.column() == ["Ann saw valid", "Bob"]


def test_an_unknown_sample_or_part_is_told() -> None:
    for name in ("entity", "entities/dev", "intents/test"):
        known = r"(.|\n)*sample:intents, sample:entities/valid"
        with pytest.raises(DataError, match=rf"there is no sample '{name}' of tagged words{known}"):
            tagged_sample(name)


@pytest.mark.parametrize("sample", TAGGED_SAMPLES.values(), ids=list(TAGGED_SAMPLES))
def test_every_tagged_sample_is_described_whole(sample: TaggedSample) -> None:
    assert set(sample.words) <= set(sample.labels)
    assert list(sample.labels) == sorted(sample.labels)
    assert list(sample.parts) == list(sample.sizes)
    assert sample.rows == sum(sample.sizes.values()) > 1000
    assert len(sample.sha256) == 64
    assert sample.licence in sample.note()


@pytest.mark.usefixtures("wheels")
def test_the_types_of_a_sample_are_asked_for_in_its_own_words() -> None:
    train = read_sentences("sample:intents", labelled=True).rows
    task, _ = tag.make(train, Asked())
    assert task.words["area"] == ("room",)
    assert task.words["level"] == ("level",)
    own, _ = tag.make(train, Asked(words={"area": "place"}))
    assert own.words["area"] == ("place",)
