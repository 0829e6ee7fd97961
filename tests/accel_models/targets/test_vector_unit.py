"""The vector unit: every kind of operation costs its operations by lanes and its traffic."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel_models.description import parse_target, with_values
from accel_models.network_builder import NetworkBuilder
from accel_models.targets.vector_unit import VectorCosts
from accel_models.workload import VectorKind, VectorOp

OFF = parse_target(
    """
name: small
clock_mhz: 50
node_nm: 45
precision: {weights: 8, inputs: 8, outputs: 8}
vector_unit: {lanes: 4, energy_pj: 3}
levels:
  - name: buffer
    component: sram
    keeps: [inputs, outputs]
    entries: 512
    word_bits: 32
    block_words: 2
    read_bandwidth_words_per_cycle: 0.5
    write_bandwidth_words_per_cycle: 0.25
    access_energy_pj: {read: 8, write: 12, update: 99}
  - name: dram
    component: dram
    keeps: [weights, inputs, outputs]
    word_bits: 16
    block_words: 4
    shared_bandwidth_words_per_cycle: 2
    access_energy_pj: {read: 80, write: 100, update: 99}
""",
    "small.yaml",
)
ON = with_values(OFF, {"buffer.holds_tensors": True})


def operations_of(kind: str) -> tuple[VectorOp, float]:
    """Return the operation of this kind on 6 channels of 4 x 4, as the builder makes it, and operations per element."""
    net = NetworkBuilder("n", channels=6, height=4)
    other = net.conv("other", 6, 1)
    made = {
        "activation": (lambda: net.activation("x", x="input"), 1),
        "add": (lambda: net.add("x", "input", other), 1),
        "multiply": (lambda: net.multiply("x", "input", other), 1),
        "pool": (lambda: net.pool("x", 2, x="input"), 1),
        "global_pool": (lambda: net.global_pool("x", x="input"), 1),
        "concat": (lambda: net.concat("x", "input", other), 0),
        "upsample": (lambda: net.upsample("x", 2, x="input"), 4),
        "softmax": (lambda: net.softmax("x", x="input"), 5),
        "normalise": (lambda: net.layer_norm("x", x="input"), 7),
        "shuffle": (lambda: net.up_conv("x", 3, x="input"), 0),
    }
    build, per_element = made[kind]
    build()
    op = net.nodes[-1].op
    assert isinstance(op, VectorOp)
    return op, per_element


@pytest.mark.parametrize("kind", get_args(VectorKind))
def test_every_kind_costs_what_it_does(kind) -> None:
    op, per_element = operations_of(kind)
    assert op.kind == kind
    assert op.operations == per_element * 96
    cycles, energy = VectorCosts(OFF).of(op, 0)
    if op.fused:  # data that changes places as it is written or read
        assert (cycles, energy, op.input_elements, op.output_elements) == (0, 0, 0, 0)
        return
    reads, writes = op.input_elements / 2, op.output_elements / 2  # two elements to a word
    assert cycles == max(math.ceil(op.operations / 4), math.ceil((reads + writes) / 2)) > 0
    assert energy == pytest.approx(3 * op.operations + reads / 4 * 80 + writes / 4 * 100)
    assert op.input_elements >= 96
    assert op.output_elements >= 6


def test_on_chip_the_levels_own_ports_and_energies_count() -> None:
    op = VectorOp("add", 96, 192, 96)
    # 48 and 24 words of four elements in the buffer, two to a block
    cycles, energy = VectorCosts(ON).of_resident(op, Fraction(1), Fraction(1))
    assert (cycles, energy) == (max(24, 48 / 0.5, 24 / 0.25), 96 * 3 + 48 / 2 * 8 + 24 / 2 * 12)
    # one operand there, the rest in DRAM: both work at the same time, (48 + 48) / 2 and 24 / 0.5 cycles
    cycles, energy = VectorCosts(ON).of_resident(op, Fraction(1, 2), Fraction(0))
    assert (cycles, energy) == (48, 96 * 3 + 24 / 2 * 8 + 48 / 4 * 80 + 48 / 4 * 100)


amounts = st.integers(0, 5000)


@given(amounts, amounts, amounts)
def test_with_nothing_on_chip_both_ways_to_count_agree(operations, reads, writes) -> None:
    op = VectorOp("add", operations, reads, writes)
    cycles, energy = VectorCosts(OFF).of(op, 0)
    nothing = Fraction(0)
    assert VectorCosts(ON).of(op, 0) == (cycles, energy)
    assert VectorCosts(ON).of_resident(op, nothing, nothing) == (cycles, pytest.approx(energy))
