"""Which part of a supernet's tensors a node of a sub-network takes: the first channels, and a kernel's centre.

Where the kernel is elastic, a smaller one is the centre of the next larger one, flattened, times a learned matrix that
all channels share (Cai et al., Once-for-All, ICLR 2020, section 3.3): 7x7 makes 5x5, and that makes 3x3.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional

from accel_models.workload import Layer, Node
from cosearch.errors import SpaceError
from cosearch.supernet.arithmetic import Weights


class Slice(NamedTuple):
    """What one node takes: of the weight so many rows and columns (0: it has none) and a kernel; channels of the rest.

    `kernels` lead from the supernet's kernel to the node's own, descending; one alone is the supernet's.
    """

    rows: int
    columns: int
    kernels: tuple[int, ...]
    bias: int
    channels: int

    def of(self, whole: Weights, transforms: Mapping[tuple[int, int], Tensor]) -> Weights:
        """Return views of the supernet's tensors; a transformed kernel is a new tensor."""
        weight = whole.weight
        if weight is not None:
            weight = weight[: self.rows, : self.columns] if self.columns else weight[: self.rows]
            for larger, smaller in pairwise(self.kernels):
                weight = _centre(weight, larger, smaller, transforms[larger, smaller])
        bias = None if whole.bias is None else whole.bias[: self.bias]
        return Weights(weight, bias, *(None if x is None else x[: self.channels] for x in whole[2:]))


def _centre(weight: Tensor, larger: int, smaller: int, transform: Tensor) -> Tensor:
    """Return kernels (out, in, larger, larger) as transformed ones of the smaller size."""
    begin = (larger - smaller) // 2
    centre = weight[:, :, begin : begin + smaller, begin : begin + smaller].flatten(2)
    return functional.linear(centre, transform).unflatten(2, (smaller, smaller))


def node_slice(node: Node, whole: Node, kernels: tuple[int, ...]) -> Slice:
    """Return what `node` takes of the tensors of `whole`, its namesake in the largest network.

    Parameters
    ----------
    node, whole
        The two nodes.
    kernels
        All kernels that the space gives this node, descending.

    Raises
    ------
    SpaceError
        If the larger does not contain the smaller.
    """
    detail, other = node.detail, whole.detail
    if (detail.function, detail.bias, detail.batch_norm, node.params > 0) != (
        other.function, other.bias, other.batch_norm, whole.params > 0,
    ):  # fmt: skip
        raise SpaceError(f"{node.name!r} is no part of the largest network's node of that name: {detail} and {other}")
    channels, bias = node.output.channels, node.output.channels
    if not isinstance(node.op, Layer):
        _within(node, (channels,), (whole.output.channels,))
        if detail.function == "position_embedding" and _size(node) != _size(whole):
            raise SpaceError(f"{node.name!r} learns a tensor of one image size, but the space has several")
        return Slice(channels, 0, (), bias, channels)
    assert isinstance(whole.op, Layer)
    layer, full = node.op, whole.op
    if detail.function == "up_conv":
        bias //= detail.stride**2
    if full.G > 1 and (layer.K, layer.C) != (full.K, full.C):
        raise SpaceError(f"{node.name!r} changes the channels of a group; a supernet can only change how many groups")
    _within(node, (layer.K, layer.C, layer.G), (full.K, full.C, full.G))
    if layer.R != layer.S or layer.R not in (kernels or (full.R,)):
        raise SpaceError(f"{node.name!r} has a kernel of {layer.R} x {layer.S}, the supernet {kernels or full.R}")
    chain = kernels[: kernels.index(layer.R) + 1] if kernels else ()
    return Slice(layer.G * layer.K, layer.C, chain, bias, channels)


def _within(node: Node, sizes: tuple[int, ...], limits: tuple[int, ...]) -> None:
    if any(size > limit for size, limit in zip(sizes, limits, strict=True)):
        raise SpaceError(f"{node.name!r} is larger than the largest network's node of that name: {sizes} and {limits}")


def _size(node: Node) -> tuple[int, int]:
    return node.output.height, node.output.width
