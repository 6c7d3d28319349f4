"""API keys: who may use prompts, who may change them. Only digests are kept.

    {"keys": [{"name": "shop", "role": "use", "sha256": "..."}]}

A key is 32 bytes of chance, so a plain SHA-256 of it cannot be guessed back.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pegbox.errors import SettingsError
from pegbox.serve.errors import ForbiddenError

Role = Literal["use", "admin"]
ROLES: tuple[Role, ...] = ("use", "admin")


@dataclass(frozen=True)
class Key:
    """A key's name for the log, what it is for, and its digest. An admin key may do all that a use key may."""

    name: str
    role: Role
    sha256: str


@dataclass(frozen=True)
class Keys:
    """Who is let in.

    Settings:
        keys: without any, everybody may use prompts and nobody may change them.
    """

    keys: tuple[Key, ...] = ()

    def check(self, header: str | None, role: Role) -> str:
        """The name of the key in an ``Authorization`` header; "" where none is needed.

        Raises: ForbiddenError.
        """
        if not self.keys and role == "use":
            return ""
        if not self.keys:
            raise ForbiddenError("no admin key is set up", "a server with --keys", "make one with `pegbox key`", 403)
        scheme, _, given = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not given.strip():
            raise ForbiddenError("no key", "Authorization: Bearer KEY", "send a key that `pegbox key` made")
        digest = _digest(given.strip())
        found = [key for key in self.keys if hmac.compare_digest(key.sha256, digest)]
        if not found:
            raise ForbiddenError("a key that is not known here", "a key that `pegbox key` made", "check the key")
        if role == "admin" and found[0].role != "admin":
            raise ForbiddenError("a key for use", "an admin key, to change prompts", "send an admin key", 403)
        return found[0].name


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read_keys(path: Path) -> Keys:
    """The keys in a file.

    Raises: SettingsError for a file that is none.
    """
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["keys"]
        keys = tuple(Key(str(key["name"]), key["role"], str(key["sha256"])) for key in listed)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"the keys in {path}: {error}", "a file that `pegbox key` wrote", "make it anew") from error
    if not keys or any(key.role not in ROLES or len(key.sha256) != 64 for key in keys):
        raise SettingsError(
            f"the keys in {path}", "at least one, each with a role and a SHA-256", "make them with `pegbox key`"
        )
    return Keys(keys)


def add_key(path: Path, name: str, role: str) -> str:
    """Adds a key of this name to the file, in place of one that had it; returns the key, which is kept nowhere.

    Raises: SettingsError for an unknown role.
    """
    known = {known: known for known in ROLES}.get(role)  # type: ignore[call-overload]  # any string may be asked for
    if known is None:
        raise SettingsError(f"the role {role!r}", f"one of {', '.join(ROLES)}", "choose one of them")
    key = f"pb-{secrets.token_urlsafe(32)}"
    before = read_keys(path).keys if path.exists() else ()
    _write(path, [*(one for one in before if one.name != name), Key(name, known, _digest(key))])
    return key


def _write(path: Path, keys: Sequence[Key]) -> None:
    """Whole or not at all, and for the user's eyes alone."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps({"keys": [asdict(key) for key in keys]}, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
