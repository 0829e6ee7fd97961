"""Where measured networks lie, if they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[3].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """A function from a path below the shared data folder to the file; skips the test where it is absent."""

    def find(name: str) -> Path:
        path = SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"measured data {name} is not beside the repository (looked in ../shared/data)")
        return path

    return find


@pytest.fixture(scope="session")
def measured_paths(shared_data: Callable[[str], Path]) -> list[Path]:
    """The two sets behind the shipped coefficients, in the order in which they were fitted."""
    names = ("ofa_mbv3_w1.0_val50k_r128_160_192.csv", "ofa_mbv3_w1.0_r224.csv")
    return [shared_data(f"ofa_top1/{name}") for name in names]
