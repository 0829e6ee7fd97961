"""The space of AttentiveNAS and AlphaNet: seven stages of inverted bottlenecks, chosen per stage.

References
----------
Wang et al., AttentiveNAS: Improving Neural Architecture Search via Attentive Sampling, CVPR 2021, table 1.
Wang et al., AlphaNet: Improved Training of Supernets with Alpha-Divergence, ICML 2021 (the same space).
"""

from __future__ import annotations

from typing import NamedTuple

from accel_models.network_builder import NetworkBuilder
from cosearch.space import Knob
from cosearch.spaces.elastic import Block
from cosearch.spaces.pieces import PiecewiseSpace


class _Stage(NamedTuple):
    """One stage: its choices, and what is fixed."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    expands: tuple[int, ...]
    stride: int
    squeeze_excite: bool


_STAGES = (
    _Stage((16, 24), (1, 2), (3, 5), (1,), 1, False),
    _Stage((24, 32), (3, 4, 5), (3, 5), (4, 5, 6), 2, False),
    _Stage((32, 40), (3, 4, 5, 6), (3, 5), (4, 5, 6), 2, True),
    _Stage((64, 72), (3, 4, 5, 6), (3, 5), (4, 5, 6), 2, False),
    _Stage((112, 120, 128), (3, 4, 5, 6, 7, 8), (3, 5), (4, 5, 6), 1, True),
    _Stage((192, 200, 208, 216), (3, 4, 5, 6, 7, 8), (3, 5), (6,), 2, True),
    _Stage((216, 224), (1, 2), (3, 5), (6,), 1, True),
)
_HEAD = _Stage((1792, 1984), (1,), (1,), (6,), 1, False)


class AttentiveNas(PiecewiseSpace):
    """Sub-networks of AttentiveNAS's supernet.

    Per stage a width (in channels), a depth, one kernel and one expand ratio for all of its blocks; the stem's channels.
    Stage 8 is the head, of which only the width is to choose: a 1x1 convolution to six times the channels, global pooling,
    and a layer that mixes features to 1792 or 1984. 1.1e11 networks per resolution, 192, 224, 256 or 288 px.

    Every block has a shortcut; where shapes differ, an average pool and a 1x1 convolution without batch normalisation are
    on it, whatever is needed. So the largest network lacks weights that smaller ones have, and the space has no `Supernet`.
    """

    source = "AttentiveNAS, Wang et al., CVPR 2021"

    def __init__(self) -> None:
        stages = (*_STAGES, _HEAD)
        super().__init__(
            "attentive-nas",
            "AttentiveNAS: stages mb1-mb7 with a width, depth, kernel 3/5 and expand 1/4/5/6 each, 192-288 px",
            resolutions=range(192, 289, 32),
            depths=tuple(stage.depths for stage in stages),
            kernels=tuple(stage.kernels for stage in stages),
            expands=tuple(stage.expands for stage in stages),
            widths=tuple(stage.widths for stage in stages),
            width_unit="channels",
            stem=(Knob("stem_width", (16, 24), "channels"),),
            per_stage=True,
        )

    def add_entrance(self, net: NetworkBuilder, stem: tuple[int, ...]) -> None:
        """Add the first convolution."""
        net.conv("stem", stem[0], 3, stride=2, activation="swish")

    def add_block(self, net: NetworkBuilder, block: Block) -> None:
        """Add one inverted bottleneck, or the head up to the classifier."""
        if block.stage > len(_STAGES):
            channels = net.shapes[net.last].channels
            net.conv("head.expand", channels * block.expand, 1, activation="swish")
            net.global_pool("head.pool")
            net.conv("head.mix", block.width, 1, batch_norm=False, activation="swish")
            return
        stage, name, source = _STAGES[block.stage - 1], f"mb{block.stage}.block{block.block}", net.last
        stride = stage.stride if block.block == 1 else 1
        made = net.mbconv(
            name,
            block.width,
            block.kernel,
            block.expand,
            stride=stride,
            squeeze_excite=stage.squeeze_excite,
            activation="swish",
            residual=False,
        )
        if stride > 1:
            source = net.pool(f"{name}.shortcut.pool", stride, kind="average", x=source)
        if net.shapes[source].channels != block.width:
            source = net.conv(f"{name}.shortcut.conv", block.width, 1, batch_norm=False, x=source)
        net.add(f"{name}.add", source, made)

    def add_exit(self, net: NetworkBuilder) -> None:
        """Add the classifier."""
        net.linear("classifier", 1000)
