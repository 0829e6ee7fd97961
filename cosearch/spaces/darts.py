"""The DARTS space: a normal and a reduction cell of four steps, each the sum of two operations on two earlier tensors.

References
----------
Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, ICLR 2019: sections 2.1 and 3.1 (cells, operations,
networks), as github.com/quark0/darts builds the networks (without auxiliary heads and drop-path, which only training has).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accel_models.errors import unknown_name
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.errors import SpaceError
from cosearch.space import Genomes, Knob, NetworkSpace
from cosearch.spaces.cells import rectified, total
from cosearch.spaces.darts_genotypes import OPERATIONS, Edges, Genotype

_STEPS = 4
_CELLS = ("normal", "reduction")


@dataclass(frozen=True, slots=True)
class _DataSet:
    """The network around the cells: name of the space, title, image size (px), classes, number of cells, channels."""

    space: str
    title: str
    resolution: int
    classes: int
    cells: int
    channels: int


_DATA_SETS = {
    "cifar10": _DataSet("darts", "CIFAR-10", 32, 10, 20, 36),
    "imagenet": _DataSet("darts-imagenet", "ImageNet", 224, 1000, 14, 48),
}


class Darts(NetworkSpace):
    """The networks of the DARTS space, of the size that the paper evaluates on a data set.

    22 knobs, first those of the normal cell, then those of the reduction cell. Step i of a cell has ``.._step{i}_inputs``,
    which two different tensors it reads, by their numbers (``0+2``; the first step has no choice: ``0+1``), and
    ``.._step{i}_first`` and ``.._step{i}_second``, the operations on the one with the lower and the higher number.

    Every genome counts as a network, as in the paper: those whose steps are numbered differently compute the same. A step that
    reads one tensor twice (NASNet's cells have such) is not in the space.

    Parameters
    ----------
    data_set
        ``"cifar10"`` (20 cells, 36 channels) or ``"imagenet"`` (14 cells, 48 channels).

    Raises
    ------
    SpaceError
        If there is no network for such a data set.
    """

    source = "DARTS, Liu, Simonyan and Yang, ICLR 2019"

    def __init__(self, data_set: str = "cifar10") -> None:
        if data_set not in _DATA_SETS:
            raise SpaceError("DARTS: " + unknown_name("data set", data_set, _DATA_SETS))
        self.data_set, self._plan = data_set, _DATA_SETS[data_set]
        self.name = self._plan.space
        self.summary = (
            f"DARTS cells on {self._plan.title} ({self._plan.resolution} px): 2 cells of 4 steps, 7 operations, "
            f"{self._plan.cells} cells, {self._plan.channels} channels"
        )
        self.knobs = tuple(knob for cell in _CELLS for knob in _knobs(cell))

    def __reduce__(self) -> tuple[type[Darts], tuple[str]]:
        """Travel to another process as the name of the data set."""
        return type(self), (self.data_set,)

    @property
    def size(self) -> int:
        """Number of genotypes: (3 x 6 x 10 x 7^8)^2, 1.1e18."""
        size = 1
        for knob in self.knobs:
            size *= len(knob.choices)
        return size

    def genotype(self, genome: Genomes) -> Genotype:
        """Return the genotype of a genome (knobs,); :meth:`genome_of` reads it.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        values = self.values(genome)
        return Genotype(*(tuple(_edges(cell, values)) for cell in _CELLS))

    def genome_of(self, genotype: Genotype) -> Genomes:
        """Return the genome of a genotype; the two edges of a step may stand in either order.

        Raises
        ------
        SpaceError
            If a cell has not four steps, an operation is unknown, or a step reads one tensor twice or one that it cannot.
        """
        values: dict[str, str] = {}
        for cell, edges in zip(_CELLS, genotype, strict=True):
            if len(edges) != 2 * _STEPS:
                raise SpaceError(f"space {self.name!r}: a {cell} cell has {2 * _STEPS} edges, not {len(edges)}")
            for step in range(1, _STEPS + 1):
                pair = sorted(edges[2 * step - 2 : 2 * step], key=lambda edge: edge[1])
                inputs = _pair(pair[0][1], pair[1][1])
                if inputs not in _pairs(step):
                    raise SpaceError(
                        f"space {self.name!r}: step {step} of the {cell} cell reads tensors {inputs}; "
                        f"it can read {', '.join(_pairs(step))}"
                    )
                for place, (operation, _) in zip(("first", "second"), pair, strict=True):
                    if operation not in OPERATIONS:
                        raise SpaceError(
                            f"space {self.name!r}: {cell} cell: " + unknown_name("operation", operation, OPERATIONS)
                        )
                    values[f"{cell}_step{step}_{place}"] = operation
                if step > 1:
                    values[f"{cell}_step{step}_inputs"] = inputs
        return self.genome(values)

    def network(self, genome: Genomes) -> Network:
        """Return the network that a genome (knobs,) describes, for an RGB image of the data set's size.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        genotype, plan = self.genotype(genome), self._plan
        net = NetworkBuilder(self.name, height=plan.resolution)
        before_last, last = _stem(net, plan)
        channels = plan.channels
        halved = before_last != last  # the second tensor has half the width of the first
        for cell in range(plan.cells):
            reduces = cell in (plan.cells // 3, 2 * plan.cells // 3)
            channels *= 2 if reduces else 1
            edges = genotype.reduction if reduces else genotype.normal
            name = f"cell{cell + 1}"
            tensors = [
                _reduced(net, f"{name}.input0", channels, before_last)
                if halved
                else _rectified_conv(net, f"{name}.input0", channels, before_last),
                _rectified_conv(net, f"{name}.input1", channels, last),
            ]
            before_last, last = last, _cell(net, name, edges, tensors, reduces)
            halved = reduces
        net.global_pool("head.pool")
        net.linear("head.classifier", plan.classes)
        return net.build(self.source)


def cifar10() -> Darts:
    """Return the space for CIFAR-10 at 32 px."""
    return Darts("cifar10")


def imagenet() -> Darts:
    """Return the space for ImageNet at 224 px."""
    return Darts("imagenet")


def _pair(first: int, second: int) -> str:
    return f"{first}+{second}"


def _pairs(step: int) -> tuple[str, ...]:
    """Return which two tensors a step (from 1) can read."""
    return tuple(_pair(*pair) for pair in itertools.combinations(range(step + 1), 2))


def _knobs(cell: str) -> Iterator[Knob]:
    for step in range(1, _STEPS + 1):
        if step > 1:
            yield Knob(f"{cell}_step{step}_inputs", _pairs(step))
        yield Knob(f"{cell}_step{step}_first", OPERATIONS)
        yield Knob(f"{cell}_step{step}_second", OPERATIONS)


def _edges(cell: str, values: dict[str, str]) -> Iterator[tuple[str, int]]:
    for step in range(1, _STEPS + 1):
        inputs = values.get(f"{cell}_step{step}_inputs", "0+1").split("+")
        for place, tensor in zip(("first", "second"), inputs, strict=True):
            yield values[f"{cell}_step{step}_{place}"], int(tensor)


def _stem(net: NetworkBuilder, plan: _DataSet) -> tuple[str, str]:
    """Add what comes before the cells; return the two tensors that the first cell reads."""
    if plan.resolution < 100:
        made = net.conv("stem", 3 * plan.channels, 3)
        return made, made
    net.conv("stem.conv1", plan.channels // 2, 3, stride=2, activation="relu")
    first = net.conv("stem.conv2", plan.channels, 3, stride=2)
    return first, net.conv("stem.conv3", plan.channels, 3, stride=2, x=rectified(net, first))


def _cell(net: NetworkBuilder, name: str, edges: Edges, inputs: Sequence[str], reduces: bool) -> str:
    tensors = list(inputs)
    for step in range(1, _STEPS + 1):
        terms = [
            _edge(
                net,
                f"{name}.step{step}.{place}",
                operation,
                tensors[tensor],
                2 if reduces and tensor < 2 else 1,
            )
            for place, (operation, tensor) in zip(("first", "second"), edges[2 * step - 2 : 2 * step], strict=True)
        ]
        tensors.append(total(net, f"{name}.step{step}", terms))
    return net.concat(f"{name}.output", *tensors[2:])


def _edge(net: NetworkBuilder, name: str, operation: str, x: str, stride: int) -> str:
    channels = net.shapes[x].channels
    kind, kernel = operation.rsplit("_", 1)
    if operation == "skip_connect":
        return x if stride == 1 else _reduced(net, name, channels, x)
    if kind == "max_pool":
        return net.pool(name, 3, stride=stride, x=x)
    if kind == "avg_pool":
        return net.pool(name, 3, kind="average", count_padding=False, stride=stride, x=x)
    size = int(kernel[0])
    if kind == "dil_conv":
        return _separable(net, name, size, x, stride, dilation=2)
    return _separable(net, f"{name}.2", size, _separable(net, f"{name}.1", size, x, stride))


def _separable(net: NetworkBuilder, name: str, kernel: int, x: str, stride: int = 1, dilation: int = 1) -> str:
    """Add ReLU, depth-wise convolution, 1x1 convolution, batch normalisation."""
    channels = net.shapes[x].channels
    net.conv(
        f"{name}.depthwise", channels, kernel, stride=stride, dilation=dilation, groups=channels,
        batch_norm=False, x=rectified(net, x),
    )  # fmt: skip
    return net.conv(f"{name}.pointwise", channels, 1)


def _rectified_conv(net: NetworkBuilder, name: str, channels: int, x: str) -> str:
    return net.conv(name, channels, 1, x=rectified(net, x))


def _reduced(net: NetworkBuilder, name: str, channels: int, x: str) -> str:
    """Halve an image: two 1x1 convolutions of stride 2, the second one pixel to the right and below, side by side.

    The batch normalisation behind both is one per channel, so each half has its own part of it.
    """
    source = rectified(net, x)
    shape = net.shapes[source]
    even = net.conv(f"{name}.even", channels // 2, 1, stride=2, x=source)
    shifted = net.crop(f"{name}.shifted", shape.height - 1, shape.width - 1, top=1, left=1, x=source)
    odd = net.conv(f"{name}.odd", channels - channels // 2, 1, stride=2, x=shifted)
    return net.concat(f"{name}.both", even, odd)
