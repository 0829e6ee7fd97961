"""MCUNet's space: widths, counts by a slow twin, sub-spaces by name, and its networks in torch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_models.workload import Layer
from cosearch.errors import SpaceError
from cosearch.spaces import load_space
from cosearch.spaces.mcunet import McuNet
from cosearch.spaces.pieces import PiecewiseSpace

# stage widths and strides of ProxylessNAS, as mit-han-lab/mcunet's OFAProxylessNASNets has them
STAGES = ((24, 2), (40, 2), (80, 2), (96, 1), (192, 2), (320, 1))
PLAIN, MIXED = McuNet(), McuNet(mix=True, classes=100)


def scaled(channels: int, percent: int) -> int:
    """make_divisible of facts/search_spaces: to a multiple of 8, never below nine tenths."""
    value = channels * percent / 100
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


def counts(values: dict[str, int], mix: bool, classes: int) -> tuple[int, int]:
    """MACs and parameters by plain arithmetic, layer after layer."""
    size, width = -(-values["resolution"] // 2), values["width"]
    stem, first = scaled(32, width), scaled(16, width)
    macs, params = 27 * stem * size**2, 27 * stem + 2 * stem
    blocks, channels = [(stem, first, 3, 1, 1)], first
    for stage, (full, stride) in enumerate(STAGES):
        for block in range(values[f"depth_{stage + 1}"]):
            number, out = 4 * stage + block + 1, scaled(full, width)
            blocks.append(
                (channels, out, values[f"kernel_{number}"], values[f"expand_{number}"], 1 if block else stride)
            )
            channels = out
    for inputs, outputs, kernel, expand, stride in blocks:
        middle = inputs * expand
        if expand > 1:
            macs += inputs * middle * size**2
            params += inputs * middle + 2 * middle
        size = -(-size // stride)
        macs += (kernel**2 * middle + middle * outputs) * size**2
        params += kernel**2 * middle + 2 * middle + middle * outputs + 2 * outputs
    if mix:
        macs += channels * 1280 * size**2
        params += channels * 1280 + 2 * 1280
        channels = 1280
    return macs + channels * classes, params + channels * classes + classes


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_counts_are_the_slow_twins(seed, mix):
    space = MIXED if mix else PLAIN
    genome = space.sample_genomes(np.random.default_rng(seed), 1)[0]
    network = space.network(genome)
    assert (network.macs, network.params) == counts(space.values(genome), mix, 100 if mix else 1000)


def test_knobs_and_size_are_those_that_mcunet_chooses_among():
    # facts: width .2-1.0, resolution 48..224 step 16, k 3/5/7, e 3/4/6, d 2/3/4 (five stages and a last one of one block)
    choices = {knob.name: knob.choices for knob in PLAIN.knobs}
    assert isinstance(PLAIN, PiecewiseSpace)
    assert choices["width"] == (20, 30, 40, 50, 60, 70, 80, 90, 100)
    assert choices["resolution"] == tuple(range(48, 225, 16))
    assert [choices[f"depth_{stage}"] for stage in range(1, 7)] == [(2, 3, 4)] * 5 + [(1,)]
    assert {choices[f"kernel_{block}"] for block in range(1, 22)} == {(3, 5, 7)}
    assert {choices[f"expand_{block}"] for block in range(1, 22)} == {(3, 4, 6)}
    assert PLAIN.size == 12 * 9 * (9**2 + 9**3 + 9**4) ** 5 * 9


def test_no_two_widths_make_the_same_network():
    genomes = np.zeros((9, len(PLAIN.knobs)), dtype=np.int64)
    genomes[:, PLAIN.columns.stem.start] = range(9)
    assert len({PLAIN.network(genome).nodes for genome in genomes}) == 9


def test_half_width_layer_by_layer():
    network = PLAIN.network(PLAIN.genome({"width": 50, "resolution": 144}))
    layers = dict(network.layers)
    assert layers["stem"] == Layer(K=16, C=3, P=72, Q=72, R=3, S=3, stride_w=2, stride_h=2)
    assert layers["first.project"] == Layer(K=8, C=16, P=72, Q=72)
    assert layers["stage1.block1.project"] == Layer(K=16, C=24, P=36, Q=36)  # 24 x .5 = 12: 16, as 8 is too far below
    assert layers["stage6.block1.project"] == Layer(K=160, C=288, P=5, Q=5)
    assert layers["classifier"] == Layer(K=1000, C=160)
    assert "feature_mix" not in layers
    assert dict(MIXED.sample(0).layers)["feature_mix"].K == 1280  # never narrower, in the public supernet


def test_the_first_block_has_no_residual_even_where_its_channels_agree():
    nodes = [node.name for node in PLAIN.network(PLAIN.genome({"width": 20})).nodes]
    assert "first.add" not in nodes  # 8 channels in and out
    assert "stage1.block2.add" in nodes


@pytest.mark.parametrize(
    ("name", "widths", "resolutions", "mix", "classes"),
    [
        ("mcunet@w50-r144", (50,), (144,), False, 1000),
        ("mcunet@w40,50-mix-c10", (40, 50), tuple(range(48, 225, 16)), True, 10),
        ("mcunet@r48", tuple(range(20, 101, 10)), (48,), False, 1000),
    ],
)
def test_sub_spaces_are_loaded_by_name_and_keep_it(name, widths, resolutions, mix, classes):
    space = load_space(name)
    assert space.name == name
    assert space.arguments == (widths, resolutions, mix, classes)
    travelled = pickle.loads(pickle.dumps(space))
    assert (travelled.name, travelled.sample(5)) == (name, space.sample(5))
    # the same network as in the whole space
    network = space.sample(5)
    values = space.values(space.sample_genomes(np.random.default_rng(5), 1)[0])
    whole = McuNet(mix=mix, classes=classes)
    assert whole.network(whole.genome(values)).nodes == network.nodes


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("w55", r"mcunet: width 55 %: choose among 20, 30"),
        ("r50", r"mcunet: resolution 50 px: choose among 48, 64"),
        ("w50-w60", r"mcunet@w50-w60: cannot read 'w60'; words, each at most once"),
        ("mix3", r"cannot read 'mix3'"),
        ("c10,20", r"cannot read 'c10,20'"),
        ("", r"cannot read ''"),
        ("c0", r"mcunet: 0 classes"),
    ],
)
def test_a_sub_space_that_is_none_is_refused(part, said):
    with pytest.raises(SpaceError, match=said):
        load_space(f"mcunet@{part}")


def test_a_space_without_sub_spaces_says_so():
    with pytest.raises(
        SpaceError, match=r"space 'ofa-proxyless' has no sub-spaces, so there is no 'ofa-proxyless@w50'"
    ):
        load_space("ofa-proxyless@w50")


def test_its_networks_run_in_torch():
    torch = pytest.importorskip("torch")
    from cosearch.supernet.network_module import NetworkModule

    network = McuNet((30,), (48,), mix=True, classes=7).sample(0)
    module = NetworkModule(network).eval()
    assert module(torch.zeros(2, 3, 48, 48)).shape == (2, 7)
    assert sum(tensor.numel() for tensor in module.parameters()) == network.params
