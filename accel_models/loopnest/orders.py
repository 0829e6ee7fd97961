"""Loop orders that differ in cost: the classes that an exact search has to look at.

In a block of temporal loops only the innermost few decide what is stationary, so of the 8! orders of a block a handful
remain: one *leader*, a dataspace whose irrelevant loops stand innermost, and for the inputs which window loop comes first
behind them. A dataspace stays stationary into the next block outward only if the block holds nothing else; such classes
*force to one* the factors of all other loops. Every mapping is counted exactly by one class and never too low by any
other that admits it: a forced factor of one removes a loop, and an optimistic reuse is never assumed.

A *run* is the stretch of loops outside a tile that a dataspace is spared: one for each tile, i.e. for each (dataspace,
child level) whose words are counted. A slot is a temporal loop, numbered 8 * level + dim; sets of slots are bit masks.

``runs``   int64 (runs, 2): dataspace, child level.
``free``   int64 (levels,): dims that may have a temporal factor above one there, as a bit mask.
``slides`` int64: dims whose loop can reuse part of the inputs' window, as a bit mask.

A class is a row of four arrays:

``spared`` int64 (n, runs): slots whose factors the run is spared.
``halo``   int64 (n, runs): the slot of a sliding window that ends the run, or -1. Plus :data:`EITHER` where the other dim
           of the window (R for P, S for Q) may as well take its place: a choice left to the factors.
``ones``   int64 (n,): slots forced to one.
``perms``  int32 (n, levels, 8): the order of each block, innermost first.
"""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import INPUTS, WEIGHTS, C, K, N, P, Q, R, S

W_IRRELEVANT = 1 << N | 1 << P | 1 << Q
I_IRRELEVANT = 1 << K
O_IRRELEVANT = 1 << C | 1 << R | 1 << S

EITHER = 64
PARTNER = np.array([0, 1, 2, R, S, P, Q, 7])

MAX_LEVELS = 8
"""A set of slots is one signed 64-bit number."""


@kernel
def irrelevant(dataspace):  # type: ignore[no-untyped-def]
    """Dims whose loops leave the tile of a dataspace as it is, as a bit mask."""
    if dataspace == WEIGHTS:
        return W_IRRELEVANT
    if dataspace == INPUTS:
        return I_IRRELEVANT
    return O_IRRELEVANT


@kernel
def sliding_dims(layer):  # type: ignore[no-untyped-def]
    """Dims whose loop moves the inputs' window by less than its width somewhere."""
    slides = 0
    for p, r, stride, dilation in ((P, R, layer[8], layer[10]), (Q, S, layer[9], layer[11])):
        if layer[p] > 1 and (layer[r] - 1) * dilation + 1 > stride:
            slides |= 1 << p
        if layer[r] > 1 and (layer[p] - 1) * stride + 1 > dilation:
            slides |= 1 << r
    return slides


@kernel
def write_perm(perm, first, last, rest):  # type: ignore[no-untyped-def]
    """Append to `perm` (filled up to `first`) the dims of `last`'s bit mask ascending, then those of `rest`."""
    place = first
    for mask in (last, rest & ~last):
        for dim in range(8):
            if mask >> dim & 1:
                perm[place] = dim
                place += 1
    return place


@kernel
def tails(alive, tail, slides, present, perm, given, out, either):  # type: ignore[no-untyped-def]
    """Write the orders of the dims in `tail` that can differ in cost behind the `given` first dims of `perm`.

    One per living dataspace as leader and, where the inputs live, per window loop that may come first. Behind a loop over
    K (`present`: loops not forced to one), which stops all others, the two dims of a window can change places: one order
    stands for both, marked in `either`. Returns how many.
    """
    count = 0
    for leader in range(3):
        if not alive >> leader & 1:
            continue
        lead = irrelevant(leader) & tail
        windows = slides & tail if leader == INPUTS else slides & lead
        if not alive >> INPUTS & 1:
            windows = 0
        for window in range(-1, 8):
            if window < 0 and windows != 0:
                continue
            if window >= 0 and not windows >> window & 1:
                continue
            pair = leader == INPUTS and window >= 0 and lead & present != 0 and windows >> PARTNER[window] & 1
            if pair and PARTNER[window] < window:
                continue
            either[count] = pair
            out[count, :given] = perm[:given]
            place = given
            if leader == INPUTS:
                place = write_perm(out[count], place, lead, 0)
                rest = tail & ~lead
            else:
                rest = tail
            if window >= 0:
                out[count, place] = window
                place += 1
                rest &= ~(1 << window)
            write_perm(out[count], place, lead & rest, rest)
            count += 1
    if count == 0:
        out[0, :given] = perm[:given]
        write_perm(out[0], given, tail, 0)
        either[0] = False
        count = 1
    return count


