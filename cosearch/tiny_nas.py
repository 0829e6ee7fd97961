"""TinyNAS's first step: which width and resolution to search, for a memory that is given.

Of every sub-space of one width and one resolution some networks are drawn; those that fit the memory are kept. A network
with more multiply-accumulates tends to be more accurate, so the sub-space whose fitting networks have more of them is the
better one to search: TinyNAS compares their distributions, and so does this.

The memory model is that of :mod:`accel_models.memory_plan` at one byte per element: every tensor that lives at a step takes
its whole size, so a depth-wise layer has its input beside its output (no in-place convolution, no image patches). Between
two blocks nothing but one tensor is alive, so a network's peak is the largest of its pieces' peaks. In flash lie the
parameters, one byte each; a program's code is on top of that, and takes some 100 KiB.

References
----------
Lin et al., MCUNet: Tiny Deep Learning on IoT Devices, NeurIPS 2020, section 3.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accel_models.memory_plan import memory_plan
from accel_models.workload import INPUT, Layer, Network
from cosearch.errors import SearchError
from cosearch.space import Genomes, NetworkSpace
from cosearch.spaces.piece_index import PieceIndex
from cosearch.spaces.pieces import Piece, PiecewiseSpace

if TYPE_CHECKING:
    import pandas as pd

KIB = 1024
LEAST_FITTING = 0.1
"""Share of a sub-space's networks that has to fit for the sub-space to be ranked: the mean of a few says little."""


@dataclass(frozen=True)
class SubSpace:
    """One width and resolution.

    Attributes
    ----------
    width, resolution_px
        What all of its networks have in common; the width in the space's own unit (per cent for MCUNet).
    samples
        Networks drawn.
    macs
        Multiply-accumulates of those that fit, ascending.
    """

    width: int
    resolution_px: int
    samples: int
    macs: tuple[int, ...] = field(repr=False)

    @property
    def label(self) -> str:
        """What names it behind the space's name: ``w50-r144``."""
        return f"w{self.width}-r{self.resolution_px}"

    @property
    def fitting(self) -> float:
        """Share of the networks that fit."""
        return len(self.macs) / self.samples

    @property
    def mean_macs(self) -> float:
        """Mean over the fitting networks; NaN if none fits."""
        return float(np.mean(self.macs)) if self.macs else float("nan")

    def quantile_macs(self, share: float) -> float:
        """Return what a share of the fitting networks has at most; NaN if none fits."""
        return float(np.quantile(self.macs, share)) if self.macs else float("nan")


