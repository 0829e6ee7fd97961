"""The search loop: budget, record, reproducibility, resume, limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import cosearch
from accel_models.description import load_target
from accel_models.networks import load_network
from cosearch.archive import Archive
from cosearch.errors import RunError, SearchError, UnknownNameError
from cosearch.evaluate import MappingOptions
from cosearch.objective import Limit, parse_objectives, to_minimise
from cosearch.results import Study, nondominated
from cosearch.strategies import strategy_names
from cosearch.study import resume, search

from .conftest import TARGET

FAST = MappingOptions(effort=8)
STRATEGIES = [name for name in strategy_names() if name != "qnehvi" or find_spec("botorch")]
OBJECTIVES = ("latency", "energy", "area")


def run(tiny, out=None, **changes):
    options = {"budget": 60, "population": 20, "seed": 3, "mapping": FAST, "out": out, **changes}
    return search(load_network("mobilenet-v2", 64), tiny, OBJECTIVES, **options)


def test_the_budget_is_met_with_different_pairs(tiny) -> None:
    pairs = run(tiny).archive.pairs()
    assert [pair.id for pair in pairs] == list(range(1, 61))
    assert len({pair.genome for pair in pairs}) == 60


def test_the_front_is_what_nothing_dominates(tiny) -> None:
    study = run(tiny)
    front = study.front_pairs()
    values = to_minimise(study.objectives, [pair.metrics for pair in study.archive.pairs() if pair.feasible])
    expected = {
        tuple(row) for row in values if not any((other <= row).all() and (other < row).any() for other in values)
    }
    assert {tuple(row) for row in to_minimise(study.objectives, [pair.metrics for pair in front])} == expected
    assert list(study.front().columns[:4]) == ["id", "latency_ms", "energy_mj", "area_mm2"]


def test_hardware_that_cannot_run_the_network_is_infeasible_not_a_crash(tiny) -> None:
    pairs = run(tiny).archive.pairs()
    small = [pair for pair in pairs if pair.reason]
    assert small, "no pair drew the buffer of 1 word"
    assert all(not pair.feasible for pair in small)
    assert all("cannot be mapped: level 'buffer' has room for 1 words" in pair.reason for pair in small)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_and_two_workers_write_the_same_bytes(tiny, tmp_path, strategy) -> None:
    for workers in (1, 2):
        run(tiny, tmp_path / str(workers), workers=workers, strategy=strategy, limits=["area_mm2<=1"]).archive.close()
    one, two = (tmp_path / name / "archive.sqlite" for name in "12")
    assert one.read_bytes() == two.read_bytes()


def test_another_seed_asks_other_pairs(tiny) -> None:
    first, second = (run(tiny, seed=seed).archive.pairs() for seed in (1, 2))
    assert [pair.genome for pair in first] != [pair.genome for pair in second]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_resumed_run_is_the_run_it_would_have_been(tiny, tmp_path, strategy) -> None:
    whole = run(tiny, budget=90, strategy=strategy).archive
    run(tiny, tmp_path / "run", budget=33, strategy=strategy).archive.close()
    resumed = resume(tmp_path / "run", budget=90).archive
    assert _same(resumed, whole)
    assert resumed.get("budget") == whole.get("budget") == 90


def _same(one: Archive, other: Archive) -> bool:
    """NaN equals NaN: compare as text."""
    return list(map(str, one.pairs())) == list(map(str, other.pairs()))


def test_a_foreign_record_is_not_continued(tiny, tmp_path) -> None:
    run(tiny, tmp_path / "run", budget=40).archive.close()
    archive = Archive(tmp_path / "run" / "archive.sqlite")
    archive.set("config", {**archive.get("config"), "seed": 4})
    archive.close()
    with pytest.raises(RunError, match="not what this program would have recorded"):
        resume(tmp_path / "run", budget=60)


def test_limits_shape_the_search(tiny) -> None:
    study = run(tiny, limits=["area_mm2<=0.3", "latency_ms<=100"], budget=100)
    front = study.front_pairs()
    assert front
    assert all(pair.metrics["area_mm2"] <= 0.3 and pair.metrics["latency_s"] <= 0.1 for pair in front)
    broken = [pair for pair in study.archive.pairs() if not pair.reason and pair.metrics["area_mm2"] > 0.3]
    assert broken
    assert not any(pair.feasible for pair in broken)


def test_a_limit_nothing_meets_says_how_far_off_it_is(tiny, tmp_path) -> None:
    with pytest.raises(
        SearchError, match=r"no pair of 40 evaluated keeps the limits \(area_mm2<=0\.001: best seen 0\.\d+\)"
    ):
        run(tiny, tmp_path / "run", budget=40, limits=["area_mm2<=0.001"])


def test_a_search_ends_when_the_space_is_exhausted(tiny) -> None:
    fewer = tiny.model_copy(update={"search": tiny.search[:1]})
    assert len(run(fewer, budget=500).archive.pairs()) == 8


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"budget": 0}, SearchError, "budget = 0"),
        ({"strategy": "nsga3000"}, UnknownNameError, "did you mean 'nsga3'"),
        ({"strategy": "cma-es", "population": 3}, SearchError, "strategy 'cma-es': it takes a population of 4 or more"),
        ({"limits": ["area<=3"]}, UnknownNameError, "did you mean 'area_mm2'"),
        ({"limits": ["area_mm2=3"]}, SearchError, "is not of the form"),
        ({"limits": ["area_mm2<=-3"]}, SearchError, "'-3' is not a positive number"),
        ({"fix_hardware": True}, SearchError, "nothing to search"),
    ],
)
def test_what_cannot_be_searched_is_said_before_anything_is_written(tiny, tmp_path, changes, error, message) -> None:
    with pytest.raises(error, match=message):
        run(tiny, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("strategy", ["nsga3", "sms-emoa"])
def test_one_objective_is_too_few_for_some(tiny, tmp_path, strategy) -> None:
    with pytest.raises(SearchError, match=f"strategy '{strategy}': it takes 2 to . objectives, not 1"):
        search(load_network("mobilenet-v2", 64), tiny, ["latency"], strategy=strategy, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_search_ends_where_a_strategy_asks_nothing_more(tiny) -> None:
    pairs = run(tiny, strategy="grid", budget=500).archive.pairs()
    assert len(pairs) == 8 * 4, "sides of the array together, times sizes of the buffer"
    assert all(pair.genome[0] == pair.genome[1] for pair in pairs)


def test_names_of_objectives() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'energy'"):
        parse_objectives(["enery"])
    with pytest.raises(SearchError, match="each once"):
        parse_objectives(["energy", "energy"])


def test_top1_needs_somebody_who_measured(tiny) -> None:
    with pytest.raises(SearchError, match="top1 cannot be an objective or limit"):
        search("ofa-mobilenet-v3-w1.2", tiny, ["top1", "latency"])


def test_a_run_is_not_overwritten(tiny, tmp_path) -> None:
    run(tiny, tmp_path / "run", budget=20).archive.close()
    before = (tmp_path / "run" / "archive.sqlite").read_bytes()
    with pytest.raises(RunError, match="already holds a run"):
        run(tiny, tmp_path / "run", budget=20)
    assert (tmp_path / "run" / "archive.sqlite").read_bytes() == before


def test_a_folder_without_a_run(tmp_path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        Study.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a database at all, just text" * 200])
def test_a_damaged_archive_gives_a_message(tmp_path, content) -> None:
    (tmp_path / "archive.sqlite").write_bytes(content)
    with pytest.raises(RunError):
        Study.open(tmp_path)


def test_a_killed_search_loses_at_most_the_generation_in_flight(tiny, tmp_path) -> None:
    (tmp_path / "tiny.yaml").write_text(TARGET)
    command = [
        sys.executable, "-m", "cosearch.cli", "search", "--fix", "network", "--network", "mobilenet-v2", "--target",
        str(tmp_path / "tiny.yaml"), "--objectives", "latency,energy,area", "--budget", "200", "--population", "10",
        "--effort", "40", "--workers", "1", "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    archive = tmp_path / "run" / "archive.sqlite"
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None and _pairs_in(archive) < 30:
            time.sleep(0.05)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    study = Study.open(tmp_path / "run")
    pairs = study.archive.pairs()
    assert 30 <= len(pairs) < 200, "the search ended or died before it could be killed"
    whole = search(
        load_network("mobilenet-v2"), load_target(tmp_path / "tiny.yaml"), ("latency", "energy", "area"), budget=200,
        population=10, mapping=MappingOptions(effort=40),
    )  # fmt: skip
    last = max(pair.generation for pair in pairs)
    expected = [pair for pair in whole.archive.pairs() if pair.generation <= last]
    assert list(map(str, pairs)) == list(map(str, expected)), "a generation is recorded whole or not at all"
    assert study.front_pairs()
    study.archive.close()


def _pairs_in(archive: Path) -> int:
    try:
        found = Archive(archive)
        count = len(found.pairs())
        found.close()
    except RunError:
        return 0
    return count


def test_nondominated_keeps_one_of_equal_rows() -> None:
    values = np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0], [2.0, 2.0]])
    assert len(nondominated(values)) == 2


@pytest.mark.parametrize(
    ("text", "value", "violation"),
    [("latency_ms<=5", 10.0, 1.0), ("latency_ms>=5", 10.0, -1.0), ("latency_s<=0.02", 0.01, -0.5)],
)
def test_a_limit_speaks_the_unit_of_its_name(text, value, violation) -> None:
    limit = Limit.parse(text)
    assert limit.value({"latency_s": 0.01}) == pytest.approx(value)
    assert limit.violation({"latency_s": 0.01}) == pytest.approx(violation)


def test_the_public_names_are_there() -> None:
    assert cosearch.search is search
    assert set(cosearch.__all__) <= set(dir(cosearch))
