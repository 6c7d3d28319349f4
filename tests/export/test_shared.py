"""Prompts pushed to a folder or to a made-up hub, and pulled from there: versions kept apart, checked, with a card."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import numpy as np
import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from pegbox.artifact import Tuned, load
from pegbox.backbone.huggingface import HuggingFaceBackbone
from pegbox.cli import main
from pegbox.errors import ArtifactError, PegboxError, ServerError
from pegbox.export.shared import pull, push
from pegbox.prompt import parse
from pegbox.task.classification import Classification
from pegbox.task.predictor import PromptPredictor

TEXTS = ["a fine day", "so dull"]


def saved(folder: Path, backbone: HuggingFaceBackbone, seed: int = 0) -> Tuned:
    vectors = np.random.default_rng(seed).normal(0, 0.3, (3, backbone.width)).astype(np.float32)
    prompt = parse('[soft a 3]{text} Mood: [answer good="fine" bad="awful"]').fill(a=vectors)
    record = {"method": "soft", "data": {"source": "/home/me/reviews.csv"}, "scores": {"dev_accuracy": 0.75}}
    opening = {"source": "/home/me/test.csv", "rows": 200, "accuracy": 0.805, "opening": 1}
    task = Classification(("good", "bad"), calibration="none")
    tuned = Tuned(PromptPredictor(prompt, task, backbone), record, seen=frozenset({"0123456789ab"}), evaluations=[opening])
    tuned.save(folder)
    return tuned


class Hub:
    """The part of the hub's interface that is used, over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.commits, self.private = folder, 0, None

    def missing(self) -> RepositoryNotFoundError:
        response = httpx2.Response(404, request=httpx2.Request("GET", "http://hub"))
        return RepositoryNotFoundError("no such repository", response=response)

    def repo_info(self, repository: str, *, revision: str | None = None) -> Any:
        root = self.folder / repository
        if not root.is_dir():
            raise self.missing()
        files = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
        return SimpleNamespace(sha=str(self.commits), siblings=[SimpleNamespace(rfilename=file) for file in files])

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        assert exist_ok
        self.private = private
        (self.folder / repository).mkdir(parents=True, exist_ok=True)

    def create_commit(self, repository: str, *, operations: Any, commit_message: str, parent_commit: str | None) -> None:
        if parent_commit not in (None, str(self.commits)):
            raise ValueError("the repository has moved on")
        self.commits += 1
        for one in operations:
            path = self.folder / repository / one.path_in_repo
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(one.path_or_fileobj)

    def hf_hub_download(self, repository: str, file: str, *, local_dir: Path, revision: str | None = None) -> str:
        target = local_dir / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((self.folder / repository / file).read_bytes())
        return str(target)


