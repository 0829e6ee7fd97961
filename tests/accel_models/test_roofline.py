"""Rooflines: figures worked out by hand, and the law that nothing is above its roofs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel_models.accelerator import Accelerator, AccessEnergy, Axis, Fanout, Mac, MemoryLevel, Precision
from accel_models.description import load_target, target_names, with_values
from accel_models.layer_cost import layer_cost
from accel_models.mapping import Mapping
from accel_models.networks import load_network
from accel_models.roofline import COMPUTE, Roofline, layer_roofline, network_roofline, roofs
from accel_models.workload import DATASPACES, Layer, VectorOp
from tests.accel_models.cases import machine, mapped_cases, mapping_of

ROUNDING = 1 + 1e-9  # rates are quotients of doubles


def two_levels(**dram: float) -> Accelerator:
    """Eight MACs under a buffer under DRAM, 1 MHz, words of 16 bits."""
    unit = AccessEnergy(read=1, write=1, update=1)
    buffer = MemoryLevel(
        name="buffer", component="sram", keeps=DATASPACES, entries=1000, access_energy_pj=unit, area_um2=1,
        read_bandwidth_words_per_cycle=20.0, fanout=Fanout(x=Axis(size=8)),
    )  # fmt: skip
    outer = MemoryLevel(name="dram", component="dram", keeps=DATASPACES, access_energy_pj=unit, **dram)
    return Accelerator(name="two", clock_mhz=1, node_nm=45, mac=Mac(energy_pj=1, area_um2=1), levels=(buffer, outer))


# K2 C3 P4: 24 MACs; 6 weights, 12 inputs, 8 outputs of two bytes cross DRAM once: 52 bytes.
LAYER = Layer(K=2, C=3, P=4)
MAPPING = mapping_of({"buffer": {"T": "C3", "X": "K2 P4"}})


def under_its_roofs(found: Roofline) -> None:
    """Assert the law for every point: below peak, below every level's roof, and no traffic below the compulsory."""
    for point in (*found.points, found.whole):
        achieved = point.achieved_macs_per_s
        assert achieved <= point.attainable_macs_per_s * ROUNDING
        assert point.attainable_macs_per_s <= point.bound_macs_per_s * ROUNDING
        assert point.bound_macs_per_s <= found.peak_macs_per_s
        assert point.dram_bytes >= point.compulsory_bytes / ROUNDING
        for roof in found.roofs:
            assert achieved <= point.intensity_at(roof.level) * roof.bandwidth_bytes_per_s * ROUNDING


def test_a_layer_that_dram_limits() -> None:
    point = layer_roofline(LAYER, two_levels(shared_bandwidth_words_per_cycle=2.0), MAPPING).whole
    assert point.macs == 24
    assert point.dram_bytes == point.compulsory_bytes == 52
    assert point.intensity_macs_per_byte == 24 / 52
    assert point.intensity_operations_per_byte == 48 / 52
    # 26 words at 2 a cycle take 13 cycles of a microsecond; the array needs 3.
    assert point.latency_s == pytest.approx(13e-6)
    assert point.achieved_macs_per_s == pytest.approx(24 / 13e-6)
    assert point.attainable_macs_per_s == pytest.approx(24 / 52 * 4e6)
    assert point.limited_by == "dram"


def test_traffic_on_the_chip_is_that_of_all_instances_in_use() -> None:
    # Buffer: 6 + 6 weights, 12 + 12 inputs read and filled; 24 updates, of which 16 read the partial sum back.
    point = layer_roofline(LAYER, two_levels(), MAPPING).whole
    assert point.traffic_bytes == (("buffer", 76 * 2), ("dram", 52))
    assert point.intensity_at("buffer") == 24 / 152
    # Two of four register files, each with 3 + 3 weights, 3 + 3 inputs and 3 updates, 2 of them read back.
    mapping = mapping_of({"registers": {"T": "C3"}, "buffer": {"X": "P2"}}, ("registers", "buffer", "dram"))
    point = layer_roofline(Layer(C=3, P=2), machine(4, 1), mapping).whole
    assert point.traffic_bytes[0] == ("registers", 2 * 17 * 2)


