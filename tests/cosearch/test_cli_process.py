"""`cosearch` as a process: light at the door, Ctrl-C, closed pipes, odd terminals, full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from accel_models.description import parse_target, target_names
from accel_models.networks import load_network
from cosearch.archive import FILE_NAME, Archive
from cosearch.errors import RunError
from cosearch.evaluate import MappingOptions
from cosearch.study import search as find

from .commands import COMMAND, run_apart, started
from .conftest import TARGET

HEAVY = {"numba", "torch", "pymoo", "matplotlib"}

LIST_MODULES = """
import sys
from cosearch.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
finally:
    print("\\n" + " ".join(sys.modules))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a run of twenty machines and its description."""
    folder = tmp_path_factory.mktemp("process")
    (folder / "tiny.yaml").write_text(TARGET)
    done = run_apart(*search(folder, "run"), "--budget", 20, "--population", 10, "--workers", 1)
    assert done.code == 0, done.err
    return folder


def search(folder: Path, out: str) -> tuple[object, ...]:
    return ("search", "--target", folder / "tiny.yaml", "--fix", "network", "--network", "mobilenet-v2", "--objectives",
            "latency,energy,area", "--effort", 20, "--out", folder / out)  # fmt: skip


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], HEAVY | {"numpy", "pandas", "pydantic"}),
        (["targets", "list"], HEAVY | {"numpy", "pandas"}),
        (["targets", "show", "eyeriss"], HEAVY | {"pandas"}),
        (["list", "networks"], HEAVY | {"numpy", "pandas"}),
        (["front", "run"], HEAVY | {"pandas"}),
        (["plot", "run"], {"numba", "torch", "pymoo"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nothing_heavy_is_imported_before_it_is_used(folder, words, heavy) -> None:
    code = f"import sys\nsys.argv = ['cosearch', *{words!r}]\n{LIST_MODULES}"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    assert set(done.stdout.splitlines()[-1].split()) & heavy == set()


def test_importing_the_packages_is_light() -> None:
    code = "import sys, cosearch, accel_models; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(done.stdout.split()) & (HEAVY | {"numpy", "pandas", "pydantic"}) == set()


# Ctrl-C


def recorded(folder: Path) -> int:
    try:
        archive = Archive(folder / FILE_NAME)
        count = len(archive.pairs())
        archive.close()
    except RunError:
        return 0
    return count


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_keeps_the_finished_generations_and_says_how_to_go_on(folder, workers) -> None:
    out = folder / f"stopped{workers}"
    with started(*search(folder, out.name), "--budget", 200, "--population", 5, "--workers", workers) as process:
        until = time.monotonic() + 100
        while process.poll() is None and recorded(out) < 20 and time.monotonic() < until:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the workers too
        printed, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told == f"stopped; all finished generations are kept. Continue with: cosearch resume {out}\n"
    assert printed == ""
    before = recorded(out)
    assert 20 <= before < 200
    done = run_apart("resume", out, "--budget", before + 10, "--workers", 1)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"{before + 10} pairs evaluated, ")
    never_stopped = find(
        load_network("mobilenet-v2"), parse_target(TARGET, "tiny.yaml"), ("latency", "energy", "area"), budget=before + 10,
        population=5, mapping=MappingOptions(effort=20),
    )  # fmt: skip
    assert list(map(str, Archive(out / FILE_NAME).pairs())) == list(map(str, never_stopped.archive.pairs()))


def test_ctrl_c_before_anything_is_recorded_promises_nothing(folder) -> None:
    """Stopped inside the search, at the moment before its record is made."""
    code = """
import sys
import cosearch.study
from cosearch.cli import main

def interrupted(*arguments):
    raise KeyboardInterrupt

cosearch.study.reference_rows = interrupted
main()
"""
    out = folder / "early"
    words = [str(word) for word in search(folder, out.name)]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "stopped; nothing was recorded yet\n"
    assert not out.exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks for processes in /proc")
def test_workers_do_not_outlive_a_killed_search(folder) -> None:
    out = folder / "killed"
    with started(*search(folder, out.name), "--budget", 500, "--population", 5, "--workers", 2) as process:
        until = time.monotonic() + 100
        while process.poll() is None and recorded(out) < 10 and time.monotonic() < until:
            time.sleep(0.02)
        members = group(process.pid)
        assert len(members) > 2, "no worker was found: the test shows nothing"
        process.kill()
        until = time.monotonic() + 20
        while (left := group(process.pid)) and time.monotonic() < until:
            time.sleep(0.1)
    assert left == set()
    assert recorded(out) >= 10


def group(leader: int) -> set[int]:
    """Return the processes of a process group that are no zombies."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, number = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(number) == leader and state != "Z":
                found.add(int(entry.name))
    return found


# Where output goes


@pytest.mark.parametrize(
    "words",
    [
        ("front", "run"),
        ("targets", "schema"),
        ("targets", "list", "--format", "csv"),
    ],
    ids=" ".join,
)
def test_a_closed_pipe_is_no_error_to_talk_about(folder, words) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, *words], cwd=folder, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60
        )
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode in (0, 1)


def test_head_of_a_table(folder) -> None:
    command = f"{sys.executable} -m cosearch.cli front run | head -1"
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.endswith("`cosearch show run ID` shows one\n") and done.stdout.count("\n") == 1


def test_a_terminal_that_knows_no_squares_gets_the_table_all_the_same(folder) -> None:
    done = run_apart("targets", "show", "eyeriss", PYTHONIOENCODING="ascii")
    assert (done.code, done.err) == (0, "")
    assert "168 MACs" in done.out and "mm?" in done.out and done.out.isascii()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [("targets", "list"), ("front", "run")], ids=" ".join)
def test_a_full_disk_is_told_in_one_line(folder, words) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *words], cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == "cosearch: [Errno 28] No space left on device\n"


def test_the_installed_command_is_this_one() -> None:
    """`pip install` puts it beside the interpreter."""
    script = Path(sys.executable).with_name("cosearch")
    done = subprocess.run([script, "targets", "list"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()] == target_names()
