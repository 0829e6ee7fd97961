"""The descriptions that ship: they load, they hold what is published, and their search spaces surround them."""

from __future__ import annotations

import math
from importlib import resources
from typing import Any

import pytest
from ruamel.yaml import YAML

from accel_models.accelerator import Accelerator, SearchKnob
from accel_models.description import load_target, target_names, target_summaries, with_values

KIB = 1024
SHIPPED = (
    "edge_tpu",
    "eyeriss",
    "eyeriss_rs",
    "gemmini",
    "nvdla_1024",
    "nvdla_256",
    "shidiannao",
    "simba_like",
    "tpu_like",
)
SEARCHED = ("edge_tpu", "eyeriss", "gemmini", "nvdla_1024", "nvdla_256", "shidiannao")
KNOBS = [(name, knob) for name in SEARCHED for knob in load_target(name).search]


def text_of(name: str) -> str:
    return (resources.files("accel_models") / "descriptions" / f"{name}.yaml").read_text()


def value_at(target: Accelerator, path: str) -> Any:
    first, *rest = path.split(".")
    levels = {level.name: level for level in target.levels}
    value = levels[first] if first in levels else getattr(target, first)
    for key in rest:
        value = getattr(value, key)
    return value


def bytes_of(target: Accelerator, level: str) -> float:
    return value_at(target, level).size_bytes


def spread(target: Accelerator, level: str) -> tuple[int, int, tuple[str, ...], tuple[str, ...]]:
    fanout = value_at(target, level).fanout
    return fanout.x.size, fanout.y.size, fanout.x.dims, fanout.y.dims


def test_every_expected_description_ships() -> None:
    assert set(SHIPPED) <= set(target_names())


@pytest.mark.parametrize("name", SHIPPED)
def test_it_validates_is_named_after_its_file_and_cites_sources(name: str) -> None:
    target = Accelerator.model_validate(YAML(typ="safe").load(text_of(name)))
    assert target == load_target(name)
    assert target.name == name
    assert target.sources and target.summary
    head = text_of(name).split("\nkind:")[0]
    assert "Published" in head and "Our assumptions" in head


@pytest.mark.parametrize("name", SHIPPED)
def test_energies_and_areas_are_left_to_the_technology_model(name: str) -> None:
    target = load_target(name)
    assert target.mac.energy_pj is target.mac.area_um2 is target.vector_unit.energy_pj is None
    assert all(level.access_energy_pj is level.area_um2 is None for level in target.levels)


@pytest.mark.parametrize("name", SHIPPED)
def test_an_access_costs_more_the_further_out_a_dataspace_is_kept(name: str) -> None:
    """Per element: what a description of a memory hierarchy is for."""
    target = load_target(name)
    for dataspace in ("weights", "inputs", "outputs"):
        keepers = [level for level in target.levels if dataspace in level.keeps]
        costs = [level.energy_pj(target.node_nm).read / level.block_words for level in keepers]
        assert costs == sorted(costs) and len(set(costs)) == len(costs), (dataspace, costs)


# What is published


def test_eyeriss() -> None:
    # Chen et al., IEEE JSSC 52(1), 2017: 14 x 12 elements, 224 + 12 + 24 words of 16 bit each, 108 KB global buffer,
    # 200 MHz, 65 nm; weights bypass the buffer; row stationary
    target = load_target("eyeriss")
    assert target.macs_per_cycle == 168
    assert spread(target, "global_buffer") == (14, 12, ("Q", "K"), ("S", "C"))
    entries = [value_at(target, f"{name}.entries") for name in ("weight_spad", "input_spad", "psum_spad")]
    assert entries == [224, 12, 24]
    assert bytes_of(target, "global_buffer") == 108 * KIB
    assert set(value_at(target, "global_buffer").keeps) == {"inputs", "outputs"}
    assert {level.word_bits for level in target.levels} == {16}
    assert (target.clock_mhz, target.node_nm) == (200, 65)
    # 64-bit link at 60 MHz
    link = value_at(target, "dram.shared_bandwidth_words_per_cycle") * 16 * target.clock_mhz
    assert link == pytest.approx(64 * 60)


