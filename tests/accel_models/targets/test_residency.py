"""Tensors that stay on chip: two layers counted by hand, and the laws that no network and no machine may break."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache, reduce
from operator import add

import numpy as np
import pytest

from accel_models.accelerator import Accelerator
from accel_models.description import load_target, parse_target, target_names, with_values
from accel_models.errors import DescriptionError
from accel_models.layer_cost import layer_cost
from accel_models.mapper.base import Found, touched_inputs
from accel_models.mapping import Mapping
from accel_models.network_builder import NetworkBuilder
from accel_models.targets import asic
from accel_models.targets.residency import Residency
from accel_models.workload import INPUT, Layer, Network, VectorOp
from tests.accel_models.cases import mapping_of

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


def two_layers() -> Network:
    net = NetworkBuilder("two", channels=2, height=4)
    net.conv("first", 2, 1, activation="relu")
    net.conv("second", 2, 1)
    return net.build()


def held(cost: asic.NetworkCost) -> Residency:
    assert cost.residency is not None
    return cost.residency


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
    cache = {
        layer: Found(mapping.to_array(), 0.0, 0.0, 1)
        for layer, mapping in (
            (Layer(K=2, C=1, P=4, Q=4), mapping_of({"buffer": {"T": "P4"}, "dram": {"T": "Q4 K2"}})),
            (Layer(K=2, C=3, P=4, Q=4), mapping_of({"buffer": {"T": "P4"}, "dram": {"T": "C3 Q4 K2"}})),
        )
    }
    stays = held(asic.evaluate(network, ON, cache=cache))
    assert [share.inputs for share in stays.shares] == [0, 0, Fraction(2, 3)]
    rows = {(row.level, row.dataspace): row for row in stays.layer_costs["last"].traffic}
    assert rows["dram", "inputs"].reads == rows["buffer", "inputs"].fills == 96 / 3


# What stays where


def attention() -> Network:
    net = NetworkBuilder("attention", channels=8, height=1, width=4)
    mixed = net.attention("self", heads=2)
    net.layer_norm("norm", net.add("sum", INPUT, mixed))
    return net.build()


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


# Laws


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
MACHINES = {
    "usual": {},
    "weights straight from dram": {"buffer.keeps": ["inputs", "outputs"]},
    "a buffer dearer and slower than dram": {
        "buffer.access_energy_pj": {"read": 9000, "write": 9000, "update": 9000},
        "buffer.read_bandwidth_words_per_cycle": 0.5,
    },
    "no bandwidth limits": {
        "buffer.read_bandwidth_words_per_cycle": None,
        "buffer.write_bandwidth_words_per_cycle": None,
        "dram.shared_bandwidth_words_per_cycle": None,
    },
    "odd widths": {"precision": {"weights": 4, "inputs": 6, "outputs": 12}, "buffer.word_bits": 10},
    "energy for nothing": {"dram.access_energy_pj": {"read": 0, "write": 0, "update": 0}},
}  # fmt: skip
NETWORKS = {"branches": branches, "attention": attention, "two": two_layers}
ROOMS = (700, 1000, 1500, 2500, 4096, 20000)


@cache
def found_for(machine: str, network: str) -> tuple[Accelerator, Network, asic.Cache]:
    """Return a machine that holds nothing, a network, and mappings that fit the smallest of the rooms."""
    accelerator = with_values(parse_target(MACHINE, "machine.yaml"), MACHINES[machine])
    small = with_values(accelerator, {"buffer.entries": ROOMS[0]})
    made, cache = NETWORKS[network](), {}
    asic.evaluate(made, small, effort=30, cache=cache)
    return accelerator, made, cache


CASES = pytest.mark.parametrize(
    ("machine", "network", "entries"),
    [(machine, network, entries) for machine in MACHINES for network in NETWORKS for entries in ROOMS],
)


@CASES
def test_nothing_takes_more_energy_or_time_than_with_the_switch_off(machine, network, entries) -> None:
    accelerator, made, cache = found_for(machine, network)
    sized = with_values(accelerator, {"buffer.entries": entries})
    off = asic.evaluate(made, sized, cache=cache)
    on = asic.evaluate(made, with_values(sized, {"buffer.holds_tensors": True}), cache=cache)
    assert on.energy_j <= off.energy_j * (1 + 1e-12)
    assert on.latency_s <= off.latency_s
    for before, after in zip(off.layers, on.layers, strict=True):
        assert after.energy_pj <= before.energy_pj
        assert after.latency_cycles <= before.latency_cycles
    assert max(held(on).used_words) <= held(on).capacity_words == entries


@CASES
def test_totals_are_the_sums_of_the_rows_and_rows_those_of_levels(machine, network, entries) -> None:
    accelerator, made, cache = found_for(machine, network)
    on = with_values(accelerator, {"buffer.entries": entries, "buffer.holds_tensors": True})
    cost = asic.evaluate(made, on, cache=cache)
    assert cost.energy_j == reduce(add, [row.energy_pj for row in cost.operations]) * 1e-12
    assert cost.latency_s == sum(row.latency_cycles for row in cost.operations) / 100e6
    assert asic.totals(made, on, cache) == (cost.latency_s, cost.energy_j)
    for row in cost.layers:
        layer = held(cost).layer_costs[row.name]
        assert (layer.energy_pj, layer.latency_cycles) == (row.energy_pj, row.latency_cycles)
        assert layer.energy_pj == reduce(add, [part.energy_pj for part in layer.traffic], layer.mac_energy_pj)
        assert layer.latency_cycles == max(layer.compute_cycles, *(cycles for _, cycles in layer.level_cycles))
        assert layer.utilisation == row.utilisation


@CASES
def test_what_physics_asks_for_is_still_paid(machine, network, entries) -> None:
    """Weights, the network's input and its results cross DRAM; what stays is written on chip once, and read there."""
    accelerator, made, cache = found_for(machine, network)
    on = with_values(accelerator, {"buffer.entries": entries, "buffer.holds_tensors": True})
    stays = held(asic.evaluate(made, on, cache=cache))
    there = {tensor.name for tensor in stays.tensors}
    for node, shares in zip(made.nodes, stays.shares, strict=True):
        if not isinstance(node.op, Layer):
            continue
        rows = {(row.level, row.dataspace): row for row in stays.layer_costs[node.name].traffic}
        assert rows["dram", "weights"].reads >= node.op.weight_elements * (1 - shares.weights)
        assert rows["dram", "inputs"].reads >= touched_inputs(node.op) * (1 - shares.inputs)
        assert rows["dram", "outputs"].updates >= node.op.output_elements * (node.name not in there)
        assert rows["buffer", "outputs"].updates >= node.op.output_elements
        assert rows["buffer", "inputs"].reads >= touched_inputs(node.op)
        before = layer_cost(node.op, on, stays.layer_costs[node.name].mapping)
        for row in before.traffic:
            after = rows[row.level, row.dataspace]
            assert (after.reads, after.updates) == (row.reads, row.updates) or row.level == "dram"
            assert after == row or row.level in ("buffer", "dram")


