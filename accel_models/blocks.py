"""The building blocks of the field, as functions that add one to a network.

Inverted bottlenecks, squeeze-and-excitation and attention are methods of `NetworkBuilder`: most networks have them.
"""

from __future__ import annotations

from accel_models.errors import WorkloadError
from accel_models.network_builder import NetworkBuilder


def bottleneck(
    net: NetworkBuilder,
    name: str,
    middle: int,
    out_channels: int,
    stride: int = 1,
    *,
    groups: int = 1,
    pooled: bool = False,
    activation: str = "relu",
) -> str:
    """Add a bottleneck: 1x1 to `middle` channels, 3x3 with the stride, 1x1 to `out_channels`, residual, activation.

    With `groups`, its 3x3 layer is a grouped one (ResNeXt: Xie et al., CVPR 2017, figure 3c). Where the shape changes,
    the residual is a 1x1 convolution: with the stride, or, where `pooled`, after an average pool with it (ResNet-D: He
    et al., Bag of Tricks, CVPR 2019, figure 2c).
    """
    source = net.last
    net.conv(f"{name}.conv1", middle, 1, activation=activation)
    net.conv(f"{name}.conv2", middle, 3, stride=stride, groups=groups, activation=activation)
    made = net.conv(f"{name}.conv3", out_channels, 1)
    return residual(net, name, source, made, stride, pooled=pooled, activation=activation)


def residual(
    net: NetworkBuilder,
    name: str,
    source: str,
    made: str,
    stride: int = 1,
    *,
    pooled: bool = False,
    activation: str = "relu",
) -> str:
    """Add `source` to what a block made of it, then the activation; where shapes differ, `source` is projected first."""
    if net.shapes[source] != net.shapes[made]:
        if pooled and stride > 1:
            source = net.pool(f"{name}.downsample.pool", stride, kind="average", count_padding=False, x=source)
            stride = 1
        source = net.conv(f"{name}.downsample", net.shapes[made].channels, 1, stride=stride, x=source)
    return net.activation(f"{name}.{activation}", activation, x=net.add(f"{name}.add", source, made))


def depthwise_separable(
    net: NetworkBuilder,
    name: str,
    out_channels: int,
    kernel: int = 3,
    stride: int = 1,
    *,
    dilation: int = 1,
    activation: str = "relu",
) -> str:
    """Add a depth-wise and a 1x1 convolution, each with batch normalisation and activation.

    Howard et al., MobileNets, arXiv:1704.04861, figure 3.
    """
    channels = net.shapes[net.last].channels
    net.conv(
        f"{name}.depthwise", channels, kernel, stride=stride, groups=channels, dilation=dilation, activation=activation
    )
    return net.conv(f"{name}.pointwise", out_channels, 1, activation=activation)


def shuffle_block(
    net: NetworkBuilder, name: str, out_channels: int, stride: int = 1, *, kernel: int = 3, activation: str = "relu"
) -> str:
    """Add a block of ShuffleNetV2 (Ma et al., ECCV 2018, figure 3c and d): half the channels pass, all are shuffled.

    With stride 1, half of the channels are passed on and the other half goes through 1x1, depth-wise and 1x1 layers.
    With another stride both halves come from the whole input, the passed one through a depth-wise and a 1x1 layer.

    Raises
    ------
    WorkloadError
        If the channels cannot be halved, or change at stride 1.
    """
    source = net.last
    channels = net.shapes[source].channels
    if out_channels % 2 or (stride == 1 and channels != out_channels):
        raise WorkloadError(
            f"{net.name}: {name}: a shuffle block of stride {stride} cannot make {out_channels} of {channels} channels; "
            "it makes an even number, at stride 1 as many as it reads"
        )
    half = out_channels // 2
    if stride == 1:
        passed = net.slice_channels(f"{name}.passed", 0, half, x=source)
        source = net.slice_channels(f"{name}.changed", half, half, x=source)
    else:
        net.conv(f"{name}.passed.depthwise", channels, kernel, stride=stride, groups=channels, x=source)
        passed = net.conv(f"{name}.passed.pointwise", half, 1, activation=activation)
    net.conv(f"{name}.expand", half, 1, activation=activation, x=source)
    net.conv(f"{name}.depthwise", half, kernel, stride=stride, groups=half)
    made = net.conv(f"{name}.project", half, 1, activation=activation)
    net.concat(f"{name}.concat", passed, made)
    return net.channel_shuffle(f"{name}.shuffle", 2)


def feed_forward(net: NetworkBuilder, name: str, hidden: int, *, activation: str = "gelu") -> str:
    """Add a transformer's perceptron: every token through two fully connected layers with biases."""
    channels = net.shapes[net.last].channels
    net.conv(f"{name}.expand", hidden, 1, batch_norm=False, bias=True, activation=activation)
    return net.conv(f"{name}.project", channels, 1, batch_norm=False, bias=True)


def encoder_layer(
    net: NetworkBuilder,
    name: str,
    heads: int,
    hidden: int,
    *,
    width: int | None = None,
    norm_first: bool = True,
    activation: str = "gelu",
) -> str:
    """Add a transformer's encoder layer: self-attention and perceptron, each with residual and layer normalisation.

    The normalisation comes before each (ViT: Dosovitskiy et al., ICLR 2021) or, with `norm_first` False, after the sum
    (Vaswani et al., NeurIPS 2017). `width` is that of queries, keys and values.
    """
    source = net.last
    if norm_first:
        net.layer_norm(f"{name}.norm1")
    made = net.add(f"{name}.add1", source, net.attention(f"{name}.attention", heads, width=width))
    if not norm_first:
        made = net.layer_norm(f"{name}.norm1")
    return _perceptron(net, name, made, hidden, "2", norm_first, activation)


def decoder_layer(
    net: NetworkBuilder,
    name: str,
    heads: int,
    hidden: int,
    memory: str,
    *,
    memory_heads: int | None = None,
    width: int | None = None,
    activation: str = "relu",
) -> str:
    """Add a transformer's decoder layer (Vaswani et al., NeurIPS 2017, figure 1), normalised after each sum.

    Causal self-attention, attention to the encoder's tokens `memory`, perceptron.
    """
    source = net.last
    net.add(f"{name}.add1", source, net.attention(f"{name}.attention", heads, width=width, causal=True))
    source = net.layer_norm(f"{name}.norm1")
    asked = net.attention(f"{name}.cross", memory_heads or heads, memory=memory, width=width)
    net.add(f"{name}.add2", source, asked)
    return _perceptron(net, name, net.layer_norm(f"{name}.norm2"), hidden, "3", False, activation)


def _perceptron(
    net: NetworkBuilder, name: str, source: str, hidden: int, number: str, norm_first: bool, activation: str
) -> str:
    if norm_first:
        net.layer_norm(f"{name}.norm{number}")
    made = net.add(f"{name}.add{number}", source, feed_forward(net, f"{name}.mlp", hidden, activation=activation))
    return made if norm_first else net.layer_norm(f"{name}.norm{number}")
