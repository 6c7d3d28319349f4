"""Wordings: the points of the word search's space, how each is written as a prompt, and the steps between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pegbox.backbone.seam import Backbone, Choices
from pegbox.data.rows import Rows
from pegbox.errors import BackboneError
from pegbox.prompt import Answer, Prompt, Text, Turn
from pegbox.task.classification import Classification
from pegbox.tune import edits
from pegbox.tune.examples import shortened, with_examples
from pegbox.tune.templates import asked, instruction_of, layouts, open_soft_slots


@dataclass(frozen=True)
class Wording:
    """All that a candidate is made of, but for its label words.

    Settings:
        layout: name of the layout.
        instruction: what it tells the model to do.
        examples: positions of pool rows shown as in-context examples, in order.
        spoken: each label's word in the examples.
    """

    layout: str
    instruction: str
    examples: tuple[int, ...] = ()
    spoken: tuple[str, ...] = ()


class Space:
    """The wordings of one written prompt.

    Settings:
        prompt: the prompt to start from.
        pool: rows that examples are drawn from; they are never scored.
        room: tokens that the examples' texts may take together.
        shots: numbers of examples to begin with.
    """

    def __init__(
        self, prompt: Prompt, task: Classification, backbone: Backbone, pool: Rows, room: int, shots: Sequence[int]
    ) -> None:
        self._task, self.words = task, task.words_in(prompt)
        own = tuple(self.words[label][0] for label in task.labels)
        open_words = asked(self.words) if len(own) > 1 else task.asks(prompt)
        self.layouts = layouts(prompt, own, _knows_chat(prompt, backbone), open_words)
        self.start = Wording("as written", instruction_of(prompt, open_words))
        self.pool, self.gold = pool, task.gold(pool)
        self.own = own
        self.found = own
        self.answer = prompt.answer
        self._room, self._shots = room, tuple(shots)
        self._editable = bool(self.start.instruction) or len(self.layouts) > 1
        self._backbone = backbone
        # what an encoder-decoder model answers is a text of its own
        self.spaced = _answer_spaced(prompt) and backbone.kind != "encoder-decoder"

    def prompt(self, wording: Wording) -> Prompt:
        """The wording as a prompt, with the labels' words left to the task."""
        frame = self.layouts[wording.layout](wording.instruction).with_words({})
        if not wording.examples:
            return frame
        share = max(1, self._room // len(wording.examples))

        def cut(text: str) -> str:
            return shortened(text, share, self._backbone)

        rows = [self._task.example(self.pool.fields[at], frame.field_names, cut) for at in wording.examples]
        spoken = self._task.shown(self.pool, wording.examples, wording.spoken, cut)
        return with_examples(frame, rows, spoken)

    def steps(self) -> dict[str, Callable[[Wording, np.random.Generator], Wording]]:
        """Kinds of steps from one wording to another that make sense here."""
        found: dict[str, Callable[[Wording, np.random.Generator], Wording]] = {}
        if len(self.pool) and self._shots and self.prompt(self.start).field_names:
            found["examples"] = self._other_examples
        if len(self.layouts) > 1:
            found["template"] = self._other_layout
        if self._editable:
            found["edit"] = self._other_instruction
        return found

    def cross(self, one: Wording, other: Wording) -> Wording:
        """The first one's words with the other's examples."""
        return replace(one, examples=other.examples, spoken=other.spoken)

    def _other_layout(self, wording: Wording, rng: np.random.Generator) -> Wording:
        names = [name for name in self.layouts if name != wording.layout]
        return replace(wording, layout=names[int(rng.integers(len(names)))])

    def _other_instruction(self, wording: Wording, rng: np.random.Generator) -> Wording:
        lost = [part for part in edits.phrases(self.start.instruction) if part not in wording.instruction]
        return replace(wording, instruction=edits.edit(wording.instruction, rng, lost)[0])

    def _other_examples(self, wording: Wording, rng: np.random.Generator) -> Wording:
        shown = wording.examples
        kinds = ["draw"] if not shown else ["draw", "add", "drop", "change", "re-order", "words"]
        kind = kinds[int(rng.integers(len(kinds)))]
        unused = [at for at in range(len(self.pool)) if at not in shown]
        if kind == "draw":
            shown = balanced(self.gold, int(rng.choice(self._shots)), rng)
        elif kind == "words":
            return replace(wording, spoken=self.own if wording.spoken != self.own else self.found)
        elif kind == "re-order":
            shown = tuple(shown[int(at)] for at in rng.permutation(len(shown)))
        elif kind == "drop":
            out = int(rng.integers(len(shown)))
            shown = (*shown[:out], *shown[out + 1 :])
        elif unused:
            new = unused[int(rng.integers(len(unused)))]
            at = int(rng.integers(len(shown) + (kind == "add")))
            shown = (*shown[:at], new, *shown[at + (kind == "change") :])
        if len(shown) > max(self._shots):
            shown = shown[-max(self._shots) :]
        spoken = wording.spoken or (self.own if rng.integers(2) else self.found)
        return replace(wording, examples=shown, spoken=spoken if shown else ())


def balanced(gold: NDArray[np.int64], count: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Positions of rows drawn label by label in turn, in an order drawn with them."""
    left = {int(label): list(rng.permutation(np.flatnonzero(gold == label))) for label in np.unique(gold)}
    picked: list[int] = []
    while len(picked) < count and left:
        for label in rng.permutation(sorted(left)):
            if len(picked) < count:
                picked.append(int(left[int(label)].pop()))
            if not left[int(label)]:
                del left[int(label)]
    return tuple(picked[int(at)] for at in rng.permutation(len(picked)))


def _knows_chat(prompt: Prompt, backbone: Backbone) -> bool:
    """Whether the model's tokenizer has a chat template that takes a system, a user and an assistant turn."""
    turns = (Turn("system", (Text("x"),)), Turn("user", (Text("x"),)), Turn("assistant", (Answer(),)))
    if prompt.is_chat:
        return True
    if open_soft_slots(prompt):
        return False
    try:
        backbone.bind(Prompt(turns), Rows(({},)), Choices(("yes", "no")))
    except BackboneError:
        return False
    return True


def _answer_spaced(prompt: Prompt) -> bool:
    """Whether the answer follows a space, which then belongs to its first token."""
    segments = prompt.turns[-1].segments
    at = next((n for n, segment in enumerate(segments) if isinstance(segment, Answer)), 0)
    before = segments[at - 1] if at else None
    return isinstance(before, Text) and before.text.endswith(" ")
