"""Which tensors stay on chip between the operation that makes them and those that read them, and what that saves.

The definition is docs/cost_model.md, "Tensors that stay on chip". Mappings are not looked for again: the mapper does not
know what will stay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from accel_models.accelerator import Accelerator
from accel_models.layer_cost import LayerCost, Traffic, layer_cost
from accel_models.loopnest import counts as kernels
from accel_models.mapper.base import Found
from accel_models.mapping import Mapping
from accel_models.memory_plan import BEFORE, Part, Tensor, lifetimes
from accel_models.plan import make_plan
from accel_models.targets.vector_unit import VectorCosts
from accel_models.workload import DATASPACES, Layer, Network, Node, VectorOp

WEIGHTS, INPUTS, OUTPUTS = range(3)
NOTHING = Fraction(0)


class Shares(NamedTuple):
    """Which part of a node's data stays on chip, 0 to 1: a concatenation of several tensors may stay in part."""

    weights: Fraction = NOTHING
    inputs: Fraction = NOTHING
    outputs: Fraction = NOTHING


@dataclass(frozen=True)
class Residency:
    """What stays on chip during one pass of a network.

    Attributes
    ----------
    level
        The level that holds the tensors.
    tensors
        Those that stay, in order of making; a tensor has the name of the node that makes it.
    shares
        Per node: which part of its data stays.
    cycles, energies_pj
        Per node: what it costs.
    layer_costs
        By node on the MAC array: words, energy and cycles per level, without what staying saves.
    """

    level: str
    tensors: tuple[Tensor, ...]
    shares: tuple[Shares, ...] = field(repr=False)
    cycles: tuple[float, ...] = field(repr=False)
    energies_pj: tuple[float, ...] = field(repr=False)
    layer_costs: Dict[str, LayerCost] = field(repr=False)


def residency(network: Network, accelerator: Accelerator, found: Dict[Layer, Found]) -> Residency | None:
    """Return what stays on chip and what each node then costs; None where no level of the description holds tensors.

    Parameters
    ----------
    found
        The mapping of each layer.
    """
    if accelerator.tensor_level is None:
        return None
    costs = _Costs(network, accelerator, found)
    staying = _choose(costs)
    rows = [row for run in costs.runs for row in costs.of_run(run, staying)]
    return Residency(
        accelerator.levels[costs.place].name,
        tuple(tensor for tensor in costs.tensors if tensor.name in staying),
        tuple(costs.shares(step, staying) for step in range(len(network.nodes))),
        tuple(cycles for cycles, _ in rows),
        tuple(energy for _, energy in rows),
        {
            node.name: costs.layer_cost(node.op, costs.shares(step, staying))
            for step, node in enumerate(network.nodes)
            if isinstance(node.op, Layer)
        },
    )


def resident_layer_cost(cost: LayerCost, accelerator: Accelerator, place: int, shares: Shares) -> LayerCost:
    """Return the cost of a layer when such shares of its tensors are, or stay, in level `place`.

    DRAM is spared their reads and updates, the level is spared being filled with them. What goes in and out on the inner
    side of the level remains.
    """
    if not any(shares):
        return cost
    machine = make_plan(cost.layer, accelerator).machine
    names = [level.name for level in accelerator.levels]
    rows = []
    for row in cost.traffic:
        share = shares[DATASPACES.index(row.dataspace)]
        if share and row.level == names[-1]:
            row = replace(row, reads=_rest(row.reads, share), updates=_rest(row.updates, share))
        elif share and row.level == names[place]:
            row = replace(row, fills=_rest(row.fills, share))
        else:
            rows.append(row)
            continue
        rows.append(replace(row, energy_pj=_energy_pj(row, machine[names.index(row.level)])))
    # never more than before: the same traffic, added up in another order, must not cost a cycle
    cycles = tuple(
        (name, min(before, _cycles(rows, machine, level, name, cost)) if level in (place, len(names) - 1) else before)
        for level, (name, before) in enumerate(cost.level_cycles)
    )
    latency = min(cost.latency_cycles, max(cost.compute_cycles, *(each for _, each in cycles)))
    return replace(
        cost,
        energy_pj=_sum((row.energy_pj for row in rows), cost.mac_energy_pj),
        latency_cycles=latency,
        utilisation=cost.layer.macs / (accelerator.macs_per_cycle * latency),
        traffic=tuple(rows),
        level_cycles=cycles,
    )


def _rest(words: int, share: Fraction) -> int:
    return math.ceil(words * (1 - share))


def _sum(items: object, start: float) -> float:
    total = start
    for item in items:  # type: ignore[attr-defined]
        total += item
    return total


def _energy_pj(row: Traffic, machine: Sequence[float]) -> float:
    """Energy of one level and dataspace, as `loopnest.counts.energy_and_cycles` has it."""
    width, block = machine[kernels.WIDTH + DATASPACES.index(row.dataspace)], machine[kernels.BLOCK]
    each = math.ceil(row.reads * width / block) * machine[kernels.E_READ]
    each += math.ceil(row.fills * width / block) * machine[kernels.E_WRITE]
    each += math.ceil(row.updates * width / block) * machine[kernels.E_UPDATE]
    return float(each * row.used_instances)
