"""Many rows at once, each with its own layer and machine; the arrays are those of `accel_models.loopnest.counts`.

A search asks for many mappings of one pair (`counts.evaluate_batch`); a comparison with recorded results asks for one
mapping of many pairs. One rule of older Timeloops is a switch here and nowhere else: filling a tile of partial sums
from outside on its first visit too, though there is nothing to fetch yet.
"""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.compile import kernel
from accel_models.loopnest.counts import (
    FILLS,
    OK,
    OUTPUTS,
    PARTITION,
    USED,
    check,
    count,
    energy_and_cycles,
)


@kernel
def evaluate_rows(  # type: ignore[no-untyped-def]
    layers, machines, machine_of, first_fills, mac_energy_pj, mappings, bounds, sums,
    counts, used, compute_cycles, energies_pj, cycles, codes,
):  # fmt: skip
    """Evaluate row i: layer `layers[i]` on machine `machines[machine_of[i]]` under mapping `mappings[i]`.

    Nothing is allocated: all that is written comes from the caller. A refused row gets its code and infinite cost.

    Parameters
    ----------
    layers
        int64 (rows, 12).
    machines
        float64 (machines, levels, MACHINE_COLUMNS).
    machine_of
        int64 (rows,): index into `machines`.
    first_fills
        bool (levels,): levels whose tiles of partial sums are filled from outside on the first visit too.
    mac_energy_pj
        Energy of one multiply-accumulate.
    mappings
        int64 (rows, levels, 4, 8).
    bounds, sums
        Scratch of one row: int64 (levels, BOUND_COLUMNS), float64 (levels, SUM_COLUMNS).
    counts
        float64 (rows, levels, 3, COUNT_COLUMNS), result: elements per used instance.
    used
        float64 (rows, levels), result: used instances of each level.
    compute_cycles, energies_pj, cycles
        float64 (rows,), results.
    codes
        int64 (rows,), result: OK or why the mapping is refused.
    """
    for row in range(layers.shape[0]):
        layer, machine = layers[row], machines[machine_of[row]]
        code, _, _ = check(layer, machine, mappings, row, bounds, sums)
        codes[row] = code
        energies_pj[row] = np.inf
        cycles[row] = np.inf
        if code != OK:
            continue
        compute = count(layer, machine, mappings, row, bounds, sums, counts[row])
        macs = 1.0
        for dim in range(8):
            macs *= layer[dim]
        for level in range(machine.shape[0]):
            used[row, level] = sums[level, USED]
            if first_fills[level]:
                counts[row, level, OUTPUTS, FILLS] += sums[level, PARTITION]
        compute_cycles[row] = compute
        energies_pj[row], cycles[row] = energy_and_cycles(machine, mac_energy_pj, macs, sums, counts[row], compute)
