"""A text that the model writes, token by token, beside other rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pegbox.backbone.decoding import pick, until
from pegbox.backbone.mixed import Passage
from pegbox.data.rows import Rows
from pegbox.serve.served import Served
from pegbox.serve.work import Seated


@dataclass(frozen=True)
class Wish:
    """How a text is to be written.

    Settings:
        tokens: the most tokens.
        temperature: 0 takes the likeliest token each time.
        top_p: tokens are drawn from the likeliest that together have this share.
        seed: of this text's own chance; its neighbours in the batch have no part in it.
        stop: strings at which it ends; they are left out.
    """

    tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Written:
    """What was written: its text, why it ended ("stop" or "length"), and its tokens and those before it."""

    text: str
    reason: str
    tokens: int
    read: int


class Writing(Seated[Written]):
    """One text to be written after a row's prompt.

    Settings:
        say: told each new piece of text, on the model's thread.
    """

    def __init__(
        self, served: Served, row: Rows, wish: Wish, seconds: float, say: Callable[[str], None] = lambda _: None
    ) -> None:
        super().__init__(1, seconds)
        self._served, self._row, self.wish, self.say = served, row, wish, say

    def seat(self) -> WritingSeat:
        room = min(self.wish.tokens, self._served.tuned.backbone.context // 2)  # a long wish does not push out the text
        passage = self._served.standing.write(self._row, room)[0].passages[0]
        self.seated += 1
        self.tokens += len(passage.codes)
        return WritingSeat(self, passage)


class WritingSeat:
    """A text that is being written."""

    def __init__(self, work: Writing, passage: Passage) -> None:
        self.work, self.waited = work, 0
        self.passages: Sequence[Passage] = (passage,)
        self._passage = passage
        self._read = sum(run.length for run in passage.head) + len(passage.codes)
        self._draw = _Drawing(work.wish)
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
        if not self.work.future.done():
            self.work.future.set_result(Written(text, reason, len(self._ids), self._read))
        return True


class _Drawing:
    """Picks tokens as a wish says."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._chance = torch.Generator()
        if wish.seed is None:
            self._chance.seed()
        else:
            self._chance.manual_seed(wish.seed)

    def token(self, logits: torch.Tensor) -> int:
        """Shape: logits [V]."""
        return pick(logits, self._wish.temperature, self._wish.top_p, self._chance)


def _certain(text: str, stop: Sequence[str]) -> str:
    """What of a text can be told already: no half character at its end, and nothing that may become a stop string."""
    held = max((n for mark in stop for n in range(1, len(mark)) if text.endswith(mark[:n])), default=0)
    return text[: len(text) - held].rstrip("\ufffd")
