"""The comparison with Timeloop's mapper: whose rules hold, what counts as met, and that a miss is noticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from accel_models.errors import DescriptionError
from benchmarks.timeloop_mapper import (
    OPTIMA,
    as_printed,
    figures_of,
    judge_optima,
    judge_runs,
    main,
    read_runs,
    report_optima,
    report_runs,
    under_rules,
)
from tests.accel_models.slow_cost import illegalities


def run(*arguments: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(main)
    return CliRunner().invoke(app, list(arguments))


def recorded(folder: Path) -> Path:
    return folder / "timeloop_golden" / "mapper_best_60s.json"


@pytest.mark.parametrize(
    ("value", "like", "printed"),
    [
        (735998000.0, "7.360e8", "7.360e8"),
        (2.16284e14, "2.1628e14", "2.1628e14"),
        (9.9996e8, "7.360e8", "1.000e9"),
        (6.45749e8, "6.458e8", "6.457e8"),
    ],
)
def test_as_printed(value: float, like: str, printed: str) -> None:
    assert as_printed(value, like) == printed


def test_recorded_mappings_keep_their_rules_and_cost_what_is_said(shared_data: Path) -> None:
    runs = read_runs(recorded(shared_data))
    assert len(runs) == 16
    assert {each.rules for each in runs} == {"open", "rs"}
    for each in runs:
        case = each.record.case
        assert each.record.difference() == ""
        assert illegalities(case.layer, under_rules(case.accelerator, each.rules), case.mapping) == []
    # The rules say something: what the free search found breaks them.
    free = next(each for each in runs if each.rules == "open")
    case = free.record.case
    assert illegalities(case.layer, under_rules(case.accelerator, "rs"), case.mapping)


def test_row_stationary_rules(shared_data: Path) -> None:
    machine = read_runs(recorded(shared_data))[0].record.case.accelerator
    ruled = {level.name: level for level in under_rules(machine, "rs").levels}
    assert ruled["glb"].fanout.x.dims == ("Q", "K")
    assert ruled["glb"].fanout.y.dims == ("S", "C")
    assert ruled["ispad"].temporal.dims == ()
    assert ruled["wspad"].temporal.dims == ("R", "C")
    assert ruled["pspad"].temporal.dims == ("K",)
    assert len(ruled["glb"].temporal.dims) == 8
    with pytest.raises(DescriptionError, match="rules 'os' are not known"):
        under_rules(machine, "os")


def test_a_mapper_that_misses_is_noticed(shared_data: Path, tmp_path: Path) -> None:
    """One of Timeloop's figures made a tenth: nobody meets that."""
    data = json.loads(recorded(shared_data).read_text())
    data["runs"] = data["runs"][2:3]
    each = data["runs"][0]
    each["energy_pJ"] /= 10
    path = tmp_path / "best.json"
    path.write_text(json.dumps(data))
    runs = read_runs(path)
    (verdict,) = judge_runs(runs, "random")
    assert not verdict.met
    assert verdict.difference
    lines = "\n".join(report_runs([verdict]))
    assert "NOT MET" in lines
    assert "costs something else here: energy" in lines
    assert (figures_of([verdict], [])["met"], figures_of([verdict], [])["mappings_differing"]) == (0, 1)
    assert run(str(path), "--mapper", "random").exit_code == 1
    for changes, said in (({"metric": "area"}, "metric 'area' is not known"), ({"stride": "two"}, "best.json: run 0")):
        path.write_text(json.dumps({**data, "runs": [{**each, **changes}]}))
        with pytest.raises(DescriptionError, match=said):
            read_runs(path)
    path.write_text("{}")
    with pytest.raises(DescriptionError, match=r"key '(arch|runs)' is missing"):
        read_runs(path)


def test_every_run_is_met_and_every_optimum_reached(shared_data: Path) -> None:
    runs = read_runs(recorded(shared_data))
    verdicts = judge_runs(runs, "exact")
    assert all(verdict.met and verdict.found.optimal for verdict in verdicts), "\n".join(report_runs(verdicts))
    optima = judge_optima(runs, "exact")
    assert len(optima) == len(OPTIMA) == 24
    assert all(verdict.equal and verdict.found.optimal for verdict in optima), "\n".join(report_optima(optima))
