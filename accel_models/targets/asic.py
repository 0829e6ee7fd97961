"""The cost of a network on an accelerator: the best mapping of each layer, and the vector unit's work between them.

Layers run one after the other, batch 1. Tensors between layers go through DRAM unless a level of the description holds
tensors (`residency.py`). An activation right behind a layer is applied to the outputs on their way out: it moves no data
and takes time only where the vector unit is slower than the array.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator
from accel_models.mapper.base import Found
from accel_models.mapper.table import map_layers
from accel_models.mapping import Mapping
from accel_models.targets.cost import NetworkCost, NodeCost, NodeTable
from accel_models.targets.residency import Residency, residency
from accel_models.targets.vector_unit import VectorCosts
from accel_models.workload import Layer, Network, Node, VectorOp

Amount = TypeVar("Amount", float, NDArray[np.float64])
"""One figure, or an array of them."""

Cache = MutableMapping[Layer, Found]
"""Best mappings of layers on *one* accelerator, for one objective, mapper, effort and seed."""


def evaluate(
    network: Network,
    accelerator: Accelerator,
    *,
    objective: str = "edp",
    mapper: str = "exact",
    effort: int = 1000,
    seed: int = 0,
    cache: Cache | None = None,
    threads: int = 1,
) -> NetworkCost:
    """Return what one pass of `network` costs on `accelerator`, each layer at the best mapping found for it.

    Parameters
    ----------
    objective, mapper, effort, seed
        How mappings are looked for; see :func:`accel_models.best_mapping`.
    cache
        Mappings already known for this accelerator and these options; new ones are added.
    threads
        Cores that look for mappings; the result does not depend on it.

    Raises
    ------
    MappingError
        If a layer cannot be mapped at all.
    """
    cache = {} if cache is None else cache
    find_mappings(network.distinct_layers, accelerator, cache, objective, mapper, effort, seed, threads)
    stays = residency(network, accelerator, cache)
    costs = list(_costs(network, accelerator, cache, stays))
    rows = NodeTable(_row(*cost, accelerator, cache) for cost in costs)
    latency_s, energy_j = _sums(costs, accelerator)
    return NetworkCost(
        network.name,
        accelerator.name,
        latency_s,
        energy_j,
        accelerator.area_mm2,
        network.macs,
        network.params,
        NodeTable(row for row in rows if row.layer is not None),
        rows,
        tuple((name, power_mw * 1e-3 * latency_s) for name, power_mw in accelerator.leakage_breakdown_mw),
        stays,
    )


def find_mappings(
    layers: Iterable[Layer], accelerator: Accelerator, cache: Cache, objective: str, mapper: str, effort: int, seed: int,
    threads: int = 1,
) -> None:  # fmt: skip
    """Add to `cache` the best mapping of every layer that it lacks; see :func:`accel_models.map_layers`."""
    missing = [layer for layer in layers if layer not in cache]
    cache.update(map_layers(missing, accelerator, objective, mapper=mapper, effort=effort, seed=seed, threads=threads))


def totals(network: Network, accelerator: Accelerator, cache: Cache) -> tuple[float, float]:
    """Return (latency in s, energy in J) of a network whose mappings are all in `cache`: the sums alone."""
    return _sums(_costs(network, accelerator, cache, residency(network, accelerator, cache)), accelerator)


def _sums(costs: Iterable[tuple[Node, float, float]], accelerator: Accelerator) -> tuple[float, float]:
    cycles, energy = 0.0, 0.0
    for _, each_cycles, each_pj in costs:
        cycles += each_cycles
        energy += each_pj
    return in_si_units(cycles, energy, accelerator)


def in_si_units(cycles: Amount, energy_pj: Amount, accelerator: Accelerator) -> tuple[Amount, Amount]:
    """Return latency in s and energy in J, leakage included, of so many cycles and so much dynamic energy in pJ."""
    latency_s = cycles / (accelerator.clock_mhz * 1e6)
    leakage_j = sum(power_mw * 1e-3 * latency_s for _, power_mw in accelerator.leakage_breakdown_mw)
    return latency_s, energy_pj * 1e-12 + leakage_j


def _costs(
    network: Network, accelerator: Accelerator, cache: Cache, stays: Residency | None
) -> Iterator[tuple[Node, float, float]]:
    """Yield what each node costs, in cycles and pJ."""
    if stays is not None:
        yield from ((node, *cost) for node, cost in zip(network.nodes, stays.costs, strict=True))
        return
    yield from costs_through_dram(network.nodes, VectorCosts(accelerator), cache)


def costs_through_dram(nodes: Iterable[Node], vector: VectorCosts, cache: Cache) -> Iterator[tuple[Node, float, float]]:
    """Yield what each node costs, in cycles and pJ, where tensors between layers go through DRAM.

    A fused operation depends on the node before it, nothing else on any other: what begins without one costs the same
    wherever it stands.
    """
    cycles = 0.0
    for node in nodes:
        if isinstance(node.op, Layer):
            found = cache[node.op]
            cycles, energy = found.latency_cycles, found.energy_pj
        else:
            cycles, energy = vector.of(node.op, cycles)
        yield node, cycles, energy


def _row(node: Node, cycles: float, energy_pj: float, accelerator: Accelerator, cache: Cache) -> NodeCost:
    if isinstance(node.op, VectorOp):
        return NodeCost(node.name, node.op.kind, 0, cycles, energy_pj, 0.0)
    busy = node.op.macs / (accelerator.macs_per_cycle * cycles)
    found = cache[node.op]
    mapping = Mapping.from_array(found.array, accelerator, found.bypasses)
    return NodeCost(node.name, node.op.kind, node.op.macs, cycles, energy_pj, busy, node.op, mapping)
