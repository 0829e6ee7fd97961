"""One tiny network, and the same again as a formula in double precision: what scores are compared with.

Gradients are central differences, weight by weight.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.zero_cost.fresh import fresh_module

LAYERS = ("a", "b", "c")
EPS = 1e-5


def tiny() -> Network:
    """A 3x3 and a 1x1 convolution with batch normalisation and ReLU, and a classifier of three."""
    net = NetworkBuilder("tiny", channels=2, height=4, width=4)
    net.conv("a", 3, 3, activation="relu")
    net.conv("b", 4, 1, activation="relu")
    net.global_pool("pool")
    net.linear("c", 3)
    return net.build()


def weights_of(network: Network, seed: int) -> dict[str, Tensor]:
    return {name: tensor.double() for name, tensor in fresh_module(network, seed).state_dict().items()}


def forward(weights: dict[str, Tensor], images: Tensor, masks: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """What the layers of `tiny` make before and after normalisation; `masks` (n, channels) multiply what a layer makes."""
    made, x = {}, images.double()
    for name, padding in (("a", 1), ("b", 0)):
        layer = functional.conv2d(x, weights[f"{name}.weight"], padding=padding)
        if masks is not None:
            layer = layer * masks[name][:, :, None, None]
        mean = layer.mean((0, 2, 3), keepdim=True)
        variance = layer.var((0, 2, 3), keepdim=True, correction=0)
        normal = (layer - mean) / (variance + EPS).sqrt()
        x = normal.clamp(min=0)
        made |= {name: layer, f"{name}.norm": normal, f"{name}.relu": x}
    logits = x.mean((2, 3)) @ weights["c.weight"].T + weights["c.bias"]
    return made | {"c": logits if masks is None else logits * masks["c"]}


def loss(logits: Tensor, labels: Tensor) -> float:
    """Mean cross entropy."""
    shares = logits.exp() / logits.exp().sum(1, keepdim=True)
    return -float(shares[range(len(labels)), labels].log().mean())


def differences(function: Callable[[], float], tensor: Tensor, step: float = 1e-5) -> Tensor:
    """The gradient of a function with respect to a tensor that it reads, by central differences."""
    gradient, flat = torch.zeros_like(tensor), tensor.view(-1)
    for place in range(flat.numel()):
        before, values = float(flat[place]), []
        for sign in (1, -1):
            flat[place] = before + sign * step
            values.append(function())
        flat[place] = before
        gradient.view(-1)[place] = (values[0] - values[1]) / (2 * step)
    return gradient


def gradients(images: Tensor, labels: Tensor, seed: int) -> dict[str, Tensor]:
    """The gradient of the loss of `tiny` with respect to each layer's weights."""
    weights = weights_of(tiny(), seed)
    return {
        name: differences(lambda: loss(forward(weights, images)["c"], labels), weights[f"{name}.weight"])
        for name in LAYERS
    }
