"""NAAS's space of machines: everything that can be built from the resources of a known one.

Lin, Yang, Han, NAAS: Neural Accelerator Architecture Search, DAC 2021, section 2: number of elements, sizes of the memories,
bandwidths, and how the array is connected: one, two or three axes, each over one dim of the convolution; which ones is said
by an *importance* per dim, of which the largest count. What these choices are choices of is in `naas_template.py`.

Limits are the known machine's MACs, its bytes on chip, the bandwidth of all memories outside its array together, and that of
its DRAM. A genome that asks for more than there is becomes one that does not (:meth:`NaasHardware.canonical`), so every
strategy can work here without a notion of constraints. Less bandwidth saves nothing in the cost model: these knobs are there
because NAAS has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator, Precision
from accel_models.workload import DATASPACES
from cosearch.errors import SpaceError
from cosearch.space import Genomes, Knob
from cosearch.spaces.hardware import HardwareSpace, nearest
from cosearch.spaces.naas_template import (
    ARRAY_DIMS,
    MOST_AXES,
    SUMMED,
    Choices,
    Resources,
    buffering,
    build,
    choices_of,
    resources_of,
    word_bits,
)

IMPORTANCES = tuple(range(8))
"""Importances that a dim may have; of equal ones the first of `ARRAY_DIMS` wins."""

CHOSEN_IMPORTANCES = (6, 4, 2)
"""Canonical importance of the dims of the first, second and third axis: there is room above, between and below."""

SCRATCHPAD_WORDS = (
    1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048,
)  # fmt: skip
"""Sizes of a scratchpad; that of the known machine is one too."""

KEEPS = (
    ("weights", "inputs", "outputs"), ("inputs", "outputs"), ("weights", "inputs"), ("weights", "outputs"),
    ("weights",), ("inputs",), ("outputs",),
)  # fmt: skip
"""What the global buffer may keep."""

BANDWIDTHS_PERCENT = (25, 50, 75, 100)

BITS = (4, 8, 16)
"""Widths of weights and activations: those of which something published says what they cost in accuracy."""


class NaasHardware(HardwareSpace):
    """Machines within the resources of a known one.

    Parameters
    ----------
    target
        The known machine.
    bits
        True to choose the bits of weights and of activations too; else they are the target's.

    Raises
    ------
    SpaceError
        If the target has too little to share out.
    """

    def __init__(self, target: Accelerator, *, bits: bool = False) -> None:
        self.base = target
        self._resources = resources_of(target)
        self.name = f"{target.name}-naas" + ("-bits" if bits else "")
        limits = f"{target.macs_per_cycle} MACs and {target.on_chip_bytes / 1024:.0f} KiB"
        self.summary = f"NAAS's space within the {limits} of {target.name}"
        known = choices_of(self._resources)
        self.knobs = (*_array_knobs(known, self._resources), *_memory_knobs(known, self._resources), *_bit_knobs(bits))
        self.sizing = np.array([knob.name.startswith(_SIZING) for knob in self.knobs])
        self._at = {knob.name: place for place, knob in enumerate(self.knobs)}
        self._numbers = _number_table(self.knobs)
        self._sizes = slice(self._at["size_1"], self._at["size_1"] + MOST_AXES)
        self._importances = slice(self._at["importance_K"], self._at["importance_K"] + len(ARRAY_DIMS))
        self._memories = slice(self._at["pe_weights"], self._at["global_buffer"] + 1)
        smallest = float(self._bytes(np.zeros((1, len(self.knobs)), dtype=np.int64))[0])
        if smallest > target.on_chip_bytes:
            raise SpaceError(
                f"target {target.name!r} has {target.on_chip_bytes:g} bytes on chip; the smallest machine of NAAS's space has "
                f"{smallest:g}"
            )
        self.default = self._nearest(known)

    def canonical(self, genomes: Genomes) -> Genomes:
        """Return `genomes` (n, knobs) in the one way to write each machine, and within the resources.

        Importances become those of :data:`CHOSEN_IMPORTANCES`, genes that do not count 0. Where too many MACs are asked for,
        the axes become shorter, where too many bytes, the memories smaller: step by step, each step taken by the one that
        then still has the largest part of what was asked of it. So what was asked keeps its proportions, and a scratchpad
        is left out, or an axis made shorter for the sake of memory, only where nothing else is left.
        """
        made = np.array(genomes, dtype=np.int64)
        axes, order = self._axes(made), self._order(made)
        made[:, self._importances] = 0
        for axis, importance in enumerate(CHOSEN_IMPORTANCES):
            rows = np.flatnonzero(axes > axis)
            made[rows, self._importances.start + order[rows, axis]] = IMPORTANCES.index(importance)
        made[~self.active(made)] = 0
        macs, on_chip_bytes = self._resources.macs, self._resources.on_chip_bytes
        self._shrink(made, self._sizes, self._macs, macs)
        self._shrink(made, self._memories, self._bytes, on_chip_bytes)
        self._shrink(made, self._sizes, self._bytes, on_chip_bytes)
        return made

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Tell which genes of `genomes` (n, knobs) count.

        A size counts where its axis is there, a tree where the first axis sums. An importance always does: that of a dim
        which lies along no axis is 0, but another one would bring it there.
        """
        counts = np.ones(genomes.shape, dtype=np.bool_)
        counts[:, self._sizes] = np.arange(MOST_AXES) < self._axes(genomes)[:, None]
        first = self._order(genomes)[:, 0]
        counts[:, self._at["tree"]] = np.isin(first, [ARRAY_DIMS.index(dim) for dim in SUMMED])
        return counts

    def target(self, genome: Genomes) -> Accelerator:
        """Return the machine that a canonical genome describes."""
        chosen = self.values(genome)
        axes = chosen["array_dims"]
        choices = Choices(
            dims=tuple(ARRAY_DIMS[place] for place in self._order(genome[None])[0, :axes]),
            sizes=tuple(chosen[f"size_{axis}"] for axis in range(1, axes + 1)),
            tree=bool(chosen["tree"]),
            words={name: chosen[f"pe_{name}"] for name in DATASPACES},
            buffer_bytes=chosen["global_buffer"],
            keeps=chosen["global_keeps"],
            buffer_share=chosen["buffer_bandwidth"] / 100,
            dram_share=chosen["dram_bandwidth"] / 100,
        )
        precision = self._resources.precision
        if "weight_bits" in chosen:
            activations = chosen["activation_bits"]
            precision = Precision(weights=chosen["weight_bits"], inputs=activations, outputs=activations)
        return build(choices, self._resources, precision, self.name)

    def _nearest(self, choices: Choices) -> Genomes:
        """Return the canonical genome nearest to a machine of the template with all the bandwidth, in the target's bits."""
        importances = zip(choices.dims, CHOSEN_IMPORTANCES, strict=False)
        precision = self._resources.precision
        values: dict[str, Any] = {
            "array_dims": len(choices.dims),
            **{f"size_{axis}": size for axis, size in enumerate(choices.sizes, 1)},
            **{f"importance_{dim}": importance for dim, importance in importances},
            "tree": int(choices.tree),
            **{f"pe_{name}": words for name, words in choices.words.items()},
            "global_buffer": choices.buffer_bytes,
            "global_keeps": choices.keeps,
            "buffer_bandwidth": 100,
            "dram_bandwidth": 100,
            "weight_bits": precision.weights,
            "activation_bits": precision.inputs,
        }
        genes = [nearest(knob.choices, values.get(knob.name, 0)) for knob in self.knobs]
        return self.canonical(np.array([genes], dtype=np.int64))[0]

    def _axes(self, genomes: Genomes) -> NDArray[np.int64]:
        """Number of axes, (n,)."""
        return genomes[:, self._at["array_dims"]] + 1

    def _order(self, genomes: Genomes) -> NDArray[np.int64]:
        """Places in `ARRAY_DIMS`, most important first, (n, 6)."""
        return np.argsort(-genomes[:, self._importances], axis=1, kind="stable")

    def _sides(self, genomes: Genomes) -> NDArray[np.float64]:
        """Sizes of the axes, 1 where there is none, (n, 3)."""
        sizes = self._numbers[self._at["size_1"]][genomes[:, self._sizes]]
        return np.where(np.arange(MOST_AXES) < self._axes(genomes)[:, None], sizes, 1.0)

    def _macs(self, genomes: Genomes) -> NDArray[np.float64]:
        """Number of MACs, (n,)."""
        return self._sides(genomes).prod(axis=1)

    def _bytes(self, genomes: Genomes) -> NDArray[np.float64]:
        """Bytes on chip, (n,)."""
        chosen = self._numbers[np.arange(len(self.knobs)), genomes]
        sides = self._sides(genomes)
        elements = sides.prod(axis=1)
        accumulators = np.where(genomes[:, self._at["tree"]] == 1, elements / sides[:, 0], elements)
        total = chosen[:, self._at["global_buffer"]]
        for name, count in zip(DATASPACES, (elements, elements, accumulators), strict=True):
            total = total + chosen[:, self._at[f"pe_{name}"]] * count * self._word_bits(name, chosen) / 8
        return total

    def _word_bits(self, name: str, chosen: NDArray[np.float64]) -> Any:
        """Bits of a scratchpad's word: of every genome, or (n,) where they are chosen."""
        knob = "weight_bits" if name == "weights" else "activation_bits"
        if knob not in self._at or (name == "outputs" and self._resources.partial_sum_bits):
            return word_bits(name, self._resources, self._resources.precision)
        return chosen[:, self._at[knob]]

    def _shrink(
        self, genomes: Genomes, knobs: slice, amount: Callable[[Genomes], NDArray[np.float64]], limit: float
    ) -> None:
        """Give knobs smaller choices while there is too much of something; in place.

        Every step is that of the knob which then still has the largest part of what was asked of it, the first of equals.
        """
        table = self._numbers[knobs]
        places = np.arange(len(table))
        asked = table[places, genomes[:, knobs]]
        over = np.arange(len(genomes))
        while True:
            genes = genomes[over, knobs]
            still = (amount(genomes[over]) > limit) & (genes > 0).any(axis=1)
            over, genes = over[still], genes[still]
            if not len(over):
                return
            left = np.full(genes.shape, -1.0)
            np.divide(table[places, genes - 1], asked[over], out=left, where=genes > 0)
            genomes[over, knobs.start + np.argmax(left, axis=1)] -= 1


