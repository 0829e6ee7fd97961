"""Every operation computes what its formula, or torch's own module of that kind, computes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from accel_models.blocks import decoder_layer, encoder_layer
from accel_models.detail import Detail
from accel_models.errors import WorkloadError
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Layer, Network, Node, TensorShape
from cosearch.supernet.network_module import NetworkModule


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def module_of(net: NetworkBuilder) -> NetworkModule:
    torch.manual_seed(0)
    module = NetworkModule(net.build()).eval()
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            buffer.copy_(drawn(*buffer.shape).abs() + 0.5 if "var" in name else drawn(*buffer.shape))
    return module


def result(net: NetworkBuilder, x: Tensor) -> Tensor:
    """What the last node makes; every node's result has the shape that the builder worked out."""
    module = module_of(net)
    with torch.no_grad():
        tensors = module.tensors(x)
    for node in module.network.nodes:
        shape = node.output
        assert tensors[node.name].shape[1:].numel() == shape.elements
        assert tuple(tensors[node.name].shape[1:]) in ((shape.channels, shape.height, shape.width), (shape.channels,))
    return tensors[net.last]


def norm_state(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The state of torch's own batch normalisation."""
    keys = ("weight", "bias", "running_mean", "running_var")
    return {key: state[f"{name}.bn.{key}"].clone() for key in keys} | {"num_batches_tracked": torch.tensor(0)}


FORMULAS = {
    "relu": lambda x: max(x, 0),
    "relu6": lambda x: min(max(x, 0), 6),
    "h_swish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "hard_sigmoid": lambda x: min(max(x + 3, 0), 6) / 6,
    "swish": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_activations_are_their_formulas(name) -> None:
    net = NetworkBuilder("n", channels=41, height=1)
    net.activation("act", name)
    x = torch.linspace(-8, 8, 41)
    expected = torch.tensor([FORMULAS[name](float(value)) for value in x])
    torch.testing.assert_close(result(net, x[None, :, None, None]).flatten(), expected)


def naive_windows(x: Tensor, kernel: int, stride: int, out: int, before: int) -> Tensor:
    """Windows (n, channels, out, out, kernel, kernel) of an image, not-a-number where they leave it."""
    n, channels, size, _ = x.shape
    made = torch.full((n, channels, out, out, kernel, kernel), math.nan)
    for row in range(out):
        for column in range(out):
            for i in range(kernel):
                for j in range(kernel):
                    y, z = row * stride + i - before, column * stride + j - before
                    if 0 <= y < size and 0 <= z < size:
                        made[:, :, row, column, i, j] = x[:, :, y, z]
    return made


def same_padding_before(size: int, kernel: int, stride: int) -> int:
    """The definition: half of an odd window; of an even one the smaller half of what is needed."""
    if kernel % 2:
        return kernel // 2
    return max(0, (math.ceil(size / stride) - 1) * stride + kernel - size) // 2


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (1, 2), (2, 2), (2, 1), (4, 1), (4, 2), (4, 4)])
def test_same_padding_is_its_definition(kernel, stride, size) -> None:
    out, before = math.ceil(size / stride), same_padding_before(size, kernel, stride)
    x = drawn(2, 3, size, size)
    windows = naive_windows(x, kernel, stride, out, before)
    net = NetworkBuilder("n", channels=3, height=size)
    net.pool("pool", kernel, stride=stride)
    torch.testing.assert_close(result(net, x), windows.nan_to_num(-math.inf).amax((4, 5)))
    net = NetworkBuilder("n", channels=3, height=size)
    net.pool("pool", kernel, stride=stride, kind="average", count_padding=False)
    torch.testing.assert_close(result(net, x), windows.nanmean((4, 5)))
    net = NetworkBuilder("n", channels=3, height=size)
    net.pool("pool", kernel, stride=stride, kind="average")
    torch.testing.assert_close(result(net, x), windows.nan_to_num(0).mean((4, 5)))
    net = NetworkBuilder("n", channels=3, height=size)
    net.conv("conv", 4, kernel, stride=stride, batch_norm=False)
    module = module_of(net)
    weight = module.state_dict()["conv.weight"]
    torch.testing.assert_close(
        module.tensors(x)["conv"], torch.einsum("ncxyij,ocij->noxy", windows.nan_to_num(0), weight)
    )


