"""Rooflines: how fast a layer or a network could run for the bytes it moves, and how fast it does.

The abscissa is operational intensity, multiply-accumulates per byte of DRAM traffic (two operations each where one counts
a multiplication and an addition). Traffic is counted from the mapping that is used; the *compulsory* traffic, every
operand once, bounds the intensity that any mapping can reach. A level's roof is intensity times bandwidth; that of the
array is its peak. Levels on the chip have roofs too: each with the intensity of its own traffic.

A level's bandwidth is that of all its instances together: the shared port's, and no more than read and write ports can
carry at once. So no mapping is above a roof: a level whose ports are busy for all of the time carries no more than that.
The vector unit's work is in the network's own point (its time and its bytes); an activation fused to a layer moves no
bytes and can only add time. So the law holds there as well. Tensors that stay on chip between operations are no DRAM
traffic, neither counted nor compulsory: a layer that finds and leaves all of its data there has infinite intensity.

References
----------
S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for multicore
architectures", CACM 52(4), 2009.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from accel_models.accelerator import Accelerator, MemoryLevel
from accel_models.layer_cost import LayerCost, layer_cost
from accel_models.mapper.base import touched_inputs
from accel_models.mapping import Mapping
from accel_models.plan import MACHINE_COLUMNS, make_plan
from accel_models.targets.cost import NetworkCost
from accel_models.targets.residency import Shares
from accel_models.workload import DATASPACES, Layer, Network, VectorOp

if TYPE_CHECKING:
    import pandas as pd

COMPUTE = "compute"
"""What limits a layer whose latency is the product of its temporal loops: no level's bandwidth does."""

VECTOR_UNIT = "vector unit"
"""What limits a network that spends most of its time on vector operations."""

_WIDTHS = MACHINE_COLUMNS.index("words_per_weight")


@dataclass(frozen=True, slots=True)
class Roof:
    """Bandwidth of all instances of one level together, in bytes per second; infinite where it is unlimited."""

    level: str
    bandwidth_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class RooflinePoint:
    """One layer, or a whole network, under its roofs.

    Attributes
    ----------
    macs
        Multiply-accumulates.
    latency_s
        Time it takes, and `time_share`, its part of the network's time (0 to 1).
    traffic_bytes
        Bytes read and written per level, all instances together, innermost level first; DRAM is the last.
    compulsory_bytes
        Least DRAM traffic of any mapping: every weight and touched input read once, every output written once, but for
        what stays on chip.
    attainable_macs_per_s
        The lower of peak and DRAM's roof at the intensity of the traffic; `bound_macs_per_s` at that of the
        compulsory traffic.
    limited_by
        What sets the latency: a level whose bandwidth does, or :data:`COMPUTE`. For a network, what limits it for most
        of its time, which may be the :data:`VECTOR_UNIT`.
    """

    name: str
    kind: str
    macs: int
    latency_s: float
    time_share: float
    traffic_bytes: tuple[tuple[str, float], ...]
    compulsory_bytes: float
    attainable_macs_per_s: float
    bound_macs_per_s: float
    limited_by: str

    @property
    def dram_bytes(self) -> float:
        """DRAM traffic in bytes."""
        return self.traffic_bytes[-1][1]

    @property
    def intensity_macs_per_byte(self) -> float:
        """Operational intensity: multiply-accumulates per byte of DRAM traffic (infinite where there is none)."""
        return _per_byte(self.macs, self.dram_bytes)

    @property
    def intensity_operations_per_byte(self) -> float:
        """The same in operations, two per multiply-accumulate."""
        return 2 * self.intensity_macs_per_byte

    @property
    def compulsory_intensity_macs_per_byte(self) -> float:
        """Intensity of the compulsory traffic: no mapping has a higher one."""
        return _per_byte(self.macs, self.compulsory_bytes)

    @property
    def achieved_macs_per_s(self) -> float:
        """Multiply-accumulates per second of the latency."""
        return self.macs / self.latency_s

    def intensity_at(self, level: str) -> float:
        """Multiply-accumulates per byte that all instances of `level` move (infinite where it moves none)."""
        return _per_byte(self.macs, dict(self.traffic_bytes)[level])


def _per_byte(macs: int, moved_bytes: float) -> float:
    return macs / moved_bytes if moved_bytes else math.inf


