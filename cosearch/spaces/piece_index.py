"""Every piece that networks of a space can have, numbered, so that an additive quantity of a network is a sum of look-ups."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_models.workload import TensorShape
from cosearch.errors import SpaceError
from cosearch.space import Genomes
from cosearch.spaces.elastic import Block, taken
from cosearch.spaces.pieces import Piece, PiecewiseSpace

_CHUNK = 4096
"""Genomes whose look-ups are made at once: they fit the caches."""


class Parts(NamedTuple):
    """A quantity of every piece; views of one flat array. NaN where no network has such a piece.

    Attributes
    ----------
    entrance
        float64 (resolutions, stems): what comes before the stages; a stem is a combination of the stem knobs' choices,
        in the order of `itertools.product`.
    blocks
        float64 (resolutions, blocks, incoming, widths, kernels, expands): each block by what it reads and what is chosen
        for it, as indices of its stage's choices; where stages have different numbers of them, the axes are as long as
        the most. `incoming` is the width (its index) of the stage that made what the block reads: of the stage before for
        the first block of a stage, of its own stage for the others. For the very first block it is the number of the
        stem's tensor (`PieceIndex.tensor_of_stem`).
    exit
        float64 (resolutions, widths): what comes after the stages, by the width of the last one.
    """

    entrance: NDArray[np.float64]
    blocks: NDArray[np.float64]
    exit: NDArray[np.float64]


class PieceIndex:
    """Numbers the pieces of a space's networks.

    Entries of a flat array are numbered as :class:`Parts` lays them out: entrances, blocks, exits, each row by row. One
    last entry stands for blocks beyond a stage's depth: it is 0 in every quantity.

    Parameters
    ----------
    space
        The space. What a block makes may depend on nothing but the resolution and the width of its stage (:meth:`pieces`
        checks it), as otherwise there would be a piece for nearly every history.
    resolutions
        Those of the space's (px) that are wanted; all of them without.

    Attributes
    ----------
    resolutions
        In px, one per row, in the order given.
    tensor_of_stem
        int64 (stems,): number of the tensor that each stem hands on; stems whose tensors have one shape share it, if all
        that may follow is the same.
    entries
        Length of a flat array.

    Raises
    ------
    SpaceError
        If a resolution is not one of the space's.
    """

    def __init__(self, space: PiecewiseSpace, resolutions: Sequence[int] | None = None) -> None:
        self.space = space
        image = space.knobs[0]
        self.resolutions: tuple[int, ...] = image.choices if resolutions is None else tuple(dict.fromkeys(resolutions))
        self._row = np.full(len(image.choices), -1, dtype=np.int64)
        self._row[[image.index(resolution) for resolution in self.resolutions]] = np.arange(len(self.resolutions))
        self._stems = list(itertools.product(*(knob.choices for knob in space.stem)))
        self.tensor_of_stem = self._number_tensors()
        rows, blocks = len(self.resolutions), len(space.stage_of_block)
        _, widths, kernels, expands = (max(map(len, kind)) for kind in zip(*space.stages, strict=True))
        incoming = max(int(self.tensor_of_stem.max()) + 1, widths)
        self._shapes = (
            (rows, len(self._stems)),
            (rows, blocks, incoming, widths, kernels, expands),
            (rows, widths),
        )
        self._first = np.cumsum([0, *(int(np.prod(shape)) for shape in self._shapes)])
        self.entries = int(self._first[-1]) + 1

    def passes(self, stage: int) -> list[tuple[int, int]]:
        """Return what a stage (from 0) may read and make, pairs as `Parts.blocks` counts them: (incoming, width)."""
        widths = range(len(self.space.stages[stage].widths))
        if stage:
            before = range(len(self.space.stages[stage - 1].widths))
            pairs = itertools.product(before, widths)
            return [(width, width) for width in widths] if self.space.one_width else list(pairs)
        tensors = dict.fromkeys(self.tensor_of_stem.tolist())
        if self.space.one_width:  # the width is the first of the stem's knobs, so the slowest
            per_width = len(self._stems) // len(widths)
            return list(
                dict.fromkeys((tensor, stem // per_width) for stem, tensor in enumerate(self.tensor_of_stem.tolist()))
            )
        return list(itertools.product(tensors, widths))

    def parts(self, values: NDArray[np.float64]) -> Parts:
        """Return a flat array (entries,) by kind of piece."""
        kinds = np.split(values[:-1], self._first[1:-1])
        return Parts(*(kind.reshape(shape) for kind, shape in zip(kinds, self._shapes, strict=True)))

    def pieces(self) -> Iterator[tuple[int, Piece]]:
        """Yield every piece with the number of its entry; entries of pieces that no network has are left out.

        Raises
        ------
        SpaceError
            If what a block makes depends on its kernel or expand ratio, on what it reads, or on its stage's depth.
        """
        for row, resolution in enumerate(self.resolutions):
            before: dict[int, Piece] = {}
            for stem, values in enumerate(self._stems):
                piece = self.space.entrance(resolution, values)
                before.setdefault(int(self.tensor_of_stem[stem]), piece)
                yield self._entry(0, row, stem), piece
            for stage, depths in enumerate(self.space.depths):
                before = yield from self._stage(row, stage, depths, before)
            for width, source in before.items():
                yield self._entry(2, row, width), self.space.exit(source)

    def look_ups(self, genomes: Genomes) -> NDArray[np.int64]:
        """Return the entries that make up each network: (blocks + 2, n) for genomes (n, knobs), canonical or not.

        Raises
        ------
        SpaceError
            If a genome is not one of the space, or its resolution none of this index.
        """
        space = self.space
        self._check(genomes)
        genes = np.ascontiguousarray(genomes.T)
        row, stem = self._row[genes[0]], np.zeros(len(genomes), dtype=np.int64)
        for knob, gene in zip(space.stem, genes[space.columns.stem], strict=True):
            stem = stem * len(knob.choices) + gene
        width, kernel, expand = (taken(genomes, gene).T for gene in space.gene_of)
        handed_on = np.vstack([self.tensor_of_stem[stem], width])
        stage = space.stage_of_block
        blocks = row * len(stage) + np.arange(len(stage))[:, None]
        digits = (
            handed_on[np.where(space.rank_of_block == 0, stage, stage + 1)],
            handed_on[stage + 1],
            kernel,
            expand,
        )
        for digit, choices in zip(digits, self._shapes[1][2:], strict=True):
            blocks = blocks * choices + digit
        return np.vstack([
            self._first[0] + row * len(self._stems) + stem,
            np.where(space.active_blocks(genomes).T, self._first[1] + blocks, self.entries - 1),
            self._first[2] + row * self._shapes[2][1] + handed_on[-1],
        ])  # fmt: skip

    def totals(self, genomes: Genomes, *quantities: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        """Return the sums (n,) over the pieces of each network, for quantities given as flat arrays (entries,).

        Terms are added from the entrance to the exit.

        Raises
        ------
        SpaceError
            As :meth:`look_ups`.
        """
        sums = tuple(np.empty(len(genomes)) for _ in quantities)
        for start in range(0, len(genomes), _CHUNK):
            part = slice(start, start + _CHUNK)
            entries = self.look_ups(genomes[part])
            for total, values in zip(sums, quantities, strict=True):
                total[part] = values[entries[0]]
                for row in entries[1:]:  # numpy's sum would add those of one network alone in another order
                    total[part] += values[row]
        return sums

    def _number_tensors(self) -> NDArray[np.int64]:
        """Number the tensors that stems hand on, by their shape at every resolution, and by the width where there is one."""
        numbers: dict[tuple[TensorShape | int, ...], int] = {}
        return np.array([
            numbers.setdefault((
                *(self.space.entrance(resolution, stem).shape for resolution in self.resolutions),
                *(stem[:1] if self.space.one_width else ()),
            ), len(numbers))
            for stem in self._stems
        ])  # fmt: skip

    def _entry(self, kind: int, *place: int) -> int:
        return int(self._first[kind] + np.ravel_multi_index(place, self._shapes[kind]))

    def _stage(
        self, row: int, stage: int, depths: tuple[int, ...], before: dict[int, Piece]
    ) -> Generator[tuple[int, Piece], None, dict[int, Piece]]:
        """Yield the blocks of a stage behind one piece per incoming tensor; return one of the last block per width."""
        ends: dict[int, Piece] = {}
        for block in np.flatnonzero(self.space.stage_of_block == stage).tolist():
            made: dict[int, Piece] = {}
            for entry, width, piece in self._block(row, block, before):
                self._agree(made.setdefault(width, piece), piece)
                yield entry, piece
            before = made
            if self.space.rank_of_block[block] + 1 in depths:
                for width, piece in made.items():
                    self._agree(ends.setdefault(width, piece), piece)
        return before

    def _block(self, row: int, block: int, before: dict[int, Piece]) -> Iterator[tuple[int, int, Piece]]:
        """Yield entry, width (its index) and piece of one block, for all that it may read and all choices."""
        stage, rank = int(self.space.stage_of_block[block]), int(self.space.rank_of_block[block])
        _, widths, kernels, expands = self.space.stages[stage]
        passes = [(width, width) for width in range(len(widths))] if rank else self.passes(stage)
        for incoming, width in passes:
            for kernel, expand in itertools.product(range(len(kernels)), range(len(expands))):
                choice = Block(stage + 1, rank + 1, kernels[kernel], expands[expand], widths[width])
                entry = self._entry(1, row, block, incoming, width, kernel, expand)
                yield entry, width, self.space.block(before[incoming], choice)

    def _agree(self, one: Piece, other: Piece) -> None:
        """Refuse two blocks of one place and width that make different shapes."""
        if one.shape != other.shape:
            raise SpaceError(
                f"space {self.space.name!r}: {_made(one)}, {_made(other)}: what a block makes may depend on nothing but "
                "the resolution and the width of its stage, as otherwise what comes behind it has a cost for every history"
            )

    def _check(self, genomes: Genomes) -> None:
        space = self.space
        if genomes.ndim != 2 or genomes.shape[1] != len(space.knobs):
            raise SpaceError(f"space {space.name!r}: genomes are (n, {len(space.knobs)}), not {genomes.shape}")
        wrong = ((genomes < 0) | (genomes >= space.choices_per_knob)).any(axis=1)
        if wrong.any():
            space.check(genomes[int(wrong.argmax())])
        absent = self._row[genomes[:, 0]] < 0
        if absent.any():
            resolution = space.knobs[0].choices[int(genomes[int(absent.argmax()), 0])]
            there = ", ".join(map(str, self.resolutions))
            raise SpaceError(f"space {space.name!r}: resolution {resolution} px was left out; there are: {there}")


def _made(piece: Piece) -> str:
    shape = piece.shape
    return f"{piece.last} makes {shape.channels} x {shape.height} x {shape.width} elements"
