"""OFA-ProxylessNAS: widths, counts and published networks, against the supernet's own figures and a slow twin."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_models.networks import network_from_config
from accel_models.workload import Layer, TensorShape
from cosearch.errors import SpaceError
from cosearch.space import Genomes
from cosearch.spaces.elastic import ElasticSpace
from cosearch.spaces.ofa_proxyless import OfaProxyless
from tests.cosearch.spaces import supernets

SUPERNET = "ofa_proxyless_d234_e346_k357_w1.3"
space = OfaProxyless()

# ProxylessNAS's 32, 16, 24, 40, 80, 96, 192, 320, 1280 channels x 1.3, rounded to multiples of 8; strides of the stages
STEM, FIRST, FEATURE_MIX = 40, 24, 1664
STAGES = ((32, 2), (56, 2), (104, 2), (128, 1), (248, 2), (416, 1))


def counts(values: dict[str, int]) -> tuple[int, int]:
    """MACs and parameters by plain arithmetic, layer after layer."""
    size = -(-values["resolution"] // 2)
    macs, params = 27 * STEM * size**2, 27 * STEM + 2 * STEM
    blocks = [(STEM, FIRST, 3, 1, 1)]
    channels = FIRST
    for stage, (width, stride) in enumerate(STAGES):
        for block in range(values[f"depth_{stage + 1}"]):
            number = 4 * stage + block + 1
            kernel, expand = values[f"kernel_{number}"], values[f"expand_{number}"]
            blocks.append((channels, width, kernel, expand, stride if block == 0 else 1))
            channels = width
    for inputs, outputs, kernel, expand, stride in blocks:
        middle = inputs * expand
        if expand > 1:
            macs += inputs * middle * size**2
            params += inputs * middle + 2 * middle
        size = -(-size // stride)
        macs += (kernel**2 * middle + middle * outputs) * size**2
        params += kernel**2 * middle + 2 * middle + middle * outputs + 2 * outputs
    macs += channels * FEATURE_MIX * size**2 + FEATURE_MIX * 1000
    params += channels * FEATURE_MIX + 2 * FEATURE_MIX + FEATURE_MIX * 1000 + 1000
    return macs, params


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_counts_are_the_slow_twins(seed):
    genome = space.sample_genomes(np.random.default_rng(seed), 1)[0]
    network = space.network(genome)
    assert (network.macs, network.params) == counts(space.values(genome))


def test_knobs_are_those_of_the_supernet():
    # its name says d234 e346 k357; five stages of up to 4 blocks and a last stage of one; 128 to 224 px (its README),
    # in steps of 4 as for MobileNetV3 (Cai et al., section 4.1)
    assert [knob.name for knob in space.knobs] == [
        "resolution",
        *(f"depth_{stage}" for stage in range(1, 7)),
        *(f"kernel_{block}" for block in range(1, 22)),
        *(f"expand_{block}" for block in range(1, 22)),
    ]
    choices = {knob.name: knob.choices for knob in space.knobs}
    assert choices["resolution"] == tuple(range(128, 225, 4))
    assert [choices[f"depth_{stage}"] for stage in range(1, 7)] == [(2, 3, 4)] * 5 + [(1,)]
    assert {choices[f"kernel_{block}"] for block in range(1, 22)} == {(3, 5, 7)}
    assert {choices[f"expand_{block}"] for block in range(1, 22)} == {(3, 4, 6)}
    assert [knob.unit for knob in space.knobs if knob.unit] == ["px"]


def test_the_size_is_that_of_six_stages():
    assert space.size == 25 * (9**2 + 9**3 + 9**4) ** 5 * 9


def test_the_size_of_a_cut_down_space_is_the_number_of_its_networks():
    class CutDown(OfaProxyless):
        def __init__(self) -> None:
            ElasticSpace.__init__(
                self, "cut-down", "", resolutions=(32, 64), depths=((1, 2), (1,)), kernels=(3, 7), expands=(3, 6)
            )

    small = CutDown()
    genomes = np.array(list(itertools.product(*(range(len(knob.choices)) for knob in small.knobs))))
    networks = {(network.nodes, network.input) for network in map(small.network, genomes)}
    assert len(networks) == small.size == 2 * (4 + 16) * 4 < len(genomes)


def test_the_largest_network_has_the_supernets_parameters(shared_data):
    largest = space.network(space.choices_per_knob - 1)
    assert largest.params == supernets.parameters(shared_data, SUPERNET) == 7_942_056


def test_extracted_networks_have_the_reference_codes_parameters(shared_data):
    cases = supernets.extracted(shared_data, SUPERNET)
    params = [space.network(space.genome(supernets.mobile_values(case))).params for case in cases]
    assert params == [case["subnet_params"] for case in cases]
    assert len(params) == 8


def genome_of_config(config: dict) -> Genomes:
    """Return the genome of a published configuration: a stage begins where the width changes."""
    values = {"resolution": config["image_size"]}
    stage = block = 0
    for entry in config["blocks"][1:]:
        first = entry["in_channels"] != entry["out_channels"]
        stage, block = (stage + 1, 1) if first else (stage, block + 1)
        values[f"depth_{stage}"] = block
        values[f"kernel_{4 * (stage - 1) + block}"] = entry["kernel_size"]
        values[f"expand_{4 * (stage - 1) + block}"] = entry["expand_ratio"]
    return space.genome(values)


def test_the_published_specialised_networks_are_found_in_the_space(shared_data):
    # han-cai/files: OFA's networks for GPUs and a CPU, written out layer by layer, and what OFA's README prints for them
    configs = json.loads((shared_data / "ofa_specialized" / "ofa_specialized_networks.json").read_text())
    configs = [config for config in configs if config["net"] == "ProxylessNASNets"]
    for config in configs:
        network, expected = space.network(genome_of_config(config)), network_from_config(config)
        assert [node.op for node in network.nodes] == [node.op for node in expected.nodes]
        assert network.params == expected.params
        assert network.macs / 1e6 == pytest.approx(config["readme_macs_M"], abs=0.52)  # printed as whole millions
        assert network.params / 1e6 == pytest.approx(config["readme_params_M"], abs=0.05)  # printed to one decimal
    assert len(configs) == 16


def test_the_smallest_network_layer_by_layer():
    network = space.network(np.zeros(len(space.knobs), dtype=np.int64))
    layers = dict(network.layers)
    assert network.input == TensorShape(3, 128, 128)
    assert layers["stem"] == Layer(K=40, C=3, P=64, Q=64, R=3, S=3, stride_w=2, stride_h=2)
    assert "first.expand" not in layers
    assert layers["first.depthwise"] == Layer(G=40, P=64, Q=64, R=3, S=3)
    assert layers["first.project"] == Layer(K=24, C=40, P=64, Q=64)
    assert layers["stage1.block1.expand"] == Layer(K=72, C=24, P=64, Q=64)
    assert layers["stage3.block1.depthwise"] == Layer(G=168, P=8, Q=8, R=3, S=3, stride_w=2, stride_h=2)
    assert layers["stage4.block1.depthwise"] == Layer(G=312, P=8, Q=8, R=3, S=3)
    assert layers["stage6.block1.project"] == Layer(K=416, C=744, P=4, Q=4)
    assert layers["feature_mix"] == Layer(K=1664, C=416, P=4, Q=4)
    assert layers["classifier"] == Layer(K=1000, C=1664)
    names = [node.name for node in network.nodes]
    assert names[-4:] == [
        "feature_mix",
        "feature_mix.relu6",
        "pool",
        "classifier",
    ]  # features are mixed before the pool
    assert {"stage1.block2.add", "stage1.block2.depthwise.relu6"} <= set(names)
    assert not {"first.add", "stage4.block1.add", "stage6.block1.add", "stage1.block3.expand"} & set(names)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"resolution": 230}, r"resolution = 230 is not one of \[128, 132"),
        ({"depth_6": 2}, r"depth_6 = 2 is not one of \[1\]"),
        ({"kernel_22": 3}, "unknown knob 'kernel_22'"),
    ],
)
def test_what_is_not_in_the_space_is_refused(values, said):
    with pytest.raises(SpaceError, match=said):
        space.genome(values)
