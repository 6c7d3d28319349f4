"""Writing: what the model says after rows of one prompt, several rows at a time.

The prompt's own beginning is read once and kept; each row's keys and values are held from step to step, and a beam is one more
row that looks back on the same.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from pegbox.backbone.decoding import Decoding, chance, pick, until
from pegbox.backbone.engine import Engine
from pegbox.backbone.guide import Guide
from pegbox.backbone.mixed import Passage, Standing, advance
from pegbox.backbone.running import Running
from pegbox.data.rows import Rows

TOGETHER = 16
"""Rows, or beams, that are written at the same time."""
Steps = Generator[None, None, list[str]]
"""Writing that stops after every token, so that others have their turns in between; at its end the texts."""
HELD = 16384
"""Positions whose keys and values are held at the same time, about."""


@dataclass
class _Text:
    """A text on its way: its row, its tokens, what may come next, its log-probability."""

    row: int
    guide: Guide
    ids: tuple[int, ...] = ()
    score: float = 0.0

    def longer(self, token: int, score: float) -> _Text:
        return _Text(self.row, self.guide.after(token), (*self.ids, token), score)


@dataclass
class _Row:
    """One row's texts that are at their end, with what they are worth."""

    finished: list[tuple[float, str]] = field(default_factory=list)

    def add(self, worth: float, text: str, most: int) -> None:
        self.finished = sorted([*self.finished, (worth, text)], key=lambda one: -one[0])[:most]


def write(engine: Engine, standing: Standing, rows: Rows, decoding: Decoding, start: Guide) -> list[str]:
    """What the model writes where the prompt's answer stands, for each row.

    Settings:
        start: what may be written at the beginning.
    """
    steps = write_by_steps(engine, standing, rows, decoding, start)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return list(end.value)


@torch.no_grad()
def write_by_steps(engine: Engine, standing: Standing, rows: Rows, decoding: Decoding, start: Guide) -> Steps:
    """The same, step by step."""
    passages = [asked.passages[0] for asked in standing.write(rows, decoding.max_tokens)]
    texts = [""] * len(rows)
    for group in _groups(passages, decoding):
        some = [passages[at] for at in group]
        while left := [passage for passage in some if not passage.done]:
            advance(engine, left)
            yield
        writer = _Beams(engine, standing, decoding) if decoding.beams > 1 else _Lines(engine, standing, decoding)
        for at, text in zip(group, (yield from writer.write(some, group, start)), strict=True):
            texts[at] = text
        for passage in some:
            passage.head, passage.states = (), None  # their keys and values are no longer needed
    return texts


def _groups(passages: Sequence[Passage], decoding: Decoding) -> Iterator[list[int]]:
    """Rows of near length, as many as may be written at the same time."""
    group: list[int] = []
    for at in sorted(range(len(passages)), key=lambda at: (passages[at].length, at)):
        held = (len(group) + 1) * decoding.beams * (passages[at].length + decoding.max_tokens)
        if group and ((len(group) + 1) * decoding.beams > TOGETHER or held > HELD):
            yield group
            group = []
        group.append(at)
    if group:
        yield group


def _last(passages: Sequence[Passage]) -> torch.Tensor:
    """The states that the first tokens are read from. Shape: [N, H]."""
    states = [passage.states[-1] for passage in passages if passage.states is not None]
    return torch.stack(states)


@dataclass
class _Lines:
    """One text for each row: greedy, or drawn."""

    engine: Engine
    standing: Standing
    decoding: Decoding

    def write(self, passages: Sequence[Passage], numbers: Sequence[int], start: Guide) -> Steps:
        running = Running(self.engine, [passage.head for passage in passages])
        streams = [chance(self.decoding.seed, number) for number in numbers]
        living, states = [_Text(row, start) for row in range(len(passages))], _last(passages)
        texts = [""] * len(passages)
        for _ in range(self.decoding.max_tokens):
            going: list[int] = []
            after: list[_Text] = []
            for at, (text, logits) in enumerate(zip(living, self.engine.logits(states), strict=True)):
                token = pick(text.guide.allow(logits), self.decoding.temperature, self.decoding.top_p, streams[text.row])
                if token in self.standing.ends:
                    continue
                longer = text.longer(token, 0.0)
                whole = self.standing.text(longer.ids)
                texts[text.row] = until(whole, self.decoding.stop)
                if texts[text.row] == whole and len(longer.ids) < self.decoding.max_tokens:
                    going.append(at)
                    after.append(longer)
            if not going:
                break
            living = after
            running.keep(going)
            states = running.step([text.ids[-1] for text in living])
            yield
        return texts


