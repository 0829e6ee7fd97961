"""Timeloop's input files: read back by a small parser of Timeloop's rules that shares nothing with the writer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor

from accel_models.accelerator import Accelerator, AccessEnergy, Axis, Fanout, Mac, MemoryLevel
from accel_models.description import load_target
from accel_models.errors import MappingError
from accel_models.interop.timeloop_yaml import to_timeloop, write_timeloop
from accel_models.mapper.best import best_mapping
from accel_models.mapping import LevelMapping, Mapping
from accel_models.plan import make_plan
from accel_models.workload import DATASPACES, Layer
from tests.accel_models.cases import mapped_cases, mapping_of

DIM_NAMES = "NKCPQRSG"


class Tags(SafeConstructor):
    """Reads !Container and !Component as mappings that know their tag."""


def _tagged(constructor: Any, node: Any) -> dict[str, Any]:
    return {"tag": node.tag, **constructor.construct_mapping(node, deep=True)}


for _tag in ("!Container", "!Component"):
    Tags.add_constructor(_tag, _tagged)


def parse(text: str) -> dict[str, Any]:
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = Tags
    return yaml.load(text)  # type: ignore[no-any-return]


def read_layer(text: str) -> Layer:
    """The layer that a problem describes, its projections checked against the loop nest's meaning."""
    problem = parse(text)["problem"]
    instance = problem["instance"]
    spaces = {space["name"]: space for space in problem["shape"]["data_spaces"]}
    assert {name: space.get("read_write", False) for name, space in spaces.items()} == {
        "Weights": False, "Inputs": False, "Outputs": True,
    }  # fmt: skip

    def axes(name: str) -> set[tuple[tuple[str, ...], ...]]:
        return {tuple(tuple(term) for term in axis) for axis in spaces[name]["projection"]}

    assert axes("Weights") == {((dim,),) for dim in "GKCRS"}
    assert axes("Outputs") == {((dim,),) for dim in "GNKPQ"}
    assert axes("Inputs") == {
        *(((dim,),) for dim in "GNC"),
        (("P", "Wstride"), ("R", "Wdilation")),
        (("Q", "Hstride"), ("S", "Hdilation")),
    }
    steps = {"stride_w": "Wstride", "stride_h": "Hstride", "dilation_w": "Wdilation", "dilation_h": "Hdilation"}
    assert {item["name"] for item in problem["shape"]["coefficients"]} == set(steps.values())
    return Layer(**{dim: instance[dim] for dim in DIM_NAMES}, **{ours: instance[name] for ours, name in steps.items()})