@kernel
def block_options(order, free, alive, slides, outermost, perms, ones, either):  # type: ignore[no-untyped-def]
    """Write the options of one block into perms (n, 8), ones (n,) (dims forced to one), either (n,); return how many.

    `order` are the dims that a description puts innermost (-1 ends); `free` and `alive` are bit masks of dims and
    dataspaces.
    """
    perm = np.zeros(8, dtype=np.int32)
    given, rule = 0, 0
    while given < 8 and order[given] >= 0:
        perm[given] = order[given]
        rule |= 1 << order[given]
        given += 1
    tail = 255 & ~rule
    count = 0
    subset = rule & free if alive else 0
    while True:  # every subset of the given dims may have the factor one: then what stands behind them decides
        found = tails(
            alive, tail, slides & free & ~subset, free & ~subset, perm, given, perms[count:], either[count:]
        )  # fmt: skip
        ones[count : count + found] = subset
        count += found
        if subset == 0:
            break
        subset = (subset - 1) & rule & free
    if outermost or alive == 0:
        return count
    several = alive & (alive - 1)
    for dataspace in range(3):
        if alive >> dataspace & 1:
            only = irrelevant(dataspace)
            found = tails(
                1 << dataspace | alive & 1 << INPUTS, tail, slides & free & only, free & only, perm, given,
                perms[count:], either[count:],
            )  # fmt: skip
            ones[count : count + found] = free & ~only
            count += found
    if several:
        perms[count] = perms[0]
        ones[count] = free
        either[count] = False
        count += 1
    return count


@kernel
def follow(run, level, perm, free, ones, either, slides, dataspace, spared, halo):  # type: ignore[no-untyped-def]
    """Walk one block for one living run: extend `spared`, set `halo` where it ends; tell whether it lives on."""
    free &= ~ones
    for dim in perm:
        if not free >> dim & 1:
            continue
        if irrelevant(dataspace) >> dim & 1:
            spared[run] |= 1 << (8 * level + dim)
        else:
            if dataspace == INPUTS and slides >> dim & 1:
                halo[run] = 8 * level + dim + (EITHER if either else 0)
            return False
    return True


@kernel
def no_better(a, b, spared, halo, alive, ones):  # type: ignore[no-untyped-def]
    """Tell whether option `a` of a block admits nothing that option `b` does not count at least as low."""
    if ones[b] & ~ones[a] or alive[a] & ~alive[b]:
        return False
    for run in range(spared.shape[1]):
        if spared[a, run] & ~spared[b, run]:
            return False
        if halo[a, run] >= 0 and halo[a, run] != halo[b, run]:
            return False
    return True


@kernel
def order_classes(runs, free, order, slides):  # type: ignore[no-untyped-def]
    """Return (spared, halo, ones, perms) of all classes; see the module's text."""
    levels, number = free.shape[0], runs.shape[0]
    spared, halo = np.zeros((1, number), dtype=np.int64), np.full((1, number), -1, dtype=np.int64)
    ones, living = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    perms = np.zeros((1, levels, 8), dtype=np.int32)
    room = 300 * 14
    o_perms, o_ones = np.empty((room, 8), dtype=np.int32), np.empty(room, dtype=np.int64)
    o_spared, o_halo = np.empty((room, number), dtype=np.int64), np.empty((room, number), dtype=np.int64)
    o_living, o_either = np.empty(room, dtype=np.int64), np.zeros(room, dtype=np.bool_)
    for level in range(levels):
        most = 64
        n_spared, n_halo = np.empty((most, number), dtype=np.int64), np.empty((most, number), dtype=np.int64)
        n_ones, n_living = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
        n_perms, count = np.empty((most, levels, 8), dtype=np.int32), 0
        for row in range(ones.shape[0]):
            alive, lives = 0, living[row]
            for run in range(number):
                if runs[run, 1] == level - 1:
                    lives |= 1 << run
                if lives >> run & 1:
                    alive |= 1 << runs[run, 0]
            options = block_options(
                order[level], free[level], alive, slides, level == levels - 1, o_perms, o_ones, o_either
            )  # fmt: skip
            for option in range(options):
                o_spared[option], o_halo[option], o_living[option] = spared[row], halo[row], 0
                for run in range(number):
                    if lives >> run & 1 and follow(
                        run, level, o_perms[option], free[level], o_ones[option], o_either[option], slides,
                        runs[run, 0], o_spared[option], o_halo[option],
                    ):  # fmt: skip
                        o_living[option] |= 1 << run
            for a in range(options):
                needed = True
                for b in range(options):
                    same = b > a and no_better(b, a, o_spared, o_halo, o_living, o_ones)  # the first of equals stays
                    if a != b and not same and no_better(a, b, o_spared, o_halo, o_living, o_ones):
                        needed = False
                        break
                if not needed:
                    continue
                if count == most:
                    n_spared, n_halo = np.concatenate((n_spared, n_spared)), np.concatenate((n_halo, n_halo))
                    n_ones, n_living = np.concatenate((n_ones, n_ones)), np.concatenate((n_living, n_living))
                    n_perms = np.concatenate((n_perms, n_perms))
                    most *= 2
                n_spared[count], n_halo[count], n_living[count] = o_spared[a], o_halo[a], o_living[a]
                n_ones[count] = ones[row] | o_ones[a] << (8 * level)
                n_perms[count] = perms[row]
                n_perms[count, level] = o_perms[a]
                count += 1
        spared, halo, ones = n_spared[:count].copy(), n_halo[:count].copy(), n_ones[:count].copy()
        living, perms = n_living[:count].copy(), n_perms[:count].copy()
    return spared, halo, ones, perms
