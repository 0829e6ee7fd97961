"""How the exact search begins; `branch.search_splits` carries it on."""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.branch import Best, Linear, ports_of, rank_splits
from accel_models.loopnest.chains import keys_of, new_tables
from accel_models.loopnest.compile import kernel
from accel_models.loopnest.orders import order_classes
from accel_models.loopnest.question import runs_of, take_apart
from accel_models.loopnest.spatial import signatures_of, splits_of


@kernel
def begin(layer, machine, most, fixed, order, uneven, mac_energy_pj, objective, energy, latency):  # type: ignore[no-untyped-def]
    """Return all that one search needs, as a tuple that `search_splits` takes; see the modules named there.

    `energy` (pJ) and `latency` (cycles) are to be improved on; infinite for none.
    """
    question = take_apart(layer, machine, most, fixed, order, uneven, mac_energy_pj)
    runs, run_of_term = runs_of(question)
    spared, halo, ones, perms = order_classes(runs, question.free, order, question.slides)
    keys = keys_of(question, spared, halo, ones)
    signatures, counts = signatures_of(question)
    tables = new_tables(question, signatures, counts, keys, runs.shape[0])
    splits = splits_of(question, signatures, counts)
    ports = ports_of(machine)
    terms = question.terms.shape[0]
    linear = Linear(np.empty(terms + 1), np.empty((ports.shape[0], terms + 1)), np.empty(1))
    ranks, energies, cycles = rank_splits(question, tables, splits, ports, linear, objective)
    room = 1 if objective < 3 else 64
    best = Best(
        np.full(room, np.inf), np.full(room, np.inf), np.ones((room, machine.shape[0], 4, 8), dtype=np.int32),
        np.zeros(1, dtype=np.int64), np.zeros(4, dtype=np.int64),
    )  # fmt: skip
    if energy < np.inf:
        best.energies[0], best.cycles[0], best.number[0] = energy, latency, 1
    return question, runs, run_of_term, tables, perms, splits, ranks, energies, cycles, best
