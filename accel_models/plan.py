"""From descriptions to the flat arrays that kernels take: one place, done once per (layer, target)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accel_models import technology
from accel_models.accelerator import Accelerator, LoopRules, MemoryLevel, Precision
from accel_models.errors import WorkloadError
from accel_models.workload import DATASPACES, DIMS, Layer

MACHINE_COLUMNS = (
    "capacity", "read_bandwidth", "write_bandwidth", "shared_bandwidth", "read_pj", "write_pj", "update_pj",
    "block_words", "fanout_x", "fanout_y", "reads_back", "keeps_weights", "keeps_inputs", "keeps_outputs",
    "words_per_weight", "words_per_input", "words_per_output",
)  # fmt: skip
"""What the columns of :attr:`Plan.machine` hold, in the order that `loopnest.counts` names by number."""

EXACT = 2**53
"""Largest count that a double holds exactly."""


UNBOUNDED = 2**62
"""The largest factor where a description sets none."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A (layer, accelerator) pair as the kernels see it.

    Attributes
    ----------
    layer
        int64 (12,): bounds of N K C P Q R S G, stride_w, stride_h, dilation_w, dilation_h.
    machine
        float64 (levels, 17): one row per level, columns :data:`MACHINE_COLUMNS`; energies in pJ per block access,
        bandwidths in words per cycle and instance, unlimited = infinity.
    most, fixed
        int64 (levels, 3, 8): the largest factor that a temporal, X or Y loop may have, and the one it must have (0: any).
    order
        int64 (levels, 8): the dims whose temporal loops are innermost, innermost first, then -1.
    uneven
        bool (levels,): whether mappers may spread loops over a level's children in factors that do not divide.
    mac_energy_pj
        Energy of one multiply-accumulate at the layer's precision.
    """

    layer: NDArray[np.int64]
    machine: NDArray[np.float64]
    most: NDArray[np.int64]
    fixed: NDArray[np.int64]
    order: NDArray[np.int64]
    uneven: NDArray[np.bool_]
    mac_energy_pj: float

    @property
    def levels(self) -> int:
        """Number of memory levels."""
        return self.machine.shape[0]


def make_plan(layer: Layer, accelerator: Accelerator) -> Plan:
    """Return the flat arrays of one layer on one accelerator.

    Raises
    ------
    WorkloadError
        If the layer is too large for the kernels, which count in doubles.
    """
    largest = max(layer.macs, layer.weight_elements, layer.input_elements, layer.output_elements)
    if largest > EXACT:
        raise WorkloadError(f"layer {layer} is too large: more than 2**53 multiply-accumulates or elements of a tensor")
    machine, mac_energy_pj = _machine(accelerator, layer.weight_bits, layer.input_bits, layer.output_bits)
    most, fixed, order = _rules(accelerator)
    numbers = (*layer.dims, layer.stride_w, layer.stride_h, layer.dilation_w, layer.dilation_h)
    uneven = np.array([level.fanout.uneven for level in accelerator.levels])
    return Plan(np.array(numbers, dtype=np.int64), machine, most, fixed, order, uneven, mac_energy_pj)


@lru_cache(maxsize=256)
def _machine(
    accelerator: Accelerator, weight_bits: int | None, input_bits: int | None, output_bits: int | None
) -> tuple[NDArray[np.float64], float]:
    given = accelerator.precision
    native = (given.weights, given.inputs, given.outputs) if given else (None, None, None)
    asked = (weight_bits, input_bits, output_bits)
    bits = tuple(own if wanted is None else wanted for wanted, own in zip(asked, native, strict=True))
    rows = [_level_row(level, accelerator.node_nm, bits) for level in accelerator.levels]
    machine = np.array(rows, dtype=np.float64)
    machine.setflags(write=False)
    return machine, mac_energy_pj(accelerator, bits[0], bits[1])


@lru_cache(maxsize=256)
def _rules(accelerator: Accelerator) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    levels = accelerator.levels
    sides = [(level.temporal, level.fanout.x, level.fanout.y) for level in levels]
    most = np.array([[_most(rules) for rules in level] for level in sides], dtype=np.int64)
    fixed = np.array([[_fixed(rules) for rules in level] for level in sides], dtype=np.int64)
    order = np.full((len(levels), len(DIMS)), -1, dtype=np.int64)
    for row, level in zip(order, levels, strict=True):
        row[: len(level.temporal.order)] = [DIMS.index(dim) for dim in level.temporal.order]
    for array in (most, fixed, order):
        array.setflags(write=False)
    return most, fixed, order


def _most(rules: LoopRules) -> list[int]:
    bounded = {str(dim): factor for dim, factor in rules.max_factors.items()}
    return [bounded.get(dim, UNBOUNDED) if dim in rules.dims else 1 for dim in DIMS]


def _fixed(rules: LoopRules) -> list[int]:
    given = {str(dim): factor for dim, factor in rules.factors.items()}
    return [given.get(dim, 0) for dim in DIMS]


def _level_row(level: MemoryLevel, node_nm: float, bits: tuple[int | None, ...]) -> list[float]:
    weights, inputs, outputs = bits
    bits = (weights, inputs, level.partial_sum_bits or outputs)
    energy = level.energy_pj(node_nm)
    capacity = math.inf if level.entries is None else float(math.floor(level.entries / level.buffering))
    bandwidths = [
        math.inf if words is None else words
        for words in (
            level.read_bandwidth_words_per_cycle,
            level.write_bandwidth_words_per_cycle,
            level.shared_bandwidth_words_per_cycle,
        )
    ]
    return [
        capacity, *bandwidths, energy.read, energy.write, energy.update, level.block_words,
        level.fanout.x.size, level.fanout.y.size, level.reads_back_first_update,
        *(name in level.keeps for name in DATASPACES),
        *(1.0 if width is None else width / level.word_bits for width in bits),
    ]  # fmt: skip


def mac_energy_pj(accelerator: Accelerator, weight_bits: int | None, input_bits: int | None) -> float:
    """Energy of one multiply-accumulate: as the description gives it, else estimated for widths and node."""
    if accelerator.mac.energy_pj is not None:
        return accelerator.mac.energy_pj
    default = Precision(weights=16, inputs=16, outputs=16)
    return technology.mac(weight_bits or default.weights, input_bits or default.inputs, accelerator.node_nm).energy_pj
