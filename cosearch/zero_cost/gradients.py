"""Scores from gradients with respect to the weights of a network that was never trained.

References
----------
Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021: grad_norm, snip, fisher, synflow of a network.
Lee et al., SNIP: Single-shot Network Pruning based on Connection Sensitivity, ICLR 2019.
Tanaka et al., Pruning neural networks without any data by iteratively conserving synaptic flow, NeurIPS 2020: SynFlow.
Zhang and Jia, GradSign: Model Performance Inference with Theoretical Insights, ICLR 2022.
Li et al., ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients, ICLR 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from accel_models.detail import Detail
from accel_models.workload import Layer, Network, Node, VectorOp
from cosearch.errors import CosearchError
from cosearch.supernet.network_module import NetworkModule, recalibrate
from cosearch.zero_cost.fresh import fresh_module, weighted_layers

LEAST = math.log(5e-324)
"""Score of a network whose output depends on none of its weights: the logarithm of the least positive double."""


def grad_norm(network: Network, images: Tensor, labels: Tensor, seed: int) -> float:
    """Sum over the layers of the Euclidean norm of the loss's gradient with respect to their weights."""
    module = fresh_module(network, seed)
    return sum(float(gradient.norm()) for gradient in _gradients(module, images, labels))


def snip(network: Network, images: Tensor, labels: Tensor, seed: int) -> float:
    """Sum over all weights of abs(weight x gradient of the loss)."""
    module = fresh_module(network, seed)
    gradients = _gradients(module, images, labels)
    return sum(
        float((weight.detach() * gradient).abs().sum())
        for weight, gradient in zip(_weights(module), gradients, strict=True)
    )


def fisher(network: Network, images: Tensor, labels: Tensor, seed: int) -> float:
    """Sum over the channels that layers make of half the mean, over images, of (activation . its gradient) squared.

    The activations are what convolutions and fully connected layers make, before any batch normalisation.
    """
    plain = unfused(network)
    module = fresh_module(plain, seed)
    tensors = module.tensors(images)
    made = [tensors[name] for name in weighted_layers(plain)]
    loss = _loss(_logits(tensors[plain.nodes[-1].name]), labels)
    gradients = torch.autograd.grad(loss, made, allow_unused=True)
    score = 0.0
    for activation, gradient in zip(made, gradients, strict=True):
        if gradient is not None:
            product = (activation.detach() * gradient).reshape(*activation.shape[:2], -1).sum(2)
            score += float(product.square().mean(0).sum() / 2)
    return score


def synflow(network: Network, images: Tensor, labels: Tensor, seed: int) -> float:
    """Natural logarithm of the sum over all weights of abs(weight x gradient of R).

    R is the sum of the outputs for an image of ones, of the network with the absolute values of its weights and without
    batch normalisation; in double precision, as R grows with every layer. The images serve for their size only, the labels
    for nothing. A ReLU6 counts as a ReLU, as it would let nothing through from 6 up; layer normalisations stay.

    Raises
    ------
    CosearchError
        If the sum is beyond double precision.
    """
    module = fresh_module(_unbounded(network), seed).double().eval()
    eps = {node.name: node.detail.eps for node in network.nodes}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.abs_()
        for name, weights in module.weights().items():
            if weights.variance is not None:
                weights.variance.fill_(1 - eps[name])  # which makes it the identity
    total = module(torch.ones_like(images[:1], dtype=torch.float64)).sum()
    layers = _weights(module)
    gradients = torch.autograd.grad(total, layers, allow_unused=True, materialize_grads=True)
    score = sum(
        float((weight.detach() * gradient).abs().sum()) for weight, gradient in zip(layers, gradients, strict=True)
    )
    if not math.isfinite(score):
        raise CosearchError(f"proxy 'synflow': the score of network {network.name!r} is beyond double precision")
    return math.log(score) if score > 0 else LEAST


def grad_sign(network: Network, images: Tensor, labels: Tensor, seed: int) -> float:
    """Sum over all parameters of abs(sum over images of the sign of that image's gradient).

    Each image has a gradient of its own, so batch normalisation works with the statistics of the whole batch as constants.
    """
    module = fresh_module(network, seed)
    recalibrate(module, [images])
    module.eval()
    parameters = list(module.parameters())
    signs = [torch.zeros_like(parameter) for parameter in parameters]
    for image, label in zip(images.split(1), labels.split(1), strict=True):
        gradients = torch.autograd.grad(_loss(_logits(module(image)), label), parameters, allow_unused=True)
        for total, gradient in zip(signs, gradients, strict=True):
            if gradient is not None:
                total += gradient.sign()
    return sum(float(total.abs().sum()) for total in signs)


def zico(network: Network, images: Tensor, labels: Tensor, seed: int) -> float:
    """Sum over the layers of log(sum over weights of mean abs(gradient) / standard deviation of the gradient).

    Mean and deviation are over two halves of the images, as in ZiCo's experiments.
    """
    module = fresh_module(network, seed)
    half = len(images) // 2
    batches = [_gradients(module, images[part], labels[part]) for part in (slice(0, half), slice(half, 2 * half))]
    score = 0.0
    for gradients in zip(*batches, strict=True):
        stacked = torch.stack(gradients).double()
        deviation = stacked.std(0, correction=0)
        counted = deviation > 0
        total = float((stacked.abs().mean(0)[counted] / deviation[counted]).sum())
        score += math.log(total) if total > 0 else 0.0
    return score


def unfused(network: Network) -> Network:
    """Return the same network with each batch normalisation that follows a layer as a node of its own."""
    nodes: list[Node] = []
    for node in network.nodes:
        if not isinstance(node.op, Layer) or not node.detail.batch_norm:
            nodes.append(node)
            continue
        channels, elements = node.output.channels, node.output.elements
        layer = replace(
            node, name=f"{node.name}.layer", detail=replace(node.detail, batch_norm=False),
            extra_params=node.extra_params - 2 * channels,
        )  # fmt: skip
        norm = Detail("batch_norm", batch_norm=True, eps=node.detail.eps)
        op = VectorOp("normalise", elements, elements, elements)
        nodes += [layer, replace(node, op=op, inputs=(layer.name,), detail=norm, extra_params=2 * channels)]
    return Network(network.name, tuple(nodes), network.input, network.source)


def _unbounded(network: Network) -> Network:
    nodes = (
        replace(node, detail=replace(node.detail, function="relu")) if node.detail.function == "relu6" else node
        for node in network.nodes
    )
    return Network(network.name, tuple(nodes), network.input, network.source)


def _weights(module: NetworkModule) -> list[Tensor]:
    weights = module.weights()
    return [weights[name].weight for name in weighted_layers(module.network)]  # type: ignore[misc]


def _gradients(module: NetworkModule, images: Tensor, labels: Tensor) -> Sequence[Tensor]:
    """Return the gradients of the mean cross entropy with respect to the layers' weights, zeros where nothing depends."""
    loss = _loss(_logits(module(images)), labels)
    return torch.autograd.grad(loss, _weights(module), allow_unused=True, materialize_grads=True)


def _logits(made: Tensor) -> Tensor:
    """Return (n, classes), or (n, classes, places) of a network that labels every place."""
    return made.flatten(1) if made[0, 0].numel() == 1 else made.flatten(2)


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels)
