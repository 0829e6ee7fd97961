"""Strategies against a small truth: the accounting of a search, what is measured, and both tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import cosearch
from benchmarks import search_quality
from benchmarks.judge import GOAL, Judge, Task
from benchmarks.known_space import KnownSpace, read_arrays, write_arrays
from benchmarks.race import Course, Prices, Race, able, measured_prices
from cosearch.answers import INFEASIBLE
from cosearch.errors import RunError, SearchError
from cosearch.results import nondominated

PRICES = Prices(pair_s=1.0, piece_s=100.0, front_s=1e6, trial_s=0.0)
BOTH = ("top1", "energy")


def run(*arguments: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(search_quality.main)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("strategy", ["nsga2", "exact", "grid", "sequential"])
def test_a_race_asks_and_answers_as_a_search_does(small: KnownSpace, strategy: str) -> None:
    course = Race(small, BOTH, PRICES).run(strategy, 1, 150, 20)
    study = cosearch.search(
        small.space.networks, small.question.machines, BOTH, strategy=strategy, budget=150, population=20, seed=1
    )
    pairs = study.archive.pairs()
    genomes = np.array([pair.genome for pair in pairs])
    assert len(course.values) == study.archive.looked_at()
    recorded = np.array([[-pair.metrics["top1_percent"], 1e3 * pair.metrics["energy_j"]] for pair in pairs])
    np.testing.assert_allclose(small.values(genomes, BOTH), recorded, rtol=1e-12)
    place = -1  # what was recorded was answered, in this order; what else was looked at was refuted
    for row in recorded:
        place += 1
        while not np.allclose(course.values[place], row, rtol=1e-12):
            assert (recorded <= course.values[place] * (1 + 1e-9 * np.sign(course.values[place]))).all(axis=1).any()
            place += 1


def test_every_answer_has_its_price_once(small: KnownSpace) -> None:
    course = Race(small, BOTH, PRICES).run("random", 0, 40, 20)
    genomes = small.space.sample_genomes(np.random.default_rng(0), 20)
    networks, hardware = small.space.split(genomes)
    machines = small.question.machine_numbers(hardware)
    pieces = {
        (machine, entry)
        for machine, entries in zip(machines, small.question.index.look_ups(networks).T, strict=True)
        for entry in entries
        if entry != small.question.index.entries - 1
    }
    assert course.pairs.tolist() == [20, 40]
    assert course.seconds[0] == pytest.approx(20 + 100 * len(pieces), abs=1.0)
    one_machine = Race(small, BOTH, PRICES).run("exact", 0, 10, 20)
    priced = int((~np.isnan(small.costs["macs"])).sum()) - 1
    assert one_machine.seconds[0] == pytest.approx(10 + 100 * priced + 1e6, abs=1.0)


def test_a_machine_that_runs_nothing_is_answered_as_infeasible(small: KnownSpace) -> None:
    costs = {name: values.copy() for name, values in small.costs.items()}
    for name in ("cycles", "energy_j"):
        costs[name][1:, :-1] = np.nan
    costs["area_mm2"][1:] = np.nan
    broken = KnownSpace(small.question, costs, small.fronts)
    machines = small.question.count
    course = Race(broken, BOTH, PRICES).run("random", 0, 80, 20)
    running = able(course.values)
    assert 0 < running.sum() < 80
    assert (course.values[~running, 1] == INFEASIBLE).all()
    everything = Race(broken, BOTH, PRICES).run("exact", 0, 5000, 20)
    running = able(everything.values)
    assert (~running).sum() >= machines - 1  # one pair at least of every machine
    front = small.network_front(0, BOTH)
    assert front is not None
    found = everything.values[running]
    assert len(nondominated(found)) == len(front)
    assert broken.network_front(1, BOTH) is None


def test_exact_has_no_regret(small: KnownSpace) -> None:
    judge = Judge(small, BOTH)
    course = Race(small, BOTH, PRICES).run("exact", 0, 10_000, 100)
    score = judge.score("exact", 0, 10_000, course)
    assert score.hypervolume_ratio == pytest.approx(1.0, abs=1e-12)
    assert (score.missed, score.igd_plus) == (0, pytest.approx(0.0, abs=1e-12))
    assert score.evaluations < 10_000


def test_what_is_measured(small: KnownSpace) -> None:
    judge = Judge(small, BOTH)
    true = small.fronts[BOTH].values
    half = np.concatenate([true[::2], true[:1] + 1.0])
    assert judge.ratio(true) == pytest.approx(1.0, rel=1e-12)
    assert judge.ratio(half) < 1.0
    assert judge.missed(half) == len(true) // 2
    assert judge.missed(true) == 0
    assert judge.igd_plus(true) == pytest.approx(0.0, abs=1e-12)
    assert judge.igd_plus(half) > 0.0
    none = np.full((3, 2), INFEASIBLE)
    assert (judge.ratio(none), judge.igd_plus(none), judge.missed(none)) == (0.0, np.inf, len(true))
    # the two ends of a front span the unit square: with them alone 0.1 x 1.1 + 1 x 0.1 is covered
    ends = true[[0, -1]]
    whole = judge.ratio(ends[:1]) / (0.1 * 1.1)
    assert judge.ratio(ends) == pytest.approx(0.21 * whole, rel=1e-9)


def test_how_many_pairs_are_enough(small: KnownSpace) -> None:
    judge = Judge(small, BOTH)
    values = np.concatenate([small.fronts[BOTH].values[::40], small.fronts[BOTH].values])
    enough = judge.to_goal(values)
    assert enough is not None
    assert judge.ratio(values[: enough - 1]) < GOAL <= judge.ratio(values[:enough])
    assert judge.to_goal(values[:1]) is None
    course = Course(values, np.array([30, len(values)]), np.array([1.5, 40.0]), 1.0)
    score = judge.score("any", 0, 100, course)
    assert score.ratios == [judge.ratio(values[:100])]
    assert score.seconds_at == [40.0]
    assert score.ratios_by_second[:2] == [None, judge.ratio(values[:30])]
    assert score.ratios_by_second[-1] == judge.ratio(values)


def test_the_tables_the_figures_and_the_picture(small_file: Path, tmp_path: Path) -> None:
    figures, picture = tmp_path / "figures.json", tmp_path / "curves.svg"
    result = run(
        "--truth", str(small_file), "--objectives", "top1,energy", "--strategies", "random,nsga2,grid", "--seeds", "6",
        "--budget", "200", "--population", "20", "--json", str(figures), "--plot", str(picture),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    written = json.loads(figures.read_text())
    told = written["strategies"]
    assert list(told) == ["random", "nsga2", "grid"]
    assert (told["nsga2"]["evaluations"], told["random"]["evaluations"]) == (200, 200)
    assert told["grid"]["evaluations"] < 200  # a grid has an end
    for each in told.values():
        ratios = [score["hypervolume_ratio"] for score in each["per_seed"]]
        assert each["hypervolume_ratio"] == pytest.approx(np.median(ratios))
        assert each["by_evaluations"][-1]["hypervolume_ratio"][1] == pytest.approx(each["hypervolume_ratio"])
        assert 0 < each["hypervolume_ratio"] < 1
        assert each["seconds"] > each["own_seconds"] > 0
    assert told["nsga2"]["p_better_than_random"] < 0.05  # 1/64 where it wins with each of six seeds
    assert told["random"]["p_better_than_random"] is None
    assert "\nnsga2 " in result.output
    assert "points on the true front" in result.output
    assert b"<svg" in picture.read_bytes()


def test_a_strategy_that_cannot_take_the_problem_is_told_and_left_out(
    small_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Race, *arguments: Any) -> Course:
        raise SearchError("it takes one objective")

    monkeypatch.setattr(Race, "run", refuse)
    task = Task(str(small_file), BOTH, PRICES, "nsga2", 0, 100, 20)
    assert search_quality.compare([task], 1) == {}


def test_a_truth_of_other_models_is_refused(small: KnownSpace, small_file: Path, tmp_path: Path) -> None:
    costs = small.costs | {"energy_j": small.costs["energy_j"] * 1.001}
    with pytest.raises(RunError, match="another cost model"):
        measured_prices(KnownSpace(small.question, costs, small.fronts), BOTH, 1)
    arrays = read_arrays(small_file)
    arrays["values of top1,energy"][:, 0] += 0.01
    write_arrays(tmp_path / "other.npz", arrays)
    with pytest.raises(RunError, match="another model of accuracy"):
        KnownSpace.load(tmp_path / "other.npz")


def test_objectives_without_a_true_front_are_refused(small_file: Path) -> None:
    with pytest.raises(SearchError, match="no true front of top1,area; there are: top1,latency; top1,energy"):
        search_quality.main(truth=small_file, objectives="top1,area", strategies="", seeds=1, budget=10)
