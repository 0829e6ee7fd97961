"""Random legal mappings: spatial factors first, then tiles level by level outward, each as large as chance says.

The stream of random numbers is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), so a seed gives the same mappings on every
machine and in every process.
"""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import (
    CAPACITY,
    FAN_X,
    FAN_Y,
    KEEP,
    ORDER,
    SPATIAL_X,
    SPATIAL_Y,
    TEMPORAL,
    WIDTH,
    tile_elements,
)

MAX_DIVISORS = 256
"""Room for the divisors of one loop bound; no number below 3e6 has more."""


@kernel
def random_below(state, limit):  # type: ignore[no-untyped-def]
    """Return an integer in 0..limit-1 and advance `state` (uint64 (1,))."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.int64((z >> np.uint64(11)) % np.uint64(limit))


@kernel
def shuffle(state, items):  # type: ignore[no-untyped-def]
    """Put `items` into random order, in place."""
    for last in range(items.shape[0] - 1, 0, -1):
        other = random_below(state, last + 1)
        items[last], items[other] = items[other], items[last]


@kernel
def fill_bounds(mapping, bounds):  # type: ignore[no-untyped-def]
    """Fill `bounds` (levels, 8) with the tile extents of every level."""
    for level in range(mapping.shape[0]):
        for dim in range(8):
            below = bounds[level - 1, dim] if level else 1
            factors = mapping[level, TEMPORAL, dim] * mapping[level, SPATIAL_X, dim] * mapping[level, SPATIAL_Y, dim]
            bounds[level, dim] = below * factors


@kernel
def fits(layer, machine, bounds, first):  # type: ignore[no-untyped-def]
    """Tell whether every level from `first` outward (DRAM excepted) holds the tiles of extents `bounds`."""
    for level in range(first, machine.shape[0] - 1):
        need = 0.0
        for dataspace in range(3):
            if machine[level, KEEP + dataspace] != 0.0:
                need += np.ceil(tile_elements(bounds, level, layer, dataspace) * machine[level, WIDTH + dataspace])
        if need > machine[level, CAPACITY]:
            return False
    return True


@kernel
def choose(state, options, count):  # type: ignore[no-untyped-def]
    """Pick one of the first `count` ascending options: the largest half of the time, else any."""
    if random_below(state, 2) == 0:
        return options[count - 1]
    return options[random_below(state, count)]


@kernel
def spread(state, mapping, side, level, size, most, fixed, left, divisors, dims, options):  # type: ignore[no-untyped-def]
    """Fill one axis of a level's mesh with random factors of the loops that are left."""
    for dim in range(8):
        if fixed[level, side, dim]:
            size //= mapping[level, side, dim]
    shuffle(state, dims)
    for dim in dims:
        if left[dim] == 1 or fixed[level, side, dim]:
            continue
        count = 0
        for factor in divisors[dim]:
            if factor == 0 or factor > size or factor > most[level, side, dim]:
                break
            if left[dim] % factor == 0:
                options[count] = factor
                count += 1
        if count:
            factor = choose(state, options, count)
            mapping[level, side, dim] = factor
            left[dim] //= factor
            size //= factor


@kernel
def tile(state, layer, machine, mapping, bounds, level, most, fixed, left, divisors, dims, options):  # type: ignore[no-untyped-def]
    """Give a level random temporal factors of the loops that are left, as far as all tiles fit."""
    shuffle(state, dims)
    for dim in dims:
        if left[dim] == 1 or fixed[level, TEMPORAL, dim]:
            continue
        count, grown = 0, 1
        for factor in divisors[dim]:
            if factor == 0 or factor > left[dim] or factor > most[level, TEMPORAL, dim]:
                break
            if left[dim] % factor == 0:
                scale_bounds(bounds, level, dim, grown, factor)
                grown = factor
                if not fits(layer, machine, bounds, level):
                    break
                options[count] = factor
                count += 1
        factor = choose(state, options, count) if count else 1
        scale_bounds(bounds, level, dim, grown, factor)
        mapping[level, TEMPORAL, dim] = factor
        left[dim] //= factor


