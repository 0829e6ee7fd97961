"""The parts that networks of a space are made of: what a table has to have rows for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from cosearch.efficiency.parts import NamedPart, parts_of, parts_of_network
from cosearch.space import NetworkSpace
from cosearch.spaces.piece_index import PieceIndex
from cosearch.spaces.pieces import Piece, PiecewiseSpace


def parts_of_piece(piece: Piece) -> list[NamedPart]:
    """Return the parts of a piece of an elastic space's networks."""
    return parts_of(piece.nodes, {source: piece.reads for node in piece.nodes[:1] for source in node.inputs})


def parts_of_space(
    space: NetworkSpace, resolutions: Sequence[int] | None = None, samples: int = 1000, seed: int = 0
) -> list[NamedPart]:
    """Return the distinct parts of a space's networks, each under the first name it is met with.

    Of a space that is made of pieces all of them, at all or the given resolutions (px); of others those of random networks.

    Raises
    ------
    SpaceError
        If a resolution is not one of the space's.
    """
    groups: Iterable[list[NamedPart]]
    if isinstance(space, PiecewiseSpace):
        groups = (parts_of_piece(piece) for _, piece in PieceIndex(space, resolutions).pieces())
    else:
        genomes = space.sample_genomes(np.random.default_rng(seed), samples)
        groups = (parts_of_network(space.network(genome)) for genome in genomes)
    first: dict[object, NamedPart] = {}
    for group in groups:
        for named in group:
            first.setdefault(named.part, named)
    return list(first.values())
