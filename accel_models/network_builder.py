"""Build a `Network`: a transformer's operations, and the blocks that most networks have."""

from __future__ import annotations

from math import sqrt

from accel_models.detail import Detail
from accel_models.errors import WorkloadError
from accel_models.operation_builder import FREE, OperationBuilder
from accel_models.workload import Layer, Node, TensorShape, VectorOp


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a channel count to a multiple of `divisor`, never more than a tenth below (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class NetworkBuilder(OperationBuilder):
    """Adds operations and blocks one after the other; each method returns the name of the tensor it makes.

    Tokens are pixels: a row of them is an image of height 1. More blocks are in `accel_models.blocks`.
    """

    def tokens(self, name: str, x: str | None = None) -> str:
        """Make one row of tokens from an image: its pixels, row by row (no arithmetic, no traffic)."""
        source = self._source(x)
        shape = self.shapes[source]
        return self._free(name, source, TensorShape(shape.channels, 1, shape.height * shape.width), Detail("tokens"))

    def class_token(self, name: str, x: str | None = None) -> str:
        """Put a learned token before a row of tokens."""
        source = self._source(x)
        shape = self.shapes[source]
        if shape.height != 1:
            raise WorkloadError(f"{self.name}: {name}: {shape} is no row of tokens; call tokens() first")
        out = TensorShape(shape.channels, 1, shape.width + 1)
        return self._add(Node(name, FREE, (source,), out, shape.channels, Detail("class_token")))

    def position_embedding(self, name: str, x: str | None = None) -> str:
        """Add a learned tensor of the input's own shape: a parameter and an addition per element."""
        source = self._source(x)
        shape = self.shapes[source]
        op = VectorOp("add", shape.elements, 2 * shape.elements, shape.elements)
        return self._add(Node(name, op, (source,), shape, shape.elements, Detail("position_embedding")))

    def softmax(self, name: str, x: str | None = None, *, heads: int = 1, causal: bool = False) -> str:
        """Add a softmax over each pixel's channels, those of each head apart.

        Per element a comparison, a subtraction, an exponential, an addition and a multiplication. It reads and writes
        every element once, as a vector unit does that can hold one row. With `causal`, row i sees the rows up to i
        only; what is masked is counted all the same.
        """
        source = self._source(x)
        shape = self.shapes[source]
        if heads < 1 or shape.channels % heads:
            raise WorkloadError(f"{self.name}: {name}: {shape.channels} channels do not divide into {heads} heads")
        op = VectorOp("softmax", 5 * shape.elements, shape.elements, shape.elements)
        return self._add(Node(name, op, (source,), shape, detail=Detail("softmax", groups=heads, causal=causal)))

    def layer_norm(self, name: str, x: str | None = None, *, eps: float = 1e-5) -> str:
        """Normalise each pixel over its channels: per element 3 operations for the sums, 4 for shift, scale, gain, bias."""
        source = self._source(x)
        shape = self.shapes[source]
        op = VectorOp("normalise", 7 * shape.elements, shape.elements, shape.elements)
        return self._add(Node(name, op, (source,), shape, 2 * shape.channels, Detail("layer_norm", eps=eps)))

    def matmul(
        self, name: str, left: str, right: str, *, heads: int = 1, transpose: bool = False, scale: float = 1.0
    ) -> str:
        """Multiply two activations, head by head; `right` takes the place of the weights.

        A pixel is a row, its channels, split among the `heads`, are the columns. With `transpose`, every row of `left`
        meets every row of `right` (scores of attention); without, the columns of `left` weight the rows of `right`.
        The factor `scale` is free: a cost model folds it into the weights before.
        """
        shape, other = self.shapes[self._source(left)], self.shapes[self._source(right)]
        rows = other.height * other.width
        inner, made = (other.channels, heads * rows) if transpose else (heads * rows, other.channels)
        if heads < 1 or shape.channels != inner or inner % heads or made % heads:
            raise WorkloadError(
                f"{self.name}: {name}: cannot multiply {shape} and {other} in {heads} heads (transpose: {transpose})"
            )
        layer = Layer(K=made // heads, C=inner // heads, P=shape.width, Q=shape.height, G=heads, dynamic_weights=True)
        out = TensorShape(made, shape.height, shape.width)
        detail = Detail("matmul", groups=heads, transpose=transpose, scale=scale)
        return self._add(Node(name, layer, (left, right), out, detail=detail))

    def attention(
        self,
        name: str,
        heads: int,
        x: str | None = None,
        *,
        memory: str | None = None,
        width: int | None = None,
        causal: bool = False,
    ) -> str:
        """Add multi-head attention over pixels: three projections, scores, softmax, weighted sum, projection.

        The scores are divided by the root of a head's width; their cost model folds that into the query's weights.

        Parameters
        ----------
        name
            Prefix of the names of its nodes.
        heads
            How many.
        x
            What asks, and is answered.
        memory
            What is attended to, None for `x` itself (cross-attention: the encoder's tokens).
        width
            Channels of query, key and value, all heads together; None for as many as `x` has.
        causal
            Whether a pixel sees those up to itself only.
        """
        source = self._source(x)
        channels = self.shapes[source].channels
        attended = source if memory is None else self._source(memory)
        inner = channels if width is None else width
        query, key, value = (
            self.conv(f"{name}.{part}", inner, 1, batch_norm=False, bias=True, x=read)
            for part, read in (("query", source), ("key", attended), ("value", attended))
        )
        scale = 1 / sqrt(inner / heads) if heads > 0 else 1.0
        scores = self.matmul(f"{name}.scores", query, key, heads=heads, transpose=True, scale=scale)
        shares = self.softmax(f"{name}.softmax", scores, heads=heads, causal=causal)
        mixed = self.matmul(f"{name}.mix", shares, value, heads=heads)
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
