"""Every network of a small space on one machine: where all can be counted, the front needs no structure to be exact.

A census is taken of a space once: which operations each network is made of. On a machine every distinct operation is then
costed once, and the costs of all networks are one product of a sparse matrix and a vector. Nothing is asked of who says how
accurate the networks are, nor of the objectives and limits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator
from accel_models.workload import Layer, Network, VectorOp
from cosearch.accuracy.quantisation import narrowest_bits
from cosearch.estimates import Estimate, Estimators
from cosearch.evaluate import MappingOptions
from cosearch.network_front import NetworkFront
from cosearch.objective import OBJECTIVES, Limit
from cosearch.space import Genomes, NetworkSpace
from cosearch.stage_program import front_rows

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MOST_NETWORKS = 50_000
"""Most networks of a space that are counted."""

_MOST_GENOMES = 1_000_000
"""Most combinations of choices that are looked through for different networks."""

Chain = tuple[Layer | VectorOp, ...]
"""An operation, and before it those that it is fused with: what its cost depends on."""


@dataclass(frozen=True, eq=False)
class Census:
    """Every network of a space.

    Attributes
    ----------
    genomes
        int64 (n, knobs), canonical, each different.
    chains
        The distinct operations (m) of all networks.
    counts
        Sparse (n, m): how often a network has each of them.
    macs, params
        float64 (n,), whole numbers.
    """

    genomes: Genomes
    chains: tuple[Chain, ...]
    counts: csr_array
    macs: NDArray[np.float64]
    params: NDArray[np.float64]

    def costs(self, accelerator: Accelerator, mapping: MappingOptions, threads: int) -> tuple[NDArray[np.float64], ...]:
        """Return latency in s and energy in J, (n,) each, on a machine that keeps no tensors between operations.

        Raises
        ------
        MappingError
            If a layer cannot be mapped at all.
        """
        from accel_models.targets import asic
        from accel_models.targets.vector_unit import VectorCosts

        cache: asic.Cache = {}
        layers = dict.fromkeys(op for chain in self.chains for op in chain if isinstance(op, Layer))
        options = (mapping.objective, mapping.mapper, mapping.effort, mapping.seed, threads)
        asic.find_mappings(layers, accelerator, cache, *options)
        vector, rows = VectorCosts(accelerator), np.empty((len(self.chains), 2))
        for row, chain in zip(rows, self.chains, strict=True):
            cycles = 0.0
            for op in chain:
                if isinstance(op, Layer):
                    cycles, energy_pj = cache[op].latency_cycles, cache[op].energy_pj
                else:
                    cycles, energy_pj = vector.of(op, cycles)
            row[:] = cycles, energy_pj
        cycles_of, energy_of = (self.counts @ rows).T
        latency_s, energy_j = asic.in_si_units(cycles_of, energy_of, accelerator)
        return latency_s, energy_j


def countable(space: NetworkSpace) -> bool:
    """Tell whether a census can be taken of a space."""
    return 0 < space.size <= MOST_NETWORKS and prod(space.choices_per_knob.tolist()) <= _MOST_GENOMES


@lru_cache(maxsize=1)
def take_census(space: NetworkSpace) -> Census:
    """Return the census of a space (of the object: spaces do not change)."""
    from scipy.sparse import csr_array

    genomes = space.every_genome()
    columns: dict[Chain, int] = {}
    data: list[int] = []
    indices: list[int] = []
    starts, sizes = [0], []
    for genome in genomes:
        network = space.network(genome)
        counts = Counter(_chains(network))
        indices += [columns.setdefault(chain, len(columns)) for chain in counts]
        data += counts.values()
        starts.append(len(indices))
        sizes.append((network.macs, network.params))
    matrix = csr_array((np.array(data, dtype=np.float64), indices, starts), shape=(len(genomes), len(columns)))
    macs, params = np.array(sizes, dtype=np.float64).T
    return Census(genomes, tuple(columns), matrix, macs, params)


def _chains(network: Network) -> list[Chain]:
    chains: list[Chain] = []
    for node in network.nodes:
        fused = isinstance(node.op, VectorOp) and node.op.fused and chains
        chains.append((*chains[-1], node.op) if fused else (node.op,))
    return chains


def census_front(
    space: NetworkSpace,
    accelerator: Accelerator,
    mapping: MappingOptions,
    estimators: Estimators,
    metrics: Sequence[str],
    limits: Sequence[Limit],
    threads: int = 1,
) -> NetworkFront:
    """Return the front of all networks of a small space on a machine, best in the first metric first.

    If no network keeps the limits, the one row is that which breaks them least, summed over the limits and in relation to
    their bounds. Area is the machine's alone: limits on it are not the networks' affair.

    Raises
    ------
    MappingError
        If a layer cannot be mapped at all.
    """
    census = take_census(space)
    latency_s, energy_j = census.costs(accelerator, mapping, threads)
    bits = narrowest_bits(accelerator)
    known = [estimate.on(bits) for estimate in _judged(space, estimators)]
    figures = {name: np.array([one[name] for one in known]) for name in known[0]} | {
        "latency_s": latency_s, "energy_j": energy_j, "edp_js": latency_s * energy_j, "macs": census.macs,
        "params": census.params, "area_mm2": np.full(len(known), accelerator.area_mm2),
    }  # fmt: skip
    excess = np.zeros(len(known))
    for limit in limits:
        if limit.metric != "area_mm2":
            excess += np.maximum(limit.violations(figures[limit.metric]), 0.0)
    rows = np.flatnonzero(excess <= 0)
    if len(rows):
        best = {objective.metric for objective in OBJECTIVES.values() if objective.maximise}
        values = np.stack([figures[name][rows] * (-1.0 if name in best else 1.0) for name in metrics], axis=1)
        kept = front_rows(values)
        rows = rows[kept[np.lexsort((kept, *values[kept].T[::-1]))]]
    else:
        rows = np.array([excess.argmin()])
    columns = [figures[name] for name in ("top1_percent", "latency_s", "energy_j", "macs", "params")]
    return NetworkFront(census.genomes[rows], *(column[rows] for column in columns))


@lru_cache(maxsize=1)
def _judged(space: NetworkSpace, estimators: Estimators) -> tuple[Estimate, ...]:
    return tuple(estimators.judge(space.numbers(take_census(space).genomes)))
