"""What a group of dims contributes to a term at least, from what fits alone: bounds that need no table."""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.chains import divisors_of
from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import CAPACITY, INPUTS, WIDTH, distinct_offsets
from accel_models.loopnest.orders import EITHER
from accel_models.loopnest.question import ACCESS, relevant


@kernel
def inner_fits(layer, machine, caps, one, two, space, child, inner_one, inner_two):  # type: ignore[no-untyped-def]
    """Tell whether tiles of at least these extents at `child` leave room at every level from there outward."""
    need, level, at = 0.0, -1, child
    for cap in range(caps.shape[0]):
        if caps[cap, 0] < child:
            continue
        if caps[cap, 0] != level:
            level, need = caps[cap, 0], 0.0
            while at < level:
                at += 1
                inner_one *= space[at, 0]
                inner_two *= space[at, 1]
        size = 1.0
        if two >= 0 and caps[cap, 1] == INPUTS:
            size = (inner_one - 1.0) * layer[one + 5] + (inner_two - 1.0) * layer[two + 5] + 1.0
        else:
            if relevant(caps[cap, 1], one):
                size *= inner_one
            if two >= 0 and relevant(caps[cap, 1], two):
                size *= inner_two
        need += size * machine[level, WIDTH + caps[cap, 1]]
        if need > machine[level, CAPACITY]:
            return False
    return True


@kernel
def relaxed_least(  # type: ignore[no-untyped-def]
    layer, machine, caps, uneven, one, two, space, dataspace, child, parent, shares, variant
):  # fmt: skip
    """Bound a group's factor in a term from below by what fits `child` outward, without making a table.

    `shares` tells whether the term counts what the parent is spared by neighbours' common lines. `variant`: 0 nothing is
    spared in time, 1 something is, 2 + 2 * level + member: a window slides along that loop.
    """
    inside_one, inside_two, outside_one, outside_two, share = 1, 1, 1, 1, 1.0
    for level in range(space.shape[0]):
        if level <= child:
            inside_one *= space[level, 0]
            inside_two *= space[level, 1]
        else:
            outside_one *= space[level, 0]
            outside_two *= space[level, 1]
        if shares and child < level <= parent:  # p + r - 1 different sums at least
            share *= (space[level, 0] + space[level, 1] - 1.0) / (space[level, 0] * space[level, 1])
    whole_one, whole_two = layer[one], layer[two] if two >= 0 else 1
    for level in range(space.shape[0]):
        if uneven[level] and space[level, 0] * space[level, 1] > 1:  # rounds of any number: bound by what is touched
            least = 1.0
            if dataspace == INPUTS and two >= 0:
                return float(distinct_offsets(whole_one, layer[one + 5], whole_two, layer[two + 5])) * share
            least *= whole_one if relevant(dataspace, one) else outside_one
            if two >= 0:
                least *= whole_two if relevant(dataspace, two) else outside_two
            return least
    time_one = whole_one // (inside_one * outside_one) if child >= 0 else 1
    time_two = whole_two // (inside_two * outside_two) if child >= 0 else 1
    window = dataspace == INPUTS and two >= 0
    one_matters, two_matters = relevant(dataspace, one), two < 0 or relevant(dataspace, two)
    least = np.inf
    factors_two = divisors_of(time_two)
    for a in divisors_of(time_one):
        for b in factors_two:
            at_one, at_two = a * inside_one, b * inside_two
            if child >= 0 and not inner_fits(layer, machine, caps, one, two, space, child, at_one, at_two):
                break
            if not window:
                words = float(whole_one if one_matters else outside_one if variant else whole_one // at_one)
                words *= whole_two if two_matters else outside_two if variant else whole_two // at_two
                least = min(least, words)
                continue
            width = (at_one - 1.0) * layer[one + 5] + (at_two - 1.0) * layer[two + 5] + 1.0
            words = width * (whole_one // at_one) * (whole_two // at_two) * share
            if variant >= 2:
                level, member = (variant - 2) >> 1, variant & 1
                step = float(layer[two + 5] * at_two if member else layer[one + 5] * at_one)
                steps = whole_two // at_two // outside_two if member else whole_one // at_one // outside_one
                for between in range(child + 1, level + 1):
                    step *= space[between, member]
                words *= (1.0 + (steps - 1.0) * min(1.0, step / width)) / steps
            least = min(least, words)
    return least


@kernel
def relax(question, run_of_term, tables, group, signature, keys):  # type: ignore[no-untyped-def]
    """Fill `tables.relaxed` of one signature for the first `keys` keys."""
    terms, one, two = question.terms, question.groups[group, 0], question.groups[group, 1]
    layer, machine, caps, space = question.layer, question.machine, question.caps, tables.signatures[group, signature]
    key_halo, key_spared, out = tables.key_halo, tables.key_spared, tables.relaxed
    variants = 2 + 2 * question.free.shape[0]
    for term in range(terms.shape[0]):
        known, run = np.full(variants, np.nan), run_of_term[term]
        for key in range(keys):
            first, last = 0, 0
            if run >= 0:
                halo = key_halo[group, key, run]
                if halo >= 0:
                    first = 2 + 2 * ((halo & 63) >> 3) + ((halo & 7) == two)
                    last = first + (halo >= EITHER)
                elif key_spared[group, key, run]:
                    first, last = 1, 1
            least = np.inf
            for variant in range(first, max(first, last) + 1):
                if np.isnan(known[variant]):
                    known[variant] = relaxed_least(
                        layer, machine, caps, question.uneven, one, two, space, terms[term, 0], terms[term, 1], terms[term, 2],
                        terms[term, 3] == ACCESS, variant,
                    )  # fmt: skip
                least = min(least, known[variant])
            out[group, key, signature, term] = least * (1.0 - 1e-12)
