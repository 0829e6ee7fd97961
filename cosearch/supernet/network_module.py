"""Any `Network` as a torch module: run, trained, exported, with the structure that its cost is worked out from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from accel_models.errors import WorkloadError
from accel_models.workload import Layer, Network, Node
from cosearch.supernet.arithmetic import Mode, Step, Weights, compile_network, run, run_all


class BatchNorm(nn.Module):
    """The tensors of a batch normalisation, (channels,) each."""

    def __init__(self, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(scale)
        self.bias = nn.Parameter(shift)
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", variance)


class NodeModule(nn.Module):
    """The tensors of one node, and the nodes whose names begin with its own.

    Weights are drawn from torch's default generator. A convolution's are normal with variance 2 / fan-out of its group
    (He et al., ICCV 2015; fan-out as ResNet and MobileNet do), its bias is 0. A fully connected layer's are uniform
    within 1 / sqrt(inputs), as torch's own; tokens and positions are normal with deviation 0.02 (ViT).
    """

    def __init__(self) -> None:
        super().__init__()
        self._kernels: tuple[tuple[int, int], ...] = ()

    def fill(self, node: Node, weights: Weights | None = None) -> None:
        """Make the tensors of a node: fresh ones, or copies of others."""
        made = fresh_weights(node) if weights is None else weights.copied()
        weight, bias, scale, shift, mean, variance = made
        if weight is not None:
            self.weight = nn.Parameter(weight)
        if bias is not None:
            self.bias = nn.Parameter(bias)
        if scale is not None and shift is not None and mean is not None and variance is not None:
            self.bn = BatchNorm(scale, shift, mean, variance)

    def add_transform(self, larger: int, smaller: int) -> None:
        """Make the matrix that turns the centre of a larger kernel into a smaller one; it starts as the identity."""
        self.register_parameter(f"kernel_{larger}_to_{smaller}", nn.Parameter(torch.eye(smaller * smaller)))
        self._kernels = (*self._kernels, (larger, smaller))

    def transforms(self) -> dict[tuple[int, int], Tensor]:
        """Return those matrices by the two kernels."""
        own = self._parameters
        return {(large, small): own[f"kernel_{large}_to_{small}"] for large, small in self._kernels}  # type: ignore[misc]

    def weights(self) -> Weights:
        """Return the tensors as the executor takes them."""
        own, norm = self._parameters, self._modules.get("bn")
        weight, bias = own.get("weight"), own.get("bias")
        if not isinstance(norm, BatchNorm):
            return Weights(weight, bias)
        buffers = norm._buffers
        return Weights(weight, bias, norm.weight, norm.bias, buffers["running_mean"], buffers["running_var"])


def fresh_weights(node: Node) -> Weights:
    """Return new tensors for a node, drawn as `NodeModule` says."""
    op, detail, channels = node.op, node.detail, node.output.channels
    weight = bias = None
    if isinstance(op, Layer) and not op.dynamic_weights:
        if detail.function == "linear":
            weight = torch.empty(op.K, op.C).uniform_(-1, 1).div_(math.sqrt(op.C))
            bias = torch.empty(op.K).uniform_(-1, 1).div_(math.sqrt(op.C)) if detail.bias else None
        else:
            weight = torch.empty(op.G * op.K, op.C, op.S, op.R).normal_(0, math.sqrt(2 / (op.K * op.S * op.R)))
            copies = detail.stride**2 if detail.function == "up_conv" else 1
            bias = torch.zeros(channels // copies) if detail.bias else None
    elif detail.function == "layer_norm":
        weight, bias = torch.ones(channels), torch.zeros(channels)
    elif detail.function == "class_token":
        weight = torch.empty(channels).normal_(0, 0.02)
    elif detail.function == "position_embedding":
        weight = torch.empty(channels, node.output.height, node.output.width).normal_(0, 0.02)
    if not detail.batch_norm:
        return Weights(weight, bias)
    zeros, ones = torch.zeros(channels), torch.ones(channels)
    return Weights(weight, bias, ones, zeros, zeros.clone(), ones.clone())


def add_nodes(
    module: nn.Module, network: Network, weights: Mapping[str, Weights] | None = None
) -> dict[str, NodeModule]:
    """Give a module the tensors of a network's nodes, under their names; return them by name.

    They are fresh, or copies of `weights`.

    Raises
    ------
    WorkloadError
        If a node is called as torch calls something of a module's own.
    """
    modules: dict[str, NodeModule] = {}
    for node in network.nodes:
        if node.params == 0:
            continue
        holder = module
        try:
            for part in node.name.split("."):
                if part not in holder._modules:
                    holder.add_module(part, NodeModule())
                holder = holder.get_submodule(part)
            assert isinstance(holder, NodeModule)
            holder.fill(node, None if weights is None else weights[node.name])
        except KeyError as error:
            raise WorkloadError(f"network {network.name!r}: node {node.name!r} needs another name ({error})") from None
        modules[node.name] = holder
    return modules


class NetworkModule(nn.Module):
    """A network that runs, at any image size that its structure allows.

    The keys of its state are ``<node>.weight``, ``<node>.bias`` and, of a batch normalisation, ``<node>.bn.weight``,
    ``.bias``, ``.running_mean`` and ``.running_var``.

    Parameters
    ----------
    network
        What it runs.
    weights
        Tensors to be copied, by the node's name; None for fresh ones (see `NodeModule`) from torch's default generator.

    Attributes
    ----------
    network
        The same.
    momentum
        Share of a training batch's statistics in the running ones.
    dropout
        Share of the inputs of fully connected layers (the classifier) left out in training.

    Raises
    ------
    WorkloadError
        If the network has a cost but does not say what it computes.
    """

    def __init__(self, network: Network, weights: Mapping[str, Weights] | None = None) -> None:
        super().__init__()
        self.network = network
        self.momentum = 0.1
        self.dropout = 0.0
        self._steps: tuple[Step, ...] = compile_network(network)
        self._nodes = add_nodes(self, network, weights)
        self._flat = network.nodes[-1].output.elements == network.nodes[-1].output.channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (n, classes) of images (n, channels, height, width); of a network that makes images, those."""
        made = run(self._steps, self.weights(), x, Mode(self.training, self.momentum, self.dropout))
        return made.flatten(1) if self._flat else made

    def tensors(self, x: Tensor) -> dict[str, Tensor]:
        """Return what every node makes of images `x`, by its name, and `x` itself as ``"input"``."""
        return run_all(self._steps, self.weights(), x, Mode(self.training, self.momentum, self.dropout))

    def weights(self) -> Mapping[str, Weights]:
        """Return every node's tensors, by its name."""
        return {name: module.weights() for name, module in self._nodes.items()}


@torch.no_grad()
def recalibrate(module: NetworkModule, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of every batch normalisation to their average over batches of training images.

    Each batch (n, channels, height, width) runs with its own statistics; the averages are weighted by its size.

    Raises
    ------
    ValueError
        If there is no batch.
    """
    training, momentum, seen = module.training, module.momentum, 0
    module.train()
    try:
        for batch in batches:
            seen += len(batch)
            module.momentum = len(batch) / seen
            module(batch)
    finally:
        module.train(training)
        module.momentum = momentum
    if not seen:
        raise ValueError("no training images to take batch-norm statistics from")
