"""Build a `Network` node by node, with the shape of every tensor worked out on the way."""

from __future__ import annotations

from accel_models.errors import WorkloadError, unknown_name
from accel_models.workload import INPUT, Layer, Network, Node, TensorShape, VectorKind, VectorOp


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of `divisor`, never more than a tenth below (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class NetworkBuilder:
    """Adds operations one after the other; each method returns the name of the tensor it makes.

    An operation reads the tensor made last, or the one called `x`. Convolutions and pools use "same" padding
    (output = ceil(input / stride)) unless `padding` says how many elements are added on each side.

    Parameters
    ----------
    name
        Name of the network.
    channels, height, width
        Shape of its input, in elements; without `width` it is square.

    Raises
    ------
    WorkloadError
        Where a shape is impossible, a name is taken or a tensor unknown; the message names network and operation.
    """

    def __init__(self, name: str, channels: int = 3, height: int = 224, width: int | None = None) -> None:
        self.name = name
        self.input = TensorShape(channels, height, height if width is None else width)
        self.nodes: list[Node] = []
        self.shapes: dict[str, TensorShape] = {INPUT: self.input}
        self.last = INPUT

    @classmethod
    def after(cls, name: str, source: str, shape: TensorShape) -> NetworkBuilder:
        """Return a builder of a network's continuation: its first operation reads `source`, which is made elsewhere."""
        builder = cls(name, shape.channels, shape.height, shape.width)
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
        """Add a convolution (with its folded batch normalisation or bias), then its activation if one is named."""
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
        made = self._add(Node(name, layer, (source,), out, extra))
        return self.activation(f"{name}.{activation}", made) if activation else made

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
        made = self._add(Node(name, layer, (source,), packed, out_channels if bias else 0))
        out = TensorShape(out_channels, shape.height * scale, shape.width * scale)
        return self._add(Node(f"{name}.shuffle", VectorOp("shuffle", 0, 0, 0, fused=True), (made,), out))

    def linear(
        self, name: str, out_features: int, *, bias: bool = True, activation: str | None = None, x: str | None = None
    ) -> str:
        """Add a fully connected layer over all elements of its input."""
        source = self._source(x)
        layer = Layer(K=out_features, C=self.shapes[source].elements)
        made = self._add(Node(name, layer, (source,), TensorShape(out_features), out_features if bias else 0))
        return self.activation(f"{name}.{activation}", made) if activation else made

    def activation(self, name: str, x: str | None = None) -> str:
        """Add an activation function, one look-up per element, fused where it follows a layer directly."""
        source = self._source(x)
        shape = self.shapes[source]
        producer = self.nodes[-1] if self.nodes else None
        fused = producer is not None and producer.name == source and isinstance(producer.op, Layer)
        op = VectorOp("activation", shape.elements, shape.elements, shape.elements, fused)
        return self._add(Node(name, op, (source,), shape))

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
        stride: int | None = None,
        padding: int | None = None,
        ceil_mode: bool = False,
        x: str | None = None,
    ) -> str:
        """Add a maximum or average pool over `kernel` x `kernel` windows, side by side unless `stride` is given."""
        source = self._source(x)
        shape = self.shapes[source]
        step = kernel if stride is None else stride
        out = self._window(name, source, shape.channels, kernel, step, 1, padding, ceil_mode)
        op = VectorOp("pool", out.elements * kernel * kernel, shape.elements, out.elements)
        return self._add(Node(name, op, (source,), out))

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
        return self._add(Node(name, op, (source,), out))

    def global_pool(self, name: str, x: str | None = None) -> str:
        """Average each channel over the whole image."""
        source = self._source(x)
        shape = self.shapes[source]
        op = VectorOp("global_pool", shape.elements, shape.elements, shape.channels)
        return self._add(Node(name, op, (source,), TensorShape(shape.channels)))

    def concat(self, name: str, first: str, *others: str) -> str:
        """Join tensors of one image size along their channels (no arithmetic; the data is written where it belongs)."""
        parts = tuple(self._source(part) for part in (first, *others))
        shapes = [self.shapes[part] for part in parts]
        if len({(shape.height, shape.width) for shape in shapes}) != 1:
            raise WorkloadError(f"{self.name}: {name}: cannot join images of different size: {shapes}")
        out = TensorShape(sum(shape.channels for shape in shapes), shapes[0].height, shapes[0].width)
        return self._add(Node(name, VectorOp("concat", 0, 0, 0, fused=True), parts, out))

    def crop(self, name: str, height: int, width: int, x: str | None = None) -> str:
        """Keep the centre of an image (no arithmetic, no traffic: the next reader skips the border)."""
        source = self._source(x)
        shape = self.shapes[source]
        if height > shape.height or width > shape.width:
            raise WorkloadError(f"{self.name}: {name}: cannot crop {shape} to {height} x {width} elements")
        out = TensorShape(shape.channels, height, width)
        return self._add(Node(name, VectorOp("concat", 0, 0, 0, fused=True), (source,), out))

    def upsample(self, name: str, scale: int = 2, x: str | None = None) -> str:
        """Repeat every pixel `scale` x `scale` times (nearest neighbour: one move per pixel made)."""
        source = self._source(x)
        shape = self.shapes[source]
        if scale < 1:
            raise WorkloadError(f"{self.name}: {name}: scale {scale} must be at least 1")
        out = TensorShape(shape.channels, shape.height * scale, shape.width * scale)
        op = VectorOp("upsample", out.elements, shape.elements, out.elements)
        return self._add(Node(name, op, (source,), out))

    def softmax(self, name: str, x: str | None = None) -> str:
        """Add a softmax: per element a comparison, a subtraction, an exponential, an addition and a multiplication.

        It reads and writes every element once, as a vector unit does that can hold one row.
        """
        source = self._source(x)
        shape = self.shapes[source]
        op = VectorOp("softmax", 5 * shape.elements, shape.elements, shape.elements)
        return self._add(Node(name, op, (source,), shape))

    def layer_norm(self, name: str, x: str | None = None) -> str:
        """Normalise each pixel over its channels: per element 3 operations for the sums, 4 for shift, scale, gain, bias."""
        source = self._source(x)
        shape = self.shapes[source]
        op = VectorOp("normalise", 7 * shape.elements, shape.elements, shape.elements)
        return self._add(Node(name, op, (source,), shape, 2 * shape.channels))

    def matmul(self, name: str, left: str, right: str, *, heads: int = 1, transpose: bool = False) -> str:
        """Multiply two activations, head by head; `right` takes the place of the weights.

        A pixel is a row, its channels, split among the `heads`, are the columns. With `transpose`, every row of `left`
        meets every row of `right` (scores of attention); without, the columns of `left` weight the rows of `right`.
        """
        shape, other = self.shapes[self._source(left)], self.shapes[self._source(right)]
        rows = other.height * other.width
        inner, made = (other.channels, heads * rows) if transpose else (heads * rows, other.channels)
        if heads < 1 or shape.channels != inner or inner % heads or made % heads:
            raise WorkloadError(
                f"{self.name}: {name}: cannot multiply {shape} and {other} in {heads} heads (transpose: {transpose})"
            )
        layer = Layer(K=made // heads, C=inner // heads, P=shape.width, Q=shape.height, G=heads, dynamic_weights=True)
        return self._add(Node(name, layer, (left, right), TensorShape(made, shape.height, shape.width)))

    def attention(self, name: str, heads: int, x: str | None = None) -> str:
        """Add multi-head self-attention over pixels: three projections, scores, softmax, weighted sum, projection.

        The scores' scale is folded into the weights of the query.
        """
        source = self._source(x)
        channels = self.shapes[source].channels
        query, key, value = (
            self.conv(f"{name}.{part}", channels, 1, batch_norm=False, bias=True, x=source)
            for part in ("query", "key", "value")
        )
        scores = self.softmax(f"{name}.softmax", self.matmul(f"{name}.scores", query, key, heads=heads, transpose=True))
        mixed = self.matmul(f"{name}.mix", scores, value, heads=heads)
        return self.conv(f"{name}.project", channels, 1, batch_norm=False, bias=True, x=mixed)

    def squeeze_excite(self, name: str, squeezed: int, x: str | None = None) -> str:
        """Scale each channel by a gate computed from the channel means (two small layers with bias)."""
        source = self._source(x)
        channels = self.shapes[source].channels
        self.global_pool(f"{name}.pool", source)
        self.conv(f"{name}.reduce", squeezed, 1, batch_norm=False, bias=True, activation="relu")
        gate = self.conv(f"{name}.expand", channels, 1, batch_norm=False, bias=True, activation="hard_sigmoid")
        return self.multiply(f"{name}.scale", source, gate)

    def mbconv(
        self,
        name: str,
        out_channels: int,
        kernel: int,
        expand: float = 1.0,
        *,
        middle: int | None = None,
        stride: int = 1,
        squeeze_excite: bool = False,
        activation: str | None = "relu6",
        residual: bool = True,
        x: str | None = None,
    ) -> str:
        """Inverted bottleneck: 1x1 expand, depth-wise, squeeze-and-excite, 1x1 project, residual where shapes agree.

        Parameters
        ----------
        name
            Prefix of the names of its nodes.
        out_channels, kernel, stride
            Of the block as a whole.
        expand
            Middle channels per input channel, rounded to a multiple of 8.
        middle
            The number of middle channels itself, where a paper gives that instead of a ratio. As many as the input
            has, and there is no expand layer.
        squeeze_excite
            Whether there is one, a quarter as wide as the middle (rounded to a multiple of 8).
        activation
            After the expand and the depth-wise layer; the project layer has none.
        residual
            False leaves the residual out even where shapes agree.
        x
            What it reads.
        """
        source = self._source(x)
        in_channels = self.shapes[source].channels
        if middle is None:
            middle = in_channels if expand == 1 else make_divisible(round(in_channels * expand))
        if middle != in_channels:
            self.conv(f"{name}.expand", middle, 1, activation=activation, x=source)
        self.conv(f"{name}.depthwise", middle, kernel, stride=stride, groups=middle, activation=activation)
        if squeeze_excite:
            self.squeeze_excite(f"{name}.se", make_divisible(middle // 4))
        made = self.conv(f"{name}.project", out_channels, 1)
        if residual and stride == 1 and in_channels == out_channels:
            made = self.add(f"{name}.add", source, made)
        return made

    def _elementwise(self, kind: VectorKind, name: str, left: str, right: str) -> str:
        shape, other = self.shapes[self._source(left)], self.shapes[self._source(right)]
        per_channel = kind == "multiply" and other == TensorShape(shape.channels)
        if other != shape and not per_channel:
            raise WorkloadError(f"{self.name}: {name}: cannot {kind} tensors of shape {shape} and {other}")
        op = VectorOp(kind, shape.elements, shape.elements + other.elements, shape.elements)
        return self._add(Node(name, op, (left, right), shape))

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
