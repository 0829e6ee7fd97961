"""Scores from gradients, against central differences of a formula in double precision, and against laws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.errors import CosearchError
from cosearch.spaces.nas_bench_201 import NasBench201

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from cosearch.supernet.network_module import NetworkModule  # noqa: E402
from cosearch.zero_cost.fresh import random_images, random_labels  # noqa: E402
from cosearch.zero_cost.gradients import (  # noqa: E402
    LEAST,
    fisher,
    grad_norm,
    grad_sign,
    snip,
    synflow,
    unfused,
    zico,
)

from .slow_network import LAYERS, differences, forward, gradients, loss, tiny, weights_of  # noqa: E402

SEED = 3


@pytest.fixture(scope="module")
def batch() -> tuple:
    return random_images(tiny(), 6, SEED), random_labels(tiny(), 6, SEED)


def test_grad_norm_is_the_sum_of_the_layers_norms(batch) -> None:
    slow = sum(float(gradient.norm()) for gradient in gradients(*batch, SEED).values())
    assert grad_norm(tiny(), *batch, SEED) == pytest.approx(slow, rel=1e-4)


def test_snip_is_the_sum_of_weights_times_gradients(batch) -> None:
    weights = weights_of(tiny(), SEED)
    slow = sum(
        float((weights[f"{name}.weight"] * gradient).abs().sum()) for name, gradient in gradients(*batch, SEED).items()
    )
    assert snip(tiny(), *batch, SEED) == pytest.approx(slow, rel=1e-4)


def test_fisher_is_what_masks_of_channels_do_to_the_loss(batch) -> None:
    """Activation times gradient, summed over an image's pixels, is the derivative of a factor of that channel."""
    images, labels = batch
    weights = weights_of(tiny(), SEED)
    masks = {name: torch.ones(6, count, dtype=torch.float64) for name, count in zip(LAYERS, (3, 4, 3), strict=True)}
    slow = 0.0
    for name in LAYERS:
        derivative = differences(lambda: loss(forward(weights, images, masks)["c"], labels), masks[name])
        slow += float(derivative.square().mean(0).sum() / 2)
    assert fisher(tiny(), *batch, SEED) == pytest.approx(slow, rel=1e-3)


def test_zico_is_mean_over_deviation_of_two_halves(batch) -> None:
    images, labels = batch
    halves = [gradients(images[part], labels[part], SEED) for part in (slice(0, 3), slice(3, 6))]
    slow = 0.0
    for name in LAYERS:
        both = np.stack([half[name].numpy() for half in halves])
        slow += math.log((np.abs(both).mean(0) / both.std(0)).sum())
    assert zico(tiny(), *batch, SEED) == pytest.approx(slow, rel=1e-2)  # a small deviation magnifies float32's rounding


def test_grad_sign_counts_the_images_that_agree(batch) -> None:
    """Of a network without normalisation, where each image's gradient is its own; by central differences."""
    net = NetworkBuilder("plain", channels=2, height=4, width=4)
    net.conv("a", 3, 3, batch_norm=False, bias=True, activation="relu")
    net.global_pool("pool")
    net.linear("c", 3)
    network, (images, labels) = net.build(), batch
    weights = weights_of(network, SEED)

    def image_loss(image: int) -> float:
        x = torch.nn.functional.conv2d(images[[image]].double(), weights["a.weight"], weights["a.bias"], padding=1)
        logits = x.clamp(min=0).mean((2, 3)) @ weights["c.weight"].T + weights["c.bias"]
        return loss(logits, labels[[image]])

    slow = 0.0
    for tensor in weights.values():
        signs = [differences(lambda image=image: image_loss(image), tensor, 1e-6).sign() for image in range(6)]
        slow += float(sum(signs).abs().sum())
    assert grad_sign(network, *batch, SEED) == slow


def test_synflow_of_two_linear_layers_is_twice_their_flow(batch) -> None:
    """R = sum |W2| |W1| 1, and each layer's weights carry all of it."""
    net = NetworkBuilder("linear", channels=2, height=4, width=4)
    net.conv("a", 3, 1, batch_norm=False)
    net.global_pool("pool")
    net.linear("c", 5, bias=False)
    weights = weights_of(net.build(), SEED)
    flow = (weights["c.weight"].abs() @ weights["a.weight"].flatten(1).abs() @ torch.ones(2, dtype=torch.float64)).sum()
    assert synflow(net.build(), *batch, SEED) == pytest.approx(math.log(2 * float(flow)), rel=1e-12)


def chain(depth: int, activation: str | None, batch_norm: bool) -> Network:
    net = NetworkBuilder("chain", channels=2, height=4, width=4)
    for number in range(depth):
        net.conv(f"layer{number}", 64, 1, batch_norm=batch_norm, activation=activation)
    net.global_pool("pool")
    net.linear("c", 3)
    return net.build()


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_synflow_sees_no_normalisation_and_no_upper_bound(activation, batch) -> None:
    plain = synflow(chain(6, None, batch_norm=False), *batch, SEED)
    assert synflow(chain(6, activation, batch_norm=True), *batch, SEED) == pytest.approx(plain, rel=1e-12)


def scaled(factors: int) -> Network:
    net = NetworkBuilder("scaled", channels=2, height=4, width=4)
    for number in range(factors):
        net.scale(f"scale{number}", 1e100)
    net.global_pool("pool")
    net.linear("c", 3)
    return net.build()


def test_synflow_holds_what_double_precision_holds_and_refuses_the_rest(batch) -> None:
    assert synflow(scaled(3), *batch, SEED) == pytest.approx(synflow(scaled(0), *batch, SEED) + math.log(1e300))
    with pytest.raises(
        CosearchError, match=r"^proxy 'synflow': the score of network 'scaled' is beyond double precision"
    ):
        synflow(scaled(4), *batch, SEED)


def test_a_network_that_ignores_its_image_has_the_least_synflow(batch) -> None:
    space = NasBench201()
    network = space.network(np.zeros(6, dtype=np.int64))
    assert synflow(network, torch.ones(2, 3, 32, 32), batch[1], SEED) == LEAST


def test_unfused_is_the_same_network() -> None:
    whole, split = tiny(), unfused(tiny())
    assert (split.params, split.macs) == (whole.params, whole.macs)
    assert [node.name for node in split.nodes][:2] == ["a.layer", "a"]
    modules = [NetworkModule(network).train() for network in (whole, split)]
    state = modules[0].state_dict()
    moved = {
        name.replace("a.weight", "a.layer.weight").replace("b.weight", "b.layer.weight"): state[name] for name in state
    }
    modules[1].load_state_dict(moved)
    images = random_images(whole, 4, 0)
    torch.testing.assert_close(modules[0](images), modules[1](images))
