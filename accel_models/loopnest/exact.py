"""The exact search in one call: what `accel_models.mapper.exact` asks for.

It fills arrays that it is given and returns a number: to make anything else numba calls Python code, where Ctrl-C would
end in a crash.
"""

from __future__ import annotations

import numpy as np

from accel_models.loopnest.best import ENERGY, FRONT, LATENCY, Best
from accel_models.loopnest.branch import rank_splits, search_splits
from accel_models.loopnest.compile import kernel
from accel_models.loopnest.linear import Linear, ports_of
from accel_models.loopnest.orders import order_classes
from accel_models.loopnest.question import runs_of, take_apart
from accel_models.loopnest.spatial import signatures_of, splits_of
from accel_models.loopnest.tables import keys_of, new_tables


@kernel
def solve(  # type: ignore[no-untyped-def]
    layer, machine, most, fixed, order, uneven, mac_energy_pj, objective, energy, latency, node_limit, energies_pj,
    cycles, mappings, facts,
):  # fmt: skip
    """Search all mappings, or until about `node_limit` nodes were seen; return how many points there are.

    `energy` (pJ) and `latency` (cycles) are to be improved on; infinite for none. Filled are, as far as there is room,

    energies_pj, cycles, mappings
        The best mapping, or the front's points, cycles ascending; none where nothing is legal. A single answer equal to
        what was to be improved on comes with a mapping of ones.
    facts
        float64 (3,): mappings whose full cost was computed; 1 where something is left to search; what nothing left can
        beat, in the objective's unit.
    """
    question = take_apart(layer, machine, most, fixed, order, uneven, mac_energy_pj)
    runs, run_of_term = runs_of(question)
    spared, halo, ones, perms = order_classes(runs, question.free, order, question.slides)
    keys = keys_of(question, spared, halo, ones)
    signatures, counts = signatures_of(question)
    tables = new_tables(question, signatures, counts, keys, runs.shape[0])
    splits = splits_of(question, signatures, counts)
    ports, terms = ports_of(machine), question.terms.shape[0]
    linear = Linear(np.empty(terms + 1), np.empty((ports.shape[0], terms + 1)), np.empty(1))
    ranks, least_energy, least_cycles = rank_splits(question, tables, splits, ports, linear, objective)
    room = 64 if objective == FRONT else 1
    best = Best(
        np.full(room, np.inf), np.full(room, np.inf), np.ones((room, machine.shape[0], 4, 8), dtype=np.int32),
        np.zeros(1, dtype=np.int64), np.zeros(4, dtype=np.int64),
    )  # fmt: skip
    if energy < np.inf:
        best.energies[0], best.cycles[0], best.number[0] = energy, latency, 1
    tables, best, place = search_splits(
        question, runs, run_of_term, tables, perms, splits, ranks, least_energy, least_cycles, 0, objective, best, node_limit
    )  # fmt: skip
    bound = np.inf
    for row in ranks[place:]:
        value = least_energy[row] * least_cycles[row]
        if objective == ENERGY:
            value = least_energy[row]
        elif objective == LATENCY:
            value = least_cycles[row]
        bound = min(bound, value)
    facts[0], facts[1], facts[2] = best.tally[0], place < ranks.shape[0], bound * (1.0 - 1e-12)
    for row in range(min(best.number[0], energies_pj.shape[0])):
        energies_pj[row], cycles[row], mappings[row] = best.energies[row], best.cycles[row], best.mappings[row]
    return best.number[0]
