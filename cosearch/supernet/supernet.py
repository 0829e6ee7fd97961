"""All networks of a space in one module: a sub-network computes with the first channels of shared weights.

References
----------
Cai et al., Once-for-All: Train One Network and Specialize it for Efficient Deployment, ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from accel_models.executable import with_classes
from accel_models.workload import Layer, Network, Node
from cosearch.errors import SpaceError
from cosearch.space import Genomes, NetworkSpace
from cosearch.supernet.arithmetic import Mode, Step, Weights, compile_network, run
from cosearch.supernet.channels import MiddleChannels, channel_sets, middle_channels
from cosearch.supernet.network_module import NetworkModule, NodeModule, add_nodes
from cosearch.supernet.slices import Slice, node_slice

_PLANS_KEPT = 1024


class _Plan(NamedTuple):
    """A sub-network ready to run: its steps, and what each node takes of the shared weights."""

    steps: tuple[Step, ...]
    slices: tuple[tuple[str, Slice], ...]


class Supernet(nn.Module):
    """The shared weights of all networks of a space: those of its largest, and matrices that make small kernels.

    The keys of its state are those of a `NetworkModule` of the largest network, and ``<node>.kernel_7_to_5`` and so on
    for a node whose kernel is elastic. These matrices start as the identity.

    Parameters
    ----------
    space
        Its knobs' last choices make the largest network, the first ones the smallest.
    classes
        Of the classifier; None for as many as the space's networks have.

    Attributes
    ----------
    space, classes
        The same.
    largest, smallest
        Those networks' genomes (knobs,). The gene of the resolution makes no difference here.
    momentum
        Share of a training batch's statistics in the running ones.
    dropout
        Share of the inputs of fully connected layers (the classifier) left out in training.

    Raises
    ------
    SpaceError
        If the largest network does not contain the others.
    """

    def __init__(self, space: NetworkSpace, classes: int | None = None) -> None:
        super().__init__()
        self.space = space
        self.classes = classes
        self.momentum = 0.1
        self.dropout = 0.0
        self.largest = space.canonical((space.choices_per_knob - 1)[None])[0]
        self.smallest = space.canonical(np.zeros((1, len(space.knobs)), dtype=np.int64))[0]
        whole = self.network(self.largest)
        self._whole: dict[str, Node] = {node.name: node for node in whole.nodes if node.params}
        self._kernels, self._middle = _elastic(whole, self._neighbours())
        self._nodes: dict[str, NodeModule] = add_nodes(self, whole)
        for name, kernels in self._kernels.items():
            if name not in self._nodes:
                raise self._not_contained(name)
            for larger, smaller in pairwise(kernels):
                self._nodes[name].add_transform(larger, smaller)
        self._flat = whole.nodes[-1].output.elements == whole.nodes[-1].output.channels
        self._plans: dict[bytes, _Plan] = {}
        self._plan(self.smallest)

    def network(self, genome: Genomes) -> Network:
        """Return the network of a genome (knobs,), with this supernet's classes.

        Raises
        ------
        SpaceError
            If the genome is not one of the space.
        """
        self.space.check(genome)
        network = self.space.network(genome)
        return network if self.classes is None else with_classes(network, self.classes)

    def forward(self, x: Tensor, genome: Genomes | None = None) -> Tensor:
        """Return the logits (n, classes) of images (n, channels, height, width) of any size.

        `genome` (knobs,) is canonical; None is the largest network. In training mode batch normalisation uses the
        batch's statistics, and the running ones of the first channels follow.
        """
        plan = self._plan(self.largest if genome is None else genome)
        made = run(plan.steps, self._weights(plan), x, Mode(self.training, self.momentum, self.dropout))
        return made.flatten(1) if self._flat else made

    def weights(self, genome: Genomes) -> dict[str, Weights]:
        """Return the tensors of a sub-network by its nodes' names: views, and transformed kernels."""
        return self._weights(self._plan(genome))

    @torch.no_grad()
    def sort_channels(self, trained: Sequence[Genomes] = ()) -> None:
        """Put the important channels inside each block first; the largest network computes what it did before.

        A channel's importance is the sum of the absolute weights with which the block's next layer reads it. Done
        before a phase that trains smaller widths.

        Parameters
        ----------
        trained
            Genomes (knobs,) whose widths are trained already: they keep their channels, which are sorted apart.
        """
        nodes = [{node.name: node.output.channels for node in self.network(genome).nodes} for genome in trained]
        for channels in self._middle:
            edges = {0, channels.count} | {widths.get(channels.makers[0], channels.count) for widths in nodes}
            self._sort(channels, sorted(edges))

    def _sort(self, channels: MiddleChannels, edges: list[int]) -> None:
        weight = self._nodes[channels.readers[0]].weights().weight
        assert weight is not None
        importance = weight.abs().flatten(2).sum((0, 2)) if weight.dim() > 2 else weight.abs().sum(0)
        order = torch.cat([
            begin + importance[begin:end].argsort(descending=True, stable=True)
            for begin, end in pairwise(edges)
        ])  # fmt: skip
        for name in channels.makers:
            for tensor in self._nodes[name].weights():
                if tensor is not None:
                    tensor.copy_(tensor[order])
        for name in (*channels.readers, *channels.gates):
            read = self._nodes[name].weights().weight
            assert read is not None
            read.copy_(read[:, order])

    def _weights(self, plan: _Plan) -> dict[str, Weights]:
        nodes = self._nodes
        return {name: part.of(nodes[name].weights(), nodes[name].transforms()) for name, part in plan.slices}

    def _plan(self, genome: Genomes) -> _Plan:
        key = np.asarray(genome).tobytes()
        plan = self._plans.get(key)
        if plan is None:
            network = self.network(np.asarray(genome))
            plan = _Plan(compile_network(network), self._slices(network))
            if len(self._plans) >= _PLANS_KEPT:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _slices(self, network: Network) -> tuple[tuple[str, Slice], ...]:
        slices = []
        for node in network.nodes:
            if node.params == 0:
                continue
            if node.name not in self._whole:
                raise self._not_contained(node.name)
            try:
                part = node_slice(node, self._whole[node.name], self._kernels.get(node.name, ()))
            except SpaceError as error:
                raise SpaceError(f"space {self.space.name!r} is no supernet: {error}") from None
            slices.append((node.name, part))
        return tuple(slices)

    def _not_contained(self, name: str) -> SpaceError:
        return SpaceError(
            f"space {self.space.name!r} is no supernet: its largest network (the last choice of every knob) has no node {name!r}"
        )

    def _neighbours(self) -> Iterator[Network]:
        """Yield the networks that differ from the largest in one knob: every choice of every knob occurs."""
        for place, knob in enumerate(self.space.knobs):
            for gene in range(len(knob.choices) if knob.name != "resolution" else 0):
                genome = self.largest.copy()
                genome[place] = gene
                yield self.network(self.space.canonical(genome[None])[0])


