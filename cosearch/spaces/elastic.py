"""What the Once-for-All family of spaces has in common: stages of blocks with elastic depth, width, kernel and expand ratio.

Cai et al., Once-for-All: Train One Network and Specialize it for Efficient Deployment, ICLR 2020, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosearch.errors import SpaceError
from cosearch.space import Genomes, Knob, NetworkSpace

FULL_WIDTH = 100
"""Width of a stage whose width is not elastic, in per cent of the supernet's widest."""

MOST_OPTIONS = 4_000_000
"""Most choices of one stage that are listed: beyond, the list alone takes gigabytes."""

Choices = tuple[int, ...]
PerStage = Choices | tuple[Choices, ...]
"""Choices for all stages, or a tuple of them per stage."""


class Block(NamedTuple):
    """One active block: where it is (stage and block count from 1), what is chosen for it, and its stage's width."""

    stage: int
    block: int
    kernel: int
    expand: int
    width: int = FULL_WIDTH


class StageChoices(NamedTuple):
    """What there is to choose from in one stage."""

    depths: Choices
    widths: Choices
    kernels: Choices
    expands: Choices


class Columns(NamedTuple):
    """Which genes are the knobs of each kind; the first gene is the resolution's. Kinds of one choice have no knobs."""

    depth: slice
    stem: slice
    width: slice
    kernel: slice
    expand: slice