@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({"kernel": 3, "padding": 0, "stride": 2, "ceil_mode": True}, nn.MaxPool2d(3, 2, 0, ceil_mode=True)),
        ({"kernel": 3, "padding": 1, "stride": 2}, nn.MaxPool2d(3, 2, 1)),
        ({"kernel": 3, "padding": 1, "stride": 1, "kind": "average"}, nn.AvgPool2d(3, 1, 1)),
        (
            {"kernel": 3, "padding": 1, "stride": 1, "kind": "average", "count_padding": False},
            nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        ),
        (
            {"kernel": 3, "padding": 1, "stride": 2, "kind": "average", "ceil_mode": True},
            nn.AvgPool2d(3, 2, 1, ceil_mode=True),
        ),
    ],
)
def test_pools_are_torchs(options, reference) -> None:
    net = NetworkBuilder("n", channels=3, height=8)
    net.pool("pool", **options)
    x = drawn(2, 3, 8, 8)
    torch.testing.assert_close(result(net, x), reference(x))


@pytest.mark.parametrize(
    ("groups", "kernel", "stride", "dilation", "padding"),
    [(1, 3, 1, 1, None), (4, 3, 2, 1, None), (8, 5, 1, 2, None), (2, 3, 1, 1, 0), (1, 4, 2, 1, 1)],
)
def test_convolutions_are_torchs(groups, kernel, stride, dilation, padding) -> None:
    net = NetworkBuilder("n", channels=8, height=11, width=9, batch_norm_eps=0.1)
    net.conv("conv", 16, kernel, stride=stride, groups=groups, dilation=dilation, padding=padding, bias=True)
    module = module_of(net)
    state, x = module.state_dict(), drawn(2, 8, 11, 9)
    added = dilation * (kernel - 1) // 2 if padding is None else padding
    conv = nn.Conv2d(8, 16, kernel, stride, added, dilation, groups)
    norm = nn.BatchNorm2d(16, eps=0.1).eval()
    conv.load_state_dict({key: state[f"conv.{key}"] for key in ("weight", "bias")})
    norm.load_state_dict(norm_state(state, "conv"))
    torch.testing.assert_close(result(net, x), norm(conv(x)))


def test_a_window_may_be_of_other_width_than_height() -> None:
    layer = Layer(K=4, C=3, P=9, Q=5, R=1, S=3, stride_h=2)
    node = Node("conv", layer, ("input",), TensorShape(4, 5, 9), 0, Detail("conv"))
    module = NetworkModule(Network("n", (node,), TensorShape(3, 9, 9)))
    conv = nn.Conv2d(3, 4, (3, 1), (2, 1), (1, 0), bias=False)
    conv.load_state_dict({"weight": module.state_dict()["conv.weight"]})
    x = drawn(1, 3, 9, 9)
    torch.testing.assert_close(module(x), conv(x))


def test_an_up_convolution_is_torchs_transposed_one() -> None:
    net = NetworkBuilder("n", channels=3, height=5)
    net.up_conv("up", 4, 3)
    state, x = module_of(net).state_dict(), drawn(2, 3, 5, 5)
    up = nn.ConvTranspose2d(3, 4, 3, 3)
    weight = state["up.weight"].reshape(4, 3, 3, 3).permute(3, 0, 1, 2)  # (out, row, column, in) of a 1x1 layer
    bias = drawn(4, seed=1)
    up.load_state_dict({"weight": weight, "bias": bias})
    module = module_of(net)
    module.load_state_dict({"up.weight": state["up.weight"], "up.bias": bias})
    torch.testing.assert_close(module(x), up(x))


