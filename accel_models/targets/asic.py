"""The cost of a network on an accelerator: the best mapping of each layer, and the vector unit's work between them.

Layers run one after the other, batch 1. Tensors between layers go through DRAM. An activation right behind a layer is
applied to the outputs on their way out: it moves no data and takes time only where the vector unit is slower than the
array.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, MutableMapping

from accel_models import technology
from accel_models.accelerator import Accelerator
from accel_models.mapper.base import Found
from accel_models.mapper.best import find
from accel_models.mapping import Mapping
from accel_models.targets.cost import NetworkCost, NodeCost, NodeTable
from accel_models.workload import Layer, Network, Node, VectorOp

Cache = MutableMapping[Layer, Found]
"""Best mappings of layers on *one* accelerator, for one objective, mapper, effort and seed."""


def evaluate(
    network: Network,
    accelerator: Accelerator,
    *,
    objective: str = "edp",
    mapper: str = "random",
    effort: int = 1000,
    seed: int = 0,
    cache: Cache | None = None,
) -> NetworkCost:
    """Return what one pass of `network` costs on `accelerator`, each layer at the best mapping found for it.

    Parameters
    ----------
    objective, mapper, effort, seed
        How mappings are looked for; see :func:`accel_models.best_mapping`.
    cache
        Mappings already known for this accelerator and these options; new ones are added.

    Raises
    ------
    MappingError
        If a layer cannot be mapped at all.
    """
    cache = {} if cache is None else cache
    find_mappings((layer for _, layer in network.layers), accelerator, cache, objective, mapper, effort, seed)
    rows = NodeTable(_row(*cost, accelerator, cache) for cost in _costs(network.nodes, accelerator, cache))
    latency_s, energy_j = totals(network, accelerator, cache)
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
    )


def find_mappings(
    layers: Iterable[Layer], accelerator: Accelerator, cache: Cache, objective: str, mapper: str, effort: int, seed: int
) -> None:
    """Add to `cache` the best mapping of every layer that it lacks."""
    for layer in layers:
        if layer not in cache:
            cache[layer] = find(layer, accelerator, objective, mapper, effort, seed)


def totals(network: Network, accelerator: Accelerator, cache: Cache) -> tuple[float, float]:
    """Return (latency in s, energy in J) of a network whose mappings are all in `cache`: the sums alone."""
    cycles, energy = 0.0, 0.0
    for _, each_cycles, each_pj in _costs(network.nodes, accelerator, cache):
        cycles += each_cycles
        energy += each_pj
    return cycles / (accelerator.clock_mhz * 1e6), energy * 1e-12


def _costs(nodes: Iterable[Node], accelerator: Accelerator, cache: Cache) -> Iterator[tuple[Node, float, float]]:
    vector = _VectorCosts(accelerator)
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
    mapping = Mapping.from_array(cache[node.op].array, accelerator)
    return NodeCost(node.name, node.op.kind, node.op.macs, cycles, energy_pj, busy, node.op, mapping)


class _VectorCosts:
    """Cycles and energy of vector operations on one accelerator, its constants worked out once."""

    def __init__(self, accelerator: Accelerator) -> None:
        dram, unit = accelerator.levels[-1], accelerator.vector_unit
        bits = accelerator.precision.outputs if accelerator.precision else dram.word_bits
        energy = dram.energy_pj(accelerator.node_nm)
        self.lanes = unit.lanes
        estimate = technology.vector_lane(bits, accelerator.node_nm).energy_pj
        self.operation_pj = estimate if unit.energy_pj is None else unit.energy_pj
        words = bits / dram.word_bits if accelerator.precision else 1.0
        self.words = words
        self.read_pj, self.write_pj = energy.read / dram.block_words, energy.write / dram.block_words
        self.read_bw = dram.read_bandwidth_words_per_cycle or math.inf
        self.write_bw = dram.write_bandwidth_words_per_cycle or math.inf
        self.shared_bw = dram.shared_bandwidth_words_per_cycle or math.inf

    def of(self, op: VectorOp, cycles_before: float) -> tuple[float, float]:
        """Return (cycles, pJ) of one operation; a fused one runs beside the node before it."""
        compute = math.ceil(op.operations / self.lanes)
        energy = op.operations * self.operation_pj
        if op.fused:
            return max(0.0, compute - cycles_before), energy
        reads, writes = op.input_elements * self.words, op.output_elements * self.words
        transfer = max(reads / self.read_bw, writes / self.write_bw, (reads + writes) / self.shared_bw)
        return max(compute, math.ceil(transfer)), energy + reads * self.read_pj + writes * self.write_pj