class GeneOf(NamedTuple):
    """Which gene says the width of each stage, int64 (stages,), and the kernel and expand ratio of each block, int64
    (blocks,); -1 where there is one choice."""

    width: NDArray[np.int64]
    kernel: NDArray[np.int64]
    expand: NDArray[np.int64]


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
        Choices for every block, or for the blocks of each stage: width of the window in elements. Of one kernel alone
        there are no knobs.
    expands
        Choices for every block, or for the blocks of each stage: how many middle channels it has.
    expand_unit
        Unit of those; empty for middle channels per input channel.
    widths
        Choices for every stage, or of each stage: its channels. Of one width alone there are no knobs.
    width_unit
        Unit of those: per cent of the supernet's channels, or empty for the number of channels itself.
    stem
        Knobs of what comes before the stages. All of them always count.
    one_width
        There is one width for the whole network, stem included: the knob ``width``, first of the stem's knobs.
    per_stage
        Kernel and expand ratio are chosen once per stage, for all of its blocks: ``kernel_1..`` count stages.

    Attributes
    ----------
    stages
        What there is to choose from, stage by stage.
    kernels, expands, widths
        Every choice that there is in some stage, ascending.
    columns, gene_of
        Where the genes of each kind are in a genome, and which one is whose.
    stage_of_block, rank_of_block
        int64 (blocks,): the stage of each block, and which block of that stage it is, both from 0.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        resolutions: Sequence[int],
        depths: Sequence[Choices],
        kernels: PerStage,
        expands: PerStage,
        expand_unit: str = "",
        widths: PerStage = (FULL_WIDTH,),
        width_unit: str = "%",
        stem: Sequence[Knob] = (),
        one_width: bool = False,
        per_stage: bool = False,
    ) -> None:
        self.name = name
        self.summary = summary
        self.depths = tuple(depths)
        self.one_width, self.per_stage = one_width, per_stage
        self.stages = _stages(self.depths, widths, kernels, expands)
        self.widths, self.kernels, self.expands = (_union(self.stages, kind) for kind in range(1, 4))
        self.stem = (*((Knob("width", self.widths, width_unit),) if one_width else ()), *stem)
        self.stage_of_block = np.repeat(np.arange(len(self.stages)), [stage.depths[-1] for stage in self.stages])
        self.rank_of_block = np.concatenate([np.arange(stage.depths[-1]) for stage in self.stages])
        holders = self.stages if per_stage else [self.stages[stage] for stage in self.stage_of_block]
        elastic_widths = len(self.widths) > 1 and not one_width
        kinds = (
            [Knob("resolution", tuple(resolutions), "px")],
            _numbered("depth", self.depths),
            self.stem,
            _numbered("width", [stage.widths for stage in self.stages] if elastic_widths else [], width_unit),
            _numbered("kernel", [stage.kernels for stage in holders] if len(self.kernels) > 1 else []),
            _numbered("expand", [stage.expands for stage in holders], expand_unit),
        )
        self.knobs = tuple(knob for kind in kinds for knob in kind)
        ends = np.cumsum([len(kind) for kind in kinds]).tolist()
        self.columns = Columns(*(slice(start, end) for start, end in pairwise(ends)))
        self.gene_of = self._genes()

    def _genes(self) -> GeneOf:
        stages, blocks = np.arange(len(self.stages)), np.arange(len(self.stage_of_block))
        place = self.stage_of_block if self.per_stage else blocks

        def at(columns: slice, places: NDArray[np.int64]) -> NDArray[np.int64]:
            return columns.start + places if columns.stop > columns.start else np.full(len(places), -1)

        width = np.full(len(stages), self.columns.stem.start) if self.one_width else at(self.columns.width, stages)
        return GeneOf(width, at(self.columns.kernel, place), at(self.columns.expand, place))

    @property
    def size(self) -> int:
        """Number of different networks, over all resolutions."""
        total = len(self.knobs[0].choices) * math.prod(len(knob.choices) for knob in self.stem)
        for stage in self.stages:
            widths = 1 if self.one_width else len(stage.widths)
            total *= widths * sum(self._options(stage, depth) for depth in stage.depths)
        return total

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Tell which genes of `genomes` (n, knobs) count: all but those of blocks beyond their stage's depth."""
        if self.per_stage:
            return np.ones(genomes.shape, dtype=np.bool_)
        blocks, first = self.active_blocks(genomes), self.columns.kernel.start
        kinds = (len(self.knobs) - first) // len(self.rank_of_block)
        return np.hstack([np.ones((len(genomes), first), dtype=np.bool_), *([blocks] * kinds)])

    def active_blocks(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Tell which blocks the networks of `genomes` (n, knobs) have: bool (n, blocks)."""
        depth_knobs = self.columns.depth.start + self.stage_of_block
        return self._choice_table[depth_knobs, genomes[:, depth_knobs]] > self.rank_of_block

    def stage_options(self, stage: int) -> NDArray[np.int64]:
        """Return every choice of depth, kernels and expand ratios of a stage (from 0), int64 (options, blocks).

        An entry is kernel index * expand ratios of the stage + expand index, or -1 for a block beyond the depth. The
        shallowest come first; of one depth, the first block's choice changes fastest.

        Raises
        ------
        SpaceError
            If there are more than :data:`MOST_OPTIONS`.
        """
        choices = self.stages[stage]
        counts = [self._options(choices, depth) for depth in choices.depths]
        if sum(counts) > MOST_OPTIONS:
            raise SpaceError(
                f"space {self.name!r}: stage {stage + 1} has {sum(counts):,} choices of depth, kernels and expand ratios: "
                f"too many to list (at most {MOST_OPTIONS:,}), as an exact search has to"
            )
        pairs, rank = len(choices.kernels) * len(choices.expands), np.arange(choices.depths[-1])
        digits = np.zeros_like(rank) if self.per_stage else rank
        return np.concatenate([
            np.where(rank < depth, np.arange(count)[:, None] // pairs**digits % pairs, -1)
            for depth, count in zip(choices.depths, counts, strict=True)
        ])  # fmt: skip

    def _options(self, stage: StageChoices, depth: int) -> int:
        """Return how many choices of kernels and expand ratios a stage of a depth has."""
        pairs = len(stage.kernels) * len(stage.expands)
        return pairs if self.per_stage else pairs**depth

    def blocks(self, genome: Genomes) -> list[Block]:
        """Return the active blocks of one genome (knobs,), from input to output.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        self.check(genome)
        width, kernel, expand = (taken(genome[None], genes)[0].tolist() for genes in self.gene_of)
        active = []
        for block in np.flatnonzero(self.active_blocks(genome[None])[0]).tolist():
            stage = int(self.stage_of_block[block])
            choices = self.stages[stage]
            active.append(
                Block(
                    stage + 1,
                    int(self.rank_of_block[block]) + 1,
                    choices.kernels[kernel[block]],
                    choices.expands[expand[block]],
                    choices.widths[width[stage]],
                )
            )
        return active

    def stem_values(self, genome: Genomes) -> tuple[int, ...]:
        """Return what a genome (knobs,) chooses for the knobs of the stem."""
        genes = genome[self.columns.stem].tolist()
        return tuple(knob.choices[gene] for knob, gene in zip(self.stem, genes, strict=True))


def taken(genomes: Genomes, genes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the choices (n, len(genes)) that genomes (n, knobs) take at some genes; 0 where there is no gene (-1)."""
    return np.where(genes >= 0, genomes[:, genes], 0)


def _stages(depths: Sequence[Choices], *kinds: PerStage) -> tuple[StageChoices, ...]:
    """Return what there is to choose from per stage, of kinds given for all stages or for each."""
    spread = [[kind] * len(depths) if isinstance(kind[0], int) else kind for kind in kinds]
    return tuple(StageChoices(*stage) for stage in zip(depths, *spread, strict=True))


def _union(stages: tuple[StageChoices, ...], kind: int) -> Choices:
    return tuple(sorted({choice for stage in stages for choice in stage[kind]}))


def _numbered(name: str, choices: Sequence[Choices], unit: str = "") -> list[Knob]:
    """Return one knob per stage or block, numbered from 1."""
    return [Knob(f"{name}_{number}", each, unit) for number, each in enumerate(choices, 1)]
