"""MnasNet (Tan et al.), the variant without squeeze-and-excitation.

The paper has two "MnasNet"s. Its first version (arXiv:1807.11626v1, 2018) prints 74.0 % top-1, 317 M MACs and 4.2 M
parameters for a network without squeeze-and-excitation, and these are the figures that the hardware literature quotes.
The published one (CVPR 2019) calls that structure MnasNet-B1 and adds MnasNet-A1 with squeeze-and-excitation (75.2 %,
312 M, 3.9 M). This is B1, which torchvision calls `mnasnet1_0`.
"""

from __future__ import annotations

from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network

# kernel, expand ratio, output channels, repeats, stride of the first
_STAGES = (
    (3, 3, 24, 3, 2),
    (5, 3, 40, 3, 2),
    (5, 6, 80, 3, 2),
    (3, 6, 96, 2, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)


def mnasnet(resolution: int = 224) -> Network:
    """Return MnasNet-B1 of width 1.0 for a square RGB image of `resolution` pixels."""
    net = NetworkBuilder("mnasnet", height=resolution)
    net.conv("stem", 32, 3, stride=2, activation="relu")
    net.mbconv("first", 16, 3, activation="relu")
    for stage, (kernel, expand, width, repeats, stride) in enumerate(_STAGES, 1):
        for block in range(1, repeats + 1):
            net.mbconv(
                f"stage{stage}.block{block}",
                width,
                kernel,
                expand,
                stride=stride if block == 1 else 1,
                activation="relu",
            )
    net.conv("head", 1280, 1, activation="relu")
    net.global_pool("pool")
    net.linear("classifier", 1000)
    return net.build("torchvision mnasnet1_0; Tan et al., arXiv:1807.11626v1")
