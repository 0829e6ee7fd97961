"""The Once-for-All space over MobileNetV3: five stages of 2 to 4 inverted bottlenecks.

References
----------
Cai et al., Once-for-All: Train One Network and Specialize it for Efficient Deployment, ICLR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

from accel_models.errors import unknown_name
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network, Node, TensorShape
from cosearch.errors import SpaceError
from cosearch.space import Genomes
from cosearch.spaces.elastic import Block, ElasticSpace


@dataclass(frozen=True, slots=True)
class _Plan:
    """Channels of one width of the supernet, and the resolutions it was trained for."""

    name: str
    stem: int
    stages: tuple[int, ...]
    final_expand: int
    feature_mix: int
    resolutions: range


_PLANS = {
    1.0: _Plan("ofa-mobilenet-v3", 16, (24, 40, 80, 112, 160), 960, 1280, range(128, 225, 4)),
    1.2: _Plan("ofa-mobilenet-v3-w1.2", 24, (32, 48, 96, 136, 192), 1152, 1536, range(160, 225, 4)),
}

_STRIDES = (2, 2, 2, 1, 2)
_ACTIVATIONS = ("relu", "relu", "h_swish", "h_swish", "h_swish")
_GATED = (False, True, False, True, True)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Nodes of a part of a network, and the tensor that it hands on."""

    nodes: tuple[Node, ...]
    last: str
    shape: TensorShape


class OfaMobileNetV3(ElasticSpace):
    """Sub-networks of the OFA-MobileNetV3 supernet.

    Per block a kernel of 3, 5 or 7 and an expand ratio of 3, 4 or 6, per stage a depth of 2, 3 or 4: 2.2e19 networks
    per resolution. Stage s owns the blocks 4(s-1)+1 to 4s of the knobs.

    Parameters
    ----------
    width
        Width of the supernet: 1.0 (128 to 224 px) or 1.2 (160 to 224 px).

    Raises
    ------
    SpaceError
        If there is no supernet of that width.
    """

    def __init__(self, width: float = 1.0) -> None:
        if width not in _PLANS:
            raise SpaceError("OFA-MobileNetV3: " + unknown_name("width", str(width), map(str, _PLANS)))
        self.width = width
        self._plan = plan = _PLANS[width]
        super().__init__(
            plan.name,
            f"OFA-MobileNetV3, width {width}: depth 2-4, kernel 3/5/7, expand 3/4/6, "
            f"{plan.resolutions[0]}-{plan.resolutions[-1]} px",
            resolutions=plan.resolutions,
            depths=((2, 3, 4),) * len(plan.stages),
            kernels=(3, 5, 7),
            expands=(3, 4, 6),
        )
        # a few thousand entries at most: a block's nodes depend on its choices, the image size and what it reads
        self._pieces: dict[tuple[int | str, ...], _Piece] = {}

    def __reduce__(self) -> tuple[type[OfaMobileNetV3], tuple[float]]:
        """Travel to another process as the width alone, without the cached nodes."""
        return type(self), (self.width,)

    def network(self, genome: Genomes) -> Network:
        """Return the network that a genome (knobs,) describes; networks share the nodes of blocks they share.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        blocks = self.blocks(genome)
        resolution = self._plan.resolutions[int(genome[0])]
        piece = self._entrance(resolution)
        nodes = list(piece.nodes)
        for block in blocks:
            piece = self._bottleneck(block, piece)
            nodes += piece.nodes
        nodes += self._exit(piece).nodes
        image = TensorShape(3, resolution, resolution)
        return Network(self.name, tuple(nodes), image, "OFA-MobileNetV3, Cai et al., ICLR 2020")

    def _entrance(self, resolution: int) -> _Piece:
        key = ("entrance", resolution)
        if key not in self._pieces:
            net = NetworkBuilder(self.name, height=resolution)
            net.conv("stem", self._plan.stem, 3, stride=2, activation="h_swish")
            net.mbconv("first", self._plan.stem, 3, activation="relu")
            self._pieces[key] = _piece(net)
        return self._pieces[key]

    def _bottleneck(self, block: Block, before: _Piece) -> _Piece:
        key = (*block, before.shape.height, before.last)
        if key not in self._pieces:
            stage = block.stage - 1
            net = NetworkBuilder.after(self.name, before.last, before.shape)
            net.mbconv(
                f"stage{block.stage}.block{block.block}",
                self._plan.stages[stage],
                block.kernel,
                block.expand,
                stride=_STRIDES[stage] if block.block == 1 else 1,
                squeeze_excite=_GATED[stage],
                activation=_ACTIVATIONS[stage],
            )
            self._pieces[key] = _piece(net)
        return self._pieces[key]

    def _exit(self, before: _Piece) -> _Piece:
        key = ("exit", before.shape.height, before.last)
        if key not in self._pieces:
            net = NetworkBuilder.after(self.name, before.last, before.shape)
            net.conv("final_expand", self._plan.final_expand, 1, activation="h_swish")
            net.global_pool("pool")
            net.conv("feature_mix", self._plan.feature_mix, 1, batch_norm=False, activation="h_swish")
            net.linear("classifier", 1000)
            self._pieces[key] = _piece(net)
        return self._pieces[key]


def _piece(net: NetworkBuilder) -> _Piece:
    return _Piece(tuple(net.nodes), net.last, net.shapes[net.last])


def width_1_0() -> OfaMobileNetV3:
    """Return the space of width 1.0 (entry point ``ofa-mobilenet-v3``)."""
    return OfaMobileNetV3(1.0)


def width_1_2() -> OfaMobileNetV3:
    """Return the space of width 1.2 (entry point ``ofa-mobilenet-v3-w1.2``)."""
    return OfaMobileNetV3(1.2)
