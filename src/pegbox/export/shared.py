"""Prompts kept for others, by name and version: in a folder, or in a repository of the Hugging Face hub.

    mood@1/manifest.json, prompt.json, vectors.safetensors, README.md
    mood@2/...

A folder of this kind is what `pegbox serve` serves. A version is never overwritten: what is pushed becomes the next one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from pegbox.artifact import FILES, NEEDED, read_folder, read_prompt
from pegbox.errors import ArtifactError, ServerError, SettingsError
from pegbox.export.card import card
from pegbox.export.place import new_folder
from pegbox.prompt.names import Name

HUB = "hub:"
LARGEST = 64_000_000
"""Bytes of one file that are taken from elsewhere; an artifact has some kilobytes."""


class Shared(Protocol):
    """A place where prompts are kept for others."""

    def files(self) -> list[str]:
        """What is there, as paths with slashes; hidden folders are none of ours."""

    def put(self, name: Name, files: Mapping[str, bytes]) -> None:
        """Adds a version, whole or not at all."""

    def get(self, name: str, folder: Path) -> None:
        """Copies a version's files into a folder."""


def place_of(text: str, api: Any = None) -> Shared:
    """The place that a text names: ``hub:OWNER/REPOSITORY``, or a folder.

    Settings:
        api: the hub's interface; by default huggingface_hub's own, with the token that it finds.
    """
    if not text.startswith(HUB):
        return InFolder(Path(text).expanduser())
    repository = text.removeprefix(HUB)
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise SettingsError(f"the place {text!r}", "hub:OWNER/REPOSITORY", "write it so, e.g. hub:me/prompts")
    return InHub(repository, api)


def push(
    artifact: str | Path, target: str, name: str | None = None, record: bool = False, api: Any = None
) -> tuple[Name, bool]:
    """Keeps a prompt for others, as the next version of its name; returns that, and whether it is new.

    Settings:
        name: by default the artifact's folder's.
        record: send along seen.txt (marks of the rows that were there in tuning) and trail.jsonl, which may tell of the data.

    Raises: ArtifactError for a damaged artifact; SettingsError for what is no name; ServerError where the hub refuses.
    """
    path = Path(artifact).expanduser()
    read_prompt(path)
    wanted = Name.read(name or path.resolve().name)
    if wanted.version is not None:
        raise SettingsError(f"the name {wanted}", "a name without a version: it gets the next one", f"say --name {wanted.base}")
    shared = place_of(target, api)
    there = {one: folder for one, folder in _names(shared.files()).items() if one.base == wanted.base}
    newest = max(there, default=Name(wanted.base, 0))
    if there and _digest_of(shared, there[newest]) == read_folder(path)[0]["digest"]:
        return newest, False
    made = Name(wanted.base, (newest.version or 0) + 1)
    files = {file: _content(path, file) for file in (FILES if record else NEEDED) if (path / file).is_file()}
    shared.put(made, {**files, "README.md": card(path, made, target).encode()})
    return made, True


def pull(source: str, name: str | None, out: str | Path | None = None, api: Any = None) -> Path:
    """Brings a prompt back, checked; by default its newest version, and into a folder of its name.

    Raises: ArtifactError where there is no such prompt, or it is damaged; ServerError where the hub refuses.
    """
    shared = place_of(source, api)
    found = _chosen(source, _names(shared.files()), name)
    target = Path(out if out is not None else found[0].base)
    with new_folder(target) as draft:
        with TemporaryDirectory(dir=draft.parent) as raw:
            shared.get(found[1], Path(raw))
            for file in (file for file in FILES if (Path(raw) / file).is_file()):
                _check_size(Path(raw) / file, found[0])
                shutil.copyfile(Path(raw) / file, draft / file)
        read_prompt(draft)
    return target


def _check_size(file: Path, name: Name) -> None:
    if file.stat().st_size > LARGEST:
        raise ArtifactError(f"{name} has a {file.name} of more than {LARGEST} bytes", "some kilobytes", "ask who pushed it")


def _names(files: Iterable[str]) -> dict[Name, str]:
    """The versions that are there, and their folders' names; others are none of ours."""
    found: dict[Name, str] = {}
    for file in files:
        folder, _, rest = file.partition("/")
        if rest == "manifest.json":
            try:
                name = Name.read(folder)
            except SettingsError:
                continue
            found[Name(name.base, name.version or 1)] = folder
    return found


