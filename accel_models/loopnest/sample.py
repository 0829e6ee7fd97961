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
def spread(state, mapping, row, level, size, allowed, left, divisors, dims, options):  # type: ignore[no-untyped-def]
    """Fill one axis of a level's mesh with random factors of the loops that are left."""
    shuffle(state, dims)
    for dim in dims:
        if left[dim] == 1 or not allowed[level, dim]:
            continue
        count = 0
        for factor in divisors[dim]:
            if factor == 0 or factor > size:
                break
            if left[dim] % factor == 0:
                options[count] = factor
                count += 1
        factor = choose(state, options, count)
        mapping[level, row, dim] = factor
        left[dim] //= factor
        size //= factor


@kernel
def tile(state, layer, machine, mapping, bounds, level, left, divisors, dims, options):  # type: ignore[no-untyped-def]
    """Give a level random temporal factors of the loops that are left, as far as all tiles fit."""
    shuffle(state, dims)
    for dim in dims:
        if left[dim] == 1:
            continue
        count, grown = 0, 1
        for factor in divisors[dim]:
            if factor == 0 or factor > left[dim]:
                break
            if left[dim] % factor == 0:
                scale_bounds(bounds, level, dim, grown, factor)
                grown = factor
                if not fits(layer, machine, bounds, level):
                    break
                options[count] = factor
                count += 1
        factor = choose(state, options, count)
        scale_bounds(bounds, level, dim, grown, factor)
        mapping[level, TEMPORAL, dim] = factor
        left[dim] //= factor


@kernel
def scale_bounds(bounds, level, dim, before, factor):  # type: ignore[no-untyped-def]
    """Replace a factor of `dim` at `level` in the extents of that level and all outward."""
    for outer in range(level, bounds.shape[0]):
        bounds[outer, dim] = bounds[outer, dim] // before * factor


@kernel
def sample_mapping(state, layer, machine, allowed_x, allowed_y, divisors, mapping, bounds, dims, options, left):  # type: ignore[no-untyped-def]
    """Draw one legal mapping into `mapping`; return False where the drawn spatial factors do not fit any tile."""
    levels = machine.shape[0]
    left[:] = layer[:8]
    mapping[:, :ORDER, :] = 1
    for level in range(levels - 1, -1, -1):
        if machine[level, FAN_X] > 1.0:
            size = np.int64(machine[level, FAN_X])
            spread(state, mapping, SPATIAL_X, level, size, allowed_x, left, divisors, dims, options)
        if machine[level, FAN_Y] > 1.0:
            size = np.int64(machine[level, FAN_Y])
            spread(state, mapping, SPATIAL_Y, level, size, allowed_y, left, divisors, dims, options)
    fill_bounds(mapping, bounds)
    if not fits(layer, machine, bounds, 0):
        return False
    for level in range(levels - 1):
        tile(state, layer, machine, mapping, bounds, level, left, divisors, dims, options)
    mapping[levels - 1, TEMPORAL, :] = left
    for level in range(levels):
        shuffle(state, dims)
        mapping[level, ORDER, :] = dims
    return True


@kernel
def sample_batch(seed, layer, machine, allowed_x, allowed_y, divisors, mappings):  # type: ignore[no-untyped-def]
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
            state, layer, machine, allowed_x, allowed_y, divisors, mappings[found], bounds, dims, options, left
        )
    return found
