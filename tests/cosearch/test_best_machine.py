"""The best machine for one network: what is thrown away unmapped is worse, and the answer is what an evaluation says."""

from __future__ import annotations

import math

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
def test_a_machine_is_left_exactly_where_it_is_above_the_limit(target: str) -> None:
    space = make_hardware("naas", load_target(target))
    genomes = space.sample_genomes(np.random.default_rng(3), 4)
    judge = NetworkJudge(NETWORK)
    for genome, true in zip(genomes, products(space, genomes), strict=True):
        machine = space.target(genome)
        assert judge.floor_js(machine) <= true * (1 + 1e-12)
        if math.isinf(true):
            assert judge.cost(machine) is None
            continue
        for factor in (0.5, 0.97, 0.999999, 1.0, 1.2, math.inf):
            cost = judge.cost(machine, true * factor)
            assert (cost is not None) == (factor >= 1)
            if cost is not None:
                assert math.prod(cost) == true


def test_refuting_takes_fewer_questions_than_mapping() -> None:
    machine = load_target("nvdla_256")
    true, judge = machine.evaluate(NETWORK).edp_js, NetworkJudge(NETWORK)
    assert judge.cost(machine, judge.floor_js(machine) / 2) is None
    assert judge.questions == 0
    assert judge.cost(machine, 0.9 * true) is None
    assert judge.questions <= len(NETWORK.distinct_layers)


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
    found = best_machine(NETWORK, space, budget=60_000)
    assert found.edp_js == min(products(space, every))
    assert found.mapped < 64


def test_the_answer_is_what_an_evaluation_says_and_beats_the_described_machine() -> None:
    target = load_target("nvdla_256")
    space = make_hardware("naas", target)
    found = best_machine(NETWORK, space, budget=500, seed=1)
    assert found.accelerator == space.target(found.genome)
    cost = found.accelerator.evaluate(NETWORK)
    assert (cost.latency_s, cost.energy_j) == (found.latency_s, found.energy_j)
    assert found.edp_js < 0.99 * space.target(space.default).evaluate(NETWORK).edp_js
    again = best_machine(NETWORK, space, budget=500, seed=1)
    assert np.array_equal(again.genome, found.genome)
    assert (again.edp_js, again.looked_at) == (found.edp_js, found.looked_at)


def test_knobs_that_are_not_free_stay() -> None:
    space = make_hardware("naas", load_target("nvdla_256"))
    found = best_machine(NETWORK, space, budget=300, free=space.sizing)
    fixed = ~space.sizing
    assert np.array_equal(found.genome[fixed], space.default[fixed])


def test_what_cannot_be_searched_is_refused(tiny: Accelerator) -> None:
    with pytest.raises(SearchError, match="no knob of tiny varies"):
        best_machine(NETWORK, make_hardware("fixed", tiny))
    with pytest.raises(SearchError, match="holds tensors on chip"):
        best_machine(NETWORK, make_hardware("fixed", load_target("tpu_like")))
