"""What a server answers when it cannot do what was asked, each in three parts and with its HTTP status.

ServeError                   came, expected, what to do; a status
├── BusyError                429, with the seconds after which to come again
├── LateError                504: its time ran out
├── GoneError                499: the client went away
├── StoppingError            503: the server is about to end
├── NotServedError           404: no such prompt
├── ForbiddenError           401 or 403: no key, or not one for this
├── TooLargeError            413: more than the limits allow
├── TakenError               409: there is such a version already
└── FailedError              500: something broke inside
"""

from __future__ import annotations

from pegbox.errors import PegboxError


class ServeError(PegboxError):
    """An answer that is no success.

    Settings:
        status: the HTTP status.
        code: a short name for programs.
    """

    status = 400
    code = "bad_request"


class BusyError(ServeError):
    """The queue is full."""

    status, code = 429, "busy"

    def __init__(self, waiting: int, after: int) -> None:
        self.after = after
        super().__init__(f"{waiting} rows are waiting", "a shorter queue", f"come again after {after} s")


class LateError(ServeError):
    """A request's time ran out."""

    status, code = 504, "deadline"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} s", "an answer in time", "send fewer rows, or allow more time")


class GoneError(ServeError):
    """The client went away."""

    status, code = 499, "client_gone"

    def __init__(self) -> None:
        super().__init__("the client closed the connection", "a client that waits", "send the request again")


class StoppingError(ServeError):
    """The server is about to end."""

    status, code = 503, "stopping"

    def __init__(self) -> None:
        super().__init__("the server is stopping", "a running server", "send the request again in a moment")


class NotServedError(ServeError):
    """No such prompt."""

    status, code = 404, "no_such_prompt"

    def __init__(self, name: str, known: str) -> None:
        super().__init__(f"no prompt {name!r} is served here", known, "see GET /v1/prompts")


class ForbiddenError(ServeError):
    """No key, or one that is not for this."""

    status, code = 401, "no_key"

    def __init__(self, came: str, expected: str, remedy: str, status: int = 401) -> None:
        super().__init__(came, expected, remedy)
        self.status = status


class FailedError(ServeError):
    """Something broke inside; the log has it."""

    status, code = 500, "failed"

    def __init__(self) -> None:
        super().__init__("something broke while this was worked on", "an answer", "see the server's log")


class TooLargeError(ServeError):
    """More than the limits allow."""

    status, code = 413, "too_large"


class TakenError(ServeError):
    """A prompt of this name and version is there already."""

    status, code = 409, "taken"
