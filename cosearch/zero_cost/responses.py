"""Scores from how an untrained network responds to images: its codes, its Jacobian, its expressiveness.

References
----------
Mellor et al., Neural Architecture Search without Training, ICML 2021: NASWOT; its first version (arXiv:2006.04647v1,
2020) the Jacobian covariance.
Lin et al., Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition, ICCV 2021: algorithm 1.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from accel_models.workload import Layer, Network, VectorOp
from cosearch.errors import CosearchError
from cosearch.zero_cost.fresh import fresh_module

RECTIFIERS = frozenset({"relu", "relu6", "h_swish", "swish", "gelu"})
"""Activations that pass one side of zero: the sign of what they read is a bit of an image's code."""

_LEAST_EIGENVALUE = 1e-5
_JACOBIAN_EPS = 1e-5
_ZEN_STEP = 0.01
_ZEN_REPEATS = 4


@torch.no_grad()
def naswot(network: Network, images: Tensor, labels: Tensor, seed: int) -> float:
    """Logarithm of the determinant of K, where K[i, j] counts the rectifiers that images i and j drive alike.

    A rectifier that several layers read counts once for each of them, as in papers that draw one in front of each layer.
    Batch normalisation uses the batch's statistics. Eigenvalues are at least 1e-5, so that images with the same code give a
    low score and no infinite one.

    Raises
    ------
    CosearchError
        If the network has no rectifier.
    """
    counts = _rectified(network)
    if not counts:
        raise CosearchError(f"proxy 'naswot': network {network.name!r} has none of {', '.join(sorted(RECTIFIERS))}")
    tensors = fresh_module(network, seed).tensors(images)
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)
    for name, count in counts:
        code = (tensors[name].flatten(1) > 0).float()
        on = code.sum(1)
        kernel += count * (code.shape[1] - on[:, None] - on + 2 * code @ code.T).double()
    return float(np.log(np.maximum(np.linalg.eigvalsh(kernel.numpy()), _LEAST_EIGENVALUE)).sum())


def jacob_cov(network: Network, images: Tensor, labels: Tensor, seed: int) -> float:
    """Minus the sum of log(v + 1e-5) + 1 / (v + 1e-5) over the eigenvalues v of the correlations between Jacobians.

    The Jacobian of an image is the gradient of the sum of all outputs with respect to it; two images whose Jacobians are
    alike are hard to tell apart. Jacobians that are constant count as the same.
    """
    images = images.clone().requires_grad_()
    total = fresh_module(network, seed).requires_grad_(False)(images).sum() + 0 * images.sum()  # it may ignore them
    (jacobians,) = torch.autograd.grad(total, images)
    centred = jacobians.flatten(1).double()
    centred = centred - centred.mean(1, keepdim=True)
    norms = centred.norm(dim=1)
    alike = norms[:, None] * norms == 0
    correlations = (centred @ centred.T / (norms[:, None] * norms)).masked_fill(alike, 1.0)
    values = np.linalg.eigvalsh(correlations.numpy())
    return -float((np.log(values + _JACOBIAN_EPS) + 1 / (values + _JACOBIAN_EPS)).sum())


@torch.no_grad()
def zen(network: Network, images: Tensor, labels: Tensor, seed: int) -> float:
    """Zen-score: log of how much features change when images change a little, plus log of what normalisation divided by.

    The mean of four draws of standard normal weights and images (the given ones serve for their number and size): log of the
    mean over the images of sum abs(f(x) - f(x + 0.01 e)), f being what the last global pooling reads, plus the sum over the
    batch normalisations of log sqrt(mean over the channels of the batch's variance).
    """
    scores = []
    for draw in range(_ZEN_REPEATS):
        module = fresh_module(network, seed * _ZEN_REPEATS + draw, "gaussian")
        module.momentum = 1.0
        generator = torch.Generator().manual_seed(seed * _ZEN_REPEATS + draw)
        x = torch.randn(images.shape, generator=generator)
        moved = x + _ZEN_STEP * torch.randn(images.shape, generator=generator)
        name = _features(network)
        other, features = module.tensors(moved)[name], module.tensors(x)[name]
        change = float((features - other).flatten(1).abs().sum(1).mean())
        variances = [weights.variance for weights in module.weights().values() if weights.variance is not None]
        scores.append(
            math.log(max(change, 5e-324)) + sum(0.5 * math.log(max(float(v.mean()), 1e-38)) for v in variances)
        )
    return float(np.mean(scores))


def _rectified(network: Network) -> list[tuple[str, int]]:
    """Return what each rectifier reads, and how many layers read what it makes, at least 1."""
    layers = [name for node in network.nodes if isinstance(node.op, Layer) for name in node.inputs]
    return [
        (node.inputs[0], max(1, layers.count(node.name)))
        for node in network.nodes
        if node.detail.function in RECTIFIERS
    ]


def _features(network: Network) -> str:
    """Return the name of what the last global pooling reads, else the last fully connected layer, else of the output."""
    for node in reversed(network.nodes):
        if isinstance(node.op, VectorOp) and node.detail.function == "global_pool":
            return node.inputs[0]
    for node in reversed(network.nodes):
        if isinstance(node.op, Layer) and node.detail.function == "linear":
            return node.inputs[0]
    return network.nodes[-1].name
