"""Which tensors stay on chip between the operation that makes them and those that read them, and what that saves.

The definition is docs/cost_model.md, "Tensors that stay on chip". Mappings are not looked for again: the mapper does not
know what will stay.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator
from accel_models.layer_cost import LayerCost, Traffic, layer_cost
from accel_models.loopnest import counts as kernels
from accel_models.mapper.base import Found
from accel_models.mapping import Mapping
from accel_models.memory_plan import BEFORE, Tensor, lifetimes
from accel_models.plan import make_plan
from accel_models.targets.vector_unit import VectorCosts
from accel_models.workload import DATASPACES, Layer, Network, Node, VectorOp

WEIGHTS, INPUTS, OUTPUTS = range(3)


class Shares(NamedTuple):
    """Which part of a node's data stays on chip, 0 to 1: a concatenation of several tensors may stay in part."""

    weights: Fraction = Fraction(0)
    inputs: Fraction = Fraction(0)
    outputs: Fraction = Fraction(0)


@dataclass(frozen=True)
class Residency:
    """What stays on chip during one pass of a network.

    Attributes
    ----------
    level
        The level that holds the tensors.
    tensors
        Those that stay, in order of making; a tensor has the name of the node that makes it.
    capacity_words, used_words
        Room in the level, and what tensors and the running layer's tiles take of it at each step.
    shares
        Per node: which part of its data stays.
    costs
        Per node: cycles, and energy in pJ.
    layer_costs
        By node on the MAC array: words, energy and cycles per level, less what staying saves.
    """

    level: str
    tensors: tuple[Tensor, ...]
    capacity_words: int
    used_words: tuple[int, ...] = field(repr=False)
    shares: tuple[Shares, ...] = field(repr=False)
    costs: tuple[tuple[float, float], ...] = field(repr=False)
    layer_costs: Dict[str, LayerCost] = field(repr=False, hash=False)


def residency(network: Network, accelerator: Accelerator, found: Dict[Layer, Found]) -> Residency | None:
    """Return what stays on chip and what each node then costs; None where no level of the description holds tensors.

    Parameters
    ----------
    found
        The mapping of each layer.
    """
    if accelerator.tensor_level is None:
        return None
    case = _Case(network, accelerator, accelerator.tensor_level, found)
    staying = _choose(case)
    steps = range(len(network.nodes))
    shares = tuple(case.shares(step, staying) for step in steps)
    return Residency(
        accelerator.levels[case.place].name,
        tuple(tensor for tensor in case.tensors if tensor.name in staying),
        case.capacity,
        tuple(case.used(step, staying) for step in steps),
        shares,
        tuple(cost for run in case.runs for cost in case.costs(run, staying)),
        {
            node.name: case.layer_cost(node.op, own)
            for node, own in zip(network.nodes, shares, strict=True)
            if isinstance(node.op, Layer)
        },
    )


def _choose(case: _Case) -> frozenset[str]:
    """Return the names of the tensors that stay: in order of making, each that fits and makes nothing dearer or slower."""
    staying: frozenset[str] = frozenset()
    for tensor in case.candidates:
        more = staying | {tensor.name}
        fits = all(case.used(step, more) <= case.capacity for step in range(tensor.first, tensor.last + 1))
        if fits and min(case.saved(tensor, staying)) >= 0:
            staying = more
    return staying


