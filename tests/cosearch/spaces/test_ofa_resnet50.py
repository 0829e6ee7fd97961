"""OFA-ResNet50D: channels, counts and shortcuts, against the supernet's own figures, ResNet-50-D and a slow twin."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_models.networks import load_network
from accel_models.workload import Layer, TensorShape
from cosearch.errors import SpaceError
from cosearch.space import Knob
from cosearch.spaces.elastic import ElasticSpace
from cosearch.spaces.ofa_resnet50 import OfaResNet50
from tests.cosearch.spaces import supernets

space = OfaResNet50()

# Channels at each width in %: 64 (stem) and 256, 512, 1024, 2048 (stages) times it, rounded to multiples of 8; inside the
# stem half of it, rounded again; in a block 20, 25, 35 % of what the block puts out, rounded again
STEM_MID = {65: 24, 80: 24, 100: 32}
STEM = {65: 40, 80: 48, 100: 64}
STAGES = {65: (168, 336, 664, 1328), 80: (208, 408, 816, 1640), 100: (256, 512, 1024, 2048)}
MIDDLE = {
    **{168: (32, 40, 56), 208: (40, 56, 72), 256: (48, 64, 88)},
    **{336: (64, 88, 120), 408: (80, 104, 144), 512: (104, 128, 176)},
    **{664: (136, 168, 232), 816: (160, 208, 288), 1024: (208, 256, 360)},
    **{1328: (264, 336, 464), 1640: (328, 408, 576), 2048: (408, 512, 720)},
}
RATIOS = (20, 25, 35)
MOST_BLOCKS = (4, 4, 6, 4)


def convolutions(values: dict[str, int]) -> list[tuple[int, int, int, int]]:
    """Return input channels, output channels, kernel and output size of every convolution."""
    size = -(-values["resolution"] // 2)
    middle, channels = STEM_MID[values["stem_mid_width"]], STEM[values["stem_width"]]
    made = [
        (3, middle, 3, size),
        *[(middle, middle, 3, size)] * (values["stem_depth"] - 2),
        (middle, channels, 3, size),
    ]
    size, number = -(-size // 2), 0
    for stage in range(4):
        outputs = STAGES[values[f"width_{stage + 1}"]][stage]
        for block in range(values[f"depth_{stage + 1}"]):
            middle = MIDDLE[outputs][RATIOS.index(values[f"expand_{number + block + 1}"])]
            after = -(-size // 2) if stage > 0 and block == 0 else size
            made += [(channels, middle, 1, size), (middle, middle, 3, after), (middle, outputs, 1, after)]
            if block == 0:
                made.append((channels, outputs, 1, after))
            channels, size = outputs, after
        number += MOST_BLOCKS[stage]
    return made


def counts(values: dict[str, int]) -> tuple[int, int]:
    """MACs and parameters by plain arithmetic."""
    made = convolutions(values)
    last = made[-1][1]
    macs = sum(inputs * outputs * kernel**2 * size**2 for inputs, outputs, kernel, size in made)
    params = sum(inputs * outputs * kernel**2 + 2 * outputs for inputs, outputs, kernel, _ in made)
    return macs + 1000 * last, params + 1000 * last + 1000


def resnet50_d() -> dict[str, int]:
    """Return the knobs of plain ResNet-50-D: 3, 4, 6, 3 blocks, full width, middle channels a quarter."""
    depths = {f"depth_{stage}": depth for stage, depth in enumerate((3, 4, 6, 3), 1)}
    widths = dict.fromkeys(["stem_mid_width", "stem_width", *(f"width_{stage}" for stage in range(1, 5))], 100)
    expands = dict.fromkeys([f"expand_{block}" for block in range(1, 19)], 25)
    return {"resolution": 224, "stem_depth": 3, **depths, **widths, **expands}


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_counts_are_the_slow_twins(seed):
    genome = space.sample_genomes(np.random.default_rng(seed), 1)[0]
    network = space.network(genome)
    assert (network.macs, network.params) == counts(space.values(genome))
    sizes = sorted((layer.C, layer.K, layer.R, layer.P) for _, layer in network.layers[:-1])
    assert sizes == sorted(convolutions(space.values(genome)))


def test_knobs_are_those_of_the_supernet():
    # OFA's README on ofa_resnet50: width 0.65, 0.8, 1.0; depth 0, 1, 2 on top of 2, 2, 4, 2; expand 0.2, 0.25, 0.35;
    # kernel 3. Resolutions as NAAS (Lin et al., DAC 2021) searched them: 128 to 256 px in steps of 16
    assert [knob.name for knob in space.knobs] == [
        "resolution",
        *(f"depth_{stage}" for stage in range(1, 5)),
        *("stem_depth", "stem_mid_width", "stem_width"),
        *(f"width_{stage}" for stage in range(1, 5)),
        *(f"expand_{block}" for block in range(1, 19)),
    ]
    choices = {knob.name: knob.choices for knob in space.knobs}
    assert choices["resolution"] == tuple(range(128, 257, 16))
    assert [choices[f"depth_{stage}"] for stage in range(1, 5)] == [(2, 3, 4), (2, 3, 4), (4, 5, 6), (2, 3, 4)]
    assert {choices[f"width_{stage}"] for stage in range(1, 5)} == {(65, 80, 100)} == {choices["stem_width"]}
    assert {choices[f"expand_{block}"] for block in range(1, 19)} == {(20, 25, 35)}
    units = {knob.name.partition("_")[0]: knob.unit for knob in space.knobs if knob.name != "stem_depth"}
    assert units == {"resolution": "px", "depth": "", "stem": "%", "width": "%", "expand": "%"}


def test_the_size_leaves_out_what_is_the_same_twice():
    per_stage = 3 * (3**2 + 3**3 + 3**4)
    assert space.size == 9 * (2 * 2 * 3) * per_stage**3 * 3 * (3**4 + 3**5 + 3**6)
    assert space.size == pytest.approx(1.5e13, rel=0.02)
    assert STEM_MID[65] == STEM_MID[80]
    channels = [middle for middles in MIDDLE.values() for middle in middles]
    assert len(channels) == 36
    assert all(len(set(middles)) == 3 for middles in MIDDLE.values())


def test_the_size_of_a_cut_down_space_is_the_number_of_its_networks():
    class CutDown(OfaResNet50):
        def __init__(self) -> None:
            ElasticSpace.__init__(
                self,
                "cut-down",
                "",
                resolutions=(32, 64),
                depths=((1, 2), (2,)),
                kernels=(3,),
                expands=(20, 35),
                widths=(65, 100),
                stem=(Knob("stem_depth", (2, 3)), Knob("stem_mid_width", (65, 100)), Knob("stem_width", (80,))),
            )

    small = CutDown()
    genomes = np.array(list(itertools.product(*(range(len(knob.choices)) for knob in small.knobs))))
    networks = {(network.nodes, network.input) for network in map(small.network, genomes)}
    assert len(networks) == small.size == 2 * 4 * (2 * (2 + 4)) * (2 * 4) < len(genomes)


def test_the_largest_network_has_the_supernets_parameters(shared_data):
    largest = space.network(space.choices_per_knob - 1)
    assert largest.params == supernets.parameters(shared_data, "ofa_resnet50") == 48_105_992


def values_of(case: dict) -> dict[str, int]:
    """Return the knobs of the reference code's settings: depth 2 of the stem keeps its residual; widths are indices."""
    widths = (65, 80, 100)
    stem_depth, *depths = case["d"]
    return {
        "stem_depth": 3 if stem_depth == 2 else 2,
        "stem_mid_width": 100 if case["w"][0] == 2 else 65,
        "stem_width": widths[case["w"][1]],
        **{f"depth_{s}": base + d for s, (base, d) in enumerate(zip((2, 2, 4, 2), depths, strict=True), 1)},
        **{f"width_{s}": widths[w] for s, w in enumerate(case["w"][2:], 1)},
        **{f"expand_{b}": round(100 * e) for b, e in enumerate(case["e"], 1)},
    }


