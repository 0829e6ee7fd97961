"""The machine that NAAS's space varies: a template, what it takes from a known machine, and the two-way street between them.

Innermost first, a machine has

* in every element of the array, scratchpads for weights and inputs, each of which may be left out, and an accumulator for
  outputs;
* an array of one to three axes, each over one dim of the layer. Axes of K and C also spread groups, so that depth-wise layers
  fill them. Where the first axis sums (C, R or S) it may be an adder tree: its elements then share one accumulator, as in
  NVDLA, and groups cannot lie along it, for a tree adds up all that it is given. Two axes are the sides of a mesh; so are
  three of which one is a tree. Of three without a tree, the second and the third lie along the same side, each within its
  own size;
* a global buffer that keeps some of the dataspaces; the others pass by;
* DRAM.

A scratchpad reads and writes one word per cycle, which is all that a MAC needs. Its words are elements, or partial sums as
wide as the known machine's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from accel_models.accelerator import Accelerator, Axis, Dataspace, Fanout, MemoryLevel, Precision
from accel_models.workload import DATASPACES
from cosearch.errors import SpaceError

ARRAY_DIMS = ("K", "C", "P", "Q", "R", "S")
"""Dims that an axis may run over."""

SUMMED = ("C", "R", "S")
"""Dims over which outputs are sums: an adder tree can run over them."""

MOST_AXES = 3

REGISTER_FILE_BYTES = 256
"""The largest scratchpad of registers; larger ones are SRAM.

