"""U-Net (Ronneberger et al., MICCAI 2015), as its figure 1 draws it.

Its 3x3 layers have no padding, so the image shrinks and the skipped tensors are cropped; there is no batch
normalisation.
"""

from __future__ import annotations

from accel_models.errors import WorkloadError
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network

_WIDTHS = (64, 128, 256, 512, 1024)
_SMALLEST = 188


def unet(resolution: int = 572) -> Network:
    """Return the U-Net for one grey image of `resolution` pixels and two classes per pixel.

    Raises
    ------
    WorkloadError
        If some 2x2 pool would see an odd size: `resolution` must be 16 n + 12, and 188 at least.
    """
    if resolution < _SMALLEST or resolution % 16 != 12:
        near = max(_SMALLEST, round((resolution - 12) / 16) * 16 + 12)
        raise WorkloadError(
            f"unet: resolution {resolution} px: its 2x2 pools need even sizes, so 16 n + 12 px and {_SMALLEST} at "
            f"least; the nearest is {near}"
        )
    net = NetworkBuilder("unet", channels=1, height=resolution)
    skipped = []
    for level, width in enumerate(_WIDTHS, 1):
        if level > 1:
            skipped.append(net.last)
            net.pool(f"down{level}.pool", 2, padding=0)
        _double_conv(net, f"down{level}", width)
    for level, width in zip(range(4, 0, -1), _WIDTHS[-2::-1], strict=True):
        up = net.up_conv(f"up{level}.up_conv", width)
        shape = net.shapes[up]
        skip = net.crop(f"up{level}.crop", shape.height, shape.width, x=skipped.pop())
        net.concat(f"up{level}.concat", skip, up)
        _double_conv(net, f"up{level}", width)
    net.conv("classifier", 2, 1, batch_norm=False, bias=True)
    return net.build("Ronneberger et al., MICCAI 2015, figure 1")


def _double_conv(net: NetworkBuilder, name: str, width: int) -> None:
    net.conv(f"{name}.conv1", width, 3, padding=0, batch_norm=False, bias=True, activation="relu")
    net.conv(f"{name}.conv2", width, 3, padding=0, batch_norm=False, bias=True, activation="relu")
