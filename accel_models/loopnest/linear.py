"""Energy and port cycles as linear functions of the terms, once it is known how a layer lies in space."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import (
    BLOCK,
    E_READ,
    E_UPDATE,
    E_WRITE,
    INPUTS,
    KEEP,
    OUTPUTS,
    READ_BW,
    READS_BACK,
    SHARED_BW,
    WIDTH,
    WRITE_BW,
    C,
    P,
    Q,
    R,
    S,
    distinct_offsets,
)
from accel_models.loopnest.question import ACCESS, relevant

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
def cheap_bound(question, spread, linear):  # type: ignore[no-untyped-def]
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
