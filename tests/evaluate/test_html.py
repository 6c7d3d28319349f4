"""The page: whole, still, and safe with any text."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pegbox.evaluate.html import page, pieces
from pegbox.evaluate.record import Cell, Comparison
from pegbox.evaluate.report import Report

VOID = {"meta", "br", "path", "use", "rect", "circle", "line"}


class Reader(HTMLParser):
    """Collects tags, attributes and text, and insists that every element is closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def page_of(comparison: Comparison) -> str:
    return page(Report.of(comparison, accuracy_resamples=200, score_resamples=50))


def test_the_page_tells_the_story_in_order(rich_comparison: Comparison, tmp_path: Path) -> None:
    path = Report.of(rich_comparison, 200, 50).to_html(tmp_path / "report.html")
    reader = read(path.read_text(encoding="utf-8"))
    said = " ".join("".join(reader.text).split())
    heads = [
        "hybrid wins: 93.0% of 200 test rows right.",
        "Which to use",
        "Scores on the test rows",
        "What it costs",
        "Where it goes wrong",
        "How they learned",
        "The prompts",
        "How these numbers were made",
        "Settings",
    ]
    places = [said.index(head, 200 if head != heads[0] else 0) for head in heads]
    assert places == sorted(places)
    assert reader.tags.count("svg") == 3
    for fact in ("Nearest words prove little", "A note & more.", "3 texts were cut", "versions.pegbox", "McNemar", "Holm"):
        assert fact in said, fact
    # tfidf has the first 125 of 200 right, labels taking turns: 63 + 38 answers "no" and 62 + 37 "yes".
    for trio in ("62.5 / 62.5 / 62.5", "62.4 / 63.0 / 62.7", "62.6 / 62.0 / 62.3"):
        assert trio in said, trio


def test_the_page_names_the_methods_with_one_seed(
    rich_comparison: Comparison, make_cell: Any, make_comparison: Any, first: Any
) -> None:
    cells = [make_cell("majority", first(60, 200), seed, spends=False) for seed in (0, 1, 2)]
    cells += [make_cell("soft", first(190, 200), 0, "soft"), make_cell("search", first(150, 200), 0, "hard")]
    said = "".join(read(page_of(make_comparison(*cells))).text)
    assert "Run with one seed: soft, search; what another seed would give them is not known." in said
    assert "Run with one seed" not in "".join(read(page_of(rich_comparison)).text)


def test_the_page_loads_nothing(rich_comparison: Comparison) -> None:
    reader = read(page_of(rich_comparison))
    assert not {"script", "link", "img", "iframe", "object", "image"} & set(reader.tags)
    for tag, name, value in reader.attributes:
        if name in ("src", "href", "xlink:href", "action"):
            assert value.startswith("#"), (tag, name, value)
        assert "url(" not in value or "url(#" in value
    assert "@import" not in "".join(reader.text)


def test_what_users_wrote_is_text(rich_comparison: Comparison) -> None:
    text = page_of(rich_comparison)
    assert "<script>" not in text
    assert "&lt;script&gt;alert" in text
    said = "".join(read(text).text)
    assert "<script>alert('x')</script> {text} [soft x]" in said
    assert '[hard say="Is it <b>good</b>?"]' in said


def test_long_texts_are_shortened(rich_comparison: Comparison) -> None:
    said = "".join(read(page_of(rich_comparison)).text)
    assert "a very long text a very" in said
    assert "[…]" in said
    assert "a very long text " * 30 not in said


def test_the_same_report_gives_the_same_page(rich_comparison: Comparison) -> None:
    assert page_of(rich_comparison) == page_of(rich_comparison)


def test_pictures_take_their_colours_from_the_page(rich_comparison: Comparison) -> None:
    pictures = "".join(re.findall(r"<svg.*?</svg>", page_of(rich_comparison), re.DOTALL))
    assert "var(--hybrid)" in pictures
    assert set(re.findall(r"#[0-9a-fA-F]{6}\b", pictures)) <= set()


def odd_labels(count: int) -> Comparison:
    generator = np.random.default_rng(1)
    gold = generator.integers(0, count, 120)
    labels = tuple(f"label {i} 标签 <i>\u202e" for i in range(count))
    chances = [generator.dirichlet(np.ones(count), 120).astype(np.float32) for _ in range(2)]
    names = ("方法 $x^2$ \x00\ud800", "m&m <b>")
    cells = tuple(Cell(name, "soft", 0, chance, prompt="\x00 \ud800") for name, chance in zip(names, chances, strict=True))
    texts = tuple(f"\x00 \ud800 \u202e {i}" for i in range(120))
    return Comparison(labels, texts, gold, tuple(range(120)), cells, notes=("\ud800",))


@pytest.mark.parametrize("count", [2, 15, 16, 40])
def test_any_number_of_labels_and_any_letters(count: int, tmp_path: Path) -> None:
    report = Report.of(odd_labels(count), 100, 50)
    text = report.to_html(tmp_path / "x.html").read_text(encoding="utf-8")
    said = "".join(read(text).text)
    assert ("Commonest confusions" in said) == (count > 15)
    assert "m&m <b>" in said
    assert "\u202e" not in said


def test_a_page_of_almost_nothing(make_cell: Any, make_comparison: Any, first: Any) -> None:
    said = "".join(read(page_of(make_comparison(make_cell("majority", first(2, 2))))).text)
    assert "Only majority was run: 100.0% of 2 test rows right." in said
    few = read(page_of(make_comparison(make_cell("soft", first(1, 2)), make_cell("search", first(0, 2))))).text
    assert "over 100" in few  # no difference can be noticed on two rows
    for absent in ("How they learned", "The prompts", "Noticed on the way", "against\nzero-shot"):
        assert absent not in said


def test_broken_trails_do_no_harm(rich_comparison: Comparison) -> None:
    trail = ({}, {"event": "dev"}, {"event": "dev", "step": None, "accuracy": "x"}, {"event": "candidate"}, {"event": "best"})
    cells = tuple(replace(cell, trail=trail) for cell in rich_comparison.cells)
    assert "How they learned" not in page_of(replace(rich_comparison, cells=cells))


def test_a_prompt_is_cut_at_its_marks() -> None:
    said = 'Rate \\[x\\] [hard say="a ] \\" b"] {text} [soft s 4][answer pos="good"]'
    assert pieces(said) == [
        ("Rate \\[x\\] ", ""),
        ('[hard say="a ] \\" b"]', "hard"),
        (" ", ""),
        ("{text}", "mark"),
        (" ", ""),
        ("[soft s 4]", "soft"),
        ('[answer pos="good"]', "mark"),
    ]
    assert pieces("\\{text} \\[answer]") == [("\\{text} \\[answer]", "")]
