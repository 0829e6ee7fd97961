"""Build a `Network` node by node, with the shape of every tensor worked out on the way."""

from __future__ import annotations

from accel_models.errors import WorkloadError
from accel_models.workload import INPUT, Layer, Network, Node, TensorShape, VectorKind, VectorOp


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of `divisor`, never more than a tenth below (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class NetworkBuilder:
    """Adds operations one after the other; each method returns the name of the tensor it makes.

    Convolutions and pools use "same" padding (output = ceil(input / stride)) unless `padding` says how many elements
    are added on each side.

    Parameters
    ----------
    name
        Name of the network.
    channels, height, width
        Shape of its input.
    """

    def __init__(self, name: str, channels: int = 3, height: int = 224, width: int | None = None) -> None:
        self.name = name
        self.input = TensorShape(channels, height, height if width is None else width)
        self.nodes: list[Node] = []
        self.shapes: dict[str, TensorShape] = {INPUT: self.input}
        self.last = INPUT

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
        shape = self.shapes[source]
        if shape.channels % groups or out_channels % groups:
            raise WorkloadError(
                f"{self.name}: {name}: {shape.channels} -> {out_channels} channels do not divide into {groups} groups"
            )
        out = TensorShape(
            out_channels,
            _out_size(shape.height, kernel, stride, dilation, padding),
            _out_size(shape.width, kernel, stride, dilation, padding),
        )
        layer = Layer(
            K=out_channels // groups, C=shape.channels // groups, G=groups, P=out.width, Q=out.height, R=kernel, S=kernel,
            stride_w=stride, stride_h=stride, dilation_w=dilation, dilation_h=dilation,
        )  # fmt: skip
        extra = (2 * out_channels if batch_norm else 0) + (out_channels if bias else 0)
        made = self._add(Node(name, layer, (source,), out, extra))
        return self.activation(f"{name}.{activation}", made) if activation else made

    def linear(
        self,
        name: str,
        out_features: int,
        *,
        bias: bool = True,
        activation: str | None = None,
        x: str | None = None,
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
        return self._add(
            Node(
                name,
                VectorOp("activation", shape.elements, shape.elements, shape.elements, fused),
                (source,),
                shape,
            )
        )

    def add(self, name: str, left: str, right: str) -> str:
        """Add two tensors of one shape, element by element."""
        return self._elementwise("add", name, left, right)

    def multiply(self, name: str, left: str, right: str) -> str:
        """Multiply two tensors, element by element; `right` may have one element per channel."""
        return self._elementwise("multiply", name, left, right)

    def pool(
        self, name: str, kernel: int, *, stride: int | None = None, padding: int | None = None, ceil_mode: bool = False,
        x: str | None = None,
    ) -> str:  # fmt: skip
        """Add a maximum or average pool over `kernel` x `kernel` windows."""
        source = self._source(x)
        shape = self.shapes[source]
        step = kernel if stride is None else stride
        out = TensorShape(
            shape.channels,
            _out_size(shape.height, kernel, step, 1, padding, ceil_mode),
            _out_size(shape.width, kernel, step, 1, padding, ceil_mode),
        )
        op = VectorOp("pool", out.elements * kernel * kernel, shape.elements, out.elements)
        return self._add(Node(name, op, (source,), out))

    def global_pool(self, name: str, x: str | None = None) -> str:
        """Average each channel over the whole image."""
        source = self._source(x)
        shape = self.shapes[source]
        op = VectorOp("global_pool", shape.elements, shape.elements, shape.channels)
        return self._add(Node(name, op, (source,), TensorShape(shape.channels)))

    def concat(self, name: str, *parts: str) -> str:
        """Join tensors of one image size along their channels (no arithmetic; the data is written where it belongs)."""
        shapes = [self.shapes[part] for part in parts]
        if len({(shape.height, shape.width) for shape in shapes}) != 1:
            raise WorkloadError(f"{self.name}: {name}: cannot join images of different size: {shapes}")
        out = TensorShape(sum(shape.channels for shape in shapes), shapes[0].height, shapes[0].width)
        return self._add(Node(name, VectorOp("concat", 0, 0, 0, fused=True), tuple(parts), out))

    def crop(self, name: str, height: int, width: int, x: str | None = None) -> str:
        """Keep the centre of an image (no arithmetic, no traffic: the next reader skips the border)."""
        source = self._source(x)
        out = TensorShape(self.shapes[source].channels, height, width)
        return self._add(Node(name, VectorOp("concat", 0, 0, 0, fused=True), (source,), out))

    def squeeze_excite(self, name: str, squeezed: int, x: str | None = None) -> str:
        """Scale each channel by a gate computed from the channel means (two small layers with bias)."""
        source = self._source(x)
        channels = self.shapes[source].channels
        self.global_pool(f"{name}.pool", source)
        self.conv(f"{name}.reduce", squeezed, 1, batch_norm=False, bias=True, activation="relu")
        gate = self.conv(
            f"{name}.expand", channels, 1, batch_norm=False, bias=True, activation="hard_sigmoid"
        )
        return self.multiply(f"{name}.scale", source, gate)

    def mbconv(
        self, name: str, out_channels: int, kernel: int, expand: float, *, stride: int = 1, squeeze_excite: bool = False,
        activation: str = "relu6", x: str | None = None,
    ) -> str:  # fmt: skip
        """Inverted bottleneck: 1x1 expand, depth-wise, squeeze-and-excite, 1x1 project, residual where shapes agree.

        The expand layer is left out for an expand ratio of 1.
        """
        source = self._source(x)
        in_channels = self.shapes[source].channels
        middle = make_divisible(round(in_channels * expand)) if expand != 1 else in_channels
        if expand != 1:
            self.conv(f"{name}.expand", middle, 1, activation=activation, x=source)
        self.conv(f"{name}.depthwise", middle, kernel, stride=stride, groups=middle, activation=activation)
        if squeeze_excite:
            self.squeeze_excite(f"{name}.se", make_divisible(middle / 4))
        made = self.conv(f"{name}.project", out_channels, 1)
        if stride == 1 and in_channels == out_channels:
            made = self.add(f"{name}.add", source, made)
        return made

    def _elementwise(self, kind: VectorKind, name: str, left: str, right: str) -> str:
        shape, other = self.shapes[left], self.shapes[right]
        if other != shape and other != TensorShape(shape.channels):
            raise WorkloadError(f"{self.name}: {name}: cannot {kind} tensors of shape {shape} and {other}")
        op = VectorOp(kind, shape.elements, shape.elements + other.elements, shape.elements)
        return self._add(Node(name, op, (left, right), shape))

    def _source(self, x: str | None) -> str:
        source = self.last if x is None else x
        if source not in self.shapes:
            raise WorkloadError(f"{self.name}: no tensor is called {source!r}")
        return source

    def _add(self, node: Node) -> str:
        self.nodes.append(node)
        self.shapes[node.name] = node.output
        self.last = node.name
        return node.name


def _out_size(
    size: int, kernel: int, stride: int, dilation: int, padding: int | None, ceil_mode: bool = False
) -> int:
    if padding is None:
        return -(-size // stride)
    free = size + 2 * padding - dilation * (kernel - 1) - 1
    if free < 0:
        raise WorkloadError(
            f"a window of {kernel} (dilation {dilation}) does not fit into {size} + 2 x {padding} elements"
        )
    return (-(-free // stride) if ceil_mode else free // stride) + 1
