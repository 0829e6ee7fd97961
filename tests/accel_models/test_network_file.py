"""Networks as JSON: read back equal; what is malformed is named with its file and node."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from accel_models.detail import NO_DETAIL, Detail
from accel_models.errors import WorkloadError
from accel_models.network_builder import NetworkBuilder
from accel_models.network_file import FORM, network_from_json, network_to_json
from accel_models.networks import NETWORKS, load_network
from accel_models.workload import Layer, Network, Node, TensorShape, VectorOp
from cosearch.spaces import load_space, space_names


def same(one: Network, other: Network) -> bool:
    """`source` takes no part in the equality of networks, but is to be kept too."""
    return one == other and one.source == other.source


@pytest.mark.parametrize("name", NETWORKS)
def test_every_shipped_network_is_read_back_equal(name) -> None:
    network = load_network(name)
    back = network_from_json(network_to_json(network))
    assert same(back, network)
    assert (back.macs, back.params, back.distinct_layers) == (network.macs, network.params, network.distinct_layers)
    assert network_to_json(back) == network_to_json(network)


@pytest.mark.parametrize("name", space_names())
def test_samples_of_every_space_are_read_back_equal(name) -> None:
    space = load_space(name)
    networks = [space.sample(seed=seed) for seed in range(5)]
    assert len({network_to_json(network) for network in networks}) == 5
    for network in networks:
        assert same(network_from_json(network_to_json(network)), network)


def test_every_field_of_a_layer_is_kept() -> None:
    layer = Layer(2, 3, 5, 7, 11, 3, 1, 4, 2, 3, 1, 2, 4, 8, 16, True)
    node = Node("one", layer, ("input",), TensorShape(12, 11, 7), 9)
    network = Network("odd", (node,), TensorShape(20, 40, 30), "by hand")
    assert same(network_from_json(network_to_json(network)), network)


def test_every_field_of_a_detail_is_kept() -> None:
    detail = Detail(
        "average_pool", 3, 2, 1, ceil_mode=True, count_padding=False, bias=True, eps=0.5, groups=2, transpose=True,
        causal=True, scale=0.25, start=3, margins=(1, 2, 3, 4), along="width",
    )  # fmt: skip
    op = VectorOp("pool", 1, 1, 1)
    network = Network("odd", (Node("one", op, ("input",), TensorShape(4), 4, detail),), TensorShape(4))
    assert same(network_from_json(network_to_json(network)), network)


def test_a_network_without_details_is_read_back_equal() -> None:
    network = Network("plain", (Node("one", Layer(K=2, C=4), ("input",), TensorShape(2), 7),), TensorShape(4))
    assert same(network_from_json(network_to_json(network)), network)


def test_a_file_of_the_first_form_is_read_without_details() -> None:
    whole = example() | {"form": "cosearch network 1"}
    for node in whole["nodes"]:
        del node["detail"]
    network = network_from_json(json.dumps(whole))
    assert [node.detail for node in network.nodes] == [NO_DETAIL] * 3
    assert network.macs == 4 * 4 * 9 * 2 * 3


def test_it_is_one_line_and_without_defaults() -> None:
    text = network_to_json(load_network("squeezenet"))
    assert "\n" not in text
    first = json.loads(text)["nodes"][0]
    assert first["layer"] == {"K": 96, "C": 3, "P": 109, "Q": 109, "R": 7, "S": 7, "stride_w": 2, "stride_h": 2}


def example() -> dict[str, Any]:
    net = NetworkBuilder("example", channels=2, height=4)
    net.conv("conv", 3, 3, activation="relu")
    net.global_pool("pool")
    return json.loads(network_to_json(net.build()))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("form",), "cosearch network 99", f"not a network of form '{FORM}'"),
        (("name",), 3, "name, input or nodes are missing or malformed (3 is no text)"),
        (("input",), [3, 0, 4], "tensor of 3 x 0 x 4 elements is empty"),
        (("input",), [3, -1, 4], "-1 is no count"),
        (("input",), [3, 1.5, 4], "1.5 is no count"),
        (("input",), [1, 2, 3, 4], "name, input or nodes are missing or malformed"),
        (("input",), "3x4", "'3x4' is no list"),
        (("nodes",), {}, "{} is no list"),
        (("nodes", 0), 7, "node 1: malformed"),
        (("nodes", 0), {}, "node 1: malformed ('vector')"),
        (("nodes", 1, "name"), None, "node 2: malformed (None is no text)"),
        (("nodes", 1, "name"), "conv", "network 'example': two nodes are called 'conv'"),
        (("nodes", 1, "inputs"), "conv", "node 2: malformed ('conv' is no list)"),
        (("nodes", 1, "inputs"), ["nowhere"], "network 'example': node 'conv.relu' reads 'nowhere', which no earlier node makes"),
        (("nodes", 1, "inputs"), [["conv"]], "node 2: malformed (['conv'] is no text)"),
        (("nodes", 1, "output"), ["a", 1, 1], "node 2: malformed ('a' is no count)"),
        (("nodes", 1, "extra_params"), -1, "node 2: malformed (-1 is no count)"),
        (("nodes", 1, "extra_params"), True, "node 2: malformed (True is no count)"),
        (("nodes", 0, "layer", "K"), 0, "node 1: malformed (layer: K = 0 must be a positive integer)"),
        (("nodes", 0, "layer", "K"), "3", "node 1: malformed (layer: K = '3' must be a positive integer)"),
        (("nodes", 0, "layer", "Z"), 3, "node 1: malformed"),
        (("nodes", 0, "layer"), [1, 2], "node 1: malformed"),
        (("nodes", 0, "detail"), [1], "node 1: malformed ([1] is no detail)"),
        (("nodes", 0, "detail", "function"), "convolve", "unknown function 'convolve': did you mean 'conv'?"),
        (("nodes", 0, "detail", "function"), "relu", "unknown function of a layer 'relu'"),
        (("nodes", 0, "detail", "function"), ["conv"], "node 1: malformed"),
        (("nodes", 0, "detail", "batch_norm"), 1, "flags are true or false"),
        (("nodes", 0, "detail", "batch_norm"), False, "6 parameters beside its weights, where its detail means 0"),
        (("nodes", 0, "detail", "padding"), -1, "the padding is at least 0, or None"),
        (("nodes", 0, "detail", "margins"), [0, 0, 0], "the four margins"),
        (("nodes", 0, "detail", "margins"), 3, "3 is no list"),
        (("nodes", 0, "detail", "margins"), ["a", 0, 0, 0], "node 1: malformed"),
        (("nodes", 0, "detail", "eps"), 0, "eps a positive one"),
        (("nodes", 0, "detail", "colour"), 3, "node 1: malformed"),
        (("nodes", 1, "vector", "kind"), "activatoin", "unknown kind of vector operation 'activatoin': did you mean 'act"),
        (("nodes", 1, "vector", "operations"), -1, "node 2: malformed"),
        (("nodes", 1, "vector", "operations"), 1.5, "node 2: malformed (1.5 is no count)"),
        (("nodes", 1, "vector", "operations"), "x", "node 2: malformed"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_file_and_node(path, value, said) -> None:
    whole = example()
    holder = whole
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    with pytest.raises(WorkloadError) as caught:
        network_from_json(json.dumps(whole), "mine.json")
    assert str(caught.value).startswith("mine.json: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("key", ["form", "name", "input", "nodes"])
def test_a_missing_key_is_refused(key) -> None:
    whole = example()
    del whole[key]
    with pytest.raises(WorkloadError, match=r"^mine\.json: "):
        network_from_json(json.dumps(whole), "mine.json")


@pytest.mark.parametrize("key", ["name", "layer", "inputs", "output", "extra_params"])
def test_a_missing_key_of_a_node_is_refused(key) -> None:
    whole = example()
    del whole["nodes"][0][key]
    with pytest.raises(WorkloadError, match=r"^mine\.json: node 1: malformed"):
        network_from_json(json.dumps(whole), "mine.json")


@pytest.mark.parametrize(
    "text", ["", "{", "null", "[]", "3", '"text"', "{}", "[" * 100_000, '{"form": "' + FORM + '"}', "\x00"]
)
def test_what_is_no_network_is_refused(text) -> None:
    with pytest.raises(WorkloadError, match=r"^mine\.json: "):
        network_from_json(text, "mine.json")


def test_damaged_text_is_read_or_refused() -> None:
    text = network_to_json(load_network("squeezenet", 64))
    refused = 0
    for seed in range(300):
        chance = random.Random(seed)
        at = chance.randrange(len(text))
        broken = (
            text[:at]
            + chance.choice(("", "0", "-", '"', "]", "x", ":", "null", "1e9"))
            + text[at + chance.randrange(3) :]
        )
        try:
            network_from_json(broken, "mine.json")
        except WorkloadError as error:
            refused += 1
            assert str(error).startswith("mine.json: ")
    assert refused > 200
