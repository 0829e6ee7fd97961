"""What the nodes of a network compute, in torch: one executor for plain modules and for supernets.

A network is compiled once into steps; a step knows its constants, the tensors that it reads, and those that nobody
reads after it. Weights are handed in at every run, so that a module and a slice of a supernet run alike. Between steps
an image is (n, channels, height, width); what a fully connected layer makes is (n, features).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from accel_models.executable import check_executable
from accel_models.workload import INPUT, Layer, Network, Node


class Weights(NamedTuple):
    """The tensors of one node; a node without parameters has none of them.

    `scale`, `shift`, `mean` and `variance` are those of its batch normalisation, (channels,) each.
    """

    weight: Tensor | None = None
    bias: Tensor | None = None
    scale: Tensor | None = None
    shift: Tensor | None = None
    mean: Tensor | None = None
    variance: Tensor | None = None

    def copied(self) -> Weights:
        """Return the same values in tensors of their own, outside any gradient."""
        return Weights(*(None if tensor is None else tensor.detach().clone() for tensor in self))


NO_WEIGHTS = Weights()


class Mode(NamedTuple):
    """How batch normalisation works: with the batch's statistics, and how much of them goes into the running ones.

    In training, a fully connected layer leaves the share `dropout` of its inputs out.
    """

    training: bool
    momentum: float
    dropout: float = 0.0


class Step(NamedTuple):
    """One node to be run: the computation, what it reads, and what may be forgotten after it."""

    name: str
    compute: Callable[[Sequence[Tensor], Weights, Mode], Tensor]
    inputs: tuple[str, ...]
    spent: tuple[str, ...]


def compile_network(network: Network) -> tuple[Step, ...]:
    """Return the steps of a network.

    Raises
    ------
    WorkloadError
        If some node does not say what it computes.
    """
    check_executable(network)
    last_reader = {name: node.name for node in network.nodes for name in node.inputs}
    spent: dict[str, list[str]] = {}
    for name, reader in last_reader.items():
        spent.setdefault(reader, []).append(name)
    return tuple(
        Step(node.name, _computation(node), node.inputs, tuple(spent.get(node.name, ()))) for node in network.nodes
    )


def run(steps: Sequence[Step], weights: Mapping[str, Weights], x: Tensor, mode: Mode) -> Tensor:
    """Return what the last step makes of an image `x` (n, channels, height, width)."""
    tensors = {INPUT: x}
    made = x
    for name, compute, inputs, spent in steps:
        made = compute([tensors[source] for source in inputs], weights.get(name, NO_WEIGHTS), mode)
        for source in spent:
            del tensors[source]
        tensors[name] = made
    return made


def run_all(steps: Sequence[Step], weights: Mapping[str, Weights], x: Tensor, mode: Mode) -> dict[str, Tensor]:
    """Return what every step makes, by the node's name, and the input itself as ``"input"``."""
    tensors = {INPUT: x}
    for name, compute, inputs, _ in steps:
        tensors[name] = compute([tensors[source] for source in inputs], weights.get(name, NO_WEIGHTS), mode)
    return tensors


def _computation(node: Node) -> Callable[[Sequence[Tensor], Weights, Mode], Tensor]:
    detail, op = node.detail, node.op
    if isinstance(op, Layer):
        if detail.function == "conv":
            made: Callable[..., Any] = partial(_conv, node=node)
        elif detail.function == "up_conv":
            made = partial(_up_conv, copies=detail.stride**2)
        else:
            made = partial(_LAYERS[detail.function], detail=detail)
        return partial(_normalised, compute=made, eps=detail.eps) if detail.batch_norm else made
    if detail.function in _PLAIN:
        return partial(_plain, function=_PLAIN[detail.function])
    if detail.function == "adaptive_pool":
        return partial(_adaptive_pool, size=(node.output.height, node.output.width))
    if detail.function == "slice":
        return partial(_slice, start=detail.start, stop=detail.start + node.output.channels)
    if detail.function == "zeros":
        return partial(_zeros, channels=node.output.channels, stride=detail.stride)
    return partial(_VECTORS[detail.function], detail=detail)


