"""Conversations as token ids: the turns that a row brings, in the model's own chat template."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pegbox.errors import PromptError
from pegbox.prompt.turns import Said

if TYPE_CHECKING:
    from pegbox.backbone.layout import Speller


class Conversation(tuple[int, ...]):
    """A row's own turns as token ids, with what the chat template writes around them, up to the assistant's answer.

    Settings:
        turns, after, speller: what it was made of.
    """

    turns: tuple[Said, ...]
    after: tuple[str, ...]
    speller: Speller

    def cut(self, limit: int, source: str) -> Conversation:
        """The conversation's end, of at most so many positions, from a turn of the user on; a single turn loses its start.

        Raises: PromptError where the template alone takes more.
        """
        if len(self) <= limit:
            return self
        starts = [at for at, (role, _) in enumerate(self.turns) if role == "user" and at]
        first = bisect_left(starts, True, key=lambda at: len(self._end(at)) <= limit)  # the later it begins, the shorter it is
        if first < len(starts):
            return self._end(starts[first])
        role, content = self.turns[starts[-1] if starts else 0]
        fixed = len(conversation(((role, ""),), self.after, self.speller))
        if fixed >= limit:
            raise PromptError(
                f"{limit} positions are left for a turn of {source}", f"more than {fixed}", "shorten the prompt or its examples"
            )
        before, after, *_ = self.speller.between([*self.after, role, "assistant"])[len(self.after) :]
        kept = self.speller.plain([content])[0][fixed - limit :]
        return _made((*self.speller.structure(before), *kept, *self.speller.structure(after)), ((role, content),), self)

    def _end(self, at: int) -> Conversation:
        return conversation(self.turns[at:], self.after, self.speller)


def conversation(turns: Sequence[Said], after: Sequence[str], speller: Speller) -> Conversation:
    """The turns' contents as plain characters, between what the template writes.

    Settings:
        after: the roles of the turns before these.
    """
    texts = speller.between([*after, *(role for role, _ in turns), "assistant"])[len(after) :]
    contents = speller.plain([content for _, content in turns])
    around = {text: speller.structure(text) for text in dict.fromkeys(texts)}
    ids = [token for text, own in zip(texts, contents, strict=False) for token in (*around[text], *own)]
    made = Conversation((*ids, *speller.structure(texts[len(turns)])))
    made.turns, made.after, made.speller = tuple(turns), tuple(after), speller
    return made


def _made(ids: tuple[int, ...], turns: tuple[Said, ...], like: Conversation) -> Conversation:
    made = Conversation(ids)
    made.turns, made.after, made.speller = turns, like.after, like.speller
    return made
