"""The exact search's question, taken apart: what is counted, which limits hold, how a layer's dims fall into groups.

Everything that a mapping costs is a sum (energy) or a maximum of sums (cycles) of *terms*, and every term is a product
of one factor per group of dims: {P, R}, {Q, S}, {C}, {K}, {N}, {G} (P and R share the width of the inputs' window, Q and
S its height). A term is the number of words, over all instances and the whole run, that

* FILL: enter the tiles of a dataspace at a child level from its parent level, or
* ACCESS: are read by the parent for its children, where that is no fixed share of the words that enter (inputs whose
  window is spread over an array along both its dims: neighbours share a part).

What an array of MACs does directly (child -1) is a FILL that is known beforehand. A *cap* is a tile that needs room.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import (
    CAPACITY,
    FAN_X,
    FAN_Y,
    INPUTS,
    KEEP,
    SPATIAL_X,
    SPATIAL_Y,
    TEMPORAL,
    C,
    G,
    K,
    N,
    P,
    Q,
    R,
    S,
)
from accel_models.loopnest.orders import irrelevant, sliding_dims

FILL, ACCESS = 0, 1

GROUPS = np.array([[P, R], [Q, S], [C, -1], [K, -1], [N, -1], [G, -1]])


class Question(NamedTuple):
    """A plan as the exact search sees it; L levels.

    ``terms`` int64 (terms, 4): dataspace, child level, parent level, FILL or ACCESS.
    ``caps`` int64 (caps, 2): level, dataspace; ascending by level.
    ``groups`` int64 (groups, 2): dims of each group that has any loop; -1 for none.
    ``free`` int64 (L,): dims that may have a temporal factor above one, as a bit mask.
    ``spreads`` bool (L, 8): whether a dim may be spread over the children of a level; ``uneven`` bool (L,): whether in
    factors that do not divide. ``width``: columns of a row of factors: terms, caps and, with uneven levels, the steps
    in time.
    """

    layer: Any
    machine: Any
    most: Any
    fixed: Any
    order: Any
    mac_energy_pj: float
    terms: Any
    caps: Any
    groups: Any
    free: Any
    spreads: Any
    slides: int
    uneven: Any
    width: int


@kernel
def smallest_factor(number):  # type: ignore[no-untyped-def]
    """Smallest divisor above one."""
    factor = 2
    while factor * factor <= number:
        if number % factor == 0:
            return factor
        factor += 1
    return number


@kernel
def alone_fits(layer, machine, level, dim, factor):  # type: ignore[no-untyped-def]
    """Tell whether every level from `level` outward has room if `dim` alone had `factor` there, all else one."""
    for outer in range(level, machine.shape[0] - 1):
        need = 0.0
        for dataspace in range(3):
            if machine[outer, KEEP + dataspace] == 0.0:
                continue
            size = 1.0
            if dataspace == INPUTS and (dim == P or dim == Q):
                size = (factor - 1.0) * layer[8 if dim == P else 9] + 1.0
            elif dataspace == INPUTS and (dim == R or dim == S):
                size = (factor - 1.0) * layer[10 if dim == R else 11] + 1.0
            elif not irrelevant(dataspace) >> dim & 1:
                size = float(factor)
            need += np.ceil(size * machine[outer, KEEP + 3 + dataspace])
        if need > machine[outer, CAPACITY]:
            return False
    return True


@kernel
def may_spread(machine, most, fixed, level, side, dim):  # type: ignore[no-untyped-def]
    """Largest factor that rules and mesh allow for a dim along one side."""
    size = machine[level, FAN_X if side == SPATIAL_X else FAN_Y]
    if fixed[level, side, dim]:
        return fixed[level, side, dim]
    return min(np.int64(min(size, 2.0**62)), most[level, side, dim])


@kernel
def take_apart(layer, machine, most, fixed, order, uneven, mac_energy_pj):  # type: ignore[no-untyped-def]
    """Return the `Question` of a plan's arrays."""
    levels = machine.shape[0]
    free = np.zeros(levels, dtype=np.int64)
    spreads = np.zeros((levels, 8), dtype=np.bool_)
    for dim in range(8):
        if layer[dim] == 1:
            continue
        least = smallest_factor(layer[dim])
        for level in range(levels):
            rule, room = fixed[level, TEMPORAL, dim], most[level, TEMPORAL, dim]
            enough = 2 if uneven.any() else least  # rounds of an uneven array may be of any number
            if rule > 1 or (rule == 0 and room >= enough and alone_fits(layer, machine, level, dim, least)):
                free[level] |= 1 << dim
            for side in (SPATIAL_X, SPATIAL_Y):
                spreads[level, dim] |= may_spread(machine, most, fixed, level, side, dim) > 1
    caps, cap_count = np.empty((3 * levels, 2), dtype=np.int64), 0
    for level in range(levels - 1):
        for dataspace in range(3):
            if machine[level, KEEP + dataspace] != 0.0 and machine[level, CAPACITY] < np.inf:
                caps[cap_count, 0], caps[cap_count, 1] = level, dataspace
                cap_count += 1
    terms, count = np.empty((9 * levels, 4), dtype=np.int64), 0
    for dataspace in range(3):
        child = -1
        for level in range(levels):
            if machine[level, KEEP + dataspace] == 0.0:
                continue
            shared = False
            for between in range(child + 1, level + 1):
                wide = spreads[between, P] and spreads[between, R]
                high = spreads[between, Q] and spreads[between, S]
                shared |= dataspace == INPUTS and (wide or high)
            if child >= 0:
                terms[count, 0], terms[count, 1], terms[count, 2], terms[count, 3] = dataspace, child, level, FILL
                count += 1
            if shared:
                terms[count, 0], terms[count, 1], terms[count, 2], terms[count, 3] = dataspace, child, level, ACCESS
                count += 1
            child = level
    groups, group_count = np.empty((6, 2), dtype=np.int64), 0
    for group in range(6):
        one, two = GROUPS[group, 0], GROUPS[group, 1]
        if layer[one] > 1 or (two >= 0 and layer[two] > 1):
            groups[group_count] = GROUPS[group]
            group_count += 1
    return Question(
        layer, machine, most, fixed, order, mac_energy_pj, terms[:count].copy(), caps[:cap_count].copy(),
        groups[:group_count].copy(), free, spreads, sliding_dims(layer), uneven,
        count + cap_count + (1 if uneven.any() else 0),
    )  # fmt: skip


@kernel
def runs_of(question):  # type: ignore[no-untyped-def]
    """Return (runs, run_of_term): the runs whose words are counted, and which of them each term follows (-1: none)."""
    terms = question.terms
    runs, number = np.empty((terms.shape[0], 2), dtype=np.int64), 0
    run_of_term = np.full(terms.shape[0], -1, dtype=np.int64)
    for term in range(terms.shape[0]):
        if terms[term, 3] == FILL:
            runs[number, 0], runs[number, 1] = terms[term, 0], terms[term, 1]
            run_of_term[term] = number
            number += 1
        elif terms[term, 1] >= 0:
            run_of_term[term] = number - 1
    return runs[:number].copy(), run_of_term


@kernel
def relevant(dataspace, dim):  # type: ignore[no-untyped-def]
    """Tell whether loops over a dim touch other elements of a dataspace."""
    return not irrelevant(dataspace) >> dim & 1