def test_a_layer_that_the_array_limits() -> None:
    found = layer_roofline(LAYER, two_levels(shared_bandwidth_words_per_cycle=10.0), MAPPING)
    assert found.peak_macs_per_s == 8e6
    assert found.ridge_macs_per_byte == pytest.approx(8 / 20)
    assert found.whole.achieved_macs_per_s == found.whole.attainable_macs_per_s == 8e6
    assert found.whole.limited_by == COMPUTE


def test_more_traffic_than_compulsory_lowers_what_is_attainable() -> None:
    """A buffer that keeps no inputs, K outside: the inputs come twice, 38 words instead of 26."""
    mapping = mapping_of({"buffer": {"T": "C3", "X": "P4"}, "dram": {"T": "K2"}})
    accelerator = two_levels(shared_bandwidth_words_per_cycle=2.0)
    buffer = accelerator.levels[0].model_copy(update={"keeps": ("weights", "outputs")})
    streaming = accelerator.model_copy(update={"levels": (buffer, accelerator.levels[1])})
    point = layer_roofline(LAYER, streaming, mapping).whole
    assert point.dram_bytes == 2 * (6 + 24 + 8)
    assert point.compulsory_bytes == 52
    assert point.attainable_macs_per_s == pytest.approx(24 / 76 * 4e6)
    assert point.bound_macs_per_s == pytest.approx(24 / 52 * 4e6)


def test_unlimited_bandwidth_leaves_the_peak_alone() -> None:
    found = layer_roofline(LAYER, two_levels(), MAPPING)
    assert found.dram.bandwidth_bytes_per_s == math.inf
    assert found.ridge_macs_per_byte == 0
    assert found.whole.attainable_macs_per_s == found.peak_macs_per_s


def test_a_roof_is_what_all_ports_of_all_instances_carry() -> None:
    def dram(**ports: float) -> float:
        return roofs(two_levels(**ports))[-1].bandwidth_bytes_per_s

    ports = {"read_bandwidth_words_per_cycle": 3.0, "write_bandwidth_words_per_cycle": 2.0}
    assert dram(**ports) == 5 * 2e6
    assert dram(**ports, shared_bandwidth_words_per_cycle=4.0) == 4 * 2e6
    assert dram(**ports, shared_bandwidth_words_per_cycle=9.0) == 5 * 2e6
    assert dram(read_bandwidth_words_per_cycle=3.0) == math.inf  # writes are unlimited
    eyeriss = roofs(load_target("eyeriss"))  # 168 scratchpads, 1 + 1 words of 2 bytes at 200 MHz
    assert eyeriss[0].bandwidth_bytes_per_s == pytest.approx(168 * 2 * 2 * 200e6)


def test_bits_change_bytes() -> None:
    accelerator = two_levels(shared_bandwidth_words_per_cycle=2.0)
    narrow = accelerator.model_copy(update={"precision": Precision(weights=4, inputs=8, outputs=16)})
    point = layer_roofline(LAYER, narrow, MAPPING).whole
    assert point.dram_bytes == point.compulsory_bytes == 6 * 0.5 + 12 * 1 + 8 * 2


@given(mapped_cases(), st.tuples(*[st.sampled_from([4, 8, 16, 32])] * 3) | st.none())
def test_no_mapping_is_above_a_roof(
    case: tuple[Layer, Accelerator, Mapping], bits: tuple[int, int, int] | None
) -> None:
    layer, accelerator, mapping = case
    layer = layer.with_bits(*bits) if bits else layer
    point = layer_roofline(layer, accelerator, mapping)
    under_its_roofs(point)
    cost = layer_cost(layer, accelerator, mapping)
    slowest = max(cycles for _, cycles in cost.level_cycles)
    limits = {level for level, cycles in cost.level_cycles if cycles == slowest > cost.compute_cycles} or {COMPUTE}
    assert point.whole.limited_by in limits


