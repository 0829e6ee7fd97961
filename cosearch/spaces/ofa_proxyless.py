"""The Once-for-All space over ProxylessNAS, width 1.3: six stages of inverted bottlenecks without squeeze-and-excitation.

References
----------
Cai et al., Once-for-All: Train One Network and Specialize it for Efficient Deployment, ICLR 2020.
Cai et al., ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware, ICLR 2019.
"""

from __future__ import annotations

from accel_models.network_builder import NetworkBuilder, make_divisible
from cosearch.spaces.elastic import Block
from cosearch.spaces.pieces import PiecewiseSpace

_WIDTH = 1.3
_STEM, _FIRST, *_STAGES, _FEATURE_MIX = (
    make_divisible(_WIDTH * channels) for channels in (32, 16, 24, 40, 80, 96, 192, 320, 1280)
)
_STRIDES = (2, 2, 2, 1, 2, 1)


class OfaProxyless(PiecewiseSpace):
    """Sub-networks of the OFA-ProxylessNAS supernet of width 1.3, the one that was published.

    Per block a kernel of 3, 5 or 7 and an expand ratio of 3, 4 or 6; stages 1 to 5 have a depth of 2, 3 or 4, stage 6
    is one block: 2.0e20 networks per resolution. Stage s owns the blocks 4(s-1)+1 to 4s of the knobs, stage 6 block 21.
    """

    batch_norm_eps = 1e-3
    source = "OFA-ProxylessNAS, Cai et al., ICLR 2020"

    def __init__(self) -> None:
        super().__init__(
            "ofa-proxyless",
            "OFA-ProxylessNAS, width 1.3: depth 2-4, kernel 3/5/7, expand 3/4/6, 128-224 px",
            resolutions=range(128, 225, 4),
            depths=(*((2, 3, 4),) * 5, (1,)),
            kernels=(3, 5, 7),
            expands=(3, 4, 6),
        )

    def add_entrance(self, net: NetworkBuilder, stem: tuple[int, ...]) -> None:
        """Add the first convolution and the one block that is fixed."""
        net.conv("stem", _STEM, 3, stride=2, activation="relu6")
        net.mbconv("first", _FIRST, 3)

    def add_block(self, net: NetworkBuilder, block: Block) -> None:
        """Add one inverted bottleneck."""
        net.mbconv(
            f"stage{block.stage}.block{block.block}",
            _STAGES[block.stage - 1],
            block.kernel,
            block.expand,
            stride=_STRIDES[block.stage - 1] if block.block == 1 else 1,
        )

    def add_exit(self, net: NetworkBuilder) -> None:
        """Add the layer that mixes features, global pooling and the classifier."""
        net.conv("feature_mix", _FEATURE_MIX, 1, activation="relu6")
        net.global_pool("pool")
        net.linear("classifier", 1000)
