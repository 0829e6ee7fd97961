"""What is to be computed: a layer is a loop nest, a network is a graph of layers and vector operations.

A :class:`Layer` is pure shape, so two layers of one shape are equal, hash alike and share every cached cost.
Names, order and tensors between layers live in the :class:`Network`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from accel_models.detail import NO_DETAIL, Detail
from accel_models.errors import WorkloadError

if TYPE_CHECKING:
    import networkx as nx

DIMS = ("N", "K", "C", "P", "Q", "R", "S", "G")
"""Loop dims, in the order of every array: batch, output and input channels *per group*, output width and
height, kernel width and height, groups."""

DATASPACES = ("weights", "inputs", "outputs")

VectorKind = Literal[
    "activation",
    "add",
    "multiply",
    "pool",
    "global_pool",
    "concat",
    "upsample",
    "softmax",
    "normalise",
    "shuffle",
]


_POSITIVE = (*DIMS, "stride_w", "stride_h", "dilation_w", "dilation_h")
_WIDTHS = ("weight_bits", "input_bits", "output_bits")
_SHORTHAND = {"stride": ("stride_w", "stride_h"), "dilation": ("dilation_w", "dilation_h"), "bits": _WIDTHS}


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution-like loop nest: convolution, depth-wise, fully connected or batched matrix product.

    Parameters
    ----------
    N, K, C, P, Q, R, S, G
        Loop bounds. `K` and `C` are output and input channels of *one group*; `P`, `R` run along the width and
        `Q`, `S` along the height. A fully connected layer has ``P = Q = R = S = 1``, a depth-wise convolution
        ``K = C = 1`` and ``G`` channels, a batched matrix product one group per matrix.
    stride_w, stride_h, dilation_w, dilation_h
        Steps of the window, in input elements.
    weight_bits, input_bits, output_bits
        Width of one element; None means the target's own precision.
    dynamic_weights
        True where the "weights" are activations (attention): they are no parameters of the network.

    Raises
    ------
    WorkloadError
        If a bound, step or width is not a positive integer.
    """

    N: int = 1
    K: int = 1
    C: int = 1
    P: int = 1
    Q: int = 1
    R: int = 1
    S: int = 1
    G: int = 1
    stride_w: int = 1
    stride_h: int = 1
    dilation_w: int = 1
    dilation_h: int = 1
    weight_bits: int | None = None
    input_bits: int | None = None
    output_bits: int | None = None
    dynamic_weights: bool = False

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise WorkloadError(f"layer: {name} = {value!r} must be a positive integer")
        for name in _WIDTHS:
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise WorkloadError(f"layer: {name} = {value!r} must be a positive integer or None")

    @property
    def dims(self) -> tuple[int, ...]:
        """Loop bounds in the order of :data:`DIMS`."""
        return (self.N, self.K, self.C, self.P, self.Q, self.R, self.S, self.G)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.N * self.K * self.C * self.P * self.Q * self.R * self.S * self.G

    @property
    def input_width(self) -> int:
        """Width of the (padded) input that the outputs touch, in elements."""
        return (self.P - 1) * self.stride_w + (self.R - 1) * self.dilation_w + 1

    @property
    def input_height(self) -> int:
        """Height of the (padded) input that the outputs touch, in elements."""
        return (self.Q - 1) * self.stride_h + (self.S - 1) * self.dilation_h + 1

    @property
    def weight_elements(self) -> int:
        """Size of the weight tensor, in elements."""
        return self.G * self.K * self.C * self.R * self.S

    @property
    def input_elements(self) -> int:
        """Size of the input tensor's bounding box, in elements."""
        return self.G * self.N * self.C * self.input_width * self.input_height

    @property
    def output_elements(self) -> int:
        """Size of the output tensor, in elements."""
        return self.G * self.N * self.K * self.P * self.Q

    @property
    def kind(self) -> str:
        """The field's name for this shape."""
        if self.dynamic_weights:
            return "matmul"
        if self.P == self.Q == self.R == self.S == 1:
            return "linear"
        if self.G > 1:
            return "depthwise" if self.K == self.C == 1 else "grouped"
        return "pointwise" if self.R == self.S == 1 else "conv"

    def with_bits(self, weights: int, inputs: int, outputs: int) -> Layer:
        """Return this layer at another precision (bits per element)."""
        return replace(self, weight_bits=weights, input_bits=inputs, output_bits=outputs)

    def __str__(self) -> str:
        parts = [f"{dim}{bound}" for dim, bound in zip(DIMS, self.dims, strict=True) if bound > 1]
        for text, value in (
            ("stride_w", self.stride_w),
            ("stride_h", self.stride_h),
            ("dilation_w", self.dilation_w),
            ("dilation_h", self.dilation_h),
        ):
            if value > 1:
                parts.append(f"{text}={value}")
        parts += [f"{text}={getattr(self, text)}" for text in _WIDTHS if getattr(self, text) is not None]
        return " ".join(parts) or "N1"

    @classmethod
    def parse(cls, text: str) -> Layer:
        """Read a layer from text such as ``"K256 C256 P14 Q14 R3 S3 stride=2"``.

        Raises
        ------
        WorkloadError
            If a word is not a dim with its bound or a known ``key=value``.
        """
        values: dict[str, int] = {}
        for word in text.replace(",", " ").split():
            dim = re.fullmatch(r"([NKCPQRSG])=?(\d{1,18})", word, re.IGNORECASE)
            option = re.fullmatch(r"(stride|dilation|bits|\w+_(?:w|h|bits))=(\d{1,18})", word)
            keys: tuple[str, ...] = ("",)
            number = 0
            if dim:
                keys, number = (dim[1].upper(),), int(dim[2])
            elif option:
                keys, number = _SHORTHAND.get(option[1], (option[1],)), int(option[2])
            for key in keys:
                if key not in cls.__slots__ or key == "dynamic_weights":
                    raise WorkloadError(
                        f"layer {text!r}: cannot read {word!r}; write dims as K64 (of {' '.join(DIMS)}) and options "
                        "as stride=2, dilation=1, bits=8"
                    )
                if key in values:
                    raise WorkloadError(f"layer {text!r}: {key} is given twice")
                values[key] = number
        if not values:
            raise WorkloadError(f"layer {text!r} names no dim; an example: 'K256 C256 P14 Q14 R3 S3'")
        return cls(**values)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class VectorOp:
    """Work that needs no MAC array: pooling, element-wise sums and products, activation functions, softmax.

    Parameters
    ----------
    kind
        What it is.
    operations
        Scalar operations of the vector unit (one addition, comparison, multiplication or look-up each).
    input_elements, output_elements
        Elements read and written.
    fused
        True where the operation is applied to a layer's outputs on their way out of the array, as accelerators do
        with an activation function right behind a layer: then it moves no data of its own.
    """

    kind: VectorKind
    operations: int
    input_elements: int
    output_elements: int
    fused: bool = False

    def __post_init__(self) -> None:
        if min(self.operations, self.input_elements, self.output_elements) < 0:
            raise WorkloadError(f"{self.kind}: negative amount of work ({self})")