_SIZING = ("size_", "pe_", "global_buffer", "buffer_bandwidth", "dram_bandwidth")


def _array_knobs(known: Choices, resources: Resources) -> tuple[Knob, ...]:
    most_axes = min(MOST_AXES, int(math.log2(resources.macs)))
    sizes = _ascending((*_even_sizes(resources.macs), *known.sizes, resources.macs), 2, resources.macs)
    return (
        Knob("array_dims", tuple(range(1, most_axes + 1))),
        *(Knob(f"size_{axis}", sizes, "elements") for axis in range(1, MOST_AXES + 1)),
        *(Knob(f"importance_{dim}", IMPORTANCES) for dim in ARRAY_DIMS),
        Knob("tree", (0, 1)),
    )


def _memory_knobs(known: Choices, resources: Resources) -> tuple[Knob, ...]:
    scratchpads = []
    for name in DATASPACES:
        words = _ascending((*SCRATCHPAD_WORDS, known.words[name]), math.ceil(buffering(name, resources)))
        scratchpads.append(Knob(f"pe_{name}", words if name == "outputs" else (0, *words), "words"))
    most = int(resources.on_chip_bytes)
    sizes = _ascending((*_byte_sizes(most), known.buffer_bytes), _least_buffer_bytes(resources), most)
    return (
        *scratchpads,
        Knob("global_buffer", sizes or (_least_buffer_bytes(resources),), "bytes"),
        Knob("global_keeps", KEEPS),
        Knob("buffer_bandwidth", BANDWIDTHS_PERCENT, "%"),
        Knob("dram_bandwidth", BANDWIDTHS_PERCENT, "%"),
    )


