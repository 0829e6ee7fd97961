"""The exact mapper: the mapping that no other legal mapping beats, and the proof (docs/exact_mapper.md).

The search itself is compiled (`accel_models.loopnest.exact`); here it is asked, under a time limit in attempts that grow
and start from the best so far, and its answer read.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_models.errors import MappingError
from accel_models.loopnest.exact import solve
from accel_models.loopnest.orders import MAX_LEVELS
from accel_models.mapper.base import Found, objective_value
from accel_models.mapper.sampled import divisors
from accel_models.plan import Plan

_OBJECTIVES = {"energy": 0, "latency": 1, "edp": 2, "front": 3}

_FIRST_NODES = 100_000
"""Nodes of the first attempt under a time limit, some 10 ms; each further one may take four times as many."""


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
    answer = _attempts(plan, objective, time_limit_s, beat)
    if not len(answer.energies):
        if beat is not None:
            return beat
        raise answer.refusal(time_limit_s)
    energy, cycles = float(answer.energies[0]), float(answer.cycles[0])
    value = objective_value(objective, energy, cycles)
    found = Found(answer.mappings[0], energy, cycles, answer.counted)
    left, bound = answer.left, answer.bound
    if beat is not None:
        if (energy, cycles) == (beat.energy_pj, beat.latency_cycles):
            found = beat
        left, bound = left or not beat.optimal, min(bound, math.inf if beat.optimal else beat.lower_bound)
        found = found._replace(evaluated=beat.evaluated + answer.counted)
    return found._replace(optimal=not left, lower_bound=min(bound, value) if left else value)


def front(plan: Plan, time_limit_s: float | None = None) -> list[Found]:
    """Return the energy-latency Pareto set of all legal mappings, cycles ascending: one mapping for each point.

    Raises
    ------
    MappingError
        As :func:`search`.
    """
    answer = _attempts(plan, "front", time_limit_s, None)
    if not len(answer.energies):
        raise answer.refusal(time_limit_s)
    points = zip(answer.mappings, answer.energies, answer.cycles, strict=True)
    return [
        Found(array, float(energy), float(cycles), answer.counted, not answer.left) for array, energy, cycles in points
    ]


class _Answer(NamedTuple):
    """What `loopnest.exact.solve` tells."""

    energies: NDArray[np.float64]
    cycles: NDArray[np.float64]
    mappings: NDArray[np.int32]
    counted: int
    left: bool
    bound: float

    def refusal(self, time_limit_s: float | None) -> MappingError:
        """Return the error for an empty answer."""
        if self.left:
            return MappingError(f"no legal mapping was found in {time_limit_s} s")
        return NoMappingError("no legal mapping exists")


def _attempts(plan: Plan, objective: str, time_limit_s: float | None, beat: Found | None) -> _Answer:
    """Search to the end, or in attempts that grow until the time is over."""
    if plan.levels > MAX_LEVELS:
        raise MappingError(f"the exact mapper takes up to {MAX_LEVELS} memory levels, not {plan.levels}")
    divisors(tuple(int(bound) for bound in plan.layer[:8]))  # refuses bounds with too many
    start = time.perf_counter()
    goal = (beat.energy_pj, beat.latency_cycles) if beat else (math.inf, math.inf)
    last: _Answer | None = None
    nodes, counted = 2**62 if time_limit_s is None else _FIRST_NODES, 0
    while True:
        answer = _ask(plan, objective, goal, nodes)
        counted += answer.counted
        if last is not None and len(last.energies) and (answer.energies[0], answer.cycles[0]) == goal:
            answer = answer._replace(mappings=last.mappings)  # nothing better than the attempt before
        last = answer._replace(counted=counted)
        if not answer.left or (time_limit_s is not None and time.perf_counter() - start > time_limit_s):
            return last
        if objective != "front" and len(answer.energies):
            goal = float(answer.energies[0]), float(answer.cycles[0])
        nodes *= 4


def _ask(plan: Plan, objective: str, goal: tuple[float, float], nodes: int) -> _Answer:
    room = 64 if objective == "front" else 1
    while True:
        energies, cycles, facts = np.empty(room), np.empty(room), np.empty(3)
        mappings = np.empty((room, plan.levels, 4, 8), dtype=np.int32)
        number = solve(
            plan.layer, plan.machine, plan.most, plan.fixed, plan.order, plan.uneven, plan.mac_energy_pj,
            _OBJECTIVES[objective], *goal, nodes, energies, cycles, mappings, facts,
        )  # fmt: skip
        if number <= room:
            break
        room = number
    return _Answer(
        energies[:number], cycles[:number], mappings[:number], int(facts[0]), bool(facts[1]), float(facts[2])
    )
