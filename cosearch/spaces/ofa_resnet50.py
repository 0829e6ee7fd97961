"""The Once-for-All space over ResNet50-D: four stages of bottlenecks with elastic depth, width and reduction.

What is elastic, and the channels, are those of the public supernet ``ofa_resnet50`` (mit-han-lab/once-for-all). Its
ratios are per cent here, so that all knobs are whole numbers.

References
----------
Cai et al., Once-for-All: Train One Network and Specialize it for Efficient Deployment, ICLR 2020.
He et al., Bag of Tricks for Image Classification with Convolutional Neural Networks, CVPR 2019 (ResNet-D).
Lin et al., NAAS: Neural Accelerator Architecture Search, DAC 2021 (the resolutions).
"""

from __future__ import annotations

from accel_models.blocks import bottleneck
from accel_models.network_builder import NetworkBuilder, make_divisible
from cosearch.space import Knob
from cosearch.spaces.elastic import Block
from cosearch.spaces.pieces import PiecewiseSpace

_STEM = 64
_STAGES = (256, 512, 1024, 2048)
_STRIDES = (1, 2, 2, 2)
_WIDTHS_PERCENT = (65, 80, 100)


class OfaResNet50(PiecewiseSpace):
    """Sub-networks of the OFA-ResNet50D supernet.

    Per stage a width of 65, 80 or 100 % and a depth of 2 to 4 (stage 3: 4 to 6), per block middle channels of 20, 25
    or 35 % of its output channels: 1.6e12 networks per resolution. The 18 blocks of the knobs are 4, 4, 6 and 4 per
    stage. The three knobs of the stem:

    * ``stem_depth``: 3 convolutions, or 2 where the one with a residual is left out;
    * ``stem_mid_width``: channels inside the stem. The supernet's choices of 65 and 80 % are one network, as both are
      rounded to 24 channels; that is 65 here;
    * ``stem_width``: channels that the stem hands on.

    Resolutions are those that NAAS searched, 128 to 256 px in steps of 16; the supernet's authors print 128 to 224 px,
    and their accuracy predictor knows these but 208.
    """

    source = "OFA-ResNet50D, Cai et al., ICLR 2020, as mit-han-lab/once-for-all publishes it"

    def __init__(self) -> None:
        super().__init__(
            "ofa-resnet50",
            "OFA-ResNet50D: width 65/80/100 %, depth 2-4 (stage 3: 4-6), middle 20/25/35 %, 128-256 px",
            resolutions=range(128, 257, 16),
            depths=((2, 3, 4), (2, 3, 4), (4, 5, 6), (2, 3, 4)),
            kernels=(3,),
            expands=(20, 25, 35),
            expand_unit="%",
            widths=_WIDTHS_PERCENT,
            stem=(
                Knob("stem_depth", (2, 3)),
                Knob("stem_mid_width", (65, 100), "%"),
                Knob("stem_width", _WIDTHS_PERCENT, "%"),
            ),
        )

    def add_entrance(self, net: NetworkBuilder, stem: tuple[int, ...]) -> None:
        """Add the stem: two or three convolutions and a maximum pool."""
        depth, mid_width, width = stem
        middle = make_divisible(_channels(_STEM, mid_width) // 2)
        before = net.conv("stem.conv1", middle, 3, stride=2, activation="relu")
        if depth == 3:
            net.add("stem.add", before, net.conv("stem.conv2", middle, 3, activation="relu"))
        net.conv("stem.conv3", _channels(_STEM, width), 3, activation="relu")
        net.pool("stem.pool", 3, stride=2)

    def add_block(self, net: NetworkBuilder, block: Block) -> None:
        """Add one bottleneck."""
        out_channels = _channels(_STAGES[block.stage - 1], block.width)
        bottleneck(
            net,
            f"stage{block.stage}.block{block.block}",
            make_divisible(round(out_channels * block.expand / 100)),
            out_channels,
            _STRIDES[block.stage - 1] if block.block == 1 else 1,
            pooled=True,
        )

    def add_exit(self, net: NetworkBuilder) -> None:
        """Add global pooling and the classifier."""
        net.global_pool("pool")
        net.linear("classifier", 1000)


def _channels(full: int, percent: int) -> int:
    return make_divisible(full * percent / 100)
