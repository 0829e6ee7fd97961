"""What a layer costs at least on a machine: a bound that no mapping beats, from the machine alone and in microseconds.

A search over machines asks here first. Most machines are so ill-shaped for a network that their floor is above the cost of
the best one known: they are out without a single mapping.

Three things no mapping escapes: tensors cross DRAM's port once (`base.lower_bound`); an array does no more MACs per cycle
than the factors of the layer's loops fill it with; and each operand of each MAC comes from the innermost memory that keeps
its dataspace, for as many MACs at once as the array between them can share it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from accel_models.accelerator import Accelerator
from accel_models.mapper.base import roofline_costs
from accel_models.plan import MACHINE_COLUMNS, Plan, make_plan
from accel_models.targets.vector_unit import VectorCosts
from accel_models.workload import DATASPACES, DIMS, Layer, Network

_SHARED_ALONG = {"weights": "NPQ", "inputs": "KPQRS", "outputs": "CRS"}
"""Dims along which neighbours can use one element of a dataspace, or add up to it (inputs: those of the window can)."""

_READ, _UPDATE = MACHINE_COLUMNS.index("read_pj"), MACHINE_COLUMNS.index("update_pj")
_BLOCK, _WIDTHS = MACHINE_COLUMNS.index("block_words"), MACHINE_COLUMNS.index("words_per_weight")

Places = tuple[int, ...]
"""Dims by their places in :data:`DIMS`."""


class Floor:
    """What layers cost at least on one machine.

    True where tensors go through DRAM between layers: not where a level holds them.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        axes = [
            (place, axis, level.fanout.uneven)
            for place, level in enumerate(accelerator.levels)
            for axis in (level.fanout.x, level.fanout.y)
            if axis.size > 1
        ]
        self._axes = [(_places(axis.dims), axis.size, uneven) for _, axis, uneven in axes]
        open_ended = {name for level in accelerator.levels for name in level.may_bypass}
        self._sources: list[tuple[int, int, int, list[tuple[Places, int]]]] = []
        for column, name in enumerate(DATASPACES):
            keepers = [place for place, level in enumerate(accelerator.levels[:-1]) if name in level.keeps]
            if keepers and name not in open_ended:
                sharers = [
                    (_places(dim for dim in axis.dims if dim in _SHARED_ALONG[name]), axis.size)
                    for place, axis, _ in axes
                    if place <= keepers[0]
                ]
                self._sources.append((column, keepers[0], _UPDATE if name == "outputs" else _READ, sharers))
        self._plans: dict[tuple[int | None, ...], Plan] = {}

    def of(self, layer: Layer) -> tuple[float, float]:
        """Return energy in pJ and latency in cycles that no mapping of a layer is below, each for itself."""
        bits = (layer.weight_bits, layer.input_bits, layer.output_bits)
        plan = self._plans.get(bits)
        if plan is None:
            plan = self._plans[bits] = make_plan(layer, self._accelerator)  # only its machine is read
        dims = layer.dims
        energy, cycles = roofline_costs(layer, self._accelerator.macs_per_cycle, plan.machine[-1], plan.mac_energy_pj)
        for column, level, access, sharers in self._sources:
            row = plan.machine[level]
            shared = math.prod(min(size, _product(dims, places)) for places, size in sharers)
            energy += float(layer.macs / shared * row[_WIDTHS + column] / row[_BLOCK] * row[access])
        return energy, max(cycles, math.ceil(layer.macs / self.macs_at_once(layer)))

    def macs_at_once(self, layer: Layer) -> int:
        """Return a number of MACs per cycle that no mapping of a layer exceeds."""
        dims = layer.dims
        return math.prod(
            _widest(tuple(dims[place] for place in places), size, uneven) for places, size, uneven in self._axes
        )

    def of_vector_unit(self, network: Network) -> tuple[float, float]:
        """Return energy in pJ and latency in cycles that a network's operations of the vector unit cost at least.

        A fused operation may hide behind the layer before it; it is taken to hide wholly.
        """
        vector = VectorCosts(self._accelerator)
        energy = cycles = 0.0
        for node in network.nodes:
            if not isinstance(node.op, Layer):
                own_cycles, own_pj = vector.of(node.op, math.inf)
                energy, cycles = energy + own_pj, cycles + own_cycles
        return energy, cycles


@lru_cache(maxsize=100_000)
def _widest(bounds: tuple[int, ...], size: int, uneven: bool) -> int:
    """Return the largest product of divisors of the bounds, or of any factors, that an axis of a size has room for."""
    if uneven:
        return min(size, math.prod(bounds))
    products = {1}
    for bound in bounds:
        divisors = [divisor for divisor in range(1, min(bound, size) + 1) if bound % divisor == 0]
        products = {product * divisor for product in products for divisor in divisors if product * divisor <= size}
    return max(products)


def _product(dims: Sequence[int], places: Places) -> int:
    return math.prod([dims[place] for place in places])


def _places(dims: Iterable[str]) -> Places:
    return tuple(DIMS.index(dim) for dim in dims)
