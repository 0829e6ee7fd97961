"""What one mapping of one layer costs: the words that move, the energy, the cycles.

Written after the project's own definition (docs/cost_model.md), which is Timeloop's counting where Timeloop's is well
defined. Level 0 is nearest the MACs. Arrays (see `accel_models.plan`):

``layer``     int64 (12,): the bounds of N K C P Q R S G, then stride_w, stride_h, dilation_w, dilation_h.
``machine``   float64 (levels, MACHINE_COLUMNS): one row per level, columns below.
``mappings``  int32 (rows, levels, 4, 8): per level the factors T, X, Y by dim, then the order of T's dims, innermost
              first. `row` says which mapping is meant: views of single rows would cost as much as the counting.
``bounds``    int64 (levels, 9): scratch; extents of the tile of each level, by dim; last, the first loop outside the tile
              that matters to the inputs (8 * its level + its dim; -1 for none).
``sums``      float64 (levels, SUM_COLUMNS): scratch; what several counts share, columns below.
``counts``    float64 (levels, 3, COUNT_COLUMNS): the result per level and dataspace (weights, inputs, outputs).

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

BOUND_COLUMNS = 9
FIRST_OF_INPUTS = 8  # column of `bounds`

# Columns of `sums`.
STEPS, FAN, USED, PARTITION = range(4)  # temporal product, spatial product, used instances, outputs per instance
SPLIT = 4  # + dataspace: groups of different tiles among the children
TILE_OF = 7  # + dataspace: elements of the tile
VISITS = 10  # + dataspace: steps of the first relevant loop outside the tile and of all loops outward of it
OUTER_VISITS = 13  # for inputs: steps of all loops outward of that first one
SUM_COLUMNS = 14

# Columns of `counts`.
READS, FILLS, UPDATES, TILE, ENERGY, REDUCTIONS = range(6)
COUNT_COLUMNS = 6

# What a row of results says. Every code but OK is a reason to refuse the mapping.
OK, BAD_PRODUCT, TOO_WIDE_X, TOO_WIDE_Y, TOO_LARGE = range(5)

WEIGHTS, INPUTS, OUTPUTS = range(3)

# Dims whose loops touch other elements of the dataspace at each step, one bit each.
W_RELEVANT = 1 << K | 1 << C | 1 << R | 1 << S | 1 << G
I_RELEVANT = 1 << N | 1 << C | 1 << P | 1 << Q | 1 << R | 1 << S | 1 << G
WINDOW = 1 << P | 1 << Q | 1 << R | 1 << S
O_RELEVANT = 1 << N | 1 << K | 1 << P | 1 << Q | 1 << G


@kernel
def tile_elements(bounds, level, layer, dataspace):  # type: ignore[no-untyped-def]
    """Elements of the bounding box of one dataspace in the tile of a level."""
    g, c = bounds[level, G], bounds[level, C]
    if dataspace == WEIGHTS:
        return float(g * bounds[level, K] * c * bounds[level, R] * bounds[level, S])
    if dataspace == OUTPUTS:
        return float(g * bounds[level, N] * bounds[level, K] * bounds[level, P] * bounds[level, Q])
    width = (bounds[level, P] - 1) * layer[STRIDE_W] + (bounds[level, R] - 1) * layer[DILATION_W] + 1
    height = (bounds[level, Q] - 1) * layer[STRIDE_H] + (bounds[level, S] - 1) * layer[DILATION_H] + 1
    return float(g * bounds[level, N] * c * width * height)


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
def check(layer, machine, mappings, row, bounds, sums):  # type: ignore[no-untyped-def]
    """Fill `bounds` and the tiles and products in `sums`, and say whether the mapping is legal.

    Returns
    -------
    code
        OK or the first rule that is broken, going outward.
    place
        The level that breaks it (the dim for a wrong factor product).
    need
        What would have been needed: words, mesh size, or the product found.
    """
    levels = machine.shape[0]
    for level in range(levels):
        wide, high, steps = 1, 1, 1
        for dim in range(8):
            t, x, y = (
                mappings[row, level, TEMPORAL, dim],
                mappings[row, level, SPATIAL_X, dim],
                mappings[row, level, SPATIAL_Y, dim],
            )
            wide *= x
            high *= y
            steps *= t
            bounds[level, dim] = (bounds[level - 1, dim] if level else 1) * t * x * y
        if wide > machine[level, FAN_X]:
            return TOO_WIDE_X, level, float(wide)
        if high > machine[level, FAN_Y]:
            return TOO_WIDE_Y, level, float(high)
        sums[level, STEPS] = steps
        sums[level, FAN] = wide * high
        need = 0.0
        for dataspace in range(3):
            if machine[level, KEEP + dataspace] != 0.0:
                tile = tile_elements(bounds, level, layer, dataspace)
                sums[level, TILE_OF + dataspace] = tile
                need += np.ceil(tile * machine[level, WIDTH + dataspace])
        if need > machine[level, CAPACITY]:
            return TOO_LARGE, level, need
    for dim in range(8):
        if bounds[levels - 1, dim] != layer[dim]:
            return BAD_PRODUCT, dim, float(bounds[levels - 1, dim])
    return OK, 0, 0.0


@kernel
def split_space(layer, mappings, row, level, bounds, sums):  # type: ignore[no-untyped-def]
    """Number of different tiles of each dataspace among the children that one instance of `level` feeds.

    Children whose boxes are exactly equal form one group; along a window, offsets are compared, not dims.
    """
    n = mappings[row, level, SPATIAL_X, N] * mappings[row, level, SPATIAL_Y, N]
    k = mappings[row, level, SPATIAL_X, K] * mappings[row, level, SPATIAL_Y, K]
    c = mappings[row, level, SPATIAL_X, C] * mappings[row, level, SPATIAL_Y, C]
    p = mappings[row, level, SPATIAL_X, P] * mappings[row, level, SPATIAL_Y, P]
    q = mappings[row, level, SPATIAL_X, Q] * mappings[row, level, SPATIAL_Y, Q]
    r = mappings[row, level, SPATIAL_X, R] * mappings[row, level, SPATIAL_Y, R]
    s = mappings[row, level, SPATIAL_X, S] * mappings[row, level, SPATIAL_Y, S]
    g = mappings[row, level, SPATIAL_X, G] * mappings[row, level, SPATIAL_Y, G]
    wide, high = p * r, q * s
    if p > 1 and r > 1:
        inner_p, inner_r = (bounds[level - 1, P], bounds[level - 1, R]) if level else (1, 1)
        wide = distinct_offsets(p, layer[STRIDE_W] * inner_p, r, layer[DILATION_W] * inner_r)
    if q > 1 and s > 1:
        inner_q, inner_s = (bounds[level - 1, Q], bounds[level - 1, S]) if level else (1, 1)
        high = distinct_offsets(q, layer[STRIDE_H] * inner_q, s, layer[DILATION_H] * inner_s)
    sums[level, SPLIT + WEIGHTS] = g * k * c * r * s
    sums[level, SPLIT + INPUTS] = g * n * c * wide * high
    sums[level, SPLIT + OUTPUTS] = g * n * k * p * q


@kernel
def prepare(layer, machine, mappings, row, bounds, sums):  # type: ignore[no-untyped-def]
    """Fill the rest of `sums` for a checked mapping; return the compute cycles (the product of all temporal factors)."""
    levels = machine.shape[0]
    compute, used = 1.0, 1.0
    partition = sums[levels - 1, TILE_OF + OUTPUTS]
    for level in range(levels - 1, -1, -1):
        sums[level, USED] = used
        sums[level, PARTITION] = partition
        compute *= sums[level, STEPS]
        if sums[level, FAN] == 1.0:
            for dataspace in range(3):
                sums[level, SPLIT + dataspace] = 1.0
        else:
            split_space(layer, mappings, row, level, bounds, sums)
            used *= sums[level, FAN]
            partition = np.floor(partition / sums[level, SPLIT + OUTPUTS])
    return compute


@kernel
def find_reuse(mappings, row, bounds, sums):  # type: ignore[no-untyped-def]
    """Fill VISITS, OUTER_VISITS and FIRST_OF_INPUTS of every level: how often its tiles are brought anew.

    Loops outside a tile, innermost first: leading loops that are irrelevant to the dataspace are free. The nest is
    walked from the outermost loop inward, so that one pass serves all levels; a loop with one step changes nothing. The
    selections are written without branches: what a random mapping does next cannot be predicted.
    """
    product, weights, inputs, outputs, outer, first = 1.0, 1.0, 1.0, 1.0, 1.0, -1
    for level in range(sums.shape[0] - 1, -1, -1):
        sums[level, VISITS + WEIGHTS] = weights
        sums[level, VISITS + INPUTS] = inputs
        sums[level, VISITS + OUTPUTS] = outputs
        sums[level, OUTER_VISITS] = outer
        bounds[level, FIRST_OF_INPUTS] = first
        if sums[level, STEPS] == 1.0:
            continue
        for place in range(7, -1, -1):
            dim = mappings[row, level, ORDER, place]
            steps = mappings[row, level, TEMPORAL, dim]
            before = product
            product *= steps
            turns = (steps != 1) << dim
            weights = product if turns & W_RELEVANT else weights
            inputs = product if turns & I_RELEVANT else inputs
            outputs = product if turns & O_RELEVANT else outputs
            outer = before if turns & I_RELEVANT else outer
            first = 8 * level + dim if turns & I_RELEVANT else first


@kernel
def words_into_tile(layer, mappings, row, child, bounds, sums, dataspace):  # type: ignore[no-untyped-def]
    """Words that enter the tile of one instance of level `child` over the whole run (temporal reuse only).

    If the first relevant loop outside the tile slides a window, each of its steps pays only for the part of the window
    that is new; every other loop pays for the whole tile.
    """
    tile = sums[child, TILE_OF + dataspace]
    if dataspace == INPUTS:
        first = bounds[child, FIRST_OF_INPUTS]
        level, dim = first >> 3, first & 7
        if first >= 0 and 1 << dim & WINDOW:
            new = tile * window_share(layer, mappings, row, child, level, dim, bounds)
            steps = mappings[row, level, TEMPORAL, dim]
            return (tile + (steps - 1.0) * new) * sums[child, OUTER_VISITS]
    return tile * sums[child, VISITS + dataspace]


@kernel
def window_share(layer, mappings, row, child, level, dim, bounds):  # type: ignore[no-untyped-def]
    """Part of the input tile of `child` that is new after one step of the loop over `dim` at `level`."""
    if dim == P or dim == R:
        width = (bounds[child, P] - 1) * layer[STRIDE_W] + (bounds[child, R] - 1) * layer[DILATION_W] + 1
        step = layer[STRIDE_W] if dim == P else layer[DILATION_W]
    else:
        width = (bounds[child, Q] - 1) * layer[STRIDE_H] + (bounds[child, S] - 1) * layer[DILATION_H] + 1
        step = layer[STRIDE_H] if dim == Q else layer[DILATION_H]
    step *= bounds[level - 1, dim] * mappings[row, level, SPATIAL_X, dim] * mappings[row, level, SPATIAL_Y, dim]
    return 1.0 if step >= width else step / width


@kernel
def count(layer, machine, mappings, row, bounds, sums, counts):  # type: ignore[no-untyped-def]
    """Fill `counts` for a checked mapping; return the compute cycles."""
    compute = prepare(layer, machine, mappings, row, bounds, sums)
    find_reuse(mappings, row, bounds, sums)
    levels = machine.shape[0]
    for dataspace in range(3):
        words, groups, siblings = compute, 1.0, 1.0
        for level in range(levels):
            groups *= sums[level, SPLIT + dataspace]
            siblings *= sums[level, FAN]
            if machine[level, KEEP + dataspace] == 0.0:
                for column in range(COUNT_COLUMNS):
                    counts[level, dataspace, column] = 0.0
                continue
            accesses = words * groups
            words = words_into_tile(layer, mappings, row, level, bounds, sums, dataspace)
            reads, fills, updates = accesses, words, 0.0
            if dataspace == OUTPUTS:
                updates = accesses
                fills -= sums[level, PARTITION]
                if machine[level, READS_BACK] == 0.0:
                    reads -= sums[level, PARTITION]
            counts[level, dataspace, READS] = reads
            counts[level, dataspace, FILLS] = 0.0 if level == levels - 1 else fills
            counts[level, dataspace, UPDATES] = updates
            counts[level, dataspace, TILE] = sums[level, TILE_OF + dataspace]
            counts[level, dataspace, REDUCTIONS] = updates * (siblings / groups - 1.0)
            groups, siblings = 1.0, 1.0
    return compute


@kernel
def energy_and_cycles(machine, mac_energy_pj, macs, sums, counts, compute):  # type: ignore[no-untyped-def]
    """Total energy (pJ) and latency (cycles) of counted traffic; fills the ENERGY column of `counts`."""
    energy = macs * mac_energy_pj
    latency = compute
    for level in range(machine.shape[0]):
        block = machine[level, BLOCK]
        read_rate, write_rate = 0.0, 0.0
        for dataspace in range(3):
            if machine[level, KEEP + dataspace] == 0.0:
                continue
            width = machine[level, WIDTH + dataspace]
            reads = counts[level, dataspace, READS] * width
            fills = counts[level, dataspace, FILLS] * width
            updates = counts[level, dataspace, UPDATES] * width
            each = np.ceil(reads / block) * machine[level, E_READ]
            each += np.ceil(fills / block) * machine[level, E_WRITE]
            each += np.ceil(updates / block) * machine[level, E_UPDATE]
            counts[level, dataspace, ENERGY] = each * sums[level, USED]
            energy += each * sums[level, USED]
            # Each dataspace's rate is divided before the sum: the order of Timeloop's doubles, and it shows in the ceiling.
            read_rate += reads / compute
            write_rate += (fills + updates) / compute
        latency = max(latency, level_cycles(machine, level, read_rate, write_rate, compute))
    return energy, latency


@kernel
def level_cycles(machine, level, read_rate, write_rate, compute):  # type: ignore[no-untyped-def]
    """Cycles that one level needs for its traffic (rates in words per compute cycle), never fewer than the computation."""
    slowdown = 1.0
    if read_rate > machine[level, READ_BW]:
        slowdown = min(slowdown, machine[level, READ_BW] / read_rate)
    if write_rate > machine[level, WRITE_BW]:
        slowdown = min(slowdown, machine[level, WRITE_BW] / write_rate)
    if read_rate + write_rate > machine[level, SHARED_BW]:
        slowdown = min(slowdown, machine[level, SHARED_BW] / (read_rate + write_rate))
    return compute if slowdown == 1.0 else np.ceil(compute / slowdown)


@kernel
def evaluate_batch(layer, machine, mac_energy_pj, mappings, energies_pj, cycles, codes):  # type: ignore[no-untyped-def]
    """Evaluate mappings (n, levels, 4, 8) of one layer on one machine into energies_pj, cycles, codes (n,).

    An illegal mapping gets its code and infinite cost.
    """
    levels = machine.shape[0]
    bounds = np.empty((levels, BOUND_COLUMNS), dtype=np.int64)
    sums = np.empty((levels, SUM_COLUMNS), dtype=np.float64)
    counts = np.empty((levels, 3, COUNT_COLUMNS), dtype=np.float64)
    macs = 1.0
    for dim in range(8):
        macs *= layer[dim]
    for row in range(mappings.shape[0]):
        code, _, _ = check(layer, machine, mappings, row, bounds, sums)
        codes[row] = code
        energies_pj[row] = np.inf
        cycles[row] = np.inf
        if code == OK:
            compute = count(layer, machine, mappings, row, bounds, sums, counts)
            energies_pj[row], cycles[row] = energy_and_cycles(machine, mac_energy_pj, macs, sums, counts, compute)