def _image(x: Tensor) -> Tensor:
    """Return features (n, features) as an image of one pixel."""
    return x[:, :, None, None] if x.dim() == 2 else x


def _conv(inputs: Sequence[Tensor], weights: Weights, mode: Mode, *, node: Node) -> Tensor:
    layer = node.op
    assert isinstance(layer, Layer) and weights.weight is not None
    x = _image(inputs[0])
    windows = (layer.dilation_h * (layer.S - 1) + 1, layer.dilation_w * (layer.R - 1) + 1)
    strides, dilations = (layer.stride_h, layer.stride_w), (layer.dilation_h, layer.dilation_w)
    x, padding = _padded(x, windows, strides, node.detail.padding, 0.0)
    return functional.conv2d(x, weights.weight, weights.bias, strides, padding, dilations, layer.G)


def _padded(
    x: Tensor, windows: tuple[int, int], strides: tuple[int, int], padding: int | None, value: float
) -> tuple[Tensor, tuple[int, int]]:
    """Return an image and the padding (height, width) still to be added on each side, with that value where not 0."""
    if padding is not None:
        return x, (padding, padding)
    if windows[0] % 2 and windows[1] % 2:
        return x, (windows[0] // 2, windows[1] // 2)
    sides: list[int] = []
    for size, window, stride in zip(x.shape[:1:-1], windows[::-1], strides[::-1], strict=True):  # width first
        total = max(0, (-(-size // stride) - 1) * stride + window - size)
        sides += [total // 2, total - total // 2]
    return (functional.pad(x, sides, value=value) if any(sides) else x), (0, 0)


def _normalised(
    inputs: Sequence[Tensor], weights: Weights, mode: Mode, *, compute: Callable[..., Tensor], eps: float
) -> Tensor:
    return _batch_norm([compute(inputs, weights, mode)], weights, mode, eps)


def _batch_norm(inputs: Sequence[Tensor], weights: Weights, mode: Mode, eps: float) -> Tensor:
    return functional.batch_norm(
        inputs[0], weights.mean, weights.variance, weights.scale, weights.shift, mode.training, mode.momentum, eps
    )


def _up_conv(inputs: Sequence[Tensor], weights: Weights, mode: Mode, *, copies: int) -> Tensor:
    assert weights.weight is not None
    bias = None if weights.bias is None else weights.bias.repeat_interleave(copies)
    return functional.conv2d(inputs[0], weights.weight, bias)


def _linear(inputs: Sequence[Tensor], weights: Weights, mode: Mode, *, detail: Any) -> Tensor:
    assert weights.weight is not None
    x = inputs[0].flatten(1)
    if mode.dropout:
        x = functional.dropout(x, mode.dropout, mode.training)
    return functional.linear(x, weights.weight, weights.bias)


def _matmul(inputs: Sequence[Tensor], weights: Weights, mode: Mode, *, detail: Any) -> Tensor:
    """Multiply head by head; an operand (n, heads x columns, rows as an image) becomes (n, heads, columns, rows)."""
    left, right = (_image(x) for x in inputs)
    heads = detail.groups
    one, other = (x.flatten(2).unflatten(1, (heads, -1)) for x in (left, right))
    # transpose: scores[key, query] = right[:, key] . left[:, query]; else: mixed[:, query] = right @ left[:, query]
    made = (other.transpose(2, 3) if detail.transpose else other) @ one
    if detail.scale != 1:
        made = made * detail.scale
    return made.flatten(1, 2).unflatten(2, left.shape[2:])


def _plain(inputs: Sequence[Tensor], weights: Weights, mode: Mode, *, function: Callable[..., Tensor]) -> Tensor:
    return function(*inputs)


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    return left * (right if left.dim() == right.dim() else _image(right))


def _add(left: Tensor, right: Tensor) -> Tensor:
    return left + right if left.dim() == right.dim() else _image(left) + _image(right)


def _global_pool(x: Tensor) -> Tensor:
    return _image(x).mean((2, 3), keepdim=True)


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).unsqueeze(2)


def _swish(x: Tensor) -> Tensor:
    return functional.silu(x)


def _pool(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    greatest = detail.function == "max_pool"
    image, kernel, stride = _image(inputs[0]), detail.kernel, detail.stride
    x, padding = _padded(
        image, (kernel, kernel), (stride, stride), detail.padding, -math.inf if greatest else 0.0
    )  # fmt: skip
    if greatest:
        return functional.max_pool2d(x, kernel, stride, padding, ceil_mode=detail.ceil_mode)
    made = functional.avg_pool2d(x, kernel, stride, padding, detail.ceil_mode, detail.count_padding)
    if x is image or detail.count_padding:
        return made
    ones = _padded(torch.ones_like(image[:1, :1]), (kernel, kernel), (stride, stride), detail.padding, 0.0)[0]
    return made / functional.avg_pool2d(ones, kernel, stride)


def _adaptive_pool(inputs: Sequence[Tensor], weights: Weights, mode: Mode, *, size: tuple[int, int]) -> Tensor:
    return functional.adaptive_avg_pool2d(_image(inputs[0]), size)


def _concat(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    parts = list(inputs) if all(x.dim() == 2 for x in inputs) else [_image(x) for x in inputs]
    return torch.cat(parts, 1 if detail.along == "channels" else 3)


def _crop(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    above, below, before, after = detail.margins
    x = inputs[0]
    return x[:, :, above : x.shape[2] - below, before : x.shape[3] - after]


def _slice(inputs: Sequence[Tensor], weights: Weights, mode: Mode, *, start: int, stop: int) -> Tensor:
    return inputs[0][:, start:stop]


def _zeros(inputs: Sequence[Tensor], weights: Weights, mode: Mode, *, channels: int, stride: int) -> Tensor:
    x = inputs[0][:, :1, ::stride, ::stride]
    return torch.zeros_like(x).expand(-1, channels, -1, -1)


def _class_token(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    assert weights.weight is not None
    x = inputs[0]
    return torch.cat([weights.weight[None, :, None, None].expand(len(x), -1, -1, -1), x], 3)


def _position_embedding(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    assert weights.weight is not None
    return _image(inputs[0]) + weights.weight


def _upsample(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    return functional.interpolate(_image(inputs[0]), scale_factor=float(detail.stride), mode="nearest")


def _scale(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    return inputs[0] * detail.scale


def _softmax(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    x = inputs[0]
    shares = x.unflatten(1, (detail.groups, -1))
    if detail.causal:  # (n, heads, keys, queries as an image)
        keys, queries = shares.shape[2], shares.shape[3] * shares.shape[4]
        later = torch.ones(keys, queries, dtype=torch.bool, device=x.device).tril(-1)
        shares = shares.masked_fill(later.view(keys, *shares.shape[3:]), -math.inf)
    return shares.softmax(2).flatten(1, 2)


def _layer_norm(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    x = inputs[0].movedim(1, -1)
    return functional.layer_norm(x, x.shape[-1:], weights.weight, weights.bias, detail.eps).movedim(-1, 1)


def _batch_norm_alone(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    return _batch_norm(inputs, weights, mode, detail.eps)


def _pixel_shuffle(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    return functional.pixel_shuffle(inputs[0], detail.stride)


def _channel_shuffle(inputs: Sequence[Tensor], weights: Weights, mode: Mode, detail: Any) -> Tensor:
    return inputs[0].unflatten(1, (detail.groups, -1)).transpose(1, 2).flatten(1, 2)


_LAYERS = {"linear": _linear, "matmul": _matmul}

_PLAIN: Mapping[str, Callable[..., Tensor]] = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "h_swish": functional.hardswish,
    "swish": _swish,
    "gelu": functional.gelu,
    "hard_sigmoid": functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "add": _add,
    "multiply": _multiply,
    "global_pool": _global_pool,
    "tokens": _tokens,
}

_VECTORS: Mapping[str, Callable[..., Tensor]] = {
    "max_pool": _pool,
    "average_pool": _pool,
    "concat": _concat,
    "crop": _crop,
    "class_token": _class_token,
    "position_embedding": _position_embedding,
    "upsample": _upsample,
    "scale": _scale,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm_alone,
    "pixel_shuffle": _pixel_shuffle,
    "channel_shuffle": _channel_shuffle,
}
