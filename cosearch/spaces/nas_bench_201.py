"""NAS-Bench-201: one cell of six edges with five operations each, 15 times over; every one of them was trained.

References
----------
Dong and Yang, NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search, ICLR 2020: section 2.1 (the
skeleton and the cell), table 1 (the data sets).
Dong et al., NATS-Bench: Benchmarking NAS Algorithms for Architecture Topology and Size, TPAMI 2021 (its topology space is
the same).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from accel_models.errors import unknown_name
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.errors import SpaceError
from cosearch.space import Genomes, Knob, NetworkSpace
from cosearch.spaces.cells import rectified, total

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
"""What an edge may be, by the benchmark's names. The convolutions are ReLU, convolution, batch normalisation."""

EDGES = ((1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2))
"""(node that is made, node that is read), in the order of the knobs and of the benchmark's string; node 0 is the input."""

_CELLS = 5
_CHANNELS = (16, 32, 64)
_GENE = {operation: gene for gene, operation in enumerate(OPERATIONS)}
_KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}


@dataclass(frozen=True, slots=True)
class _DataSet:
    """A data set of the benchmark: name of the space, what it is called, image size (px), classes."""

    space: str
    title: str
    resolution: int
    classes: int


_DATA_SETS = {
    "cifar10": _DataSet("nas-bench-201", "CIFAR-10", 32, 10),
    "cifar100": _DataSet("nas-bench-201-cifar100", "CIFAR-100", 32, 100),
    "imagenet16_120": _DataSet("nas-bench-201-imagenet16-120", "ImageNet16-120", 16, 120),
}


class NasBench201(NetworkSpace):
    """The cells of NAS-Bench-201, on one of its data sets.

    Six knobs, ``edge_1_0`` to ``edge_3_2``: the operation from node 0 to node 1, and so on, in the order of the benchmark's
    string. Every genome is a network of its own, also where two are the same graph: the benchmark trained each one and
    has an accuracy for each.

    The network contains what its output depends on. An edge counts if its source is reached from the cell's input and its
    target reaches the cell's output; others are left out. The benchmark's own counts of parameters and FLOPs include them,
    as its code builds every edge. What is lost are the constants that the batch normalisation of an edge from a zero node may
    learn. A cell without a path from its input to its output makes zeros: its network is the skeleton alone (stem, two
    reduction blocks, classifier), whose output does not depend on the image.

    Parameters
    ----------
    data_set
        ``"cifar10"``, ``"cifar100"`` or ``"imagenet16_120"``.

    Attributes
    ----------
    data_set, data_set_title
        Name of the data set here, and as it is written.
    accuracy_column
        Column of a table of accuracies (`cosearch.accuracy.tabular`).

    Raises
    ------
    SpaceError
        If the benchmark has no such data set.
    """

    source = "NAS-Bench-201, Dong and Yang, ICLR 2020"
    training_columns: tuple[str, ...] = ()

    def __init__(self, data_set: str = "cifar10") -> None:
        if data_set not in _DATA_SETS:
            raise SpaceError("NAS-Bench-201: " + unknown_name("data set", data_set, _DATA_SETS))
        plan = _DATA_SETS[data_set]
        self.data_set, self.data_set_title = data_set, plan.title
        self.accuracy_column = f"{data_set}_test"
        self.name = plan.space
        self.summary = (
            f"NAS-Bench-201 cells on {plan.title} ({plan.resolution} px, {plan.classes} classes): "
            "6 edges, 5 operations, 15 cells"
        )
        self.knobs = tuple(Knob(f"edge_{made}_{read}", OPERATIONS) for made, read in EDGES)
        self._resolution, self._classes = plan.resolution, plan.classes

    def __reduce__(self) -> tuple[type[NasBench201], tuple[str]]:
        """Travel to another process as the name of the data set."""
        return type(self), (self.data_set,)

    @property
    def size(self) -> int:
        """Number of cells, as the benchmark counts them."""
        return len(OPERATIONS) ** len(EDGES)

    def parse(self, text: str) -> Genomes:
        """Return the genome of a cell in the benchmark's form, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.

        Raises
        ------
        SpaceError
            If the text has another form or names another operation.
        """
        match = _CELL.fullmatch(text.strip())
        if match is None:
            raise SpaceError(
                f"space {self.name!r}: cannot read the cell {text!r}; its form is |op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
            )
        try:
            return np.array([_GENE[operation] for operation in match.groups()], dtype=np.int64)
        except KeyError as error:
            unknown = unknown_name("operation", str(error.args[0]), OPERATIONS)
            raise SpaceError(f"space {self.name!r}: cell {text!r}: {unknown}") from None

    def format(self, genome: Genomes) -> str:
        """Return the benchmark's string of a genome (knobs,); :meth:`parse` reads it.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        operations = iter(self.values(genome).values())
        nodes = ("|".join(f"{next(operations)}~{read}" for read in range(made)) for made in (1, 2, 3))
        return "+".join(f"|{node}|" for node in nodes)

    def network(self, genome: Genomes) -> Network:
        """Return the network of a cell, for an RGB image of the data set's size.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        edges = contributing(dict(zip(EDGES, self.values(genome).values(), strict=True)))
        net = NetworkBuilder(self.name, height=self._resolution)
        x = net.conv("stem", _CHANNELS[0], 3)
        for stage, channels in enumerate(_CHANNELS, 1):
            if stage > 1:
                x = _reduction(net, f"stage{stage}.reduction", channels, x)
            if not edges:
                x = net.zeros(f"stage{stage}.zeros", x=x)
            for cell in range(1, _CELLS + 1 if edges else 1):
                x = _cell(net, f"stage{stage}.cell{cell}", edges, x)
        net.batch_norm("head.norm", x)
        net.activation("head.norm.relu")
        net.global_pool("head.pool")
        net.linear("head.classifier", self._classes)
        return net.build(self.source)


