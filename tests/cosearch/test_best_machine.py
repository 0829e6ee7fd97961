"""The best machine for one network: what is given up early, and that the answer is what an evaluation says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from accel_models.accelerator import Accelerator
from accel_models.description import load_target
from accel_models.errors import AccelModelsError
from accel_models.networks import load_network
from cosearch.best_machine import NetworkJudge, best_machine
from cosearch.errors import SearchError
from cosearch.spaces.hardware import HardwareSpace, make_hardware

NETWORK = load_network("squeezenet-1.1", 64)


def products(space: HardwareSpace, genomes: np.ndarray) -> list[float]:
    """Energy-delay products in full, infinite where a machine cannot run the network."""
    found = []
    for genome in genomes:
        try:
            found.append(space.target(genome).evaluate(NETWORK).edp_js)
        except AccelModelsError:
            found.append(math.inf)
    return found


@pytest.mark.parametrize("target", ["nvdla_256", "shidiannao"])
def test_costs_are_those_of_an_evaluation_and_bounds_below_them(target: str) -> None:
    space = make_hardware("naas", load_target(target))
    genomes = space.sample_genomes(np.random.default_rng(3), 3)
    judge = NetworkJudge(NETWORK)
    for genome, true in zip(genomes, products(space, genomes), strict=True):
        machine = space.target(genome)
        assert judge.floor_js(machine) <= true
        cost = judge.cost(machine)
        assert (math.inf if cost is None else cost.edp_js) == true


def test_a_machine_is_judged_against_the_best() -> None:
    machine, judge = load_target("nvdla_256"), NetworkJudge(NETWORK)
    own = judge.cost(machine)
    assert own is not None
    again = judge.cost(machine, own)
    assert again is not None and (again.latency_s, again.energy_j) == (own.latency_s, own.energy_j)
    for factor in (0.5, 0.999999):
        assert judge.cost(machine, replace(own, latency_s=factor * own.latency_s)) is None
    assert judge.cost(machine, replace(own, latency_s=2 * own.latency_s)) is not None


def test_most_layers_of_a_hopeless_machine_are_not_mapped() -> None:
    space, judge = make_hardware("naas", load_target("nvdla_256")), NetworkJudge(NETWORK)
    best = judge.cost(space.target(space.default))
    layers = len(NETWORK.distinct_layers)
    assert best is not None and judge.layers_mapped == layers
    worse = space.default.copy()
    worse[[knob.name for knob in space.knobs].index("size_1")] -= 3
    assert space.target(worse).macs_per_cycle < space.base.macs_per_cycle
    assert judge.cost(space.target(worse), best) is None
    assert judge.layers_mapped < 1.5 * layers


def test_of_a_small_space_it_is_the_best(tiny: Accelerator) -> None:
    few = {"array_x": (4, 16, 4), "array_y": (4, 16, 4)}
    search = [
        knob.model_copy(update=dict(zip(("minimum", "maximum", "step"), few[knob.name], strict=True)))
        if knob.name in few
        else knob
        for knob in tiny.search
    ]
    space = make_hardware("described", tiny.model_copy(update={"search": tuple(search)}))
    every = np.array(list(np.ndindex(*space.choices_per_knob)), dtype=np.int64)
    assert len(every) == 64
    found = best_machine(NETWORK, space, budget=30_000)
    assert found.edp_js == min(products(space, every))
    assert found.mapped < 64


def test_the_answer_is_what_an_evaluation_says_and_beats_the_described_machine() -> None:
    target = load_target("nvdla_256")
    space = make_hardware("naas", target)
    found = best_machine(NETWORK, space, budget=300, seed=1)
    assert found.accelerator == space.target(found.genome)
    cost = found.accelerator.evaluate(NETWORK)
    assert (cost.latency_s, cost.energy_j) == (found.latency_s, found.energy_j)
    assert found.edp_js < 0.99 * space.target(space.default).evaluate(NETWORK).edp_js
    again = best_machine(NETWORK, space, budget=300, seed=1)
    assert np.array_equal(again.genome, found.genome)
    assert (again.edp_js, again.looked_at) == (found.edp_js, found.looked_at)


def test_knobs_that_are_not_free_stay() -> None:
    space = make_hardware("naas", load_target("nvdla_256"))
    found = best_machine(NETWORK, space, budget=100, free=space.sizing)
    fixed = ~space.sizing
    assert np.array_equal(found.genome[fixed], space.default[fixed])


def test_what_cannot_be_searched_is_refused(tiny: Accelerator) -> None:
    with pytest.raises(SearchError, match="no knob of tiny varies"):
        best_machine(NETWORK, make_hardware("fixed", tiny))
    with pytest.raises(SearchError, match="holds tensors on chip"):
        best_machine(NETWORK, make_hardware("fixed", load_target("tpu_like")))
