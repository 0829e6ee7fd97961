"""VGG-16 (Simonyan and Zisserman, ICLR 2015, configuration D), as torchvision builds it: no batch normalisation."""

from __future__ import annotations

from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16(resolution: int = 224) -> Network:
    """Return VGG-16 for a square RGB image of `resolution` pixels (32 at least).

    The first fully connected layer reads 7 x 7 pixels; from another resolution than 224 to 255 they are averaged to
    7 x 7 first, as torchvision does.
    """
    net = NetworkBuilder("vgg16", height=resolution)
    for stage, (width, repeats) in enumerate(_STAGES, 1):
        for position in range(1, repeats + 1):
            net.conv(f"conv{stage}_{position}", width, 3, batch_norm=False, bias=True, activation="relu")
        net.pool(f"pool{stage}", 2, padding=0)
    net.adaptive_pool("pool", 7)
    net.linear("fc6", 4096, activation="relu")
    net.linear("fc7", 4096, activation="relu")
    net.linear("fc8", 1000)
    return net.build("torchvision; Simonyan and Zisserman, ICLR 2015, configuration D")