def _chosen(source: str, known: Mapping[Name, str], text: str | None) -> tuple[Name, str]:
    bases = sorted({name.base for name in known})
    if text is None and len(bases) != 1:
        raise ArtifactError(
            f"{source} keeps {', '.join(bases) or 'no prompts'}", "one prompt, or the name of one", "name the one that you want"
        )
    wanted = Name.read(text or bases[0])
    fitting = [name for name in known if name.base == wanted.base and wanted.version in (None, name.version)]
    if not fitting:
        raise ArtifactError(f"{source} keeps no {wanted}", f"one of {', '.join(map(str, sorted(known)))}", "check its name")
    return max(fitting), known[max(fitting)]


def _digest_of(shared: Shared, folder: str) -> str | None:
    with TemporaryDirectory() as raw:
        shared.get(folder, Path(raw))
        return str(read_folder(raw)[0].get("digest"))


def _content(path: Path, file: str) -> bytes:
    """A file as it leaves: the manifest without the folders of this machine that data lay in."""
    raw = (path / file).read_bytes()
    if file != "manifest.json":
        return raw
    manifest = json.loads(raw)
    for one in (manifest.get("data", {}), *manifest.get("evaluations", ())):
        if "source" in one:
            one["source"] = os.path.basename(str(one["source"]))  # noqa: PTH119  # a text that need not be a path
    return (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()


class InFolder:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self) -> list[str]:
        """See `Shared`."""
        return [f"{path.parent.name}/{path.name}" for path in self._folder.glob("[!.]*/*") if path.is_file()]

    def put(self, name: Name, files: Mapping[str, bytes]) -> None:
        """See `Shared`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with new_folder(self._folder / str(name)) as draft:
            for file, content in files.items():
                (draft / file).write_bytes(content)

    def get(self, name: str, folder: Path) -> None:
        """See `Shared`."""
        for path in (self._folder / name).iterdir():
            if path.name in FILES and path.is_file():
                shutil.copyfile(path, folder / path.name)


class InHub:
    """A repository of the hub, through the public interface of huggingface_hub."""

    def __init__(self, repository: str, api: Any = None) -> None:
        from huggingface_hub import HfApi

        self._repository, self._api = repository, api or HfApi()
        self._head: str | None = None

    def files(self) -> list[str]:
        """See `Shared`; nothing where there is no such repository."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            told = self._asked(lambda: self._api.repo_info(self._repository, revision=self._head), RepositoryNotFoundError)
        except RepositoryNotFoundError:
            return []
        self._head = told.sha
        return [file.rfilename for file in told.siblings or ()]

    def put(self, name: Name, files: Mapping[str, bytes]) -> None:
        """See `Shared`: one commit, onto what was there when the version was chosen."""
        from huggingface_hub import CommitOperationAdd

        if self._head is None:
            self._asked(lambda: self._api.create_repo(self._repository, private=True, exist_ok=True))
        adds = [CommitOperationAdd(f"{name}/{file}", content) for file, content in files.items()]
        if self._head is None:
            adds.append(CommitOperationAdd("README.md", _FRONT.encode()))
        self._asked(
            lambda: self._api.create_commit(
                self._repository, operations=adds, commit_message=f"Add {name}", parent_commit=self._head
            )
        )

    def get(self, name: str, folder: Path) -> None:
        """See `Shared`."""
        for file in (file for file in self.files() if file in {f"{name}/{one}" for one in FILES}):
            self._asked(
                lambda file=file: self._api.hf_hub_download(self._repository, file, revision=self._head, local_dir=folder)
            )
            (folder / file).replace(folder / file.partition("/")[2])

    def _asked(self, act: Any, passed: type[Exception] | tuple[()] = ()) -> Any:
        """What the hub says; what goes wrong is told in three parts."""
        import httpx2

        try:
            return act()
        except passed:
            raise
        except (httpx2.HTTPError, OSError, ValueError) as error:
            raise ServerError(
                f"hub:{self._repository}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
                "a repository that may be read, and written to where something is pushed",
                "check its name, `hf auth login`, and that no one else pushed just now; then try again",
            ) from error


_FRONT = """---
library_name: pegbox
tags:
- prompt-tuning
---
# Tuned prompts

One folder for each version, each with its own card. No licence is stated here: whoever publishes them says which one holds.
"""
