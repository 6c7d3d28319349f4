"""Splits: nothing lost, nothing on both sides, every label on both sides, the same on every machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pegbox.data.rows import Rows
from pegbox.data.split import dev_split, few_shot, split
from pegbox.errors import DataError, SettingsError

SOURCES = str(Path(__file__).parents[2] / "src")


def made(sizes: dict[str, int]) -> Rows:
    texts = [f"{label} {number}" for label, size in sizes.items() for number in range(size)]
    return Rows.from_texts(texts, [text.split()[0] for text in texts])


labelled = st.lists(st.tuples(st.integers(0, 12).map(str), st.sampled_from("xyz")), min_size=2, max_size=40).map(
    lambda pairs: Rows.from_texts([text for text, _ in pairs], [label for _, label in pairs])
)
singles = st.lists(st.sampled_from("xyz"), min_size=2, max_size=60).map(
    lambda labels: Rows.from_texts([f"text {at}" for at in range(len(labels))], labels)
)


def splittable(rows: Rows) -> bool:
    texts: dict[str, set[str]] = {}
    for text, label in zip(rows.column(), rows.answers(), strict=True):
        texts.setdefault(label, set()).add(text)
    return any(len(found) > 1 for found in texts.values())


@given(labelled, st.floats(0.01, 0.99), st.integers(0, 5))
def test_nothing_is_lost_and_no_text_is_on_both_sides(rows: Rows, size: float, seed: int) -> None:
    if not splittable(rows):
        with pytest.raises(DataError, match="no label has two different texts"):
            split(rows, size, seed)
        return
    try:
        rest, part = split(rows, size, seed)
    except DataError:
        # several labels on the same few texts can leave every label with one text of its own
        assert any(len(set(labels)) > 1 for labels in _labels_by_text(rows).values())
        return
    assert sorted(rest.numbers + part.numbers) == list(rows.numbers)
    assert not set(rest.column()) & set(part.column())
    assert len(rest) > 0
    assert len(part) > 0
    assert list(rest.numbers) == sorted(rest.numbers)
    assert list(part.numbers) == sorted(part.numbers)


def _labels_by_text(rows: Rows) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text, label in zip(rows.column(), rows.answers(), strict=True):
        found.setdefault(text, []).append(label)
    return found


@given(singles, st.data(), st.integers(0, 5))
def test_sizes_and_shares_where_all_texts_differ(rows: Rows, data: st.DataObject, seed: int) -> None:
    sizes = Counter(rows.answers())
    many = {label: size for label, size in sizes.items() if size > 1}
    if not many:
        return
    wanted = data.draw(st.integers(1, len(rows) - 1))
    rest, part = split(rows, wanted, seed)
    possible = min(max(wanted, len(many)), sum(many.values()) - len(many))
    assert len(part) == possible
    drawn, left = Counter(part.answers()), Counter(rest.answers())
    for label in many:
        assert drawn[label] >= 1
        assert left[label] >= 1
    assert all(drawn[label] == 0 for label, size in sizes.items() if size == 1)


@given(labelled.filter(splittable), st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_order_of_the_file_does_not_matter(rows: Rows, seed: int, random: object) -> None:
    distinct = rows.take([at for at, text in enumerate(rows.column()) if rows.column().index(text) == at])
    if not splittable(distinct):
        return
    order = list(range(len(distinct)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert sorted(split(distinct.take(order), 0.3, seed)[1].column()) == sorted(split(distinct, 0.3, seed)[1].column())


def test_shares_by_hand() -> None:
    # 20 of 100: shares of 60, 30 and 10 rows are 12, 6 and 2
    _, part = split(made({"a": 60, "b": 30, "c": 10}), 0.2, 0)
    assert Counter(part.answers()) == {"a": 12, "b": 6, "c": 2}
    # 10 of 98: shares 7.14, 2.65 and 0.20; the floors and the one that c is due are 7, 2, 1, which is 10
    _, part = split(made({"a": 70, "b": 26, "c": 2}), 10, 0)
    assert Counter(part.answers()) == {"a": 7, "b": 2, "c": 1}


def test_seeds_differ_and_repeat() -> None:
    rows = made({"a": 50, "b": 50})
    assert split(rows, 0.2, 1) == split(rows, 0.2, 1)
    assert split(rows, 0.2, 1)[1].numbers != split(rows, 0.2, 2)[1].numbers


def test_each_row_is_drawn_about_as_often() -> None:
    rows = made({"a": 10, "b": 10})
    drawn = Counter(number for seed in range(500) for number in split(rows, 0.2, seed)[1].numbers)
    # binomial(500, 0.2): mean 100, standard deviation 8.9; 5 of them on either side
    assert set(drawn) == set(rows.numbers)
    assert all(55 < times < 145 for times in drawn.values())


def test_the_order_is_that_of_sha256_of_seed_and_text() -> None:
    rows = Rows.from_texts(["one", "two", "three", "four"])
    first = min(rows.column(), key=lambda text: hashlib.sha256(f'[3, [["text", "{text}"]]]'.encode()).digest())
    assert split(rows, 1, 3)[1].column() == [first]


def test_the_same_on_every_hash_seed() -> None:
    code = "from pegbox.data import *; r = Rows.from_texts([str(n) for n in range(40)], ['ab'[n % 2] for n in range(40)]); "
    code += "print(split(r, 0.3, 5)[1].numbers, few_shot(r, 3, 5).numbers)"
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": SOURCES},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert "(" in said.pop()


def test_a_label_seen_once_stays_in_the_rest() -> None:
    _, part = split(made({"a": 8, "b": 1}), 0.5, 0)
    assert set(part.answers()) == {"a"}


def test_equal_texts_with_two_labels_stay_together() -> None:
    rows = Rows.from_texts(["t", "t", "u", "v", "w", "k"], ["x", "y", "x", "x", "x", "y"])
    for seed in range(20):
        rest, part = split(rows, 0.5, seed)
        assert not set(rest.column()) & set(part.column())
        assert set(rest.answers()) == set(part.answers()) == {"x", "y"}


def test_rows_without_labels() -> None:
    rest, part = split(Rows.from_texts([str(n) for n in range(10)]), 3, 0)
    assert (len(rest), len(part)) == (7, 3)
    assert part.labels is None


@pytest.mark.parametrize("size", [0, -1, 10, 0.0, 1.0, 1.5, -0.5, float("nan"), True])
def test_impossible_sizes(size: float) -> None:
    with pytest.raises(SettingsError, match=r"a part of size .* of 10 rows"):
        split(made({"a": 5, "b": 5}), size, 0)


def test_a_whole_float_is_a_count() -> None:
    assert len(split(made({"a": 5, "b": 5}), 4.0, 0)[1]) == 4


def test_nothing_to_split() -> None:
    with pytest.raises(DataError, match="cannot be split: no label has two different texts among its 3 rows"):
        split(Rows.from_texts(["a", "a", "b"], ["x", "x", "y"]), 0.5, 0)


@pytest.mark.parametrize(("rows", "expected"), [(10, 2), (100, 20), (2500, 500), (10_000, 500)])
def test_dev_is_a_fifth_but_500_at_most(rows: int, expected: int) -> None:
    train, dev = dev_split(made({"a": rows // 2, "b": rows // 2}), 0)
    assert (len(train), len(dev)) == (rows - expected, expected)


def test_dev_has_every_label() -> None:
    _, dev = dev_split(made({"a": 100, "b": 2, "c": 2, "d": 1}), 0)
    assert set(dev.answers()) == {"a", "b", "c"}


def test_few_shot_takes_so_many_of_each_and_grows_with_the_number() -> None:
    rows = made({"a": 30, "b": 20})
    four, eight = few_shot(rows, 4, 1), few_shot(rows, 8, 1)
    assert Counter(four.answers()) == {"a": 4, "b": 4}
    assert set(four.numbers) < set(eight.numbers)
    assert list(eight.numbers) == sorted(eight.numbers)
    assert few_shot(rows, 4, 2).numbers != four.numbers


def test_few_shot_takes_no_text_twice_and_names_labels_with_too_few() -> None:
    rows = Rows.from_texts(["s", "s", "s", "t", "u", "v", "w"], ["x"] * 4 + ["y"] * 3)
    assert sorted(few_shot(rows, 2, 0).column()[:2]) == ["s", "t"]
    with pytest.raises(DataError, match=r"3 shots were asked for, but 'x' has 2\n(.|\n)*--shots 2"):
        few_shot(rows, 3, 0)
    with pytest.raises(SettingsError, match="0 shots"):
        few_shot(rows, 0, 0)
