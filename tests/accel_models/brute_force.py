"""Every legal mapping of a small problem, one after the other: what an exact mapper must agree with.

All choices of what to bypass, all factors of all dims over all temporal and spatial loops of all levels, and all orders of
the temporal loops longer than one step. Nothing is left out for being no better than something else, nothing is taken for
granted about costs: a mapping is dropped only where a rule of the description forbids it, or where the counting kernel
finds it too large. Costs come from that kernel, which the walker proves; what is found best is walked (`slow_cost.py`).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator, Bypasses, LoopRules
from accel_models.batch import evaluate_mappings
from accel_models.mapping import Mapping
from accel_models.plan import Plan, make_plan
from accel_models.workload import DIMS, Layer

CHUNK = 4096
"""Mappings built and evaluated together."""

SAMPLES = 2
"""Mappings of which the truth remembers the cost, beside the front."""


@dataclass(frozen=True)
class Point:
    """One cost that some mapping reaches, and the first mapping found that does."""

    latency_cycles: float
    energy_pj: float
    mapping: Mapping

    def value(self, objective: str) -> float:
        """What is minimised: pJ, cycles or pJ x cycles."""
        return {
            "energy": self.energy_pj,
            "latency": self.latency_cycles,
            "edp": self.energy_pj * self.latency_cycles,
        }[objective]


@dataclass(frozen=True)
class Truth:
    """What enumeration finds: the front, latency ascending; empty where no mapping is legal.

    `samples` are a few mappings of all, good or bad, to be checked by walking.
    """

    mappings: int
    front: tuple[Point, ...]
    samples: tuple[Point, ...] = ()

    def best(self, objective: str) -> Point:
        """The best point; every objective grows with energy and with latency, so it lies on the front."""
        return min(self.front, key=lambda point: point.value(objective))


class TooManyError(Exception):
    """The problem has more mappings, or more candidates for one, than the caller wants to see."""


def brute_force(layer: Layer, accelerator: Accelerator, most: int = 2_000_000) -> Truth:
    """Return the truth about a problem.

    Raises
    ------
    TooManyError
        If there are more than `most` mappings.
    """
    every = Enumerations(layer, accelerator, most)
    best = _Front()
    for offset, part in every.parts:
        for first in range(0, part.count, CHUNK):
            places = np.arange(first, min(first + CHUNK, part.count))
            latencies, energies = part.costs(places)
            best.add(latencies, energies, offset + places)
    samples = np.random.default_rng(0).integers(every.count, size=SAMPLES).tolist() if every.count else []
    return Truth(every.count, tuple(map(every.point, best.places)), tuple(map(every.point, samples)))


class Enumerations:
    """The legal mappings of a problem, numbered: first the choices of what to bypass, then the mappings of each.

    Raises
    ------
    TooManyError
        If there are more than `most`.
    """

    def __init__(self, layer: Layer, accelerator: Accelerator, most: int) -> None:
        self.parts: list[tuple[int, Enumeration]] = []
        self.count = 0
        for bypasses in _bypass_choices(accelerator):
            part = Enumeration(layer, _without(accelerator, bypasses), most - self.count, bypasses)
            self.parts.append((self.count, part))
            self.count += part.count

    def point(self, place: int) -> Point:
        """Return one mapping with its cost, by its number."""
        offset, part = next((offset, part) for offset, part in reversed(self.parts) if offset <= place)
        return part.points(np.array([place - offset]))[0]


def _bypass_choices(accelerator: Accelerator) -> list[Bypasses]:
    """Every set of dataspaces that may pass by, at every level."""
    subsets = [
        [
            tuple(itertools.compress(level.may_bypass, taken))
            for taken in itertools.product((0, 1), repeat=len(level.may_bypass))
        ]
        for level in accelerator.levels
    ]
    return list(itertools.product(*subsets))


def _without(accelerator: Accelerator, bypasses: Bypasses) -> Accelerator:
    """The machine that keeps less, for good."""
    levels = tuple(
        level.model_copy(update={"keeps": tuple(name for name in level.keeps if name not in gone), "may_bypass": ()})
        for level, gone in zip(accelerator.levels, bypasses, strict=True)
    )
    return accelerator.model_copy(update={"levels": levels})


class Enumeration:
    """The legal mappings that bypass the same, numbered: first the factors, then, for each choice of them, the orders.

    Raises
    ------
    TooManyError
        If there are more than `most`, or more than that many choices of factors before room is looked at.
    """

    def __init__(self, layer: Layer, accelerator: Accelerator, most: int, bypasses: Bypasses) -> None:
        self.accelerator, self.bypasses = accelerator, bypasses
        self.plan: Plan = make_plan(layer, accelerator)
        self.chains = [_chains(layer, accelerator, dim) for dim in DIMS]
        candidates = math.prod(map(len, self.chains))
        if candidates > most:
            raise TooManyError(f"{candidates} choices of factors")
        self.orders = [_Orders(level.temporal.order) for level in accelerator.levels]
        self.legal = self._legal(candidates)
        ways = self._ways()
        self.ends = np.cumsum(ways)
        self.starts = self.ends - ways
        self.count = int(self.ends[-1]) if len(ways) else 0
        if self.count > most:
            raise TooManyError(f"{self.count} mappings")

    def _legal(self, candidates: int) -> NDArray[np.int64]:
        """Numbers of the choices of factors that every level has room for, in any order of their loops."""
        found = [np.empty(0, dtype=np.int64)]
        for first in range(0, candidates, CHUNK):
            numbers = np.arange(first, min(first + CHUNK, candidates))
            found.append(numbers[evaluate_mappings(self.plan, self._factors(numbers)).code == 0])
        return np.concatenate(found)

    def _factors(self, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """Mappings (n, levels, 4, 8) of choices of factors: one digit per dim, loops in the order of the dims."""
        arrays = np.ones((len(numbers), self.plan.levels, 4, len(DIMS)), dtype=np.int32)
        arrays[:, :, 3, :] = np.arange(len(DIMS))
        rest = numbers
        for dim, chains in enumerate(self.chains):
            if len(chains) > 1 or chains.max(initial=1) > 1:
                rest, digit = np.divmod(rest, len(chains))
                arrays[:, :, :3, dim] = chains[digit]
        return arrays

    def _ways(self) -> NDArray[np.int64]:
        """Number of orders of every legal choice of factors."""
        found = [np.empty(0, dtype=np.int64)]
        for first in range(0, len(self.legal), CHUNK):
            masks = _masks(self._factors(self.legal[first : first + CHUNK]))
            found.append(
                math.prod(orders.counts(masks[:, level]) for level, orders in enumerate(self.orders))  # type: ignore[arg-type]
            )
        return np.concatenate(found)

    def arrays(self, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the mappings (n, levels, 4, 8) of some numbers."""
        owners = np.searchsorted(self.ends, places, side="right")
        arrays = self._factors(self.legal[owners])
        rest, masks = places - self.starts[owners], _masks(arrays)
        for level, orders in enumerate(self.orders):
            rest, which = np.divmod(rest, orders.counts(masks[:, level]))
            arrays[:, level, 3, :] = orders.rows(masks[:, level], which)
        return arrays

    def costs(self, places: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (latencies in cycles, energies in pJ) of the mappings of some numbers."""
        costs = evaluate_mappings(self.plan, self.arrays(places))
        assert not costs.code.any(), "the order of loops made a mapping illegal"
        return costs.latency_cycles, costs.energy_pj

    def points(self, places: NDArray[np.int64]) -> tuple[Point, ...]:
        """Return mappings with their costs, by number."""
        return tuple(
            Point(float(latency), float(energy), Mapping.from_array(array, self.accelerator, self.bypasses))
            for array, latency, energy in zip(self.arrays(places), *self.costs(places), strict=True)
        )


def _masks(arrays: NDArray[np.int32]) -> NDArray[np.int64]:
    """Per mapping and level, which dims have a temporal loop of more than one step: a bit each."""
    return (arrays[:, :, 0, :] > 1) @ (1 << np.arange(len(DIMS)))


class _Orders:
    """All orders of one level's loops, for every set of dims that loop there: rows of 8 dims, innermost first."""

    def __init__(self, given: tuple[str, ...]) -> None:
        self.given = [DIMS.index(dim) for dim in given]
        self._starts = np.full(1 << len(DIMS), -1, dtype=np.int64)
        self._counts = np.zeros(1 << len(DIMS), dtype=np.int64)
        self._rows = np.empty((0, len(DIMS)), dtype=np.int32)

    def _know(self, masks: NDArray[np.int64]) -> None:
        for mask in np.unique(masks[self._starts[masks] < 0]):
            looping = [dim for dim in range(len(DIMS)) if mask >> dim & 1]
            inner = [dim for dim in self.given if dim in looping]
            free = [dim for dim in looping if dim not in inner]
            idle = [dim for dim in range(len(DIMS)) if dim not in looping]
            rows = [[*inner, *order, *idle] for order in itertools.permutations(free)]
            self._starts[mask], self._counts[mask] = len(self._rows), len(rows)
            self._rows = np.concatenate([self._rows, np.array(rows, dtype=np.int32)])

    def counts(self, masks: NDArray[np.int64]) -> NDArray[np.int64]:
        self._know(masks)
        return self._counts[masks]

    def rows(self, masks: NDArray[np.int64], which: NDArray[np.int64]) -> NDArray[np.int32]:
        return self._rows[self._starts[masks] + which]


def _chains(layer: Layer, accelerator: Accelerator, dim: str) -> NDArray[np.int32]:
    """All ways to split one dim over the loops of all levels, (n, levels, 3), as far as rules and meshes allow."""
    bound = layer.dims[DIMS.index(dim)]
    options = []
    for level in accelerator.levels:
        options.append(_factors_allowed(bound, dim, level.temporal, bound))
        options.append(_factors_allowed(bound, dim, level.fanout.x, level.fanout.x.size))
        options.append(_factors_allowed(bound, dim, level.fanout.y, level.fanout.y.size))
    chains = [[]]  # type: list[list[int]]
    for allowed in options:
        chains = [
            [*chain, factor] for chain in chains for factor in allowed if bound % (math.prod(chain) * factor) == 0
        ]
    whole = [chain for chain in chains if math.prod(chain) == bound]
    return np.array(whole, dtype=np.int32).reshape(-1, len(accelerator.levels), 3)


def _factors_allowed(bound: int, dim: str, rules: LoopRules, size: int) -> list[int]:
    """Factors of a dim that one loop may have; a fixed factor of a dim that the layer lacks counts as 1."""
    if bound == 1:
        return [1]
    fixed = rules.factors.get(dim)  # type: ignore[call-overload]
    largest = rules.max_factors.get(dim, bound) if dim in rules.dims else 1  # type: ignore[call-overload]
    candidates = [fixed] if fixed else [factor for factor in range(1, largest + 1) if factor <= bound]
    return [factor for factor in candidates if bound % factor == 0 and factor <= size]


class _Front:
    """The points that nothing seen so far beats: latencies ascending, energies descending."""

    def __init__(self) -> None:
        self.latencies, self.energies = np.empty(0), np.empty(0)
        self.places = np.empty(0, dtype=np.int64)

    def add(self, latencies: NDArray[np.float64], energies: NDArray[np.float64], places: NDArray[np.int64]) -> None:
        # What is as fast or faster among the known points, and takes as little energy, makes a new one useless.
        behind = np.searchsorted(self.latencies, latencies, side="right")
        known = np.concatenate([[np.inf], self.energies])
        new = energies < known[behind]
        latencies = np.concatenate([self.latencies, latencies[new]])
        energies = np.concatenate([self.energies, energies[new]])
        places = np.concatenate([self.places, places[new]])
        order = np.lexsort((places, energies, latencies))
        least = np.concatenate([[np.inf], np.minimum.accumulate(energies[order])[:-1]])
        kept = order[energies[order] < least]
        self.latencies, self.energies, self.places = latencies[kept], energies[kept], places[kept]