@dataclass(frozen=True)
class Selection:
    """Sub-spaces, the best one first.

    Attributes
    ----------
    space
        Name of the space.
    sram_kib, flash_kib
        The memory to be kept.
    samples, seed
        Networks drawn per sub-space, and from which random numbers.
    ranked
        Sub-spaces of which :data:`LEAST_FITTING` fit, by their fitting networks' mean multiply-accumulates, descending.
    unranked
        The others, those of which more fit first.
    """

    space: str
    sram_kib: float
    flash_kib: float
    samples: int
    seed: int
    ranked: tuple[SubSpace, ...]
    unranked: tuple[SubSpace, ...]

    @property
    def best(self) -> SubSpace:
        """The sub-space to search.

        Raises
        ------
        SearchError
            If there is none.
        """
        if not self.ranked:
            raise SearchError(
                f"space {self.space!r}: of no width and resolution do {LEAST_FITTING:.0%} of the networks fit {self.sram_kib:g} "
                f"KiB of SRAM and {self.flash_kib:g} KiB of flash"
            )
        return self.ranked[0]

    def name(self, part: SubSpace) -> str:
        """Return the name under which a sub-space is loaded."""
        space, _, words = self.space.partition("@")
        kept = [word for word in words.split("-") if word and not re.match(r"[wr]\d", word)]
        return f"{space}@{'-'.join([*kept, part.label])}"

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per sub-space, the ranked ones first; `rank` is empty for the others."""
        import pandas as pd

        rows = [
            {
                "rank": rank, "space": self.name(part), "width": part.width, "resolution_px": part.resolution_px,
                "fitting_percent": 100 * part.fitting, "mean_mmacs": part.mean_macs / 1e6,
                "median_mmacs": part.quantile_macs(0.5) / 1e6, "p90_mmacs": part.quantile_macs(0.9) / 1e6,
            }
            for rank, part in [*enumerate(self.ranked, 1), *((None, part) for part in self.unranked)]
        ]  # fmt: skip
        return pd.DataFrame(rows).astype({"rank": "Int64"})


def select_sub_space(
    space: NetworkSpace, *, sram_kib: float, flash_kib: float, samples: int = 1000, seed: int = 0
) -> Selection:
    """Rank the sub-spaces of one width and resolution for a memory; the same seed gives the same ranking.

    Parameters
    ----------
    space
        One with a single width for the whole network, such as ``mcunet``.
    sram_kib, flash_kib
        What activations, and weights, at one byte each may take, in units of 1,024 bytes.
    samples
        Networks drawn per sub-space.

    Raises
    ------
    SearchError
        If the space has no such width, or a number is not positive.
    """
    if not isinstance(space, PiecewiseSpace) or not space.one_width:
        raise SearchError(
            f"space {space.name!r} has no sub-spaces to select from: it has no one width for the whole network"
        )
    for name, number in (("sram_kib", sram_kib), ("flash_kib", flash_kib), ("samples", samples)):
        if not number > 0:
            raise SearchError(f"{name} = {number} must be positive")
    table = MemoryTable(space)
    parts = []
    for genomes, width, resolution in _samples(space, samples, seed):
        peak, params, macs = table.of(genomes)
        fits = (peak <= sram_kib * KIB) & (params <= flash_kib * KIB)
        parts.append(SubSpace(width, resolution, samples, tuple(np.sort(macs[fits]).tolist())))
    ranked = sorted((part for part in parts if part.fitting >= LEAST_FITTING), key=lambda part: -part.mean_macs)
    others = sorted((part for part in parts if part.fitting < LEAST_FITTING), key=lambda part: -part.fitting)
    return Selection(space.name, sram_kib, flash_kib, samples, seed, tuple(ranked), tuple(others))


class MemoryTable:
    """Peak memory, parameters and multiply-accumulates of every piece of a space, so that networks are look-ups.

    Parameters
    ----------
    space
        The space.
    """

    def __init__(self, space: PiecewiseSpace) -> None:
        self._index = PieceIndex(space)
        self._values = np.zeros((3, self._index.entries), dtype=np.int64)
        for entry, piece in self._index.pieces():
            macs = sum(node.op.macs for node in piece.nodes if isinstance(node.op, Layer))
            self._values[:, entry] = peak_bytes(piece), sum(node.params for node in piece.nodes), macs

    def of(self, genomes: Genomes) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return peak memory in bytes at one byte per element, parameters and multiply-accumulates of networks, (n,) each."""
        peak, params, macs = self._values[:, self._index.look_ups(genomes)]
        return peak.max(axis=0), params.sum(axis=0), macs.sum(axis=0)


def peak_bytes(piece: Piece) -> int:
    """Return the most that lives at once while a piece runs, at one byte per element, its input included."""
    own = {node.name for node in piece.nodes}
    nodes = (
        replace(node, inputs=tuple(name if name in own else INPUT for name in node.inputs)) for node in piece.nodes
    )
    return memory_plan(Network(piece.last, tuple(nodes), piece.reads)).peak_bytes


def _samples(space: PiecewiseSpace, samples: int, seed: int) -> Iterator[tuple[Genomes, int, int]]:
    """Yield random genomes per width and resolution; each pair has a stream of its own."""
    resolutions = space.knobs[0].choices
    for width_gene, width in enumerate(space.widths):
        for resolution_gene, resolution in enumerate(resolutions):
            genomes = space.sample_genomes(np.random.default_rng([seed, width, resolution]), samples)
            genomes[:, 0], genomes[:, space.columns.stem.start] = resolution_gene, width_gene
            yield genomes, width, resolution
