"""Closed counts of mappings whose spatial factors do not divide, against a walk of every child, step by step.

The walk follows the policy of `walker.py`: a tile stays while no loop that matters to it moves; what two windows share is
kept only where nothing but the innermost such loop has stepped. A child that has nothing to do keeps its tile.
"""

from __future__ import annotations

import itertools
import math
import random
from typing import NamedTuple

import numpy as np
import pytest

from accel_models.accelerator import Accelerator
from accel_models.imperfect import count_by_walking
from accel_models.layer_cost import layer_cost
from accel_models.loopnest import counts as kernels
from accel_models.loopnest.uneven import find_uneven
from accel_models.mapping import Mapping
from accel_models.plan import make_plan
from accel_models.workload import DATASPACES, DIMS, Layer

from .cases import make_case
from .walker import RELEVANT, Loop, box_of, elements, extent_of, loops_of


class UnevenCase(NamedTuple):
    """A layer whose bounds end before the last round over some array does."""

    layer: Layer
    accelerator: Accelerator
    mapping: Mapping


def uneven_case(seed: int) -> UnevenCase:
    """A random small case with one to four dims spread unevenly."""
    rng = random.Random(seed)
    while True:
        layer, accelerator, mapping = make_case(lambda options: rng.choice(list(options)), max_steps=120, max_lanes=12)
        bounds = list(layer.dims)
        for dim in range(len(DIMS)):
            if rng.random() < 0.75:
                bounds[dim] = shortened(mapping.to_array(), dim, rng) or bounds[dim]
        if bounds != list(layer.dims):
            steps = {name: getattr(layer, name) for name in ("stride_w", "stride_h", "dilation_w", "dilation_h")}
            return UnevenCase(Layer(**dict(zip(DIMS, bounds, strict=True)), **steps), accelerator, mapping)


def shortened(array: np.ndarray, dim: int, rng: random.Random) -> int:
    """A bound that leaves some children of the dim's array idle in the last round; 0 where the dim is not of that form."""
    spread = array[:, 1, dim].astype(int) * array[:, 2, dim]
    fans = [level for level in range(len(array)) if spread[level] > 1]
    if len(fans) != 1:
        return 0
    partner = {3: 5, 5: 3, 4: 6, 6: 4}.get(dim)  # both dims of a window in one array, one of them unevenly: walked
    if partner is not None and array[fans[0], 1, partner] * array[fans[0], 2, partner] > 1:
        return 0
    rounds = [level for level in range(fans[0], len(array)) if array[level, 0, dim] > 1]
    if len(rounds) != 1:
        return 0
    inner = math.prod(int(steps) for steps in array[: fans[0], 0, dim])
    children = int(spread[fans[0]])
    return inner * (children * (int(array[rounds[0], 0, dim]) - 1) + rng.randrange(1, children))


def walk_unevenly(case: UnevenCase, dataspace: str, child: int, parent: int) -> tuple[int, int, int]:
    """Words into all children, accesses of all parents, words that the parents see for the first time."""
    loops, bounds = loops_of(case.mapping), dict(zip(DIMS, case.layer.dims, strict=True))
    spatial = [loop for loop in loops if loop.spatial and loop.level > child]
    temporal = [loop for loop in loops if not loop.spatial and loop.level > child]
    extent = extent_of(loops, child)
    held: dict[tuple[int, ...], tuple[tuple[int, ...], set]] = {}
    seen: dict[tuple[int, ...], set] = {}
    words, accesses = 0, 0
    places = list(itertools.product(*(range(loop.factor) for loop in spatial)))
    own = {place: active_steps(loops, temporal, spatial, place, bounds) for place in places}
    for step in itertools.product(*(range(loop.factor) for loop in reversed(temporal))):
        index = tuple(reversed(step))
        sent: dict[tuple, int] = {}
        for place in places:
            if not all(at < most for at, most in zip(index, own[place], strict=True)):
                continue
            at = dict.fromkeys(DIMS, 0)
            for loop, number in [*zip(temporal, index, strict=True), *zip(spatial, place, strict=True)]:
                at[loop.dim] += number * loop.step
            box = box_of(case.layer, dataspace, at, {dim: min(extent[dim], bounds[dim] - at[dim]) for dim in DIMS})
            fresh = fresh_words(elements(box), held.get(place), index, temporal, own[place], dataspace, child)
            held[place] = index, elements(box)
            words += len(fresh)
            owner = tuple(number for loop, number in zip(spatial, place, strict=True) if loop.level > parent)
            share = owner, mesh_offsets(case.layer, dataspace, spatial, place, child, parent)
            sent[share] = max(sent.get(share, 0), len(fresh))
            seen.setdefault(owner, set()).update(elements(box))
        accesses += sum(sent.values())
    return words, accesses, sum(map(len, seen.values()))


