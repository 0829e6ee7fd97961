"""A network on an accelerator: the sum of its rows, with the vector unit's work counted by hand."""

from __future__ import annotations

import math

import pytest

from accel_models.accelerator import Accelerator
from accel_models.description import load_target, parse_target, target_names, with_values
from accel_models.errors import MappingError
from accel_models.mapper.best import best_mapping
from accel_models.network_builder import NetworkBuilder
from accel_models.networks import NETWORKS, load_network
from accel_models.targets import asic
from accel_models.workload import Network, VectorOp

TARGET = """
name: small
clock_mhz: 50
node_nm: 45
precision: {weights: 8, inputs: 8, outputs: 8}
mac: {energy_pj: 0.5}
vector_unit: {lanes: 4, energy_pj: 3}
levels:
  - {name: registers, component: register_file, keeps: [weights, inputs, outputs], entries: 16}
  - name: buffer
    component: sram
    keeps: [inputs, outputs]
    entries: 512
    fanout: {x: {size: 4, dims: [K]}, y: {size: 4, dims: [C]}}
  - name: dram
    component: dram
    keeps: [weights, inputs, outputs]
    word_bits: 16
    block_words: 4
    read_bandwidth_words_per_cycle: 3
    write_bandwidth_words_per_cycle: 2
    shared_bandwidth_words_per_cycle: 4
    access_energy_pj: {read: 80, write: 100, update: 100}
"""


@pytest.fixture(scope="module")
def small() -> Accelerator:
    return parse_target(TARGET, "small.yaml")


@pytest.fixture(scope="module")
def network() -> Network:
    """8 x 8 pixels of 4 channels: a layer with its activation, a second branch, their sum, an activation of it, a pool."""
    net = NetworkBuilder("branches", channels=4, height=8)
    left = net.conv("left", 8, 3, activation="relu")
    right = net.conv("right", 8, 1, x="input")
    net.add("sum", left, right)
    net.activation("late")
    net.global_pool("pool")
    net.linear("classifier", 10)
    return net.build()


def test_latency_and_energy_are_the_sums_of_the_rows(small, network) -> None:
    cost = small.evaluate(network, effort=50)
    assert [row.name for row in cost.operations] == [node.name for node in network.nodes]
    assert cost.energy_j == pytest.approx(sum(row.energy_pj for row in cost.operations) * 1e-12, rel=1e-12)
    assert cost.latency_s == pytest.approx(sum(row.latency_cycles for row in cost.operations) / 50e6, rel=1e-12)
    assert cost.edp_js == cost.energy_j * cost.latency_s
    assert (cost.macs, cost.params, cost.area_mm2) == (network.macs, network.params, small.area_mm2)
    assert [row.name for row in cost.layers] == ["left", "right", "classifier"]
    assert all(row in cost.operations for row in cost.layers)
    assert str(cost).startswith("branches on small: ")


def test_a_layer_costs_what_its_best_mapping_costs(small, network) -> None:
    for objective in ("energy", "latency", "edp"):
        cost = small.evaluate(network, objective=objective, effort=40, seed=5)
        for row in cost.layers:
            found = best_mapping(row.layer, small, objective, effort=40, seed=5)
            assert (row.mapping, row.energy_pj, row.latency_cycles) == (
                found.mapping,
                found.energy_pj,
                found.latency_cycles,
            )
            assert row.utilisation == row.macs / (16 * row.latency_cycles)


