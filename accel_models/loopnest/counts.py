"""What one mapping of one layer costs: the words that move, the energy, the cycles.

Written after the project's own definition (docs/cost_model.md), which is Timeloop's counting where Timeloop's is well
defined. Level 0 is nearest the MACs. Arrays (see `accel_models.plan`):

``layer``    int64 (12,): the bounds of N K C P Q R S G, then stride_w, stride_h, dilation_w, dilation_h.
``machine``  float64 (levels, MACHINE_COLUMNS): one row per level, columns below.
``mapping``  int64 (levels, 4, 8): rows T, X, Y of factors by dim, then the order of T's dims, innermost first.
``counts``   float64 (levels, 3, COUNT_COLUMNS): the result per level and dataspace (weights, inputs, outputs).
``bounds``   int64 (levels, 8): scratch; extents of the tile of each level, by dim.

Counts are kept as doubles: they are integers below 2**53, so every product and sum of them is exact.
"""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.compile import kernel

# Dims, in the order of accel_models.workload.DIMS.
N, K, C, P, Q, R, S, G = range(8)
STRIDE_W, STRIDE_H, DILATION_W, DILATION_H = 8, 9, 10, 11
LAYER_SIZE = 12

# Rows of a level of a mapping.
TEMPORAL, SPATIAL_X, SPATIAL_Y, ORDER = range(4)

# Columns of `machine`.
CAPACITY, READ_BW, WRITE_BW, SHARED_BW, E_READ, E_WRITE, E_UPDATE, BLOCK, FAN_X, FAN_Y, READS_BACK = range(11)
KEEP = 11  # + dataspace: 1 where the level keeps it
WIDTH = 14  # + dataspace: words per element (1 unless bits and word width differ)
MACHINE_COLUMNS = 17

# Columns of `counts`.
READS, FILLS, UPDATES, TILE, PARTITION, ENERGY, REDUCTIONS, GROUPS = range(8)
COUNT_COLUMNS = 8

# What a row of results says. Every code but OK is a reason to refuse the mapping.
OK, BAD_PRODUCT, TOO_WIDE_X, TOO_WIDE_Y, TOO_LARGE = range(5)

WEIGHTS, INPUTS, OUTPUTS = range(3)


@kernel
def tile_elements(bounds, layer, dataspace):  # type: ignore[no-untyped-def]
    """Elements of the bounding box of one dataspace under loop extents `bounds` (8,)."""
    if dataspace == WEIGHTS:
        return float(bounds[G] * bounds[K] * bounds[C] * bounds[R] * bounds[S])
    if dataspace == OUTPUTS:
        return float(bounds[G] * bounds[N] * bounds[K] * bounds[P] * bounds[Q])
    width = (bounds[P] - 1) * layer[STRIDE_W] + (bounds[R] - 1) * layer[DILATION_W] + 1
    height = (bounds[Q] - 1) * layer[STRIDE_H] + (bounds[S] - 1) * layer[DILATION_H] + 1
    return float(bounds[G] * bounds[N] * bounds[C] * width * height)


@kernel
def is_relevant(dim, dataspace):  # type: ignore[no-untyped-def]
    """Tell whether a loop over `dim` touches other elements of the dataspace at each step."""
    if dataspace == WEIGHTS:
        return dim == K or dim == C or dim == R or dim == S or dim == G
    if dataspace == INPUTS:
        return dim != K
    return dim == N or dim == K or dim == P or dim == Q or dim == G


@kernel
def distinct_offsets(count_a, step_a, count_b, step_b):  # type: ignore[no-untyped-def]
    """Number of different values of i * step_a + j * step_b for i < count_a, j < count_b."""
    a, b = step_a, step_b
    while b:
        a, b = b, a % b
    lag_a = step_b // a
    lag_b = step_a // a
    pairs = count_a * count_b
    if count_a > lag_a and count_b > lag_b:
        pairs -= (count_a - lag_a) * (count_b - lag_b)
    return pairs


@kernel
def spatial_groups(mapping, level, inner, layer, dataspace):  # type: ignore[no-untyped-def]
    """Number of different tiles among the children that one instance of `level` feeds.

    `inner` (8,) holds the extents of one child's tile. Children whose boxes are exactly equal form one group.
    """
    x, y = mapping[level, SPATIAL_X], mapping[level, SPATIAL_Y]
    if dataspace == WEIGHTS:
        return float(x[K] * y[K] * x[C] * y[C] * x[R] * y[R] * x[S] * y[S] * x[G] * y[G])
    if dataspace == OUTPUTS:
        return float(x[N] * y[N] * x[K] * y[K] * x[P] * y[P] * x[Q] * y[Q] * x[G] * y[G])
    plain = x[N] * y[N] * x[C] * y[C] * x[G] * y[G]
    p, r, q, s = x[P] * y[P], x[R] * y[R], x[Q] * y[Q], x[S] * y[S]
    wide = p * r
    if p > 1 and r > 1:
        wide = distinct_offsets(p, layer[STRIDE_W] * inner[P], r, layer[DILATION_W] * inner[R])
    high = q * s
    if q > 1 and s > 1:
        high = distinct_offsets(q, layer[STRIDE_H] * inner[Q], s, layer[DILATION_H] * inner[S])
    return float(plain * wide * high)


