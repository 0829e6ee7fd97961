"""Factor chains of one dim: all ways to spread its loops over the levels in time, one part of it lying in space."""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import INPUTS, TEMPORAL
from accel_models.loopnest.orders import EITHER
from accel_models.loopnest.question import relevant
from accel_models.loopnest.uneven_rows import obeys


@kernel
def divisors_of(number):  # type: ignore[no-untyped-def]
    """Ascending divisors."""
    count = 0
    divisor = 1
    while divisor * divisor <= number:
        if number % divisor == 0:
            count += 1 if divisor * divisor == number else 2
        divisor += 1
    found, low, high = np.empty(count, dtype=np.int64), 0, count - 1
    divisor = 1
    while divisor * divisor <= number:
        if number % divisor == 0:
            found[low], found[high] = divisor, number // divisor
            low += 1
            high -= 1
        divisor += 1
    return found


@kernel
def spreads_unevenly(blocks, children):  # type: ignore[no-untyped-def]
    """Tell whether `blocks` of a dim go over so many children in rounds of which the last is shorter.

    There are three rounds at least: of two, a child that sits one out has no loop left, and then the order of all loops
    matters, which no order class knows.
    """
    return blocks % children != 0 and blocks > 2 * children


@kernel
def useful_slots(  # type: ignore[no-untyped-def]
    layer, free, most, fixed, spreads, uneven, caps, spared, halo, ones, runs, dim, partner
):  # fmt: skip
    """Levels where a temporal factor of `dim` may pay, as a bit mask.

    A slot is left out if another one is at least as good in every term and every cap, whatever the factor. The inputs'
    window makes an exception: only where a larger tile is never worse (a step of one) may an inner slot stand for an
    outer one.
    """
    levels = free.shape[0]
    good, role = np.zeros(levels, dtype=np.int64), np.zeros(levels, dtype=np.int64)
    bad = np.zeros(levels, dtype=np.int64)
    step = layer[dim + 5] if partner >= 0 else 1  # stride of P or Q, dilation of R or S
    for level in range(levels):
        for run in range(runs.shape[0]):
            inside = level <= runs[run, 1]
            if not relevant(runs[run, 0], dim):
                if inside or spared[run] >> (8 * level + dim) & 1:
                    good[level] |= 1 << run
            elif runs[run, 0] == INPUTS and partner >= 0:
                if step == 1:
                    good[level] |= inside << run
                else:
                    role[level] |= inside << run
                here = (halo[run] & 63) >> 3 == level and (halo[run] >= EITHER or halo[run] & 7 == dim)
                if halo[run] >= 0 and here:
                    role[level] |= 1 << (31 + run)
        for other in range(levels):
            if partner >= 0 and spreads[other, dim] and spreads[other, partner] and level < other:
                role[level] |= 1 << (48 + other)
        for other in range(levels):  # inside an uneven array factors divide, outside they count rounds
            if uneven[other] and spreads[other, dim] and level < other:
                role[level] |= 1 << (40 + other)
        for cap in range(caps.shape[0]):
            if caps[cap, 0] >= level and relevant(caps[cap, 1], dim):
                bad[level] |= 1 << cap
    useful = 0
    for b in range(levels):
        if not free[b] >> dim & 1 or ones >> (8 * b + dim) & 1:
            continue
        needed = True
        if fixed[b, TEMPORAL, dim] == 0:
            for a in range(levels):
                if a == b or not free[a] >> dim & 1 or ones >> (8 * a + dim) & 1:
                    continue
                if fixed[a, TEMPORAL, dim] or most[a, TEMPORAL, dim] < layer[dim]:
                    continue
                same = good[a] == good[b] and bad[a] == bad[b]
                if role[a] == role[b] and not good[b] & ~good[a] and not bad[a] & ~bad[b] and (a < b or not same):
                    needed = False
        if needed:
            useful |= 1 << b
    return useful


@kernel
def chains_of(number, useful, most, fixed, ones, dim):  # type: ignore[no-untyped-def]
    """All ways to write `number` as a product of one factor per useful level under the rules: int64 (n, L)."""
    levels = most.shape[0]
    slots, count = np.empty(levels, dtype=np.int64), 0
    left = number
    base = np.ones(levels, dtype=np.int64)
    for level in range(levels):
        rule = fixed[level, TEMPORAL, dim]
        if rule > 0:
            if left % rule or (rule > 1 and ones >> (8 * level + dim) & 1):
                return np.empty((0, levels), dtype=np.int64)
            left //= rule
            base[level] = rule
        elif useful >> level & 1:
            slots[count] = level
            count += 1
    if count == 0:
        if left > 1:
            return np.empty((0, levels), dtype=np.int64)
        alone = np.empty((1, levels), dtype=np.int64)
        alone[0] = base
        return alone
    divisors = divisors_of(left)
    out, found = np.empty((64, levels), dtype=np.int64), 0
    place, rest = np.zeros(count, dtype=np.int64), np.empty(count + 1, dtype=np.int64)
    rest[0] = left
    depth = 0
    while depth >= 0:
        if depth == count - 1:
            if rest[depth] <= most[slots[depth], TEMPORAL, dim]:
                if found == out.shape[0]:
                    out = np.concatenate((out, out))
                for level in range(levels):
                    out[found, level] = base[level]
                for inner in range(count - 1):
                    out[found, slots[inner]] = rest[inner] // rest[inner + 1]
                out[found, slots[depth]] = rest[depth]
                found += 1
            depth -= 1
            continue
        moved = False
        while place[depth] < divisors.shape[0]:
            factor = divisors[place[depth]]
            place[depth] += 1
            if factor > rest[depth] or factor > most[slots[depth], TEMPORAL, dim]:
                break
            if rest[depth] % factor == 0:
                rest[depth + 1] = rest[depth] // factor
                if depth + 1 < count:
                    place[depth + 1] = 0
                depth += 1
                moved = True
                break
        if not moved:
            depth -= 1
    return out[:found].copy()


@kernel
def extents(chains, spatial):  # type: ignore[no-untyped-def]
    """Cumulative bounds of each chain: int64 (n, L) from temporal (n, L) and spatial (L,) factors."""
    out = np.empty_like(chains)
    for row in range(chains.shape[0]):
        bound = 1
        for level in range(chains.shape[1]):
            bound *= chains[row, level] * spatial[level]
            out[row, level] = bound
    return out


@kernel
def uneven_chains(question, useful, ones, dim, fan, children):  # type: ignore[no-untyped-def]
    """All chains with factors that divide inside the array at level `fan` and one loop over rounds outside of it."""
    bound, levels = question.layer[dim], question.free.shape[0]
    anything, nothing = np.full_like(question.most, bound), np.zeros_like(question.fixed)
    out, found = np.empty((64, levels), dtype=np.int64), 0
    for inside in divisors_of(bound):
        blocks = bound // inside
        if not spreads_unevenly(blocks, children):
            continue
        inner = chains_of(inside, useful & ((1 << fan) - 1), anything, nothing, ones, dim)
        for turn in range(fan, levels):
            if not useful >> turn & 1:
                continue
            for row in range(inner.shape[0]):
                if found == out.shape[0]:
                    out = np.concatenate((out, out))
                for level in range(levels):
                    out[found, level] = inner[row, level]
                out[found, turn] = (blocks + children - 1) // children
                found += obeys(out[found], question.most, question.fixed, dim)
    return out[:found].copy()
