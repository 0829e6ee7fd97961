"""SqueezeNet 1.0 (Iandola et al., 2016) and 1.1, as torchvision builds them.

The stem has no padding (224 -> 109 pixels with 7x7, 111 with 3x3), and the 3x3 stride-2 pools round up.
"""

from __future__ import annotations

from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network

_FIRE_WIDTHS = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
"""Squeeze channels and channels of each expand branch, fire2 to fire9."""


def squeezenet1_0(resolution: int = 224) -> Network:
    """Return SqueezeNet 1.0 for a square RGB image of `resolution` pixels (21 at least)."""
    return _squeezenet("squeezenet", 96, 7, (1, 4, 8), resolution)


def squeezenet1_1(resolution: int = 224) -> Network:
    """Return SqueezeNet 1.1 for a square RGB image of `resolution` pixels (17 at least)."""
    return _squeezenet("squeezenet-1.1", 64, 3, (1, 3, 5), resolution)


def _squeezenet(name: str, stem: int, kernel: int, pool_after: tuple[int, ...], resolution: int) -> Network:
    net = NetworkBuilder(name, height=resolution)
    net.conv("conv1", stem, kernel, stride=2, padding=0, batch_norm=False, bias=True, activation="relu")
    net.pool("pool1", 3, stride=2, padding=0, ceil_mode=True)
    for position, (squeeze, expand) in enumerate(_FIRE_WIDTHS, 2):
        _fire(net, f"fire{position}", squeeze, expand)
        if position in pool_after:
            net.pool(f"pool{position}", 3, stride=2, padding=0, ceil_mode=True)
    net.conv("conv10", 1000, 1, batch_norm=False, bias=True, activation="relu")
    net.global_pool("pool10")
    return net.build(f"torchvision {name}; Iandola et al., arXiv:1602.07360")


def _fire(net: NetworkBuilder, name: str, squeeze: int, expand: int) -> None:
    squeezed = net.conv(f"{name}.squeeze", squeeze, 1, batch_norm=False, bias=True, activation="relu")
    narrow = net.conv(f"{name}.expand1x1", expand, 1, batch_norm=False, bias=True, activation="relu", x=squeezed)
    wide = net.conv(f"{name}.expand3x3", expand, 3, batch_norm=False, bias=True, activation="relu", x=squeezed)
    net.concat(f"{name}.concat", narrow, wide)