def active_steps(
    loops: list[Loop], temporal: list[Loop], spatial: list[Loop], place: tuple[int, ...], bounds: dict[str, int]
) -> list[int]:
    """How many steps of each temporal loop a child takes part in: all, or all but the last."""
    steps = []
    for loop in temporal:
        offset = sum(at * other.step for at, other in zip(place, spatial, strict=True) if other.dim == loop.dim)
        last = all(other.step <= loop.step for other in loops if other.dim == loop.dim and not other.spatial)
        idle = last and offset + (loop.factor - 1) * loop.step >= bounds[loop.dim]
        steps.append(loop.factor - idle)
    return steps


def fresh_words(
    now: set, before: tuple[tuple[int, ...], set] | None, index: tuple[int, ...], temporal: list[Loop], own: list[int],
    dataspace: str, child: int,
) -> set:  # fmt: skip
    """What a child has to fetch at a step."""
    if child < 0 or before is None:
        return now
    relevant = [loop.dim in RELEVANT[dataspace] for loop in temporal]
    moved = [place for place, (new, old) in enumerate(zip(index, before[0], strict=True)) if new != old]
    if not any(relevant[place] for place in moved):
        return set()
    windowed = next(place for place, matters in enumerate(relevant) if matters and own[place] > 1)
    return now - before[1] if max(moved) == windowed else now


def mesh_offsets(layer, dataspace, spatial, place, child: int, parent: int) -> tuple:
    """Where a child sits in each mesh below its parent, as the dataspace sees it."""
    offsets = []
    for level in range(child + 1, parent + 1):
        at = dict.fromkeys(DIMS, 0)
        for loop, number in zip(spatial, place, strict=True):
            if loop.level == level:
                at[loop.dim] += number * loop.step
        offsets.append(tuple(low for low, _ in box_of(layer, dataspace, at, dict.fromkeys(DIMS, 1))))
    return tuple(offsets)


def differences(case: UnevenCase) -> list[str]:
    """Where the counts of `layer_cost` and of the walk differ."""
    loops = loops_of(case.mapping)
    rows = {(row.level, row.dataspace): row for row in layer_cost(*case).traffic}
    found = []
    for dataspace in DATASPACES:
        kept = [place for place, level in enumerate(case.accelerator.levels) if dataspace in level.keeps]
        for place, level in enumerate(kept):
            used = math.prod(loop.factor for loop in loops if loop.spatial and loop.level > level)
            _, accesses, first = walk_unevenly(case, dataspace, kept[place - 1] if place else -1, level)
            words = walk_unevenly(case, dataspace, level, kept[place + 1])[0] if level != kept[-1] else 0
            row = rows[case.accelerator.levels[level].name, dataspace]
            expected = (half_away(accesses / used), math.floor(words / used + 1e-9), 0)
            if dataspace == "outputs":
                own = math.floor(first / used + 1e-9)
                back = 0 if case.accelerator.levels[level].reads_back_first_update else own
                reads, fills = half_away(accesses / used - back), half_away(max(0.0, words / used - own))
                expected = reads, fills, half_away(accesses / used)
            if (row.reads, row.fills, row.updates) != expected:
                found.append(f"{row.level} {dataspace}: {(row.reads, row.fills, row.updates)} walked {expected}")
    return found


def half_away(value: float) -> int:
    return math.floor(value + 0.5)


@pytest.mark.parametrize("seed", range(150))
def test_counts_equal_the_walk(seed: int) -> None:
    case = uneven_case(seed)
    assert not differences(case), f"{case.layer}\n{case.mapping}"


def test_without_windows_the_long_walk_says_the_same() -> None:
    """`imperfect.count_by_walking` keeps every overlap that is there; where no windows overlap, both are equal."""
    compared = 0
    for seed in range(400):
        case = uneven_case(seed)
        if case.layer.R * case.layer.S > 1:
            continue
        plan, array = make_plan(case.layer, case.accelerator), case.mapping.to_array()
        uneven = np.zeros((8, 5), dtype=np.int64)
        if find_uneven(plan.layer, array, uneven) != kernels.OK:
            continue
        sums, counts = np.zeros((plan.levels, kernels.SUM_COLUMNS)), np.zeros((plan.levels, 3, kernels.COUNT_COLUMNS))
        cycles = count_by_walking(plan, array, sums, counts)
        cost = layer_cost(*case)
        assert cost.compute_cycles == cycles
        names = [level.name for level in case.accelerator.levels]
        for row in cost.traffic:
            walked = counts[names.index(row.level), DATASPACES.index(row.dataspace)]
            columns = [kernels.READS, kernels.FILLS, kernels.UPDATES, kernels.TILE]
            assert [row.reads, row.fills, row.updates, row.tile] == [int(walked[column]) for column in columns]
        compared += 1
    assert compared > 20