@dataclass(frozen=True, slots=True)
class TensorShape:
    """Shape of one activation tensor (batch 1)."""

    channels: int
    height: int = 1
    width: int = 1

    def __post_init__(self) -> None:
        if min(self.channels, self.height, self.width) < 1:
            raise WorkloadError(f"tensor of {self.channels} x {self.height} x {self.width} elements is empty")

    @property
    def elements(self) -> int:
        """Number of elements."""
        return self.channels * self.height * self.width


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of a network: its name, what it does, where its inputs come from, what it makes.

    `extra_params` are parameters beside the weights: biases and two per channel of a batch normalisation (which a
    cost model folds into the weights). `detail` says how it computes; cost does not depend on it.
    """

    name: str
    op: Layer | VectorOp
    inputs: tuple[str, ...]
    output: TensorShape
    extra_params: int = 0
    detail: Detail = field(default=NO_DETAIL, hash=False)

    @property
    def params(self) -> int:
        """Parameters of this node."""
        weights = self.op.weight_elements if isinstance(self.op, Layer) and not self.op.dynamic_weights else 0
        return weights + self.extra_params


INPUT = "input"
"""Name that a node uses for the network's own input."""


@dataclass(frozen=True)
class Network:
    """A directed acyclic graph of layers and vector operations, in an order that can be executed.

    Parameters
    ----------
    name
        What it is called in reports.
    nodes
        Every node comes after those it reads.
    input
        Shape of the network's input, which nodes read under the name ``"input"``.

    Raises
    ------
    WorkloadError
        If a name is used twice or a node reads what no earlier node makes.
    """

    name: str
    nodes: tuple[Node, ...]
    input: TensorShape
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        known = {INPUT}
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing:
                raise WorkloadError(
                    f"network {self.name!r}: node {node.name!r} reads {missing[0]!r}, which no earlier node makes"
                )
            if node.name in known:
                raise WorkloadError(f"network {self.name!r}: two nodes are called {node.name!r}")
            known.add(node.name)

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions, fully connected layers, matrix products and squeeze-and-excite."""
        return sum(layer.macs for _, layer in self.layers)

    @cached_property
    def params(self) -> int:
        """Parameters: weights, biases, and two per channel of a batch normalisation."""
        return sum(node.params for node in self.nodes)

    @property
    def layers(self) -> list[tuple[str, Layer]]:
        """The nodes that run on the MAC array, with their names, in order."""
        return [(node.name, node.op) for node in self.nodes if isinstance(node.op, Layer)]

    @property
    def distinct_layers(self) -> Counter[Layer]:
        """Each layer shape once, with how often it occurs."""
        return Counter(layer for _, layer in self.layers)

    @cached_property
    def graph(self) -> nx.DiGraph:
        """The same as a networkx graph: node attribute `node`, edge attribute `elements`."""
        import networkx as nx

        graph: nx.DiGraph = nx.DiGraph(name=self.name)
        shapes = {INPUT: self.input}
        for node in self.nodes:
            graph.add_node(node.name, node=node)
            for source in node.inputs:
                graph.add_edge(source, node.name, elements=shapes[source].elements)
            shapes[node.name] = node.output
        return graph

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self.layers)} layers, {self.macs / 1e6:.1f} M MACs, {self.params / 1e6:.2f} M parameters, "
            f"input {self.input.channels} x {self.input.height} x {self.input.width}"
        )
