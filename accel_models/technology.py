"""Energy and area of components by size, width, ports, operand bits and technology node.

Every estimate is a published 45 nm point, or a curve through published points, times a factor for the node. None of it
is a sign-off number: between published sources for "the same" component a factor of two is usual. What is trusted is
the order of components and the trend with size, width and node: more bytes, bits, ports or nanometres always cost more.

What is left out: leakage, clock trees, control, and the wires between components (see :func:`wire_pj_per_bit_mm`).

References
----------
.. [H14] M. Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014. 45 nm, 0.9 V.
.. [D15] W. Dally, "High-performance hardware for machine learning", NIPS 2015 tutorial: [H14] with areas (TSMC 45 nm
   synthesis); reprinted in V. Sze et al., "Efficient processing of deep neural networks", Proc. IEEE 2017.
.. [SB17] A. Stillmaker, B. Baas, "Scaling equations for the accurate prediction of CMOS device performance from 180 nm
   to 7 nm", Integration 58, 2017: the table of areas, and table 5 with the polynomials of energy.
.. [J21] N. Jouppi et al., "Ten lessons from three generations shaped Google's TPUv4i", ISCA 2021, table 2.
.. [E16] Y.-H. Chen, J. Emer, V. Sze, "Eyeriss: a spatial architecture for energy-efficient dataflow for convolutional
   neural networks", ISCA 2016, table IV: energy relative to a 16-bit MAC, commercial 65 nm.
.. [A14] Y. S. Shao et al., "Aladdin", ISCA 2014: 40 nm component tables, as Accelergy's library ships them.
.. [K11] S. Keckler et al., "GPUs and the future of parallel computing", IEEE Micro 31(5), 2011, table 1.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

NumberKind = Literal["int", "float"]
DramType = Literal["ddr3", "lpddr4", "hbm2"]

MINIMUM_NODE_NM, MAXIMUM_NODE_NM = 7, 180
"""Range of nodes that the scaling tables cover."""

Curve = Mapping[float, float]
"""Published points, x ascending; see :func:`_interpolate`."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Energy of one access of the full width, in pJ, and area of the whole instance, in um2."""

    read_pj: float
    write_pj: float
    area_um2: float


@dataclass(frozen=True)
class UnitEstimate:
    """Energy of one operation, in pJ, and area of one unit, in um2."""

    energy_pj: float
    area_um2: float


# Technology node

_AREA_BY_NODE: Curve = {
    7: 0.059, 10: 0.10, 14: 0.17, 16: 0.19, 20: 0.21, 32: 0.46, 45: 1.0, 65: 1.5, 90: 2.8, 130: 6.4, 180: 19.0,
}  # fmt: skip
"""Area relative to 45 nm: [SB17]. Published 6T cells agree: 65 nm 0.525 um2, 45 nm 0.346, 28 nm 0.127, 16 nm
0.07 and 7 nm 0.027 are 1.52, 1, 0.37, 0.20 and 0.08 of the 45 nm cell; the table says 1.5, 1, 0.37, 0.19 and 0.06."""

_ENERGY_POLYNOMIALS: Mapping[int, tuple[float, float, float, float]] = {
    7: (0.1776, -0.09097, 0.02447, 0.70),
    10: (0.2068, -0.09311, 0.02375, 0.75),
    14: (0.2363, -0.09675, 0.02239, 0.80),
    16: (0.2958, -0.1241, 0.03024, 0.85),
    20: (0.373, -0.1582, 0.04104, 0.90),
    32: (0.8367, -0.4341, 0.1701, 0.90),
    45: (1.018, -0.3107, 0.1539, 1.00),
    65: (3.755, -4.398, 1.975, 1.10),
    90: (4.762, -4.781, 2.092, 1.20),
    130: (7.171, -6.709, 2.904, 1.30),
    180: (0.0, 24.64, -17.98, 1.80),
}
"""Node -> a2, a1, a0 of energy = a2 V^2 + a1 V + a0 ([SB17], table 5, high-performance devices) and V, the nominal
supply of that node in the predictive technology models (ptm.asu.edu)."""

_GAIN_45_TO_7 = 2.6
"""Energy at 45 nm over energy at 7 nm, geometric mean over adders, multipliers and SRAM: [J21], table 2."""


def _device_energy(node: int) -> float:
    a2, a1, a0, volts = _ENERGY_POLYNOMIALS[node]
    return a2 * volts**2 + a1 * volts + a0


