"""A network as JSON: written whole, read back equal, refused with the node that is wrong."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any

from accel_models.errors import WorkloadError
from accel_models.workload import Layer, Network, Node, TensorShape, VectorOp

FORM = "cosearch network 1"


def network_to_json(network: Network) -> str:
    """Return the network as one line of JSON; fields with their default value are left out."""
    nodes = [
        {
            "name": node.name,
            "layer" if isinstance(node.op, Layer) else "vector": _changed(node.op),
            "inputs": node.inputs,
            "output": _shape(node.output),
            "extra_params": node.extra_params,
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
    except ValueError as error:
        raise WorkloadError(f"{file}: no JSON: {error}") from None
    if not isinstance(whole, dict) or whole.get("form") != FORM:
        raise WorkloadError(f"{file}: not a network of form {FORM!r}")
    try:
        nodes = tuple(_node(item, f"{file}: node {place + 1}") for place, item in enumerate(whole["nodes"]))
        return Network(whole["name"], nodes, TensorShape(*whole["input"]), whole.get("source", ""))
    except (KeyError, TypeError) as error:
        raise WorkloadError(f"{file}: name, input or nodes are missing or malformed ({error})") from None


def _node(item: Any, where: str) -> Node:
    try:
        op = Layer(**item["layer"]) if "layer" in item else VectorOp(**item["vector"])
        return Node(item["name"], op, tuple(item["inputs"]), TensorShape(*item["output"]), item["extra_params"])
    except (KeyError, TypeError) as error:
        raise WorkloadError(f"{where}: malformed ({error})") from None


def _changed(op: Layer | VectorOp) -> dict[str, Any]:
    values = {item.name: (getattr(op, item.name), item.default) for item in fields(op)}
    return {name: value for name, (value, default) in values.items() if default is MISSING or value != default}


def _shape(shape: TensorShape) -> list[int]:
    return [shape.channels, shape.height, shape.width]
