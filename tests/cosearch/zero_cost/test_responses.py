"""Scores from responses, against slow definitions: bits compared one by one, Jacobians by differences, variances by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accel_models.network_builder import NetworkBuilder
from cosearch.errors import CosearchError
from cosearch.spaces.nas_bench_201 import NasBench201

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from cosearch.zero_cost.fresh import fresh_module, random_images, random_labels  # noqa: E402
from cosearch.zero_cost.responses import jacob_cov, naswot, zen  # noqa: E402

from .slow_network import differences, forward, tiny, weights_of  # noqa: E402

SEED = 5


@pytest.fixture(scope="module")
def batch() -> tuple:
    return random_images(tiny(), 5, SEED), random_labels(tiny(), 5, SEED)


def slow_kernel(codes: list[np.ndarray], counts: list[int]) -> np.ndarray:
    images = len(codes[0])
    kernel = np.zeros((images, images))
    for code, count in zip(codes, counts, strict=True):
        for i in range(images):
            for j in range(images):
                kernel[i, j] += count * sum(int(left == right) for left, right in zip(code[i], code[j], strict=True))
    return kernel


def test_naswot_counts_bits_that_agree(batch) -> None:
    made = forward(weights_of(tiny(), SEED), batch[0])
    codes = [(made[f"{name}.norm"].flatten(1) > 0).numpy() for name in ("a", "b")]
    expected = math.log(np.linalg.det(slow_kernel(codes, [1, 1])))
    assert naswot(tiny(), *batch, SEED) == pytest.approx(expected, rel=1e-9)


def test_naswot_counts_a_rectifier_once_for_every_layer_that_reads_it(batch) -> None:
    net = NetworkBuilder("two readers", channels=2, height=4, width=4)
    shared = net.conv("a", 3, 3, activation="relu")
    left = net.conv("b", 4, 1, batch_norm=False, x=shared)
    right = net.conv("d", 4, 3, batch_norm=False, x=shared)
    net.add("sum", left, right)
    net.global_pool("pool")
    net.linear("c", 3)
    network = net.build()
    code = (fresh_module(network, SEED).tensors(batch[0])["a"].flatten(1) > 0).numpy()
    assert naswot(network, *batch, SEED) == pytest.approx(math.log(np.linalg.det(slow_kernel([code], [2]))), rel=1e-9)


def test_naswot_of_one_image_twice_is_low_and_finite(batch) -> None:
    images = batch[0][[0, 1, 2, 3, 3]]
    assert naswot(tiny(), images, batch[1], SEED) < naswot(tiny(), *batch, SEED) - 5


def test_naswot_needs_a_rectifier(batch) -> None:
    net = NetworkBuilder("linear", channels=2, height=4, width=4)
    net.conv("a", 3, 3, activation="tanh")
    with pytest.raises(CosearchError, match=r"^proxy 'naswot': network 'linear' has none of gelu, h_swish, relu, "):
        naswot(net.build(), *batch, SEED)


def test_jacob_cov_is_the_score_of_the_jacobians_correlations(batch) -> None:
    weights, images = weights_of(tiny(), SEED), batch[0].double().clone()
    jacobians = differences(lambda: float(forward(weights, images)["c"].sum()), images)
    values = np.linalg.eigvalsh(np.corrcoef(jacobians.flatten(1).numpy()))
    expected = -sum(math.log(value + 1e-5) + 1 / (value + 1e-5) for value in values)
    assert jacob_cov(tiny(), *batch, SEED) == pytest.approx(expected, rel=1e-3)


def test_jacob_cov_is_highest_where_nothing_correlates(batch) -> None:
    """n eigenvalues of 1 give -n, and 1/v + log v is least at 1."""
    assert jacob_cov(tiny(), *batch, SEED) < -5


def test_zen_is_the_change_of_features_plus_what_normalisation_divided_by(batch) -> None:
    scores = []
    for draw in range(4):
        seed = SEED * 4 + draw
        weights = {
            name: tensor.double() for name, tensor in fresh_module(tiny(), seed, "gaussian").state_dict().items()
        }
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(batch[0].shape, generator=generator)
        moved = x + 0.01 * torch.randn(batch[0].shape, generator=generator)
        made, other = forward(weights, x), forward(weights, moved)
        change = (made["b.relu"] - other["b.relu"]).abs().sum((1, 2, 3)).mean()
        n = 5 * 4 * 4  # the running variance is the unbiased one
        variances = [made[name].var((0, 2, 3), correction=0).mean() * n / (n - 1) for name in ("a", "b")]
        scores.append(math.log(change) + sum(math.log(math.sqrt(variance)) for variance in variances))
    assert zen(tiny(), *batch, SEED) == pytest.approx(np.mean(scores), rel=1e-4)


def test_zen_rises_with_width_and_depth(batch) -> None:
    def network(width: int, depth: int):
        net = NetworkBuilder("chain", channels=2, height=4, width=4)
        for number in range(depth):
            net.conv(f"layer{number}", width, 3, activation="relu")
        net.global_pool("pool")
        net.linear("c", 3)
        return net.build()

    base, wider, deeper = (zen(network(*size), *batch, SEED) for size in ((8, 2), (16, 2), (8, 4)))
    assert base < wider
    assert base < deeper


@pytest.mark.parametrize("proxy", [jacob_cov, naswot, zen])
def test_a_network_that_ignores_its_image_is_low_and_finite(proxy) -> None:
    space = NasBench201()
    images, labels = random_images(space.sample(), 4, 0), torch.zeros(4, dtype=torch.int64)
    blind, best = (
        proxy(space.network(space.parse(text)), images, labels, 0)
        for text in (
            "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|",
        )
    )
    assert math.isfinite(blind)
    assert blind < best
