"""What the Once-for-All family of spaces has in common: stages of blocks with elastic depth, width, kernel and expand ratio.

Cai et al., Once-for-All: Train One Network and Specialize it for Efficient Deployment, ICLR 2020, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosearch.space import Genomes, Knob, NetworkSpace

FULL_WIDTH = 100
"""Width of a stage whose width is not elastic, in per cent of the supernet's widest."""


class Block(NamedTuple):
    """One active block: where it is (stage and block count from 1), what is chosen for it, and its stage's width in %."""

    stage: int
    block: int
    kernel: int
    expand: int
    width: int = FULL_WIDTH


class Columns(NamedTuple):
    """Which genes are the knobs of each kind; the first gene is the resolution's. Kinds of one choice have no knobs."""

    depth: slice
    stem: slice
    width: slice
    kernel: slice
    expand: slice


class ElasticSpace(NetworkSpace):
    """A network space of stages whose first d blocks are kept, each block with a kernel and an expand ratio of its own.

    The knobs are ``resolution``, ``depth_1..``, those of `stem`, ``width_1..``, ``kernel_1..``, ``expand_1..``, in this
    order; the blocks of all stages are numbered through, as many per stage as its largest depth. The kernel and the
    expand ratio of a block beyond its stage's depth do not count.

    Parameters
    ----------
    name, summary
        What the space is called, and what it is in one line.
    resolutions
        Sizes of the square input image, in pixels.
    depths
        Choices of the number of blocks, one tuple per stage, each ascending.
    kernels
        Choices for every block: width of the window in elements. Of one kernel alone there are no knobs.
    expands
        Choices for every block: how many middle channels it has.
    expand_unit
        Unit of those; empty for middle channels per input channel.
    widths
        Choices for every stage: its channels, in per cent of the supernet's. Of one width alone there are no knobs.
    stem
        Knobs of what comes before the stages. All of them always count.

    Attributes
    ----------
    columns
        Where the genes of each kind are in a genome.
    stage_of_block, rank_of_block
        int64 (blocks,): the stage of each block, and which block of that stage it is, both from 0.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        resolutions: Sequence[int],
        depths: Sequence[tuple[int, ...]],
        kernels: tuple[int, ...],
        expands: tuple[int, ...],
        expand_unit: str = "",
        widths: tuple[int, ...] = (FULL_WIDTH,),
        stem: Sequence[Knob] = (),
    ) -> None:
        self.name = name
        self.summary = summary
        self.depths = tuple(depths)
        self.kernels = kernels
        self.expands = expands
        self.widths = widths
        self.stem = tuple(stem)
        stages = len(self.depths)
        blocks = sum(choices[-1] for choices in self.depths)
        shared = (
            Knob("resolution", tuple(resolutions), "px"),
            *(Knob(f"depth_{stage}", choices) for stage, choices in enumerate(self.depths, 1)),
            *self.stem,
            *_numbered("width", widths, stages if len(widths) > 1 else 0, "%"),
        )
        kernel_knobs = _numbered("kernel", kernels, blocks if len(kernels) > 1 else 0)
        self.knobs = (*shared, *kernel_knobs, *_numbered("expand", expands, blocks, expand_unit))
        stem_end = 1 + stages + len(self.stem)
        kernel_end = len(shared) + len(kernel_knobs)
        self.columns = Columns(
            slice(1, 1 + stages), slice(1 + stages, stem_end), slice(stem_end, len(shared)),
            slice(len(shared), kernel_end), slice(kernel_end, len(self.knobs)),
        )  # fmt: skip
        self.stage_of_block = np.repeat(np.arange(stages), [choices[-1] for choices in self.depths])
        self.rank_of_block = np.concatenate([np.arange(choices[-1]) for choices in self.depths])

    @property
    def size(self) -> int:
        """Number of different networks, over all resolutions."""
        per_block = len(self.kernels) * len(self.expands)
        total = len(self.knobs[0].choices)
        for knob in self.stem:
            total *= len(knob.choices)
        for choices in self.depths:
            total *= len(self.widths) * sum(per_block**depth for depth in choices)
        return total

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Tell which genes of `genomes` (n, knobs) count: all but those of blocks beyond their stage's depth."""
        depth_knobs, first = self.columns.depth.start + self.stage_of_block, self.columns.kernel.start
        blocks = self._choice_table[depth_knobs, genomes[:, depth_knobs]] > self.rank_of_block
        kinds = (len(self.knobs) - first) // len(self.rank_of_block)
        return np.hstack([np.ones((len(genomes), first), dtype=np.bool_), *([blocks] * kinds)])

    def stage_options(self, stage: int) -> NDArray[np.int64]:
        """Return every choice of depth, kernels and expand ratios of a stage (from 0), int64 (options, blocks).

        An entry is kernel index * expand ratios + expand index, or -1 for a block beyond the depth. The shallowest come
        first; of one depth, the first block's choice changes fastest.
        """
        per_block = len(self.kernels) * len(self.expands)
        rank = np.arange(self.depths[stage][-1])
        return np.concatenate([
            np.where(rank < depth, np.arange(per_block**depth)[:, None] // per_block**rank % per_block, -1)
            for depth in self.depths[stage]
        ])  # fmt: skip

    def blocks(self, genome: Genomes) -> list[Block]:
        """Return the active blocks of one genome (knobs,), from input to output.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        self.check(genome)
        genes, blocks = genome.tolist(), len(self.rank_of_block)
        widths = _chosen(self.widths, genes[self.columns.width], len(self.depths))
        kernels = _chosen(self.kernels, genes[self.columns.kernel], blocks)
        expands = _chosen(self.expands, genes[self.columns.expand], blocks)
        active = []
        offset = 0
        for stage, (choices, width) in enumerate(zip(self.depths, widths, strict=True), 1):
            active += [
                Block(stage, block + 1, kernels[offset + block], expands[offset + block], width)
                for block in range(choices[genes[stage]])
            ]
            offset += choices[-1]
        return active

    def stem_values(self, genome: Genomes) -> tuple[int, ...]:
        """Return what a genome (knobs,) chooses for the knobs of the stem."""
        genes = genome[self.columns.stem].tolist()
        return tuple(knob.choices[gene] for knob, gene in zip(self.stem, genes, strict=True))


def _numbered(name: str, choices: tuple[int, ...], count: int, unit: str = "") -> tuple[Knob, ...]:
    """Return one knob per stage or block, numbered from 1."""
    return tuple(Knob(f"{name}_{number}", choices, unit) for number in range(1, count + 1))


def _chosen(choices: tuple[int, ...], genes: list[int], count: int) -> list[int]:
    """Return what each of `count` stages or blocks takes; where there are no genes, there is one choice."""
    return [choices[gene] for gene in genes] if genes else [choices[0]] * count
