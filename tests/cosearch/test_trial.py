"""Pairs that are refuted are worse than a known one, and what is not refuted costs what an evaluation says."""

from __future__ import annotations

import numpy as np
import pytest

from accel_models.description import load_target
from cosearch.estimates import NOTHING
from cosearch.evaluate import Evaluator, MappingOptions, Specification, open_pool
from cosearch.objective import Limit, parse_objectives, to_minimise
from cosearch.spaces.joint import FixedNetwork
from cosearch.trial import Bar, try_pairs

from .small_space import SmallSpace

SPACE = SmallSpace()


def metrics(outcome) -> dict[str, float]:
    return {
        "latency_s": outcome.latency_s, "energy_j": outcome.energy_j, "edp_js": outcome.latency_s * outcome.energy_j,
        "area_mm2": outcome.area_mm2, "macs": float(outcome.macs), "params": float(outcome.params),
    }  # fmt: skip


@pytest.fixture(scope="module", params=["naas", "described"])
def case(request):
    """Random pairs on one kind of machines, and what each costs."""
    specification = Specification(SPACE, load_target("eyeriss"), request.param, MappingOptions())
    space = specification.space()
    genomes = space.sample_genomes(np.random.default_rng(4), 24)
    evaluate = Evaluator(specification)
    return specification, genomes, [evaluate(genome) for genome in genomes]


@pytest.mark.parametrize("names", [("edp",), ("latency", "energy"), ("energy", "area")], ids=",".join)
def test_the_refuted_are_those_that_a_known_pair_beats(case, names) -> None:
    specification, genomes, outcomes = case
    objectives = parse_objectives(names)
    values = to_minimise(objectives, [metrics(outcome) for outcome in outcomes])
    front = values[[3, 11, 17]]
    tried = try_pairs(Bar(specification, objectives, (), front), genomes, [NOTHING.metrics] * 24, None, 1, 1)
    for value, outcome, answer in zip(values, outcomes, tried, strict=True):
        beaten = (front <= value * (1 - 1e-9)).all(axis=1).any()
        assert (answer is None) == beaten
        assert answer is None or answer == outcome
    assert 0 < sum(answer is None for answer in tried) < 24


def test_limits_refute_too_but_only_where_something_keeps_them(case) -> None:
    specification, genomes, outcomes = case
    objectives = parse_objectives(("energy",))
    latency = float(np.median([outcome.latency_s for outcome in outcomes])) * 1e3
    limits = (Limit("latency_ms", "<=", latency),)
    nothing = Bar(specification, objectives, limits, np.empty((0, 1)))
    easy = Bar(specification, objectives, limits, np.array([[1e9]]))
    assert all(one is not None for one in try_pairs(nothing, genomes, [NOTHING.metrics] * 24, None, 1, 1))
    for outcome, answer in zip(outcomes, try_pairs(easy, genomes, [NOTHING.metrics] * 24, None, 1, 1), strict=True):
        assert (answer is not None) == (outcome.latency_s * 1e3 <= latency * (1 + 1e-12))


def test_an_accuracy_below_the_limit_refutes(case) -> None:
    specification, genomes, _ = case
    bar = Bar(specification, parse_objectives(("energy",)), (Limit.parse("top1>=70"),), np.array([[1e9]]))
    top1 = np.where(np.arange(24) % 2, 69.9, 70.1)
    assert [
        one is None
        for one in try_pairs(
            bar, genomes, [{**NOTHING.metrics, "top1_percent": one} for one in top1.tolist()], None, 1, 1
        )
    ] == (top1 < 70).tolist()


def test_processes_answer_as_this_one_does(case) -> None:
    specification, genomes, outcomes = case
    objectives = parse_objectives(("edp",))
    front = to_minimise(objectives, [metrics(outcomes[5])])
    bar = Bar(specification, objectives, (), front)
    here = try_pairs(bar, genomes, [NOTHING.metrics] * 24, None, 1, 1)
    with open_pool(2) as pool:
        there = try_pairs(bar, genomes, [NOTHING.metrics] * 24, pool, 2, 8)
    assert here == there


def test_a_machine_that_cannot_run_a_network_is_refuted_once_something_runs(tiny) -> None:
    network = SPACE.sample(1)
    specification = Specification(FixedNetwork(network), tiny, "described", MappingOptions())
    genome = np.array([[3, 3, 0]])  # a buffer of one word
    objectives = parse_objectives(("edp",))
    first, later = (Bar(specification, objectives, (), np.full((count, 1), 1e9)) for count in (0, 1))
    (answer,) = try_pairs(first, genome, [NOTHING.metrics], None, 1, 1)
    assert "cannot be mapped" in answer.reason
    assert try_pairs(later, genome, [NOTHING.metrics], None, 1, 1) == [None]
