"""From descriptions to the flat arrays that kernels take: one place, done once per (layer, target)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accel_models import technology
from accel_models.accelerator import Accelerator, MemoryLevel, Precision
from accel_models.workload import DATASPACES, DIMS, Layer

MACHINE_COLUMNS = (
    "capacity", "read_bandwidth", "write_bandwidth", "shared_bandwidth", "read_pj", "write_pj", "update_pj",
    "block_words", "fanout_x", "fanout_y", "reads_back", "keeps_weights", "keeps_inputs", "keeps_outputs",
    "words_per_weight", "words_per_input", "words_per_output",
)  # fmt: skip
"""What the columns of :attr:`Plan.machine` hold, in the order that `loopnest.counts` names by number."""


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
    allowed_x, allowed_y
        bool (levels, 8): dims that may be spread over the children along X and Y.
    mac_energy_pj
        Energy of one multiply-accumulate at the layer's precision.
    """

    layer: NDArray[np.int64]
    machine: NDArray[np.float64]
    allowed_x: NDArray[np.bool_]
    allowed_y: NDArray[np.bool_]
    mac_energy_pj: float

    @property
    def levels(self) -> int:
        """Number of memory levels."""
        return self.machine.shape[0]


def make_plan(layer: Layer, accelerator: Accelerator) -> Plan:
    """Return the flat arrays of one layer on one accelerator."""
    machine, allowed_x, allowed_y, mac_energy_pj = _machine(
        accelerator, layer.weight_bits, layer.input_bits, layer.output_bits
    )
    numbers = (*layer.dims, layer.stride_w, layer.stride_h, layer.dilation_w, layer.dilation_h)
    return Plan(np.array(numbers, dtype=np.int64), machine, allowed_x, allowed_y, mac_energy_pj)


@lru_cache(maxsize=256)
def _machine(
    accelerator: Accelerator, weight_bits: int | None, input_bits: int | None, output_bits: int | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], float]:
    given = accelerator.precision
    native = (given.weights, given.inputs, given.outputs) if given else (None, None, None)
    asked = (weight_bits, input_bits, output_bits)
    bits = tuple(own if wanted is None else wanted for wanted, own in zip(asked, native, strict=True))
    rows = [_level_row(level, accelerator.node_nm, bits) for level in accelerator.levels]
    allowed_x = np.array([[dim in level.fanout.x.dims for dim in DIMS] for level in accelerator.levels])
    allowed_y = np.array([[dim in level.fanout.y.dims for dim in DIMS] for level in accelerator.levels])
    machine = np.array(rows, dtype=np.float64)
    for array in (machine, allowed_x, allowed_y):
        array.setflags(write=False)
    return machine, allowed_x, allowed_y, mac_energy_pj(accelerator, bits[0], bits[1])


def _level_row(level: MemoryLevel, node_nm: float, bits: tuple[int | None, ...]) -> list[float]:
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