def test_a_folder_keeps_versions_apart(
    tmp_path: Path, tiny_backbone: HuggingFaceBackbone, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (saved(tmp_path / f"mood{seed}", tiny_backbone, seed) for seed in (0, 1))
    shelf = str(tmp_path / "shelf")
    for seed in (0, 1):
        main(["push", str(tmp_path / f"mood{seed}"), shelf, "--name", "mood"])
    assert capsys.readouterr().out == "mood@1\nmood@2\n"
    main(["push", str(tmp_path / "mood1"), shelf, "--name", "mood"])
    told = capsys.readouterr()
    assert (told.out, "nothing was pushed" in told.err) == ("mood@2\n", True)
    assert sorted(path.name for path in (tmp_path / "shelf" / "mood@2").iterdir()) == [
        "README.md",
        "manifest.json",
        "prompt.json",
        "vectors.safetensors",
    ]
    monkeypatch.chdir(tmp_path)
    main(["pull", shelf])
    main(["pull", shelf, "mood@1", "--out", str(tmp_path / "older")])
    for folder, tuned in (("mood", second), ("older", first)):
        found = load(tmp_path / folder, tiny_backbone)
        np.testing.assert_array_equal(found.predict_proba(TEXTS), tuned.predict_proba(TEXTS))


def test_a_card_says_what_it_is_and_no_folder_of_this_machine(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    saved(tmp_path / "mood", tiny_backbone)
    assert push(tmp_path / "mood", str(tmp_path / "shelf"), record=True)[1]
    kept = tmp_path / "shelf" / "mood@1"
    assert (kept / "seen.txt").read_text() == "0123456789ab\n"
    told = (kept / "README.md").read_text()
    for words in (
        tiny_backbone.digest, "method `soft`: 3\nlearned vectors", "[soft a 3]{text} Mood:", "- `good`: 'fine'",
        "- test.csv: 80.5 % right of 200 rows (opening 1)", "- 75.0 % on the rows that it was chosen by", "mood@1 --out mood",
        "No licence is stated here",
    ):  # fmt: skip
        assert words in told
    assert "/home/me" not in told + (kept / "manifest.json").read_text()


def test_a_hub_repository_keeps_them_too(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    hub, place = Hub(tmp_path / "hub"), "hub:me/prompts"
    tuned = [saved(tmp_path / f"p{seed}", tiny_backbone, seed) for seed in (0, 1)]
    assert [push(tmp_path / f"p{seed}", place, "mood", api=hub)[0].version for seed in (0, 1)] == [1, 2]
    assert (hub.commits, hub.private) == (2, True)
    assert push(tmp_path / "p1", place, "mood", api=hub) == (push(tmp_path / "p1", place, "mood", api=hub)[0], False)
    root = tmp_path / "hub" / "me" / "prompts"
    assert sorted(path.name for path in root.iterdir()) == ["README.md", "mood@1", "mood@2"]
    for version in (1, 2):
        pull(place, f"mood@{version}", tmp_path / f"back{version}", api=hub)
        found = load(tmp_path / f"back{version}", tiny_backbone)
        np.testing.assert_array_equal(found.predict_proba(TEXTS), tuned[version - 1].predict_proba(TEXTS))


def test_two_who_push_at_once_do_not_overwrite_each_other(
    tmp_path: Path, tiny_backbone: HuggingFaceBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, place = Hub(tmp_path / "hub"), "hub:me/prompts"
    for seed in (0, 1):
        saved(tmp_path / f"p{seed}", tiny_backbone, seed)
    push(tmp_path / "p0", place, "mood", api=hub)
    monkeypatch.setattr("pegbox.export.shared.card", lambda *_: setattr(hub, "commits", hub.commits + 1) or "")
    with pytest.raises(ServerError, match="moved on"):
        push(tmp_path / "p1", place, "mood", api=hub)


def test_what_comes_back_is_checked(tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    saved(tmp_path / "mood", tiny_backbone)
    shelf = str(tmp_path / "shelf")
    push(tmp_path / "mood", shelf)
    prompt = tmp_path / "shelf" / "mood@1" / "prompt.json"
    prompt.write_text(json.dumps({**json.loads(prompt.read_text()), "labels": ["good", "worse"]}))
    with pytest.raises(ArtifactError, match="was changed after it was written"):
        pull(shelf, "mood", tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("act", "came"),
    [
        (lambda here: pull(str(here / "shelf"), "other"), "keeps no other"),
        (lambda here: pull(str(here / "shelf"), "mood@7"), "keeps no mood@7"),
        (lambda here: pull(str(here / "none"), None), "keeps no prompts"),
        (lambda here: pull(str(here / "shelf"), "../mood"), "the prompt name"),
        (lambda here: push(here / "mood", str(here / "shelf"), "mood@3"), "a name without a version"),
        (lambda here: push(here / "mood", "hub:me", "mood"), "the place 'hub:me'"),
        (lambda here: push(here, str(here / "shelf"), "mood"), "has no manifest.json"),
    ],
)
def test_what_cannot_be_done_is_told(act: Any, came: str, tmp_path: Path, tiny_backbone: HuggingFaceBackbone) -> None:
    saved(tmp_path / "mood", tiny_backbone)
    push(tmp_path / "mood", str(tmp_path / "shelf"))
    with pytest.raises(PegboxError, match=came):
        act(tmp_path)
