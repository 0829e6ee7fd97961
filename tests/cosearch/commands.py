"""Run `cosearch` as a user does: in this process where that is enough, in one of its own where it matters."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cosearch.cli import main

COMMAND = [sys.executable, "-m", "cosearch.cli"]


@dataclass(frozen=True)
class Result:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The output as strict JSON: a NaN, which other readers refuse, is refused."""
        return json.loads(self.out, parse_constant=pytest.fail)


Run = Callable[..., Result]


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command in this process."""

    def run(*words: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["cosearch", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


def run_apart(*words: object, **environment: str) -> Result:
    """Run a command in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *map(str, words)], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    return Result(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def started(*words: object) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a process group of its own; end the group's processes on the way out."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:  # not waited for: the number of its group is still its own
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
