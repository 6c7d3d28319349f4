"""What a server is told: where it listens, and what it bears."""

from __future__ import annotations

from dataclasses import dataclass, fields

from pegbox.errors import SettingsError

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Limits:
    """What one server bears, so that no client can take it all.

    Settings:
        body_bytes: the largest body of a request; of an upload too, packed or unpacked.
        body_seconds: within what time a body must have arrived.
        rows: the most rows in one request.
        text_characters: the most characters in one text.
        prompts: the most prompts that are served.
        queue_rows: the most rows that wait; beyond them requests are told to come again (429).
        batch_rows: the most rows that are under way at once, each word to be tagged being one; words of a sentence begin
            together as soon as there is one free place.
        turn_tokens: the most positions that are read in one turn of the batch, or those of one row where it has more: label
            words that part take a chunk each.
        seconds: how long a request may take, if it does not ask for less.
        written_tokens: the most tokens that one completion may have.
    """

    body_bytes: int = 16_000_000
    body_seconds: float = 20.0
    rows: int = 1024
    text_characters: int = 100_000
    prompts: int = 1000
    queue_rows: int = 4096
    batch_rows: int = 32
    turn_tokens: int = 2048
    seconds: float = 120.0
    written_tokens: int = 1024

    def __post_init__(self) -> None:
        for setting in fields(self):
            if getattr(self, setting.name) <= 0:
                raise SettingsError(f"{setting.name}={getattr(self, setting.name)}", "more than 0", "give a larger number")
        if self.rows > self.queue_rows:
            raise SettingsError(
                f"rows={self.rows} in a request, but queue_rows={self.queue_rows}",
                "a queue that holds the largest request",
                "raise queue_rows, or lower rows",
            )