@kernel
def words_into_tile(mapping, child, bounds, layer, dataspace, tile):  # type: ignore[no-untyped-def]
    """Words that enter the tile of one instance of level `child` over the whole run (temporal reuse only).

    Loops outside the tile, innermost first: leading irrelevant loops are free; the first relevant loop over a window
    dim pays only for the part of the window that is new at each step; every other loop pays for the whole tile.
    """
    levels = mapping.shape[0]
    first_count, delta, skipped, total, found = 1.0, 0.0, 1.0, 1.0, False
    for level in range(child + 1, levels):
        temporal, order = mapping[level, TEMPORAL], mapping[level, ORDER]
        for place in range(8):
            dim = order[place]
            count = temporal[dim]
            if count == 1:
                continue
            total *= count
            if found:
                continue
            if not is_relevant(dim, dataspace):
                skipped *= count
                continue
            found = True
            first_count = float(count)
            delta = tile
            if dataspace == INPUTS and (dim == P or dim == R or dim == Q or dim == S):
                delta = tile * window_share(mapping, child, level, dim, bounds, layer)
    if not found:
        return tile
    return (tile + (first_count - 1.0) * delta) * (total / (skipped * first_count))


@kernel
def window_share(mapping, child, level, dim, bounds, layer):  # type: ignore[no-untyped-def]
    """Part of the input tile of `child` that is new after one step of the loop over `dim` at `level`."""
    if dim == P or dim == R:
        width = (bounds[child, P] - 1) * layer[STRIDE_W] + (bounds[child, R] - 1) * layer[DILATION_W] + 1
        step = layer[STRIDE_W] if dim == P else layer[DILATION_W]
    else:
        width = (bounds[child, Q] - 1) * layer[STRIDE_H] + (bounds[child, S] - 1) * layer[DILATION_H] + 1
        step = layer[STRIDE_H] if dim == Q else layer[DILATION_H]
    step *= bounds[level - 1, dim] * mapping[level, SPATIAL_X, dim] * mapping[level, SPATIAL_Y, dim]
    return 1.0 if step >= width else step / width


@kernel
def check(layer, machine, mapping, bounds):  # type: ignore[no-untyped-def]
    """Fill `bounds` and say whether the mapping is legal: (code, level, dataspace or dim, need).

    Returns
    -------
    code
        OK or the first rule that is broken, going outward.
    level
        The level that breaks it (the number of levels for a wrong factor product).
    need
        What would have been needed: words, mesh size, or the product found.
    """
    levels = machine.shape[0]
    for level in range(levels):
        wide, high = 1, 1
        for dim in range(8):
            x, y = mapping[level, SPATIAL_X, dim], mapping[level, SPATIAL_Y, dim]
            wide *= x
            high *= y
            below = bounds[level - 1, dim] if level else 1
            bounds[level, dim] = below * x * y * mapping[level, TEMPORAL, dim]
        if wide > machine[level, FAN_X]:
            return TOO_WIDE_X, level, float(wide)
        if high > machine[level, FAN_Y]:
            return TOO_WIDE_Y, level, float(high)
        need = 0.0
        for dataspace in range(3):
            if machine[level, KEEP + dataspace] != 0.0:
                words = tile_elements(bounds[level], layer, dataspace) * machine[level, WIDTH + dataspace]
                need += np.ceil(words)
        if need > machine[level, CAPACITY]:
            return TOO_LARGE, level, need
    for dim in range(8):
        if bounds[levels - 1, dim] != layer[dim]:
            return BAD_PRODUCT, dim, float(bounds[levels - 1, dim])
    return OK, 0, 0.0


@kernel
def count(layer, machine, mapping, bounds, unit, counts):  # type: ignore[no-untyped-def]
    """Fill `counts` for a legal mapping whose `bounds` are known. `unit` (8,) is all ones.

    Returns
    -------
    compute_cycles
        Product of all temporal factors.
    """
    levels = machine.shape[0]
    compute = 1.0
    for level in range(levels):
        for dim in range(8):
            compute *= mapping[level, TEMPORAL, dim]
    for dataspace in range(3):
        _count_dataspace(layer, machine, mapping, bounds, unit, counts, dataspace, compute)
    return compute