def test_the_vector_units_work_is_counted_by_hand(small, network) -> None:
    rows = {row.name: row for row in small.evaluate(network, effort=50).operations}
    # sum: 8 x 8 x 8 = 512 additions on 4 lanes; reads 2 x 512 and writes 512 elements of 8 bits, two per 16-bit word:
    # 512 words at 3 per cycle, 256 at 2, 768 in all at 4: 192 cycles; blocks of 4 words cost 80 and 100 pJ
    assert rows["sum"].latency_cycles == max(512 / 4, math.ceil(512 / 3), 256 / 2, 768 / 4) == 192
    assert rows["sum"].energy_pj == pytest.approx(512 * 3 + 512 / 4 * 80 + 256 / 4 * 100)
    # an activation behind the sum is no layer's: it moves its data itself; 256 words each way
    assert rows["late"].latency_cycles == max(512 / 4, math.ceil(256 / 3), 256 / 2, 512 / 4) == 128
    assert rows["late"].energy_pj == pytest.approx(512 * 3 + 256 / 4 * (80 + 100))
    # an activation right behind its layer moves nothing, and takes time only beyond the layer's
    fused = next(row for name, row in rows.items() if name == "left.relu")
    assert fused.energy_pj == 512 * 3
    assert fused.latency_cycles == max(0, 128 - rows["left"].latency_cycles) == 0
    assert all(
        row.macs == 0 and row.mapping is None
        for row in rows.values()
        if row.name not in ("left", "right", "classifier")
    )


def test_a_fused_activation_slower_than_its_layer_takes_the_difference(small, network) -> None:
    slow = with_values(small, {"vector_unit.lanes": 1, "buffer.fanout.x.size": 64, "buffer.fanout.y.size": 64})
    net = NetworkBuilder("thin", channels=1, height=32)
    net.conv("layer", 4, 1, activation="relu")
    fast = with_values(slow, {"dram.read_bandwidth_words_per_cycle": 1e6, "dram.write_bandwidth_words_per_cycle": 1e6,
                              "dram.shared_bandwidth_words_per_cycle": 1e6})  # fmt: skip
    layer, relu = fast.evaluate(net.build(), objective="latency", effort=300).operations
    assert layer.latency_cycles < 4096
    assert relu.latency_cycles == 4096 - layer.latency_cycles
    assert fast.evaluate(net.build(), objective="latency", effort=300).latency_s == pytest.approx(4096 / 50e6)


def test_known_mappings_are_used_and_change_nothing(small, network) -> None:
    cache: asic.Cache = {}
    first = asic.evaluate(network, small, effort=30, cache=cache)
    assert set(cache) == set(network.distinct_layers)
    known = dict(cache)
    second = asic.evaluate(network, small, effort=30, cache=cache)
    assert all(cache[layer] is found for layer, found in known.items())
    assert (first.latency_s, first.energy_j) == (second.latency_s, second.energy_j)
    assert asic.totals(network, small, cache) == (first.latency_s, first.energy_j)


def test_a_network_with_a_layer_that_cannot_be_mapped_is_refused(small, network) -> None:
    with pytest.raises(
        MappingError, match=r"small: layer K8 C4 P8 Q8 R3 S3 cannot be mapped: level 'registers' has room for 2 words"
    ):
        with_values(small, {"registers.entries": 2}).evaluate(network)


def test_rows_as_a_table(small, network) -> None:
    frame = small.evaluate(network, effort=5).operations.to_dataframe()
    assert list(frame["name"]) == [node.name for node in network.nodes]
    assert frame["energy_pj"].gt(0).all()
    assert frame.loc[0, "layer"] == "K8 C4 P8 Q8 R3 S3"


@pytest.mark.parametrize("name", target_names())
@pytest.mark.parametrize("network_name", NETWORKS)
def test_no_network_is_faster_than_its_macs(name, network_name) -> None:
    """Every shipped network runs on every shipped target, and no layer takes less than a cycle per MAC and unit."""
    target, made = load_target(name), load_network(network_name)
    cost = target.evaluate(made, effort=3)
    assert cost.latency_s * target.clock_mhz * 1e6 >= made.macs / target.macs_per_cycle
    assert [row.macs for row in cost.layers] == [layer.macs for _, layer in made.layers]
    for row in cost.layers:
        assert row.latency_cycles >= row.macs / target.macs_per_cycle
        assert 0 < row.utilisation <= 1
    working = [
        node.name
        for node in made.nodes
        if not isinstance(node.op, VectorOp) or node.op.operations + node.op.input_elements
    ]
    assert [row.name for row in cost.operations if row.energy_pj > 0] == working
