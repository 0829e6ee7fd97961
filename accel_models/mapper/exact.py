"""The exact mapper: the mapping that no other legal mapping beats, and the proof (docs/exact_mapper.md).

The search itself is compiled (`accel_models.loopnest.branch`); here it is begun, carried on in slices while time is
left, and its answer read.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from accel_models.errors import MappingError
from accel_models.loopnest.branch import search_splits
from accel_models.loopnest.exact import begin
from accel_models.loopnest.orders import MAX_LEVELS
from accel_models.mapper.base import Found, objective_value
from accel_models.plan import Plan

_OBJECTIVES = {"energy": 0, "latency": 1, "edp": 2, "front": 3}

_SLICE = 200_000
"""Nodes between two looks at the clock: some 20 ms."""


class NoMappingError(MappingError):
    """It is proven that no legal mapping exists."""


def search(
    plan: Plan, objective: str, effort: int = 0, seed: int = 0, time_limit_s: float | None = None,
    beat: Found | None = None,
) -> Found:  # fmt: skip
    """Return the best of all legal mappings; ties are broken by the other of energy and latency.

    `effort` and `seed` mean nothing here. With a time limit the best so far is returned, with a bound that no mapping
    beats. With an answer to `beat` (of another machine for the same layer) that one stays if nothing is better.

    Raises
    ------
    MappingError
        If there is no legal mapping, or none was found in time.
    """
    try:
        best, bound = _run(plan, objective, time_limit_s, beat)
    except MappingError:
        if beat is None:
            raise
        return beat
    energy, cycles = float(best.energies[0]), float(best.cycles[0])
    value = objective_value(objective, energy, cycles)
    found = Found(best.mappings[0].copy(), energy, cycles, int(best.tally[0]), True, value)
    if beat is not None:
        if (energy, cycles) == (beat.energy_pj, beat.latency_cycles):
            found = beat
        bound = min((b for b in (bound, None if beat.optimal else beat.lower_bound) if b is not None), default=None)
        found = found._replace(evaluated=beat.evaluated + int(best.tally[0]))
    return found._replace(optimal=bound is None, lower_bound=value if bound is None else min(bound, value))


def front(plan: Plan, time_limit_s: float | None = None) -> list[Found]:
    """Return the energy-latency Pareto set of all legal mappings, cycles ascending: one mapping for each point.

    Raises
    ------
    MappingError
        As :func:`search`.
    """
    best, bound = _run(plan, "front", time_limit_s, None)
    return [
        Found(
            best.mappings[row].copy(),
            float(best.energies[row]),
            float(best.cycles[row]),
            int(best.tally[0]),
            bound is None,
        )
        for row in range(int(best.number[0]))
    ]


def _run(plan: Plan, objective: str, time_limit_s: float | None, beat: Found | None) -> tuple[Any, float | None]:
    """Return the kernel's `Best`, and the bound on what is left (None: nothing is left, it is proven)."""
    if plan.levels > MAX_LEVELS:
        raise MappingError(f"the exact mapper takes up to {MAX_LEVELS} memory levels, not {plan.levels}")
    start = time.perf_counter()
    number = _OBJECTIVES[objective]
    *state, tables, perms, splits, ranks, energies, cycles, best = begin(
        plan.layer,
        plan.machine,
        plan.most,
        plan.fixed,
        plan.order,
        plan.uneven,
        plan.mac_energy_pj,
        number,
        *((beat.energy_pj, beat.latency_cycles) if beat else (np.inf, np.inf)),
    )
    place, limit = 0, _SLICE if time_limit_s is not None else 2**62
    while place < len(ranks):
        tables, best, place = search_splits(
            *state, tables, perms, splits, ranks, energies, cycles, place, number, best, limit
        )  # fmt: skip
        if time_limit_s is not None and time.perf_counter() - start > time_limit_s:
            break
    proven = place == len(ranks)
    if best.number[0] == 0:
        if proven:
            raise NoMappingError("no legal mapping exists")
        raise MappingError(f"no legal mapping was found in {time_limit_s} s")
    if proven:
        return best, None
    left = ranks[place:]
    values = {"energy": energies, "latency": cycles}.get(objective, energies * cycles)
    return best, float(np.min(values[left])) * (1 - 1e-12)
