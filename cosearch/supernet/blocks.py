"""The building blocks of the field as torch modules: thin ones around `accel_models.blocks`, so cost and arithmetic agree.

Each is a `NetworkModule` of a network that is one block: its `network` has the MACs, parameters and layers of the block
for images of `size` x `size` pixels; it runs at any size.
"""

from __future__ import annotations

from collections.abc import Callable

from accel_models.blocks import bottleneck, depthwise_separable, shuffle_block
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.supernet.network_module import NetworkModule

SIZE = 14
"""Pixels along each side of the image that a block's cost is for, unless told."""


def _one_block(name: str, channels: int, size: int, add: Callable[[NetworkBuilder], object]) -> Network:
    net = NetworkBuilder(name, channels=channels, height=size)
    add(net)
    return net.build()


class Bottleneck(NetworkModule):
    """A ResNet's bottleneck (He et al., CVPR 2016): 1x1 to `middle` channels, 3x3, 1x1, residual, ReLU."""

    def __init__(self, channels: int, middle: int, out_channels: int, stride: int = 1, *, size: int = SIZE) -> None:
        super().__init__(
            _one_block("bottleneck", channels, size, lambda net: bottleneck(net, "block", middle, out_channels, stride))
        )


class ResNeXtBottleneck(NetworkModule):
    """A bottleneck whose 3x3 layer has groups (Xie et al., CVPR 2017)."""

    def __init__(
        self, channels: int, middle: int, out_channels: int, stride: int = 1, *, groups: int = 32, size: int = SIZE
    ) -> None:
        super().__init__(
            _one_block(
                "resnext-bottleneck",
                channels,
                size,
                lambda net: bottleneck(net, "block", middle, out_channels, stride, groups=groups),
            )
        )


class DepthwiseSeparable(NetworkModule):
    """A depth-wise and a 1x1 convolution (Howard et al., MobileNets, 2017)."""

    def __init__(
        self, channels: int, out_channels: int, kernel: int = 3, stride: int = 1, *, dilation: int = 1, size: int = SIZE
    ) -> None:
        super().__init__(
            _one_block(
                "depthwise-separable",
                channels,
                size,
                lambda net: depthwise_separable(net, "block", out_channels, kernel, stride, dilation=dilation),
            )
        )


class InvertedBottleneck(NetworkModule):
    """A MobileNetV2's block (Sandler et al., CVPR 2018), with squeeze-and-excitation if asked (MobileNetV3)."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int = 3,
        expand: float = 6,
        stride: int = 1,
        *,
        squeeze_excite: bool = False,
        activation: str = "relu6",
        size: int = SIZE,
    ) -> None:
        super().__init__(
            _one_block(
                "inverted-bottleneck",
                channels,
                size,
                lambda net: net.mbconv(
                    "block",
                    out_channels,
                    kernel,
                    expand,
                    stride=stride,
                    squeeze_excite=squeeze_excite,
                    activation=activation,
                ),
            )
        )


class ShuffleBlock(NetworkModule):
    """A ShuffleNetV2's block with its channel shuffle (Ma et al., ECCV 2018)."""

    def __init__(
        self, channels: int, out_channels: int | None = None, stride: int = 1, *, kernel: int = 3, size: int = SIZE
    ) -> None:
        super().__init__(
            _one_block(
                "shuffle-block",
                channels,
                size,
                lambda net: shuffle_block(net, "block", out_channels or channels, stride, kernel=kernel),
            )
        )


class SelfAttention(NetworkModule):
    """Multi-head self-attention over the pixels of an image, or a row of tokens (Vaswani et al., NeurIPS 2017)."""

    def __init__(self, channels: int, heads: int, *, width: int | None = None, size: int = SIZE) -> None:
        super().__init__(
            _one_block("self-attention", channels, size, lambda net: net.attention("block", heads, width=width))
        )


class SqueezeExcite(NetworkModule):
    """Squeeze-and-excitation (Hu et al., CVPR 2018), with MobileNetV3's hard sigmoid."""

    def __init__(self, channels: int, squeezed: int, *, size: int = SIZE) -> None:
        super().__init__(
            _one_block("squeeze-excite", channels, size, lambda net: net.squeeze_excite("block", squeezed))
        )
