"""A truth of eight machines and one resolution, worked out once: it takes a few seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import ground_truth
from benchmarks.known_space import CHOICES, KnownSpace, Question, machines_of


@pytest.fixture(scope="session")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("truth") / "small.npz"
    question = Question(machines_of(ground_truth.fewer(CHOICES, 10)), (128,))
    ground_truth.make(question, [("top1", "latency"), ("top1", "energy")], file, 1)
    return file


@pytest.fixture(scope="session")
def small(small_file: Path) -> KnownSpace:
    return KnownSpace.load(small_file)
