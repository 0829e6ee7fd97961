"""The mapper's benchmark: which problems it takes, what it clears, how it sums up, and that it notices a better sampler."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from accel_models import plan
from accel_models.accelerator import Accelerator
from accel_models.description import load_target
from accel_models.errors import UnknownNameError
from accel_models.mapper.best import best_mapping
from accel_models.workload import DIMS, Layer
from benchmarks import mapper as benchmark
from benchmarks.mapper import Measured, Problem
from cosearch.spaces.ofa_mobilenet_v3 import OfaMobileNetV3
from tests.accel_models.cases import machine


def run(*arguments: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(benchmark.main)
    return CliRunner().invoke(app, list(arguments))


def small(dataflow: str = "native", accelerator: Accelerator | None = None) -> Problem:
    return Problem("small", dataflow, "edp", Layer(K=4, C=4), accelerator or machine(2, 2))


def test_free_dataflow_lifts_every_rule_and_nothing_else() -> None:
    for name in ("eyeriss_rs", "nvdla_256"):
        native = load_target(name)
        free = benchmark.free_dataflow(native)
        for level, own in zip(free.levels, native.levels, strict=True):
            assert level.temporal.dims == level.fanout.x.dims == level.fanout.y.dims == DIMS
            assert not level.temporal.factors
            assert not level.temporal.order
            assert (level.fanout.x.size, level.fanout.y.size) == (own.fanout.x.size, own.fanout.y.size)
            assert level.model_copy(update={"temporal": own.temporal, "fanout": own.fanout}) == own


def test_the_problems_are_every_layer_of_four_networks_on_five_targets() -> None:
    layers = benchmark.layers_of(benchmark.NETWORKS)
    assert len(layers) == len(set(layers)) == 100
    problems = benchmark.problems_of(benchmark.TARGETS, benchmark.NETWORKS, benchmark.DATAFLOWS, ["edp"])
    assert len(problems) == len(set(problems)) == 100 * 5 * 2
    macs = benchmark.largest_network().macs
    space = OfaMobileNetV3()
    genomes = space.sample_genomes(np.random.default_rng(0), 20)
    assert all(space.network(genome).macs < macs for genome in genomes)


def test_groups() -> None:
    assert small().group == small("free").group == "constrained"  # three levels
    assert small("free", load_target("eyeriss")).group == "free"
    assert small("native", load_target("eyeriss")).group == "constrained"


def test_forgetting_empties_what_is_kept() -> None:
    best_mapping(Layer(K=4), machine(2, 2))
    assert plan._machine.cache_info().currsize > 0
    benchmark.forget()
    assert plan._machine.cache_info().currsize == 0


def test_summary_counts_what_can_be_mapped() -> None:
    result = best_mapping(Layer(K=4, C=4), machine(2, 2))
    proven, guessed = replace(result, optimal=True), replace(result, optimal=False)
    measured = [Measured(small(), ms, answer) for ms, answer in ((1.0, proven), (3.0, guessed), (9.0, None))]
    figures = benchmark.summary(measured)
    assert (figures["problems"], figures["proven"], figures["unmappable"]) == (2, 1, 1)
    assert (figures["median_ms"], figures["max_ms"]) == (2.0, 3.0)
    assert "1 cannot be mapped" in "\n".join(benchmark.table("title", measured))
    assert benchmark.summary([])["median_ms"] is None
    assert benchmark.table("title", []) == benchmark.table("title", [])


def test_gaps() -> None:
    problem = small()
    result = replace(best_mapping(problem.layer, problem.accelerator), optimal=True)
    assert benchmark.gap_of(Measured(problem, 5.0, result), "random", 1.0) == pytest.approx(0.0)
    worse = replace(result, energy_pj=2 * result.energy_pj)
    assert benchmark.gap_of(Measured(problem, 5.0, worse), "random", 1.0) == pytest.approx(-0.5)
    assert benchmark.gap_of(Measured(problem, 5.0, None), "random", 1.0) == -1.0
    figures = benchmark.gap_summary([0.0, 0.5, None, -0.5])
    assert [figures[key] for key in ("problems", "optimal", "nothing_found", "below_optimum")] == [4, 2, 1, 1]
    assert benchmark.gap_summary([None])["median"] is None
    lines = benchmark.gap_table({"random": {("small", "native", "edp"): [0.0, None, -0.5]}})
    assert "nothing found: 1  BELOW THE OPTIMUM" in lines[-1]


def test_names() -> None:
    assert benchmark.names("eyeriss,edge_tpu", benchmark.TARGETS, "target") == ["eyeriss", "edge_tpu"]
    with pytest.raises(UnknownNameError, match="unknown target 'eyeris': did you mean 'eyeriss'"):
        benchmark.names("eyeris", benchmark.TARGETS, "target")


def test_pairs() -> None:
    assert benchmark.pairs_per_second(1, "eyeriss", "random") > 0


def test_the_command(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    result = run(
        "--targets", "nvdla_256", "--networks", "vgg16", "--objectives", "edp", "--pairs", "0", "--samplers",
        "--json", str(figures),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    written = json.loads(figures.read_text())
    assert (written["problems"], written["proven"]) == (24, 24)
    for group in ("constrained", "free", "cached_constrained", "cached_free"):
        assert written[group]["problems"] == 12
        assert 0 < written[group]["median_ms"] <= written[group]["p95_ms"] <= written[group]["max_ms"]
    assert written["peak_mib"] > 0
    assert all(row["below_optimum"] == 0 for row in written["samplers"].values())
    assert "nothing kept between layers" in result.output