def _least_buffer_bytes(resources: Resources) -> int:
    """Bytes of a buffer that has room for one element of each dataspace, at the widest."""
    widest = max(*BITS, *(getattr(resources.precision, name) for name in DATASPACES))
    like = resources.buffer
    words = math.ceil(len(DATASPACES) * math.ceil(widest / like.word_bits) * like.buffering)
    return math.ceil(words * like.word_bits / 8)


def _bit_knobs(bits: bool) -> tuple[Knob, ...]:
    return (Knob("weight_bits", BITS, "bits"), Knob("activation_bits", BITS, "bits")) if bits else ()


def _even_sizes(most: int) -> list[int]:
    """Even numbers to 32, then eight to an octave."""
    sizes, size = [], 2
    while size <= most:
        sizes.append(size)
        size += max(2, 2 ** (size.bit_length() - 1) // 8)
    return sizes


def _byte_sizes(most: int) -> list[int]:
    """Numbers of bytes from some 1024th of `most` to `most`, four to an octave."""
    octaves = range(max(2, most.bit_length() - 11), most.bit_length())
    return [2**octave * quarters // 4 for octave in octaves for quarters in (4, 5, 6, 7)]


def _ascending(values: Iterable[int], least: int, most: int | None = None) -> tuple[int, ...]:
    return tuple(sorted({value for value in values if value >= least and (most is None or value <= most)}))


def _number_table(knobs: tuple[Knob, ...]) -> NDArray[np.float64]:
    """Return the choices of knobs of numbers, (knobs, most choices); 0 elsewhere."""
    table = np.zeros((len(knobs), max(len(knob.choices) for knob in knobs)))
    for row, knob in zip(table, knobs, strict=True):
        if not isinstance(knob.choices[0], tuple):
            row[: len(knob.choices)] = knob.choices
    return table