@pytest.mark.parametrize(
    ("name", "kernels", "channels", "buffer_kib", "lanes", "gigabytes_per_s"),
    [
        # nvdla/hw, spec/defs/nv_small_256.spec: atomic K 8, atomic C 32, buffer 32 banks x 32 B x 128; primer: 5 GB/s
        ("nvdla_256", 8, 32, 32 * 32 * 128 / KIB, 1, 5),
        # nvdla/hw, spec/defs/nv_medium_1024_full.spec: atomic K 16, atomic C 64, 4 elements per cycle; primer: 15 GB/s;
        # nvdla.org, unit description: buffer 16 banks of two 512-bit x 256
        ("nvdla_1024", 16, 64, 16 * 2 * 64 * 256 / KIB, 4, 15),
    ],
)
def test_nvdla(name: str, kernels: int, channels: int, buffer_kib: float, lanes: int, gigabytes_per_s: float) -> None:
    target = load_target(name)
    assert target.macs_per_cycle == kernels * channels
    assert spread(target, "accumulator")[0] == channels and spread(target, "accumulator")[2] == ("C",)
    assert spread(target, "convolution_buffer")[1] == kernels and spread(target, "convolution_buffer")[3] == ("K",)
    assert bytes_of(target, "convolution_buffer") == buffer_kib * KIB
    assert value_at(target, "accumulator.entries") == 128  # nvdla.org, unit description: 136 B x 128 for INT8
    assert target.vector_unit.lanes == lanes
    dram = value_at(target, "dram")
    assert dram.shared_bandwidth_words_per_cycle * dram.word_bits / 8 * target.clock_mhz / 1000 == gigabytes_per_s


def test_edge_tpu() -> None:
    # public estimates: 64 x 64 (Boroumand et al., PACT 2021), 8 MB, 4 TOPS (coral.ai)
    target = load_target("edge_tpu")
    assert target.macs_per_cycle == 64 * 64
    assert bytes_of(target, "unified_buffer") == 8 * KIB * KIB
    assert 2 * target.macs_per_cycle * target.clock_mhz * 1e-6 == pytest.approx(4, rel=0.01)


def test_shidiannao() -> None:
    # Du et al., ISCA 2015: 8 x 8 elements, 64 KB inputs, 64 KB outputs, 128 KB weights, 16 bit, 1 GHz, 65 nm
    target = load_target("shidiannao")
    assert spread(target, "weight_buffer") == (8, 8, ("P",), ("Q",))
    assert target.macs_per_cycle == 64
    sizes = {name: bytes_of(target, name) / KIB for name in ("input_buffer", "output_buffer", "weight_buffer")}
    assert sizes == {"input_buffer": 64, "output_buffer": 64, "weight_buffer": 128}
    assert [level.keeps for level in target.levels[1:4]] == [("weights",), ("inputs",), ("outputs",)]
    assert (target.clock_mhz, target.node_nm) == (1000, 65)


def test_gemmini() -> None:
    # Genc et al., DAC 2021: 16 x 16, 256 KB scratchpad, 64 KB accumulator of 32-bit words; DOSA's reading of it
    target = load_target("gemmini")
    assert target.macs_per_cycle == 256
    assert bytes_of(target, "scratchpad") == 256 * KIB
    assert value_at(target, "accumulator.entries") * 16 * 4 == 64 * KIB
    assert value_at(target, "accumulator.reads_back_first_update")


def test_tpu_like() -> None:
    # Jouppi et al., ISCA 2017: 256 x 256, 24 MiB unified buffer, 4096 accumulators per column, 92 TOPS, 34 GB/s
    target = load_target("tpu_like")
    assert target.macs_per_cycle == 65536
    assert bytes_of(target, "unified_buffer") == 24 * KIB * KIB
    assert value_at(target, "accumulator.entries") == 4096
    assert 2 * target.macs_per_cycle * target.clock_mhz * 1e-6 == pytest.approx(92, rel=0.01)
    assert value_at(target, "dram.shared_bandwidth_words_per_cycle") * 0.7 == pytest.approx(34, rel=0.01)


def test_simba_like() -> None:
    # Shao et al., MICRO 2019: 16 elements x 8 lanes x 8 multipliers; 32 + 8 + 3 KB per element, 64 KB global
    target = load_target("simba_like")
    assert target.macs_per_cycle == 16 * 8 * 8
    instances = dict(zip((level.name for level in target.levels), target.instances, strict=True))
    assert instances["input_buffer"] == 16 and instances["weight_buffer"] == instances["accumulation_buffer"] == 128
    assert bytes_of(target, "weight_buffer") * 8 == 32 * KIB
    assert bytes_of(target, "input_buffer") == 8 * KIB
    assert value_at(target, "accumulation_buffer.entries") * 8 * 3 == 3 * KIB
    assert bytes_of(target, "global_buffer") == 64 * KIB


def test_summaries_read_alone_are_those_of_the_descriptions() -> None:
    assert target_summaries() == {name: load_target(name).summary for name in target_names()}


