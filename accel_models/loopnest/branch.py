"""Branch and bound over splits, order classes and factor chains: no legal mapping beats what it returns.

For one split of the layer over the arrays the compute cycles, the sharing between children and the used instances are
fixed, so energy and the cycles of every port are linear in the terms, and a term is a product over the groups of dims.
The search takes the splits from the most promising to the least; for each it looks at every order class, bounds it by
the least factor of each group in each term, and only where that leaves hope descends through the groups' tables, one
row each. What is left at the bottom is counted by `loopnest.counts` itself, ceilings and all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_models.loopnest.best import ENERGY, LATENCY, energy_limit, hopeless, improves, remember
from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import (
    BOUND_COLUMNS,
    CAPACITY,
    COUNT_COLUMNS,
    OK,
    ORDER,
    SUM_COLUMNS,
    TEMPORAL,
    WIDTH,
    check,
    count,
    energy_and_cycles,
)
from accel_models.loopnest.linear import SLACK, Linear, cheap_bound, cycles_of, linearise, ports_of, spread_of
from accel_models.loopnest.relaxed import relax
from accel_models.loopnest.spatial import pack
from accel_models.loopnest.tables import make_table, overflows
from accel_models.loopnest.uneven import check_uneven, count_uneven, find_uneven


@kernel
def write_mapping(question, tables, spread, perm, rows, mapping):  # type: ignore[no-untyped-def]
    """Fill `mapping` (L, 4, 8) from a split, an order class and one row per group."""
    mapping[:, :ORDER] = 1
    groups = question.groups
    for level in range(perm.shape[0]):
        mapping[level, ORDER] = perm[level]
        lanes = 1
        for dim in range(8):
            lanes *= spread[level, dim]
        if lanes > 1:
            pack(question, level, spread[level], mapping)
        for group in range(groups.shape[0]):
            factors = tables.factors[rows[group]]
            for member in range(2):
                if groups[group, member] >= 0:
                    mapping[level, TEMPORAL, groups[group, member]] = factors[level, member]
            if factors[-1, 0] >> level & 1:
                for place in range(8):
                    if perm[level, place] == groups[group, 0]:
                        mapping[level, ORDER, place] = groups[group, 1]
                    elif perm[level, place] == groups[group, 1]:
                        mapping[level, ORDER, place] = groups[group, 0]


class Scratch(NamedTuple):
    """Room for one descent: per depth the products so far and what the groups to come multiply them by at least."""

    so_far: Any
    to_come: Any
    weights: Any
    ones: Any
    first: Any
    ends: Any
    rows: Any
    mapping: Any
    uneven: Any
    bounds: Any
    sums: Any
    counts: Any


@kernel
def new_scratch(question, width):  # type: ignore[no-untyped-def]
    """Return a `Scratch`."""
    groups, levels = question.groups.shape[0], question.machine.shape[0]
    return Scratch(
        np.ones((groups + 1, width)), np.ones((groups + 1, width)), np.ones((groups + 1, width)),
        np.ones((1, width)), np.zeros(groups, dtype=np.int64), np.zeros(groups, dtype=np.int64),
        np.zeros(groups, dtype=np.int64), np.ones((1, levels, 4, 8), dtype=np.int32), np.zeros((8, 5), dtype=np.int64),
        np.zeros((levels, BOUND_COLUMNS), dtype=np.int64), np.zeros((levels, SUM_COLUMNS)),
        np.zeros((levels, 3, COUNT_COLUMNS)),
    )  # fmt: skip


@kernel
def look_closely(question, tables, spread, perm, objective, best, scratch):  # type: ignore[no-untyped-def]
    """Count the mapping that the rows before `scratch.rows` describe, and remember it if it improves."""
    write_mapping(question, tables, spread, perm, scratch.rows - 1, scratch.mapping[0])
    best.tally[0] += 1
    layer, machine = question.layer, question.machine
    even = True
    for group in range(scratch.rows.shape[0]):
        even &= tables.factors[scratch.rows[group] - 1, -1, 1] == 0
    if even:
        code, _, _ = check(layer, machine, scratch.mapping, 0, scratch.bounds, scratch.sums)
    else:
        find_uneven(layer, scratch.mapping[0], scratch.uneven)
        code, _, _ = check_uneven(layer, machine, scratch.mapping[0], scratch.bounds, scratch.sums)
    if code != OK:  # ceilings of narrow words: the bounds know only the real value
        return best
    if even:
        compute = count(layer, machine, scratch.mapping, 0, scratch.bounds, scratch.sums, scratch.counts)
    else:
        compute = count_uneven(
            layer, machine, scratch.mapping[0], scratch.uneven, scratch.bounds, scratch.sums, scratch.counts
        )  # fmt: skip
    macs = 1.0
    for dim in range(8):
        macs *= question.layer[dim]
    energy, cycles = energy_and_cycles(
        question.machine, question.mac_energy_pj, macs, scratch.sums, scratch.counts, compute
    )  # fmt: skip
    if improves(objective, best, energy, cycles):
        return remember(objective, best, energy, cycles, scratch.mapping[0])
    return best


@kernel
def aim(energy, caps, machine, so_far, to_come, weights, depth):  # type: ignore[no-untyped-def]
    """Prepare the scan of a depth's rows: energy per unit of each term, and need of room per unit of each cap."""
    terms = energy.shape[0] - 1
    for column in range(terms):
        weights[depth, column] = so_far[depth, column] * to_come[depth + 1, column] * energy[column]
    for cap in range(caps.shape[0]):
        column = terms + cap
        width = machine[caps[cap, 0], WIDTH + caps[cap, 1]]
        weights[depth, column] = so_far[depth, column] * to_come[depth + 1, column] * width


