"""The record of Timeloop's counts: read, written back, and refused where it is malformed."""

from __future__ import annotations

import copy
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_models.accelerator import Accelerator, AccessEnergy
from accel_models.errors import DescriptionError
from accel_models.interop.golden import (
    GoldenCase,
    GoldenResult,
    GoldenRow,
    Link,
    Residual,
    read_golden,
    to_golden,
    write_golden,
)  # fmt: skip
from accel_models.layer_cost import layer_cost
from accel_models.mapping import LevelMapping, Mapping
from accel_models.workload import DIMS, Layer
from tests.accel_models.cases import mapped_cases

GOLDEN = Path("timeloop_golden") / "golden.json.gz"

# A case written by hand in the file's form: two elements under a buffer, one kept dataspace bypassed.
CASE: dict[str, Any] = {
    "kind": "conv",
    "imperfect": True,
    "dims": {"K": 4, "C": 2, "P": 5},
    "coef": {"Wstride": 2, "Hstride": 1, "Wdilation": 1, "Hdilation": 3},
    "arch": {
        "template": "toy",
        "levels": [
            {
                "name": "Reg", "entries": 8, "meshX": 2, "meshY": 1, "word_bits": 16, "block_size": 1, "read_bw": None,
                "write_bw": 1.5, "multiple_buffering": 2.0, "energy": {"read": 0.5, "write": 0.6, "update": 0.7},
                "dram": False, "keep": [0, 1, 1],
            },
            {
                "name": "DRAM", "entries": None, "meshX": 1, "meshY": 1, "word_bits": 64, "block_size": 4, "read_bw": 8.0,
                "write_bw": None, "multiple_buffering": 1.0, "energy": {"read": 100, "write": 101, "update": 102},
                "dram": True, "keep": [1, 1, 1],
            },
        ],
        "mac": {"meshX": 2, "meshY": 3, "energy": 1.25},
    },
    "mapping": [
        {"level": "Reg", "keep": [0, 0, 1], "T": [["P", 3, 2]], "X": [], "Y": [["C", 2]]},
        {"level": "DRAM", "keep": [1, 1, 1], "T": [["K", 2], ["P", 2]], "X": [["K", 2]]},
    ],
    "link_transfers": True,
    "out": {
        "levels": {
            "MAC": {"Energy (total)": 50.0},
            "Reg": {"Cycles": 12, "Outputs": {"tile": 3, "reads": 4, "fills": 5, "updates": 6, "energy": 7.5}},
            "DRAM": {"Cycles": 20, "Weights": {"tile": 8, "reads": 9, "fills": 0, "updates": 0, "energy": 1.0}},
        },
        "networks": {"DRAM <==> Reg": {"Weights": {"links": 0}, "Inputs": {"links": 17}}},
        "summary": {"Cycles": "20"},
    },
}  # fmt: skip


def file_of(folder: Path, *cases: dict[str, Any]) -> Path:
    path = folder / "golden.json"
    path.write_text(json.dumps({"cases": list(cases)}))
    return path


