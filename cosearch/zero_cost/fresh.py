"""Networks with fresh weights, and images to score them with: everything from generators of its own.

Nothing here touches torch's default generator, nor its number of threads.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from accel_models.workload import Layer, Network, Node
from cosearch.supernet.network_module import NetworkModule

Initialisation = Literal["uniform", "gaussian"]
"""How the weights of convolutions and fully connected layers are drawn.

``"uniform"`` is torch's own default, with which the scores of NAS-Bench-Suite-Zero were made: uniform within
1 / sqrt(inputs of one output), biases alike. ``"gaussian"`` is standard normal, biases 0, as Zen-score asks for.
"""


Images = Literal["natural", "white"]
"""Kinds of random images: independent standard normal pixels (``"white"``), or such whose amplitude falls with one over the
spatial frequency and whose channels have correlation 0.9, as those of photographs do (``"natural"``; Field, Relations between
the statistics of natural images and the response properties of cortical cells, JOSA A 1987; Ruderman et al., JOSA A 1998).

Noise is alike everywhere, so that all images of it look the same to a network; what tells networks apart is then lost.
"""

_SHARED_BY_CHANNELS = 0.9


def fresh_module(network: Network, seed: int, initialisation: Initialisation = "uniform") -> NetworkModule:
    """Return a network in training mode with weights that depend on the network and the seed alone.

    Batch and layer normalisation start with gain 1 and shift 0, tokens and positions normal with deviation 0.02.
    """
    with torch.device("meta"):  # every tensor is drawn below
        module = NetworkModule(network)
    module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    nodes = {node.name: node for node in network.nodes}
    with torch.no_grad():
        for name, weights in module.weights().items():
            _fill(weights.weight, weights.bias, nodes[name], initialisation, generator)
            for tensor, value in (
                (weights.scale, 1.0),
                (weights.shift, 0.0),
                (weights.mean, 0.0),
                (weights.variance, 1.0),
            ):
                if tensor is not None:
                    tensor.fill_(value)
    return module.train()


def _fill(
    weight: Tensor | None, bias: Tensor | None, node: Node, initialisation: Initialisation, generator: torch.Generator
) -> None:
    if isinstance(node.op, Layer):
        assert weight is not None
        if initialisation == "gaussian":
            weight.normal_(generator=generator)
            if bias is not None:
                bias.zero_()
            return
        bound = 1 / math.sqrt(weight[0].numel())
        weight.uniform_(-bound, bound, generator=generator)
        if bias is not None:
            bias.uniform_(-bound, bound, generator=generator)
        return
    if weight is not None:
        if node.detail.function == "layer_norm":
            weight.fill_(1.0)
        else:
            weight.normal_(0, 0.02, generator=generator)
    if bias is not None:
        bias.zero_()


def weighted_layers(network: Network) -> list[str]:
    """Return the names of the convolutions and fully connected layers that have weights of their own."""
    return [node.name for node in network.nodes if isinstance(node.op, Layer) and not node.op.dynamic_weights]


def random_images(network: Network, count: int, seed: int, kind: Images = "natural") -> Tensor:
    """Return random images (count, channels, height, width) of mean 0 and variance 1, of the size a network is made for."""
    shape, generator = network.input, torch.Generator().manual_seed(seed)
    white = torch.randn(count, shape.channels, shape.height, shape.width, generator=generator)
    if kind == "white":
        return white
    grey = torch.randn(count, 1, shape.height, shape.width, generator=generator)
    mixed = math.sqrt(_SHARED_BY_CHANNELS) * grey + math.sqrt(1 - _SHARED_BY_CHANNELS) * white
    size = (shape.height, shape.width)
    frequency = torch.hypot(torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])[None])
    frequency[0, 0] = 1 / max(size)
    images = torch.fft.irfft2(torch.fft.rfft2(mixed) / frequency, s=size)
    return images / images.std(correction=0)


def random_labels(network: Network, count: int, seed: int) -> Tensor:
    """Return classes (count,), each as likely as the others; of a network that labels every place, (count, places)."""
    made = network.nodes[-1].output
    generator = torch.Generator().manual_seed(seed + 1)
    places = made.height * made.width
    return torch.randint(made.channels, (count, places) if places > 1 else (count,), generator=generator)