def _energy_by_node() -> Curve:
    whole = _device_energy(45)
    exponent = math.log(_GAIN_45_TO_7) / math.log(whole / _device_energy(7))
    relative = {node: _device_energy(node) / whole for node in _ENERGY_POLYNOMIALS}
    return {node: ratio if node >= 45 else ratio**exponent for node, ratio in relative.items()}


_ENERGY_BY_NODE: Curve = _energy_by_node()


def energy_scale(node_nm: float) -> float:
    """Return energy relative to 45 nm.

    Above 45 nm this is the ratio of the [SB17] polynomials at nominal supply (65 nm: 1.95). Those equations are of bare
    inverters; below 45 nm, where wires no longer shrink with devices, they promise a gain of 18 at 7 nm where [J21]
    finds 2.6 (2.1 to 4.3 for arithmetic, 1.3 to 7.1 for SRAM). So there the ratio is raised to the power 0.33 that
    meets 2.6 at 7 nm: the shape between is [SB17]'s, the size [J21]'s. 28 nm 0.75, 16 nm 0.55, 7 nm 0.38. Linear in
    logarithms between the nodes of the table.

    Raises
    ------
    ValueError
        Outside 7..180 nm.
    """
    return _interpolate(_ENERGY_BY_NODE, _checked_node(node_nm))


def area_scale(node_nm: float) -> float:
    """Return area relative to 45 nm: the table of [SB17], linear in logarithms between its nodes.

    Raises
    ------
    ValueError
        Outside 7..180 nm.
    """
    return _interpolate(_AREA_BY_NODE, _checked_node(node_nm))


# Arithmetic, 45 nm

_ADD_PJ: Mapping[NumberKind, Curve] = {
    "int": {8: 0.03, 16: 0.05, 32: 0.1},  # 8 and 32 bit [H14], 16 bit [D15]
    "float": {16: 0.4, 32: 0.9},  # [H14]
}
_ADD_UM2: Mapping[NumberKind, Curve] = {
    "int": {8: 36, 16: 67, 32: 137},  # [D15]
    "float": {16: 1360, 32: 4184},  # [D15]
}
_MULTIPLY_PJ: Mapping[NumberKind, Curve] = {
    "int": {8: 0.2, 32: 3.1},  # [H14]
    "float": {16: 1.1, 32: 3.7},  # [H14]
}
_MULTIPLY_UM2: Mapping[NumberKind, Curve] = {
    "int": {8: 282, 32: 3495},  # [D15]
    "float": {16: 1640, 32: 7700},  # [D15]
}

_GUARD_BITS = 8
"""An accumulator is the product's width plus so many bits: 24 for 8 x 8 bits, as in Simba (Shao et al., MICRO 2019)."""


def adder(bits: float, node_nm: float, kind: NumberKind = "int") -> UnitEstimate:
    """Return one addition and its adder.

    Fitted to [H14] and [D15] at 45 nm: 8, 16 and 32 bit integers, 16 and 32 bit floats; error 0 at those points, power
    laws between and beyond. Not fitted: at 7 nm it gives 1.65 (int8) and 1.28 (int32) times [J21].
    """
    return _unit(_ADD_PJ[kind], _ADD_UM2[kind], bits, node_nm)


def multiply(bits: float, node_nm: float, kind: NumberKind = "int") -> UnitEstimate:
    """Return one multiplication of two operands of `bits` and its multiplier.

    Fitted to [H14] and [D15] at 45 nm: 8 and 32 bit integers, 16 and 32 bit floats; error 0 at those points. Between
    them integers follow bits^1.98 (energy) and bits^1.82 (area). Not fitted: at 7 nm it gives 1.10 (int8), 0.81
    (int32), 1.24 (fp16) and 1.09 (fp32) times [J21].
    """
    return _unit(_MULTIPLY_PJ[kind], _MULTIPLY_UM2[kind], bits, node_nm)


def mac(weight_bits: float, input_bits: float, node_nm: float) -> UnitEstimate:
    """Return one integer multiply-accumulate: a multiplication, and an addition into the accumulator.

    Operands of unequal width count as their geometric mean: an array multiplier has one cell per pair of bits. Its
    pipeline registers are not in it.
    """
    product = multiply(math.sqrt(weight_bits * input_bits), node_nm)
    total = adder(weight_bits + input_bits + _GUARD_BITS, node_nm)
    return UnitEstimate(product.energy_pj + total.energy_pj, product.area_um2 + total.area_um2)


