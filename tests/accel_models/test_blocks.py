"""Blocks have the layers of their papers' figures, counted by hand; operations that move data cost nothing."""

from __future__ import annotations

import pytest

from accel_models.blocks import bottleneck, decoder_layer, depthwise_separable, encoder_layer, shuffle_block
from accel_models.errors import WorkloadError
from accel_models.executable import check_executable
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Layer, TensorShape


def image(channels: int = 8, size: int = 6) -> NetworkBuilder:
    return NetworkBuilder("n", channels=channels, height=size)


def test_a_resnext_block_has_the_parameters_of_its_table() -> None:
    # Xie et al., CVPR 2017, section 4.2: 256 x 128 + 3 x 3 x 4 x 128 + 128 x 256 weights, some 70 thousand
    net = image(256)
    bottleneck(net, "b", 128, 256, groups=32)
    weights = sum(layer.weight_elements for _, layer in net.build().layers)
    assert weights == 256 * 128 + 3 * 3 * 4 * 128 + 128 * 256


def test_the_pooled_projection_averages_before_it() -> None:
    net = image(8, 7)
    bottleneck(net, "b", 4, 16, 2, pooled=True)
    pool = next(node for node in net.nodes if node.name == "b.downsample.pool")
    assert (pool.detail.function, pool.detail.count_padding) == ("average_pool", False)
    assert net.shapes[net.last] == TensorShape(16, 4, 4)
    check_executable(net.build())


def test_a_depthwise_separable_block_is_two_layers() -> None:
    # Howard et al., 2017, equation 5, with a 3x3 kernel: (9 + N) M pixels
    net = image(8, 6)
    depthwise_separable(net, "b", 20)
    assert net.build().macs == (9 + 20) * 8 * 36


@pytest.mark.parametrize(("stride", "out"), [(1, 8), (2, 12)])
def test_a_shuffle_block_halves_joins_and_shuffles(stride, out) -> None:
    net = image(8, 6)
    shuffle_block(net, "b", out, stride)
    network = net.build()
    check_executable(network)
    assert net.shapes[net.last] == TensorShape(out, 6 // stride, 6 // stride)
    assert [node.detail.function for node in network.nodes][-2:] == ["concat", "channel_shuffle"]
    half, read = out // 2, 4 if stride == 1 else 8
    pixels = 36 // stride**2
    main = 36 * read * half + 9 * half * pixels + half * half * pixels
    assert network.macs == main + (0 if stride == 1 else 9 * 8 * pixels + 8 * half * pixels)


@pytest.mark.parametrize(("stride", "out"), [(1, 10), (2, 7)])
def test_channels_that_a_shuffle_block_cannot_make_are_refused(stride, out) -> None:
    with pytest.raises(WorkloadError, match=f"a shuffle block of stride {stride} cannot make {out} of 8 channels"):
        shuffle_block(image(), "b", out, stride)


def test_an_encoder_layer_has_the_parameters_of_vits() -> None:
    # Dosovitskiy et al., ICLR 2021, table 1: ViT-Base has 86 M parameters, 12 such layers and 0.8 M beside them
    net = NetworkBuilder("n", channels=768, height=1, width=197)
    encoder_layer(net, "layer", 12, 3072)
    assert net.build().params == 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    check_executable(net.build())


def test_a_decoder_layer_attends_to_what_the_encoder_made() -> None:
    net = NetworkBuilder("n", channels=6, height=1, width=5)
    net.shapes["memory"] = TensorShape(8, 1, 9)
    decoder_layer(net, "layer", 2, 16, "memory", width=4)
    reads = {node.name: node for node in net.nodes}
    assert reads["layer.cross.key"].inputs == reads["layer.cross.value"].inputs == ("memory",)
    assert reads["layer.cross.scores"].op == Layer(K=9, C=2, P=5, G=2, dynamic_weights=True)
    assert reads["layer.attention.softmax"].detail.causal and not reads["layer.cross.softmax"].detail.causal
    assert reads["layer.cross.scores"].detail.scale == pytest.approx(2**-0.5)
    assert net.shapes[net.last] == TensorShape(6, 1, 5)


@pytest.mark.parametrize(
    ("add", "shape"),
    [
        (lambda net: net.slice_channels("x", 2, 3), TensorShape(3, 6, 6)),
        (lambda net: net.channel_shuffle("x", 4), TensorShape(8, 6, 6)),
        (lambda net: net.crop("x", 5, 4, top=1), TensorShape(8, 5, 4)),
        (lambda net: net.tokens("x"), TensorShape(8, 1, 36)),
        (lambda net: net.zeros("x", 4, stride=4), TensorShape(4, 2, 2)),
        (lambda net: net.concat("x", "input", "input", along="width"), TensorShape(8, 6, 12)),
    ],
)
def test_what_only_moves_data_is_free(add, shape) -> None:
    net = image()
    add(net)
    (node,) = net.nodes
    assert node.output == shape
    assert (node.op.operations, node.op.input_elements, node.op.output_elements, node.params) == (0, 0, 0, 0)  # type: ignore[union-attr]
    check_executable(net.build())


def test_what_is_learned_beside_layers_counts_as_parameters() -> None:
    net = NetworkBuilder("n", channels=6, height=1, width=9)
    net.class_token("token")
    net.position_embedding("positions")
    net.batch_norm("norm")
    net.scale("scale", 0.5)
    assert [node.params for node in net.nodes] == [6, 60, 12, 0]
    assert [node.op.operations for node in net.nodes] == [0, 60, 120, 60]  # type: ignore[union-attr]
    check_executable(net.build())


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (lambda net: net.slice_channels("x", 6, 3), "channels 6 to 8 are not among 8"),
        (lambda net: net.channel_shuffle("x", 3), "8 channels do not divide into 3 groups"),
        (lambda net: net.crop("x", 6, 6, top=1), "cannot crop"),
        (lambda net: net.class_token("x"), "is no row of tokens"),
        (lambda net: net.softmax("x", heads=3), "8 channels do not divide into 3 heads"),
        (lambda net: net.activation("x", "rleu"), "unknown activation 'rleu': did you mean 'relu'?"),
        (lambda net: net.conv("x", 8, 1, activation="rleu"), "unknown activation 'rleu'"),
        (lambda net: net.pool("x", 2, kind="avg"), "unknown kind of pool 'avg'"),
        (lambda net: net.concat("x", "input", net.pool("p", 2), along="width"), "of different size along width"),
    ],
)
def test_an_operation_that_cannot_be_is_refused_with_its_name(add, said) -> None:
    with pytest.raises(WorkloadError, match="n: ") as caught:
        add(image())
    assert said in str(caught.value)