@pytest.mark.parametrize("name", target_names())
@pytest.mark.parametrize("network", ["resnet50", "mobilenet-v3-large"])
def test_no_network_is_above_a_roof(name: str, network: str) -> None:
    accelerator, known = load_target(name), load_network(network, 64)
    cost = accelerator.evaluate(known, effort=16)
    found = network_roofline(known, accelerator, cost)
    under_its_roofs(found)
    assert [point.name for point in found.points] == [layer for layer, _ in known.layers]
    assert found.whole.macs == known.macs
    assert found.whole.latency_s == cost.latency_s
    operations = [node.op for node in known.nodes if isinstance(node.op, VectorOp) and not node.op.fused]
    elements = sum(op.input_elements + op.output_elements for op in operations)
    assert accelerator.precision is not None
    if accelerator.tensor_level is None:
        assert found.vector_bytes == elements * accelerator.precision.outputs / 8 > 0
    else:
        assert found.vector_bytes < elements * accelerator.precision.outputs / 8
    layers_s = sum(point.latency_s for point in found.points)
    assert layers_s + found.vector_latency_s == pytest.approx(cost.latency_s)
    assert sum(point.time_share for point in found.points) == pytest.approx(layers_s / cost.latency_s)
    assert sum(point.dram_bytes for point in found.points) + found.vector_bytes == pytest.approx(found.whole.dram_bytes)


HOLDER = {"eyeriss": "global_buffer", "edge_tpu": "unified_buffer", "tpu_like": "unified_buffer"}


@pytest.mark.parametrize("name", HOLDER)
@pytest.mark.parametrize("network", ["mobilenet-v2", "resnet18"])
def test_tensors_that_stay_on_chip_are_no_traffic(name: str, network: str) -> None:
    off, on = (with_values(load_target(name), {f"{HOLDER[name]}.holds_tensors": holds}) for holds in (False, True))
    known = load_network(network, 64)
    cost = on.evaluate(known, effort=16)
    assert cost.residency is not None
    assert cost.residency.tensors
    found, before = network_roofline(known, on, cost), network_roofline(known, off, off.evaluate(known, effort=16))
    under_its_roofs(found)
    assert found.whole.dram_bytes < before.whole.dram_bytes
    assert found.whole.compulsory_bytes < before.whole.compulsory_bytes
    for stays, goes in zip(found.points, before.points, strict=True):
        assert stays.dram_bytes <= goes.dram_bytes
        assert stays.compulsory_bytes <= goes.compulsory_bytes
    assert sum(point.dram_bytes for point in found.points) + found.vector_bytes == pytest.approx(found.whole.dram_bytes)


def test_no_dram_traffic_is_infinite_intensity() -> None:
    point = replace(
        layer_roofline(LAYER, two_levels(), MAPPING).whole,
        traffic_bytes=(("buffer", 5.0), ("dram", 0.0)),
        compulsory_bytes=0,
    )
    assert point.intensity_macs_per_byte == point.compulsory_intensity_macs_per_byte == math.inf
    assert point.intensity_at("buffer") == 24 / 5


def test_a_vector_unit_of_one_lane_takes_most_of_the_time() -> None:
    eyeriss, known = load_target("eyeriss"), load_network("mobilenet-v2", 96)
    slow = eyeriss.model_copy(
        update={"vector_unit": eyeriss.vector_unit.model_copy(update={"lanes": 1}), "clock_mhz": 1.0}
    )
    dram = slow.levels[-1].model_copy(update={"shared_bandwidth_words_per_cycle": 1000.0})
    slow = slow.model_copy(update={"levels": (*slow.levels[:-1], dram)})
    found = network_roofline(known, slow, slow.evaluate(known, effort=32, objective="latency"))
    under_its_roofs(found)
    assert found.whole.limited_by == "vector unit"


def test_the_table_ends_with_the_network() -> None:
    accelerator, known = load_target("eyeriss"), load_network("squeezenet", 64)
    frame = network_roofline(known, accelerator, accelerator.evaluate(known, effort=16)).to_dataframe()
    assert list(frame["name"]) == [*(name for name, _ in known.layers), known.name]
    assert frame["macs"].iloc[:-1].sum() == frame["macs"].iloc[-1] == known.macs