def vector_lane(bits: float, node_nm: float) -> UnitEstimate:
    """Return one lane of a vector unit: a multiplier and an adder, both of `bits`.

    One operation is charged as a multiplication and an addition: an upper bound for additions and comparisons.
    """
    product, total = multiply(bits, node_nm), adder(bits, node_nm)
    return UnitEstimate(product.energy_pj + total.energy_pj, product.area_um2 + total.area_um2)


# Memories, 45 nm

_SRAM_PJ_PER_64_BITS: Curve = {8 * 1024: 10.0, 32 * 1024: 20.0, 1024 * 1024: 100.0}
"""Bytes -> pJ of one 64-bit access: [H14]."""

_SRAM_FIXED_BITS = 8
"""Part of an access that does not depend on the width (decoder, word line), in bits of width. Lies between [D15], where
32 bits of 8 KB cost half of 64 bits (here 0.56), and Accelergy's CACTI plug-in, where 16 bits cost 0.65 of 32 bits
(here 0.60)."""

_SRAM_UM2_PER_BIT = 1.05
"""A 0.346 um2 cell (Intel, IEDM 2007) at 33 % array efficiency, as published accelerators have it; brought to 45 nm:
ShiDianNao (65 nm) 64 KB 1.41, 128 KB 1.04, 32 KB 0.78; Gemmini (22 nm) 256 KB 1.05; NVDLA (28 nm, slope between its
configurations) 0.95; TPUv1 (28 nm) 24 MB 1.30. CACTI gives 0.4."""

_SRAM_UM2_PER_WIDTH_BIT = 12.0
"""Sense amplifier, write driver and output register of one column: about two flip-flops. Our assumption."""

_SRAM_UM2_PER_ROOT_BIT = 1.3
"""Decoder and word line drivers along one edge: meets the 3490 um2 of [A14]'s 192 x 16 bit scratchpad."""

_REGISTER_PJ_PER_BIT = 0.009
"""Clocking one bit of a register in and out: [A14], 40 nm."""

_REGISTER_PJ_PER_STORED_BIT = 1.88e-4
"""Read multiplexer and write select: such that 512 bytes read 16 bits wide cost one 16-bit MAC, as in [E16]."""

_REGISTER_UM2_PER_BIT = 4.52
"""A flip-flop: DFF_X1 of the NanGate 45 nm open cell library."""

_REGISTER_UM2_PER_BIT_AND_PORT = 1.46
"""A bit's share of one read multiplexer: with the flip-flop, [A14]'s 5.98 um2."""

_PITCH_PER_PORT = 0.4
"""What a further port adds to the pitch of a cell in each direction (a word line one way, bit lines the other): a cell
with two ports is about twice as large. Our assumption, after the usual ratio of dual-port to single-port cells."""

_DRAM_PJ_PER_BIT: Mapping[DramType, float] = {
    "ddr3": 1300 / 64,  # [H14] 1.3 to 2.6 nJ per 64 bits; [D15] 640 pJ per 32 bits; [J21] 1300 pJ per 64 bits
    "lpddr4": 8.0,  # Accelergy's CACTI plug-in ("public data")
    "hbm2": 3.9,  # M. O'Connor et al., MICRO 2017: 3.92; [J21] 3.9 to 7.0
}


def register_file(size_bytes: float, width_bits: float, node_nm: float, ports: int = 1) -> MemoryEstimate:
    """Return a file of flip-flops with a write port and `ports` read multiplexers.

    Energy at 45 nm = width * 0.009 pJ + stored bits * 0.000188 pJ, fitted to [A14]'s register and to one point of
    [E16]; error 0 at both. Not fitted: Accelergy's Eyeriss (45 nm) has 0.20 pJ for 12 and 0.25 pJ for 16 words of 16
    bits, here 0.18 and 0.19. Beyond some 512 bytes real designs use an `sram` instead, and so should a description.
    Area is the flip-flops and multiplexers of [A14], error 0, plus an output register.

    Parameters
    ----------
    size_bytes
        Capacity in bytes.
    width_bits
        Bits moved by one access.
    node_nm
        Technology node in nm, 7..180.
    ports
        Read ports.

    Raises
    ------
    ValueError
        If a size is not positive or the node is outside 7..180 nm.
    """
    bits = _checked_bits(size_bytes, width_bits, ports)
    energy = width_bits * _REGISTER_PJ_PER_BIT + bits * _REGISTER_PJ_PER_STORED_BIT
    energy *= _pitch(ports) * energy_scale(node_nm)
    cell = _REGISTER_UM2_PER_BIT + _REGISTER_UM2_PER_BIT_AND_PORT * ports
    area = (bits * cell + width_bits * ports * _REGISTER_UM2_PER_BIT) * area_scale(node_nm)
    return MemoryEstimate(energy, energy, area)