Eyeriss makes 48 bytes of registers and 448 of SRAM. In between, an access takes about the same energy in both models (16 bits
of 256 bytes at 45 nm: 0.53 pJ in registers, 0.59 in SRAM); the SRAM's is fitted from 8 KiB up, so that far below it says too
little, and is not asked. All memories of the five described machines are what this rule says.
"""

_BANDWIDTHS = (
    "read_bandwidth_words_per_cycle", "write_bandwidth_words_per_cycle", "shared_bandwidth_words_per_cycle",
)  # fmt: skip


@dataclass(frozen=True)
class Resources:
    """What machines of the template take from a known one: limits, and what is not varied.

    Attributes
    ----------
    target
        The known machine. Clock, node, MAC and vector unit are its own.
    macs, on_chip_bytes
        Limits. The space keeps them.
    precision
        Bits of the elements.
    partial_sum_bits
        Bits of a word of an accumulator; None where those of an output do.
    scratchpads, buffers
        The known machine's memories inside and outside its array, innermost first.
    buffer
        Its largest buffer: what the template's is like in all but size, dataspaces and bandwidth.
    buffer_bandwidth
        What all its buffers together read and write per cycle, in words of `buffer`; None where nothing bounds them.
    dram
        Its DRAM.
    uneven
        Whether its arrays may be filled in factors that do not divide.
    """

    target: Accelerator
    macs: int
    on_chip_bytes: float
    precision: Precision
    partial_sum_bits: int | None
    scratchpads: tuple[MemoryLevel, ...]
    buffers: tuple[MemoryLevel, ...]
    buffer: MemoryLevel
    buffer_bandwidth: tuple[float | None, float | None]
    dram: MemoryLevel
    uneven: bool


@dataclass(frozen=True)
class Choices:
    """One machine of the template.

    Attributes
    ----------
    dims, sizes
        Of each axis, the first axis first.
    tree
        Whether the first axis is an adder tree.
    words
        Words of the scratchpad for each dataspace; 0 where there is none.
    buffer_bytes, keeps
        Of the global buffer.
    buffer_share, dram_share
        How much of the known machine's bandwidths it has, 0 to 1.
    """

    dims: tuple[str, ...]
    sizes: tuple[int, ...]
    tree: bool
    words: dict[str, int]
    buffer_bytes: int
    keeps: tuple[Dataspace, ...]
    buffer_share: float = 1.0
    dram_share: float = 1.0


def resources_of(target: Accelerator) -> Resources:
    """Return what machines of the template take from a known one.

    Raises
    ------
    SpaceError
        If it has no memory on chip, or less than two MACs: there is nothing to share out.
    """
    *memories, dram = target.levels
    if not memories or target.macs_per_cycle < 2:
        raise SpaceError(
            f"target {target.name!r} has {len(memories)} memories on chip and {target.macs_per_cycle} MACs: NAAS's space shares "
            "out the resources of a machine with at least one memory and two MACs"
        )
    outside = max(
        place for place, level in enumerate(target.levels) if level.fanout.x.size * level.fanout.y.size > 1
    )  # fmt: skip
    buffers = tuple(memories[outside:])
    buffer = max(buffers or memories[-1:], key=lambda level: level.size_bytes)
    accumulators = [level for level in memories if "outputs" in level.keeps]
    return Resources(
        target=target,
        macs=target.macs_per_cycle,
        on_chip_bytes=target.on_chip_bytes,
        precision=target.precision or Precision(weights=16, inputs=16, outputs=16),
        partial_sum_bits=accumulators[0].partial_sum_bits if accumulators else None,
        scratchpads=tuple(memories[:outside]),
        buffers=buffers,
        buffer=buffer,
        buffer_bandwidth=(_bandwidth(buffers, "read", buffer), _bandwidth(buffers, "write", buffer)),
        dram=dram.model_copy(update={"fanout": Fanout()}),
        uneven=any(level.fanout.uneven for level in target.levels),
    )


def choices_of(resources: Resources) -> Choices:
    """Return the known machine in terms of the template, as near as that comes to it.

    Its buffers become one, that keeps what any of them keeps, and its scratchpads are shared out evenly. An axis over several
    dims runs over its channels (K or C) alone, which are long in almost every layer, else over the first it names; of more
    than three axes the longest stay.
    """
    axes = _axes_of(resources.target)
    tree = axes[0][2] and axes[0][0] in SUMMED
    kept = {name for level in resources.buffers for name in level.keeps}
    words = {}
    for name in DATASPACES:
        shared = axes[0][1] if tree and name == "outputs" else 1
        total = sum(
            (level.entries or 0) * instances / len(level.keeps)
            for level, instances in zip(resources.scratchpads, resources.target.instances, strict=False)
            if name in level.keeps
        )
        words[name] = math.ceil(total * shared / resources.macs)
    return Choices(
        dims=tuple(dim for dim, _, _ in axes),
        sizes=tuple(size for _, size, _ in axes),
        tree=tree,
        words=words,
        buffer_bytes=int(sum(level.size_bytes for level in resources.buffers)),
        keeps=tuple(name for name in ("weights", "inputs", "outputs") if name in kept),
    )


def build(choices: Choices, resources: Resources, precision: Precision, name: str) -> Accelerator:
    """Return the machine of the template that has what is chosen, for elements of so many bits."""
    target, like = resources.target, resources.buffer
    pairs = list(zip(choices.dims, choices.sizes, strict=True))
    inside, outside = (pairs[:1], pairs[1:]) if choices.tree else ([], pairs)
    scratchpads = [
        _scratchpad(dataspace, words, resources, precision) for dataspace, words in choices.words.items() if words
    ]
    tree = Fanout(x=_side(inside, groups=False), uneven=resources.uneven)
    scratchpads[-1] = scratchpads[-1].model_copy(update={"fanout": tree})
    read, write = (_times(words, choices.buffer_share) for words in resources.buffer_bandwidth)
    buffer = MemoryLevel(
        name="global_buffer",
        component="sram",
        keeps=choices.keeps,
        entries=choices.buffer_bytes * 8 // like.word_bits,
        word_bits=like.word_bits,
        block_words=like.block_words,
        buffering=like.buffering,
        read_bandwidth_words_per_cycle=read,
        write_bandwidth_words_per_cycle=write,
        fanout=Fanout(x=_side(outside[:1]), y=_side(outside[1:]), uneven=resources.uneven),
    )
    dram = resources.dram.model_copy(
        update={key: _times(getattr(resources.dram, key), choices.dram_share) for key in _BANDWIDTHS}
    )
    return Accelerator(
        name=name,
        summary=f"NAAS's template with resources of {target.name}",
        clock_mhz=target.clock_mhz,
        node_nm=target.node_nm,
        precision=precision,
        mac=target.mac,
        vector_unit=target.vector_unit,
        leakage_mw=target.leakage_mw,
        levels=(*scratchpads, buffer, dram),
    )


def word_bits(dataspace: str, resources: Resources, precision: Precision) -> int:
    """Return the bits of a scratchpad's word: one element, or one partial sum."""
    if dataspace == "outputs" and resources.partial_sum_bits:
        return resources.partial_sum_bits
    return int(getattr(precision, dataspace))


