"""Fixed networks by name, and the reader of configurations that Once-for-All publishes.

A network of one's own needs no entry here: build a `Network` with `NetworkBuilder`, or read one from ONNX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from accel_models.errors import UnknownNameError, WorkloadError, unknown_name
from accel_models.networks.mnasnet import mnasnet
from accel_models.networks.mobilenet import mobilenet_v2, mobilenet_v3_large
from accel_models.networks.ofa_config import network_from_config, read_config
from accel_models.networks.resnet import resnet18, resnet50
from accel_models.networks.squeezenet import squeezenet1_0, squeezenet1_1
from accel_models.networks.unet import unet
from accel_models.networks.vgg import vgg16
from accel_models.workload import Network

__all__ = ["NETWORKS", "CatalogueEntry", "load_network", "network_from_config", "read_config"]


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One network that ships.

    Parameters
    ----------
    summary
        What it is, in one line.
    source
        Paper, and the implementation whose structure this is.
    build
        Makes it for a square image of a given size in pixels.
    resolution
        The size that its figures are for, in pixels.
    published_top1_percent
        ImageNet top-1 accuracy at that size as its authors published it; None where there is no such figure.
    published_top1_source
        Where that figure is printed.
    """

    summary: str
    source: str
    build: Callable[[int], Network]
    resolution: int = 224
    published_top1_percent: float | None = None
    published_top1_source: str = ""


NETWORKS: dict[str, CatalogueEntry] = {
    "resnet18": CatalogueEntry(
        "ResNet-18: 1.81 G MACs, 11.69 M parameters", "He et al., CVPR 2016; torchvision resnet18", resnet18
    ),
    "resnet50": CatalogueEntry(
        "ResNet-50 (v1.5): 4.09 G MACs, 25.56 M parameters",
        "He et al., CVPR 2016; torchvision resnet50",
        resnet50,
        published_top1_percent=77.4,
        published_top1_source="as co-search papers quote it for 4.1 G MACs (torchvision's first weights: 76.13)",
    ),
    "mobilenet-v2": CatalogueEntry(
        "MobileNetV2 1.0: 300.8 M MACs, 3.50 M parameters",
        "Sandler et al., CVPR 2018; torchvision mobilenet_v2",
        mobilenet_v2,
        published_top1_percent=72.0,
        published_top1_source="Sandler et al., CVPR 2018, table 4",
    ),
    "mobilenet-v3-large": CatalogueEntry(
        "MobileNetV3-Large 1.0: 217 M MACs, 5.48 M parameters",
        "Howard et al., ICCV 2019; torchvision mobilenet_v3_large",
        mobilenet_v3_large,
        published_top1_percent=75.2,
        published_top1_source="Howard et al., ICCV 2019, table 3",
    ),
    "mnasnet": CatalogueEntry(
        "MnasNet-B1, without squeeze-and-excitation: 314 M MACs, 4.38 M parameters",
        "Tan et al., arXiv:1807.11626v1; torchvision mnasnet1_0",
        mnasnet,
        published_top1_percent=74.0,
        published_top1_source="Tan et al., arXiv:1807.11626v1 (printed there with 317 M MACs)",
    ),
    "vgg16": CatalogueEntry(
        "VGG-16: 15.47 G MACs, 138.36 M parameters", "Simonyan and Zisserman, ICLR 2015; torchvision vgg16", vgg16
    ),
    "squeezenet": CatalogueEntry(
        "SqueezeNet 1.0: 819 M MACs, 1.25 M parameters",
        "Iandola et al., arXiv:1602.07360; torchvision squeezenet1_0",
        squeezenet1_0,
    ),
    "squeezenet-1.1": CatalogueEntry(
        "SqueezeNet 1.1: 349 M MACs, 1.24 M parameters", "torchvision squeezenet1_1", squeezenet1_1
    ),
    "unet": CatalogueEntry(
        "U-Net for 572 px grey images, layers without padding: 150.43 G MACs, 31.03 M parameters",
        "Ronneberger et al., MICCAI 2015, figure 1",
        unet,
        resolution=572,
    ),
}
"""The networks that ship, by the name that commands take."""


def load_network(name: str, resolution: int | None = None) -> Network:
    """Return the network of that name for a square image.

    Parameters
    ----------
    name
        A key of :data:`NETWORKS`.
    resolution
        Size of the image in pixels; None takes the size that the network's published figures are for.

    Raises
    ------
    UnknownNameError
        If no network is called so.
    WorkloadError
        If the network cannot be built for that size.
    """
    if name not in NETWORKS:
        raise UnknownNameError(unknown_name("network", name, NETWORKS))
    entry = NETWORKS[name]
    size = entry.resolution if resolution is None else resolution
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise WorkloadError(f"network {name!r}: resolution = {size!r} must be a positive number of pixels")
    return entry.build(size)
