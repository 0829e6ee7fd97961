"""FBNet as HW-NAS-Bench builds it: MACs of every block, the skeletons, and a block with groups against torch."""

from __future__ import annotations

import csv
import itertools
import pickle

import numpy as np
import pytest

from accel_models.workload import Layer, Network
from cosearch.errors import SpaceError
from cosearch.spaces.fbnet import BLOCKS, FbNet, cifar100, imagenet


def of_one_block(space: FbNet, block: str) -> Network:
    return space.network(space.genome({knob.name: block for knob in space.knobs}))


def macs_by_layer(network: Network) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, layer in network.layers:
        if name.startswith("stage"):
            place = ".".join(name.split(".")[:2])
            found[place] = found.get(place, 0) + layer.macs
    return found


def test_there_are_22_layers_of_9_blocks():
    assert imagenet().size == cifar100().size == 9**22
    with pytest.raises(SpaceError, match="unknown data set 'cifar10': did you mean 'cifar100'"):
        FbNet("cifar10")


def test_macs_of_every_block_are_those_of_the_measured_table(shared_data):
    """HW-NAS-Bench's blocks at CIFAR-100, by the shape that they read and make."""
    widths, sizes, strides = (16, 24, 32, 64, 112, 184, 352), (32, 32, 16, 8, 8, 4, 4), (1, 1, 2, 2, 1, 2, 1)
    where = {}
    for stage in range(7):
        before = max(stage - 1, 0)
        where[sizes[before], widths[before], widths[stage], strides[stage]] = f"stage{stage + 1}.layer1"
        where.setdefault((sizes[stage], widths[stage], widths[stage], 1), f"stage{stage + 1}.layer2")
    counts = {block: macs_by_layer(of_one_block(cifar100(), block)) for block in BLOCKS}
    with (shared_data / "fbnet_hw_latency" / "fbnet_cifar100_block_lut_derived.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 102
    for row in rows:
        shape = tuple(int(row[name]) for name in ("h_in", "cin", "cout", "stride"))
        assert counts[row["op"]][where[shape]] == int(row["macs"]), row


def by_hand(data_set: str) -> int:
    """MACs of the network of k3_e3 alone, layer by layer, from FBNet's table 1."""
    on_imagenet = data_set == "imagenet"
    size, channels = (112, 16) if on_imagenet else (32, 16)
    macs = size * size * 9 * 3 * 16
    strides = (1, 2, 2, 2, 1, 2, 1) if on_imagenet else (1, 1, 2, 2, 1, 2, 1)
    stages = zip((1, 4, 4, 4, 4, 4, 1), (16, 24, 32, 64, 112, 184, 352), strides, strict=True)
    for depth, width, stride in stages:
        for layer in range(depth):
            after = size // stride if layer == 0 else size
            middle = 3 * channels
            macs += size * size * channels * middle + after * after * (9 * middle + middle * width)
            size, channels = after, width
    head, classes = (1984, 1000) if on_imagenet else (1504, 100)
    return macs + size * size * channels * head + head * classes


@pytest.mark.parametrize("data_set", ["imagenet", "cifar100"])
def test_a_whole_network_is_counted_as_by_hand(data_set):
    assert of_one_block(FbNet(data_set), "k3_e3").macs == by_hand(data_set)


def test_skipping_all_leaves_one_convolution_per_change_of_shape():
    network = of_one_block(imagenet(), "skip")
    assert len(network.layers) == 1 + 6 + 2


def test_groups_are_shuffled_between_the_convolutions():
    nodes = {node.name: node for node in of_one_block(imagenet(), "k5_e1_g2").nodes}
    for part in ("expand", "project"):
        layer = nodes[f"stage2.layer3.{part}"].op
        assert isinstance(layer, Layer)
        assert layer.G == 2
    assert nodes["stage2.layer3.depthwise"].inputs == ("stage2.layer3.shuffle",)
    assert nodes["stage2.layer3.shuffle"].detail.groups == 2


def test_it_travels_as_the_name_of_its_data_set():
    for space in (imagenet(), cifar100()):
        assert pickle.loads(pickle.dumps(space)).name == space.name


def test_the_networks_run():
    torch = pytest.importorskip("torch")
    from cosearch.supernet.network_module import NetworkModule

    space = cifar100()
    genome = np.array(list(itertools.islice(itertools.cycle(range(len(BLOCKS))), len(space.knobs))))
    network = space.network(genome)
    module = NetworkModule(network).eval()
    assert sum(values.numel() for values in module.parameters()) == network.params
    assert module(torch.randn(2, 3, 32, 32)).shape == (2, 100)
