"""Build a `Network` operation by operation, with the shape of every tensor worked out on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Self

from accel_models.detail import ACTIVATIONS, Detail
from accel_models.errors import WorkloadError, unknown_name
from accel_models.workload import INPUT, Layer, Network, Node, TensorShape, VectorKind, VectorOp

FREE = VectorOp("concat", 0, 0, 0, fused=True)
"""No arithmetic and no traffic of its own: the data is written, or read, where it belongs."""


class OperationBuilder:
    """Adds operations one after the other; each method returns the name of the tensor it makes.

    An operation reads the tensor made last, or the one called `x`. Convolutions and pools use "same" padding
    (output = ceil(input / stride)) unless `padding` says how many elements are added on each side.

    Parameters
    ----------
    name
        Name of the network.
    channels, height, width
        Shape of its input, in elements; without `width` it is square.
    batch_norm_eps
        What its batch normalisations add to the variance.

    Raises
    ------
    WorkloadError
        Where a shape is impossible, a name is taken or a tensor or function unknown; the message names network and
        operation.
    """

    def __init__(
        self,
        name: str,
        channels: int = 3,
        height: int = 224,
        width: int | None = None,
        *,
        batch_norm_eps: float = 1e-5,
    ) -> None:
        self.name = name
        self.input = TensorShape(channels, height, height if width is None else width)
        self.batch_norm_eps = batch_norm_eps
        self.nodes: list[Node] = []
        self.shapes: dict[str, TensorShape] = {INPUT: self.input}
        self.last = INPUT

    @classmethod
    def after(cls, name: str, source: str, shape: TensorShape, *, batch_norm_eps: float = 1e-5) -> Self:
        """Return a builder of a network's continuation: its first operation reads `source`, which is made elsewhere."""
        builder = cls(name, shape.channels, shape.height, shape.width, batch_norm_eps=batch_norm_eps)
        builder.shapes = {source: shape}
        builder.last = source
        return builder

    def build(self, source: str = "") -> Network:
        """Return the network as built so far; `source` says where its structure comes from."""
        return Network(self.name, tuple(self.nodes), self.input, source)

    def conv(
        self,
        name: str,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
        padding: int | None = None,
        batch_norm: bool = True,
        bias: bool = False,
        activation: str | None = None,
        x: str | None = None,
    ) -> str:
        """Add a convolution (with its folded batch normalisation or bias), then its activation if one is named.

        On tokens, a kernel of 1 without batch normalisation and with bias is the fully connected layer of each token.
        """
        source = self._source(x)
        channels = self.shapes[source].channels
        if groups < 1 or channels % groups or out_channels % groups:
            raise WorkloadError(
                f"{self.name}: {name}: {channels} -> {out_channels} channels do not divide into {groups} groups"
            )
        out = self._window(name, source, out_channels, kernel, stride, dilation, padding)
        layer = Layer(
            K=out_channels // groups,
            C=channels // groups,
            P=out.width,
            Q=out.height,
            R=kernel,
            S=kernel,
            G=groups,
            stride_w=stride,
            stride_h=stride,
            dilation_w=dilation,
            dilation_h=dilation,
        )
        extra = (2 * out_channels if batch_norm else 0) + (out_channels if bias else 0)
        eps = self.batch_norm_eps if batch_norm else 1e-5
        detail = Detail("conv", padding=padding, batch_norm=batch_norm, bias=bias, eps=eps)
        made = self._add(Node(name, layer, (source,), out, extra, detail))
        return self.activation(f"{name}.{activation}", activation, x=made) if activation else made

    def up_conv(self, name: str, out_channels: int, scale: int = 2, *, bias: bool = True, x: str | None = None) -> str:
        """Add a transposed convolution whose windows do not overlap (kernel = stride = `scale`).

        Every input pixel makes `scale` x `scale` output pixels, each with weights of its own: a 1x1 layer of
        `out_channels` x `scale`² channels, whose outputs are written where they belong.
        """
        source = self._source(x)
        shape = self.shapes[source]
        copies = scale * scale
        layer = Layer(K=out_channels * copies, C=shape.channels, P=shape.width, Q=shape.height)
        packed = TensorShape(out_channels * copies, shape.height, shape.width)
        detail = Detail("up_conv", stride=scale, bias=bias)
        made = self._add(Node(name, layer, (source,), packed, out_channels if bias else 0, detail))
        out = TensorShape(out_channels, shape.height * scale, shape.width * scale)
        op = VectorOp("shuffle", 0, 0, 0, fused=True)
        return self._add(Node(f"{name}.shuffle", op, (made,), out, detail=Detail("pixel_shuffle", stride=scale)))

    def linear(
        self, name: str, out_features: int, *, bias: bool = True, activation: str | None = None, x: str | None = None
    ) -> str:
        """Add a fully connected layer over all elements of its input (channel by channel, row by row)."""
        source = self._source(x)
        layer = Layer(K=out_features, C=self.shapes[source].elements)
        detail = Detail("linear", bias=bias)
        made = self._add(Node(name, layer, (source,), TensorShape(out_features), out_features if bias else 0, detail))
        return self.activation(f"{name}.{activation}", activation, x=made) if activation else made

    def activation(self, name: str, function: str = "relu", *, x: str | None = None) -> str:
        """Add an activation function, one look-up per element, fused where it follows a layer directly."""
        if function not in ACTIVATIONS:
            raise WorkloadError(f"{self.name}: {name}: " + unknown_name("activation", str(function), ACTIVATIONS))
        return self._per_element(name, Detail(function), x)

    def scale(self, name: str, factor: float, x: str | None = None) -> str:
        """Multiply every element by a constant, as an activation does."""
        return self._per_element(name, Detail("scale", scale=factor), x)

    def batch_norm(self, name: str, x: str | None = None) -> str:
        """Add a batch normalisation that no layer can absorb: per element one multiplication and one addition."""
        source = self._source(x)
        shape = self.shapes[source]
        op = VectorOp("normalise", 2 * shape.elements, shape.elements, shape.elements)
        detail = Detail("batch_norm", batch_norm=True, eps=self.batch_norm_eps)
        return self._add(Node(name, op, (source,), shape, 2 * shape.channels, detail))

    def add(self, name: str, left: str, right: str) -> str:
        """Add two tensors of one shape, element by element."""
        return self._elementwise("add", name, left, right)

    def multiply(self, name: str, left: str, right: str) -> str:
        """Multiply two tensors, element by element; `right` may have one element per channel."""
        return self._elementwise("multiply", name, left, right)

    def pool(
        self,
        name: str,
        kernel: int,
        *,
        kind: Literal["max", "average"] = "max",
        stride: int | None = None,
        padding: int | None = None,
        ceil_mode: bool = False,
        count_padding: bool = True,
        x: str | None = None,
    ) -> str:
        """Add a maximum or average pool over `kernel` x `kernel` windows, side by side unless `stride` is given.

        An average counts the padding's zeros unless `count_padding` is False (torch's `count_include_pad`).
        """
        source = self._source(x)
        shape = self.shapes[source]
        if kind not in ("max", "average"):
            raise WorkloadError(f"{self.name}: {name}: " + unknown_name("kind of pool", str(kind), ("max", "average")))
        step = kernel if stride is None else stride
        out = self._window(name, source, shape.channels, kernel, step, 1, padding, ceil_mode)
        op = VectorOp("pool", out.elements * kernel * kernel, shape.elements, out.elements)
        detail = Detail(
            f"{kind}_pool", kernel, step, padding, ceil_mode=ceil_mode, count_padding=count_padding or kind == "max"
        )
        return self._add(Node(name, op, (source,), out, detail=detail))

    def adaptive_pool(self, name: str, size: int, x: str | None = None) -> str:
        """Average to `size` x `size` pixels; nothing is added where the image has that size already.

        Output i averages inputs floor(i n / size) to ceil((i + 1) n / size), as torch's `AdaptiveAvgPool2d` does.
        """
        source = self._source(x)
        shape = self.shapes[source]
        out = TensorShape(shape.channels, size, size)
        if out == shape:
            return source
        rows, columns = (
            sum(-(-(i + 1) * length // size) - i * length // size for i in range(size))
            for length in (shape.height, shape.width)
        )
        op = VectorOp("pool", shape.channels * rows * columns, shape.elements, out.elements)
        return self._add(Node(name, op, (source,), out, detail=Detail("adaptive_pool")))

    def global_pool(self, name: str, x: str | None = None) -> str:
        """Average each channel over the whole image, or over all tokens."""
        source = self._source(x)
        shape = self.shapes[source]
        op = VectorOp("global_pool", shape.elements, shape.elements, shape.channels)
        return self._add(Node(name, op, (source,), TensorShape(shape.channels), detail=Detail("global_pool")))

    def concat(self, name: str, first: str, *others: str, along: Literal["channels", "width"] = "channels") -> str:
        """Join tensors along their channels, or rows of tokens along the width (no arithmetic, no traffic)."""
        parts = tuple(self._source(part) for part in (first, *others))
        shapes = [self.shapes[part] for part in parts]
        if along == "channels":
            out = replace(shapes[0], channels=sum(shape.channels for shape in shapes))
            fits = len({(shape.height, shape.width) for shape in shapes}) == 1
        else:
            out = replace(shapes[0], width=sum(shape.width for shape in shapes))
            fits = len({(shape.channels, shape.height) for shape in shapes}) == 1
        if not fits:
            raise WorkloadError(f"{self.name}: {name}: cannot join images of different size along {along}: {shapes}")
        return self._add(Node(name, FREE, parts, out, detail=Detail("concat", along=along)))

    def slice_channels(self, name: str, start: int, count: int, x: str | None = None) -> str:
        """Keep `count` channels from `start` on (no arithmetic, no traffic)."""
        source = self._source(x)
        shape = self.shapes[source]
        if start < 0 or count < 1 or start + count > shape.channels:
            raise WorkloadError(
                f"{self.name}: {name}: channels {start} to {start + count - 1} are not among {shape.channels}"
            )
        return self._free(name, source, TensorShape(count, shape.height, shape.width), Detail("slice", start=start))

    def channel_shuffle(self, name: str, groups: int, x: str | None = None) -> str:
        """Let channels of all `groups` alternate (no arithmetic; they are written where they belong)."""
        source = self._source(x)
        shape = self.shapes[source]
        if groups < 1 or shape.channels % groups:
            raise WorkloadError(f"{self.name}: {name}: {shape.channels} channels do not divide into {groups} groups")
        op = VectorOp("shuffle", 0, 0, 0, fused=True)
        return self._add(Node(name, op, (source,), shape, detail=Detail("channel_shuffle", groups=groups)))

    def crop(
        self,
        name: str,
        height: int,
        width: int,
        x: str | None = None,
        *,
        top: int | None = None,
        left: int | None = None,
    ) -> str:
        """Keep a part of an image, its centre or what begins at row `top` and column `left`.

        No arithmetic, no traffic: the next reader skips the border. At another image size the same margins go.
        """
        source = self._source(x)
        shape = self.shapes[source]
        rows, columns = shape.height - height, shape.width - width
        above, before = rows // 2 if top is None else top, columns // 2 if left is None else left
        margins = (above, rows - above, before, columns - before)
        if min(margins) < 0:
            raise WorkloadError(f"{self.name}: {name}: cannot crop {shape} to {height} x {width} elements")
        return self._free(name, source, TensorShape(shape.channels, height, width), Detail("crop", margins=margins))

    def zeros(self, name: str, channels: int | None = None, *, stride: int = 1, x: str | None = None) -> str:
        """Make zeros of the input's shape, or of other `channels` and of every `stride`-th pixel (no arithmetic)."""
        source = self._source(x)
        shape = self.shapes[source]
        out = TensorShape(channels or shape.channels, -(-shape.height // stride), -(-shape.width // stride))
        return self._free(name, source, out, Detail("zeros", stride=stride))

    def upsample(self, name: str, scale: int = 2, x: str | None = None) -> str:
        """Repeat every pixel `scale` x `scale` times (nearest neighbour: one move per pixel made)."""
        source = self._source(x)
        shape = self.shapes[source]
        if scale < 1:
            raise WorkloadError(f"{self.name}: {name}: scale {scale} must be at least 1")
        out = TensorShape(shape.channels, shape.height * scale, shape.width * scale)
        op = VectorOp("upsample", out.elements, shape.elements, out.elements)
        return self._add(Node(name, op, (source,), out, detail=Detail("upsample", stride=scale)))

    def _per_element(self, name: str, detail: Detail, x: str | None) -> str:
        source = self._source(x)
        shape = self.shapes[source]
        producer = self.nodes[-1] if self.nodes else None
        fused = producer is not None and producer.name == source and isinstance(producer.op, Layer)
        op = VectorOp("activation", shape.elements, shape.elements, shape.elements, fused)
        return self._add(Node(name, op, (source,), shape, detail=detail))

    def _free(self, name: str, source: str, out: TensorShape, detail: Detail) -> str:
        return self._add(Node(name, FREE, (source,), out, detail=detail))

    def _elementwise(self, kind: VectorKind, name: str, left: str, right: str) -> str:
        shape, other = self.shapes[self._source(left)], self.shapes[self._source(right)]
        per_channel = kind == "multiply" and other == TensorShape(shape.channels)
        if other != shape and not per_channel:
            raise WorkloadError(f"{self.name}: {name}: cannot {kind} tensors of shape {shape} and {other}")
        op = VectorOp(kind, shape.elements, shape.elements + other.elements, shape.elements)
        return self._add(Node(name, op, (left, right), shape, detail=Detail(kind)))

    def _window(
        self,
        name: str,
        source: str,
        channels: int,
        kernel: int,
        stride: int,
        dilation: int,
        padding: int | None,
        ceil_mode: bool = False,
    ) -> TensorShape:
        shape = self.shapes[source]
        if min(kernel, stride, dilation) < 1 or (padding is not None and padding < 0):
            raise WorkloadError(
                f"{self.name}: {name}: kernel {kernel}, stride {stride} and dilation {dilation} must be at least 1, "
                f"padding {padding} at least 0"
            )
        height, width = (
            _out_size(size, dilation * (kernel - 1) + 1, stride, padding, ceil_mode)
            for size in (shape.height, shape.width)
        )
        if min(height, width) < 1:
            raise WorkloadError(
                f"{self.name}: {name}: a window of {kernel} (dilation {dilation}) does not fit into "
                f"{shape.height} x {shape.width} elements with padding {padding}"
            )
        return TensorShape(channels, height, width)

    def _source(self, x: str | None) -> str:
        source = self.last if x is None else x
        if source not in self.shapes:
            raise WorkloadError(f"{self.name}: " + unknown_name("tensor", source, self.shapes))
        return source

    def _add(self, node: Node) -> str:
        if node.name in self.shapes:
            raise WorkloadError(f"{self.name}: two nodes are called {node.name!r}")
        self.nodes.append(node)
        self.shapes[node.name] = node.output
        self.last = node.name
        return node.name


def _out_size(size: int, window: int, stride: int, padding: int | None, ceil_mode: bool) -> int:
    """Return how many windows fit; less than one where not even one does."""
    if padding is None:
        return -(-size // stride)
    free = size + 2 * padding - window
    if not ceil_mode:
        return free // stride + 1
    # as torch does: a last window that would start in the padding on the right is left out
    return min(-(-free // stride), (size + padding - 1) // stride) + 1
