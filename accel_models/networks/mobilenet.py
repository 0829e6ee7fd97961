"""MobileNetV2 (Sandler et al., CVPR 2018) and MobileNetV3-Large (Howard et al., ICCV 2019), as in torchvision."""

from __future__ import annotations

from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network

# expand ratio, output channels, repeats, stride of the first (Sandler et al., table 2)
_V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))

# kernel, middle channels, output channels, squeeze-and-excite, activation, stride (Howard et al., table 1)
_V3_BLOCKS = (
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "h_swish", 2),
    (3, 200, 80, False, "h_swish", 1),
    (3, 184, 80, False, "h_swish", 1),
    (3, 184, 80, False, "h_swish", 1),
    (3, 480, 112, True, "h_swish", 1),
    (3, 672, 112, True, "h_swish", 1),
    (5, 672, 160, True, "h_swish", 2),
    (5, 960, 160, True, "h_swish", 1),
    (5, 960, 160, True, "h_swish", 1),
)


def mobilenet_v2(resolution: int = 224) -> Network:
    """Return MobileNetV2 of width 1.0 for a square RGB image of `resolution` pixels."""
    net = NetworkBuilder("mobilenet-v2", height=resolution)
    net.conv("stem", 32, 3, stride=2, activation="relu6")
    for stage, (expand, width, repeats, stride) in enumerate(_V2_STAGES, 1):
        for block in range(1, repeats + 1):
            net.mbconv(f"stage{stage}.block{block}", width, 3, expand, stride=stride if block == 1 else 1)
    net.conv("head", 1280, 1, activation="relu6")
    net.global_pool("pool")
    net.linear("classifier", 1000)
    return net.build("torchvision; Sandler et al., CVPR 2018")


def mobilenet_v3_large(resolution: int = 224) -> Network:
    """Return MobileNetV3-Large of width 1.0 for a square RGB image of `resolution` pixels."""
    net = NetworkBuilder("mobilenet-v3-large", height=resolution, batch_norm_eps=1e-3)
    net.conv("stem", 16, 3, stride=2, activation="h_swish")
    for position, (kernel, middle, width, gated, activation, stride) in enumerate(_V3_BLOCKS, 1):
        net.mbconv(
            f"block{position}",
            width,
            kernel,
            middle=middle,
            stride=stride,
            squeeze_excite=gated,
            activation=activation,
        )
    net.conv("head", 960, 1, activation="h_swish")
    net.global_pool("pool")
    net.linear("feature_mix", 1280, activation="h_swish")
    net.linear("classifier", 1000)
    return net.build("torchvision; Howard et al., ICCV 2019")
