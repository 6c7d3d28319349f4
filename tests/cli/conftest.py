"""The command line run in processes of its own that share one costly import, so that they can be killed by the dozen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import pegbox

SERVER = """
import json, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite started in the background hands down that Ctrl-C is ignored
import pegbox.api, pegbox.cli.progress, pegbox.evaluate.html, pegbox.evaluate.plots, pegbox.tune.search, pandas
from pegbox.cli import main
rows = [(f"a {n}", "bad good".split()[n % 2]) for n in range(12)]
pegbox.api.tune(rows, method="soft", model="tiny", budget="2ktokens")  # what is imported on first use
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    if "wait" in job:
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1])), flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    for number, path in enumerate(("/dev/null", job["out"], job["err"])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(path, flags), number)
    sys.stdin, sys.stdout, sys.stderr = (open(n, "r" if n == 0 else "w") for n in range(3))
    os.chdir(job["cwd"])
    status = 0
    try:
        main(job["args"])
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        import traceback
        traceback.print_exc()
        status = 1
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        status = 120
    os._exit(status)
"""


class Process:
    """One run of the command line."""

    def __init__(self, lab: Lab, args: Sequence[str], out: Path) -> None:
        self._lab, self.out, self.err = lab, out, lab.folder / f"{out.name}.err"
        self.pid = int(
            lab.ask({"args": [str(arg) for arg in args], "cwd": str(lab.folder), "out": str(out), "err": str(self.err)})
        )

    def until(self, seen: Callable[[], bool]) -> Process:
        """Waits until something can be seen, or the process is over."""
        end = time.monotonic() + 120
        while time.monotonic() < end and not seen():
            if Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                break
            time.sleep(0.004)
        return self

    def kill(self, number: int = signal.SIGKILL) -> int:
        os.kill(self.pid, number)
        return self.wait()

    def wait(self) -> int:
        return int(self._lab.ask({"wait": self.pid}))

    @property
    def told(self) -> str:
        return self.out.read_text(encoding="utf-8")

    @property
    def warned(self) -> str:
        return self.err.read_text(encoding="utf-8")


class Lab:
    """Where processes are started, with a folder to work in."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self._server, self.folder, self._count = server, folder, 0

    def ask(self, job: Any) -> str:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return self._server.stdout.readline()

    def start(self, *args: object, out: Path | None = None) -> Process:
        """A run that goes on beside the test."""
        self._count += 1
        return Process(self, [str(arg) for arg in args], out or self.folder / f"run{self._count}")

    def run(self, *args: object, status: int = 0) -> Process:
        """A run to its end."""
        process = self.start(*args)
        found = process.wait()
        assert found == status, process.warned
        return process


@pytest.fixture(scope="session")
def _server() -> Iterator[subprocess.Popen[str]]:
    source = str(Path(pegbox.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    command = [sys.executable, "-c", SERVER]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    yield server
    assert server.stdin is not None
    server.stdin.close()
    server.stdout.close()
    server.wait()


@pytest.fixture
def lab(_server: subprocess.Popen[str], tmp_path: Path) -> Lab:
    return Lab(_server, tmp_path)
