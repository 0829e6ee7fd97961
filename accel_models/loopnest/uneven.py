"""Closed counts of mappings whose spatial factors do not divide: K = 1000 over 168 elements, the last round shorter.

The rule: a dim may be spread unevenly at one level `f`. What lies inside divides the dim, one temporal loop outside goes
over the rounds, and the last of its m rounds is shorter: of the s children r take part in all rounds, s - r sit the last
one out and keep their tile. So children are of 2 ** (uneven dims) types; each walks a perfect nest of its own (m or m - 1
rounds) that `counts`' rules hold for, and only tiles that enclose the array are cut off at the layer's edge. Counts are
averages over the instances in use, rounded as `accel_models.imperfect` rounds, which counts the same by walking.
"""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import (
    CAPACITY,
    COUNT_COLUMNS,
    FAN_X,
    FAN_Y,
    FILLS,
    INPUTS,
    KEEP,
    OK,
    ORDER,
    OUTPUTS,
    READS,
    READS_BACK,
    REDUCTIONS,
    SPATIAL_X,
    SPATIAL_Y,
    TEMPORAL,
    TILE,
    TILE_OF,
    TOO_LARGE,
    TOO_WIDE_X,
    TOO_WIDE_Y,
    UPDATES,
    USED,
    WIDTH,
    C,
    P,
    Q,
    R,
    S,
    distinct_offsets,
    tile_elements,
)
from accel_models.loopnest.question import relevant

NOT_OF_THIS_KIND = 9
"""Code for factors that are uneven in another way: `accel_models.imperfect` walks them."""

FAN_LEVEL, ROUND_LEVEL, CHILDREN, ROUNDS, LAST = range(5)
"""Columns of `uneven` (8, 5): level of the array and of the loop over rounds (-1: an even dim), s, m, r."""


@kernel
def find_uneven(layer, mapping, uneven):  # type: ignore[no-untyped-def]
    """Fill `uneven` for a mapping (L, 4, 8); return OK or NOT_OF_THIS_KIND."""
    levels = mapping.shape[0]
    for dim in range(8):
        uneven[dim, FAN_LEVEL] = -1
        whole = 1
        for level in range(levels):
            whole *= mapping[level, TEMPORAL, dim] * mapping[level, SPATIAL_X, dim] * mapping[level, SPATIAL_Y, dim]
        if whole == layer[dim]:
            continue
        fan, rounds, inner = -1, -1, 1
        for level in range(levels):  # loops inward of the array divide; then space; then one loop over the rounds
            spread = mapping[level, SPATIAL_X, dim] * mapping[level, SPATIAL_Y, dim]
            steps = mapping[level, TEMPORAL, dim]
            if spread > 1:
                if fan >= 0 or rounds >= 0:
                    return NOT_OF_THIS_KIND
                if layer[dim] % (inner * spread) == 0:  # even here, uneven further out
                    return NOT_OF_THIS_KIND
                if layer[dim] % inner:
                    return NOT_OF_THIS_KIND
                fan = level
                uneven[dim, CHILDREN] = spread
                uneven[dim, LAST] = layer[dim] // inner
            if fan < 0:
                inner *= spread * steps
            elif steps > 1:
                if rounds >= 0:
                    return NOT_OF_THIS_KIND
                rounds = level
        if fan < 0 or rounds < 0:
            return NOT_OF_THIS_KIND
        blocks, children, count = uneven[dim, LAST], uneven[dim, CHILDREN], mapping[rounds, TEMPORAL, dim]
        if count != (blocks + children - 1) // children:
            return NOT_OF_THIS_KIND
        uneven[dim, FAN_LEVEL], uneven[dim, ROUND_LEVEL], uneven[dim, ROUNDS] = fan, rounds, count
        uneven[dim, LAST] = blocks - children * (count - 1)
    return OK


