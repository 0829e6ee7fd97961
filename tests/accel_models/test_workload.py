"""A layer is a loop nest, a network a graph in an order that can be executed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel_models.errors import AccelModelsError, WorkloadError
from accel_models.workload import DIMS, Layer, Network, Node, TensorShape, VectorOp

small = st.integers(1, 3)
small_layers = st.builds(
    Layer, **dict.fromkeys(DIMS, small), stride_w=small, stride_h=small, dilation_w=small, dilation_h=small
)
bits = st.none() | st.integers(1, 64)
bounds = st.integers(1, 4096)
layers = st.builds(
    Layer,
    **dict.fromkeys(DIMS, bounds),
    stride_w=small,
    stride_h=small,
    dilation_w=small,
    dilation_h=small,
    weight_bits=bits,
    input_bits=bits,
    output_bits=bits,
)


def walk(layer: Layer) -> dict[str, set[tuple[int, ...]] | int]:
    """Visit every MAC of the loop nest and note which element of each dataspace it touches."""
    weights, inputs, outputs, macs = set(), set(), set(), 0
    for n, k, c, p, q, r, s, g in itertools.product(*(range(bound) for bound in layer.dims)):
        macs += 1
        weights.add((g, k, c, r, s))
        x = p * layer.stride_w + r * layer.dilation_w
        y = q * layer.stride_h + s * layer.dilation_h
        inputs.add((g, n, c, x, y))
        outputs.add((g, n, k, p, q))
    return {"weights": weights, "inputs": inputs, "outputs": outputs, "macs": macs}


@given(small_layers)
def test_a_layers_sizes_are_those_of_its_loop_nest(layer):
    seen = walk(layer)
    assert layer.macs == seen["macs"]
    assert layer.weight_elements == len(seen["weights"])
    assert layer.output_elements == len(seen["outputs"])
    assert layer.input_width == 1 + max(x for *_, x, _ in seen["inputs"])
    assert layer.input_height == 1 + max(y for *_, y in seen["inputs"])
    assert layer.input_elements == layer.G * layer.N * layer.C * layer.input_width * layer.input_height


@given(layers)
def test_a_layer_is_read_back_from_its_text(layer):
    assert Layer.parse(str(layer)) == layer


def test_stride_dilation_and_bits_can_be_given_for_both_directions_at_once():
    assert Layer.parse("K=64, c3 P112 Q112 R7 S7 stride=2 bits=8") == Layer(
        K=64, C=3, P=112, Q=112, R=7, S=7, stride_w=2, stride_h=2, weight_bits=8, input_bits=8, output_bits=8
    )


def test_a_layer_of_one_mac_still_has_a_text():
    assert str(Layer()) == "N1"
    assert Layer.parse("N1") == Layer()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no dim"),
        ("K64 X3", "cannot read 'X3'"),
        ("K64 C", "cannot read 'C'"),
        ("K-4", "cannot read 'K-4'"),
        ("K64 stride=two", "cannot read 'stride=two'"),
        ("K64 pad_w=1", "cannot read 'pad_w=1'"),
        ("K64 K32", "K is given twice"),
        ("K64 stride=2 stride_w=1", "stride_w is given twice"),
        ("K64 dynamic_weights=1", "cannot read"),
        ("K0", "K = 0 must be a positive integer"),
        ("K64 stride=0", "stride_w = 0 must be a positive integer"),
    ],
)
def test_text_that_is_no_layer_is_refused_with_the_reason(text, said):
    with pytest.raises(WorkloadError, match=said):
        Layer.parse(text)


@pytest.mark.parametrize("wrong", [0, -1, 2.0, "3", True, None])
def test_a_bound_must_be_a_positive_integer(wrong):
    with pytest.raises(WorkloadError, match=r"layer: P = .* must be a positive integer"):
        Layer(P=wrong)


def test_widths_may_be_left_out_but_not_be_zero():
    assert Layer(weight_bits=None).weight_bits is None
    with pytest.raises(WorkloadError, match="weight_bits = 0"):
        Layer(weight_bits=0)


def test_layers_of_one_shape_are_one_key():
    assert {Layer(K=4, C=2): "cost"}[Layer(C=2, K=4)] == "cost"
    assert Layer(K=4) != Layer(K=4, stride_w=2)


def test_with_bits_changes_the_widths_alone():
    assert Layer(K=4).with_bits(4, 8, 16) == Layer(K=4, weight_bits=4, input_bits=8, output_bits=16)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (Layer(K=64, C=3, P=112, Q=112, R=3, S=3), "conv"),
        (Layer(K=64, C=32, P=56, Q=56), "pointwise"),
        (Layer(G=32, P=56, Q=56, R=3, S=3), "depthwise"),
        (Layer(G=2, K=16, C=16, P=56, Q=56, R=3, S=3), "grouped"),
        (Layer(K=1000, C=1280), "linear"),
        (Layer(G=8, K=64, C=64, P=64, dynamic_weights=True), "matmul"),
    ],
)
def test_a_shape_has_the_fields_own_name(layer, kind):
    assert layer.kind == kind


def test_impossible_tensors_and_amounts_of_work_are_refused():
    with pytest.raises(WorkloadError, match="0 x 4 x 4 elements is empty"):
        TensorShape(0, 4, 4)
    with pytest.raises(WorkloadError, match="add: negative amount of work"):
        VectorOp("add", -1, 0, 0)


def node(name: str, *inputs: str, op: Layer | VectorOp | None = None, extra: int = 0) -> Node:
    return Node(name, op or Layer(K=2, C=2), inputs, TensorShape(2), extra)


def test_a_network_refuses_a_name_that_is_used_twice():
    with pytest.raises(WorkloadError, match="network 'n': two nodes are called 'a'"):
        Network("n", (node("a", "input"), node("a", "input")), TensorShape(2))
    with pytest.raises(WorkloadError, match="two nodes are called 'input'"):
        Network("n", (node("input", "input"),), TensorShape(2))


@pytest.mark.parametrize("source", ["b", "a", "c"], ids=["made later", "itself", "made nowhere"])
def test_a_network_refuses_a_node_that_reads_what_is_not_made_yet(source):
    with pytest.raises(WorkloadError, match=f"node 'a' reads '{source}', which no earlier node makes"):
        Network("n", (node("a", source), node("b", "input")), TensorShape(2))


def test_a_network_counts_macs_of_layers_and_parameters_of_all_but_activations():
    attention = Layer(G=2, K=3, C=5, P=7, dynamic_weights=True)
    network = Network(
        "n",
        (
            node("a", "input", extra=4),
            node("b", "a", op=attention),
            node("c", "a", "b", op=VectorOp("add", 2, 4, 2)),
            node("d", "c"),
        ),
        TensorShape(2),
    )
    assert network.macs == 4 + 2 * 3 * 5 * 7 + 4  # 2 x 2 twice, and the matrix products
    assert network.params == 4 + 4 + 4  # two weight tensors and the extra ones; attention has no weights
    assert [name for name, _ in network.layers] == ["a", "b", "d"]
    assert network.distinct_layers == {Layer(K=2, C=2): 2, attention: 1}
    assert str(network) == "n: 3 layers, 0.0 M MACs, 0.00 M parameters, input 2 x 1 x 1"


def test_the_graph_has_the_networks_nodes_and_the_size_of_every_tensor():
    image = TensorShape(3, 4, 4)
    network = Network("n", (node("a", "input"), node("b", "a"), node("c", "a", "b")), image)
    assert dict(network.graph.edges) == {
        ("input", "a"): {"elements": 48},
        ("a", "b"): {"elements": 2},
        ("a", "c"): {"elements": 2},
        ("b", "c"): {"elements": 2},
    }
    assert network.graph.nodes["b"]["node"] is network.nodes[1]


def test_where_a_network_comes_from_does_not_make_it_another_network():
    nodes = (node("a", "input"),)
    assert Network("n", nodes, TensorShape(2), "paper") == Network("n", nodes, TensorShape(2), "torchvision")


def test_one_base_class_catches_every_error():
    assert issubclass(WorkloadError, AccelModelsError)
    assert issubclass(WorkloadError, ValueError)
