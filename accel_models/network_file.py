"""A network as JSON: written whole, read back equal, refused with the node that is wrong."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any, get_args

from accel_models.detail import Detail
from accel_models.errors import WorkloadError, unknown_name
from accel_models.executable import check_node
from accel_models.workload import Layer, Network, Node, TensorShape, VectorKind, VectorOp

FORM = "cosearch network 2"
_READ = (FORM, "cosearch network 1")  # the first form had no details, so its networks have a cost but cannot be run


def network_to_json(network: Network) -> str:
    """Return the network as one line of JSON; fields with their default value are left out."""
    nodes = [
        {
            "name": node.name,
            "layer" if isinstance(node.op, Layer) else "vector": _changed(node.op),
            "inputs": node.inputs,
            "output": _shape(node.output),
            "extra_params": node.extra_params,
            **({"detail": changed} if (changed := node.detail.changed()) else {}),
        }
        for node in network.nodes
    ]
    whole = {
        "form": FORM,
        "name": network.name,
        "input": _shape(network.input),
        "source": network.source,
        "nodes": nodes,
    }
    return json.dumps(whole, separators=(",", ":"))


def network_from_json(text: str, file: str = "network") -> Network:
    """Return the network that :func:`network_to_json` wrote.

    Raises
    ------
    WorkloadError
        If the text is not of that form; the message names the file and the node.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorkloadError(f"{file}: no JSON: {error}") from None
    if not isinstance(whole, dict) or whole.get("form") not in _READ:
        raise WorkloadError(f"{file}: not a network of form {FORM!r}")
    try:
        name, image, items = _text(whole["name"]), _tensor(whole["input"]), _list(whole["nodes"])
    except (KeyError, TypeError, WorkloadError) as error:
        raise WorkloadError(f"{file}: name, input or nodes are missing or malformed ({error})") from None
    nodes = tuple(_node(item, f"{file}: node {place}") for place, item in enumerate(items, 1))
    try:
        return Network(name, nodes, image, str(whole.get("source", "")))
    except WorkloadError as error:
        raise WorkloadError(f"{file}: {error}") from None


def _node(item: Any, where: str) -> Node:
    try:
        op = Layer(**item["layer"]) if "layer" in item else _vector(item["vector"])
        inputs = tuple(_text(name) for name in _list(item["inputs"]))
        name, output, extra = _text(item["name"]), _tensor(item["output"]), _count(item["extra_params"])
        node = Node(name, op, inputs, output, extra, _detail(item.get("detail", {})))
        if node.detail.function:
            check_node(node)
        return node
    except (KeyError, TypeError, WorkloadError) as error:
        raise WorkloadError(f"{where}: malformed ({error})") from None


def _detail(values: Any) -> Detail:
    if not isinstance(values, dict):
        raise WorkloadError(f"{values!r} is no detail")
    margins = values.get("margins")
    return Detail(**values if margins is None else {**values, "margins": tuple(_list(margins))})


def _vector(values: Any) -> VectorOp:
    op = VectorOp(**values)
    if op.kind not in get_args(VectorKind):
        raise WorkloadError(unknown_name("kind of vector operation", str(op.kind), get_args(VectorKind)))
    for amount in (op.operations, op.input_elements, op.output_elements):
        _count(amount)
    return op


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise WorkloadError(f"{value!r} is no text")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise WorkloadError(f"{value!r} is no list")
    return value


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise WorkloadError(f"{value!r} is no count")
    return value


def _tensor(value: Any) -> TensorShape:
    return TensorShape(*(_count(size) for size in _list(value)))


def _changed(op: Layer | VectorOp) -> dict[str, Any]:
    values = {item.name: (getattr(op, item.name), item.default) for item in fields(op)}
    return {name: value for name, (value, default) in values.items() if default is MISSING or value != default}


def _shape(shape: TensorShape) -> list[int]:
    return [shape.channels, shape.height, shape.width]
