"""Every error that pegbox raises on purpose.

PegboxError                 what came, what was expected, what to do
├── DataError               a file, a table or a row (also a ValueError)
├── PromptError             notation, segments, slots (also a ValueError)
├── SettingsError           an unknown or impossible setting (also a ValueError)
├── BackboneError           a model that cannot be found, loaded or used
├── DownloadError           a package that could not be fetched or failed its checksum
├── SealedError             test rows asked for where they must not be seen
├── ArtifactError           a saved prompt that is damaged or belongs to another model
├── RunError                a run folder that cannot be continued
└── ServerError             a server that cannot be reached, or does not do what was asked
"""

from __future__ import annotations


class PegboxError(Exception):
    """An error in three parts, so that its reader knows what to do next.

    Settings:
        came: what was given or found.
        expected: what would have been right.
        remedy: what the reader can do about it.
    """

    def __init__(self, came: str, expected: str, remedy: str) -> None:
        self.came = came
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"{came}\n  expected: {expected}\n  what to do: {remedy}")

    def __reduce__(self) -> tuple[type[PegboxError], tuple[str, str, str]]:
        return type(self), (self.came, self.expected, self.remedy)


class DataError(PegboxError, ValueError):
    """A file, a table or a row that cannot be used."""


class PromptError(PegboxError, ValueError):
    """A prompt or its notation that makes no sense."""


class SettingsError(PegboxError, ValueError):
    """An unknown name or an impossible value among the settings."""


class BackboneError(PegboxError):
    """A model that cannot be found, loaded or used."""


class DownloadError(PegboxError):
    """A package that could not be fetched, or that is not the one we pinned."""


class SealedError(PegboxError):
    """Test rows were asked for where they must not be seen."""


class ArtifactError(PegboxError):
    """A saved prompt that is damaged, of another version, or made for another model."""


class RunError(PegboxError):
    """A run folder that holds another run or cannot be continued."""


class ServerError(PegboxError):
    """A server that cannot be reached, or does not do what was asked."""
