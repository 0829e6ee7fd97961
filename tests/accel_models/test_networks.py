"""The networks that ship have the layers of their papers: MACs, parameters, shapes."""

from __future__ import annotations

import re
import subprocess
import sys

import networkx as nx
import pytest

from accel_models.errors import UnknownNameError, WorkloadError
from accel_models.networks import NETWORKS, load_network
from accel_models.workload import TensorShape

# torchvision's own figures: `num_params` and `_ops` (giga multiply-accumulates) of each model's ImageNet weights
TORCHVISION = {
    "resnet18": (11_689_512, 1.814),
    "resnet50": (25_557_032, 4.089),
    "mobilenet-v2": (3_504_872, 0.301),
    "mobilenet-v3-large": (5_483_032, 0.217),
    "mnasnet": (4_383_312, 0.314),
    "vgg16": (138_357_544, 15.47),
    "squeezenet": (1_248_424, 0.819),
    "squeezenet-1.1": (1_235_496, 0.349),
}

# the same torchvision models, convolutions and linear layers counted one by one by others: NNI's test-suite (resnet18,
# resnet50), published layer tables (vgg16), published profiles of torchvision (mobilenet_v2, squeezenet1_1)
EXACT_MACS = {
    "resnet18": 1_814_073_344,
    "resnet50": 4_089_184_256,
    "mobilenet-v2": 300_774_272,
    "vgg16": 15_470_264_320,
    "squeezenet-1.1": 349_151_936,
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_counts_are_torchvisions(name):
    network = load_network(name)
    params, giga_macs = TORCHVISION[name]
    assert network.params == params
    assert round(network.macs / 1e9, 3) == giga_macs


@pytest.mark.parametrize("name", EXACT_MACS)
def test_macs_are_exact_where_others_print_them_in_full(name):
    assert load_network(name).macs == EXACT_MACS[name]


def test_unet_is_the_papers_figure_1():
    # Ronneberger et al. 2015, figure 1: sizes of the images after each pair of 3x3 layers, written there
    sizes = {"down1": 568, "down2": 280, "down3": 136, "down4": 64, "down5": 28}
    sizes |= {"up4": 52, "up3": 100, "up2": 196, "up1": 388}
    network = load_network("unet")
    shapes = {node.name: node.output for node in network.nodes}
    assert {part: shapes[f"{part}.conv2"].height for part in sizes} == sizes
    assert network.input == TensorShape(1, 572, 572)
    assert network.nodes[-1].output == TensorShape(2, 388, 388)
    joined = [shapes[f"up{level}.concat"] for level in (4, 3, 2, 1)]
    assert joined == [
        TensorShape(1024, 56, 56),
        TensorShape(512, 104, 104),
        TensorShape(256, 200, 200),
        TensorShape(128, 392, 392),
    ]


def test_unet_counts_are_the_sum_over_figure_1():
    # (inputs, outputs, size of the output image) of its 18 3x3 layers, of its 4 up-convolutions, and the 1x1 layer
    widths = (1, 64, 128, 256, 512, 1024)
    down = [(a, b, size) for a, b, size in zip(widths, widths[1:], (570, 282, 138, 66, 30), strict=False)]
    down += [(b, b, size) for b, size in zip(widths[1:], (568, 280, 136, 64, 28), strict=True)]
    up = [(2 * b, b, size) for b, size in ((512, 54), (256, 102), (128, 198), (64, 390))]
    up += [(b, b, size) for b, size in ((512, 52), (256, 100), (128, 196), (64, 388))]
    macs = sum(9 * a * b * size**2 for a, b, size in down + up)
    params = sum(9 * a * b + b for a, b, _ in down + up)
    for b, size in ((512, 56), (256, 104), (128, 200), (64, 392)):
        macs += 2 * b * b * size**2  # each output pixel sees one of the 2x2 weights
        params += 4 * 2 * b * b + b
    macs += 64 * 2 * 388**2
    params += 64 * 2 + 2
    network = load_network("unet")
    assert (network.macs, network.params) == (macs, params)
    assert params == 31_030_658  # the "31.03 M" of the literature


def test_published_accuracies_name_their_source():
    # the project's collected accuracy facts: MobileNetV2 72.0, MnasNet 74.0, MobileNetV3-L 75.2, ResNet50 77.4
    published = {name: entry.published_top1_percent for name, entry in NETWORKS.items() if entry.published_top1_percent}
    assert published == {"mobilenet-v2": 72.0, "mnasnet": 74.0, "mobilenet-v3-large": 75.2, "resnet50": 77.4}
    for entry in NETWORKS.values():
        assert bool(entry.published_top1_source) == (entry.published_top1_percent is not None)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_summary_tells_the_networks_own_figures(name):
    network = load_network(name)
    found = re.search(r"([\d.]+) ([MG]) MACs, ([\d.]+) M parameters", NETWORKS[name].summary)
    macs, scale, params = float(found[1]), {"M": 1e6, "G": 1e9}[found[2]], float(found[3])
    assert macs * scale == pytest.approx(network.macs, rel=0.005)
    assert params * 1e6 == pytest.approx(network.params, rel=0.005)
    assert NETWORKS[name].source


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_goes_by_its_name_and_leaves_no_tensor_unread(name):
    network = load_network(name)
    assert network.name == name
    assert network.source
    assert nx.is_directed_acyclic_graph(network.graph)
    assert [node for node, readers in network.graph.out_degree if not readers] == [network.nodes[-1].name]


def test_resnet50_strides_in_its_3x3_layers():
    # torchvision's resnet50 is the v1.5 form; the original (v1) strides in the first 1x1 and has 3.86 G MACs
    layers = dict(load_network("resnet50").layers)
    assert layers["stage3.block1.conv1"].stride_w == 1
    assert layers["stage3.block1.conv2"].stride_w == 2
    assert layers["stage3.block1.downsample"].stride_w == 2


def test_mobilenet_v3_gates_are_as_wide_as_torchvisions():
    # torchvision: make_divisible(middle // 4, 8) for middle = 72, 120, 120, 480, 672, 672, 960, 960
    layers = load_network("mobilenet-v3-large").layers
    assert [layer.K for name, layer in layers if name.endswith("se.reduce")] == [24, 32, 32, 120, 168, 168, 240, 240]


def test_squeezenets_stem_has_no_padding_and_its_pools_round_up():
    # torchvision's activation sizes at 224 px: 109, 54, 27, 13 and 111, 55, 27, 13
    for name, sizes in (("squeezenet", [109, 54, 27, 13]), ("squeezenet-1.1", [111, 55, 27, 13])):
        nodes = load_network(name).nodes
        assert [node.output.height for node in nodes if node.name == "conv1" or "pool" in node.name][:4] == sizes


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet-v2", "vgg16"])
def test_twice_the_resolution_is_four_times_the_image(name):
    single, double = load_network(name), load_network(name, 448)
    fixed = sum(layer.macs for _, layer in single.layers if layer.kind == "linear")
    assert double.macs - fixed == 4 * (single.macs - fixed)
    assert double.params == single.params
    assert double.input == TensorShape(3, 448, 448)


@pytest.mark.parametrize(
    ("name", "smallest"), [("squeezenet", 21), ("squeezenet-1.1", 17), ("vgg16", 32), ("unet", 188)]
)
def test_an_image_too_small_is_refused(name, smallest):
    # `min_size` of torchvision's weights: squeezenet1_0 21, squeezenet1_1 17, vgg16 32; the U-Net by its arithmetic
    assert load_network(name, smallest).input.height == smallest
    with pytest.raises(WorkloadError, match=f"{name}: "):
        load_network(name, smallest - 1)


def test_unet_names_the_nearest_size_that_works():
    with pytest.raises(WorkloadError, match=r"unet: resolution 512 px: .* the nearest is 508"):
        load_network("unet", 512)
    assert load_network("unet", 508).nodes[-1].output == TensorShape(2, 324, 324)  # 508 - 184, as 572 -> 388


@pytest.mark.parametrize("wrong", [0, -224, 224.0, "224", True])
def test_a_resolution_must_be_a_positive_number_of_pixels(wrong):
    with pytest.raises(WorkloadError, match=r"network 'resnet18': resolution = .* positive number of pixels"):
        load_network("resnet18", wrong)


def test_an_unknown_name_is_told_the_nearest_one():
    with pytest.raises(UnknownNameError, match="unknown network 'resnet-50': did you mean 'resnet50'"):
        load_network("resnet-50")


def test_the_catalogue_is_cheap_to_open():
    script = """
import sys, accel_models.networks
heavy = {"numpy", "networkx", "numba", "torch", "pandas", "pydantic"} & set(sys.modules)
sys.exit(f"loaded {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