def loops(directive: dict[str, Any]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Loops with more than one step before and after the split, in the order of the permutation."""
    assert sorted(directive["permutation"]) == sorted(DIM_NAMES)
    factors = dict(factor.split("=") for factor in directive["factors"])
    assert sorted(factors) == sorted(DIM_NAMES)
    split = directive.get("split", len(DIM_NAMES))
    ordered = [(dim, int(factors[dim])) for dim in directive["permutation"]]
    return tuple([item for item in part if item[1] > 1] for part in (ordered[:split], ordered[split:]))  # type: ignore[return-value]


def read_mapping(architecture: str, mapping: str) -> tuple[Mapping, list[tuple[str, ...]], list[tuple[int, int]]]:
    """The mapping, the kept dataspaces and the fan-out per level, innermost first, as Timeloop would understand them."""
    nodes = parse(architecture)["architecture"]["nodes"]
    directives = parse(mapping)["mapping"]
    found: list[tuple[LevelMapping, tuple[str, ...], tuple[int, int]]] = []
    storage = [node for node in nodes if node["tag"] == "!Component" and node["class"] != "intmac"]
    for level in storage:
        own = {item["type"]: item for item in directives if item["target"] == level["name"]}
        after = nodes[nodes.index(level) + 1 :]
        inside = after[: next(place for place, node in enumerate(after) if node["tag"] == "!Component")]
        across: list[tuple[str, int]] = []
        down: list[tuple[str, int]] = []
        for container in reversed(inside):  # innermost first
            (spatial,) = [item for item in directives if item["target"] == container["name"]]
            assert spatial["type"] == "spatial"
            assert spatial["no_link_transfer"] == ["Weights", "Inputs", "Outputs"]
            x, y = loops(spatial)
            assert math.prod(factor for _, factor in x) <= container["spatial"]["meshX"]
            assert math.prod(factor for _, factor in y) <= container["spatial"]["meshY"]
            across, down = across + x, down + y
        meshes = [tuple(container["spatial"][side] for container in inside) for side in ("meshX", "meshY")]
        temporal, nothing = loops(own["temporal"])
        assert not nothing
        keeps = tuple(name.lower() for name in own["dataspace"]["keep"])
        assert {*keeps, *(name.lower() for name in own["dataspace"]["bypass"])} == set(DATASPACES)
        mapped = LevelMapping(level["name"], tuple(temporal), tuple(across), tuple(down))
        found.append((mapped, keeps, (math.prod(meshes[0]), math.prod(meshes[1]))))
    assert nodes[-1]["class"] == "intmac"
    found.reverse()
    return Mapping(tuple(item[0] for item in found)), [item[1] for item in found], [item[2] for item in found]


@settings(max_examples=50)
@given(mapped_cases())
def test_a_case_reads_back_equal(case: tuple[Layer, Accelerator, Mapping]) -> None:
    layer, accelerator, mapping = case
    files = to_timeloop(layer, accelerator, mapping)
    assert read_layer(files["problem.yaml"]) == layer
    read, keeps, meshes = read_mapping(files["architecture.yaml"], files["mapping.yaml"])
    assert read == mapping
    assert keeps == [level.keeps for level in accelerator.levels]
    assert meshes == [(level.fanout.x.size, level.fanout.y.size) for level in accelerator.levels]


@settings(max_examples=50)
@given(mapped_cases())
def test_attributes_and_tables_read_back_equal(case: tuple[Layer, Accelerator, Mapping]) -> None:
    layer, accelerator, mapping = case
    files = to_timeloop(layer, accelerator, mapping)
    nodes = {node["name"]: node for node in parse(files["architecture.yaml"])["architecture"]["nodes"]}
    directives = parse(files["mapping.yaml"])["mapping"]
    energies = {table["name"]: table["actions"] for table in parse(files["ERT.yaml"])["ERT"]["tables"]}
    areas = {table["name"]: table["area"] for table in parse(files["ART.yaml"])["ART"]["tables"]}
    for level, count in zip(accelerator.levels, accelerator.instances, strict=True):
        attributes, path = nodes[level.name]["attributes"], f"System_top_level.{level.name}[1..{count}]"
        assert attributes.get("entries") == level.entries
        assert attributes["width"] == attributes["datawidth"] * attributes["block_size"]
        assert (attributes["datawidth"], attributes["block_size"]) == (level.word_bits, level.block_words)
        assert attributes["multiple_buffering"] == level.buffering
        for port in ("read", "write", "shared"):
            ours = getattr(level, f"{port}_bandwidth_words_per_cycle")
            assert attributes.get(f"{port}_bandwidth") == ours
        (temporal,) = [item for item in directives if item["target"] == level.name and item["type"] == "temporal"]
        reads_back = level.reads_back_first_update and "outputs" in level.keeps
        assert temporal.get("rmw_first_update", []) == (["Outputs"] if reads_back else [])
        energy = level.energy_pj(accelerator.node_nm)
        actions = {action["name"]: action["energy"] for action in energies[path]}
        assert actions == {"read": energy.read, "write": energy.write, "update": energy.update, "leak": 0}
        assert areas[path] == level.instance_area_um2(accelerator.node_nm)
    mac = f"System_top_level.MAC[1..{accelerator.macs_per_cycle}]"
    assert {action["name"]: action["energy"] for action in energies[mac]} == {
        "compute": make_plan(layer, accelerator).mac_energy_pj, "leak": 0,
    }  # fmt: skip
    assert areas[mac] == accelerator.mac.area_um2


def test_a_shipped_target_reads_back_with_estimated_energies() -> None:
    layer, eyeriss = Layer.parse("K64 C32 P28 Q28 R3 S3 stride=2"), load_target("eyeriss")
    mapping = best_mapping(layer, eyeriss, effort=64).mapping
    files = to_timeloop(layer, eyeriss, mapping)
    assert read_layer(files["problem.yaml"]) == layer
    assert read_mapping(files["architecture.yaml"], files["mapping.yaml"])[0] == mapping
    nodes = parse(files["architecture.yaml"])["architecture"]["nodes"]
    assert nodes[0]["attributes"] == {"technology": "65nm", "global_cycle_seconds": 5e-9}
    assert "Not comparable" not in files["architecture.yaml"]
    areas = [table["area"] for table in parse(files["ART.yaml"])["ART"]["tables"]]
    counts = [*eyeriss.instances, eyeriss.macs_per_cycle]
    array_mm2 = sum(area * count for area, count in zip(areas, counts, strict=True)) * 1e-6
    assert array_mm2 + eyeriss.area_breakdown_mm2["vector_unit"] == pytest.approx(eyeriss.area_mm2)


def example() -> tuple[Layer, Accelerator, Mapping]:
    """The documented case: K 4 x C 6 x P 14 x R 3, rows of 4 x 3 elements, P and K along X, C along Y."""
    registers = MemoryLevel(
        name="registers", component="register_file", keeps=("outputs",), entries=8,
        access_energy_pj=AccessEnergy(read=0.5, write=0.5, update=0.75), area_um2=100, reads_back_first_update=True,
    )  # fmt: skip
    buffer = MemoryLevel(
        name="buffer", component="sram", keeps=("weights", "inputs"), entries=4096, block_words=4, buffering=2,
        read_bandwidth_words_per_cycle=16.0, write_bandwidth_words_per_cycle=4.0,
        access_energy_pj=AccessEnergy(read=6, write=7, update=7), area_um2=20000,
        fanout=Fanout(x=Axis(size=4), y=Axis(size=3)),
    )  # fmt: skip
    dram = MemoryLevel(
        name="dram", component="dram", keeps=DATASPACES, shared_bandwidth_words_per_cycle=1.5,
        access_energy_pj=AccessEnergy(read=200, write=200, update=200),
    )  # fmt: skip
    mac = Mac(energy_pj=1.25, area_um2=300)
    accelerator = Accelerator(name="example", clock_mhz=500, node_nm=45, mac=mac, levels=(registers, buffer, dram))
    mapping = mapping_of(
        {"registers": {"T": "R3"}, "buffer": {"T": "P7", "X": "P2 K2", "Y": "C3"}, "dram": {"T": "K2 C2"}},
        ("registers", "buffer", "dram"),
    )
    return Layer(K=4, C=6, P=14, R=3, stride_w=2), accelerator, mapping


GOLDEN_ARCHITECTURE = """\
# K4 C6 P14 R3 stride_w=2 on example; energies in ERT.yaml, areas in ART.yaml
architecture:
  version: 0.4
  nodes:  # outermost first
  - !Container
    name: System
    attributes:
      technology: "45nm"
      global_cycle_seconds: 2e-09
  - !Component
    name: dram
    class: DRAM
    attributes:
      datawidth: 16
      block_size: 1
      width: 16
      multiple_buffering: 1
      shared_bandwidth: 1.5
      energy_per_hop: 0
  - !Component
    name: buffer
    class: SRAM
    attributes:
      datawidth: 16
      block_size: 4
      width: 64
      entries: 4096
      multiple_buffering: 2
      read_bandwidth: 16
      write_bandwidth: 4
      energy_per_hop: 0
  - !Container
    name: Below_buffer
    spatial: {meshX: 4, meshY: 3}
  - !Component
    name: registers
    class: regfile
    attributes:
      datawidth: 16
      block_size: 1
      width: 16
      entries: 8
      multiple_buffering: 1
      energy_per_hop: 0
  - !Component
    name: MAC
    class: intmac
    attributes:
      datawidth: 16
"""

GOLDEN_MAPPING = """\
mapping:  # permutations innermost first; the first `split` dims go to X

- target: dram
  type: temporal
  factors: [N=1, K=2, C=2, P=1, Q=1, R=1, S=1, G=1]
  permutation: [K, C, N, P, Q, R, S, G]
- target: dram
  type: dataspace
  keep: [Weights, Inputs, Outputs]
  bypass: []

- target: buffer
  type: temporal
  factors: [N=1, K=1, C=1, P=7, Q=1, R=1, S=1, G=1]
  permutation: [P, N, K, C, Q, R, S, G]
- target: buffer
  type: dataspace
  keep: [Weights, Inputs]
  bypass: [Outputs]
- target: Below_buffer
  type: spatial
  factors: [N=1, K=2, C=3, P=2, Q=1, R=1, S=1, G=1]
  permutation: [P, K, C, N, Q, R, S, G]
  split: 2
  no_link_transfer: [Weights, Inputs, Outputs]

- target: registers
  type: temporal
  factors: [N=1, K=1, C=1, P=1, Q=1, R=3, S=1, G=1]
  permutation: [R, N, K, C, P, Q, S, G]
  rmw_first_update: [Outputs]
- target: registers
  type: dataspace
  keep: [Outputs]
  bypass: [Weights, Inputs]
"""

GOLDEN_ENERGIES = """\
ERT:
  version: 0.4
  tables:  # pJ per access to one block, per multiply-accumulate, per cycle (leak)
  - name: System_top_level.registers[1..12]
    actions:
    - {name: read, arguments: {}, energy: 0.5}
    - {name: write, arguments: {}, energy: 0.5}
    - {name: update, arguments: {}, energy: 0.75}
    - {name: leak, arguments: {}, energy: 0}
  - name: System_top_level.buffer[1..1]
    actions:
    - {name: read, arguments: {}, energy: 6}
    - {name: write, arguments: {}, energy: 7}
    - {name: update, arguments: {}, energy: 7}
    - {name: leak, arguments: {}, energy: 0}
  - name: System_top_level.dram[1..1]
    actions:
    - {name: read, arguments: {}, energy: 200}
    - {name: write, arguments: {}, energy: 200}
    - {name: update, arguments: {}, energy: 200}
    - {name: leak, arguments: {}, energy: 0}
  - name: System_top_level.MAC[1..12]
    actions:
    - {name: compute, arguments: {}, energy: 1.25}
    - {name: leak, arguments: {}, energy: 0}
"""


def test_the_documented_case_to_the_letter() -> None:
    """The texts were written by hand after Timeloop v4's documented form, not taken from the program's output."""
    files = to_timeloop(*example())
    assert list(files) == ["architecture.yaml", "problem.yaml", "mapping.yaml", "ERT.yaml", "ART.yaml"]
    assert files["architecture.yaml"] == GOLDEN_ARCHITECTURE
    assert files["mapping.yaml"] == GOLDEN_MAPPING
    assert files["ERT.yaml"] == GOLDEN_ENERGIES


def test_a_dim_on_both_sides_of_a_mesh_gets_two_containers() -> None:
    layer, accelerator, _ = example()
    mapping = mapping_of(
        {"registers": {"T": "R3"}, "buffer": {"T": "P7", "X": "C2 K2", "Y": "C3"}, "dram": {"T": "K2 P2"}},
        ("registers", "buffer", "dram"),
    )
    files = to_timeloop(layer, accelerator, mapping)
    nodes = parse(files["architecture.yaml"])["architecture"]["nodes"]
    assert [(node["name"], node["spatial"]) for node in nodes if "spatial" in node] == [
        ("Below_buffer_Y", {"meshX": 1, "meshY": 3}),
        ("Below_buffer_X", {"meshX": 4, "meshY": 1}),
    ]
    assert read_mapping(files["architecture.yaml"], files["mapping.yaml"])[0] == mapping


def test_words_of_another_width_are_named() -> None:
    layer, accelerator, mapping = example()
    notes = [
        line
        for line in to_timeloop(layer.with_bits(8, 16, 32), accelerator, mapping)["architecture.yaml"].splitlines()
        if line.startswith("# Not comparable")
    ]
    assert notes == [
        "# Not comparable: level registers has words of 16 bits and keeps outputs of 32 bits",
        "# Not comparable: level buffer has words of 16 bits and keeps weights of 8 bits",
        "# Not comparable: level dram has words of 16 bits and keeps weights of 8 bits, outputs of 32 bits",
    ]


def test_leakage_is_energy_per_cycle() -> None:
    layer, accelerator, mapping = example()
    buffer = accelerator.levels[1].model_copy(update={"leakage_mw": 2.0})
    levels = (accelerator.levels[0], buffer, accelerator.levels[2])
    mac = accelerator.mac.model_copy(update={"leakage_mw": 0.001})
    tables = parse(
        to_timeloop(layer, accelerator.model_copy(update={"levels": levels, "mac": mac}), mapping)["ERT.yaml"]
    )
    leaks = {table["name"]: table["actions"][-1] for table in tables["ERT"]["tables"]}
    assert {action["name"] for action in leaks.values()} == {"leak"}
    # 2 mW in 2 ns are 4 pJ; a microwatt is 2 fJ.
    assert leaks["System_top_level.buffer[1..1]"]["energy"] == pytest.approx(4)
    assert leaks["System_top_level.MAC[1..12]"]["energy"] == pytest.approx(0.002)
    assert leaks["System_top_level.dram[1..1]"]["energy"] == 0


def test_files_are_written(tmp_path: Path) -> None:
    paths = write_timeloop(tmp_path / "new" / "folder", *example())
    assert [path.read_text(encoding="utf-8") for path in paths] == list(to_timeloop(*example()).values())


def test_a_mapping_of_another_machine_is_refused(tmp_path: Path) -> None:
    layer, accelerator, _ = example()
    with pytest.raises(MappingError, match=r"levels \['buffer', 'dram'\], example has \['registers'"):
        write_timeloop(tmp_path / "none", layer, accelerator, mapping_of({}))
    assert not (tmp_path / "none").exists()