def test_a_case_is_read(tmp_path: Path) -> None:
    (case,) = read_golden(file_of(tmp_path, CASE))
    assert (case.kind, case.link_transfers, case.imperfect, case.exact) == ("conv", True, True, None)
    assert case.layer == Layer(K=4, C=2, P=5, stride_w=2, dilation_h=3)
    registers, dram = case.accelerator.levels
    assert (registers.name, registers.component, registers.keeps) == ("reg", "sram", ("outputs",))
    assert (registers.entries, registers.buffering, registers.block_words, registers.word_bits) == (8, 2, 1, 16)
    assert (registers.read_bandwidth_words_per_cycle, registers.write_bandwidth_words_per_cycle) == (None, 1.5)
    assert registers.access_energy_pj == AccessEnergy(read=0.5, write=0.6, update=0.7)
    # MACs 2 x 3 under registers 2 x 1 under DRAM 1 x 1: each register file feeds 1 x 3 MACs, DRAM 2 x 1 of them.
    assert [(level.fanout.x.size, level.fanout.y.size) for level in case.accelerator.levels] == [(1, 3), (2, 1)]
    assert (dram.component, dram.entries, dram.read_bandwidth_words_per_cycle) == ("dram", None, 8)
    assert case.accelerator.mac.energy_pj == 1.25
    assert case.accelerator.precision is None
    assert case.mapping == Mapping(
        (
            LevelMapping("reg", (("P", 3),), (), (("C", 2),)),
            LevelMapping("dram", (("K", 2), ("P", 2)), (("K", 2),), ()),
        )
    )
    assert case.residuals == (Residual("reg", "temporal", "P", 2),)
    assert case.links == (Link("dram", "reg", "inputs", 17),)
    rows = (GoldenRow("reg", "outputs", 3, 4, 5, 6, 7.5), GoldenRow("dram", "weights", 8, 9, 0, 0, 1.0))
    assert case.result == GoldenResult(rows, 20, (("reg", 12), ("dram", 20)), 50.0)
    assert case.result.energy_pj == 58.5


def test_the_walk_of_every_iteration_is_read(tmp_path: Path) -> None:
    other = copy.deepcopy(CASE["out"])
    other["levels"]["Reg"]["Outputs"]["reads"] = 3
    differs, same = {**CASE, "exact_same": False, "out_exact": other}, {**CASE, "exact_same": True}
    first, second = read_golden(file_of(tmp_path, differs, same))
    assert first.exact is not None
    assert (first.result.rows[0].reads, first.exact.rows[0].reads) == (4, 3)
    assert second.exact == second.result
    write_golden(tmp_path / "back.json", [first, second])
    assert read_golden(tmp_path / "back.json") == [first, second]


@st.composite
def golden_cases(draw: st.DrawFn) -> GoldenCase:
    layer, accelerator, mapping = draw(mapped_cases())
    levels = tuple(  # what the form has no word for
        level.model_copy(update={"reads_back_first_update": False, "area_um2": 0.0}) for level in accelerator.levels
    )
    update = {"levels": levels, "clock_mhz": 1000.0, "mac": accelerator.mac.model_copy(update={"area_um2": 0.0})}
    accelerator = accelerator.model_copy(update=update)
    places = [
        (level.level, side, dim, factor)
        for level in mapping.levels
        for side in ("temporal", "spatial_x", "spatial_y")
        for dim, factor in getattr(level, side)
    ]
    shorter = draw(st.lists(st.sampled_from(places), unique=True, max_size=3)) if places else []
    residuals = tuple(
        Residual(level, side, dim, factor - 1) for level, side, dim, factor in sorted(shorter, key=places.index)
    )
    result = result_of(layer, accelerator, mapping)
    links = (Link(levels[-1].name, levels[-2].name, "inputs", 5),) if draw(st.booleans()) else ()
    exact = draw(st.sampled_from([None, result, GoldenResult((), 1, (), 0.0)]))
    return GoldenCase(
        "conv", layer, accelerator, mapping, bool(links), bool(residuals), result, exact, residuals, links
    )


def result_of(layer: Layer, accelerator: Accelerator, mapping: Mapping) -> GoldenResult:
    cost = layer_cost(layer, accelerator, mapping)
    rows = tuple(
        GoldenRow(row.level, row.dataspace, row.tile, row.reads, row.fills, row.updates, row.energy_pj)
        for row in cost.traffic
    )
    cycles = tuple((name, int(level_cycles)) for name, level_cycles in cost.level_cycles)
    return GoldenResult(rows, int(cost.latency_cycles), cycles, cost.mac_energy_pj)


