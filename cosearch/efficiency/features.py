"""Numbers that describe networks of a space to a regression: their choices, their MACs and parameters."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from accel_models.workload import Layer, Node
from cosearch.space import Genomes, NetworkSpace
from cosearch.spaces.piece_index import PieceIndex
from cosearch.spaces.pieces import PiecewiseSpace

_MANY = 4
"""A knob of more whole numbers than this is a number to the regression; others are one flag per choice."""


class SpaceFeatures:
    """Features of networks of one space.

    Leading features are those that scale everything else: MACs and their logarithm if `counts`, then knobs of many whole
    numbers, such as a resolution. Then come parameters (if `counts`) and a flag per choice of the other knobs, 0 for all
    choices of a gene that does not count. Of a knob that always counts, the first choice has no flag.

    Parameters
    ----------
    space
        The space.
    counts
        Whether MACs and parameters are among the features. Of a space that is not made of pieces, every network is built
        for them.
    """

    def __init__(self, space: NetworkSpace, *, counts: bool) -> None:
        self.space, self.counts = space, counts
        self._numeric = [
            len(knob.choices) > _MANY and all(isinstance(choice, int) for choice in knob.choices)
            for knob in space.knobs
        ]
        self.scales = 2 * counts + sum(self._numeric)

    def matrix(self, genomes: Genomes) -> NDArray[np.float64]:
        """Return the features (n, f) of canonical genomes (n, knobs)."""
        active, numbers = self.space.active(genomes), self.space.numbers(genomes)
        columns: list[NDArray[np.float64]] = []
        rest: list[NDArray[np.float64]] = []
        if self.counts:
            macs, params = self.macs_and_params(genomes)
            columns += [macs, np.log(np.maximum(macs, 1.0))]
            rest.append(params)
        for index, knob in enumerate(self.space.knobs):
            if self._numeric[index]:
                columns.append(np.where(active[:, index], numbers[:, index], 0.0))
                continue
            first = 1 if self._always_active[index] else 0
            flags = (genomes[:, index] == choice for choice in range(first, len(knob.choices)))
            rest += [(flag & active[:, index]).astype(float) for flag in flags]
        return np.column_stack([*columns, *rest])

    def macs_and_params(self, genomes: Genomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return MACs and parameters (n,) of canonical genomes."""
        if self._piece_counts is not None:
            index, macs, params = self._piece_counts
            counts = index.totals(genomes, macs, params)
            return counts[0], counts[1]
        networks = (self.space.network(genome) for genome in genomes)
        rows = np.array([(network.macs, network.params) for network in networks], dtype=float).reshape(-1, 2)
        return rows[:, 0], rows[:, 1]

    @cached_property
    def _always_active(self) -> NDArray[np.bool_]:
        """Which knobs (knobs,) count in the network of all first choices, the shallowest."""
        return self.space.active(np.zeros((1, len(self.space.knobs)), dtype=np.int64))[0]

    @cached_property
    def _piece_counts(self) -> tuple[PieceIndex, NDArray[np.float64], NDArray[np.float64]] | None:
        """MACs and parameters of every piece, of a space that is made of pieces."""
        if not isinstance(self.space, PiecewiseSpace):
            return None
        index = PieceIndex(self.space)
        counts = np.full((2, index.entries), np.nan)
        counts[:, -1] = 0.0
        for entry, piece in index.pieces():
            counts[:, entry] = sum(map(_macs, piece.nodes)), sum(node.params for node in piece.nodes)
        return index, counts[0], counts[1]


def _macs(node: Node) -> int:
    return node.op.macs if isinstance(node.op, Layer) else 0
