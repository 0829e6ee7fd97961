"""What the vector unit's work costs: pooling, element-wise operations, activations, softmax, data that changes places.

One scalar operation per lane and cycle; operands come from DRAM and results go there, except those that stay on chip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from accel_models import technology
from accel_models.accelerator import Accelerator, MemoryLevel
from accel_models.workload import VectorOp


@dataclass(frozen=True, slots=True)
class _Port:
    """One memory as the vector unit sees it: words per element, pJ per word, words per cycle."""

    words: float
    read_pj: float
    write_pj: float
    read_bw: float
    write_bw: float
    shared_bw: float

    @classmethod
    def of(cls, level: MemoryLevel, accelerator: Accelerator, bits: int) -> _Port:
        energy = level.energy_pj(accelerator.node_nm)
        return cls(
            bits / level.word_bits if accelerator.precision else 1.0,
            energy.read / level.block_words,
            energy.write / level.block_words,
            level.read_bandwidth_words_per_cycle or math.inf,
            level.write_bandwidth_words_per_cycle or math.inf,
            level.shared_bandwidth_words_per_cycle or math.inf,
        )

    def cycles(self, reads: float, writes: float) -> float:
        """Return the cycles that so many words take."""
        return max(reads / self.read_bw, writes / self.write_bw, (reads + writes) / self.shared_bw)


class VectorCosts:
    """Cycles and energy of vector operations on one accelerator, its constants worked out once."""

    def __init__(self, accelerator: Accelerator) -> None:
        dram, unit = accelerator.levels[-1], accelerator.vector_unit
        bits = accelerator.precision.outputs if accelerator.precision else dram.word_bits
        self.lanes = unit.lanes
        estimate = technology.vector_lane(bits, accelerator.node_nm).energy_pj
        self.operation_pj = estimate if unit.energy_pj is None else unit.energy_pj
        self.dram = _Port.of(dram, accelerator, bits)
        place = accelerator.tensor_level
        self.chip = self.dram if place is None else _Port.of(accelerator.levels[place], accelerator, bits)

    def of(self, op: VectorOp, cycles_before: float) -> tuple[float, float]:
        """Return (cycles, pJ) of one operation on tensors in DRAM; a fused one runs beside the node before it."""
        compute = math.ceil(op.operations / self.lanes)
        energy = op.operations * self.operation_pj
        if op.fused:
            return max(0.0, compute - cycles_before), energy
        dram = self.dram
        reads, writes = op.input_elements * dram.words, op.output_elements * dram.words
        transfer = dram.cycles(reads, writes)
        return max(compute, math.ceil(transfer)), energy + reads * dram.read_pj + writes * dram.write_pj

    def of_resident(self, op: VectorOp, inputs: Fraction, outputs: Fraction) -> tuple[float, float]:
        """Return (cycles, pJ) of one operation, not a fused one, that finds and leaves such shares of its data on chip.

        Both memories work at the same time; each takes the words of its share.
        """
        compute = math.ceil(op.operations / self.lanes)
        energy, transfer = op.operations * self.operation_pj, 0.0
        for port, read_share, write_share in ((self.dram, 1 - inputs, 1 - outputs), (self.chip, inputs, outputs)):
            reads = float(op.input_elements * read_share) * port.words
            writes = float(op.output_elements * write_share) * port.words
            transfer = max(transfer, port.cycles(reads, writes))
            energy += reads * port.read_pj + writes * port.write_pj
        return max(compute, math.ceil(transfer)), energy