@settings(max_examples=50)
@given(golden_cases())
def test_what_is_written_reads_back_equal(case: GoldenCase) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cases.json", "cases.json.gz"):
            path = Path(folder) / name
            write_golden(path, [case, case], tool="test", commit="none")
            assert read_golden(path) == [case, case]
        assert path.read_bytes()[4:8] == bytes(4)  # no time stamp: the same cases make the same bytes


def test_the_given_file_reads_and_writes_back(shared_data: Path, tmp_path: Path) -> None:
    raw = json.loads(gzip.decompress((shared_data / GOLDEN).read_bytes()))
    cases = read_golden(shared_data / GOLDEN)
    assert len(cases) == len(raw["cases"]) > 0
    write_golden(tmp_path / "back.json.gz", cases)
    assert read_golden(tmp_path / "back.json.gz") == cases
    for case, source in zip(cases, raw["cases"], strict=True):
        assert case.accelerator.macs_per_cycle == source["arch"]["mac"]["instances"]
        assert list(case.accelerator.instances) == [level["instances"] for level in source["arch"]["levels"]]
        form = to_golden(case)
        assert form["coef"] == source["coef"]
        assert {dim: bound for dim, bound in form["dims"].items() if bound > 1} == {
            dim: bound for dim, bound in source["dims"].items() if bound > 1
        }
        assert [level["T"] for level in form["mapping"]] == [level["T"] for level in source["mapping"]]


def test_residuals_follow_from_factors_and_bound(shared_data: Path) -> None:
    """A last iteration is a digit of bound - 1 in the factors' mixed radix: a mapping needs the factors alone."""
    for case in read_golden(shared_data / GOLDEN):
        shorter = {(found.level, found.side, found.dim): found.steps for found in case.residuals}
        for dim, bound in zip(DIMS, case.layer.dims, strict=True):
            left = bound - 1
            for level in case.mapping.levels:
                for side in ("spatial_x", "spatial_y", "temporal"):
                    for factor in (factor for name, factor in getattr(level, side) if name == dim):
                        assert shorter.get((level.level, side, dim), factor) == left % factor + 1
                        left //= factor
            assert left == 0


def broken(**changes: Any) -> dict[str, Any]:
    """The case with other values at dotted paths; None removes a key."""
    case = copy.deepcopy(CASE)
    for path, value in changes.items():
        *way, last = path.split("__")
        holder: Any = case
        for key in way:
            holder = holder[int(key) if key.isdigit() else key]
        if value is None:
            del holder[last]
        else:
            holder[last] = value
    return case


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (broken(dims=None), "case 1: key 'dims' is missing"),
        (broken(out__summary=None), "case 1: key 'summary' is missing"),
        (broken(dims__K=0), "case 1: layer: K = 0 must be a positive integer"),
        (broken(dims__M=4), "case 1: .*'M'"),
        (broken(coef__Stride=2), "case 1: coef 'Stride' is not known: Wstride"),
        (broken(arch__mac__meshX=3), r"case 1: level 'Reg': its mesh \(2, 1\) does not divide \(3, 3\)"),
        (broken(arch__levels__1__dram=False, arch__levels__1__entries=5), "case 1: .*must be dram"),
        (broken(mapping__1__keep=[1, 1, 0]), "case 1: .*keep every dataspace"),
        (broken(mapping__0__level="RF"), r"case 1: the mapping's levels \['rf', 'dram'\] are not the machine's"),
        (broken(mapping__0__T=[["M", 2]]), "case 1: mapping: reg.temporal: 'M' is no loop dim"),
        (broken(mapping=[]), "case 1: "),
    ],
)
def test_a_malformed_case_is_named(tmp_path: Path, case: dict[str, Any], message: str) -> None:
    path = file_of(tmp_path, CASE, case)
    with pytest.raises(DescriptionError, match=message) as caught:
        read_golden(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"no json", b"\x1f\x8bnot gzip", b"\xff\xfe"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(DescriptionError, match="no golden file"):
        read_golden(path)
