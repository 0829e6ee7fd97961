"""FBNet: 22 layers with nine blocks each to choose from, in the form that HW-NAS-Bench measured.

References
----------
Wu et al., FBNet: Hardware-Aware Efficient ConvNet Design via Differentiable Neural Architecture Search, CVPR 2019: tables 1
and 2 (the skeleton and the blocks).
Li et al., HW-NAS-Bench: Hardware-Aware Neural Architecture Search Benchmark, ICLR 2021: appendix A (what was measured, on
ImageNet and CIFAR-100), as github.com/GATECH-EIC/HW-NAS-Bench builds the networks.
"""

from __future__ import annotations

from dataclasses import dataclass

from accel_models.errors import unknown_name
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.errors import SpaceError
from cosearch.space import Genomes, Knob, NetworkSpace

BLOCKS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
"""What a layer may be, in HW-NAS-Bench's order: kernel, expand ratio, groups of both 1x1 convolutions."""

_STEM = 16
_STAGES = ((1, 16), (4, 24), (4, 32), (4, 64), (4, 112), (4, 184), (1, 352))


@dataclass(frozen=True, slots=True)
class _DataSet:
    """The skeleton for a data set: name of the space, title, image size (px), classes, strides, channels of the head."""

    space: str
    title: str
    resolution: int
    classes: int
    stem_stride: int
    strides: tuple[int, ...]
    head: int


_DATA_SETS = {
    "imagenet": _DataSet("fbnet", "ImageNet", 224, 1000, 2, (1, 2, 2, 2, 1, 2, 1), 1984),
    "cifar100": _DataSet("fbnet-cifar100", "CIFAR-100", 32, 100, 1, (1, 1, 2, 2, 1, 2, 1), 1504),
}


class FbNet(NetworkSpace):
    """The networks of FBNet's space, for one of the data sets of HW-NAS-Bench.

    22 knobs, ``layer_1`` to ``layer_22``, in HW-NAS-Bench's order; the layers form stages of 1, 4, 4, 4, 4, 4 and 1. A
    block keeps its first 1x1 convolution also at expand ratio 1. A skipped layer is nothing where the shape stays, and
    a 1x1 convolution with batch normalisation and ReLU where it changes.

    Every genome counts as a network, as in the papers: those that skip different layers of one stage compute the same.

    Parameters
    ----------
    data_set
        ``"imagenet"`` or ``"cifar100"``; they differ in image size, strides, head and classes.

    Raises
    ------
    SpaceError
        If there is no skeleton for such a data set.
    """

    source = "FBNet, Wu et al., CVPR 2019, as HW-NAS-Bench builds it"

    def __init__(self, data_set: str = "imagenet") -> None:
        if data_set not in _DATA_SETS:
            raise SpaceError("FBNet: " + unknown_name("data set", data_set, _DATA_SETS))
        self.data_set, self._plan = data_set, _DATA_SETS[data_set]
        self.name = self._plan.space
        self.summary = (
            f"FBNet, {self._plan.title} ({self._plan.resolution} px), as in HW-NAS-Bench: 22 layers, 9 blocks"
        )
        layers = sum(depth for depth, _ in _STAGES)
        self.knobs = tuple(Knob(f"layer_{layer}", BLOCKS) for layer in range(1, layers + 1))

    def __reduce__(self) -> tuple[type[FbNet], tuple[str]]:
        """Travel to another process as the name of the data set."""
        return type(self), (self.data_set,)

    @property
    def size(self) -> int:
        """Number of networks, as the papers count them."""
        return len(BLOCKS) ** len(self.knobs)

    def network(self, genome: Genomes) -> Network:
        """Return the network that a genome (knobs,) describes, for an RGB image of the data set's size.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        blocks = iter(self.values(genome).values())
        net = NetworkBuilder(self.name, height=self._plan.resolution)
        net.conv("stem", _STEM, 3, stride=self._plan.stem_stride, activation="relu")
        for stage, ((depth, channels), stride) in enumerate(zip(_STAGES, self._plan.strides, strict=True), 1):
            for layer in range(1, depth + 1):
                _layer(net, f"stage{stage}.layer{layer}", next(blocks), channels, stride if layer == 1 else 1)
        net.conv("head.mix", self._plan.head, 1, activation="relu")
        net.global_pool("head.pool")
        net.linear("head.classifier", self._plan.classes)
        return net.build(self.source)


def imagenet() -> FbNet:
    """Return the space for ImageNet at 224 px."""
    return FbNet("imagenet")


def cifar100() -> FbNet:
    """Return the space for CIFAR-100 at 32 px."""
    return FbNet("cifar100")


def _layer(net: NetworkBuilder, name: str, block: str, channels: int, stride: int) -> None:
    x = net.last
    in_channels = net.shapes[x].channels
    reshaped = stride > 1 or in_channels != channels
    if block == "skip":
        if reshaped:
            net.conv(name, channels, 1, stride=stride, activation="relu")
        return
    kernel, expand, groups = _read(block)
    middle = in_channels * expand
    net.conv(f"{name}.expand", middle, 1, groups=groups, activation="relu")
    if groups > 1:
        net.channel_shuffle(f"{name}.shuffle", groups)
    net.conv(
        f"{name}.depthwise", middle, kernel, stride=stride, groups=middle, activation="relu"
    )  # fmt: skip
    made = net.conv(f"{name}.project", channels, 1, groups=groups)
    if not reshaped:
        net.add(f"{name}.add", x, made)


def _read(block: str) -> tuple[int, int, int]:
    """Return kernel, expand ratio and groups from a block's name, such as ``k3_e1_g2``."""
    kernel, expand, *groups = (int(part[1:]) for part in block.split("_"))
    return kernel, expand, groups[0] if groups else 1
