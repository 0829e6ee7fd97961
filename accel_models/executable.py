"""What makes a network one that can be run: details that agree with its shapes; and the same network for other classes."""

from __future__ import annotations

from dataclasses import replace

from accel_models.detail import LAYER_FUNCTIONS, VECTOR_FUNCTIONS
from accel_models.errors import WorkloadError, unknown_name
from accel_models.workload import Layer, Network, Node, TensorShape, VectorOp


def check_node(node: Node) -> None:
    """Refuse a node whose detail does not say what it computes, or contradicts what it costs.

    Raises
    ------
    WorkloadError
        With the node's name.
    """
    detail, op = node.detail, node.op
    known = LAYER_FUNCTIONS if isinstance(op, Layer) else VECTOR_FUNCTIONS[op.kind]
    if not detail.function:
        raise WorkloadError(
            f"node {node.name!r} does not say what it computes, so the network has a cost but cannot be run; build it "
            "with NetworkBuilder, or give each Node a Detail"
        )
    if detail.function not in known:
        kind = "a layer" if isinstance(op, Layer) else f"operation {op.kind!r}"
        raise WorkloadError(f"node {node.name!r}: " + unknown_name(f"function of {kind}", detail.function, known))
    if isinstance(op, Layer) and op.dynamic_weights != (detail.function == "matmul"):
        raise WorkloadError(f"node {node.name!r}: only a product of two activations is a layer of dynamic weights")
    if node.extra_params != parameters_beside_weights(node):
        raise WorkloadError(
            f"node {node.name!r}: {node.extra_params} parameters beside its weights, where its detail means "
            f"{parameters_beside_weights(node)} ({detail.changed()})"
        )


def parameters_beside_weights(node: Node) -> int:
    """Return how many parameters a node's detail means: biases, gains and shifts, learned tokens and positions."""
    detail, channels = node.detail, node.output.channels
    match detail.function:
        case "layer_norm" | "batch_norm":
            return 2 * channels
        case "class_token":
            return channels
        case "position_embedding":
            return node.output.elements
        case "up_conv":
            return channels // detail.stride**2 if detail.bias else 0
    return (2 * channels if detail.batch_norm else 0) + (channels if detail.bias else 0)


def check_executable(network: Network) -> None:
    """Refuse a network that has a cost but cannot be run.

    Raises
    ------
    WorkloadError
        With the name of the network and of the first such node.
    """
    if not network.nodes:
        raise WorkloadError(f"network {network.name!r} has no nodes")
    try:
        for node in network.nodes:
            check_node(node)
    except WorkloadError as error:
        raise WorkloadError(f"network {network.name!r}: {error}") from None


def with_classes(network: Network, classes: int) -> Network:
    """Return the same network with another number of classes: its last layer makes as many channels.

    Raises
    ------
    WorkloadError
        If there is no such layer, or what comes after it is more than activations and pools.
    """
    if type(classes) is not int or classes < 1:
        raise WorkloadError(f"network {network.name!r}: classes = {classes!r} must be a positive integer")
    last = max((place for place, node in enumerate(network.nodes) if isinstance(node.op, Layer)), default=None)
    if last is None:
        raise WorkloadError(f"network {network.name!r} has no layer that could make {classes} classes")
    layer = network.nodes[last]
    before = layer.output.channels
    if before == classes:
        return network
    if layer.op.kind == "matmul" or layer.op.G > 1 or layer.detail.function == "up_conv":  # type: ignore[union-attr]
        raise WorkloadError(f"network {network.name!r}: its last layer {layer.name!r} is no classifier")
    changed = [_classifier(layer, classes)]
    for node in network.nodes[last + 1 :]:
        if not isinstance(node.op, VectorOp) or len(node.inputs) != 1 or node.output.channels != before:
            raise WorkloadError(
                f"network {network.name!r}: {node.name!r} after the last layer is in the way of classes"
            )
        changed.append(_scaled(node, classes, before))
    return Network(network.name, (*network.nodes[:last], *changed), network.input, network.source)


def _classifier(node: Node, classes: int) -> Node:
    assert isinstance(node.op, Layer)
    layer = replace(node.op, K=classes)
    output = TensorShape(classes, node.output.height, node.output.width)
    return replace(node, op=layer, output=output, extra_params=node.extra_params // node.output.channels * classes)


def _scaled(node: Node, classes: int, before: int) -> Node:
    """Return an operation that treats every channel alike, on other channels."""
    op = node.op
    assert isinstance(op, VectorOp)
    operations, read, written = (
        amount * classes // before for amount in (op.operations, op.input_elements, op.output_elements)
    )
    output = TensorShape(classes, node.output.height, node.output.width)
    extra = node.extra_params * classes // before
    return replace(node, op=VectorOp(op.kind, operations, read, written, op.fused), output=output, extra_params=extra)