def test_extracted_networks_have_the_reference_codes_parameters(shared_data):
    cases = supernets.extracted(shared_data, "ofa_resnet50")
    params = [space.network(space.genome(values_of(case))).params for case in cases]
    assert params == [case["subnet_params"] for case in cases]
    assert len(params) == 8
    assert {case["w"][0] for case in cases} == {0, 1, 2}  # also those two stems that are one
    assert {case["d"][0] for case in cases} == {0, 2}


def test_published_networks_lie_between_the_smallest_and_the_largest(shared_data):
    # OFA's README prints MACs and parameters of eight specialised networks; their configurations are not at hand
    table = json.loads((shared_data / "ofa_specialized" / "readme_table.json").read_text())
    published = [row for row in table if row["name"].startswith("ofa-resnet50D")]
    smallest = space.network(np.zeros(len(space.knobs), dtype=np.int64))
    largest = space.network(space.choices_per_knob - 1)
    assert len(published) == 8
    for row in published:
        assert smallest.macs <= row["macs_M"] * 1e6 <= largest.macs
        assert smallest.params <= row["params_M"] * 1e6 <= largest.params


def test_resnet_50_d_is_in_the_space():
    # He et al., Bag of Tricks, CVPR 2019, table 5: 4.3 G; beside torchvision's ResNet-50 (v1.5) it has three 3x3 layers
    # of 32, 32 and 64 channels for one 7x7 of 64; its other 1x1 shortcuts read the same number of pixels, pooled
    network, plain = space.network(space.genome(resnet50_d())), load_network("resnet50", 224)
    stem, plain_stem = 9 * (3 * 32 + 32 * 32 + 32 * 64), 49 * 3 * 64
    assert network.macs - plain.macs == (stem - plain_stem) * 112**2
    assert network.params - plain.params == stem - plain_stem + 2 * (32 + 32)
    assert network.macs == 4_328_824_832
    assert network.params == 25_576_264