PUBLISHED_MM2 = [
    # name, changes, published mm2, model / published. The model has memories, multipliers and the vector unit alone: no
    # control, clock tree, network on chip, interfaces or unused area.
    ("eyeriss", {}, 3.5 * 3.5, 0.30),  # core, JSSC 2017
    ("shidiannao", {}, 4.86 - 0.31, 0.76),  # without its instruction memory, ISCA 2015
    ("nvdla_256", {"convolution_buffer.entries": 256 * KIB}, 1.0, 0.45),  # nvdla.org, primer, 16 nm
    ("nvdla_1024", {"convolution_buffer.entries": 256 * KIB}, 1.8, 0.29),  # nvdla.org, primer, 16 nm
    ("nvdla_256", {"convolution_buffer.entries": 256 * KIB, "node_nm": 28.0}, 1.7, 0.51),  # the same, 28 nm
    ("nvdla_1024", {"convolution_buffer.entries": 256 * KIB, "node_nm": 28.0}, 3.0, 0.34),  # the same, 28 nm
    ("gemmini", {}, 0.544 + 0.146 + 0.116, 0.89),  # scratchpad, accumulator, array, DAC 2021
    ("simba_like", {}, 6.0, 0.22),  # with links and a RISC-V core, MICRO 2019
]


@pytest.mark.parametrize(("name", "changes", "published", "ratio"), PUBLISHED_MM2)
def test_distance_from_published_areas(name: str, changes: dict[str, Any], published: float, ratio: float) -> None:
    """0.22 to 0.76 of what is published: a lower bound, closest where memories dominate."""
    target = with_values(load_target(name), changes)
    assert target.area_mm2 / published == pytest.approx(ratio, abs=0.01)
    assert target.area_mm2 == pytest.approx(sum(target.area_breakdown_mm2.values()))


# Search spaces


@pytest.mark.parametrize("name", SEARCHED)
def test_the_space_has_the_knobs_of_a_co_search(name: str) -> None:
    target = load_target(name)
    names = [knob.name for knob in target.search]
    assert len(set(names)) == len(names)
    assert {"array_x", "array_y", "dram_bandwidth", "dataflow_x", "dataflow_y", "word_bits"} <= set(names)
    on_chip = {level.name for level in target.levels if level.component != "dram"}
    sized = {path.removesuffix(".entries") for knob in target.search for path in knob.sets if path.endswith(".entries")}
    assert sized == on_chip
    assert 1e6 <= math.prod(len(knob.values()) for knob in target.search) <= 1e10


@pytest.mark.parametrize(("name", "knob"), KNOBS, ids=lambda value: getattr(value, "name", value))
def test_the_native_machine_lies_in_its_space(name: str, knob: SearchKnob) -> None:
    target = load_target(name)
    for path in knob.sets:
        assert value_at(target, path) in knob.values(), path


@pytest.mark.parametrize(("name", "knob"), KNOBS, ids=lambda value: getattr(value, "name", value))
def test_every_value_of_a_knob_validates_and_is_seen(name: str, knob: SearchKnob) -> None:
    target = load_target(name)
    for value in knob.values():
        changed = with_values(target, dict.fromkeys(knob.sets, value))
        assert all(value_at(changed, path) == value for path in knob.sets)


@pytest.mark.parametrize("name", SEARCHED)
def test_the_corners_of_the_space_validate_and_cost_what_their_size_says(name: str) -> None:
    target = load_target(name)
    corners = []
    for pick in (min, max):
        values = {
            path: pick(knob.values()) if not knob.name.startswith("dataflow") else knob.values()[-1]
            for knob in target.search
            for path in knob.sets
        }
        corners.append(with_values(target, values))
    small, large = corners
    assert small.area_mm2 < target.area_mm2 < large.area_mm2
    assert small.macs_per_cycle < target.macs_per_cycle < large.macs_per_cycle
    assert small.on_chip_bytes < target.on_chip_bytes < large.on_chip_bytes


@pytest.mark.parametrize(("name", "knob"), KNOBS, ids=lambda value: getattr(value, "name", value))
def test_size_and_width_are_seen_in_area_and_bandwidth_and_dataflow_are_not(name: str, knob: SearchKnob) -> None:
    target = load_target(name)
    areas = [with_values(target, dict.fromkeys(knob.sets, value)).area_mm2 for value in knob.values()]
    if knob.name.endswith("bandwidth") or knob.name.startswith("dataflow"):
        assert len(set(areas)) == 1
    else:
        assert areas == sorted(areas) and len(set(areas)) == len(areas)