def _elastic(whole: Network, neighbours: Iterable[Network]) -> tuple[dict[str, tuple[int, ...]], list[MiddleChannels]]:
    """Return the kernels (descending) of each layer that has several, and the channels worth sorting.

    These are the elastic ones inside a block: in all networks that have them, the same layer reads them.
    """
    kernels: dict[str, set[int]] = {}
    counts: dict[str, set[int]] = {}
    readers: dict[str, set[tuple[str, ...]]] = {}
    for network in neighbours:
        for node in network.nodes:
            if isinstance(node.op, Layer) and node.detail.function == "conv":
                kernels.setdefault(node.name, set()).add(node.op.R)
        for channels in channel_sets(network):
            for name in channels.makers[:1]:
                counts.setdefault(name, set()).add(channels.count)
                readers.setdefault(name, set()).add(("fixed",) if channels.fixed else tuple(channels.readers))
    elastic = {name: tuple(sorted(sizes, reverse=True)) for name, sizes in kernels.items() if len(sizes) > 1}
    middle = [
        channels
        for channels in middle_channels(whole)
        if len(counts.get(channels.makers[0], ())) > 1 and len(readers[channels.makers[0]]) == 1
    ]
    return elastic, middle


def extract(supernet: Supernet, genome: Genomes) -> NetworkModule:
    """Return a sub-network as a plain module with weights of its own, in the supernet's mode and on its device.

    Its batch-norm statistics are those of the first channels; `recalibrate` them before use.

    Raises
    ------
    SpaceError
        If the genome is not one of the supernet's space.
    """
    return NetworkModule(supernet.network(genome), supernet.weights(genome)).train(supernet.training)
