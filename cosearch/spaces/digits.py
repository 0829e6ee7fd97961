"""A small elastic space for scikit-learn's handwritten digits: networks that a processor core trains in seconds.

It has everything that the large Once-for-All spaces have (elastic depth, kernel, expand ratio and resolution), so that
training with shared weights can be tried, tested and measured without an accelerator.
"""

from __future__ import annotations

from accel_models.network_builder import NetworkBuilder
from cosearch.spaces.elastic import Block
from cosearch.spaces.pieces import PiecewiseSpace

_STEM = 4
_STAGES = (4, 6, 8)
_STRIDES = (1, 2, 1)
_MIX = 32
_CLASSES = 10


class Digits(PiecewiseSpace):
    """Networks of three stages of inverted bottlenecks for grey images of 6, 8 or 10 px.

    Per stage a depth of 1, 2 or 3, per block a kernel of 3 or 5 and an expand ratio of 2, 4 or 6: 1.7e7 networks per
    resolution. They are narrow (4, 6 and 8 channels between blocks), so that structure makes a difference
    (`benchmarks.digits` says how much).
    """

    source = "own; for scikit-learn's digits"
    image_channels = 1

    def __init__(self) -> None:
        super().__init__(
            "digits",
            "scikit-learn's digits: depth 1-3, kernel 3/5, expand 2/4/6, 6-10 px",
            resolutions=(6, 8, 10),
            depths=((1, 2, 3),) * len(_STAGES),
            kernels=(3, 5),
            expands=(2, 4, 6),
        )

    def add_entrance(self, net: NetworkBuilder, stem: tuple[int, ...]) -> None:
        """Add the first convolution."""
        net.conv("stem", _STEM, 3, activation="relu")

    def add_block(self, net: NetworkBuilder, block: Block) -> None:
        """Add one inverted bottleneck."""
        stage = block.stage - 1
        before = _STAGES[stage] if block.block > 1 else (_STEM, *_STAGES)[stage]
        net.mbconv(
            f"stage{block.stage}.block{block.block}",
            _STAGES[stage],
            block.kernel,
            middle=before * block.expand,
            stride=_STRIDES[stage] if block.block == 1 else 1,
            activation="relu",
        )

    def add_exit(self, net: NetworkBuilder) -> None:
        """Add the layer that mixes features, global pooling and the classifier."""
        net.conv("mix", _MIX, 1, activation="relu")
        net.global_pool("pool")
        net.linear("classifier", _CLASSES)
