"""Channels inside a block, which can change places without changing what the network computes.

They are made by one layer, pass through depth-wise layers, activations, pools and gates (squeeze-and-excitation), and
are read by one layer. A supernet keeps the first of them, so the important ones have to come first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from accel_models.workload import INPUT, Layer, Network, Node

_KEEPS_CHANNELS = frozenset({
    "max_pool", "average_pool", "adaptive_pool", "upsample", "crop", "tokens", "global_pool",
})  # fmt: skip


@dataclass
class MiddleChannels:
    """One such set of channels.

    Parameters
    ----------
    count
        How many there are.
    makers
        Nodes whose outputs they are: rows of weights, biases and batch normalisations.
    readers
        Layers that read them as they are: columns of weights.
    gates
        Layers that read their means, to scale them.
    fixed
        Whether something else depends on their order.
    """

    count: int
    makers: list[str] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    gates: list[str] = field(default_factory=list)
    fixed: bool = False


def middle_channels(network: Network) -> list[MiddleChannels]:
    """Return every set of channels whose order is free and that one layer reads beside gates."""
    return [channels for channels in channel_sets(network) if not channels.fixed and len(channels.readers) == 1]


def channel_sets(network: Network) -> list[MiddleChannels]:
    """Return all sets of channels that have to change places together."""
    made: dict[str, MiddleChannels] = {INPUT: MiddleChannels(network.input.channels, fixed=True)}
    averaged: set[str] = set()
    for node in network.nodes:
        sources, op = [made[name] for name in node.inputs], node.op
        if node.detail.function == "global_pool" or (_keeps_channels(node) and node.inputs[0] in averaged):
            averaged.add(node.name)
        if _keeps_channels(node):
            made[node.name] = sources[0]
        elif node.detail.function == "batch_norm" or (isinstance(op, Layer) and op.kind == "depthwise"):
            sources[0].makers.append(node.name)
            made[node.name] = sources[0]
        elif node.detail.function == "multiply":
            made[node.name] = _joined(made, *sources)
        elif isinstance(op, Layer) and _mixes_channels(op, node, sources[0]):
            (sources[0].gates if node.inputs[0] in averaged else sources[0].readers).append(node.name)
            made[node.name] = MiddleChannels(node.output.channels, [node.name])
        else:
            for source in sources:
                source.fixed = True
            made[node.name] = MiddleChannels(node.output.channels, fixed=True)
    made[network.nodes[-1].name].fixed = True
    return list({id(channels): channels for channels in made.values()}.values())


def _mixes_channels(layer: Layer, node: Node, source: MiddleChannels) -> bool:
    """Tell whether a layer reads each channel of its input with one column of its weights."""
    return node.detail.function in ("conv", "linear") and layer.G == 1 and source.count == layer.C


def _keeps_channels(node: Node) -> bool:
    activates = not isinstance(node.op, Layer) and node.op.kind == "activation"
    return activates or node.detail.function in _KEEPS_CHANNELS


def _joined(made: dict[str, MiddleChannels], one: MiddleChannels, other: MiddleChannels) -> MiddleChannels:
    """Return both sets as one: they are multiplied channel by channel."""
    if one is other:
        return one
    one.makers += other.makers
    one.readers += other.readers
    one.gates += other.gates
    one.fixed |= other.fixed
    for name, channels in made.items():
        if channels is other:
            made[name] = one
    return one