def test_the_smallest_network_layer_by_layer():
    network = space.network(np.zeros(len(space.knobs), dtype=np.int64))
    layers = dict(network.layers)
    shapes = {node.name: node.output for node in network.nodes}
    assert network.input == TensorShape(3, 128, 128)
    assert layers["stem.conv1"] == Layer(K=24, C=3, P=64, Q=64, R=3, S=3, stride_w=2, stride_h=2)
    assert layers["stem.conv3"] == Layer(K=40, C=24, P=64, Q=64, R=3, S=3)
    assert shapes["stem.pool"] == TensorShape(40, 32, 32)
    assert layers["stage1.block1.conv1"] == Layer(K=32, C=40, P=32, Q=32)
    assert layers["stage1.block1.downsample"] == Layer(K=168, C=40, P=32, Q=32)
    assert layers["stage2.block1.conv1"] == Layer(K=64, C=168, P=32, Q=32)
    assert layers["stage2.block1.conv2"] == Layer(K=64, C=64, P=16, Q=16, R=3, S=3, stride_w=2, stride_h=2)
    assert shapes["stage2.block1.downsample.pool"] == TensorShape(168, 16, 16)
    assert layers["stage2.block1.downsample"] == Layer(K=336, C=168, P=16, Q=16)
    assert layers["stage4.block2.conv3"] == Layer(K=1328, C=264, P=4, Q=4)
    assert layers["classifier"] == Layer(K=1000, C=1328)
    gone = {
        "stem.conv2",
        "stem.add",
        "stage1.block1.downsample.pool",
        "stage2.block2.downsample",
        "stage1.block3.conv1",
    }
    assert not gone & set(shapes)
    assert {"stage2.block2.add", "stage2.block2.relu", "stage3.block4.conv3"} <= set(shapes)


def test_the_stems_residual_can_be_left_out():
    with_it = space.network(space.genome({"stem_depth": 3}))
    names = [node.name for node in with_it.nodes]
    assert names[:6] == ["stem.conv1", "stem.conv1.relu", "stem.conv2", "stem.conv2.relu", "stem.add", "stem.conv3"]
    assert with_it.nodes[4].inputs == ("stem.conv1.relu", "stem.conv2.relu")


@pytest.mark.parametrize("resolution", [144, 176, 208])
def test_shortcuts_round_odd_sizes_up_as_the_strided_layers_do(resolution):
    network = space.network(space.genome({"resolution": resolution}))
    shapes = {node.name: node.output for node in network.nodes}
    assert shapes["stage4.block1.downsample"] == shapes["stage4.block1.conv3"]
    assert shapes["stage4.block1.conv3"].height == -(-resolution // 32)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"resolution": 132}, r"resolution = 132 is not one of \[128, 144"),
        ({"stem_mid_width": 80}, r"stem_mid_width = 80 is not one of \[65, 100\]"),
        ({"depth_3": 2}, r"depth_3 = 2 is not one of \[4, 5, 6\]"),
        ({"kernel_1": 3}, "unknown knob 'kernel_1'"),
    ],
)
def test_what_is_not_in_the_space_is_refused(values, said):
    with pytest.raises(SpaceError, match=said):
        space.genome(values)
