"""Downloads, with a hand-made wheel in place of the network."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pegbox.data import download
from pegbox.data.download import digest, fetch, home, read_member
from pegbox.errors import DownloadError

NAME = "tiny_pkg-1.0-py3-none-any.whl"


def make_wheel(path: Path, text: str = "hello") -> str:
    """A wheel that pip accepts, with one data file; its SHA-256."""
    files = {
        "tiny_pkg/data.txt": text,
        "tiny_pkg/__init__.py": "raise RuntimeError('imported')",
        "tiny_pkg-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-pkg\nVersion: 1.0\n",
        "tiny_pkg-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_pkg-1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and an empty home."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PEGBOX_HOME", str(tmp_path / "home"))
    return folder


def no_pip(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("pip was called")


def test_home_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEGBOX_HOME", "~/there")
    assert home() == Path.home() / "there"
    monkeypatch.setenv("PEGBOX_HOME", "")
    assert "pegbox" in home().name.lower() or "pegbox" in str(home()).lower()


def test_pip_fetches_once_and_the_wheel_is_kept(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = make_wheel(index / NAME)
    wheel = fetch("tiny-pkg", "1.0", sha256)
    assert wheel == tmp_path / "home" / "wheels" / NAME
    assert read_member(wheel, "tiny_pkg/data.txt") == b"hello"
    assert [path.name for path in wheel.parent.iterdir()] == [NAME]
    assert "tiny_pkg" not in sys.modules
    monkeypatch.setattr(subprocess, "run", no_pip)
    assert fetch("tiny-pkg", "1.0", sha256) == wheel
    assert fetch("Tiny.Pkg", "1.0", sha256) == wheel


def test_another_checksum_is_refused_and_nothing_is_kept(index: Path, tmp_path: Path) -> None:
    sha256 = make_wheel(index / NAME)
    with pytest.raises(DownloadError) as caught:
        fetch("tiny-pkg", "1.0", "0" * 64)
    assert caught.value.came == f"{NAME} has the SHA-256 {sha256}"
    assert "0" * 64 in caught.value.expected
    assert list((tmp_path / "home" / "wheels").iterdir()) == []


def test_a_damaged_kept_wheel_is_fetched_anew(index: Path) -> None:
    sha256 = make_wheel(index / NAME)
    wheel = fetch("tiny-pkg", "1.0", sha256)
    wheel.write_bytes(wheel.read_bytes()[:50])
    assert digest(fetch("tiny-pkg", "1.0", sha256)) == sha256


@pytest.mark.usefixtures("index")
def test_a_package_that_pip_cannot_get() -> None:
    with pytest.raises(DownloadError) as caught:
        fetch("tiny-pkg", "1.0", "0" * 64)
    assert caught.value.came.startswith("pip could not fetch tiny-pkg==1.0: ERROR: Could not find a version")
    assert "pip download --no-deps tiny-pkg==1.0" in caught.value.remedy
    assert "wheels" in caught.value.remedy


@pytest.mark.usefixtures("index")
def test_no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 1, "", f"{sys.executable}: No module named pip\n")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: done)
    with pytest.raises(DownloadError, match=r"has no pip(.|\n)*ensurepip"):
        fetch("tiny-pkg", "1.0", "0" * 64)


@pytest.mark.usefixtures("index")
def test_pip_that_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: subprocess.CompletedProcess([], 0, "", ""))
    with pytest.raises(DownloadError, match=r"pip download tiny-pkg==1\.0 left 0 wheels"):
        fetch("tiny-pkg", "1.0", "0" * 64)


def test_a_home_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PEGBOX_HOME", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match=r"cannot be made(.|\n)*PEGBOX_HOME"):
        fetch("tiny-pkg", "1.0", "0" * 64)


def test_two_at_once_leave_one_whole_wheel(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = make_wheel(index / NAME)
    both = threading.Barrier(2, timeout=60)
    download_ = download._download

    def together(package: str, version: str, folder: Path) -> Path:
        wheel = download_(package, version, folder)
        both.wait()  # both have downloaded before either moves its file into place
        return wheel

    monkeypatch.setattr(download, "_download", together)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch("tiny-pkg", "1.0", sha256))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "home" / "wheels" / NAME] * 2
    assert [path.name for path in (tmp_path / "home" / "wheels").iterdir()] == [NAME]
    assert digest(found[0]) == sha256


def test_members_that_are_not_there(tmp_path: Path) -> None:
    make_wheel(tmp_path / NAME)
    with pytest.raises(DownloadError, match=r"cannot give tiny_pkg/else\.txt"):
        read_member(tmp_path / NAME, "tiny_pkg/else.txt")
    (tmp_path / "broken.whl").write_bytes(b"no zip")
    with pytest.raises(DownloadError, match=r"broken\.whl cannot give"):
        read_member(tmp_path / "broken.whl", "a")
