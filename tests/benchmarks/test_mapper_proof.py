"""The long proof: a run of a few problems, and that it tells what it finds wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from accel_models.mapper.best import best_mapping
from benchmarks import mapper_proof


def run(*arguments: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(mapper_proof.main)
    return CliRunner().invoke(app, list(arguments))


def test_a_few_problems_and_a_large_one(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    result = run(
        "--problems", "4", "--mappings", "5000", "--large", "1", "--seconds", "0.1", "--json", str(figures)
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    written = json.loads(figures.read_text())
    assert (written["problems"], written["misses"], written["walk_misses"]) == (4, [], [])
    assert written["mappings"] > 0
    assert written["large_beaten"]["random"] == 0
    assert "4 problems, 12 optima and 4 fronts" in result.output


def test_misses_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapper_proof, "misses", lambda problem, truth: ["energy: wrong"])
    monkeypatch.setattr(mapper_proof, "truth_misses", lambda problem, truth: ["walk: wrong"])
    result = run("--problems", "2", "--mappings", "5000", "--seed", "5")
    assert result.exit_code == 1
    assert "missed seeds: [5, 6]" in result.output
    assert "enumeration and walk differ" in result.output


def test_a_better_sampler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapper_proof, "best_sampled", lambda problem, sampler, seconds: (0.0, 1))
    result = run("--problems", "1", "--mappings", "5000", "--large", "1")
    assert result.exit_code == 1


def test_the_best_of_a_sampler() -> None:
    (problem,) = mapper_proof.problems_of(["eyeriss"], ["vgg16"], ["native"], ["edp"])[:1]
    best, drawn = mapper_proof.best_sampled(problem, "random", 0.01)
    assert drawn == mapper_proof.EFFORT
    assert best <= best_mapping(problem.layer, problem.accelerator, "edp", mapper="random", effort=256).objective_value