@kernel
def check_uneven(layer, machine, mapping, bounds, sums):  # type: ignore[no-untyped-def]
    """Fill `bounds` (cut off at the layer's edge), tiles and used instances; return (code, level, need) as `check`."""
    levels = machine.shape[0]
    used = 1.0
    for level in range(levels - 1, -1, -1):
        sums[level, USED] = used
        wide, high = 1, 1
        for dim in range(8):
            wide *= mapping[level, SPATIAL_X, dim]
            high *= mapping[level, SPATIAL_Y, dim]
        if wide > machine[level, FAN_X]:
            return TOO_WIDE_X, level, float(wide)
        if high > machine[level, FAN_Y]:
            return TOO_WIDE_Y, level, float(high)
        used *= wide * high
    for dim in range(8):
        bound = 1
        for level in range(levels):
            bound *= mapping[level, TEMPORAL, dim] * mapping[level, SPATIAL_X, dim] * mapping[level, SPATIAL_Y, dim]
            bounds[level, dim] = min(bound, layer[dim])
    for level in range(levels):
        need = 0.0
        for dataspace in range(3):
            if machine[level, KEEP + dataspace] != 0.0:
                tile = tile_elements(bounds, level, layer, dataspace)
                sums[level, TILE_OF + dataspace] = tile
                need += np.ceil(tile * machine[level, WIDTH + dataspace])
        if need > machine[level, CAPACITY]:
            return TOO_LARGE, level, need
    return OK, 0, 0.0


@kernel
def first_relevant(mapping, steps, child, dataspace, skipped):  # type: ignore[no-untyped-def]
    """First loop outside `child` that matters to a dataspace, as 8 * level + dim (-1: none).

    `steps` (L, 8) are the temporal factors; the product of all loops outside that matter not and are not free goes to
    skipped[0].
    """
    first, visits = -1, 1.0
    for level in range(child + 1, mapping.shape[0]):
        for place in range(8):
            dim = mapping[level, ORDER, place]
            if steps[level, dim] == 1:
                continue
            if relevant(dataspace, dim):
                if first < 0:
                    first = 8 * level + dim
            elif first >= 0:
                visits *= steps[level, dim]
    skipped[0] = visits
    return first


@kernel
def extent_of(layer, uneven, bounds, child, dim, last):  # type: ignore[no-untyped-def]
    """Extent of a child's tile in a dim; with `last`, in the last round, where the layer's edge may cut it off."""
    if child < 0:
        return 1
    whole = bounds[child, dim]
    if last and uneven[dim, FAN_LEVEL] >= 0 and uneven[dim, FAN_LEVEL] <= child < uneven[dim, ROUND_LEVEL]:
        return layer[dim] - (uneven[dim, ROUNDS] - 1) * whole
    return whole


@kernel
def cut_off(uneven, child, dim):  # type: ignore[no-untyped-def]
    """Tell whether the last of a dim's tiles at `child` is smaller than the others."""
    return uneven[dim, FAN_LEVEL] >= 0 and uneven[dim, FAN_LEVEL] <= child < uneven[dim, ROUND_LEVEL]


@kernel
def visits_of(steps, child, dim):  # type: ignore[no-untyped-def]
    """Steps over a dim outside `child`."""
    visits = 1
    for level in range(child + 1, steps.shape[0]):
        visits *= steps[level, dim]
    return visits


@kernel
def lines_of(layer, mapping, uneven, steps, bounds, child, p, r, first):  # type: ignore[no-untyped-def]
    """Window lines that enter one child's tile, over all steps of p and r outside; `first` may slide (see above)."""
    stride, dilation = layer[p + 5], layer[r + 5]
    total = 0.0
    slides = -1
    if first >= 0 and child >= 0 and (first & 7 == p or first & 7 == r):
        slides = first & 7
    for last_p in range(2 if cut_off(uneven, child, p) else 1):
        count_p = visits_of(steps, child, p)
        if cut_off(uneven, child, p):
            count_p = 1 if last_p else count_p - 1
        for last_r in range(2 if cut_off(uneven, child, r) else 1):
            count_r = visits_of(steps, child, r)
            if cut_off(uneven, child, r):
                count_r = 1 if last_r else count_r - 1
            wide = (extent_of(layer, uneven, bounds, child, p, last_p == 1) - 1) * stride
            wide += (extent_of(layer, uneven, bounds, child, r, last_r == 1) - 1) * dilation + 1
            if slides < 0:
                total += count_p * count_r * wide
                continue
            level = first >> 3
            n = steps[level, slides]
            inner = 1
            for below in range(level):
                inner *= (
                    mapping[below, TEMPORAL, slides]
                    * mapping[below, SPATIAL_X, slides]
                    * mapping[below, SPATIAL_Y, slides]
                )
            inner *= mapping[level, SPATIAL_X, slides] * mapping[level, SPATIAL_Y, slides]
            move = inner * (stride if slides == p else dilation)
            if not cut_off(uneven, child, slides):
                total += count_p * count_r // n * (wide + (n - 1) * min(move, wide))
            elif (slides == p and last_p == 0) or (slides == r and last_r == 0):
                # the whole sweep at once: n - 1 whole tiles and one that is cut off
                others = count_r if slides == p else count_p
                short = (inner - extent_of(layer, uneven, bounds, child, slides, True)) * (
                    stride if slides == p else dilation
                )
                if move < wide:
                    total += others * (wide + (n - 1) * move - short)
                else:
                    total += others * (n * wide - short)
    return total


