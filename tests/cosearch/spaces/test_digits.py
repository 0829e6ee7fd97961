"""The digits' space: what its networks cost, counted by hand."""

from __future__ import annotations

import numpy as np
import torch

from cosearch.spaces import load_space
from cosearch.supernet.supernet import Supernet, extract


def by_hand(resolution: int, depth: int, kernel: int, expand: int) -> tuple[int, int]:
    """MACs and parameters of a network whose blocks are all alike, layer by layer."""
    side, channels = resolution, 4
    macs, params = side**2 * 9 * 4, 9 * 4 + 2 * 4
    for out, stride in ((4, 1), (6, 2), (8, 1)):
        for block in range(depth):
            middle = expand * channels
            macs += side**2 * channels * middle
            side = -(-side // stride) if block == 0 else side
            macs += side**2 * middle * (kernel**2 + out)
            params += channels * middle + 2 * middle + middle * kernel**2 + 2 * middle + middle * out + 2 * out
            channels = out
    return macs + side**2 * 8 * 32 + 32 * 10, params + 8 * 32 + 2 * 32 + 32 * 10 + 10


def test_macs_and_parameters_are_those_counted_by_hand() -> None:
    space = load_space("digits")
    for resolution, depth, kernel, expand in ((6, 1, 3, 2), (10, 3, 5, 6), (8, 2, 5, 4)):
        values = {
            knob.name: {"resolution": resolution, "depth": depth, "kernel": kernel, "expand": expand}[
                knob.name.split("_")[0]
            ]
            for knob in space.knobs
        }
        network = space.network(space.genome(values))
        assert (network.macs, network.params) == by_hand(resolution, depth, kernel, expand)
        assert (network.input.channels, network.input.height) == (1, resolution)


def test_its_size_is_the_number_of_its_networks() -> None:
    """Per stage 6 choices for each of 1, 2 or 3 blocks; three resolutions."""
    assert load_space("digits").size == 3 * (6 + 6**2 + 6**3) ** 3


def test_a_sub_network_computes_what_the_supernet_does() -> None:
    space = load_space("digits")
    torch.manual_seed(0)
    supernet = Supernet(space).eval()
    images = torch.randn(3, 1, 8, 8)
    for genome in space.sample_genomes(np.random.default_rng(0), 5):
        with torch.no_grad():
            torch.testing.assert_close(extract(supernet, genome)(images), supernet(images, genome), rtol=0, atol=1e-6)
