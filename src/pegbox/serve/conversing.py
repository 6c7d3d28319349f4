"""Messages of a chat as the row that a prompt reads: the turns of a conversation, or the user's one text."""

from __future__ import annotations

from collections.abc import Sequence

from pegbox.data.dialogues import FIELD
from pegbox.errors import DataError
from pegbox.prompt.turns import Said, written
from pegbox.serve.served import Served


def fields_of(messages: Sequence[Said], served: Served) -> dict[str, str]:
    """The row's fields.

    Settings:
        messages: roles and what they said.

    Raises: DataError for messages that this prompt cannot read.
    """
    roles = [role for role, _ in messages]
    if not served.tuned.prompt.is_conversation:
        if roles != ["user"]:
            raise DataError(
                f"messages of {', '.join(roles)}",
                "one message of the user: the prompt brings its own instructions",
                "send the text alone",
            )
        return {"text": messages[0][1]}
    if roles != ["assistant" if at % 2 else "user" for at in range(len(roles))] or roles[-1] != "user":
        raise DataError(
            f"messages of {', '.join(roles)}",
            "the user and the assistant in turn, the user first and last: the prompt is the system's turn",
            "send the turns of the conversation alone",
        )
    if empty := next((number for number, (_, content) in enumerate(messages, 1) if not content.strip()), None):
        raise DataError(f"message {empty} is empty", "words in every turn", "leave out the conversation, or correct it")
    return {FIELD: written(messages)}
