"""Texts that the model writes, token by token, beside other rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pegbox.backbone.decoding import chance, pick, until
from pegbox.backbone.mixed import Asked
from pegbox.data.rows import Rows
from pegbox.serve.served import Served
from pegbox.serve.work import Seated
from pegbox.task.generation import Generation


@dataclass(frozen=True)
class Wish:
    """How a text is to be written.

    Settings:
        tokens: the most tokens.
        temperature: 0 takes the likeliest token each time.
        top_p: tokens are drawn from the likeliest that together have this share.
        seed: of the texts' chance; each has a stream of its own, by its number, and its neighbours in the batch no part in it.
        stop: strings at which it ends; they are left out.
        first: the number of the first text.
    """

    tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    first: int = 0


def own_wish(served: Served, most: int, first: int = 0) -> Wish:
    """How a prompt's own task writes.

    Settings:
        most: the most tokens that the server writes.
    """
    task = served.tuned.task
    assert isinstance(task, Generation)
    return Wish(min(served.room, most), task.temperature, task.top_p, task.seed, task.stop, first)


@dataclass(frozen=True)
class Written:
    """What was written: its text, why it ended ("stop" or "length"), its tokens and those before it; whether these were cut."""

    text: str
    reason: str
    tokens: int
    read: int
    cut: bool


class Writing(Seated[list[Written]]):
    """A text to be written after each row's prompt.

    Settings:
        say: told each new piece of a text, on the model's thread; for a single row.
    """

    def __init__(
        self, served: Served, rows: Rows, wish: Wish, seconds: float, say: Callable[[str], None] = lambda _: None
    ) -> None:
        super().__init__(len(rows), seconds)
        self._served, self._rows, self.wish, self.say = served, rows, wish, say
        self._found: dict[int, Written] = {}

    def seat(self) -> WritingSeat:
        room = min(self.wish.tokens, self._served.tuned.backbone.context // 2)  # a long wish does not push out the text
        at = self.seated
        asked = self._served.standing.write(self._rows.take([at]), room)[0]
        self.seated += 1
        self.tokens += asked.passages[0].left
        return WritingSeat(self, at, asked)

    def settle(self, at: int, written: Written) -> None:
        """Takes one row's text; the last one ends the work."""
        self._found[at] = written
        if len(self._found) == self.size and not self.future.done():
            self.future.set_result([self._found[row] for row in range(self.size)])


class WritingSeat:
    """A text that is being written."""

    def __init__(self, work: Writing, at: int, asked: Asked) -> None:
        self.work, self.size, self.waited = work, 1, 0
        self.passages = asked.passages
        self._at, self._cut = at, asked.cut
        (self._passage,) = asked.passages
        self._read = self._passage.length
        self._draw = _Drawing(work.wish, at)
        self._ids: list[int] = []
        self._told = 0

    def step(self) -> bool:
        token = self._draw.token(self._passage.standing.next_logits(self._passage))
        if token in self._passage.standing.ends:
            return self._end("stop")
        self._ids.append(token)
        whole = self._passage.standing.text(self._ids)
        text = until(whole, self.work.wish.stop)
        if text != whole:
            return self._end("stop", text)
        if len(self._ids) == self.work.wish.tokens:
            return self._end("length")
        self._tell(_certain(text, self.work.wish.stop))
        self._passage.go_on(token)
        self.work.tokens += 1
        return False

    def _tell(self, text: str) -> None:
        if len(text) > self._told:
            self.work.say(text[self._told :])
            self._told = len(text)

    def _end(self, reason: str, text: str | None = None) -> bool:
        text = self._passage.standing.text(self._ids) if text is None else text
        self._tell(text)
        self.work.settle(self._at, Written(text, reason, len(self._ids), self._read, self._cut))
        return True


class _Drawing:
    """Picks the tokens of one text as a wish says."""

    def __init__(self, wish: Wish, at: int) -> None:
        self._wish = wish
        self._chance = torch.Generator()
        if wish.seed is None:
            self._chance.seed()
        else:
            self._chance = chance(wish.seed, wish.first + at)

    def token(self, logits: torch.Tensor) -> int:
        """Shape: logits [V]."""
        return pick(logits, self._wish.temperature, self._wish.top_p, self._chance)


def _certain(text: str, stop: Sequence[str]) -> str:
    """What of a text can be told already: no half character at its end, and nothing that may become a stop string."""
    held = max((n for mark in stop for n in range(1, len(mark)) if text.endswith(mark[:n])), default=0)
    return text[: len(text) - held].rstrip("\ufffd")