class _Case:
    """One network on one accelerator: what its nodes need and cost for any set of tensors that stay."""

    def __init__(self, network: Network, accelerator: Accelerator, place: int, found: Dict[Layer, Found]) -> None:
        self.accelerator, self.place, self.nodes, self.found = accelerator, place, network.nodes, found
        level = accelerator.levels[place]
        self.capacity = math.floor((level.entries or 0) / level.buffering)
        alive = lifetimes(network)
        self.tensors, self.parts = alive.tensors, alive.parts
        self.out_of_reach: set[str] = set()  # read in the place of weights, which do not pass through the level
        if "weights" not in level.keeps or any(
            "weights" in other.keeps for other in accelerator.levels[place + 1 : -1]
        ):
            operands = [name for node in network.nodes for name in _operands(node)[1]]
            self.out_of_reach.update(part.tensor for name in operands for part in self.parts[name])
        self.vector = VectorCosts(accelerator)
        self.machines = {layer: make_plan(layer, accelerator).machine for layer in network.distinct_layers}
        self.known: dict[tuple[Layer, Shares], LayerCost] = {}
        self.tiles: dict[Layer, tuple[int, ...]] = {}
        self.runs = _runs(self.nodes)
        self.run_of = {step: run for run in self.runs for step in run}
        self.words = {tensor.name: self._words(tensor) for tensor in self.tensors}
        self.candidates = [tensor for tensor in self.tensors if self._may_stay(tensor)]
        self.living: list[list[str]] = [[] for _ in self.nodes]
        for tensor in self.candidates:
            for step in range(tensor.first, tensor.last + 1):
                self.living[step].append(tensor.name)

    def _may_stay(self, tensor: Tensor) -> bool:
        """Tell whether a tensor is made and read on chip only, and reaches all of its readers through the level."""
        inside = tensor.maker != BEFORE and not tensor.is_result and not _is_fused(self.nodes[tensor.maker])
        return inside and tensor.name not in self.out_of_reach

    def _words(self, tensor: Tensor) -> int:
        """Words of the level that a tensor takes: elements as wide as the widest of those who make and read it has them."""
        widths = [self._width(step, WEIGHTS, INPUTS) for step in tensor.readers]
        if tensor.maker != BEFORE:
            widths.append(self._width(tensor.maker, OUTPUTS))
        return math.ceil(tensor.elements * max(widths, default=1.0))

    def _width(self, step: int, *dataspaces: int) -> float:
        op = self.nodes[step].op
        if isinstance(op, VectorOp):
            return self.vector.chip.words
        row = self.machines[op][self.place]
        return max(float(row[kernels.WIDTH + place]) for place in dataspaces if place or op.dynamic_weights)

    def shares(self, step: int, staying: frozenset[str]) -> Shares:
        """Return which part of a node's data stays."""
        node = self.nodes[step]
        if _is_fused(node):
            return Shares()
        inputs, weights = _operands(node)
        return Shares(self._share(weights, staying), self._share(inputs, staying), Fraction(node.name in staying))

    def _share(self, names: Iterable[str], staying: frozenset[str]) -> Fraction:
        parts = [part for name in names for part in self.parts[name]]
        there = sum(part.elements for part in parts if part.tensor in staying)
        return Fraction(there, sum(part.elements for part in parts)) if there else Fraction(0)

    def used(self, step: int, staying: frozenset[str]) -> int:
        """Return the words that tensors which stay and tiles of the running layer take; tiles of the former lie in them."""
        words = sum(self.words[name] for name in self.living[step] if name in staying)
        op = self.nodes[step].op
        if isinstance(op, VectorOp):
            return words
        if op not in self.tiles:
            self.tiles[op] = self._tile_words(op)
        shares = self.shares(step, staying)
        return words + sum(tile for tile, share in zip(self.tiles[op], shares, strict=True) if share < 1)

    def _tile_words(self, layer: Layer) -> tuple[int, ...]:
        """Words that the layer's tiles take in the level, by dataspace (0 where the level does not keep it)."""
        name = self.accelerator.levels[self.place].name
        tiles = {row.dataspace: row.tile for row in self.layer_cost(layer, Shares()).traffic if row.level == name}
        widths = self.machines[layer][self.place, kernels.WIDTH :]
        return tuple(math.ceil(tiles.get(space, 0) * width) for space, width in zip(DATASPACES, widths, strict=True))

    def layer_cost(self, layer: Layer, shares: Shares) -> LayerCost:
        """Return the cost of a layer of which such shares stay."""
        key = (layer, shares)
        if key not in self.known:
            if any(shares):
                whole = self.layer_cost(layer, Shares())
                self.known[key] = _spared_layer(whole, self.accelerator, self.machines[layer], self.place, shares)
            else:
                mapping = Mapping.from_array(self.found[layer].array, self.accelerator)
                self.known[key] = layer_cost(layer, self.accelerator, mapping)
        return self.known[key]

    def costs(self, run: range, staying: frozenset[str]) -> list[tuple[float, float]]:
        """Return (cycles, pJ) of a node and of the fused ones behind it."""
        costs, cycles = [], 0.0
        for step in run:
            op, shares = self.nodes[step].op, self.shares(step, staying)
            if isinstance(op, Layer):
                cost: LayerCost | Found = self.layer_cost(op, shares) if any(shares) else self.found[op]
                cycles, energy = cost.latency_cycles, cost.energy_pj
            elif any(shares):
                cycles, energy = self.vector.of_resident(op, shares.inputs, shares.outputs)
            else:
                cycles, energy = self.vector.of(op, cycles)
            costs.append((cycles, energy))
        return costs

    def saved(self, tensor: Tensor, staying: frozenset[str]) -> tuple[float, float]:
        """Return (cycles, pJ) that are saved where `tensor` stays, too."""
        more = staying | {tensor.name}
        cycles, energy = 0.0, 0.0
        for run in dict.fromkeys(self.run_of[step] for step in (tensor.maker, *tensor.readers)):
            for before, after in zip(self.costs(run, staying), self.costs(run, more), strict=True):
                cycles += before[0] - after[0]
                energy += before[1] - after[1]
        return cycles, energy


