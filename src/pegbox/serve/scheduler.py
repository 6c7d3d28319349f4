"""The one thread that owns the model, and the running batch.

Requests of any prompts wait in one bounded queue. Each turn, rows are given seats in the batch, one for each request in turn,
so that a large request does not hold up small ones behind it; then seated rows are read on: short parts first, those that have
waited for long before them, as many as fit into a turn. A row that is done frees its seat for the next. Between two turns comes
what is done by itself, one step of it.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.errors import PegboxError
from pegbox.serve.errors import BusyError, FailedError, StoppingError
from pegbox.serve.settings import Limits
from pegbox.serve.work import Errand, Seat, Seated, single

Result = TypeVar("Result")
PATIENCE = 4
"""Turns after which a seat goes before shorter ones."""
_log = logging.getLogger("pegbox.serve")


class Meter(Protocol):
    """Told of every turn."""

    def turn(self, rows: int, tokens: int, seconds: float) -> None: ...


class Scheduler:
    """See above.

    Settings:
        backbone: the model; nobody else may use it while the thread runs.
        limits: how many rows wait, are under way, and are read in a turn.
        meter: told how full each turn was.
    """

    def __init__(self, backbone: HuggingFaceBackbone, limits: Limits, meter: Meter) -> None:
        self.backbone = backbone
        self._limits, self._meter = limits, meter
        self._works: deque[Seated[Any]] = deque()
        self._errands: deque[Errand[Any]] = deque()
        self._seats: list[Seat] = []
        self._news = threading.Condition()
        self._stopping = False
        self._pace = 0.0  # rows a second, lately
        self._thread = threading.Thread(target=self._loop, name="pegbox-model", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 30.0) -> None:
        """Takes no more work, ends what there is, and stops; what is not done in time is told so."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
        self._thread.join(seconds)
        with self._news:
            left = [*self._works, *self._errands, *(seat.work for seat in self._seats)]
        for work in left:
            work.leave()
            work.fail(StoppingError())

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._stopping

    @property
    def waiting(self) -> int:
        """Rows in the queue."""
        with self._news:
            return self._queued()

    def _queued(self) -> int:
        return sum(work.waiting for work in self._works) + sum(errand.size for errand in self._errands)

    def submit(self, work: Seated[Result] | Errand[Result]) -> Future[Result]:
        """Puts work into the queue.

        Raises: BusyError where the queue is full; StoppingError where no more is taken.
        """
        with self._news:
            if self._stopping:
                raise StoppingError
            if (queued := self._queued()) + work.size > self._limits.queue_rows:
                raise BusyError(queued, self._seconds_for(queued))
            if isinstance(work, Errand):
                self._errands.append(work)
            else:
                self._works.append(work)
            self._news.notify()
        return work.future

    def call(self, act: Callable[[], Result]) -> Future[Result]:
        """Lets the model's thread do something between two turns."""
        return self.submit(Errand(single(act)))

    def _seconds_for(self, rows: int) -> int:
        return min(60, max(1, math.ceil(rows / self._pace))) if self._pace else 1

    def _loop(self) -> None:
        while self._something_to_do():
            self._run_errand()
            self._drop_unwanted()
            self._fill_seats()
            self._take_turn()

    def _something_to_do(self) -> bool:
        with self._news:
            while not (self._works or self._errands or self._seats):
                if self._stopping:
                    return False
                self._news.wait()
        return True

    def _run_errand(self) -> None:
        with self._news:
            errand = self._errands.popleft() if self._errands else None
        if errand is None:
            return
        if ending := errand.ending:
            errand.fail(ending)
        elif not errand.run():
            with self._news:
                self._errands.appendleft(errand)

    def _drop_unwanted(self) -> None:
        with self._news:
            every = (*self._works, *self._errands, *(seat.work for seat in self._seats))
            ended = {work: why for work in every if (why := work.ending)}
            self._works = deque(work for work in self._works if work not in ended)
            self._errands = deque(errand for errand in self._errands if errand not in ended)
        self._seats = [seat for seat in self._seats if seat.work not in ended]
        for work, why in ended.items():
            work.fail(why)

    def _fill_seats(self) -> None:
        while sum(seat.size for seat in self._seats) < self._limits.batch_rows:
            with self._news:
                if not self._works:
                    return
                work = self._works[0]
            seat = self._seated(work)
            with self._news:
                self._works.popleft()
                if seat is not None and work.waiting:
                    self._works.append(work)
            if seat is not None:
                self._seats.append(seat)

    def _seated(self, work: Seated[Any]) -> Seat | None:
        """The next row's seat; None where the work cannot be done, which its client is told."""
        try:
            return work.seat()
        except PegboxError as error:
            work.fail(error)
        except Exception:  # noqa: BLE001  # one request's trouble must not end the thread
            _log.exception("a row could not be prepared")
            work.fail(FailedError())
        return None

    def _take_turn(self) -> None:
        if not self._seats:
            return
        began = time.monotonic()
        turn = self._chosen()
        try:
            tokens = self.backbone.advance([passage for seat in turn for passage in seat.passages if not passage.done])
            ended = [seat for seat in turn if all(passage.done for passage in seat.passages) and seat.step()]
        except Exception:  # noqa: BLE001  # those who were in this turn are told, the others go on
            _log.exception("a turn failed")
            ended = turn
            for seat in turn:
                seat.work.fail(FailedError())
            tokens = 0
        self._seats = [seat for seat in self._seats if seat not in ended and not seat.work.future.done()]
        self._note(len(turn), sum(seat.size for seat in ended), tokens, time.monotonic() - began)

    def _chosen(self) -> list[Seat]:
        """The seats of this turn; at least one."""
        turn: list[Seat] = []
        left = self._limits.turn_tokens
        for seat in sorted(self._seats, key=lambda seat: (seat.waited < PATIENCE, _ahead(seat))):
            if turn and _ahead(seat) > left:
                seat.waited += 1
                continue
            left -= _ahead(seat)
            seat.waited = 0
            turn.append(seat)
        return turn

    def _note(self, rows: int, done: int, tokens: int, seconds: float) -> None:
        self._meter.turn(rows, tokens, seconds)
        pace = done / max(seconds, 1e-6)
        self._pace = pace if not self._pace else 0.9 * self._pace + 0.1 * pace


def _ahead(seat: Seat) -> int:
    """Positions that a seat would read in the next turn."""
    return sum(len(passage.part) for passage in seat.passages if not passage.done)
