"""The comparison with Timeloop: what it calls comparable, what it counts, and that it notices a wrong count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from accel_models.accelerator import Accelerator, MemoryLevel
from accel_models.interop.golden import GoldenCase, GoldenResult, GoldenRow, Link, read_golden, write_golden
from accel_models.layer_cost import layer_cost
from accel_models.mapping import Mapping
from accel_models.workload import DIMS, Layer
from benchmarks.timeloop_agreement import judge, linked_rows, main, reasons_of, summary, two_window_loops
from tests.accel_models.cases import machine, mapping_of

LEVELS = ("registers", "buffer", "dram")


def case_of(loops: dict[str, dict[str, str]], accelerator: Accelerator | None = None, **changes: Any) -> GoldenCase:
    """A case that agrees with the cost model, with some fields changed."""
    mapping = mapping_of(loops, LEVELS)
    accelerator = accelerator or machine(2, 1)
    bounds = dict.fromkeys(DIMS, 1)
    for level in mapping.levels:
        for dim, factor in level.temporal + level.spatial_x + level.spatial_y:
            bounds[dim] *= factor
    layer = Layer(**bounds)
    return replace(
        GoldenCase("conv", layer, accelerator, mapping, False, False, result_of(layer, accelerator, mapping)), **changes
    )


def result_of(layer: Layer, accelerator: Accelerator, mapping: Mapping) -> GoldenResult:
    cost = layer_cost(layer, accelerator, mapping)
    rows = tuple(
        GoldenRow(row.level, row.dataspace, row.tile, row.reads, row.fills, row.updates, round(row.energy_pj, 2))
        for row in cost.traffic
    )
    cycles = tuple((name, int(level_cycles)) for name, level_cycles in cost.level_cycles)
    return GoldenResult(rows, int(cost.latency_cycles), cycles, round(cost.mac_energy_pj, 2))


def with_row(case: GoldenCase, place: int, **counts: float) -> GoldenCase:
    rows = list(case.result.rows)
    rows[place] = replace(rows[place], **counts)  # type: ignore[arg-type]
    return replace(case, result=replace(case.result, rows=tuple(rows)))


PLAIN = case_of({"registers": {"T": "C3"}, "buffer": {"T": "P4", "X": "K2"}, "dram": {"T": "K2 Q2"}})


def test_an_equal_case_agrees() -> None:
    verdict = judge(0, PLAIN)
    assert verdict.comparable
    assert verdict.agrees
    assert verdict.count_error == verdict.cycles_error == 0
    assert summary([verdict])["equal"] == 1


@pytest.mark.parametrize("name", ["tile", "reads", "fills", "updates"])
@pytest.mark.parametrize("place", range(9))
def test_any_count_that_is_one_off_is_noticed(place: int, name: str) -> None:
    row = PLAIN.result.rows[place]
    verdict = judge(7, with_row(PLAIN, place, **{name: getattr(row, name) + 1}))
    assert not verdict.equal
    assert verdict.cycles_equal
    assert verdict.count_error > 0
    assert f"{row.level} {row.dataspace}" in verdict.first_difference
    assert summary([verdict])["disagreeing"] == [7]


def test_cycles_energies_and_missing_rows_are_noticed() -> None:
    result = PLAIN.result
    late = judge(0, replace(PLAIN, result=replace(result, cycles=result.cycles + 1)))
    assert (late.equal, late.cycles_equal, late.energy_equal) == (True, False, True)
    # Rounding of each row to a hundredth is no disagreement, more than that is: nine rows and the MACs.
    assert judge(0, replace(PLAIN, result=replace(result, mac_energy_pj=result.mac_energy_pj + 0.04))).agrees
    warm = judge(0, replace(PLAIN, result=replace(result, mac_energy_pj=result.mac_energy_pj + 0.06)))
    assert (warm.equal, warm.energy_equal) == (True, False)
    short = judge(0, replace(PLAIN, result=replace(result, rows=result.rows[1:])))
    assert not short.equal
    assert short.count_error == float("inf")


@pytest.mark.parametrize(
    ("loops", "expected"),
    [
        ({"buffer": {"T": "P2 R3"}}, True),
        ({"buffer": {"T": "R3 P2"}}, True),
        ({"buffer": {"T": "Q2 S3"}}, True),
        ({"buffer": {"T": "P2"}, "dram": {"T": "P2"}}, True),  # two loops over one dim, at two levels
        ({"buffer": {"T": "K2 P2"}, "dram": {"T": "K3 R2"}}, True),  # K does not matter to inputs
        ({"buffer": {"T": "P2 Q3"}}, False),  # two sides of the window
        ({"buffer": {"T": "P2 C2 R3"}}, False),  # not the two innermost, though they are for no tile
        ({"buffer": {"T": "C2 P2 R3"}}, False),
        ({"buffer": {"X": "P2"}, "dram": {"T": "R3"}}, False),  # one of them in space
        ({"registers": {"T": "P2 R3"}}, False),  # inside every tile
        ({"buffer": {"T": "C2"}, "dram": {"T": "P2 R3"}}, True),  # outside the buffer's tile
    ],
)
def test_two_window_loops(loops: dict[str, dict[str, str]], expected: bool) -> None:
    case = case_of(loops)
    assert two_window_loops(case) is expected
    assert reasons_of(case) == (("two window loops",) if expected else ())


def test_only_levels_that_keep_inputs_have_input_tiles() -> None:
    def keeping(level: MemoryLevel) -> MemoryLevel:
        return level if level.name == "dram" else level.model_copy(update={"keeps": ("weights", "outputs")})

    full = machine(2, 1)
    bypassed = full.model_copy(update={"levels": tuple(keeping(level) for level in full.levels)})
    assert two_window_loops(case_of({"dram": {"T": "P2 R3"}}, full))
    assert not two_window_loops(case_of({"dram": {"T": "P2 R3"}}, bypassed))


def test_links_excuse_the_counts_that_they_touch() -> None:
    case = replace(PLAIN, link_transfers=True, links=(Link("buffer", "registers", "inputs", 9),))
    assert linked_rows(case) == {("buffer", "inputs"), ("registers", "inputs")}
    places = {(row.level, row.dataspace): place for place, row in enumerate(case.result.rows)}
    touched = judge(0, with_row(case, places["buffer", "inputs"], reads=1))
    assert (touched.reasons, touched.equal, touched.equal_beside_links) == (("link transfers",), False, True)
    other = judge(0, with_row(case, places["buffer", "weights"], reads=1))
    assert (other.equal, other.equal_beside_links) == (False, False)


def test_links_reach_the_next_level_that_keeps_the_dataspace() -> None:
    full = machine(2, 1)
    buffer = full.levels[1].model_copy(update={"keeps": ("outputs",)})
    bypassed = full.model_copy(update={"levels": (full.levels[0], buffer, full.levels[2])})
    case = case_of({"buffer": {"T": "P4", "X": "K2"}}, bypassed, links=(Link("buffer", "registers", "weights", 9),))
    assert linked_rows(case) == {("dram", "weights"), ("registers", "weights")}
    outer = replace(PLAIN, links=(Link("dram", "buffer", "weights", 9),))
    assert linked_rows(outer) == {("dram", "weights"), ("buffer", "weights")}
    to_macs = replace(case, links=(Link("registers", "mac", "weights", 9),))
    assert linked_rows(to_macs) == {("registers", "weights")}


def test_a_mapping_that_is_refused_is_reported() -> None:
    case = replace(PLAIN, layer=replace(PLAIN.layer, K=5), imperfect=True)
    verdict = judge(0, case)
    assert verdict.refused is not None
    assert "the layer has K = 5" in verdict.refused
    group = summary([verdict])["not_comparable"]["imperfect factors"]
    assert (group["cases"], group["compared"]) == (1, 0)
    assert group["refused"] == verdict.refused
    # A comparable case that is refused is a disagreement.
    assert summary([judge(3, replace(case, imperfect=False))])["disagreeing"] == [3]


def test_imperfect_factors_are_compared_with_the_walk() -> None:
    wrong = with_row(PLAIN, 0, reads=1).result
    verdict = judge(0, replace(PLAIN, imperfect=True, result=wrong, exact=PLAIN.result))
    assert verdict.equal
    assert list(summary([verdict])["not_comparable"]) == ["imperfect factors (walked)"]


def run(*arguments: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(main)
    return CliRunner().invoke(app, list(arguments))


def test_the_command_exits_1_where_a_comparable_case_disagrees(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json.gz", tmp_path / "bad.json"
    window = case_of({"buffer": {"T": "P2 R3"}})
    write_golden(good, [PLAIN, with_row(window, 0, reads=1)])
    write_golden(bad, [PLAIN, with_row(PLAIN, 0, reads=1)])
    result = run(str(good), "--json", str(tmp_path / "figures.json"))
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "figures.json").read_text())
    keys = ("cases", "comparable", "equal", "cycles_equal", "energy_equal")
    assert [figures[key] for key in keys] == [2, 1, 1, 1, 1]
    assert figures["not_comparable"]["two window loops"]["equal"] == 0
    assert "two window loops" in result.output
    refused = run(str(bad))
    assert refused.exit_code == 1
    assert "case 1 disagrees: registers weights" in refused.output


def test_every_comparable_case_of_the_given_file_agrees(shared_data: Path) -> None:
    """And where factors are exact, links and two window loops explain every other difference."""
    cases = read_golden(shared_data / "timeloop_golden" / "golden.json.gz")
    verdicts = [judge(number, case) for number, case in enumerate(cases) if not case.imperfect]
    figures = summary(verdicts)
    assert figures["comparable"] > 0
    assert figures["equal"] == figures["energy_equal"] == figures["comparable"]
    for verdict in verdicts:
        if "two window loops" not in verdict.reasons:
            assert verdict.equal_beside_links, verdict
    assert figures["cycles_equal"] == figures["comparable"], figures["disagreeing"]