@kernel
def scale_bounds(bounds, level, dim, before, factor):  # type: ignore[no-untyped-def]
    """Replace a factor of `dim` at `level` in the extents of that level and all outward."""
    for outer in range(level, bounds.shape[0]):
        bounds[outer, dim] = bounds[outer, dim] // before * factor


@kernel
def place_fixed(layer, machine, fixed, mapping, left):  # type: ignore[no-untyped-def]
    """Set the factors that rules fix; return False where they do not divide the layer or overflow a mesh.

    A factor of a dim that the layer does not have counts as 1.
    """
    left[:] = layer[:8]
    mapping[:, :ORDER, :] = 1
    for level in range(machine.shape[0]):
        for side in range(3):
            across = 1
            for dim in range(8):
                factor = fixed[level, side, dim]
                if factor > 1 and layer[dim] > 1:
                    if left[dim] % factor:
                        return False
                    left[dim] //= factor
                    mapping[level, side, dim] = factor
                    across *= factor
            if (side == SPATIAL_X and across > machine[level, FAN_X]) or (
                side == SPATIAL_Y and across > machine[level, FAN_Y]
            ):
                return False
    return True


@kernel
def place_order(order, level, dims, mapping):  # type: ignore[no-untyped-def]
    """Set the order of a level's temporal loops: what the rules put innermost, then the rest as in `dims`."""
    place = 0
    while place < 8 and order[level, place] >= 0:
        mapping[level, ORDER, place] = order[level, place]
        place += 1
    given = place
    for dim in dims:
        named = False
        for other in range(given):
            named |= order[level, other] == dim
        if not named:
            mapping[level, ORDER, place] = dim
            place += 1


@kernel
def sample_mapping(state, layer, machine, most, fixed, order, divisors, mapping, bounds, dims, options, left):  # type: ignore[no-untyped-def]
    """Draw one legal mapping into `mapping`; return False where the draw fits no tile or breaks a rule."""
    levels = machine.shape[0]
    if not place_fixed(layer, machine, fixed, mapping, left):
        return False
    for level in range(levels - 1, -1, -1):
        for side in (SPATIAL_X, SPATIAL_Y):
            size = np.int64(machine[level, FAN_X] if side == SPATIAL_X else machine[level, FAN_Y])
            if size > 1:
                spread(state, mapping, side, level, size, most, fixed, left, divisors, dims, options)
    fill_bounds(mapping, bounds)
    if not fits(layer, machine, bounds, 0):
        return False
    for level in range(levels - 1):
        tile(state, layer, machine, mapping, bounds, level, most, fixed, left, divisors, dims, options)
    for dim in range(8):
        mapping[levels - 1, TEMPORAL, dim] *= left[dim]
        if left[dim] > 1 and (fixed[levels - 1, TEMPORAL, dim] or left[dim] > most[levels - 1, TEMPORAL, dim]):
            return False
    for level in range(levels):
        shuffle(state, dims)
        place_order(order, level, dims, mapping)
    return True


@kernel
def sample_batch(seed, layer, machine, most, fixed, order, divisors, mappings):  # type: ignore[no-untyped-def]
    """Fill `mappings` (n, levels, 4, 8) with random legal mappings; return how many were found in 20 n draws."""
    state = np.array([seed], dtype=np.uint64)
    bounds = np.ones((machine.shape[0], 8), dtype=np.int64)
    dims = np.arange(8)
    options = np.empty(MAX_DIVISORS, dtype=np.int64)
    left = np.empty(8, dtype=np.int64)
    found = 0
    for _ in range(20 * mappings.shape[0]):
        if found == mappings.shape[0]:
            break
        found += sample_mapping(
            state, layer, machine, most, fixed, order, divisors, mappings[found], bounds, dims, options, left
        )
    return found