@dataclass
class _Beams:
    """For each row the likeliest text of several that are written side by side.

    Source: Wu et al. 2016 (arXiv 1609.08144), section 7, with a power of the length for their penalty, as is usual since.
    """

    engine: Engine
    standing: Standing
    decoding: Decoding

    def write(self, passages: Sequence[Passage], _: Sequence[int], start: Guide) -> Steps:
        running = Running(self.engine, [passage.head for passage in passages])
        rows = [_Row() for _ in passages]
        living, states = [_Text(row, start) for row in range(len(passages))], _last(passages)
        for step in range(1, self.decoding.max_tokens + 1):
            going, living = self._step(living, self._scores(living, states), rows, step)
            if not living:
                break
            running.keep(going)
            states = running.step([text.ids[-1] for text in living])
            yield
        return [row.finished[0][1] if row.finished else "" for row in rows]

    def _scores(self, living: Sequence[_Text], states: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of the texts with each token after them; what may not come has none. Shape: [N, V]."""
        logits = self.engine.logits(states)
        allowed = torch.stack([text.guide.allow(row) for text, row in zip(living, logits, strict=True)])
        before = torch.tensor([text.score for text in living], dtype=torch.float32, device=logits.device)
        return torch.where(allowed > -torch.inf, logits.log_softmax(-1) + before[:, None], -torch.inf)

    def _step(
        self, living: Sequence[_Text], scores: torch.Tensor, rows: Sequence[_Row], step: int
    ) -> tuple[list[int], list[_Text]]:
        """The texts that are written on, each with the place of the one that it comes from."""
        going: list[int] = []
        after: list[_Text] = []
        for number, row in enumerate(rows):
            own = [at for at, text in enumerate(living) if text.row == number]
            found = self._longer([living[at] for at in own], scores[own], row) if own else []
            if step == self.decoding.max_tokens:
                for _, text in found:
                    row.add(self.decoding.worth(text.score, step), self.standing.text(text.ids), self.decoding.beams)
            elif found and not self._settled(row, found[0][1].score, step):
                going += [own[at] for at, _ in found]
                after += [text for _, text in found]
        return going, after

    def _longer(self, living: Sequence[_Text], scores: torch.Tensor, row: _Row) -> list[tuple[int, _Text]]:
        """A row's likeliest beginnings one token on, best first; those that are at their end are put with the finished ones."""
        beams, vocabulary = self.decoding.beams, scores.shape[1]
        most = min(scores.numel(), beams * (1 + len(self.standing.ends)) + beams)
        values, places = scores.flatten().topk(most)
        found: list[tuple[int, _Text]] = []
        for rank, (value, place) in enumerate(zip(values.tolist(), places.tolist(), strict=True)):
            if len(found) == beams or value == -torch.inf:
                break
            at, token = divmod(place, vocabulary)
            ended = token in self.standing.ends
            if ended and rank >= beams:
                continue  # an end counts where it is among the best, as any other token does
            ids = living[at].ids if ended else (*living[at].ids, token)
            whole = self.standing.text(ids)
            text = until(whole, self.decoding.stop)
            if ended or text != whole:
                row.add(self.decoding.worth(value, len(living[at].ids) + 1), text, beams)
            else:
                found.append((at, living[at].longer(token, value)))
        return found

    def _settled(self, row: _Row, best: float, step: int) -> bool:
        """Whether no text that is still written can be worth more than those that are finished, as far as its length goes."""
        full = len(row.finished) == self.decoding.beams
        return full and self.decoding.worth(best, step) <= row.finished[-1][0]
