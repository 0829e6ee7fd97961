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

from accel_models.loopnest.chains import make_table, overflows, relax
from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import (
    BLOCK,
    BOUND_COLUMNS,
    CAPACITY,
    COUNT_COLUMNS,
    E_READ,
    E_UPDATE,
    E_WRITE,
    INPUTS,
    KEEP,
    OK,
    ORDER,
    OUTPUTS,
    READ_BW,
    READS_BACK,
    SHARED_BW,
    SUM_COLUMNS,
    TEMPORAL,
    WIDTH,
    WRITE_BW,
    C,
    P,
    Q,
    R,
    S,
    check,
    count,
    distinct_offsets,
    energy_and_cycles,
)
from accel_models.loopnest.question import ACCESS, relevant
from accel_models.loopnest.spatial import pack
from accel_models.loopnest.uneven import check_uneven, count_uneven, find_uneven

ENERGY, LATENCY, EDP, FRONT = range(4)

SLACK = 1e-12
"""Relative rounding error allowed for between a bound (sums of products of doubles) and the exact figure."""


class Linear(NamedTuple):
    """Energy (pJ) and port cycles as linear functions of the terms, for one split.

    ``energy`` float64 (terms + 1,): pJ per word, last the constant; ``ports`` float64 (ports, terms + 1): cycles per
    word; ``compute`` float64 (1,): compute cycles.
    """

    energy: Any
    ports: Any
    compute: Any


class Best(NamedTuple):
    """What was found so far: one mapping, or a front sorted by ascending cycles, of ``number[0]`` points.

    ``energies``, ``cycles`` float64 (n,); ``mappings`` int32 (n, L, 4, 8); ``tally`` int64 (4,): mappings counted, nodes,
    splits done, order classes looked at.
    """

    energies: Any
    cycles: Any
    mappings: Any
    number: Any
    tally: Any


@kernel
def ports_of(machine):  # type: ignore[no-untyped-def]
    """Finite bandwidths, int64 (n, 2): level and column of `machine`."""
    out, number = np.empty((3 * machine.shape[0], 2), dtype=np.int64), 0
    for level in range(machine.shape[0]):
        for column in (READ_BW, WRITE_BW, SHARED_BW):
            if machine[level, column] < np.inf:
                out[number, 0], out[number, 1] = level, column
                number += 1
    return out[:number].copy()


@kernel
def spread_of(question, tables, split, spread):  # type: ignore[no-untyped-def]
    """Fill `spread` (L, 8) with the spatial factors of a split."""
    spread[:] = 1
    groups = question.groups
    for group in range(groups.shape[0]):
        for level in range(spread.shape[0]):
            for member in range(2):
                if groups[group, member] >= 0:
                    spread[level, groups[group, member]] = tables.signatures[group, split[group], level, member]


@kernel
def add_words(energies, cycles, ports, term, level, write, words, energy):  # type: ignore[no-untyped-def]
    """Count `words` per unit of a term (the last: constant) at a level: each costs `energy`, and its port's time."""
    energies[term] += words * energy
    for port in range(ports.shape[0]):
        column = ports[port, 1]
        if ports[port, 0] == level and (column == SHARED_BW or (column == WRITE_BW) == write):
            cycles[port, term] += words


