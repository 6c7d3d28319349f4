"""Digests: equal for equal models, different for any change, remembered while files stay the same."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

from pegbox.backbone.digest import folder_digest
from pegbox.backbone.loaded import Loaded
from pegbox.backbone.tiny import tiny

Save = Callable[[Loaded, Path], Path]


def test_equal_models_have_equal_digests_wherever_they_lie_and_in_however_many_files(tmp_path: Path, save: Save) -> None:
    made = tiny()
    whole = save(made, tmp_path / "whole")
    made.model.save_pretrained(tmp_path / "pieces", max_shard_size="100KB")
    made.tokenizer.save_pretrained(tmp_path / "pieces")
    assert len(list((tmp_path / "pieces").glob("*.safetensors"))) > 1
    assert folder_digest(whole, "t") == folder_digest(tmp_path / "pieces", "t")


def test_any_change_changes_the_digest(tmp_path: Path, save: Save) -> None:
    folder = save(tiny(), tmp_path / "m")
    digests = {folder_digest(folder, "template")}

    def after(change: Callable[[], object]) -> None:
        change()
        digests.add(folder_digest(folder, "template"))

    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] += 1e-6
    after(lambda: save_file(weights, folder / "model.safetensors", metadata={"format": "pt"}))
    config = json.loads((folder / "config.json").read_text())
    after(lambda: (folder / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5})))
    after(lambda: (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + " "))
    digests.add(folder_digest(folder, "another template"))
    assert len(digests) == 5


def test_the_library_version_in_a_config_does_not_count(tmp_path: Path, save: Save) -> None:
    folder = save(tiny(), tmp_path)
    before = folder_digest(folder, "")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"transformers_version": "9.9", "dtype": "float16"}))
    assert folder_digest(folder, "") == before


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path, cache: Path, save: Save) -> None:
    folder = save(tiny(), tmp_path / "m")
    weights = folder / "model.safetensors"
    folder_digest(folder, "")
    assert not cache.exists()  # all files are too young to trust their time of change
    for path in folder.iterdir():
        make_older(path, 100)
    first = folder_digest(folder, "")
    notes = {path: json.loads(path.read_text()) for path in (cache / "digests").iterdir()}
    note = next(path for path, content in notes.items() if isinstance(content, dict))
    note.write_text(json.dumps({"remembered": "yes"}))
    assert folder_digest(folder, "") != first  # it was read back
    make_older(weights, 50)
    assert folder_digest(folder, "") == first  # another time of change: hashed anew


def make_older(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))
