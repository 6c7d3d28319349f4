"""Reading: any source of labelled text becomes rows to tune on and sealed rows to test on; nothing is lost silently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pegbox.data.check import FIELD_LIMIT, OnProblem, count, no_rows
from pegbox.data.memory import is_a
from pegbox.data.review import review, two_labels, without_leaks, without_repeats, without_unseen
from pegbox.data.rows import Data, Rows, Sealed
from pegbox.data.samples import sample
from pegbox.data.split import split
from pegbox.data.stream import Reading
from pegbox.data.table import SAMPLE, Columns, Table, read_table
from pegbox.errors import DataError


def read(
    source: Any,
    text: Columns = None,
    label: str | None = None,
    *,
    fields: Sequence[str] = (),
    test: Any = None,
    dev: Any = None,
    test_size: float = 0.2,
    seed: int = 0,
    encoding: str | None = None,
    on_problem: OnProblem = "error",
    field_limit: int = FIELD_LIMIT,
    quotes: bool = True,
) -> Data:
    """Labelled rows to tune on, and sealed rows to test on.

    Settings:
        source: a path (.csv, .tsv, .jsonl, .json, .parquet), a DataFrame, a datasets.Dataset or DatasetDict, a list of
            (text, label) pairs or of dicts, a tuple of two lists (texts, labels), Rows, or "sample:NAME".
        text: the column of the text, or several; the first becomes the field ``text``, the others keep their names.
            None: guessed if only one can be meant. A source without column names does not ask.
        label: the column of the labels. None: guessed likewise.
        fields: more columns that a prompt may use; their cells may be blank.
        test: rows to test on, as a source with the same columns. None: split off `source`.
        dev: rows to choose on, likewise. None: each run splits them off the training rows.
        test_size: what to split off if there is no `test`: a fraction (0.2) or a number of rows (100); 0 for none.
        seed: which rows are split off.
        encoding: the files' encoding; None is UTF-8.
        on_problem: "error" stops at rows that cannot be used, and at training rows that are also test rows. "drop" leaves
            them out, and training rows that repeat an earlier one, and says so in the notes.
        field_limit: the most characters that one cell may hold.
        quotes: whether double quotes wrap cells of CSV and TSV files.
    Raises: DataError with the source, the rows and what to do.
    """
    reading = Reading(encoding, quotes, field_limit, on_problem)
    _check_sample(source)
    source, test, dev = parts_of(source, test, dev)
    main = read_table(source, text, label, True, fields=fields, reading=reading)
    notes = [*main.notes, *review(main.rows)]
    tests, devs = (
        None if other is None else _like(other, main, (text, label, fields), reading, notes) for other in (test, dev)
    )
    return parted(main.rows, tests, devs, test_size, seed, on_problem, notes)


def _check_sample(source: Any) -> None:
    """Raises DataError for a sample whose answers are no labels."""
    if isinstance(source, str) and source.startswith(SAMPLE):
        known = sample(source.removeprefix(SAMPLE))
        if known.task != "classify":
            raise DataError(
                f"{source}, {known.description}", "a sample of labelled texts", f"say --task {known.task} (task={known.task!r})"
            )


def parts_of(source: Any, test: Any, dev: Any) -> tuple[Any, Any, Any]:
    """Source, test and dev; what a DatasetDict holds and the user did not give is taken from it."""
    if not is_a(source, "datasets", "DatasetDict"):
        return source, test, dev
    if "train" not in source:
        raise DataError(
            f"a DatasetDict with the parts {', '.join(source)}",
            "a part called 'train'",
            "give one of its parts: datasets['...']",
        )
    held = next((source[name] for name in ("validation", "valid", "dev") if name in source), None)
    return source["train"], source.get("test") if test is None else test, held if dev is None else dev


def read_parts(
    source: Any, test: Any, dev: Any, read_one: Callable[[Any], tuple[Rows, Sequence[str]]]
) -> tuple[Rows, Rows | None, Rows | None, list[str]]:
    """Training, test and dev rows, each read by itself, and what is to be said of them."""
    notes: list[str] = []

    def rows_of(part: Any) -> Rows:
        rows, more = read_one(part)
        notes.extend(more)
        return rows

    main, *others = parts_of(source, test, dev)
    train = rows_of(main)
    tests, devs = (None if other is None else rows_of(other) for other in others)
    return train, tests, devs, notes


def _like(
    other: Any, main: Table, asked: tuple[Columns, str | None, Sequence[str]], reading: Reading, notes: list[str]
) -> Rows:
    """Test or dev rows, from the same columns as the training rows."""
    text, label, fields = asked
    if main.named:
        columns = main.choice.fields.values()
        text = [column for column in columns if column in main.choice.needed]
        fields = [column for column in columns if column not in main.choice.needed]
        label = main.choice.label
    table = read_table(other, text, label, True, fields=fields, reading=reading)
    notes += [*table.notes, *review(table.rows)]
    return table.rows


def parted(
    train: Rows, test: Rows | None, dev: Rows | None, test_size: float, seed: int, on_problem: OnProblem, notes: list[str]
) -> Data:
    """The parts, with none of their texts in two of them; where rows have labels, with no label that training lacks.

    Settings:
        notes: what is to be said so far; what is noticed here is added.
        The rest is as in `read`.

    Raises: DataError for texts in two parts, and for labels that cannot be learned.
    """
    labelled = train.labels is not None
    if labelled:
        two_labels(train)
    if on_problem == "drop":
        train = _noted(without_repeats(train), notes)
    if test is not None:
        train = _noted(without_leaks(train, test, on_problem), notes)
    elif test_size:
        train, test = split(train, test_size, seed)
        share, how = f"{len(test):,} of {count(len(test) + len(train), 'row')}", "stratified, " if labelled else ""
        notes.append(f"{train.source}: {share} are split off as test rows ({how}seed {seed}) and sealed.")
    if dev is not None:
        dev = dev if test is None else _noted(without_leaks(dev, test, on_problem), notes)
        train = _noted(without_leaks(train, dev, on_problem), notes)
        dev = _noted(without_unseen(dev, train, on_problem), notes) if labelled else dev
    if labelled:
        two_labels(train)
    if test is not None and labelled:
        test = _noted(without_unseen(test, train, on_problem), notes)
    return Data(train, None if test is None else Sealed(test), dev, tuple(notes))


def _noted(found: tuple[Rows, tuple[str, ...]], notes: list[str]) -> Rows:
    rows, more = found
    notes.extend(more)
    if not rows:
        raise no_rows(rows.source, f"has no rows that can be used ({' '.join(more)})")
    return rows
