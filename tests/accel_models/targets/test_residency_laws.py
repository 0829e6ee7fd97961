"""Tensors that stay on chip: the laws that no network and no machine may break, and descriptions that are refused."""

from __future__ import annotations

import math
from functools import cache, reduce
from operator import add

import numpy as np
import pytest

from accel_models.accelerator import Accelerator
from accel_models.description import load_target, parse_target, target_names, with_values
from accel_models.errors import DescriptionError
from accel_models.layer_cost import layer_cost
from accel_models.mapper.base import touched_inputs
from accel_models.targets import asic
from accel_models.workload import Layer, Network, VectorOp
from tests.accel_models.targets.residency_cases import MACHINE, attention, branches, held, two_layers

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


def test_the_cases_above_hold_some_tensors_or_all() -> None:
    kept: dict[str, list[int]] = {network: [] for network in NETWORKS}
    for network in NETWORKS:
        accelerator, made, cache = found_for("usual", network)
        for entries in ROOMS:
            on = with_values(accelerator, {"buffer.entries": entries, "buffer.holds_tensors": True})
            kept[network].append(len(held(asic.evaluate(made, on, cache=cache)).tensors))
    # all but the network's input and its result, and keys and values, which take the place of weights
    assert {network: counts[-1] for network, counts in kept.items()} == {"branches": 18, "attention": 6, "two": 1}
    assert len(set(kept["branches"])) >= 3, kept


@pytest.mark.parametrize("name", target_names())
def test_off_nothing_is_different(name) -> None:
    """Layers at the mapper's figures; the vector unit's work from DRAM, counted anew."""
    shipped, made = load_target(name), branches()
    holds = {f"{level.name}.holds_tensors": False for level in shipped.levels}
    accelerator = with_values(shipped, holds)
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
        ({"registers.holds_tensors": True}, " is true for 'registers', 'buffer'; one level can hold tensors"),
    ],
)  # fmt: skip
def test_a_level_that_cannot_hold_tensors_is_refused(changes, said) -> None:
    machine = parse_target(MACHINE, "machine.yaml")
    with pytest.raises(DescriptionError, match=f"levels: holds_tensors.*{said}"):
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
