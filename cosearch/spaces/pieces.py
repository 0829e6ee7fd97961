"""Networks of an elastic space, put together from pieces that are built once each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from accel_models.network_builder import NetworkBuilder
from accel_models.workload import INPUT, Network, Node, TensorShape
from cosearch.space import Genomes
from cosearch.spaces.elastic import Block, ElasticSpace


@dataclass(frozen=True, slots=True)
class Piece:
    """Nodes of a part of a network, the tensor that it hands on, and the shape of the one that it reads."""

    nodes: tuple[Node, ...]
    last: str
    shape: TensorShape
    reads: TensorShape


class PiecewiseSpace(ElasticSpace):
    """An elastic space whose networks are an entrance, one piece per active block, and an exit.

    A piece depends on what is chosen for it and on the tensor that it reads, so there are a few thousand at most;
    networks that share a block share its nodes. A subclass says how each kind of piece is built.

    Attributes
    ----------
    source
        Where the structure of its networks comes from.
    image_channels
        Of the image that its networks read: 3 for RGB.
    batch_norm_eps
        What their batch normalisations add to the variance.
    arguments
        What the subclass's constructor took; the space travels to another process as these alone.
    """

    source: str
    image_channels: int = 3
    batch_norm_eps: float = 1e-5
    arguments: tuple[Any, ...] = ()

    def __reduce__(self) -> tuple[type[PiecewiseSpace], tuple[Any, ...]]:
        """Travel to another process without the cached nodes."""
        return type(self), self.arguments

    def network(self, genome: Genomes) -> Network:
        """Return the network that a genome (knobs,) describes.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        blocks = self.blocks(genome)
        resolution = self.knobs[0].choices[int(genome[0])]
        piece = self.entrance(resolution, self.stem_values(genome))
        nodes = list(piece.nodes)
        for block in blocks:
            piece = self.block(piece, block)
            nodes += piece.nodes
        nodes += self.exit(piece).nodes
        return Network(self.name, tuple(nodes), self._image(resolution), self.source)

    def entrance(self, resolution: int, stem: tuple[int, ...]) -> Piece:
        """Return what comes before the stages, for an image of so many pixels; `stem` holds the stem knobs' values."""
        image = self._image(resolution)
        return self._piece(Piece((), INPUT, image, image), self.add_entrance, stem)

    def block(self, before: Piece, block: Block) -> Piece:
        """Return a block that reads what `before` hands on."""
        return self._piece(before, self.add_block, block)

    def exit(self, before: Piece) -> Piece:
        """Return what comes after the stages, reading what `before` hands on."""
        return self._piece(before, self.add_exit)

    @abstractmethod
    def add_entrance(self, net: NetworkBuilder, stem: tuple[int, ...]) -> None:
        """Add what comes before the stages; `stem` holds the values of the stem's knobs."""

    @abstractmethod
    def add_block(self, net: NetworkBuilder, block: Block) -> None:
        """Add one block."""

    @abstractmethod
    def add_exit(self, net: NetworkBuilder) -> None:
        """Add what comes after the stages."""

    def _image(self, resolution: int) -> TensorShape:
        return TensorShape(self.image_channels, resolution, resolution)

    @cached_property
    def _pieces(self) -> dict[tuple[Any, ...], Piece]:
        return {}

    def _piece(self, before: Piece, add: Callable[..., None], *choice: tuple[int, ...]) -> Piece:
        key = (add.__name__, choice, before.last, before.shape.channels, before.shape.height)
        piece = self._pieces.get(key)
        if piece is None:
            net = NetworkBuilder.after(self.name, before.last, before.shape, batch_norm_eps=self.batch_norm_eps)
            add(net, *choice)
            piece = self._pieces[key] = Piece(tuple(net.nodes), net.last, net.shapes[net.last], before.shape)
        return piece
