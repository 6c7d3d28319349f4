"""A row's own turns, as one text: what was said so far in a conversation, by whom."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pegbox.errors import PromptError

Said = tuple[str, str]
"""A role and what it said."""
TURNS = "turns"
"""The role of a place for a row's own turns in a prompt: its one field holds them."""


def check_place(roles: Sequence[str], fields: Sequence[Sequence[bool]]) -> None:
    """Raises PromptError where the place of a row's own turns holds anything but one field, or no answer follows it.

    Settings:
        fields: for each turn, which of its segments are fields.
    """
    at = roles.index(TURNS) if TURNS in roles else None
    if at is None or (list(fields[at]) == [True] and list(roles[at:]) == [TURNS, "assistant"]):
        return
    raise PromptError(
        f"turns of roles {list(roles)}, with {len(fields[at])} segments for the row's own turns",
        "one field for them, and then the assistant's answer",
        "write [system] ... [turns] {turns} [assistant] [answer]",
    )


def written(turns: Sequence[Said]) -> str:
    """The turns as a field holds them. `said` is the inverse."""
    return json.dumps([{"role": role, "content": content} for role, content in turns], ensure_ascii=False)


def said(text: str) -> tuple[Said, ...]:
    """The turns in a field. Raises PromptError for a text that holds none."""
    try:
        found = tuple((str(turn["role"]), str(turn["content"])) for turn in json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise PromptError(
            f"a field of turns that holds {text[:60]!r}",
            'turns as [{"role": "user", "content": "..."}]',
            "read the rows with task='chat' (--task chat)",
        ) from error
    if not found or any(role not in ("user", "assistant") for role, _ in found):
        raise PromptError(
            f"turns of roles {[role for role, _ in found]}", "turns of the user and the assistant", "correct the row"
        )
    return found


def as_read(text: str) -> str:
    """The turns as a person reads them, one a line."""
    return "\n".join(f"{role}: {content}" for role, content in said(text))
