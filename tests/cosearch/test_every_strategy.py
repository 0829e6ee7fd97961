"""Whole runs with every strategy: the same record for any number of workers, and for a run that was stopped on the way."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from importlib.util import find_spec

import numpy as np
import pytest
from loky import ProcessPoolExecutor

from accel_models.networks import load_network
from cosearch.archive import Archive
from cosearch.errors import SearchError
from cosearch.evaluate import MappingOptions
from cosearch.strategies import strategy_names
from cosearch.study import resume, search

NAMES = [name for name in strategy_names() if name != "exact" and (name != "qnehvi" or find_spec("botorch"))]
"""`exact` asks for whole fronts, and has tests of its own."""

OPTIONS = {"population": 8, "seed": 3, "mapping": MappingOptions(effort=8)}


def pairs_of(tiny, out, name, budget):
    """Networks and hardware; some machines cannot run any network, some are too large."""
    objectives = ("latency", "energy")
    with suppress(SearchError):  # none keeps the limits
        search(
            "ofa-mobilenet-v3", tiny, objectives, limits=["area_mm2<=0.3"], strategy=name, budget=budget, out=out,
            **OPTIONS,
        ).archive.close()  # fmt: skip


def broken_alike(tiny, out, name, budget):
    """Hardware for one network, with a limit that every pair breaks by as much: all violations tie."""
    with pytest.raises(SearchError, match=r"keeps the limits \(macs<=1: best seen|can run at all"):
        search(
            load_network("mobilenet-v2", 64), tiny, ("latency", "energy"), limits=["macs<=1"], strategy=name,
            budget=budget, out=out, **OPTIONS,
        )  # fmt: skip


@pytest.fixture(scope="module")
def pool():
    """Two processes for all runs: to start them takes longer than what they do."""
    made = ProcessPoolExecutor(max_workers=2)
    yield made
    made.shutdown()


@pytest.mark.parametrize("run", [pairs_of, broken_alike])
@pytest.mark.parametrize("name", NAMES)
def test_a_run_resumed_by_two_workers_has_the_record_of_one_worker(
    tiny, tmp_path, monkeypatch, pool, name, run
) -> None:
    monkeypatch.setattr("cosearch.study.open_pool", lambda workers: nullcontext(pool if workers > 1 else None))
    run(tiny, tmp_path / "whole", name, 28)
    run(tiny, tmp_path / "stopped", name, 13)
    with suppress(SearchError):
        resume(tmp_path / "stopped", budget=28, workers=2).archive.close()
    whole, stopped = (Archive(tmp_path / folder / "archive.sqlite").pairs() for folder in ("whole", "stopped"))
    assert list(map(str, whole)) == list(map(str, stopped))  # as text: NaN equals NaN
    assert 13 < len(whole) <= 28
    assert len({pair.genome for pair in whole}) == len(whole)


@pytest.mark.parametrize("name", [*NAMES, "exact"])
def test_the_front_is_the_best_of_the_record_and_within_the_limits(tiny, name) -> None:
    study = search(
        load_network("mobilenet-v2", 64), tiny, ("latency", "energy", "area"), limits=["area_mm2<=0.4", "latency_ms<=90"],
        strategy=name, budget=40, **OPTIONS,
    )  # fmt: skip
    front = {pair.id for pair in study.front_pairs()}
    figures = {
        pair.id: (pair.metrics["latency_s"], pair.metrics["energy_j"], pair.metrics["area_mm2"])
        for pair in study.archive.pairs()
        if not pair.reason
    }
    within = {key: row for key, row in figures.items() if row[2] <= 0.4 and 1e3 * row[0] <= 90}
    assert front and front <= set(within)
    for key, row in within.items():
        better = [other for other in within.values() if all(map(float.__le__, other, row)) and other != row]
        assert (key in front) == (not better) or list(within.values()).count(row) > 1


def test_a_budget_that_is_too_large_is_refused(tiny) -> None:
    pytest.importorskip("botorch", reason="the extra botorch is not installed")
    with pytest.raises(SearchError, match="strategy 'qnehvi': it takes a budget of at most 1000, not 1001"):
        search(load_network("mobilenet-v2", 64), tiny, ("latency", "energy"), strategy="qnehvi", budget=1001)


def test_sequential_begins_with_the_hardware_as_described(tiny, tmp_path) -> None:
    pairs_of(tiny, tmp_path / "run", "sequential", 16)
    hardware = np.array([pair.genome[-3:] for pair in Archive(tmp_path / "run" / "archive.sqlite").pairs()])
    assert (hardware[:8] == [3, 3, 2]).all(), "8 x 8 elements and 4096 words, as described"
    assert not (hardware[8:] == [3, 3, 2]).all()
