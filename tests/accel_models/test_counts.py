"""The cost kernel against its slow twin, and the laws that any counting must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_models.accelerator import Accelerator, AccessEnergy, Axis, Fanout, Mac, MemoryLevel
from accel_models.errors import MappingError
from accel_models.layer_cost import layer_cost
from accel_models.mapper.base import touched_inputs
from accel_models.mapping import LevelMapping, Mapping
from accel_models.workload import DATASPACES, DIMS, Layer

from .cases import machine, mapped_cases, mapping_of
from .walker import differences


@settings(max_examples=300, deadline=None)
@given(mapped_cases())
def test_counts_equal_the_walk(case) -> None:
    assert not differences(*case)


@settings(max_examples=200, deadline=None)
@given(mapped_cases())
def test_energy_and_latency_are_the_sums_of_their_breakdown(case) -> None:
    layer, accelerator, mapping = case
    cost = layer_cost(layer, accelerator, mapping)
    total = cost.mac_energy_pj
    for row in cost.traffic:
        total += row.energy_pj
    assert cost.energy_pj == total  # to the last digit
    assert cost.latency_cycles == max(cost.compute_cycles, *(cycles for _, cycles in cost.level_cycles))
    assert cost.latency_cycles >= layer.macs / accelerator.macs_per_cycle
    assert cost.utilisation <= 1


@settings(max_examples=200, deadline=None)
@given(mapped_cases())
def test_traffic_is_never_below_the_tensor(case) -> None:
    layer, accelerator, mapping = case
    dram = {
        row.dataspace: row
        for row in layer_cost(layer, accelerator, mapping).traffic
        if row.level == accelerator.levels[-1].name
    }
    assert dram["weights"].reads >= layer.weight_elements
    assert dram["outputs"].updates >= layer.output_elements
    assert dram["inputs"].reads >= touched_inputs(layer)


@settings(max_examples=100, deadline=None)
@given(mapped_cases(), st.integers(0, 4), st.floats(1, 8))
def test_more_bandwidth_is_never_slower(case, place, factor) -> None:
    layer, accelerator, mapping = case
    levels = list(accelerator.levels)
    level = levels[place % len(levels)]
    more = {
        name: getattr(level, name) * factor
        for name in (
            "read_bandwidth_words_per_cycle",
            "write_bandwidth_words_per_cycle",
            "shared_bandwidth_words_per_cycle",
        )
        if getattr(level, name) is not None
    }
    levels[place % len(levels)] = level.model_copy(update=more)
    faster = accelerator.model_copy(update={"levels": tuple(levels)})
    assert layer_cost(layer, faster, mapping).latency_cycles <= layer_cost(layer, accelerator, mapping).latency_cycles


def small(entries: int = 6, x: int = 2, **bandwidths: float) -> Accelerator:
    """One buffer that keeps everything, `x` MACs, unit energies."""
    unit = AccessEnergy(read=1, write=1, update=1)
    buffer = MemoryLevel(
        name="buffer", component="sram", keeps=DATASPACES, entries=entries, access_energy_pj=unit, area_um2=1,
        fanout=Fanout(x=Axis(size=x)), **bandwidths,
    )  # fmt: skip
    dram = MemoryLevel(name="dram", component="dram", keeps=DATASPACES, access_energy_pj=unit)
    return Accelerator(name="small", clock_mhz=1, node_nm=45, mac=Mac(energy_pj=1, area_um2=1), levels=(buffer, dram))


def test_a_buffer_one_word_too_small_is_refused_and_the_exact_fit_is_taken() -> None:
    layer = Layer(K=2, C=2)
    mapping = mapping_of({"buffer": {"T": "K2", "X": "C2"}})  # 4 weights, 2 inputs, 2 outputs
    assert layer_cost(layer, small(entries=8), mapping).energy_pj > 0
    with pytest.raises(MappingError, match=r"'buffer' must hold 8 words, it has room for 7"):
        layer_cost(layer, small(entries=7), mapping)


def test_a_mesh_one_too_narrow_is_refused() -> None:
    layer = Layer(C=3)
    mapping = mapping_of({"buffer": {"X": "C3"}})
    assert layer_cost(layer, small(entries=7, x=3), mapping).compute_cycles == 1
    with pytest.raises(MappingError, match="spreads over 3 children along X, it has 2"):
        layer_cost(layer, small(entries=7, x=2), mapping)


def test_factors_must_multiply_to_the_layer() -> None:
    with pytest.raises(MappingError, match="factors of C multiply to 2, the layer has C = 3"):
        layer_cost(Layer(C=3), small(), mapping_of({"buffer": {"X": "C2"}}))


def test_levels_must_be_the_accelerators() -> None:
    with pytest.raises(MappingError, match="mapping has levels"):
        layer_cost(Layer(), small(), Mapping((LevelMapping("dram"),)))


@pytest.mark.parametrize(("bandwidth", "cycles"), [(2.875, 8), (2.874, 9), (2.0, 12), (1.0, 23)])
def test_bandwidth_at_its_boundary(bandwidth: float, cycles: int) -> None:
    """8 steps of one MAC read 8 weights, 8 inputs, and 8 partial sums less the first: 23 words, 2.875 per cycle."""
    accelerator = small(entries=17, x=1, read_bandwidth_words_per_cycle=bandwidth)
    cost = layer_cost(Layer(C=8), accelerator, mapping_of({"buffer": {"T": "C8"}}))
    assert sum(row.reads for row in cost.traffic if row.level == "buffer") == 8 + 8 + 7
    assert cost.latency_cycles == cycles


def test_a_hand_counted_matrix_product() -> None:
    """2 x 2 weights stay in the buffer while 3 input vectors pass; by hand from the rules of docs/cost_model.md."""
    layer = Layer(N=3, K=2, C=2)
    mapping = mapping_of({"buffer": {"T": "C2 K2"}, "dram": {"T": "N3"}})
    cost = layer_cost(layer, small(entries=8, x=1), mapping)
    rows = {(row.level, row.dataspace): (row.reads, row.fills, row.updates) for row in cost.traffic}
    assert rows["buffer", "weights"] == (12, 4, 0)  # one per MAC; loaded once, stationary over N
    assert rows["buffer", "inputs"] == (12, 6, 0)  # every vector is new
    assert rows["buffer", "outputs"] == (6, 0, 12)  # the first of the two updates of each sum reads nothing
    assert rows["dram", "weights"] == (4, 0, 0)
    assert rows["dram", "inputs"] == (6, 0, 0)
    assert rows["dram", "outputs"] == (0, 0, 6)
    assert cost.energy_pj == 12 + (12 + 4) + (12 + 6) + (6 + 12) + 4 + 6 + 6


@given(mapped_cases())
@settings(max_examples=50, deadline=None)
def test_a_mapping_survives_the_round_trip_through_arrays(case) -> None:
    _, accelerator, mapping = case
    assert Mapping.from_array(mapping.to_array(), accelerator) == mapping_in_canonical_form(mapping, accelerator)


def mapping_in_canonical_form(mapping: Mapping, accelerator: Accelerator) -> Mapping:
    """Loops of factor 1 left out; spatial loops in the order of DIMS."""
    levels = []
    for level in mapping.levels:
        temporal = tuple(loop for loop in level.temporal if loop[1] > 1)
        axes = [
            tuple(sorted((loop for loop in side if loop[1] > 1), key=lambda loop: DIMS.index(loop[0])))
            for side in (level.spatial_x, level.spatial_y)
        ]
        levels.append(LevelMapping(level.level, temporal, *axes))
    return Mapping(tuple(levels))


def test_precision_halves_words_where_two_elements_share_one() -> None:
    level = machine(1, 1).levels[0]
    assert level.word_bits == 16
    accelerator = small(entries=17, x=1)
    layer = Layer(C=8)
    full = layer_cost(layer, accelerator, mapping_of({"buffer": {"T": "C8"}}))
    half = layer_cost(layer.with_bits(8, 8, 8), accelerator, mapping_of({"buffer": {"T": "C8"}}))
    assert half.traffic[0].energy_pj == full.traffic[0].energy_pj / 2
    assert np.isfinite(half.energy_pj)
