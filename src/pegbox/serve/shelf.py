"""The shelf: what is served now, kept in step with the folder."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pegbox.errors import ArtifactError, PegboxError, SettingsError
from pegbox.prompt.names import Name
from pegbox.serve.errors import BusyError, NotServedError, TakenError, TooLargeError
from pegbox.serve.folder import Stamp, check_files, discard, found_in, stamp, sweep
from pegbox.serve.settings import Limits
from pegbox.serve.splits import FILE, Splits, drawn, read_splits

_log = logging.getLogger("pegbox.serve")


class Kept(Protocol):
    """A prompt that stands on a shelf, ready to be answered with."""

    @property
    def name(self) -> Name: ...
    @property
    def fields(self) -> tuple[str, ...]: ...
    def described(self) -> dict[str, Any]: ...


One = TypeVar("One", bound=Kept)


@dataclass(frozen=True)
class State(Generic[One]):
    """What is served at one moment: a value, replaced as a whole.

    Settings:
        served: by name with version.
        broken: what is left out, and why.
        stamps: what each was read from.
        splits: names that stand for several prompts.
    """

    served: Mapping[Name, One] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    stamps: Mapping[Name, Stamp] = field(default_factory=dict)
    splits: Splits = field(default_factory=dict)

    def versions(self, base: str) -> list[Name]:
        """The versions of a name, oldest first."""
        return sorted(name for name in self.served if name.base == base)


class Shelf(Generic[One]):
    """See above.

    Settings:
        folder: where the artifacts lie.
        open_one: makes a prompt ready, from its name and where it lies.
        limits: how many prompts, and how large.
    """

    def __init__(self, folder: Path, open_one: Callable[[Name, Path], One], limits: Limits) -> None:
        self._folder, self._open, self._limits = folder, open_one, limits
        self._state: State[One] = State()
        self._chance = random.Random()
        self._one_at_a_time = threading.RLock()

    @property
    def state(self) -> State[One]:
        return self._state

    def find(self, text: str) -> One:
        """The prompt of that name; without a version the newest, or one of those that share the name.

        Raises: NotServedError.
        """
        state = self._state
        name = Name.read(text)
        if name.version is None and (one := drawn(state.splits.get(name.base), state.served, self._chance)):
            return state.served[one]
        if name.version is None and (versions := state.versions(name.base)):
            return state.served[versions[-1]]
        if name not in state.served:
            raise NotServedError(text, _named(state.served))
        return state.served[name]

    def shadows(self, text: str) -> list[One]:
        """Those that answer too when this name is asked, into the log alone."""
        state, name = self._state, Name.read(text)
        split = state.splits.get(name.base) if name.version is None else None
        return [state.served[one] for one in (split.shadows if split else ()) if one in state.served]

    def refresh(self) -> None:
        """Reads what is new or changed, and forgets what is gone."""
        with self._one_at_a_time:
            before = self._state
            served: dict[Name, One] = {}
            broken: dict[str, str] = {}
            stamps: dict[Name, Stamp] = {}
            for name, path in found_in(self._folder).items():
                try:
                    Name.read(path.name)
                    stamps[name] = stamp(path)
                    if stamps[name] != before.stamps.get(name):
                        served[name] = self._opened(name, path, len(served))
                        _log.info("prompt loaded", extra={"prompt": str(name)})
                    elif name in before.served:
                        served[name] = before.served[name]
                    else:
                        broken[path.name] = before.broken[path.name]
                except (PegboxError, OSError) as error:
                    if isinstance(
                        error, TooLargeError | BusyError
                    ):  # there may be room for it later, though it does not change
                        stamps.pop(name, None)
                    if isinstance(error, BusyError) and name in before.served:  # what answered so far goes on until then
                        served[name] = before.served[name]
                        continue
                    broken[path.name] = str(error)
                    _log.warning("prompt left out", extra={"prompt": path.name, "why": str(error)})
                except Exception as error:  # noqa: BLE001  # whatever is in one folder, the others are served
                    broken[path.name] = str(_unforeseen(path, error))
                    _log.exception("a prompt could not be read")
            self._state = State(served, broken, stamps, self._splits(broken))

    def _splits(self, broken: dict[str, str]) -> Splits:
        try:
            return read_splits(self._folder)
        except SettingsError as error:
            broken[FILE] = str(error)
            return {}

    def _opened(self, name: Name, path: Path, before: int) -> One:
        if before >= self._limits.prompts:
            raise TooLargeError(
                f"more than {before} prompts", f"at most {self._limits.prompts}", "raise the limit, or delete some"
            )
        check_files(path, self._limits.body_bytes)
        return self._open(name, path)

    def add(self, text: str, draft: Path) -> One:
        """Puts a checked draft in its place, as a new version if none is named.

        Raises: TakenError for a version that is there; PegboxError for an artifact that cannot be served.
        """
        with self._one_at_a_time:
            known = found_in(self._folder)
            name = Name.read(text)
            if name.version is None:
                name = Name(name.base, max((n.version or 0 for n in known if n.base == name.base), default=0) + 1)
            if name in known:
                raise TakenError(
                    f"{name}, which is there already", "a new version", "leave the version out, or delete that one first"
                )
            self._opened(name, draft, len(known))
            draft.rename(self._folder / str(name))
            self.refresh()
            return self.find(str(name))

    def remove(self, text: str) -> list[str]:
        """Deletes a version, or all versions of a name; returns which.

        Raises: NotServedError.
        """
        with self._one_at_a_time:
            name = Name.read(text)
            known = found_in(self._folder)
            gone = [n for n in known if n == name or (name.version is None and n.base == name.base)]
            if not gone:
                raise NotServedError(text, _named(self._state.served))
            for one in gone:
                discard(self._folder, known[one])
            self.refresh()
            return [str(one) for one in gone]

    def sweep(self) -> None:
        """Clears away what a killed server left half done."""
        sweep(self._folder)


class Watcher:
    """Refreshes a shelf whenever so many seconds are over."""

    def __init__(self, shelf: Shelf[Any], seconds: float) -> None:
        self._shelf, self._seconds = shelf, seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="pegbox-folder", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._end.wait(self._seconds):
            try:
                self._shelf.refresh()
            except (PegboxError, OSError) as error:
                _log.warning("the folder could not be read", extra={"why": str(error)})


def _unforeseen(path: Path, error: Exception) -> ArtifactError:
    return ArtifactError(f"{path}: {type(error).__name__}", "a folder as `pegbox tune` wrote it", "see the server's log")


def _named(served: Iterable[Name]) -> str:
    names = sorted({name.base for name in served})
    return f"one of {', '.join(names[:20])}" if names else "a prompt in the server's folder"