@kernel
def linearise(question, spread, ports, linear):  # type: ignore[no-untyped-def]
    """Fill `linear` for one split."""
    machine, layer, terms = question.machine, question.layer, question.terms
    energies, cycles = linear.energy, linear.ports
    levels, constant = machine.shape[0], terms.shape[0]
    energies[:] = 0.0
    cycles[:] = 0.0
    macs, outputs, lanes, rounding = 1.0, 1.0, 1.0, 1.0 if question.uneven.any() else 0.0
    for dim in range(8):
        macs *= layer[dim]
        if relevant(OUTPUTS, dim):
            outputs *= layer[dim]
        for level in range(levels):
            lanes *= spread[level, dim]
    linear.compute[0] = np.ceil(macs / lanes * (1.0 - SLACK))
    energies[constant] = macs * question.mac_energy_pj
    term = 0
    for dataspace in range(3):
        child = -1
        for level in range(levels):
            if machine[level, KEEP + dataspace] == 0.0:
                continue
            shared = 1.0
            for between in range(child + 1, level + 1):
                for dim in range(8):
                    if not relevant(dataspace, dim):
                        shared *= spread[between, dim]
            fill, access, amount = constant, constant, macs
            if child >= 0:
                fill, access, amount = term, term, 1.0
                term += 1
            if term < constant and terms[term, 0] == dataspace and terms[term, 1] == child and terms[term, 3] == ACCESS:
                access, amount = term, 1.0
                term += 1
            width, block = machine[level, WIDTH + dataspace], machine[level, BLOCK]
            words = amount * width / shared
            add_words(energies, cycles, ports, access, level, False, words, machine[level, E_READ] / block)
            if dataspace == OUTPUTS:
                add_words(energies, cycles, ports, access, level, True, words, machine[level, E_UPDATE] / block)
                kept = outputs * width
                for outer in range(level + 1, levels):
                    kept *= spread[outer, C] * spread[outer, R] * spread[outer, S]
                if machine[level, READS_BACK] == 0.0:
                    add_words(energies, cycles, ports, constant, level, False, -kept, machine[level, E_READ] / block)
                if level < levels - 1:
                    add_words(energies, cycles, ports, constant, level, True, -kept, machine[level, E_WRITE] / block)
            if child >= 0:
                width, block = machine[child, WIDTH + dataspace], machine[child, BLOCK]
                add_words(energies, cycles, ports, fill, child, True, width, machine[child, E_WRITE] / block)
            child = level
    # Counts of uneven mappings are averages, rounded: by less than a word per instance, dataspace and kind of access.
    for level in range(levels):
        used = rounding
        for outer in range(level + 1, levels):
            for dim in range(8):
                used *= spread[outer, dim]
        each = machine[level, E_READ] + machine[level, E_WRITE] + machine[level, E_UPDATE]
        widest = max(machine[level, WIDTH], machine[level, WIDTH + 1], machine[level, WIDTH + 2])
        energies[constant] -= 3.0 * used * widest * each / machine[level, BLOCK]
        for port in range(ports.shape[0]):
            if ports[port, 0] == level:
                cycles[port, constant] -= 9.0 * used * widest
    for port in range(ports.shape[0]):
        rate = machine[ports[port, 0], ports[port, 1]]
        for outer in range(ports[port, 0] + 1, levels):
            for dim in range(8):
                rate *= spread[outer, dim]
        for column in range(constant + 1):
            cycles[port, column] /= rate


@kernel
def cycles_of(ports, compute, values, scale, row):  # type: ignore[no-untyped-def]
    """Least whole cycles for term values `values[row] * scale[row]`: the slowest of the array and all ports."""
    slowest = compute
    constant = ports.shape[1] - 1
    for port in range(ports.shape[0]):
        cycles = ports[port, constant]
        for term in range(constant):
            cycles += ports[port, term] * values[row, term] * scale[row, term]
        slowest = max(slowest, cycles)
    return np.ceil(slowest * (1.0 - SLACK))


@kernel
def hopeless(objective, energies, cycles, number, energy, latency):  # type: ignore[no-untyped-def]
    """Tell whether nothing of at least so much energy and latency improves on what was found (see `Best`)."""
    if number == 0:
        return False
    above = energy * (1.0 + SLACK)
    if objective == FRONT:
        low, high = 0, number  # the last point with no more cycles has the least energy of those
        while low < high:
            middle = (low + high) // 2
            if cycles[middle] <= latency:
                low = middle + 1
            else:
                high = middle
        return low > 0 and energies[low - 1] <= above
    if objective == EDP:
        return above * latency >= energies[0] * cycles[0]
    if objective == LATENCY:
        return latency > cycles[0] or (latency == cycles[0] and above >= energies[0])
    if energy * (1.0 - SLACK) > energies[0]:
        return True
    return above >= energies[0] and latency >= cycles[0]


