"""NAAS's scenarios: one pair of small effort through the command, and what its tables say of given figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from accel_models.description import load_target
from accel_models.networks import load_network
from benchmarks import naas as benchmark
from benchmarks.naas_ofa import ofa_lines
from benchmarks.naas_rows import SCENARIOS, native


def run(*arguments: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(benchmark.main)
    return CliRunner().invoke(app, list(arguments))


def test_one_pair(tmp_path: Path) -> None:
    file = tmp_path / "naas.json"
    result = run(
        "--scenarios", "nvdla_256", "--networks", "squeezenet", "--budget", "20", "--effort", "10", "--questions", "5",
        "--workers", "1", "--json", str(file),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    figures = json.loads(file.read_text())
    (row,) = figures["rows"]
    assert (row["network"], row["scenario"], row["native"]) == ("squeezenet", "nvdla_256", 1.0)
    assert row["mapped"] <= 1
    network = load_network("squeezenet")
    base = native("nvdla_256").evaluate(network)
    assert row["mapped"] == pytest.approx(load_target("nvdla_256").evaluate(network).edp_js / base.edp_js)
    for name in ("sized", "naas", "exact"):
        column = row["details"][name]
        assert row[name] == column["edp"] == pytest.approx(1 / (column["speedup"] * column["energy_saving"]))
        assert column["macs"] <= 256
    assert row["exact"] <= 1
    assert set(row["rescored"]) == {"timeloop-table", "eyeriss-relative", "accelergy-table"}
    assert "1 pairs pass" in result.output or "missed" in result.output


def test_fifteen_pairs_and_schedules_that_every_network_can_keep() -> None:
    assert sum(map(len, SCENARIOS.values())) == 15
    for scenario, networks in SCENARIOS.items():
        machine = native(scenario)
        assert machine != load_target(scenario)
        network = load_network(networks[0], 64)
        free = load_target(scenario).evaluate(network)
        assert machine.evaluate(network).edp_js >= free.edp_js * (1 - 1e-12)


def row(exact: float, evolved: float, seconds: float = 1.0) -> dict[str, Any]:
    column = {"edp": exact, "speedup": 2.0, "energy_saving": 4.0, "seconds": seconds, "machines": 3, "macs": 64}
    details = {"exact": column, "naas": {**column, "seconds": 10.0, "speedup": 1.0, "energy_saving": 1.0}}
    energies = dict.fromkeys(benchmark.ENERGY_SETS, exact * 2)
    return {
        "network": "vgg16", "scenario": "edge_tpu", "native": 1.0, "mapped": 1.0, "sized": 0.9, "naas": evolved,
        "exact": exact, "details": details, "rescored": energies,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("one", "missed"),
    [
        (row(0.5, 0.6), []),
        (row(0.5, 0.4), ["exact <= naas"]),
        (row(1.1, 1.2), ["exact <= native"]),
        (row(0.5, 0.6, 1.1), ["in a tenth of the time"]),
    ],
)
def test_what_a_row_must_pass(one: dict[str, Any], missed: list[str]) -> None:
    assert [name for name, passed in benchmark.passes(one).items() if not passed] == missed
    lines = benchmark.row_lines([one])
    assert f"{int(not missed)} of 1 pairs pass" in lines[3]
    assert [line.strip() for line in lines[4:]] == [f"missed: vgg16 under edge_tpu: not {name}" for name in missed]


def test_means_stand_beside_the_papers_and_say_where_they_are_below() -> None:
    lines = benchmark.scenario_lines([row(0.125, 1.0)], ["edge_tpu"])
    assert lines[2].split() == ["edge_tpu", "2.00x", "4.00x", "1.00x", "1.00x", "2.6x", "1.1x", "8.00x", "2.86x"]
    weak = row(0.5, 1.0)
    weak["details"]["exact"] |= {"speedup": 2.0, "energy_saving": 1.0}
    assert "below the paper" in benchmark.scenario_lines([weak], ["edge_tpu"])[2]


def test_gains_that_other_energies_take_are_counted() -> None:
    lines = benchmark.rescored_lines([row(0.4, 1.0), row(0.6, 1.0)])
    assert sum("1 of 2 gains survive" in line for line in lines) == 3


def test_sizing_is_compared_where_the_paper_does() -> None:
    (one,) = benchmark.sizing_rows([row(0.3, 1.0)])
    assert (one["gain"], one["paper"]) == (pytest.approx(3.0), 3.52)
    assert "paper 3.52x" in benchmark.sizing_lines([one])[1]


def test_the_ofa_table_tells_failures_and_extrapolation() -> None:
    found = {
        "strategy": "exact", "top1_limit": 76.13, "edp_ratio": 100.0, "speedup": 10.0, "energy_saving": 10.0,
        "top1_percent": 76.2, "top1_error_points": 0.3, "extrapolated": True, "macs": 3e8, "seconds": 5.0,
    }  # fmt: skip
    lines = ofa_lines([found, {"strategy": "naas", "top1_limit": 77.4, "failed": "no pair"}])
    assert "EDP 100.0x lower" in lines[1] and "outside what was measured" in lines[1]
    assert lines[2].endswith("no pair")


@pytest.mark.parametrize(
    ("option", "message"), [("--scenarios", "unknown scenario"), ("--networks", "unknown network")]
)
def test_unknown_names_are_refused(option: str, message: str) -> None:
    result = run(option, "eyeris")
    assert message in str(result.exception)
