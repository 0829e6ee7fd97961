"""What spaces of cells have in common: nodes of a small graph, whose edges begin with a ReLU of what they read."""

from __future__ import annotations

from accel_models.network_builder import NetworkBuilder


def rectified(net: NetworkBuilder, x: str) -> str:
    """Return the ReLU of a tensor, added where it is not there yet: all edges that read the tensor share it.

    Papers and code draw one per edge; it is the same function, computed once.
    """
    name = f"{x}.relu"
    return name if name in net.shapes else net.activation(name, x=x)


def total(net: NetworkBuilder, name: str, terms: list[str]) -> str:
    """Return the sum of tensors, added two at a time from the left; a single one is its own sum."""
    first, *others = terms
    for place, other in enumerate(others, 1):
        first = net.add(name if place == len(others) else f"{name}.{place}", first, other)
    return first
