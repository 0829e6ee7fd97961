"""Splits of a layer over the arrays of a machine: how much of each dim lies in space at each level.

A *signature* is one group's part of a split, a *split* one signature per group that together fit every mesh. Costs
depend on the product of a dim's X and Y factors alone; `pack` finds the two, in one canonical way.
"""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.chains import divisors_of, spreads_unevenly
from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import FAN_X, FAN_Y, SPATIAL_X, SPATIAL_Y
from accel_models.loopnest.question import may_spread


@kernel
def side_allows(question, level, side, dim, factor):  # type: ignore[no-untyped-def]
    """Tell whether rules and mesh allow a factor of a dim along one side, others left out."""
    rule = question.fixed[level, side, dim]
    if rule > 0 and question.layer[dim] > 1:
        return factor == rule
    return factor <= may_spread(question.machine, question.most, question.fixed, level, side, dim)


@kernel
def pack(question, level, spread, mapping):  # type: ignore[no-untyped-def]
    """Split the products `spread` (8,) into X and Y factors that fit a level's mesh; write them into `mapping`.

    The first split in order of ascending X factors by dim. Returns False where there is none.
    """
    machine = question.machine
    wide, high = machine[level, FAN_X], machine[level, FAN_Y]
    x = np.zeros(9, dtype=np.int64)
    across, down = np.ones(9, dtype=np.int64), np.ones(9, dtype=np.int64)
    dim = 0
    while dim >= 0:
        if dim == 8:
            for done in range(8):
                mapping[level, SPATIAL_X, done] = x[done]
                mapping[level, SPATIAL_Y, done] = spread[done] // x[done]
            return True
        x[dim] += 1
        while x[dim] <= spread[dim]:
            factor, other = x[dim], spread[dim] // x[dim]
            if (
                factor * other == spread[dim]
                and across[dim] * factor <= wide
                and down[dim] * other <= high
                and side_allows(question, level, SPATIAL_X, dim, factor)
                and side_allows(question, level, SPATIAL_Y, dim, other)
            ):
                break
            x[dim] += 1
        if x[dim] > spread[dim]:
            x[dim] = 0
            dim -= 1
            continue
        across[dim + 1], down[dim + 1] = across[dim] * x[dim], down[dim] * (spread[dim] // x[dim])
        dim += 1
        if dim < 8:
            x[dim] = 0
    return False


@kernel
def spread_options(question, level, dim):  # type: ignore[no-untyped-def]
    """Products of X and Y factors that one dim may have at one level: ascending int64 (n,)."""
    bound = question.layer[dim]
    divisors = divisors_of(bound)
    keep, count = np.empty_like(divisors), 0
    for product in divisors:
        if some_split(question, level, dim, product):
            keep[count] = product
            count += 1
    return keep[:count].copy()


@kernel
def some_split(question, level, dim, product):  # type: ignore[no-untyped-def]
    """Tell whether rules and mesh allow some X and Y factors of one dim with this product."""
    for x in divisors_of(product):
        if side_allows(question, level, SPATIAL_X, dim, x) and side_allows(
            question, level, SPATIAL_Y, dim, product // x
        ):
            return True
    return False


@kernel
def uneven_options(question, level, dim):  # type: ignore[no-untyped-def]
    """Products of X and Y factors that do not divide a dim: ascending int64 (n,)."""
    bound = question.layer[dim]
    lanes = min(np.int64(question.machine[level, FAN_X] * question.machine[level, FAN_Y]), bound)
    out, count = np.empty(lanes + 1, dtype=np.int64), 0
    for product in range(2, lanes + 1):
        if bound % product and spreads_unevenly(bound, product) and some_split(question, level, dim, product):
            out[count] = product
            count += 1
    return out[:count].copy()


@kernel
def with_uneven(rows, level, member, options):  # type: ignore[no-untyped-def]
    """Signatures (n, L, 2) and those with an uneven product at a level: of dims that lie in no other array."""
    alone, count = np.empty_like(rows), 0
    for row in range(rows.shape[0]):
        if rows[row, :, member].max() == 1 and rows[row, level, 0] * rows[row, level, 1] == 1:
            alone[count] = rows[row]
            count += 1
    grown = np.empty((rows.shape[0] + count * options.shape[0], rows.shape[1], 2), dtype=np.int64)
    grown[: rows.shape[0]] = rows
    at = rows.shape[0]
    for row in range(count):
        for product in options:
            grown[at] = alone[row]
            grown[at, level, member] = product
            at += 1
    return grown


@kernel
def signatures_of(question):  # type: ignore[no-untyped-def]
    """Return (signatures, count): every spatial part of every group that divides its dims and fits the meshes alone."""
    groups, levels = question.groups, question.free.shape[0]
    machine = question.machine
    out = np.ones((groups.shape[0], 16, levels, 2), dtype=np.int64)
    counts = np.zeros(groups.shape[0], dtype=np.int64)
    for group in range(groups.shape[0]):
        rows = np.ones((1, levels, 2), dtype=np.int64)
        for member in range(2):
            dim = groups[group, member]
            if dim < 0 or question.layer[dim] == 1:
                continue
            for level in range(levels):
                options = spread_options(question, level, dim)
                lanes = machine[level, FAN_X] * machine[level, FAN_Y]
                grown, count = np.empty((rows.shape[0] * options.shape[0], levels, 2), dtype=np.int64), 0
                for row in range(rows.shape[0]):
                    whole = question.layer[dim]
                    for inner in range(level):
                        whole //= rows[row, inner, member]
                    for option in options:
                        if whole % option == 0 and rows[row, level, 0] * option <= lanes:
                            grown[count] = rows[row]
                            grown[count, level, member] = option
                            count += 1
                rows = grown[:count].copy()
            for level in range(levels):
                if question.uneven[level]:
                    rows = with_uneven(rows, level, member, uneven_options(question, level, dim))
        if rows.shape[0] > out.shape[1]:
            larger = np.ones((groups.shape[0], rows.shape[0], levels, 2), dtype=np.int64)
            larger[:, : out.shape[1]] = out
            out = larger
        out[group, : rows.shape[0]] = rows
        counts[group] = rows.shape[0]
    return out, counts


@kernel
def splits_of(question, signatures, counts):  # type: ignore[no-untyped-def]
    """Return all splits, int64 (n, groups): one signature per group, together fitting every mesh."""
    groups, levels = question.groups, question.free.shape[0]
    number = groups.shape[0]
    machine = question.machine
    scratch = np.ones((levels, 4, 8), dtype=np.int32)
    out, found = np.empty((64, number), dtype=np.int64), 0
    spread = np.ones((number + 1, levels, 8), dtype=np.int64)
    place = np.full(number, -1, dtype=np.int64)
    two_sided, rules = np.zeros(levels, dtype=np.bool_), np.zeros(levels, dtype=np.bool_)
    for level in range(levels):
        two_sided[level] = machine[level, FAN_X] > 1 and machine[level, FAN_Y] > 1
        for dim in range(8):  # with fixed factors only a complete split can be judged
            rules[level] |= question.fixed[level, SPATIAL_X, dim] > 1 or question.fixed[level, SPATIAL_Y, dim] > 1
    depth = 0
    if number == 0:
        return np.empty((1, 0), dtype=np.int64)
    while depth >= 0:
        place[depth] += 1
        if place[depth] == counts[depth]:
            depth -= 1
            continue
        spread[depth + 1] = spread[depth]
        fits = True
        for level in range(levels):
            here = signatures[depth, place[depth], level]
            last = depth == number - 1
            if here[0] == 1 and here[1] == 1 and not (last and rules[level]):
                continue
            for member in range(2):
                if groups[depth, member] >= 0:
                    spread[depth + 1, level, groups[depth, member]] = here[member]
            lanes = 1
            for dim in range(8):
                lanes *= spread[depth + 1, level, dim]
            if lanes > machine[level, FAN_X] * machine[level, FAN_Y]:
                fits = False
                break
            if (
                two_sided[level]
                and (last or not rules[level])
                and not pack(question, level, spread[depth + 1, level], scratch)
            ):
                fits = False
                break
        if not fits:
            continue
        if depth < number - 1:
            depth += 1
            place[depth] = -1
            continue
        if found == out.shape[0]:
            out = np.concatenate((out, out))
        out[found] = place
        found += 1
    return out[:found].copy()