@kernel
def child_words(layer, mapping, uneven, steps, bounds, child, dataspace, scratch):  # type: ignore[no-untyped-def]
    """Words that enter the tile of one child whose own nest has temporal factors `steps` (L, 8)."""
    first = first_relevant(mapping, steps, child, dataspace, scratch)
    words = scratch[0]
    if child < 0:  # the MAC has no memory: nothing is free
        words = 1.0
        for dim in range(8):
            words *= visits_of(steps, child, dim)
        return words
    for dim in range(8):
        if not relevant(dataspace, dim) or (dataspace == INPUTS and P <= dim <= S):
            continue
        if cut_off(uneven, child, dim):
            words *= layer[dim]
        else:
            words *= bounds[child, dim] * visits_of(steps, child, dim)
    if dataspace == INPUTS:
        words *= lines_of(layer, mapping, uneven, steps, bounds, child, P, R, first)
        words *= lines_of(layer, mapping, uneven, steps, bounds, child, Q, S, first)
    return words


@kernel
def groups_at(layer, mapping, bounds, level, dataspace, active):  # type: ignore[no-untyped-def]
    """Different tiles among the children of one instance of a level, `active` (8,) of each dim taking part."""
    groups = 1.0
    for dim in range(8):
        if relevant(dataspace, dim) and not (dataspace == INPUTS and P <= dim <= S):
            groups *= active[dim]
    if dataspace == INPUTS:
        for p, r in ((P, R), (Q, S)):
            if active[p] > 1 and active[r] > 1:
                inner_p, inner_r = (bounds[level - 1, p], bounds[level - 1, r]) if level else (1, 1)
                groups *= distinct_offsets(active[p], layer[p + 5] * inner_p, active[r], layer[r + 5] * inner_r)
            else:
                groups *= active[p] * active[r]
    return groups