@kernel
def next_row(caps, machine, values, weights, depth, row, end, terms, constant, limit):  # type: ignore[no-untyped-def]
    """First row from `row` on whose bound stays below `limit` (pJ) and that leaves every level room; `end` if none.

    No slices here and in what else runs for every row: each would count references, which costs more than the sums.
    """
    while row < end:
        energy = constant
        for column in range(terms):
            energy += weights[depth, column] * values[row, column]
        if energy * (1.0 + SLACK) < limit:
            level, need, fits = -1, 0.0, True
            for cap in range(caps.shape[0]):
                if caps[cap, 0] != level:
                    level, need = caps[cap, 0], 0.0
                need += weights[depth, terms + cap] * values[row, terms + cap]
                if need > machine[level, CAPACITY]:
                    fits = False
                    break
            if fits:
                return row
        row += 1
    return end


@kernel
def descend(question, tables, linear, spread, perm, objective, best, scratch):  # type: ignore[no-untyped-def]
    """Search all rows of the tables whose ranges stand in `scratch` (first, ends) for one split and class."""
    groups = question.groups.shape[0]
    if groups == 0:
        return look_closely(question, tables, spread, perm, objective, best, scratch)
    so_far, to_come, weights, values = scratch.so_far, scratch.to_come, scratch.weights, tables.values
    rows, first, ends, tally = scratch.rows, scratch.first, scratch.ends, best.tally
    caps, machine, energies, ports = question.caps, question.machine, linear.energy, linear.ports
    terms = question.terms.shape[0]
    constant, compute = energies[terms], linear.compute[0]
    steps_at = terms + caps.shape[0] if question.width > terms + caps.shape[0] else -1
    found, cycles, number = best.energies, best.cycles, best.number[0]
    limit = energy_limit(objective, found, cycles, number, compute)
    depth = 0
    rows[0] = first[0]
    aim(energies, caps, machine, so_far, to_come, weights, 0)
    while depth >= 0:
        row = next_row(caps, machine, values, weights, depth, rows[depth], ends[depth], terms, constant, limit)
        tally[1] += row - rows[depth]
        rows[depth] = row + 1
        if row == ends[depth]:
            depth -= 1
            continue
        for column in range(so_far.shape[1]):
            so_far[depth + 1, column] = so_far[depth, column] * values[row, column]
        energy = constant
        for column in range(terms):
            energy += energies[column] * so_far[depth + 1, column] * to_come[depth + 1, column]
        steps = compute if steps_at < 0 else so_far[depth + 1, steps_at] * to_come[depth + 1, steps_at]
        latency = cycles_of(ports, steps, so_far, to_come, depth + 1)
        if hopeless(objective, found, cycles, number, energy, latency):
            continue
        if depth == groups - 1:
            best = look_closely(question, tables, spread, perm, objective, best, scratch)
            found, cycles, number = best.energies, best.cycles, best.number[0]
            limit = energy_limit(objective, found, cycles, number, compute)
            continue
        depth += 1
        rows[depth] = first[depth]
        aim(energies, caps, machine, so_far, to_come, weights, depth)
    return best


@kernel
def rank_splits(question, tables, splits, ports, linear, objective):  # type: ignore[no-untyped-def]
    """Return (order, energies, cycles): cheap bounds of all splits, and the splits' order by promise."""
    number = splits.shape[0]
    energies, cycles, keys = np.empty(number), np.empty(number), np.empty(number)
    spread = np.ones((question.machine.shape[0], 8), dtype=np.int64)
    for row in range(number):
        spread_of(question, tables, splits[row], spread)
        linearise(question, spread, ports, linear)
        energies[row], cycles[row] = cheap_bound(question, spread, linear)
        if objective == ENERGY:
            keys[row] = energies[row]
        elif objective == LATENCY:
            keys[row] = cycles[row]
        else:
            keys[row] = energies[row] * cycles[row]
    return np.argsort(keys, kind="mergesort"), energies, cycles