def cifar10() -> NasBench201:
    """Return the space on CIFAR-10."""
    return NasBench201("cifar10")


def cifar100() -> NasBench201:
    """Return the space on CIFAR-100."""
    return NasBench201("cifar100")


def imagenet16_120() -> NasBench201:
    """Return the space on ImageNet16-120."""
    return NasBench201("imagenet16_120")


def contributing(operations: dict[tuple[int, int], str]) -> dict[tuple[int, int], str]:
    """Return those edges of a cell that lie on a path from its input to its output; none where there is no path."""
    present = {edge: operation for edge, operation in operations.items() if operation != "none"}
    reached, needed = {0}, {3}
    for made, read in EDGES:
        if (made, read) in present and read in reached:
            reached.add(made)
    for made, read in reversed(EDGES):
        if (made, read) in present and made in needed:
            needed.add(read)
    return {(made, read): name for (made, read), name in present.items() if read in reached and made in needed}


def _cell(net: NetworkBuilder, name: str, edges: dict[tuple[int, int], str], x: str) -> str:
    nodes = {0: x}
    for node in (1, 2, 3):
        terms = [
            _edge(net, f"{name}.edge_{made}_{read}", operation, nodes[read])
            for (made, read), operation in edges.items()
            if made == node
        ]
        if terms:
            nodes[node] = total(net, f"{name}.node{node}", terms)
    return nodes[3]


def _edge(net: NetworkBuilder, name: str, operation: str, x: str) -> str:
    if operation == "skip_connect":
        return x
    if operation == "avg_pool_3x3":
        return net.pool(name, 3, kind="average", stride=1, count_padding=False, x=x)
    return net.conv(name, net.shapes[x].channels, _KERNELS[operation], x=rectified(net, x))


def _reduction(net: NetworkBuilder, name: str, channels: int, x: str) -> str:
    """Add the residual block between stages: two 3x3 convolutions, beside an average pool and a 1x1 without norm."""
    net.conv(f"{name}.conv1", channels, 3, stride=2, x=rectified(net, x))
    made = net.conv(f"{name}.conv2", channels, 3, x=rectified(net, net.last))
    net.pool(f"{name}.pool", 2, kind="average", x=x)
    shortcut = net.conv(f"{name}.shortcut", channels, 1, batch_norm=False)
    return net.add(f"{name}.add", shortcut, made)


_CELL = re.compile(r"\+".join("".join(rf"\|([^|~+]+)~{read}" for read in range(made)) + r"\|" for made in (1, 2, 3)))