@kernel
def _count_dataspace(layer, machine, mapping, bounds, unit, counts, dataspace, compute):  # type: ignore[no-untyped-def]
    levels = machine.shape[0]
    partition = tile_elements(bounds[levels - 1], layer, OUTPUTS)
    for level in range(levels - 1, -1, -1):
        if level < levels - 1:
            x, y = mapping[level + 1, SPATIAL_X], mapping[level + 1, SPATIAL_Y]
            split = x[N] * y[N] * x[K] * y[K] * x[P] * y[P] * x[Q] * y[Q] * x[G] * y[G]
            partition = np.floor(partition / split)
        for column in range(COUNT_COLUMNS):
            counts[level, dataspace, column] = 0.0
        counts[level, dataspace, PARTITION] = partition
    words, groups, siblings = compute, 1.0, 1.0
    for level in range(levels):
        inner = bounds[level - 1] if level else unit
        groups *= spatial_groups(mapping, level, inner, layer, dataspace)
        for dim in range(8):
            siblings *= mapping[level, SPATIAL_X, dim] * mapping[level, SPATIAL_Y, dim]
        if machine[level, KEEP + dataspace] == 0.0:
            continue
        row = counts[level, dataspace]
        tile = tile_elements(bounds[level], layer, dataspace)
        row[TILE] = tile
        row[GROUPS] = groups
        accesses = words * groups
        words = words_into_tile(mapping, level, bounds, layer, dataspace, tile)
        outermost = level == levels - 1
        if dataspace != OUTPUTS:
            row[READS] = accesses
            row[FILLS] = 0.0 if outermost else words
        else:
            elided = 0.0 if machine[level, READS_BACK] != 0.0 else row[PARTITION]
            row[UPDATES] = accesses
            row[READS] = accesses - elided
            row[FILLS] = 0.0 if outermost else words - row[PARTITION]
            row[REDUCTIONS] = (siblings / groups - 1.0) * accesses
        groups, siblings = 1.0, 1.0


@kernel
def energy_and_cycles(machine, mac_energy_pj, macs, mapping, counts, compute):  # type: ignore[no-untyped-def]
    """Total energy (pJ) and latency (cycles) of counted traffic; fills the ENERGY column of `counts`."""
    levels = machine.shape[0]
    energy = macs * mac_energy_pj
    latency = compute
    used = 1.0
    for level in range(levels - 1, -1, -1):
        block = machine[level, BLOCK]
        reads_per_run, writes_per_run = 0.0, 0.0
        for dataspace in range(3):
            row = counts[level, dataspace]
            width = machine[level, WIDTH + dataspace]
            reads, fills, updates = row[READS] * width, row[FILLS] * width, row[UPDATES] * width
            each = np.ceil(reads / block) * machine[level, E_READ]
            each += np.ceil(fills / block) * machine[level, E_WRITE]
            each += np.ceil(updates / block) * machine[level, E_UPDATE]
            row[ENERGY] = each * used
            energy += row[ENERGY]
            reads_per_run += reads
            writes_per_run += fills + updates
        latency = max(latency, level_cycles(machine[level], reads_per_run, writes_per_run, compute))
        for dim in range(8):
            used *= mapping[level, SPATIAL_X, dim] * mapping[level, SPATIAL_Y, dim]
    return energy, latency


@kernel
def level_cycles(level, reads, writes, compute):  # type: ignore[no-untyped-def]
    """Cycles that one level needs for its traffic, never fewer than the computation (in Timeloop's order of doubles)."""
    read_rate, write_rate = reads / compute, writes / compute
    slowdown = 1.0
    if read_rate > 0.0:
        slowdown = min(slowdown, level[READ_BW] / read_rate)
    if write_rate > 0.0:
        slowdown = min(slowdown, level[WRITE_BW] / write_rate)
    if read_rate + write_rate > 0.0:
        slowdown = min(slowdown, level[SHARED_BW] / (read_rate + write_rate))
    return np.ceil(compute / slowdown)


@kernel
def evaluate_batch(layer, machine, mac_energy_pj, mappings, energies_pj, cycles, codes):  # type: ignore[no-untyped-def]
    """Evaluate mappings (n, levels, 4, 8) of one layer on one machine into energies_pj, cycles, codes (n,).

    An illegal mapping gets its code and infinite cost.
    """
    levels = machine.shape[0]
    bounds = np.empty((levels, 8), dtype=np.int64)
    counts = np.empty((levels, 3, COUNT_COLUMNS), dtype=np.float64)
    unit = np.ones(8, dtype=np.int64)
    macs = 1.0
    for dim in range(8):
        macs *= layer[dim]
    for row in range(mappings.shape[0]):
        code, _, _ = check(layer, machine, mappings[row], bounds)
        codes[row] = code
        energies_pj[row] = np.inf
        cycles[row] = np.inf
        if code == OK:
            compute = count(layer, machine, mappings[row], bounds, unit, counts)
            energies_pj[row], cycles[row] = energy_and_cycles(
                machine, mac_energy_pj, macs, mappings[row], counts, compute
            )
