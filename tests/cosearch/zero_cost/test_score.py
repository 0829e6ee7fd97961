"""What all proxies promise: a function of network, images, labels and seed, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accel_models.workload import Network
from cosearch.errors import CosearchError, UnknownNameError
from cosearch.zero_cost import PROXIES, score

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

from cosearch.zero_cost.fresh import fresh_module, random_images, random_labels  # noqa: E402

from .slow_network import tiny  # noqa: E402


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_score_is_the_same_again_whatever_the_global_state(proxy) -> None:
    first = score(proxy, tiny())
    assert math.isfinite(first)
    torch.manual_seed(7)
    torch.rand(3)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert score(proxy, tiny()) == first
    assert (torch.get_rng_state() == state).all()
    assert torch.get_num_threads() == threads
    if PROXIES[proxy].module:
        assert score(proxy, tiny(), seed=1) != first


@pytest.mark.parametrize("proxy", PROXIES)
def test_what_is_handed_in_stays_as_it_was(proxy) -> None:
    images, labels = random_images(tiny(), 4, 0), random_labels(tiny(), 4, 0)
    before = images.clone()
    one = score(proxy, tiny(), 0, images, labels)
    assert score(proxy, tiny(), 0, images, labels) == one
    assert torch.equal(images, before)
    assert not images.requires_grad


def test_the_baselines_count() -> None:
    network: Network = tiny()
    assert score("params", network) == 2 * 3 * 9 + 6 + 3 * 4 + 8 + 4 * 3 + 3
    assert score("macs", network) == 16 * (2 * 3 * 9) + 16 * 3 * 4 + 4 * 3


def test_one_image_is_too_few() -> None:
    with pytest.raises(CosearchError, match=r"^proxy 'snip' compares images: it needs at least 2, not 1$"):
        score("snip", tiny(), 0, random_images(tiny(), 1, 0))


def test_an_unknown_proxy() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown proxy 'synfloww': did you mean 'synflow'"):
        score("synfloww", tiny())


@pytest.mark.parametrize("seed", [0, 1])
def test_uniform_weights_are_drawn_as_torch_draws_them(seed) -> None:
    """The deviation of torch's default is the bound over the root of 3; the bound is 1 / sqrt(inputs)."""
    state = fresh_module(wide(), seed).state_dict()
    for name, inputs in (("a", 8 * 9), ("c", 64)):
        weight = state[f"{name}.weight"]
        assert float(weight.abs().max()) <= inputs**-0.5
        assert float(weight.std()) == pytest.approx((3 * inputs) ** -0.5, rel=0.05)
    assert torch.equal(state["a.bn.weight"], torch.ones(64))
    assert torch.equal(state["a.bn.running_var"], torch.ones(64))


def test_gaussian_weights_have_variance_1() -> None:
    state = fresh_module(wide(), 0, "gaussian").state_dict()
    assert float(state["a.weight"].std()) == pytest.approx(1, rel=0.03)
    assert torch.equal(state["c.bias"], torch.zeros(10))


def wide() -> Network:
    from accel_models.network_builder import NetworkBuilder

    net = NetworkBuilder("wide", channels=8, height=8, width=8)
    net.conv("a", 64, 3, activation="relu")
    net.global_pool("pool")
    net.linear("c", 10)
    return net.build()


def picture(size: int) -> Network:
    from accel_models.network_builder import NetworkBuilder

    net = NetworkBuilder("picture", channels=3, height=size, width=size)
    net.conv("a", 2, 3)
    return net.build()


def test_natural_images_have_the_spectrum_and_the_colours_of_photographs() -> None:
    images = random_images(picture(64), 64, 0).double()
    assert float(images.std(correction=0)) == pytest.approx(1, rel=1e-4)
    power = torch.fft.rfft2(images).abs().square().mean((0, 1))
    frequency = torch.hypot(torch.fft.fftfreq(64)[:, None], torch.fft.rfftfreq(64)[None])
    inside = (frequency > 0.02) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[inside].numpy()), np.log(power[inside].numpy()), 1)[0]
    assert slope == pytest.approx(-2, abs=0.05), "amplitude falls with one over the frequency"
    colours = np.corrcoef(images.movedim(1, 0).flatten(1).numpy())
    assert colours[np.triu_indices(3, 1)] == pytest.approx(0.9, abs=0.03)


def test_white_images_are_independent_pixels() -> None:
    images = random_images(picture(32), 64, 0, "white").double()
    neighbours = np.corrcoef(images[..., :-1].flatten().numpy(), images[..., 1:].flatten().numpy())[0, 1]
    assert abs(neighbours) < 0.01
