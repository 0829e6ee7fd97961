"""Networks and a machine for the tests of what stays on chip."""

from __future__ import annotations

from accel_models.network_builder import NetworkBuilder
from accel_models.targets.cost import NetworkCost
from accel_models.targets.residency import Residency
from accel_models.workload import INPUT, Network

MACHINE = """
name: machine
clock_mhz: 100
node_nm: 45
precision: {weights: 8, inputs: 8, outputs: 8}
vector_unit: {lanes: 4}
levels:
  - {name: registers, component: register_file, keeps: [weights, inputs, outputs], entries: 16, word_bits: 8}
  - name: buffer
    component: sram
    keeps: [weights, inputs, outputs]
    entries: 4096
    word_bits: 8
    block_words: 4
    read_bandwidth_words_per_cycle: 16
    write_bandwidth_words_per_cycle: 8
    access_energy_pj: {read: 4, write: 5, update: 5}
    fanout: {x: {size: 4, dims: [K, G]}, y: {size: 4, dims: [C, Q]}}
  - {name: spare, component: sram, keeps: [weights], entries: 64, word_bits: 8}
  - name: dram
    component: dram
    keeps: [weights, inputs, outputs]
    word_bits: 16
    block_words: 4
    shared_bandwidth_words_per_cycle: 1
"""


def held(cost: NetworkCost) -> Residency:
    assert cost.residency is not None
    return cost.residency


def two_layers() -> Network:
    net = NetworkBuilder("two", channels=2, height=4)
    net.conv("first", 2, 1, activation="relu")
    net.conv("second", 2, 1)
    return net.build()


def attention() -> Network:
    net = NetworkBuilder("attention", channels=8, height=1, width=4)
    mixed = net.attention("self", heads=2)
    net.layer_norm("norm", net.add("sum", INPUT, mixed))
    return net.build()


def branches() -> Network:
    """Residual, squeeze-and-excite, concatenation, crop, pools, strides."""
    net = NetworkBuilder("branches", channels=3, height=16)
    stem = net.conv("stem", 8, 3, stride=2, activation="relu")
    net.mbconv("block", 8, 3, 2, squeeze_excite=True, x=stem)
    skip = net.mbconv("again", 8, 5, 2)
    net.pool("down", 2)
    net.conv("low", 12, 3, padding=0, activation="relu")
    up = net.upsample("up", 2)
    cut = net.crop("cut", 4, 4, x=skip)
    net.concat("joined", cut, up)
    net.conv("mixed", 8, 1, activation="relu")
    net.global_pool("pool")
    net.linear("classifier", 10)
    return net.build()
