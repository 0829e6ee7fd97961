"""What a network is cut into before the pieces are looked up in a table of measured times.

A part is what such tables have one row for: an inverted bottleneck as a whole (`NetworkBuilder.mbconv`: expand, depth-wise,
squeeze-and-excite, project, residual), or a layer with the functions fused behind it, or an operation that needs no MACs.
Two parts that are equal are taken to cost the same wherever they stand, as in ProxylessNAS (Cai et al., ICLR 2019, section
3.3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from accel_models.workload import INPUT, Layer, Network, Node, TensorShape, VectorOp

BLOCK, LAYER, POOLED_LAYER = "block", "layer", "pooled layer"
"""Kinds of parts: an inverted bottleneck; a layer; a global pool and the layer behind it, timed as one."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a network, as far as its time depends on it.

    Attributes
    ----------
    kind
        "block", "layer", "pooled layer", or the kind of a `VectorOp`.
    input, output
        Shapes of the tensors that it reads (the first, of several) and makes.
    kernel, stride
        Of the (depth-wise) window, in elements; None where a table does not say it, or there is none.
    groups
        Of a layer.
    middle
        Channels of a block's depth-wise layer; 0 in other parts.
    squeeze_excite, residual
        Whether a block has them.
    activation
        Function behind the depth-wise or the only layer, empty for none, None where a table does not say it. "relu" stands
        for relu6 as well, and in a block for a function that its network does not name.
    """

    kind: str
    input: TensorShape
    output: TensorShape
    kernel: int | None = None
    stride: int | None = None
    groups: int = 1
    middle: int = 0
    squeeze_excite: bool = False
    residual: bool = False
    activation: str | None = None

    @property
    def work(self) -> int:
        """MACs without those of squeeze-and-excite; of what has none, elements read and written. At least 1."""
        window = (self.kernel or 1) ** 2
        pixels, channels = self.output.height * self.output.width, self.output.channels
        if self.kind == BLOCK:
            expand = self.input.elements * self.middle if self.middle != self.input.channels else 0
            return expand + pixels * self.middle * (window + channels)
        if self.kind in (LAYER, POOLED_LAYER):
            return pixels * channels * max(self.input.channels // self.groups, 1) * window
        return self.input.elements + self.output.elements

    @property
    def vague(self) -> Part:
        """The same as a table writes it down that gives a layer's shapes alone."""
        return Part(self.kind, self.input, self.output, groups=self.groups)

    def __str__(self) -> str:
        words = [self.kind, size_text(self.input), "->", size_text(self.output)]
        words += [f"middle {self.middle}"] if self.kind == BLOCK else []
        words += [f"kernel {self.kernel}"] if self.kernel is not None else []
        words += [f"stride {self.stride}"] if self.stride is not None else []
        words += [f"groups {self.groups}"] if self.groups > 1 else []
        words += ["squeeze-excite"] if self.squeeze_excite else []
        words += ["residual"] if self.residual else []
        return " ".join([*words, *([self.activation] if self.activation else [])])


class NamedPart(NamedTuple):
    """A part, and what it is called in its network."""

    name: str
    part: Part


def size_text(shape: TensorShape) -> str:
    """Write a shape as tables do: height x width x channels."""
    return f"{shape.height}x{shape.width}x{shape.channels}"


def plain_activation(name: str) -> str:
    """Return the name that stands for an activation function in a part."""
    return "relu" if name == "relu6" else name


def parts_of_network(network: Network) -> list[NamedPart]:
    """Return the parts of a network, from input to output."""
    return parts_of(network.nodes, {INPUT: network.input})


def parts_of(nodes: Iterable[Node], outside: Mapping[str, TensorShape]) -> list[NamedPart]:
    """Return the parts that nodes make up; `outside` has the shapes of tensors that are made elsewhere.

    Operations that are fused and no activation (concatenations, shuffles) move no data and are no part.
    """
    nodes = tuple(nodes)
    blocks = _bottlenecks(nodes)
    shapes = dict(outside)
    groups: list[tuple[str, list[Node]]] = []
    for node in nodes:
        owner = next((prefix for prefix in _prefixes(node.name) if prefix in blocks), "")
        follows = isinstance(node.op, VectorOp) and node.op.fused
        if groups and ((owner and owner == groups[-1][0]) or (follows and not owner)):
            groups[-1][1].append(node)
        elif not follows:
            groups.append((owner or node.name, [node]))
        shapes[node.name] = node.output
    return [NamedPart(name, _part(members, shapes)) for name, members in groups]


def _bottlenecks(nodes: tuple[Node, ...]) -> set[str]:
    """Return the names of the inverted bottlenecks as `NetworkBuilder.mbconv` builds them.

    Blocks of other families that are called the same, with grouped 1x1 layers or with an expand layer that expands nothing,
    are none: they are layers one by one.
    """
    layers = {node.name: node.op for node in nodes if isinstance(node.op, Layer)}
    found = set()
    for name, window in layers.items():
        block = name.removesuffix(".depthwise")
        expand, project = layers.get(f"{block}.expand"), layers.get(f"{block}.project")
        if block == name or window.kind != "depthwise" or project is None or project.G > 1:
            continue
        if expand is None or (expand.G == 1 and expand.K != expand.C):
            found.add(block)
    return found


def _prefixes(name: str) -> Iterable[str]:
    """Yield the dotted beginnings of a name, the longest first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def _part(members: list[Node], shapes: Mapping[str, TensorShape]) -> Part:
    """Return the part that nodes form: a block, or an operation and what is fused behind it."""
    first = members[0]
    reads, makes = shapes[first.inputs[0]], members[-1].output
    window = next((node for node in members if node.name.endswith(".depthwise")), None)
    if window is not None and isinstance(window.op, Layer) and members[-1].name.endswith((".project", ".add")):
        kinds = {node.op.kind for node in members if isinstance(node.op, VectorOp)}
        return Part(
            BLOCK, reads, makes, window.op.R, window.op.stride_w, 1, window.op.G, "multiply" in kinds, "add" in kinds,
            _function_behind(window, members) or "relu",
        )  # fmt: skip
    if isinstance(first.op, Layer):
        layer = first.op
        if layer.kind == "linear":
            reads = TensorShape(layer.C * layer.G)
        function = _function_behind(first, members)
        return Part(LAYER, reads, first.output, layer.R, layer.stride_w, layer.G, activation=function)
    kernel = math.isqrt(first.op.operations // first.output.elements) if first.op.kind == "pool" else None
    return Part(first.op.kind, reads, first.output, kernel)


def _function_behind(node: Node, members: list[Node]) -> str:
    """Return the activation function that is applied to what a node makes."""
    for other in members:
        if isinstance(other.op, VectorOp) and other.op.kind == "activation" and other.inputs == (node.name,):
            return plain_activation(other.name.rpartition(".")[2])
    return ""
