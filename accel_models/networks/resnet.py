"""ResNet-18 and ResNet-50 (He et al., CVPR 2016), as torchvision builds them.

ResNet-50 is the "v1.5" form: the stride sits in the 3x3 layer of a bottleneck, not in its first 1x1.
"""

from __future__ import annotations

from collections.abc import Callable

from accel_models.blocks import bottleneck, residual
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network

_WIDTHS = (64, 128, 256, 512)


def resnet18(resolution: int = 224) -> Network:
    """Return ResNet-18 for a square RGB image of `resolution` pixels."""
    return _resnet("resnet18", (2, 2, 2, 2), _basic_block, resolution)


def resnet50(resolution: int = 224) -> Network:
    """Return ResNet-50 for a square RGB image of `resolution` pixels."""
    return _resnet("resnet50", (3, 4, 6, 3), _bottleneck, resolution)


def _resnet(
    name: str, depths: tuple[int, ...], block: Callable[[NetworkBuilder, str, int, int], None], resolution: int
) -> Network:
    net = NetworkBuilder(name, height=resolution)
    net.conv("stem", 64, 7, stride=2, activation="relu")
    net.pool("stem.pool", 3, stride=2)
    for stage, (depth, width) in enumerate(zip(depths, _WIDTHS, strict=True), 1):
        for position in range(1, depth + 1):
            stride = 2 if stage > 1 and position == 1 else 1
            block(net, f"stage{stage}.block{position}", width, stride)
    net.global_pool("pool")
    net.linear("classifier", 1000)
    return net.build("torchvision; He et al., CVPR 2016")


def _basic_block(net: NetworkBuilder, name: str, width: int, stride: int) -> None:
    source = net.last
    net.conv(f"{name}.conv1", width, 3, stride=stride, activation="relu")
    made = net.conv(f"{name}.conv2", width, 3)
    residual(net, name, source, made, stride)


def _bottleneck(net: NetworkBuilder, name: str, width: int, stride: int) -> None:
    bottleneck(net, name, width, 4 * width, stride)