@dataclass(frozen=True)
class Roofline:
    """A network's layers under the roofs of a target.

    Attributes
    ----------
    peak_macs_per_s
        Multiply-accumulate units times clock.
    roofs
        One per level, innermost first; the last is DRAM's.
    points
        The layers that run on the array, in order.
    whole
        The network itself, the vector unit's time and bytes included.
    vector_latency_s, vector_bytes
        The vector unit's part of the network's time and DRAM traffic.
    """

    network: str
    target: str
    peak_macs_per_s: float
    roofs: tuple[Roof, ...]
    points: tuple[RooflinePoint, ...]
    whole: RooflinePoint
    vector_latency_s: float = 0.0
    vector_bytes: float = 0.0

    @property
    def dram(self) -> Roof:
        """DRAM's roof."""
        return self.roofs[-1]

    @property
    def ridge_macs_per_byte(self) -> float:
        """Intensity from which DRAM no longer limits: 0 where its bandwidth is unlimited."""
        return self.peak_macs_per_s / self.dram.bandwidth_bytes_per_s

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per layer and a last one for the network, units in the names."""
        import pandas as pd

        return pd.DataFrame([point_row(point) for point in (*self.points, self.whole)])


def point_row(point: RooflinePoint) -> dict[str, str | int | float]:
    """Return the figures of a point by name, units in the names."""
    return {
        "name": point.name,
        "kind": point.kind,
        "macs": point.macs,
        "dram_bytes": point.dram_bytes,
        "compulsory_bytes": point.compulsory_bytes,
        "intensity_macs_per_byte": point.intensity_macs_per_byte,
        "intensity_operations_per_byte": point.intensity_operations_per_byte,
        "compulsory_intensity_macs_per_byte": point.compulsory_intensity_macs_per_byte,
        "attainable_macs_per_s": point.attainable_macs_per_s,
        "achieved_macs_per_s": point.achieved_macs_per_s,
        "latency_s": point.latency_s,
        "time_share": point.time_share,
        "limited_by": point.limited_by,
    }


def layer_roofline(layer: Layer, accelerator: Accelerator, mapping: Mapping, name: str = "layer") -> Roofline:
    """Return the roofline of one mapped layer: the layer is the whole network.

    Raises
    ------
    MappingError
        If the mapping is not legal.
    """
    cost = layer_cost(layer, accelerator, mapping)
    point = _layer_point(name, cost, accelerator, cost.latency_cycles / _hertz(accelerator), Shares())
    return Roofline(name, accelerator.name, _peak(accelerator), roofs(accelerator), (point,), point)


def network_roofline(network: Network, accelerator: Accelerator, cost: NetworkCost) -> Roofline:
    """Return the roofline of a network on the accelerator that `cost` was evaluated on.

    Parameters
    ----------
    cost
        What :meth:`Accelerator.evaluate` returned for this network: its mappings and times are used.
    """
    stays = cost.residency
    costs: dict[Layer, LayerCost] = {}
    points, vector_s, vector_traffic = [], 0.0, dict.fromkeys((level.name for level in accelerator.levels), 0.0)
    for step, (node, row) in enumerate(zip(network.nodes, cost.operations, strict=True)):
        shares = stays.shares[step] if stays else Shares()
        if isinstance(node.op, VectorOp):
            vector_s += row.latency_cycles / _hertz(accelerator)
            for level, moved in _vector_bytes(node.op, accelerator, shares).items():
                vector_traffic[level] += moved
            continue
        if stays is None and node.op not in costs and row.mapping is not None:
            costs[node.op] = layer_cost(node.op, accelerator, row.mapping)
        own = stays.layer_costs[node.name] if stays else costs[node.op]
        points.append(_layer_point(node.name, own, accelerator, cost.latency_s, shares))
    return Roofline(
        network.name, accelerator.name, _peak(accelerator), roofs(accelerator), tuple(points),
        _whole(network.name, points, accelerator, cost.latency_s, vector_s, vector_traffic),
        vector_s, vector_traffic[accelerator.levels[-1].name],
    )  # fmt: skip


def roofs(accelerator: Accelerator) -> tuple[Roof, ...]:
    """Return the roof of each level, innermost first."""
    return tuple(
        Roof(level.name, _port_words(level) * count * level.word_bits / 8 * _hertz(accelerator))
        for level, count in zip(accelerator.levels, accelerator.instances, strict=True)
    )


def _port_words(level: MemoryLevel) -> float:
    """Words that one instance can read and write together in one cycle."""
    read, write, shared = (
        math.inf if words is None else words
        for words in (
            level.read_bandwidth_words_per_cycle,
            level.write_bandwidth_words_per_cycle,
            level.shared_bandwidth_words_per_cycle,
        )
    )
    return min(shared, read + write)


def _hertz(accelerator: Accelerator) -> float:
    return accelerator.clock_mhz * 1e6


def _peak(accelerator: Accelerator) -> float:
    return accelerator.macs_per_cycle * _hertz(accelerator)


def _vector_bytes(op: VectorOp, accelerator: Accelerator, shares: Shares) -> dict[str, float]:
    """Return the bytes that an operation of the vector unit reads and writes, by level; a fused one moves none.

    Its elements are outputs, at the target's own precision.
    """
    if op.fused:
        return {}
    dram = accelerator.levels[-1]
    bits = accelerator.precision.outputs if accelerator.precision else dram.word_bits
    on_chip = float(op.input_elements * shares.inputs + op.output_elements * shares.outputs)
    moved = {dram.name: (op.input_elements + op.output_elements - on_chip) * bits / 8}
    if accelerator.tensor_level is not None:
        holder = accelerator.levels[accelerator.tensor_level]
        moved[holder.name] = on_chip * (bits if accelerator.precision else holder.word_bits) / 8
    return moved


def _attainable(accelerator: Accelerator, macs: int, moved_bytes: float) -> float:
    return min(_peak(accelerator), _per_byte(macs, moved_bytes) * roofs(accelerator)[-1].bandwidth_bytes_per_s)


def _layer_point(
    name: str, cost: LayerCost, accelerator: Accelerator, whole_latency_s: float, shares: Shares
) -> RooflinePoint:
    layer, latency_s = cost.layer, cost.latency_cycles / _hertz(accelerator)
    traffic = _level_bytes(cost, accelerator)
    compulsory = _compulsory_bytes(layer, accelerator, shares)
    slowest, cycles = max(cost.level_cycles, key=lambda item: item[1])
    return RooflinePoint(
        name, layer.kind, layer.macs, latency_s, latency_s / whole_latency_s, traffic, compulsory,
        _attainable(accelerator, layer.macs, traffic[-1][1]), _attainable(accelerator, layer.macs, compulsory),
        slowest if cycles > cost.compute_cycles else COMPUTE,
    )  # fmt: skip


def _compulsory_bytes(layer: Layer, accelerator: Accelerator, shares: Shares) -> float:
    """Return the bytes of every operand once, less the shares that stay on chip."""
    words = make_plan(layer, accelerator).machine[-1, _WIDTHS : _WIDTHS + len(DATASPACES)]
    elements = (layer.weight_elements, touched_inputs(layer), layer.output_elements)
    crossing = [float(count * (1 - share)) for count, share in zip(elements, shares, strict=True)]
    return float(np.array(crossing) @ words) * accelerator.levels[-1].word_bits / 8


def _level_bytes(cost: LayerCost, accelerator: Accelerator) -> tuple[tuple[str, float], ...]:
    """Bytes that all used instances of each level read and write."""
    machine = make_plan(cost.layer, accelerator).machine
    moved = {level.name: 0.0 for level in accelerator.levels}
    words_per_element = {
        (level.name, name): float(row[_WIDTHS + place]) * level.word_bits / 8
        for level, row in zip(accelerator.levels, machine, strict=True)
        for place, name in enumerate(DATASPACES)
    }
    for row in cost.traffic:
        accesses = row.reads + row.fills + row.updates
        moved[row.level] += accesses * words_per_element[row.level, row.dataspace] * row.used_instances
    return tuple(moved.items())


def _whole(
    name: str, points: Sequence[RooflinePoint], accelerator: Accelerator, latency_s: float, vector_s: float,
    vector_traffic: dict[str, float],
) -> RooflinePoint:  # fmt: skip
    macs, dram = sum(point.macs for point in points), accelerator.levels[-1].name
    moved, limits = dict(vector_traffic), defaultdict(float, {VECTOR_UNIT: vector_s})
    compulsory = vector_traffic[dram] + sum(point.compulsory_bytes for point in points)
    for point in points:
        limits[point.limited_by] += point.latency_s
        for level, level_bytes in point.traffic_bytes:
            moved[level] += level_bytes
    return RooflinePoint(
        name, "network", macs, latency_s, 1.0, tuple(moved.items()), compulsory,
        _attainable(accelerator, macs, moved[dram]), _attainable(accelerator, macs, compulsory),
        max(limits, key=lambda limit: limits[limit]),
    )  # fmt: skip
