"""Pairs and networks per second: both tables of a short run, and a machine on which nothing can be mapped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import joint_throughput as benchmark
from cosearch.evaluate import Evaluator, Outcome


def run(*arguments: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(benchmark.main)
    return CliRunner().invoke(app, list(arguments))


SHORT = ("--pairs", "2", "--table", "nvdla_256", "--resolutions", "160,128", "--networks", "50")


@pytest.fixture(autouse=True)
def _no_bare_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "spin_seconds", lambda pool, steps, threads: 1.0)


def test_both_tables(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    result = run("--targets", "nvdla_256,shidiannao", *SHORT, "--json", str(figures))
    assert result.exit_code == 0, result.output
    written = json.loads(figures.read_text())
    assert [(row["target"], row["pairs"]) for row in written["joint"]] == [("nvdla_256", 2), ("shidiannao", 2)]
    for row in written["joint"]:
        assert row["mapped"] == 2
        assert 0 < row["median_ms"] <= row["p95_ms"] <= row["max_ms"]
        assert row["pairs_per_second_mean"] == pytest.approx(1e3 / row["mean_ms"])
    fixed = written["fixed"]
    assert fixed["resolutions"] == [160, 128]
    assert [build["threads"] for build in fixed["builds"]] == [1, 2]
    assert fixed["networks_per_second_per_core"] > 0
    assert f"2 resolutions, {fixed['distinct_layers']} distinct layers" in result.output


def test_pairs_that_cannot_be_mapped_are_counted_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evaluator, "__call__", lambda self, genome: Outcome(reason="too small"))
    result = run("--targets", "nvdla_256", *SHORT)
    assert result.exit_code == 0, result.output
    assert "nvdla_256          2       0\n" in result.output
    assert benchmark.statistics([]) == {}
