"""The builder works out every shape, and refuses what cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel_models.errors import WorkloadError
from accel_models.network_builder import NetworkBuilder, make_divisible
from accel_models.workload import Layer, TensorShape, VectorOp


def naive_windows(size: int, window: int, stride: int, padding: int, ceil_mode: bool) -> int:
    """Slide the window along.

    With `ceil_mode` one more may hang over the end, where the one before does not reach it and it starts inside.
    """
    count = 0
    while True:
        start = count * stride - padding
        fits = start + window <= size + padding
        hangs_over = ceil_mode and start - stride + window < size + padding and start < size
        if not fits and not hangs_over:
            return count
        count += 1


@given(st.floats(0.1, 5000), st.sampled_from([4, 8, 16]))
def test_make_divisible_gives_a_multiple_not_much_smaller(value, divisor):
    rounded = make_divisible(value, divisor)
    assert rounded % divisor == 0
    assert rounded >= divisor
    assert rounded >= 0.9 * value
    assert rounded <= max(divisor, value + divisor)


def test_make_divisible_is_mobilenets_rule():
    # torchvision's MobileNetV3-Large squeeze layers (72 / 4 -> 24, 120 / 4 -> 32), MobileNetV2's widths at 0.35 and 1.4
    assert [make_divisible(value) for value in (18, 30, 120, 168, 240)] == [24, 32, 120, 168, 240]
    assert [make_divisible(width * 0.35) for width in (32, 16, 24, 32, 64, 96, 160)] == [16, 8, 8, 16, 24, 32, 56]
    assert [make_divisible(width * 1.4) for width in (32, 16, 24, 320)] == [48, 24, 32, 448]


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 4), st.integers(1, 3), st.integers(0, 3))
def test_a_window_is_counted_as_if_slid_along(size, kernel, stride, dilation, padding):
    net = NetworkBuilder("n", 1, size)
    window = dilation * (kernel - 1) + 1
    expected = naive_windows(size, window, stride, padding, False)
    if not expected:
        with pytest.raises(WorkloadError, match="does not fit"):
            net.conv("c", 1, kernel, stride=stride, dilation=dilation, padding=padding)
    else:
        made = net.conv("c", 1, kernel, stride=stride, dilation=dilation, padding=padding)
        assert net.shapes[made].height == expected
        assert net.nodes[0].op.input_width <= size + 2 * padding


@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 9), st.data())
def test_a_pool_that_rounds_up_has_one_more_window_over_the_end(size, kernel, stride, data):
    padding = data.draw(st.integers(0, kernel // 2))
    net = NetworkBuilder("n", 1, size)
    expected = naive_windows(size, kernel, stride, padding, True)
    if not expected:
        with pytest.raises(WorkloadError, match="does not fit"):
            net.pool("p", kernel, stride=stride, padding=padding, ceil_mode=True)
    else:
        assert net.shapes[net.pool("p", kernel, stride=stride, padding=padding, ceil_mode=True)].width == expected


@given(st.integers(1, 300), st.sampled_from([1, 3, 5, 7]), st.integers(1, 4))
def test_same_padding_is_that_of_half_the_window(size, kernel, stride):
    net = NetworkBuilder("n", 1, size)
    same = net.conv("same", 1, kernel, stride=stride)
    half = net.conv("half", 1, kernel, stride=stride, padding=kernel // 2, x="input")
    assert net.shapes[same] == net.shapes[half]


def test_width_and_height_are_told_apart():
    net = NetworkBuilder("n", 3, height=10, width=20)
    made = net.conv("c", 8, 3, stride=2)
    assert net.shapes[made] == TensorShape(8, height=5, width=10)
    assert net.nodes[0].op == Layer(K=8, C=3, P=10, Q=5, R=3, S=3, stride_w=2, stride_h=2)


def test_a_convolution_counts_two_parameters_per_normalised_channel_and_one_per_bias():
    net = NetworkBuilder("n", 3, 8)
    net.conv("normalised", 8, 3)
    net.conv("biased", 8, 3, batch_norm=False, bias=True)
    net.conv("grouped", 8, 3, groups=4, batch_norm=False)
    assert [made.params for made in net.nodes] == [8 * 3 * 9 + 16, 8 * 8 * 9 + 8, 8 * 2 * 9]


def test_a_fully_connected_layer_reads_the_whole_image():
    net = NetworkBuilder("n", 2, 3)
    net.linear("fc", 5)
    assert net.nodes[0].op == Layer(K=5, C=18)
    assert net.nodes[0].params == 5 * 18 + 5


def test_an_activation_is_fused_right_behind_a_layer_only():
    net = NetworkBuilder("n", 4, 8)
    first = net.conv("a", 4, 3, activation="relu")
    second = net.conv("b", 4, 3)
    net.add("sum", first, second)
    net.activation("late")
    net.activation("far", x="b")
    fused = {made.name: made.op.fused for made in net.nodes if isinstance(made.op, VectorOp)}
    assert fused == {"a.relu": True, "sum": False, "late": False, "far": False}


def test_up_conv_has_one_mac_per_output_and_input_channel():
    net = NetworkBuilder("n", 6, 5, 7)
    made = net.up_conv("up", 3)
    assert net.shapes[made] == TensorShape(3, 10, 14)
    network = net.build()
    assert network.macs == (3 * 10 * 14) * 6
    assert (
        network.params == 6 * 3 * 2 * 2 + 3
    )  # the weights of torch's ConvTranspose2d(6, 3, 2, stride=2), and its bias
    assert sum(layer.output_elements for _, layer in network.layers) == 3 * 10 * 14


def test_squeeze_and_excite_is_two_small_layers_with_bias():
    net = NetworkBuilder("n", 32, 14)
    net.squeeze_excite("se", 8)
    network = net.build()
    assert network.macs == 2 * 32 * 8
    assert network.params == 2 * 32 * 8 + 8 + 32
    assert net.shapes[net.last] == TensorShape(32, 14, 14)


def test_mbconv_is_expand_depthwise_gate_project_and_residual():
    net = NetworkBuilder("n", 16, 8)
    net.mbconv("b", 16, 5, 4, squeeze_excite=True, activation="h_swish")
    assert [made.name for made in net.nodes] == [
        "b.expand", "b.expand.h_swish", "b.depthwise", "b.depthwise.h_swish",
        "b.se.pool", "b.se.reduce", "b.se.reduce.relu", "b.se.expand", "b.se.expand.hard_sigmoid", "b.se.scale",
        "b.project", "b.add",
    ]  # fmt: skip
    assert [str(layer) for _, layer in net.build().layers] == [
        "K64 C16 P8 Q8",
        "P8 Q8 R5 S5 G64",
        "K16 C64",
        "K64 C16",
        "K16 C64 P8 Q8",
    ]
    assert net.nodes[-1].inputs == ("input", "b.project")


@pytest.mark.parametrize(
    ("options", "out_channels", "joined"),
    [
        ({}, 16, True),
        ({"stride": 2}, 16, False),
        ({}, 24, False),
        ({"residual": False}, 16, False),
    ],
)
def test_mbconv_has_a_residual_where_shapes_agree(options, out_channels, joined):
    net = NetworkBuilder("n", 16, 8)
    net.mbconv("b", out_channels, 3, 3, **options)
    assert (net.last == "b.add") == joined


def test_mbconv_leaves_out_an_expand_layer_that_would_change_nothing():
    for options in ({}, {"expand": 1}, {"middle": 16}):
        net = NetworkBuilder("n", 16, 8)
        net.mbconv("b", 8, 3, **options)
        assert [name for name, _ in net.build().layers] == ["b.depthwise", "b.project"]
    net = NetworkBuilder("n", 16, 8)
    net.mbconv("b", 8, 3, middle=72)  # as MobileNetV3 gives it; 4.5 x 16
    assert net.nodes[0].op == Layer(K=72, C=16, P=8, Q=8)


def test_adaptive_pool_averages_what_torch_averages():
    net = NetworkBuilder("n", 2, 10, 7)
    made = net.adaptive_pool("p", 7)
    rows = [
        set(range(i * 10 // 7, (i * 10 + 10 + 6) // 7)) for i in range(7)
    ]  # start floor(i n / s), end ceil((i+1) n / s)
    assert set.union(*rows) == set(range(10))
    assert net.shapes[made] == TensorShape(2, 7, 7)
    assert net.nodes[0].op.operations == 2 * sum(map(len, rows)) * 7
    assert net.adaptive_pool("q", 7) == made  # nothing to do


def test_crop_and_concat_move_no_data():
    net = NetworkBuilder("n", 3, 9)
    cut = net.crop("cut", 5, 6)
    joined = net.concat("both", cut, cut)
    assert net.shapes[joined] == TensorShape(6, 5, 6)
    assert [(made.op.operations, made.op.input_elements, made.op.output_elements) for made in net.nodes] == [
        (0, 0, 0)
    ] * 2


def test_a_continuation_joins_what_was_made_elsewhere():
    whole = NetworkBuilder("n", 8, 16)
    whole.conv("a", 16, 3)
    whole.mbconv("b", 16, 3, 4)
    start = NetworkBuilder("n", 8, 16)
    start.conv("a", 16, 3)
    rest = NetworkBuilder.after("n", start.last, start.shapes[start.last])
    rest.mbconv("b", 16, 3, 4)
    assert start.nodes + rest.nodes == whole.nodes
    with pytest.raises(WorkloadError, match="reads 'a', which no earlier node makes"):
        rest.build()


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda net: net.conv("c", 8, 3, groups=5), "n: c: 6 -> 8 channels do not divide into 5 groups"),
        (lambda net: net.conv("c", 8, 3, groups=0), "do not divide into 0 groups"),
        (lambda net: net.conv("c", 8, 12, padding=0), "n: c: a window of 12 .* does not fit into 8 x 8 elements"),
        (lambda net: net.conv("c", 8, 5, dilation=3, padding=2), "a window of 5 .dilation 3. does not fit"),
        (lambda net: net.conv("c", 8, 3, stride=0), "n: c: kernel 3, stride 0 .* at least 1"),
        (lambda net: net.conv("c", 8, 0), "kernel 0"),
        (lambda net: net.conv("c", 8, 3, padding=-1), "padding -1 at least 0"),
        (lambda net: net.conv("c", 0, 3), "0 x 8 x 8 elements is empty"),
        (lambda net: net.conv("c", 8, 3, x="inputs"), "unknown tensor 'inputs': did you mean 'input'"),
        (lambda net: net.linear("fc", 0), "layer: K = 0"),
        (lambda net: net.pool("p", 9, padding=0), "n: p: a window of 9"),
        (lambda net: net.crop("c", 9, 8), "n: c: cannot crop .* to 9 x 8"),
        (lambda net: net.add("s", "input", "elsewhere"), "unknown tensor 'elsewhere'"),
        (lambda net: net.add("s", "input", net.global_pool("g")), "n: s: cannot add tensors of shape"),
        (lambda net: net.multiply("s", "input", net.pool("g", 2)), "cannot multiply tensors of shape"),
        (lambda net: net.concat("s", "input", net.pool("g", 2)), "cannot join images of different size"),
        (lambda net: net.conv(net.conv("c", 8, 3), 8, 3), "n: two nodes are called 'c'"),
        (lambda net: net.conv("input", 8, 3), "two nodes are called 'input'"),
    ],
)
def test_an_impossible_operation_is_refused_with_network_and_name(act, said):
    with pytest.raises(WorkloadError, match=said):
        act(NetworkBuilder("n", 6, 8))


def test_an_impossible_input_is_refused():
    with pytest.raises(WorkloadError, match="is empty"):
        NetworkBuilder("n", 3, 0)
