"""Many mappings of one layer at once, on as many cores as are wanted; the result does not depend on how many."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_models.loopnest.counts import evaluate_batch
from accel_models.plan import Plan


class Costs(NamedTuple):
    """Costs of n mappings, each array (n,): pJ, cycles, and `loopnest.counts`' code (0: legal; else infinite cost)."""

    energy_pj: NDArray[np.float64]
    latency_cycles: NDArray[np.float64]
    code: NDArray[np.int64]


def evaluate_mappings(plan: Plan, mappings: NDArray[np.int32], threads: int = 1) -> Costs:
    """Return the cost of every mapping.

    Parameters
    ----------
    mappings
        int32 (n, levels, 4, 8); see `accel_models.mapping.Mapping.to_array`.
    threads
        Cores to use; each takes a share of the rows (the kernel releases the interpreter lock).
    """
    count = len(mappings)
    costs = Costs(np.empty(count), np.empty(count), np.empty(count, dtype=np.int64))

    def share(thread: int) -> None:
        part = slice(count * thread // threads, count * (thread + 1) // threads)
        evaluate_batch(
            plan.layer, plan.machine, plan.mac_energy_pj, mappings[part], *(column[part] for column in costs)
        )

    if threads == 1:
        share(0)
    else:
        list(_pool(threads).map(share, range(threads)))
    return costs


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay: new ones would start on one core and wait to be moved for longer than the work takes."""
    return ThreadPoolExecutor(threads)
