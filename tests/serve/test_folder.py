"""The folder and the shelf: versions, changes, broken artifacts, uploads, keys."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pegbox.errors import ArtifactError, SettingsError
from pegbox.prompt.names import Name
from pegbox.serve.errors import ForbiddenError, TooLargeError
from pegbox.serve.folder import FILES
from pegbox.serve.keys import Key, Keys, add_key, read_keys
from pegbox.serve.packed import unpack
from pegbox.serve.settings import Limits

Start = Callable[..., Any]
ADMIN = {"authorization": "Bearer admin-key"}
USE = {"authorization": "Bearer use-key"}


def keys() -> Keys:
    made = [("a", "admin", "admin-key"), ("b", "use", "use-key")]
    return Keys(tuple(Key(name, role, hashlib.sha256(key.encode()).hexdigest()) for name, role, key in made))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", ".", "..", "../a", "a/b", "a@0", "a@", "@1", ".a", "a\n", "a b", "é", "a" * 65, "a@1@2", "a."]
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(SettingsError, match="the prompt name"):
        Name.read(text)


def test_names_and_versions() -> None:
    assert Name.read("mood") == Name("mood")
    assert Name.read("mood-2.b@13") == Name("mood-2.b", 13)
    assert str(Name("mood", 3)) == "mood@3"


def test_the_newest_version_answers_and_older_ones_by_number(start: Start, make_prompt: Any, until: Any) -> None:
    served = start("soft", "words")
    newer = make_prompt("soft", served.prompts["soft"].backbone, seed=1)
    newer.save(served.folder / "soft@10")
    until(lambda: served.predict("soft", "a").json()["prompt"] == "soft@10")
    for name, tuned in (("soft", newer), ("soft@10", newer), ("soft@1", served.prompts["soft"])):
        found = served.predict(name, "a").json()["predictions"][0]["probabilities"]
        np.testing.assert_allclose(list(found.values()), tuned.predict_proba(["a"])[0], atol=1e-4)
    assert served.http.get("/v1/prompts/soft").json()["versions"] == [1, 10]
    shutil.rmtree(served.folder / "soft@10")
    until(lambda: served.predict("soft", "a").json()["prompt"] == "soft@1")


def test_a_replaced_artifact_is_read_anew(start: Start, make_prompt: Any, until: Any) -> None:
    served = start("soft")
    before = served.predict("soft", "a").json()["predictions"]
    newer = make_prompt("soft", served.prompts["soft"].backbone, seed=1)
    newer.save(served.folder / "soft")

    def changed() -> bool:
        found = served.predict("soft", "a")
        return found.status_code == 200 and found.json()["predictions"] != before

    until(changed)
    found = served.predict("soft", "a").json()["predictions"][0]["probabilities"]
    np.testing.assert_allclose(list(found.values()), newer.predict_proba(["a"])[0], atol=1e-4)


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def vectors(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    file = path / "vectors.safetensors"
    save_file({name: change(found) for name, found in load_file(file).items()}, file)


def huge_header(path: Path) -> None:
    (path / "vectors.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + b"{}")


def link(path: Path) -> None:
    shutil.move(path / "prompt.json", path.parent.parent / "elsewhere.json")
    (path / "prompt.json").symlink_to(path.parent.parent / "elsewhere.json")


def linked_folder(path: Path) -> None:
    shutil.move(path, path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def offsets(path: Path) -> None:
    content = json.loads((path / "prompt.json").read_text())
    change(path / "prompt.json", calibration={"method": "batch", "offsets": [float("nan"), 0.0]})
    assert content["calibration"]["offsets"] == [0.25, -0.5]


BREAK: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: [file.unlink() for file in path.iterdir()],
    "truncated": lambda path: os.truncate(path / "vectors.safetensors", 100),
    "no vectors": lambda path: (path / "vectors.safetensors").unlink(),
    "narrow": lambda path: vectors(path, lambda found: found[:, :32].copy()),
    "not finite": lambda path: vectors(path, lambda found: found * np.float32("nan")),
    "changed": lambda path: vectors(path, lambda found: found + 1),
    "other model": lambda path: change(
        path / "manifest.json", model={"name": "x", "digest": "0", "width": 64, "dtype": "float32"}
    ),
    "later format": lambda path: change(path / "manifest.json", format=99),
    "no JSON": lambda path: (path / "prompt.json").write_text("{"),
    "deep": lambda path: (path / "prompt.json").write_text("[" * 100_000),
    "too large": lambda path: (path / "trail.jsonl").write_bytes(b" " * 2_000_000),
    "huge header": huge_header,
    "linked file": link,
    "linked folder": linked_folder,
    "offsets": offsets,
    "a pipe": lambda path: ((path / "prompt.json").unlink(), os.mkfifo(path / "prompt.json")),
    "no text": lambda path: (path / "manifest.json").write_bytes(b"\xff\xfe{}"),
    "nonsense notation": lambda path: change(path / "prompt.json", notation="[soft a"),
    "a slot too many": lambda path: save_file({"a": np.zeros((5, 64)), "b": np.zeros((1, 64))}, path / "vectors.safetensors"),
    "strange name": lambda path: path.rename(path.with_name("so strange!")),
}


def test_there_are_twenty_ways_to_break_an_artifact() -> None:
    assert len(BREAK) == 20


def test_broken_artifacts_are_named_and_left_out_while_the_rest_is_served(start: Start, make_prompt: Any, until: Any) -> None:
    served = start("soft", limits=Limits(body_bytes=1_000_000))
    names = {how: f"broken{number}" for number, how in enumerate(BREAK)}
    for how, name in names.items():
        place = make_prompt("soft", served.prompts["soft"].backbone, seed=2).save(served.folder.parent / "making" / name)
        moved = served.folder / f".{name}"
        place.rename(moved)
        moved.rename(served.folder / name)
        BREAK[how](served.folder / name)
    expected = {name if how != "strange name" else "so strange!" for how, name in names.items()}
    until(lambda: {one["folder"] for one in served.http.get("/v1/prompts").json()["broken"]} == expected)
    told = served.http.get("/v1/prompts").json()
    assert [prompt["name"] for prompt in told["prompts"]] == ["soft"]
    assert all("expected:" in one["why"] for one in told["broken"] if one["folder"] != names["offsets"])
    assert served.predict("soft", "a").status_code == 200
    assert served.predict(names["changed"], "a").status_code == 404


def test_an_artifact_that_breaks_what_reads_it_stops_no_other(
    start: Start, make_prompt: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = start("soft")
    opened = served.house.shelf._open

    def broken(name: Name, path: Path) -> Any:
        if name.base == "odd":
            raise ZeroDivisionError
        return opened(name, path)

    monkeypatch.setattr(served.house.shelf, "_open", broken)
    for name in ("odd", "words"):
        make_prompt("words", served.prompts["soft"].backbone).save(served.folder / name)
    until(lambda: served.predict("words", "a").status_code == 200)
    (told,) = served.http.get("/v1/prompts").json()["broken"]
    assert told["folder"] == "odd"
    assert "ZeroDivisionError" in told["why"]


def packed(folder: Path, **more: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
        for name, content in more.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_uploads_and_deletions_need_the_admin_key(start: Start) -> None:
    served = start("soft", keys=keys())
    body = packed(served.folder / "soft")
    assert served.http.get("/v1/prompts").status_code == 401
    assert served.http.get("/v1/prompts", headers={"authorization": "Bearer wrong"}).status_code == 401
    assert served.http.get("/healthz").status_code == served.http.get("/readyz").status_code == 200
    assert served.http.get("/metrics").status_code == 401
    assert served.http.put("/v1/prompts/new", content=body, headers=USE).status_code == 403
    made = served.http.put("/v1/prompts/new", content=body, headers=ADMIN)
    assert (made.status_code, made.json()["name"], made.json()["version"]) == (201, "new", 1)
    assert served.http.put("/v1/prompts/new", content=body, headers=ADMIN).json()["version"] == 2
    assert served.http.put("/v1/prompts/new@2", content=body, headers=ADMIN).status_code == 409
    asked = {"json": {"rows": ["a"]}, "headers": USE}
    one, other = (served.http.post(f"/v1/prompts/{name}/predict", **asked).json() for name in ("new", "soft"))
    assert one["prompt"] == "new@2"
    assert one["predictions"] == other["predictions"]
    assert served.http.delete("/v1/prompts/new@1", headers=USE).status_code == 403
    assert served.http.delete("/v1/prompts/new", headers=ADMIN).json() == {"deleted": ["new@1", "new@2"]}
    assert served.http.delete("/v1/prompts/new", headers=ADMIN).status_code == 404
    assert sorted(path.name for path in served.folder.iterdir()) == ["soft"]


def test_without_keys_nobody_changes_prompts(start: Start) -> None:
    served = start("soft")
    assert served.http.put("/v1/prompts/new", content=b"").status_code == 403
    assert served.http.delete("/v1/prompts/soft").status_code == 403


def test_a_broken_upload_leaves_nothing_behind(start: Start) -> None:
    served = start("soft", keys=keys())
    (served.folder / "soft" / "prompt.json").write_text("{")
    for body in (packed(served.folder / "soft"), b"no zip", b""):
        found = served.http.put("/v1/prompts/new", content=body, headers=ADMIN)
        assert found.status_code == 400
        assert found.json()["error"]["remedy"]
    assert [path.name for path in served.folder.iterdir()] == ["soft"]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/manifest.json", "manifest.json/", "run.py", "..\\evil"])
def test_archives_with_other_names_are_refused(tmp_path: Path, name: str) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(ArtifactError, match="the archive holds"):
        unpack(file.getvalue(), tmp_path, 1000)
    assert list(tmp_path.iterdir()) == []


def test_archives_with_links_or_too_much_are_refused(tmp_path: Path) -> None:
    linked, large = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(linked, "w") as archive:
        entry = zipfile.ZipInfo("prompt.json")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(ArtifactError, match="holds a link"):
        unpack(linked.getvalue(), tmp_path, 1000)
    with zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FILES[4], b" " * 10_000_000)
    with pytest.raises(TooLargeError):
        unpack(large.getvalue(), tmp_path, 1_000_000)
    cut = large.getvalue()[:40] + large.getvalue()[60:]
    with pytest.raises(ArtifactError):
        unpack(cut, tmp_path, 100_000_000)


def test_keys_are_kept_as_digests(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    use, admin = add_key(path, "shop", "use"), add_key(path, "keeper", "admin")
    assert use not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    known = read_keys(path)
    assert known.check(f"Bearer {use}", "use") == "shop"
    assert known.check(f"Bearer {admin}", "admin") == "keeper"
    with pytest.raises(ForbiddenError, match="a key for use"):
        known.check(f"Bearer {use}", "admin")
    newer = add_key(path, "shop", "use")
    with pytest.raises(ForbiddenError, match="not known"):
        read_keys(path).check(f"Bearer {use}", "use")
    assert read_keys(path).check(f"bearer {newer}", "use") == "shop"
    with pytest.raises(SettingsError, match="the role 'boss'"):
        add_key(path, "x", "boss")
    path.write_text('{"keys": []}')
    with pytest.raises(SettingsError, match="at least one"):
        read_keys(path)
