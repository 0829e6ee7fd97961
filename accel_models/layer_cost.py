"""The full cost of one mapping: words, energy and cycles per level and dataspace, and their sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from accel_models.accelerator import Accelerator
from accel_models.errors import MappingError
from accel_models.imperfect import count_imperfect, covers
from accel_models.loopnest import counts as kernels
from accel_models.loopnest.uneven import check_uneven
from accel_models.mapping import Mapping
from accel_models.plan import make_plan
from accel_models.workload import DATASPACES, DIMS, Layer

if TYPE_CHECKING:
    import pandas as pd

_COUNTS = (kernels.TILE, kernels.READS, kernels.FILLS, kernels.UPDATES)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one level does for one dataspace. Counts are elements per used instance; energy is that of all of them."""

    level: str
    dataspace: str
    used_instances: int
    tile: int
    reads: int
    fills: int
    updates: int
    energy_pj: float


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer costs under one mapping.

    `energy_pj` is the sum of `mac_energy_pj` and the energies in `traffic`; `latency_cycles` is the largest of
    `compute_cycles` and `level_cycles` (perfect overlap).
    """

    layer: Layer
    mapping: Mapping
    energy_pj: float
    latency_cycles: float
    compute_cycles: float
    utilisation: float
    mac_energy_pj: float
    traffic: tuple[Traffic, ...]
    level_cycles: tuple[tuple[str, float], ...]

    def to_dataframe(self) -> pd.DataFrame:
        """Return the traffic as a table, one row per level and dataspace."""
        import pandas as pd

        return pd.DataFrame([{name: getattr(row, name) for name in Traffic.__slots__} for row in self.traffic])


def layer_cost(layer: Layer, accelerator: Accelerator, mapping: Mapping) -> LayerCost:
    """Return the cost of `layer` on `accelerator` under `mapping`.

    Raises
    ------
    MappingError
        If the mapping has other levels than the accelerator, does not multiply out to the layer, is wider than a
        mesh, or needs more room than a level has: the message names the level, the need and the room.
    """
    names = [level.name for level in accelerator.levels]
    given = [level.level for level in mapping.levels]
    if given != names:
        raise MappingError(f"mapping has levels {given}, {accelerator.name} has {names} (innermost first)")
    try:
        accelerator = accelerator.bypassing(mapping.bypasses)
    except ValueError as error:
        raise MappingError(f"mapping: {error}") from None
    plan, arrays = make_plan(layer, accelerator), mapping.to_array()[None]
    bounds = np.zeros((plan.levels, kernels.BOUND_COLUMNS), dtype=np.int64)
    sums = np.zeros((plan.levels, kernels.SUM_COLUMNS))
    code, place, need = kernels.check(plan.layer, plan.machine, arrays, 0, bounds, sums)
    counts = np.zeros((plan.levels, len(DATASPACES), kernels.COUNT_COLUMNS))
    uneven = code != kernels.OK and covers(plan.layer, arrays[0])
    if uneven:  # tiles end at the layer's edge
        code, place, need = check_uneven(plan.layer, plan.machine, arrays[0], bounds, sums)
    if code != kernels.OK:
        raise MappingError(_refusal(accelerator, layer, code, place, need))
    if uneven:
        compute = count_imperfect(plan, arrays[0], sums, counts)
    else:
        compute = kernels.count(plan.layer, plan.machine, arrays, 0, bounds, sums, counts)
    energy, latency = kernels.energy_and_cycles(
        plan.machine, plan.mac_energy_pj, float(layer.macs), sums, counts, compute
    )
    return LayerCost(
        layer, mapping, energy, latency, compute, layer.macs / (accelerator.macs_per_cycle * latency),
        layer.macs * plan.mac_energy_pj, _traffic(accelerator, sums, counts),
        _level_cycles(plan.machine, names, counts, compute),
    )  # fmt: skip


def _traffic(accelerator: Accelerator, sums: np.ndarray, counts: np.ndarray) -> tuple[Traffic, ...]:
    rows = []
    for level, row, own in zip(accelerator.levels, counts, sums, strict=True):
        for name, figures in zip(DATASPACES, row, strict=True):
            if name in level.keeps:
                tile, reads, fills, updates = (int(figures[column]) for column in _COUNTS)
                used, energy_pj = int(own[kernels.USED]), float(figures[kernels.ENERGY])
                rows.append(Traffic(level.name, name, used, tile, reads, fills, updates, energy_pj))
    return tuple(rows)


def _level_cycles(
    machine: np.ndarray, names: list[str], counts: np.ndarray, compute: float
) -> tuple[tuple[str, float], ...]:
    cycles = []
    for place, (name, row) in enumerate(zip(names, counts, strict=True)):
        read_rate, write_rate = 0.0, 0.0
        for space in range(len(DATASPACES)):
            width = machine[place, kernels.WIDTH + space]
            read_rate += row[space, kernels.READS] * width / compute
            write_rate += (row[space, kernels.FILLS] * width + row[space, kernels.UPDATES] * width) / compute
        cycles.append((name, float(kernels.level_cycles(machine, place, read_rate, write_rate, compute))))
    return tuple(cycles)


def _refusal(accelerator: Accelerator, layer: Layer, code: int, place: int, need: float) -> str:
    if code == kernels.BAD_PRODUCT:
        dim = DIMS[place]
        return f"mapping: the factors of {dim} multiply to {need:.0f}, the layer has {dim} = {layer.dims[place]}"
    level = accelerator.levels[place]
    if code == kernels.TOO_LARGE:
        room = np.floor((level.entries or 0) / level.buffering)
        return f"mapping: level {level.name!r} must hold {need:.0f} words, it has room for {room:.0f}"
    axis, side = ("X", level.fanout.x) if code == kernels.TOO_WIDE_X else ("Y", level.fanout.y)
    return f"mapping: level {level.name!r} spreads over {need:.0f} children along {axis}, it has {side.size}"
