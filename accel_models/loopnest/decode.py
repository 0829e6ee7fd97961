"""From genes to legal mappings: loop orders by importance, factors by ratio (see `accel_models.mapper.naas`).

``genes``     float64 (n, levels, GENE_ROWS, 8), each in 0..1: for the temporal loops, the X and the Y axis of a level first
              the importance, then the ratio of every dim.

Importance sorts: the most important temporal loop is outermost, the most important dim of an axis is spread first. A ratio
picks among the factors of a dim that the rules, the mesh and the room of all levels allow at that place, so that no gene
leads to an illegal mapping as long as DRAM may take what is left.
"""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import FAN_X, FAN_Y, SPATIAL_X, SPATIAL_Y, TEMPORAL
from accel_models.loopnest.sample import MAX_DIVISORS, fill_bounds, fits, place_fixed, place_order, scale_bounds

# Rows of the genes of a level: 2 * side + one of these, the sides being TEMPORAL, SPATIAL_X, SPATIAL_Y.
IMPORTANCE, RATIO = range(2)
GENE_ROWS = 6

FULL = 0.5
"""From this ratio on, a factor is the largest there is room for: as often as in random sampling."""


@kernel
def rank(importances, dims):  # type: ignore[no-untyped-def]
    """Sort all `dims` by ascending importance; equals stand in the order of the dims."""
    for dim in range(8):
        place = dim
        while place > 0 and importances[dims[place - 1]] > importances[dim]:
            dims[place] = dims[place - 1]
            place -= 1
        dims[place] = dim


@kernel
def take(layer, machine, mapping, bounds, level, side, dim, limit, ratio, left, divisors, options):  # type: ignore[no-untyped-def]
    """Move a factor of at most `limit` from what is left of `dim` to a loop, as far as all tiles fit; return it."""
    count, grown = 0, 1
    for factor in divisors[dim]:
        if factor == 0 or factor > left[dim] or factor > limit:
            break
        if left[dim] % factor == 0:
            scale_bounds(bounds, level, dim, grown, factor)
            grown = factor
            if not fits(layer, machine, bounds, level):
                break
            options[count] = factor
            count += 1
    factor = options[min(count - 1, int(ratio / FULL * count))] if count else 1
    scale_bounds(bounds, level, dim, grown, factor)
    mapping[level, side, dim] *= factor
    left[dim] //= factor
    return factor


@kernel
def spread_by_genes(genes, layer, machine, most, fixed, mapping, bounds, level, side, left, divisors, dims, options):  # type: ignore[no-untyped-def]
    """Fill one axis of a level's mesh, the most important dim first."""
    size = np.int64(machine[level, FAN_X] if side == SPATIAL_X else machine[level, FAN_Y])
    for dim in range(8):
        size //= mapping[level, side, dim]
    rank(genes[level, 2 * side + IMPORTANCE], dims)
    for dim in dims[::-1]:
        if size > 1 and left[dim] > 1 and fixed[level, side, dim] == 0:
            limit = min(size, most[level, side, dim])
            ratio = genes[level, 2 * side + RATIO, dim]
            size //= take(layer, machine, mapping, bounds, level, side, dim, limit, ratio, left, divisors, options)


@kernel
def tile_by_genes(genes, layer, machine, most, fixed, mapping, bounds, level, left, divisors, dims, options):  # type: ignore[no-untyped-def]
    """Give a level its temporal factors, the innermost loop first."""
    rank(genes[level, 2 * TEMPORAL + IMPORTANCE], dims)
    for dim in dims:
        if left[dim] > 1 and fixed[level, TEMPORAL, dim] == 0:
            limit, ratio = most[level, TEMPORAL, dim], genes[level, 2 * TEMPORAL + RATIO, dim]
            take(layer, machine, mapping, bounds, level, TEMPORAL, dim, limit, ratio, left, divisors, options)


@kernel
def order_by_genes(genes, order, mapping, level, dims):  # type: ignore[no-untyped-def]
    """Set the order of a level's temporal loops: what the rules put innermost, then the rest by importance."""
    rank(genes[level, 2 * TEMPORAL + IMPORTANCE], dims)
    place_order(order, level, dims, mapping)


@kernel
def close_outermost(layer, machine, most, fixed, mapping, bounds, left, divisors, options):  # type: ignore[no-untyped-def]
    """Put what is left into the outermost level's loops; what its rules forbid there goes inward where it fits.

    Returns False where something finds no place.
    """
    last = machine.shape[0] - 1
    for dim in range(8):
        allowed = 1 if fixed[last, TEMPORAL, dim] else most[last, TEMPORAL, dim]
        level = last - 1
        while left[dim] > allowed and level >= 0:
            if fixed[level, TEMPORAL, dim] == 0:
                limit = most[level, TEMPORAL, dim] // mapping[level, TEMPORAL, dim]
                take(layer, machine, mapping, bounds, level, TEMPORAL, dim, limit, 1.0, left, divisors, options)
            level -= 1
        if left[dim] > allowed:
            return False
        mapping[last, TEMPORAL, dim] *= left[dim]
    return True


@kernel
def decode(genes, layer, machine, most, fixed, order, divisors, mapping, bounds, dims, options, left):  # type: ignore[no-untyped-def]
    """Build the mapping of one individual; return False where it breaks a rule or fits no tile."""
    levels = machine.shape[0]
    if not place_fixed(layer, machine, fixed, mapping, left):
        return False
    fill_bounds(mapping, bounds)
    if not fits(layer, machine, bounds, 0):
        return False
    for level in range(levels - 1, -1, -1):
        for side in (SPATIAL_X, SPATIAL_Y):
            spread_by_genes(
                genes, layer, machine, most, fixed, mapping, bounds, level, side, left, divisors, dims, options
            )
    for level in range(levels - 1):
        tile_by_genes(genes, layer, machine, most, fixed, mapping, bounds, level, left, divisors, dims, options)
    for level in range(levels):
        order_by_genes(genes, order, mapping, level, dims)
    return close_outermost(layer, machine, most, fixed, mapping, bounds, left, divisors, options)


@kernel
def decode_batch(genes, layer, machine, most, fixed, order, divisors, mappings):  # type: ignore[no-untyped-def]
    """Decode `genes` into `mappings` (n, levels, 4, 8); return bool (n,): which of them are legal.

    The other rows of `mappings` hold no meaning.
    """
    bounds = np.ones((machine.shape[0], 8), dtype=np.int64)
    dims = np.arange(8)
    options = np.empty(MAX_DIVISORS, dtype=np.int64)
    left = np.empty(8, dtype=np.int64)
    legal = np.empty(genes.shape[0], dtype=np.bool_)
    for row in range(genes.shape[0]):
        legal[row] = decode(
            genes[row], layer, machine, most, fixed, order, divisors, mappings[row], bounds, dims, options, left
        )
    return legal
