"""What every mapper is asked and what it answers.

A mapper is a function ``search(plan, objective, effort, seed) -> Found``. It never draws from a global random stream:
the same plan, objective, effort and seed give the same mapping in every process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator, Bypasses
from accel_models.errors import MappingError
from accel_models.mapping import Mapping
from accel_models.plan import MACHINE_COLUMNS, Plan
from accel_models.workload import DATASPACES, Layer

Objective = Literal["energy", "latency", "edp"]
OBJECTIVES: tuple[str, ...] = get_args(Objective)

_CAPACITY = MACHINE_COLUMNS.index("capacity")
_KEEPS = MACHINE_COLUMNS.index("keeps_weights")
_WIDTHS = MACHINE_COLUMNS.index("words_per_weight")
_BLOCK = MACHINE_COLUMNS.index("block_words")
_DRAM_COLUMNS = tuple(
    MACHINE_COLUMNS.index(name)
    for name in ("read_pj", "update_pj", "read_bandwidth", "write_bandwidth", "shared_bandwidth")
)


class Found(NamedTuple):
    """A mapper's raw answer: the kernels' mapping array, its cost, and how many mappings were evaluated.

    `bypasses` says what passes by the levels of `array`, where the accelerator leaves that open. `optimal` says that it
    is proven the best; else `lower_bound` is what the mapper knows that none can beat (0: nothing).
    """

    array: NDArray[np.int32]
    energy_pj: float
    latency_cycles: float
    evaluated: int
    optimal: bool = False
    lower_bound: float = 0.0
    bypasses: Bypasses = ()


@dataclass(frozen=True)
class MappingResult:
    """The best mapping found, and what is known of how good it is.

    Attributes
    ----------
    optimal
        True where it is proven that no legal mapping is better.
    lower_bound
        No legal mapping has an objective below this (same unit as `objective_value`).
    evaluated
        Mappings whose full cost was computed.
    """

    layer: Layer
    objective: str
    mapping: Mapping
    energy_pj: float
    latency_cycles: float
    optimal: bool
    lower_bound: float
    evaluated: int
    seconds: float
    mapper: str

    @property
    def edp(self) -> float:
        """Energy-delay product in pJ x cycles."""
        return self.energy_pj * self.latency_cycles

    @property
    def objective_value(self) -> float:
        """The minimised figure: pJ, cycles or pJ x cycles."""
        return objective_value(self.objective, self.energy_pj, self.latency_cycles)

    def __str__(self) -> str:
        return str(self.mapping)


def objective_value(objective: str, energy_pj: float, latency_cycles: float) -> float:
    """Return what is minimised, in pJ, cycles or pJ x cycles."""
    return {"energy": energy_pj, "latency": latency_cycles, "edp": energy_pj * latency_cycles}[objective]


def refuse_unmappable(plan: Plan, accelerator: Accelerator, layer: Layer) -> None:
    """Raise where a level cannot hold even one element of each dataspace that it keeps."""
    for row, level in zip(plan.machine, accelerator.levels, strict=True):
        need = sum(math.ceil(row[_WIDTHS + i]) for i in range(3) if row[_KEEPS + i])
        if need > row[_CAPACITY]:
            raise MappingError(
                f"{accelerator.name}: layer {layer} cannot be mapped: level {level.name!r} has room for "
                f"{row[_CAPACITY]:.0f} words, one element of each kept dataspace ({', '.join(level.keeps)}) needs {need}"
            )


def lower_bound(plan: Plan, layer: Layer, accelerator: Accelerator, objective: str) -> float:
    """Return what no mapping can beat: every MAC done, every tensor moved once over DRAM's port.

    This is the roofline's bound; a mapper with a proof knows a tighter one.
    """
    return objective_value(
        objective, *roofline_costs(layer, accelerator.macs_per_cycle, plan.machine[-1], plan.mac_energy_pj)
    )


def roofline_costs(
    layer: Layer, macs_per_cycle: int, dram: NDArray[np.float64], mac_energy_pj: float
) -> tuple[float, float]:
    """Return energy in pJ and latency in cycles of that bound; `dram` is a plan's row of the outermost level."""
    read_pj, update_pj, read, write, shared = (float(dram[place]) for place in _DRAM_COLUMNS)
    widths = dram[_WIDTHS : _WIDTHS + len(DATASPACES)].tolist()
    reads = layer.weight_elements * widths[0] + touched_inputs(layer) * widths[1]
    writes = layer.output_elements * widths[2]
    energy = layer.macs * mac_energy_pj + (reads * read_pj + writes * update_pj) / float(dram[_BLOCK])
    cycles = max(math.ceil(layer.macs / macs_per_cycle), reads / read, writes / write, (reads + writes) / shared)
    return energy, cycles


def touched_inputs(layer: Layer) -> int:
    """Input elements that some MAC reads (a stride beyond the kernel leaves holes)."""
    columns = _distinct(layer.P, layer.stride_w, layer.R, layer.dilation_w)
    rows = _distinct(layer.Q, layer.stride_h, layer.S, layer.dilation_h)
    return layer.G * layer.N * layer.C * columns * rows


def _distinct(count_a: int, step_a: int, count_b: int, step_b: int) -> int:
    """Number of different values of i * step_a + j * step_b for i < count_a, j < count_b.

    Pairs of one value form a chain whose links lead `lag_a` up in i and `lag_b` down in j; all pairs less all links.
    """
    common = math.gcd(step_a, step_b)
    lag_a, lag_b = step_b // common, step_a // common
    return count_a * count_b - max(0, count_a - lag_a) * max(0, count_b - lag_b)
