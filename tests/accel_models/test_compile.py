"""Compiled kernels are kept on disk and never stale: the cache survives edits, damage and folders it cannot write.

The tests run a package of their own, whose `compile.py` is a copy of ours, in processes of their own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import accel_models
from accel_models.loopnest import compile as ours

HELPER = """
from kernels.compile import kernel

FACTOR = 2

@kernel
def scaled(x):
    return FACTOR * x
"""

USER = """
from kernels.compile import kernel
from kernels.helper import scaled

@kernel
def total(count):
    found = 0
    for number in range(count):
        found += scaled(number)
    return found
"""

RUN = "from kernels.user import total; value = total(4); print(value, sum(total.stats.cache_hits.values()))"


@pytest.fixture
def package(tmp_path) -> Path:
    folder = tmp_path / "kernels"
    folder.mkdir()
    shutil.copy(ours.__file__, folder / "compile.py")
    (folder / "__init__.py").touch()
    (folder / "helper.py").write_text(HELPER)
    (folder / "user.py").write_text(USER)
    return folder


def run(package: Path, *, cache: Path | None = None, code: str = RUN) -> tuple[int, int]:
    """Return the result of the kernel in a fresh process, and how many kernels came out of the cache."""
    environment = {
        **os.environ, "PYTHONPATH": str(package.parent), "COSEARCH_CACHE_DIR": str(cache or package.parent / "cache"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    value, hits = map(int, done.stdout.split())
    return value, hits


def edit(package: Path, factor: int) -> None:
    (package / "helper.py").write_text(HELPER.replace("FACTOR = 2", f"FACTOR = {factor}"))


def test_an_edited_helper_is_seen_and_unedited_code_is_reused(package) -> None:
    assert run(package) == (2 * 6, 0)
    assert run(package) == (2 * 6, 1), "the second process compiled again"
    edit(package, 5)  # in another file than the kernel that is called: numba itself would not see it
    assert run(package) == (5 * 6, 0)
    edit(package, 2)
    assert run(package) == (2 * 6, 1), "what was compiled before the edit is still good after it is undone"


@pytest.mark.parametrize(("pattern", "keep"), [("*.nbi", 0.5), ("*.nbc", 0.5), ("*.nb?", 0.0)])
def test_a_damaged_cache_heals(package, pattern, keep) -> None:
    run(package)
    files = [file for file in (package.parent / "cache").rglob(pattern) if file.is_file()]
    assert files
    for file in files:
        os.truncate(file, int(file.stat().st_size * keep))
    assert run(package) == (2 * 6, 0)
    assert run(package) == (2 * 6, 1), "the damaged file was not replaced"


def test_a_folder_that_cannot_be_written_leaves_nothing_stale_behind(package) -> None:
    file = package.parent / "file"
    file.touch()
    assert run(package, cache=file / "below") == (2 * 6, 0)
    assert run(package, cache=file / "below") == (2 * 6, 0)
    assert not list(package.rglob("*.nb?")), "compiled code was kept beside the sources"
    edit(package, 5)
    assert run(package, cache=file / "below") == (5 * 6, 0)


def test_a_folder_that_goes_away_between_import_and_use_does_no_harm(package) -> None:
    code = (
        """
import os, shutil
import kernels.user
cache = os.environ["COSEARCH_CACHE_DIR"]
shutil.rmtree(cache)
open(cache, "w").close()
"""
        + RUN
    )
    assert run(package, code=code) == (2 * 6, 0)


def test_the_folder_is_named_by_all_sources_and_the_users_wish(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("COSEARCH_CACHE_DIR", str(tmp_path))
    ours.cache_folder.cache_clear()
    try:
        assert ours.cache_folder().parent == tmp_path / "kernels"
    finally:
        monkeypatch.undo()
        ours.cache_folder.cache_clear()
    assert {file.name for file in ours.SOURCES.glob("*.py")} >= {"compile.py", "counts.py", "sample.py"}


def test_kernels_are_compiled_in_one_place_alone() -> None:
    """A kernel elsewhere would not be part of the hash that names the folder."""
    root = Path(accel_models.__file__).parent
    users = [
        file
        for file in root.rglob("*.py")
        if "njit" in file.read_text() or "loopnest.compile import" in file.read_text()
    ]
    assert users
    assert {file.parent for file in users} == {ours.SOURCES}


def test_the_counting_tests_pass_without_the_compiler() -> None:
    """Kernels are plain Python underneath: a debugger can step through them."""
    folder = Path(__file__).parent
    chosen = (
        "hand_counted or bandwidth_at or too_small or too_narrow or must_multiply or precision_halves or round_trip"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(folder / "test_counts.py"), "-k", chosen, "-v", "-p", "no:cacheprovider"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, cwd=folder.parents[1], capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 8


def test_compiled_and_interpreted_kernels_agree() -> None:
    """Sampling is 64-bit integer arithmetic that wraps around; numpy's scalars wrap around too, with a warning."""
    code = (
        "from accel_models import Layer, best_mapping, load_target\n"
        "for name in ('eyeriss', 'nvdla_256'):\n"
        "    found = best_mapping(Layer.parse('K24 C12 P14 Q7 R3 S3 stride=2'), load_target(name), effort=20, seed=5)\n"
        "    print(found.energy_pj.hex(), found.latency_cycles.hex(), found.mapping)"
    )
    outputs = []
    for disabled in ("0", "1"):
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        command = [sys.executable, "-W", "ignore", "-c", code]
        outputs.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert outputs[0] == outputs[1] != ""