def sram(size_bytes: float, width_bits: float, node_nm: float, ports: int = 1) -> MemoryEstimate:
    """Return an SRAM macro with `ports` read-write ports.

    Energy is fitted to [H14] at 45 nm (64 bits of 8 KB, 32 KB and 1 MB: 10, 20 and 100 pJ; error 0), power laws between
    and beyond (size^0.5, size^0.46). Reads and writes cost the same: CACTI has either dearer by a quarter, depending on
    the organisation. Not fitted: a 512 byte scratchpad read 16 bits wide costs 0.91 of a 16-bit MAC, in [E16] 1.0;
    CACTI 7 at 45 nm gives half of this for 64 and 128 KB in banks; the points that [H14] has as 10, 20 and 100 pJ are
    7.5, 8.5 and 14 pJ in [J21] at 7 nm, here 3.8, 7.7 and 38.

    Area is fitted to published accelerators (see `_SRAM_UM2_PER_BIT`): each met within -26 % and +34 %, their geometric
    mean within 3 %.

    Parameters
    ----------
    size_bytes
        Capacity in bytes.
    width_bits
        Bits moved by one access.
    node_nm
        Technology node in nm, 7..180.
    ports
        Read-write ports.

    Raises
    ------
    ValueError
        If a size is not positive or the node is outside 7..180 nm.
    """
    bits = _checked_bits(size_bytes, width_bits, ports)
    share = (width_bits + _SRAM_FIXED_BITS) / (64 + _SRAM_FIXED_BITS)
    energy = _interpolate(_SRAM_PJ_PER_64_BITS, size_bytes) * share * _pitch(ports) * energy_scale(node_nm)
    periphery = width_bits * _SRAM_UM2_PER_WIDTH_BIT + math.sqrt(bits) * _SRAM_UM2_PER_ROOT_BIT
    area = (bits * _SRAM_UM2_PER_BIT + periphery) * _pitch(ports) ** 2 * area_scale(node_nm)
    return MemoryEstimate(energy, energy, area)


def dram_access_pj(width_bits: float, dram_type: DramType) -> float:
    """Return the energy of moving `width_bits` to or from DRAM, interface included, in pJ.

    Proportional to the width: bursts and row hits are taken for granted. The node of the chip plays no part.
    """
    return width_bits * _DRAM_PJ_PER_BIT[dram_type]


def wire_pj_per_bit_mm(node_nm: float) -> float:
    """Return the energy of moving one bit over one millimetre of repeated wire, in pJ.

    Power law through [K11]: 256 bits over 10 mm cost 310 pJ at 40 nm and 200 pJ (projected) at 10 nm; error 0 there.
    """
    near, far = 310 / 2560, 200 / 2560
    exponent = math.log(near / far) / math.log(40 / 10)
    return near * (_checked_node(node_nm) / 40) ** exponent


def _unit(energy: Curve, area: Curve, bits: float, node_nm: float) -> UnitEstimate:
    if bits <= 0:
        raise ValueError(f"{bits} bits: must be positive")
    energy_pj = _interpolate(energy, bits) * energy_scale(node_nm)
    return UnitEstimate(energy_pj, _interpolate(area, bits) * area_scale(node_nm))


def _interpolate(curve: Curve, x: float) -> float:
    """Return y at `x`: exact at the points, linear in logarithms between them, the outer slopes going on beyond."""
    points = tuple(curve)
    right = min(max(bisect_right(points, x), 1), len(points) - 1)
    x0, x1 = points[right - 1], points[right]
    slope = math.log(curve[x1] / curve[x0]) / math.log(x1 / x0)
    return curve[x0] * (x / x0) ** slope if x != x1 else curve[x1]


def _pitch(ports: int) -> float:
    return 1 + _PITCH_PER_PORT * (ports - 1)


def _checked_node(node_nm: float) -> float:
    if not MINIMUM_NODE_NM <= node_nm <= MAXIMUM_NODE_NM:
        raise ValueError(f"node {node_nm} nm: must lie in {MINIMUM_NODE_NM}..{MAXIMUM_NODE_NM}")
    return node_nm


def _checked_bits(size_bytes: float, width_bits: float, ports: int) -> float:
    if not (0 < size_bytes < math.inf and 0 < width_bits < math.inf and ports >= 1):
        raise ValueError(f"memory of {size_bytes} bytes, {width_bits} bits wide, {ports} ports: each must be positive")
    return size_bytes * 8
