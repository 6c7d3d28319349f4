"""Names of kept prompts: ``mood`` is the newest of ``mood@1``, ``mood@2``, ..."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pegbox.errors import SettingsError

_NAME = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_])?)(?:@([1-9][0-9]{0,8}))?", re.ASCII)


@dataclass(frozen=True, order=True)
class Name:
    """A prompt's name, and which of its versions is meant; None: the newest."""

    base: str
    version: int | None = None

    def __str__(self) -> str:
        return self.base if self.version is None else f"{self.base}@{self.version}"

    @classmethod
    def read(cls, text: str) -> Name:
        """Raises SettingsError for what is no name; so no name can lead out of a folder, or be a hidden file."""
        found = _NAME.fullmatch(text)
        if found is None:
            raise SettingsError(
                f"the prompt name {text[:80]!r}",
                "letters, digits, and . _ - between them, at most 64, then @ and a version if one is meant",
                "choose another name, such as mood or mood@2",
            )
        return cls(found[1], None if found[2] is None else int(found[2]))
