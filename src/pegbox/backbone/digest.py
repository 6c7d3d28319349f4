"""Digests of models on disk: fast, remembered, and the same wherever the same weights lie."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from pegbox.data.download import home

Found = TypeVar("Found")
ORIGIN = "origin.json"  # beside weights that we converted: the file they came from and the revision of the conversion
SETTLED_S = 2.0  # a file younger than this may still change within the same clock tick: its digest is not remembered
VOLATILE = ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "use_cache", "architectures")
VOCABULARY = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, remembered by path, size and time of change."""
    return _remembered(path, "file", _hash_file)


def folder_digest(folder: Path, chat_template: str) -> str:
    """SHA-256 over the weights in a Transformers folder, its configuration, vocabulary and chat template.

    The weights count tensor by tensor, so that splitting them over files, or writing them with another version of
    safetensors, changes nothing. For weights that we converted, the file they came from stands for configuration and
    vocabulary, so that another version of Transformers, which may spell these differently, changes nothing either.
    """
    tensors: dict[str, str] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        tensors |= _remembered(path, "tensors", _tensor_digests)
    content = json.dumps([tensors, _description(folder, chat_template)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _description(folder: Path, chat_template: str) -> list[Any]:
    """Everything about a model but its weights."""
    origin = folder / ORIGIN
    if origin.is_file():
        return [json.loads(origin.read_text(encoding="utf-8"))]
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kept = {key: value for key, value in config.items() if key not in VOLATILE}
    vocabulary = {name: file_digest(folder / name) for name in VOCABULARY if (folder / name).is_file()}
    return [kept, vocabulary, chat_template]


def _remembered(path: Path, kind: str, compute: Callable[[Path], Found]) -> Found:
    """What `compute` says of a file, from the cache folder while the file's size and time of change stay the same."""
    facts = path.stat()
    key = [str(path.resolve()), kind, facts.st_size, facts.st_mtime_ns]
    note = home() / "digests" / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()}.json"
    if note.is_file():
        return cast(Found, json.loads(note.read_text(encoding="utf-8")))
    found = compute(path)
    if time.time() - facts.st_mtime > SETTLED_S:
        write_whole(note, json.dumps(found))
    return found


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name[:40]}-", dir=path.parent)
    os.close(handle)
    Path(draft).write_text(text, encoding="utf-8")
    Path(draft).replace(path)


def _hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _tensor_digests(path: Path) -> dict[str, str]:
    """For each tensor in a safetensors file the SHA-256 of its type, shape and bytes.

    The file is eight bytes that count the header, the header as JSON, and the tensors one after the other.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        start = 8 + int.from_bytes(whole[:8], "little")
        header: dict[str, Any] = json.loads(whole[8:start])
        header.pop("__metadata__", None)
        with memoryview(whole) as view:
            return {name: _tensor_digest(facts, view, start) for name, facts in header.items()}


def _tensor_digest(facts: dict[str, Any], view: memoryview, start: int) -> str:
    begin, end = facts["data_offsets"]
    digest = hashlib.sha256(f"{facts['dtype']} {facts['shape']}".encode())
    with view[start + begin : start + end] as piece:
        digest.update(piece)
    return digest.hexdigest()
