"""The floors of the house, held by the suite: imports go down only, and no method knows another."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pegbox"
COMPOSERS = {"hybrid", "then"}  # the methods that are made of other methods


def test_imports_go_down_only() -> None:
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as run; run()",
        "--no-logo",
        "--no-cache",
    ]
    found = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "src"), found]))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def methods_that_import_each_other(folder: Path, verb: str) -> list[str]:
    """Every "importer -> imported" among a room's methods; a method is a file with a class that has the room's verb."""
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")}
    methods = {name for name, tree in trees.items() if any(is_method(node, verb) for node in tree.body)}
    room = f"pegbox.{folder.name}"
    return sorted(
        f"{name} -> {other}"
        for name in methods - COMPOSERS
        for other in methods - {name}
        if f"{room}.{other}" in imported_by(trees[name], room)
    )


def is_method(node: ast.stmt, verb: str) -> bool:
    if not isinstance(node, ast.ClassDef) or any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases):
        return False
    return any(isinstance(item, ast.FunctionDef) and item.name == verb for item in node.body)


def imported_by(tree: ast.Module, room: str) -> set[str]:
    """The full names of all modules that a file imports, also inside functions; `from . import x` counts as the room's."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            source = room if node.level else ""
            stem = ".".join(filter(None, [source, node.module or ""]))
            names |= {stem, *(f"{stem}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize(("room", "verb"), [("tune", "tune"), ("reference", "fit")])
def test_no_method_imports_another(room: str, verb: str) -> None:
    assert methods_that_import_each_other(PACKAGE / room, verb) == []


def test_a_method_that_imports_another_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "tune"
    folder.mkdir()
    method = "class M:\n    def tune(self): ...\n"
    (folder / "soft.py").write_text(method)
    (folder / "words.py").write_text("def f():\n    from pegbox.tune.soft import M\n" + method)
    (folder / "tokens.py").write_text("from . import soft\n" + method)
    (folder / "then.py").write_text("from pegbox.tune import soft\n" + method)
    (folder / "trail.py").write_text("import pegbox.tune.soft\n")
    assert methods_that_import_each_other(folder, "tune") == ["tokens -> soft", "words -> soft"]