def test_data_is_moved_where_it_belongs() -> None:
    x = drawn(2, 6, 4, 4)

    def made(add) -> Tensor:
        net = NetworkBuilder("n", channels=6, height=4)
        add(net)
        return result(net, x)

    assert torch.equal(made(lambda net: net.slice_channels("s", 2, 3)), x[:, 2:5])
    assert torch.equal(made(lambda net: net.channel_shuffle("s", 2)), x[:, [0, 3, 1, 4, 2, 5]])
    assert torch.equal(made(lambda net: net.crop("s", 3, 2, top=1)), x[:, :, 1:, 1:3])
    assert torch.equal(made(lambda net: net.crop("s", 2, 2)), x[:, :, 1:3, 1:3])
    assert torch.equal(made(lambda net: net.upsample("s", 2)), x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert torch.equal(made(lambda net: net.tokens("s")), x.reshape(2, 6, 1, 16))
    assert torch.equal(made(lambda net: net.zeros("s", 3, stride=2)), torch.zeros(2, 3, 2, 2))
    assert torch.equal(made(lambda net: net.concat("s", "input", "input", along="width")), torch.cat([x, x], 3))
    assert torch.equal(made(lambda net: net.concat("s", "input", "input")), torch.cat([x, x], 1))
    torch.testing.assert_close(made(lambda net: net.adaptive_pool("s", 3)), nn.AdaptiveAvgPool2d(3)(x))
    torch.testing.assert_close(made(lambda net: net.scale("s", 0.5)), x / 2)
    torch.testing.assert_close(made(lambda net: net.global_pool("s")).flatten(1), x.flatten(2).mean(2))


def test_an_inverted_bottleneck_is_written_out() -> None:
    net = NetworkBuilder("n", channels=8, height=6)
    net.mbconv("b", 8, 5, 3, squeeze_excite=True, activation="h_swish")
    module, x = module_of(net), drawn(2, 8, 6, 6)
    state = module.state_dict()

    def layer(name: str, x: Tensor, groups: int = 1) -> Tensor:
        weight = state[f"b.{name}.weight"]
        x = nn.functional.conv2d(x, weight, padding=weight.shape[-1] // 2, groups=groups)
        mean, var, gain, shift = (
            state[f"b.{name}.bn.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gain + shift

    made = nn.functional.hardswish(layer("expand", x))
    made = nn.functional.hardswish(layer("depthwise", made, 24))
    means = made.mean((2, 3))
    gate = (state["b.se.reduce.weight"].flatten(1) @ means.T + state["b.se.reduce.bias"][:, None]).relu()
    gate = state["b.se.expand.weight"].flatten(1) @ gate + state["b.se.expand.bias"][:, None]
    gate = ((gate + 3).clamp(0, 6) / 6).T
    torch.testing.assert_close(module.tensors(x)[net.last], x + layer("project", made * gate[:, :, None, None]))


def rows(x: Tensor) -> Tensor:
    """Tokens (n, channels, 1, tokens) as torch's transformers take them, (n, tokens, channels)."""
    return x.flatten(2).transpose(1, 2)


def attention_state(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    parts = [f"{name}.{part}" for part in ("query", "key", "value")]
    return {
        "in_proj_weight": torch.cat([state[f"{part}.weight"].flatten(1) for part in parts]),
        "in_proj_bias": torch.cat([state[f"{part}.bias"] for part in parts]),
        "out_proj.weight": state[f"{name}.project.weight"].flatten(1),
        "out_proj.bias": state[f"{name}.project.bias"],
    }


def with_random_biases(module: NetworkModule) -> NetworkModule:
    with torch.no_grad():
        for number, (name, parameter) in enumerate(module.named_parameters()):
            if name.endswith("bias"):
                parameter.copy_(drawn(*parameter.shape, seed=number))
    return module


def test_attention_is_torchs() -> None:
    net = NetworkBuilder("n", channels=12, height=2, width=5)
    net.attention("a", 3)
    module, x = with_random_biases(module_of(net)), drawn(2, 12, 2, 5)
    reference = nn.MultiheadAttention(12, 3, batch_first=True).eval()
    reference.load_state_dict(attention_state(module.state_dict(), "a"))
    expected = reference(rows(x), rows(x), rows(x))[0]
    torch.testing.assert_close(rows(module(x)), expected)


def perceptron_state(state: dict[str, Tensor], norms: tuple[str, ...]) -> dict[str, Tensor]:
    made = {}
    for ours, theirs in (("layer.mlp.expand", "linear1"), ("layer.mlp.project", "linear2")):
        made |= {f"{theirs}.weight": state[f"{ours}.weight"].flatten(1), f"{theirs}.bias": state[f"{ours}.bias"]}
    return made | {f"{norm}.{key}": state[f"layer.{norm}.{key}"] for norm in norms for key in ("weight", "bias")}


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{key}": tensor for key, tensor in state.items()}


@pytest.mark.parametrize("norm_first", [True, False])
def test_an_encoder_layer_is_torchs(norm_first) -> None:
    net = NetworkBuilder("n", channels=12, height=1, width=7)
    encoder_layer(net, "layer", 3, 20, norm_first=norm_first)
    module, x = with_random_biases(module_of(net)), drawn(2, 12, 1, 7)
    state = module.state_dict()
    reference = nn.TransformerEncoderLayer(12, 3, 20, activation="gelu", batch_first=True, norm_first=norm_first).eval()
    reference.load_state_dict(
        prefixed("self_attn", attention_state(state, "layer.attention")) | perceptron_state(state, ("norm1", "norm2"))
    )
    torch.testing.assert_close(rows(module(x)), reference(rows(x)), rtol=1e-4, atol=1e-5)


def test_a_decoder_layer_is_torchs() -> None:
    net = NetworkBuilder("n", channels=12, height=1, width=16)
    memory = net.crop("memory", 1, 9, left=7)
    net.crop("target", 1, 7, "input", left=0)
    decoder_layer(net, "layer", 3, 20, memory)
    module, x = with_random_biases(module_of(net)), drawn(2, 12, 1, 16)
    state = module.state_dict()
    reference = nn.TransformerDecoderLayer(12, 3, 20, batch_first=True).eval()
    reference.load_state_dict(
        prefixed("self_attn", attention_state(state, "layer.attention"))
        | prefixed("multihead_attn", attention_state(state, "layer.cross"))
        | perceptron_state(state, ("norm1", "norm2", "norm3"))
    )
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    expected = reference(rows(x[..., :7]), rows(x[..., 7:]), tgt_mask=mask)
    torch.testing.assert_close(rows(module(x)), expected, rtol=1e-4, atol=1e-5)


def test_a_vision_transformer_reads_its_class_token() -> None:
    net = NetworkBuilder("n", channels=3, height=8)
    net.conv("patch", 12, 4, stride=4, padding=0, batch_norm=False, bias=True)
    net.tokens("tokens")
    net.class_token("class_token")
    net.position_embedding("positions")
    net.layer_norm("norm")
    net.crop("first", 1, 1, left=0)
    net.linear("head", 5)
    module, x = module_of(net), drawn(2, 3, 8, 8)
    state = module.state_dict()
    first = state["class_token.weight"] + state["positions.weight"][:, 0, 0]
    expected = nn.functional.layer_norm(first, (12,)) @ state["head.weight"].T + state["head.bias"]
    torch.testing.assert_close(module(x), expected.expand(2, 5))


def test_a_batch_normalisation_may_stand_alone() -> None:
    net = NetworkBuilder("n", channels=3, height=4)
    net.batch_norm("norm")
    module, x = module_of(net).train(), drawn(4, 3, 4, 4)
    reference = nn.BatchNorm2d(3)
    reference.load_state_dict(norm_state(module.state_dict(), "norm"))
    torch.testing.assert_close(module(x), reference(x))
    torch.testing.assert_close(module.state_dict()["norm.bn.running_var"], reference.running_var)


def test_a_network_that_does_not_say_what_it_computes_is_refused() -> None:
    network = Network("plain", (Node("one", Layer(K=2, C=4), ("input",), TensorShape(2)),), TensorShape(4))
    with pytest.raises(WorkloadError, match="network 'plain': node 'one' does not say what it computes"):
        NetworkModule(network)
