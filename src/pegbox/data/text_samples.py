"""How the samples with whole texts as answers are read: news with their headlines, and lines of film dialogue."""

from __future__ import annotations

import csv
import io
import re
import zipfile

from pegbox.data.check import count

Parsed = tuple[list[tuple[int, str, str]], str]
"""(row number, text, answer) for each row, and a note on what was left out or put right."""

MOST_WORDS = 60
"""Of a first sentence; what goes on longer is a list or a page without full stops."""
_PLAYER = re.compile(r"^(Share this with )?Media playback is (un|not )supported on (this|your) device\s*")
_SENTENCE = re.compile(r"(.{40,}?[.!?][\"'”’]?)\s+(?=[A-Z\"'“‘])", re.DOTALL)


def parse_headlines(content: bytes) -> Parsed:
    """A zip with one CSV of title, subtitle and text: the text's first sentence, and the title as the answer."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        text = archive.read("NewsArticles.csv").decode("utf-8")
    lines = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    rows: list[tuple[int, str, str]] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        lead, title = first_sentence(line["text"]), " ".join(line["title"].split())
        if lead and title and lead not in seen and len(lead.split()) <= MOST_WORDS:
            seen.add(lead)
            rows.append((number, lead, title))
    left = (
        f"{count(len(lines) - len(rows), 'article')} without a text or a title, equal to an earlier one, or without sentences"
    )
    return rows, f"left out {left}"


def first_sentence(text: str) -> str:
    """The first sentence of an article, without what the page's player says before it; of all of it, where none ends."""
    plain = _PLAYER.sub("", " ".join(text.split()))
    found = _SENTENCE.match(plain + " A")
    return found[1] if found else plain


def parse_film_lines(content: bytes) -> Parsed:
    """CSV with the columns (number), statement, reply. Pairs with an empty side are left out."""
    lines = list(csv.DictReader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
    pairs = [(number, line["statement"].strip(), line["reply"].strip()) for number, line in enumerate(lines, 1)]
    rows = [pair for pair in pairs if pair[1] and pair[2]]
    gone = len(lines) - len(rows)
    return rows, f"left out {count(gone, 'pair')} with an empty side" if gone else ""
