"""A client of `pegbox serve`: prompts that predict elsewhere.

client = pegbox.Client("http://127.0.0.1:8000")
mood = client.prompt("mood")
mood.predict(["Crust is not good."])
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pegbox.data.rows import Rows
from pegbox.data.texts import as_rows
from pegbox.errors import DataError, ServerError, SettingsError

ROWS = 256
"""Rows in one request."""
TRIES = 8
"""How often a busy server is asked."""


class Client:
    """A server and the prompts on it.

    Settings:
        url: the server's address.
        key: a key, where the server asks for one.
        seconds: how long to wait for one answer.
    """

    def __init__(self, url: str, key: str | None = None, seconds: float = 150.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise SettingsError(f"the server {url!r}", "an address", "write it as http://127.0.0.1:8000")
        self.url, self.seconds = url.rstrip("/"), seconds
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def prompts(self) -> list[dict[str, Any]]:
        """What is served. Raises ServerError."""
        return list(self.ask("GET", "/v1/prompts")["prompts"])

    def prompt(self, name: str) -> ServedPrompt:
        """A prompt by its name, or name@version. Raises ServerError where there is none."""
        return ServedPrompt(self, name, self.ask("GET", f"/v1/prompts/{urllib.parse.quote(name, safe='@')}"))

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One request; a busy server is asked again when it says so.

        Raises: ServerError.
        """
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, self._headers, method=method)
        for attempt in range(1, TRIES + 1):
            try:
                with urllib.request.urlopen(request, timeout=self.seconds) as answer:
                    return dict(json.load(answer))
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != 429 or attempt == TRIES:
                        raise self._told(error) from error
                    time.sleep(min(60.0, float(error.headers.get("Retry-After", "1"))))
            except (OSError, ValueError) as error:
                raise ServerError(
                    f"no answer from {self.url}: {error}", "a running `pegbox serve`", "check the address, and that it is up"
                ) from error
        raise AssertionError("the last try returns or raises")

    def _told(self, error: urllib.error.HTTPError) -> ServerError:
        try:
            told = json.load(error)["error"]
            return ServerError(told["came"], told["expected"], told["remedy"])
        except (ValueError, KeyError, TypeError):
            return ServerError(f"{self.url} answered {error.code}", "an answer of `pegbox serve`", "check the address")


class ServedPrompt:
    """A prompt on a server; it predicts as an artifact does."""

    def __init__(self, client: Client, name: str, about: Mapping[str, Any]) -> None:
        self.client, self.name, self.about = client, name, about
        self.labels: tuple[str, ...] = tuple(about["labels"])
        self._last: tuple[Rows, tuple[int, ...]] | None = None
        self._requests: list[tuple[str, int]] = []

    def __repr__(self) -> str:
        return f"ServedPrompt({self.name!r} on {self.client.url}, labels {', '.join(self.labels)})"

    @property
    def further_fields(self) -> tuple[str, ...]:
        """The columns that the prompt reads besides the text."""
        return tuple(name for name in self.about["fields"] if name != "text")

    def predict(self, texts: Any) -> list[str]:
        """The likeliest label for each text.

        Settings:
            texts: strings, Rows, a DataFrame, a data set, or a file.
        """
        return [self.labels[at] for at in self.predict_proba(texts).argmax(axis=1)]

    def predict_proba(self, texts: Any) -> NDArray[np.float32]:
        """Probabilities of the labels, columns in the order of `labels`. Shape: [B, C]."""
        rows = as_rows(texts, self.further_fields)
        self._requests = []
        found = [row for at in range(0, len(rows), ROWS) for row in self._asked(rows.fields[at : at + ROWS])]
        self._last = rows, tuple(at for at, row in enumerate(found) if row["cut"])
        return np.array([[row["probabilities"][label] for label in self.labels] for row in found], dtype=np.float32)

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        """Positions of the rows whose texts were cut to fit into the model's context."""
        if self._last is None or self._last[0] is not rows:
            self.predict_proba(rows)
        assert self._last is not None
        return self._last[1]

    def feedback(self, labels: Sequence[str | None]) -> None:
        """Tells the server what the right labels of the rows were that were predicted last; None where it is not known.

        Raises: ServerError; DataError for another number of labels than there were rows.
        """
        if len(labels) != (count := sum(rows for _, rows in self._requests)):
            raise DataError(f"{len(labels)} labels for the {count} rows predicted last", "one for each", "say None if need be")
        at = 0
        for request, rows in self._requests:
            self.client.ask("POST", "/v1/feedback", {"request": request, "labels": list(labels[at : at + rows])})
            at += rows

    def _asked(self, rows: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        path = f"/v1/prompts/{urllib.parse.quote(self.name, safe='@')}/predict"
        answer = self.client.ask("POST", path, {"rows": [dict(row) for row in rows]})
        if tuple(answer["labels"]) != self.labels:
            raise ServerError(
                f"{self.name} now answers with the labels {', '.join(answer['labels'])}",
                f"the labels {', '.join(self.labels)}",
                "ask the client for the prompt again, or for one of its versions",
            )
        self._requests.append((answer["request"], len(rows)))
        return list(answer["predictions"])
