"""A network that can be run says what each node computes, in agreement with what it costs; classes can be exchanged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from accel_models.detail import ACTIVATIONS, FUNCTIONS, LAYER_FUNCTIONS, NO_DETAIL, VECTOR_FUNCTIONS, Detail
from accel_models.errors import WorkloadError
from accel_models.executable import check_executable, check_node, parameters_beside_weights, with_classes
from accel_models.network_builder import NetworkBuilder
from accel_models.networks import NETWORKS, load_network
from accel_models.workload import Layer, Network, Node, TensorShape, VectorOp


@pytest.mark.parametrize("name", NETWORKS)
def test_every_shipped_network_says_what_it_computes(name) -> None:
    network = load_network(name)
    check_executable(network)
    assert sum(parameters_beside_weights(node) for node in network.nodes) == sum(n.extra_params for n in network.nodes)


def test_a_detail_does_not_change_how_a_node_is_hashed_but_whether_it_is_equal() -> None:
    node = Node("a", Layer(K=2), ("input",), TensorShape(2))
    other = replace(node, detail=Detail("conv"))
    assert hash(node) == hash(other) and node != other
    assert node.detail is NO_DETAIL


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"function": "rleu"}, "unknown function 'rleu': did you mean 'relu'?"),
        ({"kernel": 0}, "kernel, stride and groups are positive integers"),
        ({"stride": True}, "kernel, stride and groups are positive integers"),
        ({"groups": 1.0}, "kernel, stride and groups are positive integers"),
        ({"start": -1}, "start and the four margins at least 0"),
        ({"margins": (0, 0, -1, 0)}, "the four margins at least 0"),
        ({"margins": (0, 0, 0)}, "the four margins at least 0"),
        ({"padding": -1}, "the padding is at least 0, or None"),
        ({"padding": 0.5}, "the padding is at least 0, or None"),
        ({"bias": 1}, "flags are true or false"),
        ({"along": "height"}, "along is 'channels' or 'width'"),
        ({"eps": 0.0}, "eps a positive one"),
        ({"eps": float("nan")}, "eps a positive one"),
        ({"scale": "2"}, "eps and scale are numbers"),
    ],
)
def test_an_impossible_detail_is_refused(values, said) -> None:
    with pytest.raises(WorkloadError) as caught:
        Detail(**values)
    assert said in str(caught.value)


def test_the_functions_are_those_of_layers_and_vector_operations() -> None:
    several = [name for names in VECTOR_FUNCTIONS.values() for name in names]
    assert len(several) == len(set(several)) and not set(several) & set(LAYER_FUNCTIONS)
    assert {"", *several, *LAYER_FUNCTIONS} == FUNCTIONS
    assert set(ACTIVATIONS) <= FUNCTIONS


def layer_node(detail: Detail, extra: int = 0, **options) -> Node:
    return Node("n", Layer(K=4, C=3, **options), ("input",), TensorShape(4), extra, detail)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (layer_node(NO_DETAIL), "does not say what it computes"),
        (layer_node(Detail("relu")), "unknown function of a layer 'relu'"),
        (Node("n", VectorOp("add", 1, 2, 1), ("a", "b"), TensorShape(1), 0, Detail("relu")), "unknown function of operation 'add'"),
        (layer_node(Detail("matmul")), "only a product of two activations"),
        (layer_node(Detail("conv"), dynamic_weights=True), "only a product of two activations"),
        (layer_node(Detail("conv", bias=True)), "0 parameters beside its weights, where its detail means 4"),
        (layer_node(Detail("conv"), 8), "8 parameters beside its weights, where its detail means 0"),
    ],
)  # fmt: skip
def test_a_node_that_contradicts_itself_is_refused(node, said) -> None:
    with pytest.raises(WorkloadError, match="node 'n'") as caught:
        check_node(node)
    assert said in str(caught.value)


def test_the_network_and_the_node_are_named() -> None:
    network = Network("mine", (layer_node(NO_DETAIL),), TensorShape(3))
    with pytest.raises(WorkloadError, match="network 'mine': node 'n' does not say what it computes"):
        check_executable(network)
    with pytest.raises(WorkloadError, match="network 'empty' has no nodes"):
        check_executable(Network("empty", (), TensorShape(3)))


def test_another_number_of_classes_changes_the_last_layer_only() -> None:
    # torchvision's resnet18 has 512 x 1000 weights and 1000 biases there
    network = load_network("resnet18")
    other = with_classes(network, 10)
    assert other.params == network.params - 990 * 513
    assert other.macs == network.macs - 990 * 512
    assert other.nodes[:-1] == network.nodes[:-1]
    assert other.nodes[-1].output == TensorShape(10)
    assert with_classes(network, 1000) is network
    check_executable(other)


def test_what_follows_the_last_layer_follows_the_classes() -> None:
    network = with_classes(load_network("squeezenet"), 7)
    check_executable(network)
    conv, relu, pool = network.nodes[-3:]
    pixels = conv.output.height * conv.output.width
    assert conv.op.K == 7 and relu.op.operations == pool.op.operations == 7 * pixels  # type: ignore[union-attr]
    assert pool.output == TensorShape(7)


def test_classes_that_cannot_be_are_refused() -> None:
    network = load_network("resnet18")
    for classes in (0, -3, 2.5, True):
        with pytest.raises(WorkloadError, match="must be a positive integer"):
            with_classes(network, classes)  # type: ignore[arg-type]
    net = NetworkBuilder("n", channels=4, height=4)
    net.global_pool("pool")
    with pytest.raises(WorkloadError, match="has no layer that could make 3 classes"):
        with_classes(net.build(), 3)
    net.add("sum", net.conv("conv", 4, 1), "pool")
    with pytest.raises(WorkloadError, match="'sum' after the last layer is in the way of classes"):
        with_classes(net.build(), 3)
    net.conv("grouped", 4, 1, groups=4)
    with pytest.raises(WorkloadError, match="its last layer 'grouped' is no classifier"):
        with_classes(net.build(), 3)
