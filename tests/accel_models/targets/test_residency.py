"""Tensors that stay on chip: what stays and what it saves, counted by hand."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from accel_models.accelerator import Accelerator
from accel_models.description import parse_target, with_values
from accel_models.layer_cost import layer_cost
from accel_models.mapper.base import Found
from accel_models.mapping import Mapping
from accel_models.network_builder import NetworkBuilder
from accel_models.targets import asic
from accel_models.workload import INPUT, Layer
from tests.accel_models.cases import mapping_of
from tests.accel_models.targets.residency_cases import attention, held, two_layers

TARGET = """
name: by_hand
clock_mhz: 1
node_nm: 45
mac: {energy_pj: 0.5, area_um2: 1}
vector_unit: {lanes: 4, energy_pj: 2}
levels:
  - name: buffer
    component: sram
    keeps: [weights, inputs, outputs]
    entries: 37
    read_bandwidth_words_per_cycle: 8
    access_energy_pj: {read: 1, write: 1, update: 1}
    area_um2: 1
  - name: dram
    component: dram
    keeps: [weights, inputs, outputs]
    shared_bandwidth_words_per_cycle: 1
    access_energy_pj: {read: 100, write: 100, update: 100}
"""
OFF = parse_target(TARGET, "by_hand.yaml")
ON = with_values(OFF, {"buffer.holds_tensors": True})

POINTWISE = Layer(K=2, C=2, P=4, Q=4)
BY_ROWS = mapping_of({"buffer": {"T": "P4"}, "dram": {"T": "Q4 K2 C2"}})
"""A row of one channel at a time; C outermost, so that partial sums go out and come back."""


def known(accelerator: Accelerator, layer: Layer, mapping: Mapping) -> asic.Cache:
    cost = layer_cost(layer, accelerator, mapping)
    return {layer: Found(mapping.to_array(), cost.energy_pj, cost.latency_cycles, 1)}


# Two layers by hand. Either has 64 MACs, 16 visits of a row of 4 inputs, 4 weights one by one and 16 visits of a row of 4
# outputs. Off, buffer: reads 64 + 64 + 32, fills 4 + 64 + 32, updates 64; DRAM: reads 4 + 64 + 32, updates 64.


def test_off_both_layers_move_all_their_tensors_through_dram() -> None:
    cost = asic.evaluate(two_layers(), OFF, cache=known(OFF, POINTWISE, BY_ROWS))
    for row in cost.layers:
        assert row.energy_pj == 64 * 0.5 + (160 + 100 + 64) + 100 * (100 + 64)
        assert row.latency_cycles == 164
    assert cost.residency is None


def test_on_the_tensor_between_them_never_sees_dram() -> None:
    cost = asic.evaluate(two_layers(), ON, cache=known(OFF, POINTWISE, BY_ROWS))
    first, second = cost.layers
    # first: no updates of DRAM, no partial sums read from it, none filled into the buffer
    assert first.energy_pj == 64 * 0.5 + (160 + 68 + 64) + 100 * 68
    assert first.latency_cycles == 68  # 64 to compute
    # second: no inputs read from DRAM, none filled
    assert second.energy_pj == 64 * 0.5 + (160 + 36 + 64) + 100 * (36 + 64)
    assert second.latency_cycles == 100
    assert (first.utilisation, second.utilisation) == (64 / 68, 64 / 100)
    assert [tensor.name for tensor in held(cost).tensors] == ["first"]
    assert held(cost).level == "buffer"


def test_per_level_the_report_says_what_is_spared() -> None:
    stays = held(asic.evaluate(two_layers(), ON, cache=known(OFF, POINTWISE, BY_ROWS)))
    counts = {
        (name, row.level, row.dataspace): (row.reads, row.fills, row.updates)
        for name, cost in stays.layer_costs.items()
        for row in cost.traffic
    }
    assert counts["first", "buffer", "outputs"] == (32, 0, 64)
    assert counts["first", "dram", "outputs"] == (0, 0, 0)
    assert counts["first", "dram", "inputs"] == (64, 0, 0)
    assert counts["second", "buffer", "inputs"] == (64, 0, 0)
    assert counts["second", "dram", "inputs"] == (0, 0, 0)
    assert counts["second", "dram", "outputs"] == (32, 0, 64)
    assert dict(stays.layer_costs["first"].level_cycles) == {"buffer": 64, "dram": 68}


def test_the_exact_fit_stays_and_one_word_less_changes_nothing() -> None:
    # the tensor has 32 words; beside it the first layer needs a row of 4 inputs, the second one of 4 outputs, and both a
    # weight; the tiles of the tensor itself lie in it
    found = known(OFF, POINTWISE, BY_ROWS)
    off = asic.evaluate(two_layers(), OFF, cache=found)
    assert held(asic.evaluate(two_layers(), ON, cache=found)).used_words == (37, 32, 37)
    smaller = asic.evaluate(two_layers(), with_values(ON, {"buffer.entries": 36}), cache=found)
    assert held(smaller).tensors == ()
    assert smaller.operations == off.operations
    assert (smaller.latency_s, smaller.energy_j) == (off.latency_s, off.energy_j)


def test_buffering_leaves_that_much_less_room() -> None:
    found = known(OFF, POINTWISE, BY_ROWS)
    for entries, stay in ((74, ["first"]), (73, [])):
        doubled = with_values(ON, {"buffer.entries": entries, "buffer.buffering": 2})
        stays = held(asic.evaluate(two_layers(), doubled, cache=found))
        assert [tensor.name for tensor in stays.tensors] == stay


@pytest.mark.parametrize(("bits", "words"), [(16, 32), (8, 16), (12, 24), (5, 10)])
def test_a_tensor_takes_the_words_that_its_bits_fill(bits, words) -> None:
    narrow = with_values(ON, {"precision": {"weights": 16, "inputs": bits, "outputs": bits}})
    row = math.ceil(4 * bits / 16)
    found = known(narrow, POINTWISE, BY_ROWS)
    assert held(asic.evaluate(two_layers(), narrow, cache=found)).used_words[0] == words + row + 1


def test_a_tensor_that_is_read_wider_than_it_is_written_takes_the_wider_words() -> None:
    wide = with_values(ON, {"precision": {"weights": 16, "inputs": 32, "outputs": 16}, "buffer.entries": 100})
    found = known(wide, POINTWISE, BY_ROWS)
    assert held(asic.evaluate(two_layers(), wide, cache=found)).used_words[1] == 64


# What the vector unit does


def test_the_vector_unit_finds_and_leaves_tensors_on_chip() -> None:
    net = NetworkBuilder("sum", channels=2, height=4)
    left = net.conv("left", 2, 1, x=INPUT)
    right = net.conv("right", 2, 1, x=INPUT)
    net.add("sum", left, right)
    net.conv("last", 2, 1)
    found = known(OFF, POINTWISE, BY_ROWS)
    rows = {row.name: row for row in asic.evaluate(net.build(), OFF, cache=found).operations}
    # 32 sums on 4 lanes; 64 words read and 32 written at one per cycle
    assert (rows["sum"].latency_cycles, rows["sum"].energy_pj) == (96, 32 * 2 + 96 * 100)
    wide = with_values(ON, {"buffer.entries": 101})
    cost = asic.evaluate(net.build(), wide, cache=found)
    assert [tensor.name for tensor in held(cost).tensors] == ["left", "right", "sum"]
    assert max(held(cost).used_words) == 96
    rows = {row.name: row for row in cost.operations}
    assert (rows["sum"].latency_cycles, rows["sum"].energy_pj) == (64 / 8, 32 * 2 + 96 * 1)
    # room for two of the three: the sum goes to DRAM while its operands come from the buffer
    cost = asic.evaluate(net.build(), with_values(ON, {"buffer.entries": 95}), cache=found)
    assert [tensor.name for tensor in held(cost).tensors] == ["left", "right"]
    rows = {row.name: row for row in cost.operations}
    assert (rows["sum"].latency_cycles, rows["sum"].energy_pj) == (32, 32 * 2 + 64 * 1 + 32 * 100)


def test_a_concatenation_may_stay_in_part() -> None:
    net = NetworkBuilder("concat", channels=1, height=4)
    made = net.conv("made", 2, 1)
    net.concat("joined", INPUT, made)  # the network's input lies in DRAM
    net.conv("last", 2, 1)
    network = net.build()
    cache = known(OFF, Layer(K=2, C=1, P=4, Q=4), mapping_of({"buffer": {"T": "P4"}, "dram": {"T": "Q4 K2"}}))
    cache |= known(OFF, Layer(K=2, C=3, P=4, Q=4), mapping_of({"buffer": {"T": "P4"}, "dram": {"T": "C3 Q4 K2"}}))
    # the last layer needs the tensor's 32 words, and a whole row of 4 inputs as not all of them stay, 4 outputs, 1 weight
    stays = held(asic.evaluate(network, with_values(ON, {"buffer.entries": 40}), cache=cache))
    assert stays.tensors == ()
    stays = held(asic.evaluate(network, with_values(ON, {"buffer.entries": 41}), cache=cache))
    assert stays.used_words[-1] == 41
    assert [share.inputs for share in stays.shares] == [0, 0, Fraction(2, 3)]
    rows = {(row.level, row.dataspace): row for row in stays.layer_costs["last"].traffic}
    # a row of 4 inputs at each of 24 visits, a third of them of the network's input
    assert rows["dram", "inputs"].reads == rows["buffer", "inputs"].fills == 4 * 24 / 3


# What stays where


ROOMY = with_values(ON, {"buffer.entries": 10**6})


def test_operands_in_the_place_of_weights_stay_only_in_a_level_that_keeps_weights() -> None:
    stays = held(asic.evaluate(attention(), ROOMY, effort=20))
    assert {tensor.name for tensor in stays.tensors} == {
        "self.query", "self.key", "self.value", "self.scores", "self.softmax", "self.mix", "self.project", "sum",
    }  # fmt: skip
    scores = {(row.level, row.dataspace): row for row in stays.layer_costs["self.scores"].traffic}
    assert scores["dram", "weights"].reads == scores["buffer", "weights"].fills == 0
    no_weights = with_values(ROOMY, {"buffer.keeps": ["inputs", "outputs"]})
    names = {tensor.name for tensor in held(asic.evaluate(attention(), no_weights, effort=20)).tensors}
    assert names == {"self.query", "self.scores", "self.softmax", "self.mix", "self.project", "sum"}


def test_inputs_and_results_of_the_network_are_in_dram() -> None:
    net = NetworkBuilder("heads", channels=2, height=4)
    trunk = net.conv("trunk", 2, 1)
    net.conv("head", 2, 1)
    net.conv("deep", 2, 1, x=trunk)
    stays = held(asic.evaluate(net.build(), ROOMY, effort=20))
    assert [tensor.name for tensor in stays.tensors] == ["trunk"]


def test_a_tensor_that_is_read_before_and_after_its_activation_stays_before_only() -> None:
    """The cost model has no traffic for the second tensor that a fused operation makes then: it stays with DRAM."""
    net = NetworkBuilder("both", channels=2, height=4)
    made = net.conv("made", 2, 1, activation="relu")
    net.add("sum", "made", made)
    net.conv("last", 2, 1)
    stays = held(asic.evaluate(net.build(), ROOMY, effort=20))
    assert [tensor.name for tensor in stays.tensors] == ["made", "sum"]
