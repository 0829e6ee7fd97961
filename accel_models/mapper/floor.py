"""What a layer costs at least on a machine: a bound that no mapping beats, from the machine alone and in microseconds.

A search over machines asks here first. Most machines are so ill-shaped for a network that their floor is above the cost of
the best one known: they are out without a single mapping.

Three things no mapping escapes: tensors cross DRAM's port once (`base.lower_bound`); an array does no more MACs per cycle
than the factors of the layer's loops fill it with; and each operand of each MAC comes from the innermost memory that keeps
its dataspace, for as many MACs at once as the array between them can share it.
"""

from __future__ import annotations

import math
from functools import lru_cache

from accel_models.accelerator import Accelerator, Axis
from accel_models.mapper.base import lower_bound
from accel_models.plan import MACHINE_COLUMNS, Plan, make_plan
from accel_models.targets.vector_unit import VectorCosts
from accel_models.workload import DATASPACES, DIMS, Layer, Network

_SHARED_ALONG = {"weights": "NPQ", "inputs": "KPQRS", "outputs": "CRS"}
"""Dims along which neighbours can use one element of a dataspace, or add up to it (inputs: those of the window can)."""

_READ, _UPDATE = MACHINE_COLUMNS.index("read_pj"), MACHINE_COLUMNS.index("update_pj")
_BLOCK, _WIDTHS = MACHINE_COLUMNS.index("block_words"), MACHINE_COLUMNS.index("words_per_weight")


def layer_floor(layer: Layer, accelerator: Accelerator) -> tuple[float, float]:
    """Return energy in pJ and latency in cycles that no mapping is below, each for itself.

    True where tensors go through DRAM between layers: not where a level holds them.
    """
    plan = make_plan(layer, accelerator)
    energy = lower_bound(plan, layer, accelerator, "energy") + _operand_energy_pj(plan, layer, accelerator)
    cycles = lower_bound(plan, layer, accelerator, "latency")
    return energy, max(cycles, math.ceil(layer.macs / macs_at_once(layer, accelerator)))


def vector_floor(network: Network, accelerator: Accelerator) -> tuple[float, float]:
    """Return energy in pJ and latency in cycles that the operations of the vector unit cost at least.

    A fused operation may hide behind the layer before it; it is taken to hide wholly.
    """
    vector = VectorCosts(accelerator)
    energy = cycles = 0.0
    for node in network.nodes:
        if not isinstance(node.op, Layer):
            own_cycles, own_pj = vector.of(node.op, math.inf)
            energy, cycles = energy + own_pj, cycles + own_cycles
    return energy, cycles


def macs_at_once(layer: Layer, accelerator: Accelerator) -> int:
    """Return a number of MACs per cycle that no mapping of the layer exceeds."""
    return math.prod(
        _widest(_bounds(layer, axis.dims), axis.size, level.fanout.uneven)
        for level in accelerator.levels
        for axis in (level.fanout.x, level.fanout.y)
    )


@lru_cache(maxsize=100_000)
def _widest(bounds: tuple[int, ...], size: int, uneven: bool) -> int:
    """Return the largest product of divisors of the bounds, or of any factors, that an axis of a size has room for."""
    if uneven or size == 1:
        return min(size, math.prod(bounds))
    products = {1}
    for bound in bounds:
        divisors = [divisor for divisor in range(1, min(bound, size) + 1) if bound % divisor == 0]
        products = {product * divisor for product in products for divisor in divisors if product * divisor <= size}
    return max(products)


def _bounds(layer: Layer, dims: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(layer.dims[DIMS.index(dim)] for dim in dims)


def _operand_energy_pj(plan: Plan, layer: Layer, accelerator: Accelerator) -> float:
    """Return what it takes to feed the MACs from the innermost memories; DRAM's share stands in `lower_bound`."""
    open_ended = {name for level in accelerator.levels for name in level.may_bypass}
    shared = dict.fromkeys(DATASPACES, 1)
    waiting = [name for name in DATASPACES if name not in open_ended]
    energy = 0.0
    for level, row in zip(accelerator.levels[:-1], plan.machine, strict=False):
        for name in waiting:
            shared[name] *= math.prod(_most_shared(layer, axis, name) for axis in (level.fanout.x, level.fanout.y))
            if name in level.keeps:
                words = layer.macs / shared[name] * row[_WIDTHS + DATASPACES.index(name)]
                energy += words / row[_BLOCK] * row[_UPDATE if name == "outputs" else _READ]
        waiting = [name for name in waiting if name not in level.keeps]
    return energy


def _most_shared(layer: Layer, axis: Axis, name: str) -> int:
    dims = tuple(dim for dim in axis.dims if dim in _SHARED_ALONG[name])
    return min(axis.size, math.prod(_bounds(layer, dims)))