@kernel
def moved(layer, mapping, uneven, bounds, child, parent, dataspace, out):  # type: ignore[no-untyped-def]
    """Fill out (2,): words into all children of level `child`, accesses of all instances of `parent`.

    False where a group of children that share an access would change within a round: that has no closed form here.
    """
    levels = mapping.shape[0]
    steps = np.empty((levels, 8), dtype=np.int64)
    active, scratch = np.empty(8, dtype=np.int64), np.empty(1)
    out[:] = 0.0
    open_dims, number = np.empty(8, dtype=np.int64), 0
    for dim in range(8):
        if uneven[dim, FAN_LEVEL] > child:
            open_dims[number] = dim
            number += 1
    for kind in range(1 << number):  # bit set: the children that sit the last round out
        for level in range(levels):
            for dim in range(8):
                steps[level, dim] = mapping[level, TEMPORAL, dim]
        children, kept = 1.0, True
        for place in range(number):
            dim = open_dims[place]
            whole, last = uneven[dim, CHILDREN], uneven[dim, LAST]
            if kind >> place & 1:
                steps[uneven[dim, ROUND_LEVEL], dim] -= 1
                children *= whole - last
            else:
                children *= last
        for level in range(child + 1, levels):
            for dim in range(8):
                if uneven[dim, FAN_LEVEL] != level:
                    children *= mapping[level, SPATIAL_X, dim] * mapping[level, SPATIAL_Y, dim]
        words = child_words(layer, mapping, uneven, steps, bounds, child, dataspace, scratch)
        out[0] += children * words
        # accesses: of those that share a tile, the ones that take part in all rounds speak for the others
        groups = 1.0
        for level in range(child + 1, levels):
            for dim in range(8):
                active[dim] = mapping[level, SPATIAL_X, dim] * mapping[level, SPATIAL_Y, dim]
            for place in range(number):
                dim = open_dims[place]
                if uneven[dim, FAN_LEVEL] == level:
                    out_now = kind >> place & 1
                    if level <= parent and not relevant(dataspace, dim):
                        kept &= out_now == 0
                    else:
                        whole, last = uneven[dim, CHILDREN], uneven[dim, LAST]
                        active[dim] = whole - last if out_now else last
                        if dataspace == INPUTS and P <= dim <= S and level <= parent:
                            other = dim + 2 if dim <= Q else dim - 2
                            if mapping[level, SPATIAL_X, other] * mapping[level, SPATIAL_Y, other] > 1:
                                return False
            if level <= parent:
                groups *= groups_at(layer, mapping, bounds, level, dataspace, active)
            else:
                for dim in range(8):
                    groups *= active[dim]
        if kept:
            out[1] += groups * words
    return True


@kernel
def round_half(value):  # type: ignore[no-untyped-def]
    """Round half away from zero (values are not negative)."""
    return np.floor(value + 0.5)


@kernel
def count_uneven(layer, machine, mapping, uneven, bounds, sums, counts):  # type: ignore[no-untyped-def]
    """Fill `counts` for a checked mapping; return the compute cycles, or -1 where there is no closed form."""
    levels = machine.shape[0]
    tensor = tile_elements(bounds, levels - 1, layer, OUTPUTS)
    out = np.empty(2)
    compute = 1.0
    for level in range(levels):
        for dim in range(8):
            compute *= mapping[level, TEMPORAL, dim]
        for dataspace in range(3):
            for column in range(COUNT_COLUMNS):
                counts[level, dataspace, column] = 0.0
    for dataspace in range(3):
        child = -1
        for level in range(levels):
            if machine[level, KEEP + dataspace] == 0.0:
                continue
            if not moved(layer, mapping, uneven, bounds, child, level, dataspace, out):
                return -1.0
            accesses = out[1] / sums[level, USED]
            first = 0.0
            if dataspace == OUTPUTS:
                sharing = 1.0
                for outer in range(level + 1, levels):
                    for dim in (C, R, S):
                        sharing *= mapping[outer, SPATIAL_X, dim] * mapping[outer, SPATIAL_Y, dim]
                first = np.floor(tensor * sharing / sums[level, USED] + 1e-9)
                counts[level, dataspace, UPDATES] = round_half(accesses)
                elided = 0.0 if machine[level, READS_BACK] != 0.0 else first
                counts[level, dataspace, READS] = round_half(accesses - elided)
            else:
                counts[level, dataspace, READS] = round_half(accesses)
            counts[level, dataspace, TILE] = sums[level, TILE_OF + dataspace]
            counts[level, dataspace, REDUCTIONS] = 0.0
            if child >= 0:
                fills = out[0] / sums[child, USED]
                if dataspace == OUTPUTS:
                    fills = round_half(max(0.0, fills - first_at_child(mapping, sums, child, tensor)))
                else:
                    fills = np.floor(fills + 1e-9)
                counts[child, dataspace, FILLS] = fills
            child = level
    return compute


@kernel
def first_at_child(mapping, sums, level, tensor):  # type: ignore[no-untyped-def]
    """Output words that one instance of a level makes, on average; splitting C, R or S does not shrink them."""
    sharing = 1.0
    for outer in range(level + 1, mapping.shape[0]):
        for dim in (C, R, S):
            sharing *= mapping[outer, SPATIAL_X, dim] * mapping[outer, SPATIAL_Y, dim]
    return np.floor(tensor * sharing / sums[level, USED] + 1e-9)
