"""OFA-MobileNetV3: every measured sub-network counts as measured, and genes that are inactive do not matter."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from accel_models.networks import network_from_config
from accel_models.workload import Layer, TensorShape
from cosearch.errors import SpaceError
from cosearch.space import Genomes
from cosearch.spaces.ofa_mobilenet_v3 import OfaMobileNetV3
from tests.cosearch.spaces import supernets

narrow, wide = OfaMobileNetV3(), OfaMobileNetV3(1.2)


def measured_columns(knob: str) -> str:
    """Return the CSV column of a knob."""
    return {"resolution": "image_size"}.get(knob, knob[0] + knob.partition("_")[2])


def test_knobs_are_the_columns_of_the_measured_tables_in_their_order(shared_data):
    for name in ("ofa_mbv3_w1.0_r224.csv", "ofa_mbv3_w1.0_val50k_r128_160_192.csv"):
        with (shared_data / "ofa_top1" / name).open() as file:
            header = next(csv.reader(file))
        assert [measured_columns(knob.name) for knob in narrow.knobs] == header[: len(narrow.knobs)]


def test_knobs_are_those_of_the_paper():
    # Cai et al., ICLR 2020, section 4.1: 5 units of 2-4 layers, expand 3/4/6, kernel 3/5/7, 128 to 224 px in steps of 4
    assert [knob.name for knob in narrow.knobs] == [
        "resolution",
        *(f"depth_{stage}" for stage in range(1, 6)),
        *(f"kernel_{block}" for block in range(1, 21)),
        *(f"expand_{block}" for block in range(1, 21)),
    ]
    choices = {knob.name: knob.choices for knob in narrow.knobs}
    assert choices["resolution"] == tuple(range(128, 225, 4))
    assert (choices["depth_3"], choices["kernel_20"], choices["expand_1"]) == ((2, 3, 4), (3, 5, 7), (3, 4, 6))
    assert narrow.knobs[0].unit == "px"
    assert wide.knobs[0].choices == tuple(range(160, 225, 4))
    assert narrow.knobs[1:] == wide.knobs[1:]


def test_the_size_is_the_papers():
    # Cai et al.: ((3 x 3)^2 + (3 x 3)^3 + (3 x 3)^4)^5, "roughly 2 x 10^19", for each of the 25 resolutions
    assert narrow.size == 25 * (9**2 + 9**3 + 9**4) ** 5
    assert narrow.size / 25 == pytest.approx(2.2e19, rel=0.02)
    assert wide.size == 17 * (9**2 + 9**3 + 9**4) ** 5


def test_every_measured_network_has_its_measured_macs_and_parameters(shared_data):
    # macs and params of IntelLabs/DyNAS-T's runs on OFA w1.0 at 224 px; they must agree to the last MAC
    with (shared_data / "ofa_top1" / "ofa_mbv3_w1.0_r224.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["macs"]]
    wrong = []
    for row in rows:
        genome = narrow.genome({knob.name: int(row[measured_columns(knob.name)]) for knob in narrow.knobs})
        network = narrow.network(genome)
        if (network.macs, network.params) != (int(row["macs"]), int(row["params"])):
            wrong.append(row)
    assert len(rows) == 1559
    assert wrong == []


@pytest.mark.parametrize(
    ("space", "supernet"), [(narrow, "ofa_mbv3_d234_e346_k357_w1.0"), (wide, "ofa_mbv3_d234_e346_k357_w1.2")]
)
def test_the_largest_network_has_the_supernets_parameters(shared_data, space, supernet):
    largest = space.network(space.choices_per_knob - 1)
    assert largest.params == supernets.parameters(shared_data, supernet)
    assert max(layer.R for _, layer in largest.layers) == 7


def test_extracted_networks_have_the_reference_codes_parameters(shared_data):
    cases = supernets.extracted(shared_data, "ofa_mbv3_d234_e346_k357_w1.0")
    params = [narrow.network(narrow.genome(supernets.mobile_values(case))).params for case in cases]
    assert params == [case["subnet_params"] for case in cases]
    assert len(params) == 8


def genome_of_config(space: OfaMobileNetV3, config: dict) -> Genomes:
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


def test_the_published_specialised_networks_are_found_in_the_space(shared_data: Path):
    # han-cai/files: OFA's specialised networks, written out layer by layer
    configs = json.loads((shared_data / "ofa_specialized" / "ofa_specialized_networks.json").read_text())
    checked = {1.0: 0, 1.2: 0}
    for config in configs:
        space = {16: narrow, 24: wide}.get(config["first_conv"]["out_channels"])
        if config["net"] != "MobileNetV3" or config["image_size"] not in space.knobs[0].choices:
            continue
        network = space.network(genome_of_config(space, config))
        expected = network_from_config(config)
        assert [layer for _, layer in network.layers] == [layer for _, layer in expected.layers]
        assert network.params == expected.params
        checked[space.width] += 1
    assert min(checked.values()) > 0


def test_the_smallest_network_layer_by_layer():
    # the facts of Cai et al. and of the reference implementation: widths, strides, gates, head
    network = narrow.network(np.zeros(46, dtype=np.int64))
    layers = dict(network.layers)
    assert network.input == TensorShape(3, 128, 128)
    assert layers["stem"] == Layer(K=16, C=3, P=64, Q=64, R=3, S=3, stride_w=2, stride_h=2)
    assert layers["first.depthwise"] == Layer(G=16, P=64, Q=64, R=3, S=3)
    assert layers["stage1.block1.expand"] == Layer(K=48, C=16, P=64, Q=64)
    assert layers["stage2.block1.depthwise"] == Layer(G=72, P=16, Q=16, R=3, S=3, stride_w=2, stride_h=2)
    assert layers["stage2.block1.se.reduce"] == Layer(K=24, C=72)
    assert layers["stage4.block1.depthwise"] == Layer(G=240, P=8, Q=8, R=3, S=3)
    assert layers["stage5.block2.project"] == Layer(K=160, C=480, P=4, Q=4)
    assert layers["final_expand"] == Layer(K=960, C=160, P=4, Q=4)
    assert layers["feature_mix"] == Layer(K=1280, C=960)
    assert layers["classifier"] == Layer(K=1000, C=1280)
    gated = {name.partition(".")[0] for name in layers if name.endswith("se.reduce")}
    assert gated == {"stage2", "stage4", "stage5"}
    extra = {node.name: node.extra_params for node in network.nodes}
    assert (extra["feature_mix"], extra["classifier"], extra["final_expand"]) == (0, 1000, 2 * 960)
    names = [node.name for node in network.nodes]
    assert {"stage2.block2.depthwise.relu", "stage3.block1.depthwise.h_swish", "stage1.block2.add"} <= set(names)
    assert "stage1.block3.expand" not in names


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: OfaMobileNetV3(1.1), "OFA-MobileNetV3: unknown width '1.1': "),
        (lambda: narrow.genome({"resolution": 230}), r"resolution = 230 is not one of \[128, 132"),
        (lambda: wide.genome({"resolution": 128}), r"resolution = 128 is not one of \[160, 164"),
        (lambda: narrow.genome({"depth_6": 2}), "unknown knob 'depth_6'"),
        (lambda: narrow.genome({"kernel_3": 9}), r"kernel_3 = 9 is not one of \[3, 5, 7\]"),
        (lambda: narrow.network(np.zeros(45, dtype=np.int64)), "a genome has 46 genes, not 45"),
        (lambda: narrow.network(np.full(46, -1)), r"gene -1 of resolution is outside 0\.\.24"),
        (lambda: narrow.network(np.full(46, 3)), r"gene 3 of depth_1 is outside 0\.\.2"),
    ],
)
def test_what_is_not_in_the_space_is_refused(act, said):
    with pytest.raises(SpaceError, match=said):
        act()