def test_some_of_the_cases_above_hold_some_tensors_and_others_all() -> None:
    for network, most in (("branches", 16), ("attention", 8), ("two", 1)):
        kept = []
        for entries in ROOMS:
            accelerator, made, cache = found_for("usual", network)
            on = with_values(accelerator, {"buffer.entries": entries, "buffer.holds_tensors": True})
            kept.append(len(held(asic.evaluate(made, on, cache=cache)).tensors))
        assert (kept[-1], kept[0] < kept[-1] or network == "two") == (most, True), kept


@pytest.mark.parametrize("name", target_names())
def test_off_nothing_is_different(name) -> None:
    """Layers at the mapper's figures; the vector unit's work from DRAM, counted anew."""
    accelerator, made = load_target(name), branches()
    assert accelerator.tensor_level is None
    cache: asic.Cache = {}
    cost = asic.evaluate(made, accelerator, effort=10, cache=cache)
    dram, unit = accelerator.levels[-1], asic.VectorCosts(accelerator)
    words = accelerator.precision.outputs / dram.word_bits
    energy = dram.energy_pj(accelerator.node_nm)
    for node, row in zip(made.nodes, cost.operations, strict=True):
        if isinstance(node.op, Layer):
            assert (row.energy_pj, row.latency_cycles) == (cache[node.op].energy_pj, cache[node.op].latency_cycles)
        elif not node.op.fused:
            reads, writes = node.op.input_elements * words, node.op.output_elements * words
            moved = (reads * energy.read + writes * energy.write) / dram.block_words
            assert row.energy_pj == pytest.approx(node.op.operations * unit.operation_pj + moved, rel=1e-12)
            ports = (
                (reads, dram.read_bandwidth_words_per_cycle),
                (writes, dram.write_bandwidth_words_per_cycle),
                (reads + writes, dram.shared_bandwidth_words_per_cycle),
            )
            times = [math.ceil(amount / width) for amount, width in ports if width]
            assert row.latency_cycles == max(math.ceil(node.op.operations / unit.lanes), *times)
    assert (cost.residency, cost.leakage, cost.leakage_j) == (None, (), 0)