def _spared_layer(
    cost: LayerCost, accelerator: Accelerator, machine: NDArray[np.float64], place: int, shares: Shares
) -> LayerCost:
    """Return the cost of a layer of which such shares stay in level `place`.

    DRAM is spared reading and writing them, the level is spared being filled with them; what goes in and out on the
    inner side of the level remains.
    """
    names = [level.name for level in accelerator.levels]
    rows = tuple(
        _spared(row, shares[DATASPACES.index(row.dataspace)], names[place], names[-1], machine[names.index(row.level)])
        for row in cost.traffic
    )
    level_cycles = list(cost.level_cycles)
    for other in (place, len(names) - 1):
        own = [row for row in rows if row.level == names[other]]
        level_cycles[other] = (names[other], _cycles(own, machine, other, cost.compute_cycles))
    latency = max(cost.compute_cycles, *(cycles for _, cycles in level_cycles))
    return replace(
        cost,
        energy_pj=reduce(add, (row.energy_pj for row in rows), cost.mac_energy_pj),
        latency_cycles=latency,
        utilisation=cost.layer.macs / (accelerator.macs_per_cycle * latency),
        traffic=rows,
        level_cycles=tuple(level_cycles),
    )


def _spared(row: Traffic, share: Fraction, holder: str, dram: str, machine: NDArray[np.float64]) -> Traffic:
    """Return the traffic of one level and dataspace of which a share stays in the level called `holder`."""
    if not share or row.level not in (holder, dram):
        return row
    fills = math.ceil(row.fills * (1 - share))
    reads, updates = row.reads, row.updates
    if row.level == dram:
        reads, updates = math.ceil(reads * (1 - share)), math.ceil(updates * (1 - share))
    width, block = machine[kernels.WIDTH + DATASPACES.index(row.dataspace)], machine[kernels.BLOCK]
    energy = math.ceil(reads * width / block) * machine[kernels.E_READ]
    energy += math.ceil(fills * width / block) * machine[kernels.E_WRITE]
    energy += math.ceil(updates * width / block) * machine[kernels.E_UPDATE]
    return replace(row, reads=reads, fills=fills, updates=updates, energy_pj=float(energy * row.used_instances))


def _cycles(rows: Iterable[Traffic], machine: NDArray[np.float64], level: int, compute: float) -> float:
    """Return the cycles that a level needs for its traffic, added up in the order of `loopnest.counts`."""
    read_rate, write_rate = 0.0, 0.0
    for row in rows:
        width = machine[level, kernels.WIDTH + DATASPACES.index(row.dataspace)]
        read_rate += row.reads * width / compute
        write_rate += (row.fills * width + row.updates * width) / compute
    return float(kernels.level_cycles(machine, level, read_rate, write_rate, compute))


def _operands(node: Node) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a node reads as inputs, and in the place of weights: the last operand of a product of activations."""
    if isinstance(node.op, Layer) and node.op.dynamic_weights:
        return node.inputs[:-1] or node.inputs, node.inputs[-1:]
    return node.inputs, ()


def _is_fused(node: Node) -> bool:
    return isinstance(node.op, VectorOp) and node.op.fused


def _runs(nodes: tuple[Node, ...]) -> list[range]:
    """Return the steps in runs: a node with the fused ones right behind it, whose time depends on its own."""
    starts = [step for step, node in enumerate(nodes) if not step or not _is_fused(node)]
    return [range(start, end) for start, end in zip(starts, [*starts[1:], len(nodes)], strict=True)]
