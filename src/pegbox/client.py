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
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pegbox.data.dialogues import FIELD
from pegbox.data.rows import Rows
from pegbox.data.texts import as_rows
from pegbox.data.words import joined, spans_in, texts_of, word_spans
from pegbox.errors import DataError, ServerError, SettingsError
from pegbox.prompt.turns import said

if TYPE_CHECKING:
    from pegbox.task.task import Task

ROWS = 256
"""Rows in one request, or words of sentences."""
TEXTS = 32
"""Rows to be written to in one request: each takes its time."""
CLASSIFY, SEVERAL, TAG, CHAT = "classify", "multilabel", "tag", "chat"
WRITING = ("generate", CHAT)
TRIES = 8
"""How often a busy server is asked."""
MINUTE = 60.0
"""The most seconds between two of these."""


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
                    time.sleep(_seconds(error.headers.get("Retry-After", "1")))
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
        what = f"labels {', '.join(self.labels)}" if self.labels else f"task {self.kind}"
        return f"ServedPrompt({self.name!r} on {self.client.url}, {what})"

    @property
    def kind(self) -> str:
        """Its task's name, as in `pegbox.task.registry.TASKS`."""
        return str(self.about["task"])

    @cached_property
    def task(self) -> Task:
        """Its task with its settings. Raises ServerError where the server tells none that this pegbox knows."""
        from pegbox.task.registry import entry

        try:
            return entry(self.kind).task.from_json(self.about["settings"])
        except (KeyError, TypeError, ValueError, AttributeError, SettingsError) as error:
            raise ServerError(
                f"{self.client.url} tells no settings of the task {self.kind!r} that are known here",
                "a `pegbox serve` of the same version, with its model (not a gateway, which answers to OpenAI's clients)",
                "use the same version here and there, or an OpenAI client",
            ) from error

    @property
    def further_fields(self) -> tuple[str, ...]:
        """The columns that the prompt reads besides the text."""
        return tuple(name for name in self.about["fields"] if name != "text")

    def predict(self, texts: Any) -> list[Any]:
        """The likeliest label for each text, or whatever the task answers with: a tuple of labels, tags with spans, a text.

        Settings:
            texts: strings, Rows, a DataFrame, a data set, or a file, as an artifact takes them.

        Raises: ServerError, and what the task's reader says of texts that cannot be read.
        """
        return self.answers(self._rows(texts)) if self.kind != CLASSIFY else self._likeliest(self.predict_proba(texts))

    def predict_proba(self, texts: Any) -> NDArray[np.float32]:
        """Probabilities of the labels, columns in the order of `labels`. Shape: [B, C].

        Raises: SettingsError for a prompt that answers with something else than labels.
        """
        if not self.labels:
            raise SettingsError(f"a prompt for {self.kind}", "a prompt whose answers are labels", "predict with it")
        found = self._found(self._rows(texts))
        return np.array([[row["probabilities"][label] for label in self.labels] for row in found], dtype=np.float32)

    def answers(self, rows: Rows) -> list[Any]:
        """Each row's answer, as `pegbox.task.task.Answering.answers` gives it: of a classification its probabilities."""
        if self.kind == CLASSIFY:
            return list(self.predict_proba(rows))
        return self._made(rows, self._found(rows))

    def cut_rows(self, rows: Rows) -> tuple[int, ...]:
        """Positions of the rows whose texts were cut to fit into the model's context."""
        if self._last is None or self._last[0] is not rows:
            self._found(rows)
        assert self._last is not None
        return self._last[1]

    def feedback(self, labels: Sequence[str | Sequence[Any] | None]) -> None:
        """Tells the server what the right labels of the rows were that were predicted last; None where it is not known.

        Settings:
            labels: for each row its label; or its labels; or its entities, as spans (dicts of start, end and label).

        Raises: ServerError; DataError for another number of labels than there were rows.
        """
        if len(labels) != (count := sum(rows for _, rows in self._requests)):
            raise DataError(f"{len(labels)} labels for the {count} rows predicted last", "one for each", "say None if need be")
        told, at = [_told(label) for label in labels], 0
        for request, rows in self._requests:
            self.client.ask("POST", "/v1/feedback", {"request": request, "labels": told[at : at + rows]})
            at += rows

    def _likeliest(self, chances: NDArray[np.float32]) -> list[str]:
        return [self.labels[at] for at in chances.argmax(axis=1)]

    def _rows(self, texts: Any) -> Rows:
        if self.kind == CLASSIFY:
            return as_rows(texts, self.further_fields)
        from pegbox.task.registry import entry

        rows, _ = entry(self.kind).rows(texts, None, None, False, fields=self.further_fields)
        return rows

    def _found(self, rows: Rows) -> list[dict[str, Any]]:
        """What the server predicts, row by row."""
        self._requests = []
        sent = [sent_row(self.kind, rows, at, self.about["fields"]) for at in range(len(rows))]
        parts = _parts([len(spans_in(one)) for one in rows.gold or ()] if self.kind == TAG else [1] * len(rows), self.kind)
        found = [row for part in parts for row in self._asked(sent[part.start : part.stop], part.start)]
        self._last = rows, tuple(at for at, row in enumerate(found) if row["cut"])
        return found

    def _made(self, rows: Rows, found: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Predictions as the task's own outputs."""
        if self.kind == TAG:
            from pegbox.task.tagging import tagged

            return list(tagged(rows, [one["tags"] for one in found]))
        return [tuple(one["labels"]) if self.kind == SEVERAL else one["text"] for one in found]

    def _asked(self, rows: Sequence[Mapping[str, Any]], first: int) -> list[dict[str, Any]]:
        path = f"/v1/prompts/{urllib.parse.quote(self.name, safe='@')}/predict"
        answer = self.client.ask("POST", path, {"rows": rows, "first": first})
        if (answer["task"], tuple(answer["labels"])) != (self.kind, self.labels):
            raise ServerError(
                f"{self.name} now answers with the labels {', '.join(answer['labels']) or 'of no kind'} ({answer['task']})",
                f"the labels {', '.join(self.labels) or 'of no kind'} ({self.kind})",
                "ask the client for the prompt again, or for one of its versions",
            )
        self._requests.append((answer["request"], len(rows)))
        return list(answer["predictions"])


def sent_row(kind: str, rows: Rows, at: int, fields: Sequence[str]) -> dict[str, Any]:
    """A row as it is sent, so that the server reads the very same.

    Settings:
        fields: what the prompt reads; a conversation's own system turn goes only where it is among them.

    Raises: DataError for a sentence whose words are neither those that its text is divided into nor joined by single spaces.
    """
    row = dict(rows.fields[at])
    if kind == CHAT:
        system = [("system", row["system"])] if "system" in row and "system" in fields else []
        turns = [{"role": role, "content": content} for role, content in (*system, *said(row[FIELD]))]
        return {**{name: value for name, value in row.items() if name not in (FIELD, "system")}, "messages": turns}
    if kind != TAG:
        return row
    spans, text = spans_in((rows.gold or ())[at]), row["text"]
    if spans == word_spans(text):
        return row
    words = texts_of(text, spans)
    if joined(words) != (text, spans):
        raise DataError(
            f"{rows.source}, row {rows.numbers[at]} has words of its own in a text of its own",
            "the text, or its words with a space between each two",
            "send one of them, or predict with the artifact",
        )
    return {**{name: value for name, value in row.items() if name != "text"}, "tokens": words}


def _seconds(after: str) -> float:
    """How long to wait as ``Retry-After`` says it, in seconds or as a date: at most a minute; one second for neither."""
    try:
        wait = float(after) if after.strip().isdecimal() else parsedate_to_datetime(after).timestamp() - time.time()
    except ValueError:
        return 1.0
    return min(MINUTE, max(1.0, wait))


def _parts(sizes: Sequence[int], kind: str) -> list[range]:
    """Rows of one request each: as many as together are no more than such a request should have, and at least one."""
    most = TEXTS if kind in WRITING else ROWS
    parts, start, held = [], 0, 0
    for at, size in enumerate(sizes):
        if at > start and held + size > most:
            parts.append(range(start, at))
            start, held = at, 0
        held += size
    return [*parts, range(start, len(sizes))] if sizes else []


def _told(label: Any) -> Any:
    """A row's right answer as `/v1/feedback` takes it."""
    if label is None or isinstance(label, str):
        return label
    return [f"{one['start']}-{one['end']}:{one['label']}" if isinstance(one, Mapping) else str(one) for one in label]