def buffering(dataspace: str, resources: Resources) -> float:
    """Return how far scratchpads for a dataspace are double-buffered: as the known machine's innermost one."""
    return next((level.buffering for level in resources.scratchpads if dataspace in level.keeps), 1)


def _bandwidth(buffers: Iterable[MemoryLevel], way: str, like: MemoryLevel) -> float | None:
    """Return what all buffers together read or write per cycle, in words of one of them; None if one has no bound."""
    total = 0.0
    for level in buffers:
        words = getattr(level, f"{way}_bandwidth_words_per_cycle") or level.shared_bandwidth_words_per_cycle
        if words is None:
            return None
        total += words * level.word_bits / like.word_bits
    return total or None


def _axes_of(target: Accelerator) -> list[tuple[str, int, bool]]:
    """Return (dim, size, below the accumulators) of a machine's axes, innermost first; see :func:`choices_of`."""
    accumulators = next((place for place, level in enumerate(target.levels) if "outputs" in level.keeps), 0)
    sides = [
        (axis, place <= accumulators)
        for place, level in enumerate(target.levels)
        for axis in (level.fanout.x, level.fanout.y)
        if axis.size > 1
    ]
    longest = sorted(range(len(sides)), key=lambda place: -sides[place][0].size)[:MOST_AXES]
    found: list[tuple[str, int, bool]] = []
    for axis, inside in (sides[place] for place in sorted(longest)):
        named = [dim for dim in ARRAY_DIMS if dim in axis.dims and dim in ("K", "C")]
        wanted = (*named, *axis.dims, *ARRAY_DIMS)
        taken = [dim for dim, _, _ in found]
        found.append((next(dim for dim in wanted if dim in ARRAY_DIMS and dim not in taken), axis.size, inside))
    return found


def _side(pairs: list[tuple[str, int]], *, groups: bool = True) -> Axis:
    """Return one side of a mesh: over no dim, over one, or over two that have a part of it each."""
    if not pairs:
        return Axis()
    dims: list[Any] = [dim for dim, _ in pairs]
    most: dict[Any, int] = dict(pairs) if len(pairs) > 1 else {}
    channels = [size for dim, size in pairs if dim in ("K", "C")]
    if groups and channels:
        dims.append("G")
        if most:
            most["G"] = math.prod(channels)
    return Axis(size=math.prod(size for _, size in pairs), dims=tuple(dims), max_factors=most)


def _scratchpad(dataspace: Any, words: int, resources: Resources, precision: Precision) -> MemoryLevel:
    bits = word_bits(dataspace, resources, precision)
    return MemoryLevel(
        name=f"pe_{dataspace}",
        component="register_file" if words * bits <= REGISTER_FILE_BYTES * 8 else "sram",
        keeps=(dataspace,),
        entries=words,
        word_bits=bits,
        partial_sum_bits=resources.partial_sum_bits if dataspace == "outputs" else None,
        buffering=buffering(dataspace, resources),
        read_bandwidth_words_per_cycle=1.0,
        write_bandwidth_words_per_cycle=1.0,
    )


def _times(words: float | None, share: float) -> float | None:
    return None if words is None else words * share
