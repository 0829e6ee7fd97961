"""Why a layer cannot be mapped at all: the level or rule that stands in the way, what is needed, what there is.

Asked only after a search came back empty. Causes are looked for from the plainest to the most entangled.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from accel_models.accelerator import Accelerator
from accel_models.errors import MappingError
from accel_models.loopnest.counts import CAPACITY, KEEP, WIDTH, tile_elements
from accel_models.mapper.base import Found
from accel_models.plan import Plan
from accel_models.workload import DIMS

_SIDES = ("temporal", "fanout.x", "fanout.y")


def reason(plan: Plan, accelerator: Accelerator, search: Callable[[Plan], Found]) -> str:
    """Return the reason why a plan has no legal mapping.

    Parameters
    ----------
    search
        An exact search, raising MappingError where nothing is found.
    """
    return (
        _factors_do_not_divide(plan, accelerator)
        or _axis_too_short(plan, accelerator)
        or _nowhere_to_go(plan, accelerator)
        or _forced_tiles_overflow(plan, accelerator)
        or _capacity_in_the_way(plan, accelerator, search)
        or _mesh_in_the_way(plan, accelerator)
    )


def _fixed_places(plan: Plan, accelerator: Accelerator, dim: int) -> list[str]:
    return [
        f"{level.name}.{side}.factors {DIMS[dim]} = {plan.fixed[place, row, dim]}"
        for place, level in enumerate(accelerator.levels)
        for row, side in enumerate(_SIDES)
        if plan.fixed[place, row, dim] > 1
    ]


def _factors_do_not_divide(plan: Plan, accelerator: Accelerator) -> str:
    for dim, name in enumerate(DIMS):
        product = math.prod(int(factor) for factor in plan.fixed[:, :, dim].ravel() if factor > 1)
        if plan.layer[dim] > 1 and plan.layer[dim] % product:
            places = ", ".join(_fixed_places(plan, accelerator, dim))
            return f"{places}: together {product}, which does not divide {name} = {plan.layer[dim]}"
    return ""


def _axis_too_short(plan: Plan, accelerator: Accelerator) -> str:
    for place, level in enumerate(accelerator.levels):
        for row, (side, axis) in enumerate((("x", level.fanout.x), ("y", level.fanout.y)), 1):
            given = {
                DIMS[dim]: int(plan.fixed[place, row, dim])
                for dim in range(8)
                if plan.fixed[place, row, dim] > 1 and plan.layer[dim] > 1
            }
            if math.prod(given.values()) > axis.size:
                text = " x ".join(f"{dim} {factor}" for dim, factor in given.items())
                return f"{level.name}.fanout.{side}: factors {text} need {math.prod(given.values())}, its size is {axis.size}"
    return ""


def _slots(plan: Plan, accelerator: Accelerator, dim: int, levels: range) -> list[tuple[int, int]]:
    """(fixed, largest) factor of a dim in every slot of some levels."""
    sizes = [(math.inf, accelerator.levels[i].fanout.x.size, accelerator.levels[i].fanout.y.size) for i in levels]
    return [
        (int(plan.fixed[level, row, dim]), int(min(plan.most[level, row, dim], size[row], plan.layer[dim])))
        for level, size in zip(levels, sizes, strict=True)
        for row in range(3)
    ]


def _reachable(slots: list[tuple[int, int]], bound: int) -> set[int]:
    """Divisors of `bound` that are a product of one allowed factor per slot."""
    divisors = [d for d in range(1, bound + 1) if bound % d == 0]
    products = {1}
    for fixed, most in slots:
        options = [fixed] if fixed else [d for d in divisors if d <= most]
        products = {p * d for p in products for d in options if bound % (p * d) == 0}
    return products


def _nowhere_to_go(plan: Plan, accelerator: Accelerator) -> str:
    for dim, name in enumerate(DIMS):
        bound = int(plan.layer[dim])
        products = _reachable(_slots(plan, accelerator, dim, range(plan.levels)), bound) if bound > 1 else {1}
        if bound not in products:
            largest = max(products, default=0)
            return (
                f"the rules on dims and factors of its levels leave no place for {name} = {bound}: "
                f"their factors reach {largest} of it"
            )
    return ""


def _least_extents(plan: Plan, accelerator: Accelerator, level: int) -> list[int]:
    """Smallest extent of each dim in a level's tile: what is left must be reachable outside of it."""
    extents = []
    for dim in range(8):
        bound = int(plan.layer[dim])
        if bound == 1:
            extents.append(1)
            continue
        inside = _reachable(_slots(plan, accelerator, dim, range(level + 1)), bound)
        outside = _reachable(_slots(plan, accelerator, dim, range(level + 1, plan.levels)), bound)
        extents.append(min((d for d in inside if bound // d in outside), default=bound))
    return extents


def need_words(plan: Plan, level: int, extents: list[int]) -> int:
    """Words that the tiles of a level's kept dataspaces need."""
    bounds = np.ones((plan.levels, 9), dtype=np.int64)
    bounds[level, :8] = extents
    row = plan.machine[level]
    return sum(
        math.ceil(tile_elements(bounds, level, plan.layer, dataspace) * row[WIDTH + dataspace])
        for dataspace in range(3)
        if row[KEEP + dataspace]
    )


def _forced_tiles_overflow(plan: Plan, accelerator: Accelerator) -> str:
    for place, level in enumerate(accelerator.levels[:-1]):
        extents = _least_extents(plan, accelerator, place)
        need = need_words(plan, place, extents)
        if need > plan.machine[place, CAPACITY]:
            least = "the smallest tiles that the rules on factors allow there need"
            if max(extents) == 1:
                least = f"one element of each kept dataspace ({', '.join(level.keeps)}) needs"
            return f"level {level.name!r} has room for {plan.machine[place, CAPACITY]:.0f} words, {least} {need}"
    return ""


def _capacity_in_the_way(plan: Plan, accelerator: Accelerator, search: Callable[[Plan], Found]) -> str:
    """Name a level that, had it room without end, would let a mapping exist."""
    for place, level in enumerate(accelerator.levels[:-1]):
        machine = plan.machine.copy()
        machine[place, CAPACITY] = np.inf
        try:
            found = search(replace(plan, machine=machine))
        except MappingError:
            continue
        extents = np.prod(found.array[: place + 1, :3].astype(np.int64), axis=(0, 1))
        need = need_words(plan, place, [int(extent) for extent in extents])
        return (
            f"level {level.name!r} has room for {plan.machine[place, CAPACITY]:.0f} words; with the factors that rules and "
            f"other levels leave, a mapping needs {need} there"
        )
    return ""


def _mesh_in_the_way(plan: Plan, accelerator: Accelerator) -> str:
    sizes = ", ".join(
        f"{level.name} {level.fanout.x.size} x {level.fanout.y.size}"
        for level in accelerator.levels
        if level.fanout.x.size * level.fanout.y.size > 1
    )
    rooms = ", ".join(
        f"{level.name} {plan.machine[i, CAPACITY]:.0f}" for i, level in enumerate(accelerator.levels[:-1])
    )
    return f"the factors that rules allow fit neither the arrays ({sizes or 'none'}) nor the room in words ({rooms}) together"
