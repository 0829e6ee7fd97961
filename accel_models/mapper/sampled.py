"""Seeded random sampling: the baseline every better mapper is measured against."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accel_models.batch import evaluate_mappings
from accel_models.errors import MappingError
from accel_models.loopnest.sample import MAX_DIVISORS, sample_batch
from accel_models.mapper.base import Found, objective_value
from accel_models.plan import Plan

BATCH = 256
"""Mappings drawn and evaluated together: 256 of five levels fill 320 KiB, inside the second-level cache."""


@lru_cache(maxsize=4096)
def divisors(bounds: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the ascending divisors of each bound, shape (dims, widest), rows padded with 0."""
    rows = [_divisors_of(bound) for bound in bounds]
    widest = max(map(len, rows))
    if widest > MAX_DIVISORS:
        worst = max(bounds, key=lambda bound: len(_divisors_of(bound)))
        raise MappingError(f"a loop bound of {worst} has {widest} divisors, more than {MAX_DIVISORS}")
    table = np.zeros((len(bounds), widest), dtype=np.int64)
    for row, found in zip(table, rows, strict=True):
        row[: len(found)] = found
    return table


def _divisors_of(bound: int) -> list[int]:
    small = [d for d in range(1, math.isqrt(bound) + 1) if bound % d == 0]
    return small + [bound // d for d in reversed(small) if d * d != bound]


def search(plan: Plan, objective: str, effort: int, seed: int) -> Found:
    """Return the best of `effort` random legal mappings.

    Raises
    ------
    MappingError
        If none was found.
    """
    table = divisors(tuple(int(bound) for bound in plan.layer[:8]))
    best: Found | None = None
    done, evaluated = 0, 0
    while done < effort:
        size = min(BATCH, effort - done)
        mappings = np.empty((size, plan.levels, 4, 8), dtype=np.int32)
        # SplitMix64 adds a constant per draw: seeds a large odd stride apart do not walk each other's streams soon.
        start = (seed * 0xD1342543DE82EF95 + (done + 1) * 0xDA942042E4DD58B5) % 2**64
        found = sample_batch(
            np.uint64(start), plan.layer, plan.machine, plan.most, plan.fixed, plan.order, table, mappings
        )
        if found == 0:
            break
        energies, cycles, _ = evaluate_mappings(plan, mappings[:found])
        values = {"energy": energies, "latency": cycles, "edp": energies * cycles}[objective]
        row = int(np.argmin(values))
        done += size
        evaluated += found
        if best is None or values[row] < objective_value(objective, best.energy_pj, best.latency_cycles):
            best = Found(mappings[row].copy(), float(energies[row]), float(cycles[row]), done)
    if best is None:
        raise MappingError("no legal mapping was found by sampling: the spatial tiles overflow a buffer in every draw")
    return best._replace(evaluated=evaluated)
