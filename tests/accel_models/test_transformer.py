"""Attention and its vector operations: products of activations are layers, their amounts counted by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel_models.description import load_target
from accel_models.errors import WorkloadError
from accel_models.network_builder import NetworkBuilder
from accel_models.network_file import network_from_json, network_to_json
from accel_models.workload import Layer, Network, TensorShape, VectorOp


def encoder_block(tokens: int, width: int, heads: int, hidden: int) -> Network:
    net = NetworkBuilder("encoder", channels=width, height=1, width=tokens)
    net.layer_norm("norm1", "input")
    residual = net.add("sum1", "input", net.attention("self", heads))
    net.layer_norm("norm2")
    net.conv("wide", hidden, 1, batch_norm=False, bias=True, activation="gelu")
    net.add("sum2", residual, net.conv("narrow", width, 1, batch_norm=False, bias=True))
    return net.build()


def test_an_encoder_block_has_the_macs_and_parameters_of_the_textbook() -> None:
    tokens, width, heads, hidden = 197, 384, 6, 1536  # DeiT-Small: Touvron et al., ICML 2021
    network = encoder_block(tokens, width, heads, hidden)
    # four projections, scores and weighted sum of the heads together, two layers of the perceptron
    assert network.macs == 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * hidden
    # with biases, and gain and bias of two normalisations
    assert network.params == 4 * (width**2 + width) + 2 * width * hidden + hidden + width + 2 * 2 * width


@pytest.mark.parametrize(("width", "params_m", "macs_g"), [(192, 5.7, 1.3), (384, 22.1, 4.6)])
def test_deit_has_its_published_size(width, params_m, macs_g) -> None:
    # timm's model cards of deit_tiny_patch16_224 and deit_small_patch16_224 (Touvron et al., ICML 2021).
    # 12 blocks with heads of 64 channels, 196 patches of 16 x 16 pixels and a token, a classifier
    block = encoder_block(197, width, width // 64, 4 * width)
    patches, classifier = Layer(K=width, C=3, P=14, Q=14, R=16, S=16), Layer(K=1000, C=width)
    others = width + width + 197 * width + 2 * width + 1000  # bias of patches, token, positions, normalisation, bias
    params = 12 * block.params + patches.weight_elements + classifier.weight_elements + others
    assert round(params / 1e6, 1) == params_m
    assert round((12 * block.macs + patches.macs + classifier.macs) / 1e9, 1) == macs_g


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 5))
def test_products_of_activations_multiply_out(rows, others, heads, depth) -> None:
    net = NetworkBuilder("n", channels=1, height=1)
    net.shapes |= {"q": TensorShape(heads * depth, 1, rows), "k": TensorShape(heads * depth, 1, others)}
    scores = net.matmul("scores", "q", "k", heads=heads, transpose=True)
    assert net.shapes[scores] == TensorShape(heads * others, 1, rows)
    mixed = net.matmul("mix", scores, "k", heads=heads)
    assert net.shapes[mixed] == TensorShape(heads * depth, 1, rows)
    for node, left in zip(net.nodes, ("q", "scores"), strict=True):
        assert isinstance(node.op, Layer) and node.op.dynamic_weights and node.op.kind == "matmul"
        assert node.inputs == (left, "k")
        assert node.op.macs == heads * rows * others * depth
        assert node.op.input_elements == net.shapes[left].elements
        assert node.op.weight_elements == net.shapes["k"].elements
        assert node.op.output_elements == node.output.elements
        assert node.params == 0


def test_pixels_of_an_image_are_rows() -> None:
    net = NetworkBuilder("n", channels=6, height=2, width=3)
    net.matmul("gram", "input", "input", transpose=True)
    assert net.nodes[0].op == Layer(K=6, C=6, P=3, Q=2, dynamic_weights=True)
    assert net.shapes["gram"] == TensorShape(6, 2, 3)


@pytest.mark.parametrize(
    ("shapes", "options"),
    [
        ((TensorShape(8, 1, 4), TensorShape(6, 1, 4)), {"transpose": True}),
        ((TensorShape(8, 1, 4), TensorShape(8, 1, 4)), {"transpose": True, "heads": 3}),
        ((TensorShape(8, 1, 4), TensorShape(8, 1, 4)), {"heads": 1}),
        ((TensorShape(8, 1, 4), TensorShape(7, 1, 4)), {"heads": 2}),
        ((TensorShape(8, 1, 4), TensorShape(8, 1, 4)), {"transpose": True, "heads": 0}),
    ],
)
def test_products_that_do_not_fit_are_refused(shapes, options) -> None:
    net = NetworkBuilder("n", channels=1, height=1)
    net.shapes |= dict(zip(("left", "right"), shapes, strict=True))
    with pytest.raises(WorkloadError, match=r"n: product: cannot multiply TensorShape.* heads \(transpose: "):
        net.matmul("product", "left", "right", **options)


def test_an_upsampling_that_shrinks_is_refused() -> None:
    with pytest.raises(WorkloadError, match="n: up: scale 0 must be at least 1"):
        NetworkBuilder("n", channels=1, height=4).upsample("up", 0)


def test_attention_reads_what_the_paper_says() -> None:
    # Vaswani et al., "Attention is all you need", NeurIPS 2017, figure 2
    network = encoder_block(4, 8, 2, 16)
    reads = {node.name: node.inputs for node in network.nodes}
    assert reads["self.scores"] == ("self.query", "self.key")
    assert reads["self.softmax"] == ("self.scores",)
    assert reads["self.mix"] == ("self.softmax", "self.value")
    assert reads["self.project"] == ("self.mix",)
    assert {reads[f"self.{part}"] for part in ("query", "key", "value")} == {("norm1",)}
    softmax = next(node.op for node in network.nodes if node.name == "self.softmax")
    assert softmax == VectorOp("softmax", 5 * 2 * 4 * 4, 2 * 4 * 4, 2 * 4 * 4)


def test_it_runs_on_a_target_and_is_read_back_from_its_file() -> None:
    network = encoder_block(4, 8, 2, 16)
    assert network_from_json(network_to_json(network)) == network
    cost = load_target("edge_tpu").evaluate(network, effort=20)
    assert [row.kind for row in cost.layers].count("matmul") == 2
    assert all(row.energy_pj > 0 for row in cost.operations)
