"""What is heavy is imported where it is used, and nowhere else: torch and scikit-learn never without networks that run."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "sklearn")

SEARCH = """
import cosearch
from cosearch.evaluate import MappingOptions
cosearch.search(
    "ofa-mobilenet-v3", "eyeriss", ["top1", "latency"], strategy="random", budget=2, population=2, fix_hardware=True,
    mapping=MappingOptions(effort=2),
)
"""

BASELINE = """
import numpy as np
from cosearch.accuracy import make_estimator
from cosearch.spaces import load_space
space = load_space("digits")
print(make_estimator("zero-cost:params", space).estimate(space.numbers(np.zeros((1, len(space.knobs)), dtype=int))))
"""


def imported(code: str) -> set[str]:
    """What of :data:`HEAVY` a process of its own has imported after running some code."""
    ending = f"import sys; print('imported:', *(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{ending}"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_the_probe_sees_an_import() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    assert "sklearn" in imported("import sklearn")


@pytest.mark.parametrize(
    "module",
    [
        "cosearch", "cosearch.cli", "cosearch.study", "cosearch.accuracy", "cosearch.accuracy.zero_cost",
        "cosearch.accuracy.supernet", "cosearch.accuracy.train", "cosearch.zero_cost",
    ],
)  # fmt: skip
def test_importing_it_is_light(module) -> None:
    assert imported(f"import {module}") == set()


def test_all_spaces_and_estimators_load_without_them() -> None:
    code = "from importlib.metadata import entry_points\n" + "".join(
        f"[entry.load() for entry in entry_points(group={group!r})]\n"
        for group in ("cosearch.spaces", "cosearch.accuracy", "cosearch.default_accuracy")
    )
    assert imported(code) == set()


def test_a_search_with_the_predictor_needs_neither() -> None:
    assert imported(SEARCH) == set()


def test_the_baselines_among_the_proxies_need_neither() -> None:
    assert imported(BASELINE) == set()