@kernel
def class_passes(  # type: ignore[no-untyped-def]
    relaxed, key_of, row, split, energies, ports, compute, objective, found, cycles, number, to_come, ones
):  # fmt: skip
    """Tell whether an order class is worth making tables for: bound it by the relaxed least of each group."""
    terms = relaxed.shape[3]
    energy = energies[terms]
    for column in range(terms):
        product = 1.0
        for group in range(key_of.shape[1]):
            product *= relaxed[group, key_of[row, group], split[group], column]
        to_come[0, column] = product
        energy += energies[column] * product
    if hopeless(objective, found, cycles, number, energy, compute):
        return False
    latency = cycles_of(ports, compute, to_come, ones, 0)
    return not hopeless(objective, found, cycles, number, energy, latency)


@kernel
def tabled(question, runs, run_of_term, tables, row, split, scratch):  # type: ignore[no-untyped-def]
    """Make the tables of a class that are missing, and set `scratch` to their ranges and least values.

    Returns (tables, whether every group has a row).
    """
    key_of, counts, firsts, least = tables.key_of, tables.count, tables.first, tables.least
    to_come, first, ends = scratch.to_come, scratch.first, scratch.ends
    for group in range(key_of.shape[1] - 1, -1, -1):
        key, signature = key_of[row, group], split[group]
        if counts[group, key, signature] < 0:
            tables = make_table(question, runs, run_of_term, tables, group, key, signature)
        if counts[group, key, signature] == 0:
            return tables, False
        first[group] = firsts[group, key, signature]
        ends[group] = first[group] + counts[group, key, signature]
        for column in range(to_come.shape[1]):
            to_come[group, column] = to_come[group + 1, column] * least[group, key, signature, column]
    return tables, True


@kernel
def search_split(  # type: ignore[no-untyped-def]
    question, runs, run_of_term, tables, perms, split, spread, linear, objective, best, scratch
):  # fmt: skip
    """Search one split (`spread` and `linear` are its own); return (tables, best)."""
    groups, terms = question.groups.shape[0], question.terms.shape[0]
    energies, ports, compute = linear.energy, linear.ports, linear.compute[0]
    to_come, ones, tally = scratch.to_come, scratch.ones, best.tally
    relaxed, key_of = tables.relaxed, tables.key_of
    to_come[groups] = 1.0
    for group in range(groups):
        if np.isnan(relaxed[group, 0, split[group], 0]):
            relax(question, run_of_term, tables, group, split[group], key_of[:, group].max() + 1)
    for row in range(perms.shape[0]):
        tally[3] += 1
        found, cycles, number = best.energies, best.cycles, best.number[0]
        if not class_passes(
            relaxed, key_of, row, split, energies, ports, compute, objective, found, cycles, number, to_come, ones
        ):  # fmt: skip
            continue
        tables, possible = tabled(question, runs, run_of_term, tables, row, split, scratch)
        if not possible or overflows(question.caps, question.machine, terms, to_come, 0):
            continue
        energy = energies[terms]
        for column in range(terms):
            energy += energies[column] * to_come[0, column]
        if hopeless(objective, found, cycles, number, energy, cycles_of(ports, compute, to_come, ones, 0)):
            continue
        best = descend(question, tables, linear, spread, perms[row], objective, best, scratch)
    tally[2] += 1
    return tables, best


@kernel
def search_splits(  # type: ignore[no-untyped-def]
    question, runs, run_of_term, tables, perms, splits, order, energies, cycles, start, objective, best, node_limit
):  # fmt: skip
    """Search splits in the given order from `start` until all are done or `node_limit` more nodes were seen.

    Returns (tables, best, next split to search).
    """
    terms = question.terms.shape[0]
    ports = ports_of(question.machine)
    linear = Linear(np.empty(terms + 1), np.empty((ports.shape[0], terms + 1)), np.empty(1))
    scratch = new_scratch(question, question.width)
    spread = np.ones((question.machine.shape[0], 8), dtype=np.int64)
    seen = best.tally[1] + best.tally[3]
    place = start
    while place < order.shape[0] and best.tally[1] + best.tally[3] - seen < node_limit:
        row = order[place]
        place += 1
        if hopeless(objective, best.energies, best.cycles, best.number[0], energies[row], cycles[row]):
            continue
        spread_of(question, tables, splits[row], spread)
        linearise(question, spread, ports, linear)
        tables, best = search_split(
            question, runs, run_of_term, tables, perms, splits[row], spread, linear, objective, best, scratch
        )  # fmt: skip
    return tables, best, place
