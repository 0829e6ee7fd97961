"""What an exact search has found so far, and what is still worth looking at."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_models.loopnest.compile import kernel
from accel_models.loopnest.linear import SLACK

ENERGY, LATENCY, EDP, FRONT = range(4)


class Best(NamedTuple):
    """What was found so far: one mapping, or a front sorted by ascending cycles, of ``number[0]`` points.

    ``energies``, ``cycles`` float64 (n,); ``mappings`` int32 (n, L, 4, 8); ``tally`` int64 (4,): mappings counted, nodes,
    splits done, order classes looked at.
    """

    energies: Any
    cycles: Any
    mappings: Any
    number: Any
    tally: Any


@kernel
def hopeless(objective, energies, cycles, number, energy, latency):  # type: ignore[no-untyped-def]
    """Tell whether nothing of at least so much energy and latency improves on what was found (see `Best`)."""
    if number == 0:
        return False
    above = energy * (1.0 + SLACK)
    if objective == FRONT:
        low, high = 0, number  # the last point with no more cycles has the least energy of those
        while low < high:
            middle = (low + high) // 2
            if cycles[middle] <= latency:
                low = middle + 1
            else:
                high = middle
        return low > 0 and energies[low - 1] <= above
    if objective == EDP:
        return above * latency >= energies[0] * cycles[0]
    if objective == LATENCY:
        return latency > cycles[0] or (latency == cycles[0] and above >= energies[0])
    if energy * (1.0 - SLACK) > energies[0]:
        return True
    return above >= energies[0] and latency >= cycles[0]


@kernel
def improves(objective, best, energy, cycles):  # type: ignore[no-untyped-def]
    """Tell whether an exact figure is better than what was found; ties are broken by the other figure."""
    if best.number[0] == 0:
        return True
    e, c = best.energies[0], best.cycles[0]
    if objective == FRONT:
        better = True
        for point in range(best.number[0]):
            better &= best.cycles[point] > cycles or best.energies[point] > energy
        return better
    if objective == EDP:
        return energy * cycles < e * c
    if objective == LATENCY:
        return cycles < c or (cycles == c and energy < e)
    return energy < e or (energy == e and cycles < c)


@kernel
def remember(objective, best, energy, cycles, mapping):  # type: ignore[no-untyped-def]
    """Take a mapping into `best` (which may have to grow: the new `Best` is returned)."""
    number = best.number[0]
    if objective != FRONT:
        best.energies[0], best.cycles[0], best.mappings[0] = energy, cycles, mapping
        best.number[0] = 1
        return best
    kept = 0
    for point in range(number):  # drop what the new point dominates
        if best.cycles[point] >= cycles and best.energies[point] >= energy:
            continue
        best.energies[kept], best.cycles[kept] = best.energies[point], best.cycles[point]
        best.mappings[kept] = best.mappings[point]
        kept += 1
    if kept == best.energies.shape[0]:
        best = Best(
            np.concatenate((best.energies, best.energies)), np.concatenate((best.cycles, best.cycles)),
            np.concatenate((best.mappings, best.mappings)), best.number, best.tally,
        )  # fmt: skip
    place = kept
    while place > 0 and best.cycles[place - 1] > cycles:
        best.energies[place], best.cycles[place] = best.energies[place - 1], best.cycles[place - 1]
        best.mappings[place] = best.mappings[place - 1]
        place -= 1
    best.energies[place], best.cycles[place], best.mappings[place] = energy, cycles, mapping
    best.number[0] = kept + 1
    return best


@kernel
def energy_limit(objective, energies, cycles, number, compute):  # type: ignore[no-untyped-def]
    """Energy from which on nothing that takes at least `compute` cycles improves on what was found."""
    if number == 0:
        return np.inf
    if objective == FRONT:
        limit = np.inf
        for point in range(number):
            if cycles[point] <= compute:
                limit = energies[point]
        return limit
    if objective == EDP:
        return energies[0] * cycles[0] / compute
    if objective == LATENCY:
        return energies[0] if compute == cycles[0] else np.inf if compute < cycles[0] else 0.0
    return energies[0] * (1.0 + 4.0 * SLACK) if compute < cycles[0] else energies[0]
