"""Which tensor of a network is alive when, and how much memory that takes.

Steps are the nodes of a network in their order of execution, from 0. A tensor lives from the step that makes it to the
last step that reads it, both included; the network's input lives from step 0 on, and a result, which no node reads, to
the end. Not every node makes a tensor:

* A fused concatenation, crop or shuffle only says where data lies: who reads it reads the tensors behind it.
* Any other fused operation changes its operand on the way out of the array, in place, if nothing else reads the operand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

from accel_models.errors import WorkloadError
from accel_models.workload import INPUT, Layer, Network, Node, VectorOp

BEFORE = -1
"""The step that made a network's input."""

_ARRANGE = ("concat", "shuffle")
"""Kinds of vector operations that, fused, move and change nothing (a crop is a concatenation of one part)."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One stored tensor.

    Attributes
    ----------
    name
        The node that makes it, or ``"input"``.
    elements
        Its size.
    maker
        The step that makes it; :data:`BEFORE` for the network's input.
    readers
        Steps that read it, in order, directly or through concatenations and crops; also those that change it in place.
    last
        The last step of its life.
    is_result
        True where it is (part of) what the network delivers.
    """

    name: str
    elements: int
    maker: int
    readers: tuple[int, ...]
    last: int
    is_result: bool

    @property
    def first(self) -> int:
        """The first step of its life."""
        return max(self.maker, 0)


class Part(NamedTuple):
    """What is read of one tensor: its name, and how many elements (a crop reads fewer than there are)."""

    tensor: str
    elements: int


@dataclass(frozen=True)
class Lifetimes:
    """The tensors of a network in order of making, and where what a node makes lies: parts by name of the node."""

    tensors: tuple[Tensor, ...]
    parts: Mapping[str, tuple[Part, ...]] = field(repr=False)


@dataclass(frozen=True)
class MemoryPlan:
    """How much memory a network's tensors take at each step.

    Attributes
    ----------
    steps
        Names of the nodes, in order.
    tensors, tensor_bytes
        All tensors in order of making, and their sizes in bytes.
    live_bytes
        Bytes of all living tensors, per step.
    """

    network: str
    steps: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    tensor_bytes: tuple[int, ...]
    live_bytes: tuple[int, ...]

    @property
    def peak_bytes(self) -> int:
        """The most that lives at once."""
        return max(self.live_bytes, default=0)

    @property
    def peak_step(self) -> int:
        """The first step at which that is so."""
        return self.live_bytes.index(self.peak_bytes)

    def live(self, step: int) -> tuple[Tensor, ...]:
        """Return the tensors that live at a step, in order of making."""
        return tuple(tensor for tensor in self.tensors if tensor.first <= step <= tensor.last)


def memory_plan(network: Network, element_bytes: float = 1) -> MemoryPlan:
    """Return when which tensor of `network` is alive and what all living ones take, in O(nodes + edges).

    Parameters
    ----------
    network
        Executed in the order of its nodes.
    element_bytes
        Bytes of one element (0.5 for 4 bits); each tensor is rounded up to whole bytes.

    Raises
    ------
    WorkloadError
        If `element_bytes` is not a positive number.
    """
    if not 0 < element_bytes < math.inf:
        raise WorkloadError(f"network {network.name!r}: element_bytes = {element_bytes!r} must be a positive number")
    tensors = lifetimes(network).tensors
    sizes = tuple(math.ceil(tensor.elements * element_bytes) for tensor in tensors)
    changes = [0] * (len(network.nodes) + 1)
    for tensor, size in zip(tensors, sizes, strict=True):
        changes[tensor.first] += size
        changes[tensor.last + 1] -= size
    live = tuple(accumulate(changes[:-1]))
    return MemoryPlan(network.name, tuple(node.name for node in network.nodes), tensors, sizes, live)


def lifetimes(network: Network) -> Lifetimes:
    """Return the tensors of `network` and when they live, in O(nodes + edges).

    A concatenation counts as an edge to every tensor behind it.
    """
    parts = _places(network)
    readers: dict[str, list[int]] = {INPUT: []}
    sizes = {INPUT: (network.input.elements, BEFORE)}
    results: set[str] = set()
    read_by_someone = {name for node in network.nodes for name in node.inputs}
    for step, node in enumerate(network.nodes):
        if parts[node.name][0].tensor == node.name:
            sizes[node.name] = (_stored_elements(node), step)
            readers[node.name] = []
        if not _arranges(node):
            for name in dict.fromkeys(part.tensor for source in node.inputs for part in parts[source]):
                readers[name].append(step)
        if node.name not in read_by_someone:
            results.update(part.tensor for part in parts[node.name])
    end = len(network.nodes) - 1
    tensors = []
    for name, (elements, maker) in sizes.items():
        last = end if name in results else max(readers[name], default=BEFORE)
        tensors.append(Tensor(name, elements, maker, tuple(readers[name]), last, name in results))
    return Lifetimes(tuple(tensors), parts)


def _places(network: Network) -> dict[str, tuple[Part, ...]]:
    """Return the parts that each node's output, and the network's input, consist of."""
    uses = Counter(name for node in network.nodes for name in node.inputs)
    elements = {INPUT: network.input.elements} | {node.name: node.output.elements for node in network.nodes}
    step_of = {INPUT: BEFORE} | {node.name: step for step, node in enumerate(network.nodes)}
    parts: dict[str, tuple[Part, ...]] = {INPUT: (Part(INPUT, network.input.elements),)}
    stored: set[str] = set()  # outputs that are one whole tensor, as opposed to an arrangement of several or of a part
    for node in network.nodes:
        latest = max(node.inputs, key=step_of.__getitem__, default="")
        fused = isinstance(node.op, VectorOp) and node.op.fused
        if _arranges(node):
            parts[node.name] = _arranged([part for name in node.inputs for part in parts[name]], node.output.elements)
        elif fused and latest in stored and uses[latest] == 1 and elements[latest] == elements[node.name]:
            parts[node.name] = parts[latest]
            stored.add(node.name)
        else:
            parts[node.name] = (Part(node.name, node.output.elements),)
            stored.add(node.name)
    return parts


def _arranges(node: Node) -> bool:
    return isinstance(node.op, VectorOp) and node.op.fused and node.op.kind in _ARRANGE and bool(node.inputs)


def _arranged(parts: list[Part], elements: int) -> tuple[Part, ...]:
    """Return the parts, each cropped alike where fewer elements are left in all."""
    total = sum(part.elements for part in parts)
    return tuple(Part(part.tensor, max(1, part.elements * elements // total)) for part in parts)


def _stored_elements(node: Node) -> int:
    """Elements of what a node makes: its shape says one image's, a layer may have a batch of them."""
    return max(node.output.elements, node.op.output_elements if isinstance(node.op, Layer) else 0)
