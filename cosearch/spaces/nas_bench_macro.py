"""NAS-Bench-Macro: eight layers with three blocks each to choose from; all 6,561 networks were trained on CIFAR-10.

References
----------
Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search, CVPR 2021: section 5.1 and appendix (the
benchmark), as github.com/xiusu/NAS-Bench-Macro builds the networks.
"""

from __future__ import annotations

import numpy as np

from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.errors import SpaceError
from cosearch.space import Genomes, Knob, NetworkSpace

BLOCKS = ("identity", "mb3_k3", "mb6_k5")
"""What a layer may be, in the order of the benchmark's digits: nothing, or an inverted bottleneck (expand ratio, kernel)."""

_STEM = 32
_STAGES = (2, 3, 3)
_HEAD = 1280
_RESOLUTION = 32
_CLASSES = 10
_EXPAND_KERNEL = {"mb3_k3": (3, 3), "mb6_k5": (6, 5)}


class NasBenchMacro(NetworkSpace):
    """The networks of NAS-Bench-Macro.

    Eight knobs, ``layer_1`` to ``layer_8``, in the order of the benchmark's digits. The layers form stages of two, three and
    three; the first of a stage halves the image and doubles the channels, and is a 1x1 convolution where nothing else is
    chosen for it. Every genome is a network of its own: stages with a layer left out in different places compute the
    same, and are distinct here, as the benchmark trained each.

    Attributes
    ----------
    data_set, data_set_title
        Name of the data set here, and as it is written.
    accuracy_column, training_columns
        Columns of a table of accuracies (`cosearch.accuracy.tabular`): the mean, and the single trainings.
    """

    name = "nas-bench-macro"
    summary = "NAS-Bench-Macro on CIFAR-10 (32 px): 8 layers of identity, MB3 3x3 or MB6 5x5"
    source = "NAS-Bench-Macro, Su et al., CVPR 2021"
    data_set = "cifar10"
    data_set_title = "CIFAR-10"
    accuracy_column = "mean_acc"
    training_columns = ("acc1", "acc2", "acc3")

    def __init__(self) -> None:
        self.knobs = tuple(Knob(f"layer_{layer}", BLOCKS) for layer in range(1, sum(_STAGES) + 1))

    def __reduce__(self) -> tuple[type[NasBenchMacro], tuple[()]]:
        """Travel to another process without anything: there is one such space."""
        return type(self), ()

    @property
    def size(self) -> int:
        """Number of networks, as the benchmark counts them."""
        return len(BLOCKS) ** len(self.knobs)

    def parse(self, text: str) -> Genomes:
        """Return the genome of a network in the benchmark's form: a digit of 0, 1, 2 per layer, such as ``22212202``.

        Raises
        ------
        SpaceError
            If the text has another form.
        """
        digits = text.strip()
        if len(digits) != len(self.knobs) or not set(digits) <= set("012"):
            raise SpaceError(
                f"space {self.name!r}: cannot read the network {text!r}; its form is {len(self.knobs)} digits of 0, 1, 2"
            )
        return np.array([int(digit) for digit in digits], dtype=np.int64)

    def format(self, genome: Genomes) -> str:
        """Return the benchmark's digits of a genome (knobs,); :meth:`parse` reads them.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        self.check(genome)
        return "".join(str(gene) for gene in genome.tolist())

    def network(self, genome: Genomes) -> Network:
        """Return the network that a genome (knobs,) describes, for an RGB image of 32 px.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        blocks = iter(self.values(genome).values())
        net = NetworkBuilder(self.name, height=_RESOLUTION)
        channels = _STEM
        net.conv("stem", channels, 3, activation="relu")
        for stage, layers in enumerate(_STAGES, 1):
            channels *= 2
            for layer in range(1, layers + 1):
                _layer(net, f"stage{stage}.layer{layer}", next(blocks), channels, 2 if layer == 1 else 1)
        net.conv("head.mix", _HEAD, 1, activation="relu")
        net.global_pool("head.pool")
        net.linear("head.classifier", _CLASSES)
        return net.build(self.source)


def _layer(net: NetworkBuilder, name: str, block: str, channels: int, stride: int) -> None:
    if block in _EXPAND_KERNEL:
        expand, kernel = _EXPAND_KERNEL[block]
        net.mbconv(name, channels, kernel, expand, stride=stride, activation="relu")
    elif stride > 1:
        net.conv(name, channels, 1, stride=stride)
