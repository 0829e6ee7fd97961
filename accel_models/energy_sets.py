"""Other people's energies: the same machine with every access and operation charged after another published table.

A result that holds only under `technology.py` is worth little. Each set here takes an accelerator and returns it with
`access_energy_pj`, `mac.energy_pj` and `vector_unit.energy_pj` given; sizes, counts, cycles and areas stay as they are. What
a description itself gives as energies is replaced too; leakage is left alone (no set has a figure for it).

All sets charge in proportion to the bits of an access, so the width of a block plays no part, and know no link between
neighbouring elements. Two of them are relative to one 16-bit multiply-accumulate (MAC): they are brought to pJ with that of
`technology.py` at the machine's node. Ratios between machines of one node, and ranks, do not depend on it.

References
----------
.. [PAT] Timeloop's built-in technology model, github.com/NVlabs/timeloop, ``pat-public/src/pat/pat.cpp``: what Timeloop
   charges where nobody gives it energies. A. Parashar et al., "Timeloop", ISPASS 2019.
.. [E16] Y.-H. Chen, J. Emer, V. Sze, "Eyeriss: a spatial architecture for energy-efficient dataflow for convolutional
   neural networks", ISCA 2016, table IV: 65 nm, relative to a 16-bit MAC. The ranges of sizes: V. Sze et al., "Efficient
   processing of deep neural networks: a tutorial and survey", Proc. IEEE 105(12), 2017.
.. [ERT] Accelergy's table for its Eyeriss-like example at 32 nm, github.com/Accelergy-Project/timeloop-accelergy-exercises,
   ``workspace/example_designs/example_designs/eyeriss_like/ref_outputs/default_problem/timeloop-mapper.ERT_summary.yaml`` with
   the sizes in ``timeloop-mapper.flattened_architecture.yaml`` beside it. Y. N. Wu, J. Emer, V. Sze, "Accelergy", ICCAD 2019.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from accel_models import technology
from accel_models.accelerator import Accelerator, AccessEnergy, MemoryLevel
from accel_models.errors import UnknownNameError, unknown_name


@dataclass(frozen=True, slots=True)
class EnergySet:
    """One published table of energies.

    Parameters
    ----------
    summary
        What it is, in one line.
    apply
        Returns an accelerator with its energies.
    """

    summary: str
    apply: Callable[[Accelerator], Accelerator]


def with_energies(accelerator: Accelerator, name: str) -> Accelerator:
    """Return the accelerator with the energies of a set of :data:`ENERGY_SETS`.

    Raises
    ------
    UnknownNameError
        If no set is called so.
    """
    if name not in ENERGY_SETS:
        raise UnknownNameError(unknown_name("set of energies", name, ENERGY_SETS))
    return ENERGY_SETS[name].apply(accelerator)


def timeloop_table(accelerator: Accelerator) -> Accelerator:
    """Charge as Timeloop does where nobody gives it energies [PAT].

    Per 16 bits, in MACs: a memory of 0.5 KB 1, one of 100 KB 6, on the straight line through both for every size (a
    register 0.97, 8 MiB 415); DRAM 200. A MAC of a x b bits a b / 256; an operation of the vector unit counts as a
    multiplication, which is all that the table has for arithmetic.
    """

    def memory(level: MemoryLevel) -> float:
        return 1 + (6 - 1) / (100 - 0.5) * (level.size_bytes / 1024 - 0.5)

    return _relative(accelerator, memory)


def eyeriss_relative(accelerator: Accelerator) -> Accelerator:
    """Charge by kind of memory alone, as [E16] does to compare dataflows.

    Per 16 bits, in MACs: a register file (0.5 to 1 KB) 1, a buffer (100 to 500 KB) 6, DRAM 200; MACs and vector operations
    as in :func:`timeloop_table`. Where a register file ends the source does not say: here at 10 KiB, the geometric mean
    of 1 and 100. A neighbour costs 2 there; our model has no links between neighbours.
    """
    return _relative(accelerator, lambda level: 1.0 if level.size_bytes <= 10 * 1024 else 6.0)


def accelergy_table(accelerator: Accelerator) -> Accelerator:
    """Charge as Accelergy does for its Eyeriss-like example [ERT]: CACTI for SRAM and DRAM, Aladdin's library for the rest.

    At 32 nm: files of registers of 16-bit words, 12, 16 and 192 of them, and an SRAM of 128 KiB in 64-bit rows; per bit
    linear in logarithms of the size between these points and beyond. A MAC of 8 x 8 bits with a 16-bit sum 0.208 pJ,
    by the product of its widths for others; a vector operation counts as one. Other nodes: `technology.energy_scale`. DRAM is
    LPDDR4, 8 pJ per bit, whatever the description says.
    """
    scale = technology.energy_scale(accelerator.node_nm) / technology.energy_scale(32)

    def memory(level: MemoryLevel) -> tuple[float, float]:
        read, write = (_interpolated(points, level.size_bytes) * scale for points in (_ERT_READ, _ERT_WRITE))
        return read, write

    return _charged(accelerator, memory, 512 / 64, 0.207692 / 64 * scale)


_ERT_READ = ((24, 0.202442 / 16), (32, 0.2513 / 16), (384, 1.976602 / 16), (131072, 18.183829 / 64))
_ERT_WRITE = ((24, 0.176713 / 16), (32, 0.2191 / 16), (384, 1.881657 / 16), (131072, 14.137929 / 64))
"""(Bytes, pJ per bit) of reads and writes in [ERT]: ifmap_spad, psum_spad, weights_spad, shared_glb."""


def _relative(accelerator: Accelerator, memory: Callable[[MemoryLevel], float]) -> Accelerator:
    """Charge in 16-bit MACs per 16 bits: `memory` says how many on the chip, DRAM takes 200."""
    mac_pj = technology.mac(16, 16, accelerator.node_nm).energy_pj

    def pj_per_bit(level: MemoryLevel) -> tuple[float, float]:
        each = memory(level) * mac_pj / 16
        return each, each

    return _charged(accelerator, pj_per_bit, 200 * mac_pj / 16, mac_pj / 256)


def _charged(
    accelerator: Accelerator, pj_per_bit: Callable[[MemoryLevel], tuple[float, float]], dram_pj_per_bit: float,
    mac_pj_per_bit2: float,
) -> Accelerator:  # fmt: skip
    """Return the machine with (read, write) energies per bit on the chip, and those of DRAM and of a MAC per a b bits."""
    levels = []
    for level in accelerator.levels:
        read, write = (dram_pj_per_bit,) * 2 if level.component == "dram" else pj_per_bit(level)
        bits = level.word_bits * level.block_words
        energy = AccessEnergy(read=read * bits, write=write * bits, update=write * bits)
        levels.append(level.model_copy(update={"access_energy_pj": energy}))
    given = accelerator.precision
    weights, inputs, outputs = (given.weights, given.inputs, given.outputs) if given else (16, 16, 16)
    mac = accelerator.mac.model_copy(update={"energy_pj": weights * inputs * mac_pj_per_bit2})
    unit = accelerator.vector_unit.model_copy(update={"energy_pj": outputs**2 * mac_pj_per_bit2})
    return accelerator.model_copy(update={"levels": tuple(levels), "mac": mac, "vector_unit": unit})


def _interpolated(points: tuple[tuple[float, float], ...], x: float) -> float:
    """Return y at `x`, linear in logarithms, the outer slopes going on beyond the points."""
    right = min(max(bisect_right([point[0] for point in points], x), 1), len(points) - 1)
    (x0, y0), (x1, y1) = points[right - 1 : right + 1]
    return y0 * (x / x0) ** (math.log(y1 / y0) / math.log(x1 / x0))


ENERGY_SETS: dict[str, EnergySet] = {
    "timeloop-table": EnergySet("Timeloop's built-in table: memories linear in size, DRAM 200 MACs", timeloop_table),
    "eyeriss-relative": EnergySet("Eyeriss' normalised costs: registers 1, buffer 6, DRAM 200 MACs", eyeriss_relative),
    "accelergy-table": EnergySet("Accelergy's recorded table: CACTI and Aladdin at 32 nm, LPDDR4", accelergy_table),
}
"""The sets, by the name that commands take."""
