"""Work for the model thread: rows to be scored, words of sentences among them."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.mixed import CHUNK, Asked, Passage, branch_off, stem_of
from pegbox.data.rows import Rows
from pegbox.data.words import WordRows
from pegbox.serve.errors import GoneError, LateError, ServeError
from pegbox.serve.served import Served
from pegbox.serve.settings import Limits

Result = TypeVar("Result")
SPELLED = 32
"""Rows of one request that are turned into tokens at a time."""


class Seat(Protocol):
    """A row's place in the running batch, or that of some words of a sentence.

    Settings:
        size: how many rows, or words.
        waited: the turns since it was last read on.
    """

    size: int
    waited: int

    @property
    def work(self) -> Seated[Any]: ...
    @property
    def passages(self) -> Sequence[Passage]: ...
    def step(self) -> bool:
        """Called when all its passages were read: takes what it wanted; says whether it is done."""


class Work(Generic[Result]):
    """One request: its deadline, and where its result goes.

    Settings:
        size: its rows.
        seconds: how long it may take.
    """

    def __init__(self, size: int, seconds: float) -> None:
        self.size, self.seconds = size, seconds
        self.future: Future[Result] = Future()
        self._began = time.monotonic()
        self._gone = threading.Event()

    def leave(self) -> None:
        """The client is gone: its places are free from the next turn on."""
        self._gone.set()

    @property
    def ending(self) -> ServeError | None:
        """Why no more of it is to be done; None while it is wanted."""
        if self._gone.is_set():
            return GoneError()
        return LateError(self.seconds) if time.monotonic() - self._began > self.seconds else None

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Seated(Work[Result], ABC):
    """Work whose rows sit in the running batch."""

    def __init__(self, size: int, seconds: float) -> None:
        super().__init__(size, seconds)
        self.tokens = 0
        self.seated = 0

    @property
    def waiting(self) -> int:
        """Rows that have no seat yet."""
        return self.size - self.seated

    @abstractmethod
    def seat(self) -> Seat:
        """The next row's place."""


class Scoring(Seated[tuple[NDArray[np.float32], tuple[int, ...]]]):
    """Rows to be labelled: the result is probabilities [B, C], and the positions of rows whose texts were cut."""

    def __init__(self, served: Served, rows: Rows, seconds: float) -> None:
        super().__init__(len(rows), seconds)
        self._served, self._rows = served, rows
        self._found: list[NDArray[np.float32] | None] = [None] * len(rows)
        self._cut: list[int] = []
        self._left = len(rows)
        self._spelled: deque[Asked] = deque()

    def seat(self) -> Seat:
        if not self._spelled:
            some = range(self.seated, min(self.seated + SPELLED, self.size))
            self._spelled.extend(self._served.standing.ask(self._rows.take(some)))
        asked, at = self._spelled.popleft(), self.seated
        self._noted(asked)
        return ScoringSeat(self, at, asked.passages)

    def _noted(self, asked: Asked) -> None:
        """Notes that the next row has a seat."""
        self.tokens += sum(passage.left for passage in asked.passages)
        if asked.cut:
            self._cut.append(self.seated)
        self.seated += 1

    def settle(self, at: int, passages: Sequence[Passage]) -> None:
        """Takes one row's result; the last one ends the work."""
        self._found[at] = self._served.probabilities(passages)
        self._left -= 1
        if not self._left and not self.future.done():
            self.future.set_result((np.stack([row for row in self._found if row is not None]), tuple(self._cut)))


class ScoringSeat:
    """A row that is being scored."""

    def __init__(self, work: Scoring, at: int, passages: Sequence[Passage]) -> None:
        self.work, self.passages, self.size, self.waited = work, passages, 1, 0
        self._at = at

    def step(self) -> bool:
        self.work.settle(self._at, self.passages)
        return True


class WordScoring(Scoring):
    """Words of sentences to be scored as `Scoring` does; a seat is some words of one sentence, which is read once for them.

    Settings:
        limits: a seat has no more words than there may be rows in the batch, and than are read in one turn once they part.
    """

    def __init__(self, served: Served, words: WordRows, seconds: float, limits: Limits) -> None:
        super().__init__(served, words, seconds)
        self._sentences, self._limits = words.sentences, limits

    def seat(self) -> Seat:
        first = self.seated
        if not self._spelled:  # else they are further words of the same sentence
            some = range(first, min(first + SPELLED, self.size))
            together = [at for at in some if self._sentences[at] == self._sentences[first]]
            self._spelled.extend(self._served.standing.ask(self._rows.take(together)))
        most = self._most([one.passages for one in self._spelled])
        asked = [self._spelled.popleft() for _ in range(min(most, len(self._spelled)))]
        for one in asked:
            self._noted(one)
        return WordsSeat(self, first, [one.passages for one in asked])

    def _most(self, words: Sequence[Sequence[Passage]]) -> int:
        """How many of these words may share a seat: where the sentence stands after them, each is read with all of it."""
        every = [passage for own in words for passage in own]
        stem = stem_of(every) if len(every) > 1 else None
        before = 0 if stem is None else len(stem.codes)
        longest = max(sum(min(one.left - before, CHUNK + one.wanted) for one in own) for own in words)
        return min(self._limits.batch_rows, max(1, self._limits.turn_tokens // longest))


class WordsSeat:
    """Words of one sentence: what they begin with alike is read first, then all of them at once."""

    def __init__(self, work: WordScoring, first: int, words: Sequence[Sequence[Passage]]) -> None:
        self.work, self.size, self.waited = work, len(words), 0
        self._first, self._words = first, words
        self._all = [passage for own in words for passage in own]
        self._stem = stem_of(self._all) if len(self._all) > 1 else None
        self._length = 0 if self._stem is None else len(self._stem.codes)
        self.passages: Sequence[Passage] = self._all if self._stem is None else (self._stem,)

    def step(self) -> bool:
        if self._stem is not None:
            branch_off(self._stem, self._length, self._all)
            self.passages, self._stem = self._all, None
            return False
        for at, own in enumerate(self._words, self._first):
            self.work.settle(at, own)
        return True


class Errand(Work[Result]):
    """A piece of work that only the model's thread may do: by itself, a step at a time, each between two turns.

    Settings:
        steps: nothing after each step but the last one, which ends with the result.
    """

    def __init__(self, steps: Generator[None, None, Result], size: int = 1, seconds: float = 3600.0) -> None:
        super().__init__(size, seconds)
        self._steps = steps

    def run(self) -> bool:
        """Does the next step; says whether it was the last. What goes wrong is for its caller, who waits for the result."""
        try:
            next(self._steps)
        except StopIteration as end:
            with suppress(InvalidStateError):  # nobody waits any more
                self.future.set_result(end.value)
        except Exception as error:  # noqa: BLE001  # handed on
            self.fail(error)
        else:
            return False
        return True


def single(act: Callable[[], Result]) -> Generator[None, None, Result]:
    """An errand's only step."""
    yield from ()
    return act()