def test_the_same_tensors_stay_every_time() -> None:
    accelerator, made, cache = found_for("usual", "branches")
    on = with_values(accelerator, {"buffer.holds_tensors": True})
    first, second = (asic.evaluate(made, on, cache=dict(cache)) for _ in range(2))
    assert first == second
    assert np.isfinite(first.energy_j)


# Descriptions


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"buffer.keeps": ["weights", "inputs"]}, "level 'buffer' must keep inputs and outputs, it does not keep outputs"),
        ({"buffer.keeps": ["weights"]}, "it does not keep inputs and outputs"),
        ({"spare.fanout.x.size": 2}, "level 'buffer' must be one instance, 'spare' outside fans out to several"),
        ({"dram.fanout.y.size": 3}, "level 'buffer' must be one instance, 'dram' outside fans out to several"),
        ({"spare.keeps": ["outputs"]}, "level 'buffer' must be next to dram, 'spare' in between keeps inputs or outputs"),
        ({"dram.holds_tensors": True, "buffer.holds_tensors": False}, "level 'dram' is dram, where tensors are anyway"),
        ({"registers.holds_tensors": True}, "holds_tensors is true for 'registers', 'buffer'; one level can hold tensors"),
    ],
)  # fmt: skip
def test_a_level_that_cannot_hold_tensors_is_refused(changes, said) -> None:
    machine = parse_target(MACHINE, "machine.yaml")
    with pytest.raises(
        DescriptionError, match=f"levels: holds_tensors.*{said}".replace("holds_tensors.*holds", "holds")
    ):
        with_values(machine, {"buffer.holds_tensors": True, **changes})


def test_a_file_says_so_with_its_line() -> None:
    text = MACHINE.replace(
        "    keeps: [weights, inputs, outputs]\n    entries: 4096",
        "    keeps: [weights]\n    holds_tensors: true\n    entries: 4096",
    )
    with pytest.raises(
        DescriptionError, match=r"machine.yaml:7: levels: holds_tensors: level 'buffer' must keep inputs"
    ):
        parse_target(text, "machine.yaml")


def test_it_may_be_searched_like_any_value() -> None:
    knob = "search: [{name: holds, sets: [buffer.holds_tensors], choices: [false, true]}]"
    target = parse_target(MACHINE + knob, "machine.yaml")
    assert [with_values(target, {"buffer.holds_tensors": value}).tensor_level for value in (False, True)] == [None, 1]


def test_no_vector_operation_of_a_network_is_forgotten() -> None:
    accelerator, made, cache = found_for("usual", "branches")
    on = with_values(accelerator, {"buffer.entries": 20000, "buffer.holds_tensors": True})
    stays = held(asic.evaluate(made, on, cache=cache))
    moving = [step for step, node in enumerate(made.nodes) if isinstance(node.op, VectorOp) and not node.op.fused]
    assert moving and all(stays.shares[step] == (0, 1, 1) for step in moving)
