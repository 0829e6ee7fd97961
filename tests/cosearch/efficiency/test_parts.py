"""Networks are cut into parts: all of their work is in one of them, and pieces are cut as networks are."""

from __future__ import annotations

import numpy as np
import pytest

from accel_models.network_builder import NetworkBuilder
from accel_models.networks import NETWORKS, load_network
from accel_models.workload import TensorShape
from cosearch.efficiency.parts import BLOCK, LAYER, Part, parts_of_network
from cosearch.efficiency.space_parts import parts_of_piece, parts_of_space
from cosearch.spaces import load_space
from cosearch.spaces.piece_index import PieceIndex


def gate_macs(network) -> int:
    return sum(layer.macs for name, layer in network.layers if ".se." in name)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_parts_have_all_macs_but_those_of_squeeze_and_excite(name) -> None:
    network = load_network(name)
    work = sum(part.work for _, part in parts_of_network(network) if part.kind in (BLOCK, LAYER))
    assert work == network.macs - gate_macs(network)


def test_a_bottleneck_is_one_part_with_all_that_its_time_depends_on() -> None:
    net = NetworkBuilder("small", channels=16, height=20)
    net.mbconv("block", 16, 5, 4, squeeze_excite=True, activation="h_swish")
    net.mbconv("down", 24, 3, middle=64, stride=2, activation="relu6")
    here, there = TensorShape(16, 20, 20), TensorShape(24, 10, 10)
    assert parts_of_network(net.build()) == [
        ("block", Part(BLOCK, here, here, 5, 1, 1, 64, True, True, "h_swish")),
        ("down", Part(BLOCK, here, there, 3, 2, 1, 64, False, False, "relu")),
    ]


def test_other_operations_are_parts_and_fused_ones_belong_to_their_layer() -> None:
    net = NetworkBuilder("small", channels=8, height=16)
    first = net.conv("first", 8, 3, activation="relu6")
    net.add("sum", first, net.conv("second", 8, 1))
    net.pool("pool", 2)
    net.linear("classifier", 10)
    names = dict(parts_of_network(net.build()))
    assert list(names) == ["first", "second", "sum", "pool", "classifier"]
    assert (names["first"].activation, names["second"].activation) == ("relu", "")
    assert (names["sum"].kind, names["pool"].kind, names["pool"].kernel) == ("add", "pool", 2)
    assert names["classifier"].input == TensorShape(8 * 8 * 8)


@pytest.mark.parametrize(("groups", "middle"), [(2, 32), (1, 16)], ids=["grouped", "expands nothing"])
def test_a_block_of_another_family_is_no_bottleneck(groups, middle) -> None:
    net = NetworkBuilder("small", channels=16, height=8)
    net.conv("x.expand", middle, 1, groups=groups, activation="relu")
    net.conv("x.depthwise", middle, 3, groups=middle, activation="relu")
    net.conv("x.project", 16, 1, groups=groups)
    assert [name for name, _ in parts_of_network(net.build())] == ["x.expand", "x.depthwise", "x.project"]


@pytest.mark.parametrize("name", ["ofa-mobilenet-v3", "ofa-proxyless", "ofa-resnet50"])
def test_pieces_are_cut_as_their_networks_are(name) -> None:
    space = load_space(name)
    known = {part for _, piece in PieceIndex(space, [160]).pieces() for _, part in parts_of_piece(piece)}
    assert known == {part for _, part in parts_of_space(space, [160])}
    for seed in range(5):
        genome = space.sample_genomes(np.random.default_rng(seed), 1)[0]
        genome[0] = space.knobs[0].index(160)
        assert {part for _, part in parts_of_network(space.network(genome))} <= known


def test_parts_of_a_space_without_pieces_come_from_networks_at_random() -> None:
    space = load_space("nas-bench-201")
    parts = parts_of_space(space, samples=40)
    assert parts == parts_of_space(space, samples=40)
    assert len({part for _, part in parts}) == len(parts) > 10