@kernel
def improves(objective, best, energy, cycles):  # type: ignore[no-untyped-def]
    """Tell whether an exact figure is better than what was found; ties are broken by the other figure."""
    if best.number[0] == 0:
        return True
    e, c = best.energies[0], best.cycles[0]
    if objective == FRONT:
        better = True
        for point in range(best.number[0]):
            better &= best.cycles[point] > cycles or best.energies[point] > energy
        return better
    if objective == EDP:
        return energy * cycles < e * c
    if objective == LATENCY:
        return cycles < c or (cycles == c and energy < e)
    return energy < e or (energy == e and cycles < c)


@kernel
def remember(objective, best, energy, cycles, mapping):  # type: ignore[no-untyped-def]
    """Take a mapping into `best` (which may have to grow: the new `Best` is returned)."""
    number = best.number[0]
    if objective != FRONT:
        best.energies[0], best.cycles[0], best.mappings[0] = energy, cycles, mapping
        best.number[0] = 1
        return best
    kept = 0
    for point in range(number):  # drop what the new point dominates
        if best.cycles[point] >= cycles and best.energies[point] >= energy:
            continue
        best.energies[kept], best.cycles[kept] = best.energies[point], best.cycles[point]
        best.mappings[kept] = best.mappings[point]
        kept += 1
    if kept == best.energies.shape[0]:
        best = Best(
            np.concatenate((best.energies, best.energies)), np.concatenate((best.cycles, best.cycles)),
            np.concatenate((best.mappings, best.mappings)), best.number, best.tally,
        )  # fmt: skip
    place = kept
    while place > 0 and best.cycles[place - 1] > cycles:
        best.energies[place], best.cycles[place] = best.energies[place - 1], best.cycles[place - 1]
        best.mappings[place] = best.mappings[place - 1]
        place -= 1
    best.energies[place], best.cycles[place], best.mappings[place] = energy, cycles, mapping
    best.number[0] = kept + 1
    return best


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
def energy_limit(objective, energies, cycles, number, compute):  # type: ignore[no-untyped-def]
    """Energy from which on nothing that takes at least `compute` cycles improves on what was found."""
    if number == 0:
        return np.inf
    if objective == FRONT:
        limit = np.inf
        for point in range(number):
            if cycles[point] <= compute:
                limit = energies[point]
        return limit
    if objective == EDP:
        return energies[0] * cycles[0] / compute
    if objective == LATENCY:
        return energies[0] if compute == cycles[0] else np.inf if compute < cycles[0] else 0.0
    return energies[0] * (1.0 + 4.0 * SLACK) if compute < cycles[0] else energies[0]


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
def cheap_bound(question, spread, linear, objective):  # type: ignore[no-untyped-def]
    """Bound the energy of a split by full reuse of everything in time; return it with the compute cycles' bound."""
    terms, layer = question.terms, question.layer
    least = np.ones((1, terms.shape[0]))
    for term in range(terms.shape[0]):
        dataspace, child = terms[term, 0], terms[term, 1]
        value = 1.0
        for dim in range(8):
            if dataspace == INPUTS and P <= dim <= S:
                continue
            if relevant(dataspace, dim):
                value *= layer[dim]
            else:
                for level in range(child + 1, spread.shape[0]):
                    value *= spread[level, dim]
        if dataspace == INPUTS:
            value *= distinct_offsets(layer[P], layer[8], layer[R], layer[10])
            value *= distinct_offsets(layer[Q], layer[9], layer[S], layer[11])
        least[0, term] = value
    energy = linear.energy[terms.shape[0]]
    for term in range(terms.shape[0]):
        energy += linear.energy[term] * least[0, term]
    return energy, cycles_of(linear.ports, linear.compute[0], least, np.ones_like(least), 0)


@kernel
def rank_splits(question, tables, splits, ports, linear, objective):  # type: ignore[no-untyped-def]
    """Return (order, energies, cycles): cheap bounds of all splits, and the splits' order by promise."""
    number = splits.shape[0]
    energies, cycles, keys = np.empty(number), np.empty(number), np.empty(number)
    spread = np.ones((question.machine.shape[0], 8), dtype=np.int64)
    for row in range(number):
        spread_of(question, tables, splits[row], spread)
        linearise(question, spread, ports, linear)
        energies[row], cycles[row] = cheap_bound(question, spread, linear, objective)
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
