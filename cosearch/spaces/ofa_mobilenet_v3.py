"""The Once-for-All space over MobileNetV3: five stages of 2 to 4 inverted bottlenecks.

References
----------
Cai et al., Once-for-All: Train One Network and Specialize it for Efficient Deployment, ICLR 2020.
"""

from __future__ import annotations

from dataclasses import dataclass

from accel_models.errors import unknown_name
from accel_models.network_builder import NetworkBuilder
from cosearch.errors import SpaceError
from cosearch.spaces.elastic import Block
from cosearch.spaces.pieces import PiecewiseSpace


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


class OfaMobileNetV3(PiecewiseSpace):
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

    source = "OFA-MobileNetV3, Cai et al., ICLR 2020"

    def __init__(self, width: float = 1.0) -> None:
        if width not in _PLANS:
            raise SpaceError("OFA-MobileNetV3: " + unknown_name("width", str(width), map(str, _PLANS)))
        self.width = width
        self.arguments = (width,)
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

    def add_entrance(self, net: NetworkBuilder, stem: tuple[int, ...]) -> None:
        """Add the first convolution and the one block that is fixed."""
        net.conv("stem", self._plan.stem, 3, stride=2, activation="h_swish")
        net.mbconv("first", self._plan.stem, 3, activation="relu")

    def add_block(self, net: NetworkBuilder, block: Block) -> None:
        """Add one inverted bottleneck."""
        stage = block.stage - 1
        net.mbconv(
            f"stage{block.stage}.block{block.block}",
            self._plan.stages[stage],
            block.kernel,
            block.expand,
            stride=_STRIDES[stage] if block.block == 1 else 1,
            squeeze_excite=_GATED[stage],
            activation=_ACTIVATIONS[stage],
        )

    def add_exit(self, net: NetworkBuilder) -> None:
        """Add the layers that mix features, before and after global pooling, and the classifier."""
        net.conv("final_expand", self._plan.final_expand, 1, activation="h_swish")
        net.global_pool("pool")
        net.conv("feature_mix", self._plan.feature_mix, 1, batch_norm=False, activation="h_swish")
        net.linear("classifier", 1000)


def width_1_0() -> OfaMobileNetV3:
    """Return the space of width 1.0 (entry point ``ofa-mobilenet-v3``)."""
    return OfaMobileNetV3(1.0)


def width_1_2() -> OfaMobileNetV3:
    """Return the space of width 1.2 (entry point ``ofa-mobilenet-v3-w1.2``)."""
    return OfaMobileNetV3(1.2)
