"""The exact mapper against enumeration, and the laws that optima keep."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from accel_models import best_mapping, load_target, mapping_front
from accel_models.accelerator import Accelerator, Axis, Fanout, TemporalRules
from accel_models.description import with_values
from accel_models.errors import MappingError
from accel_models.layer_cost import layer_cost
from accel_models.mapper.base import OBJECTIVES
from accel_models.workload import Layer

from .brute_force import brute_force
from .cases import machine
from .mapper_judge import close, misses, refusal_misses, truth_misses
from .mapping_problems import Impossible, MappingProblem, impossible_problems, make_problem
from .slow_cost import illegalities

LAYERS = {
    "conv": Layer(K=64, C=64, P=14, Q=14, R=3, S=3),
    "strided": Layer(K=32, C=3, P=28, Q=28, R=7, S=7, stride_w=2, stride_h=2),
    "depth-wise": Layer(G=96, P=14, Q=14, R=5, S=5),
    "grouped": Layer(G=4, K=16, C=24, P=14, Q=7, R=3),
    "linear": Layer(K=1000, C=512),
    "batched": Layer(N=16, K=48, C=40, P=9),
}
TARGETS = ("eyeriss", "eyeriss_rs", "nvdla_256", "edge_tpu", "shidiannao", "simba_like")


@pytest.mark.parametrize("seed", range(60))
def test_the_answer_is_what_enumeration_finds(seed: int) -> None:
    """Value, tie, proof, bound and front, for all objectives; a clear refusal where no mapping is legal."""
    problem = make_problem(seed)
    truth = brute_force(problem.layer, problem.accelerator)
    found = misses(problem, truth) + truth_misses(problem, truth)
    assert not found, "\n".join([str(problem), *found])


@pytest.mark.parametrize("name", impossible_problems())
def test_what_cannot_be_mapped_is_explained(name: str) -> None:
    case = impossible_problems()[name]
    problem = MappingProblem(0, case.layer, case.accelerator, 0)
    for objective in OBJECTIVES:
        assert refusal_misses(problem, lambda name=objective: best_mapping(case.layer, case.accelerator, name)) == []
        assert_named(case, lambda name=objective: best_mapping(case.layer, case.accelerator, name))
        assert best_mapping(case.layer, case.relaxed, objective).optimal
    assert_named(case, lambda: mapping_front(case.layer, case.accelerator))
    assert mapping_front(case.layer, case.relaxed)


@pytest.mark.parametrize("side", ["buffer.temporal", "dram.temporal", "buffer.fanout.x"])
@pytest.mark.parametrize("dim", ["N", "G", "Q", "R", "S"])
def test_a_fixed_factor_of_a_dim_that_the_layer_lacks_counts_as_one(dim: str, side: str) -> None:
    """Also of one that shares a window with a dim that the layer has."""
    layer = Layer(K=4, P=6) if dim != "Q" else Layer(K=4, S=3)
    target = with_values(machine(2, 1), {f"{side}.factors": {dim: 2}})
    problem = MappingProblem(0, layer, target, 1)
    assert misses(problem, brute_force(layer, target)) == []


def assert_named(case: Impossible, call) -> None:  # type: ignore[no-untyped-def]
    """Assert that a refusal names, as words of their own, all that is in the way."""
    with pytest.raises(MappingError) as caught:
        call()
    said = str(caught.value).replace(str(case.layer), "")
    for word in case.named:
        assert re.search(rf"(?<!\w){re.escape(word)}(?!\w)", said), f"{word} is not in: {said}"


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("target", TARGETS)
def test_the_same_input_gives_the_same_mapping(target: str, objective: str) -> None:
    """Whatever other calls have left behind."""
    accelerator = load_target(target)
    first = {layer: best_mapping(layer, accelerator, objective) for layer in LAYERS.values()}
    for layer, cold in reversed(first.items()):
        warm = best_mapping(layer, accelerator, objective)
        assert (cold.mapping, cold.energy_pj, cold.latency_cycles) == (
            warm.mapping,
            warm.energy_pj,
            warm.latency_cycles,
        )
        assert cold.lower_bound == warm.lower_bound
        assert cold.optimal
        assert warm.optimal


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("target", TARGETS)
def test_a_shipped_target_gets_a_legal_mapping_that_sampling_does_not_beat(target: str, name: str) -> None:
    layer, accelerator = LAYERS[name], load_target(target)
    for objective in OBJECTIVES:
        best = best_mapping(layer, accelerator, objective)
        assert illegalities(layer, accelerator, best.mapping) == []
        cost = layer_cost(layer, accelerator, best.mapping)
        assert (cost.energy_pj, cost.latency_cycles) == (best.energy_pj, best.latency_cycles)
        try:
            sampled = best_mapping(layer, accelerator, objective, mapper="random", effort=2000)
        except MappingError:
            continue
        assert best.lower_bound <= best.objective_value <= sampled.objective_value * (1 + 1e-12)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("target", TARGETS)
def test_the_ends_of_the_front_are_the_best_of_each_objective(target: str, name: str) -> None:
    layer, accelerator = LAYERS[name], load_target(target)
    front = mapping_front(layer, accelerator)
    assert all(point.optimal for point in front)
    costs = [(point.latency_cycles, point.energy_pj) for point in front]
    assert costs == sorted(costs)
    assert [energy for _, energy in costs] == sorted((energy for _, energy in costs), reverse=True)
    assert len({energy for _, energy in costs}) == len({latency for latency, _ in costs}) == len(costs)
    best = {objective: best_mapping(layer, accelerator, objective) for objective in OBJECTIVES}
    assert (best["latency"].latency_cycles, best["latency"].energy_pj) == pytest.approx(costs[0], rel=1e-12)
    assert best["energy"].energy_pj == pytest.approx(costs[-1][1], rel=1e-12)
    assert best["energy"].latency_cycles <= costs[-1][0]
    assert best["edp"].edp == pytest.approx(min(latency * energy for latency, energy in costs), rel=1e-12)
    for point in front:
        cost = layer_cost(layer, accelerator, point.mapping)
        assert (cost.latency_cycles, cost.energy_pj) == (point.latency_cycles, point.energy_pj)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_time_limit_gives_a_mapping_and_a_true_bound(objective: str) -> None:
    layer, accelerator = Layer(K=256, C=256, P=14, Q=14, R=3, S=3), free(load_target("eyeriss"))
    best = best_mapping(layer, accelerator, objective)
    assert best.optimal
    for limit in (1e-6, 1e-3, 1e-2, 1e-1):
        found = best_mapping(layer, accelerator, objective, time_limit_s=limit)
        assert illegalities(layer, accelerator, found.mapping) == []
        assert found.lower_bound <= best.objective_value * (1 + 1e-12)
        assert found.objective_value >= best.objective_value * (1 - 1e-12)
        assert found.lower_bound > 0
        if found.optimal:
            assert close(found.objective_value, best.objective_value)


def free(accelerator: Accelerator) -> Accelerator:
    """The same machine with any dim in every loop and along every axis."""
    levels = tuple(
        level.model_copy(
            update={
                "temporal": TemporalRules(),
                "fanout": Fanout(x=Axis(size=level.fanout.x.size), y=Axis(size=level.fanout.y.size)),
            }
        )
        for level in accelerator.levels
    )
    return accelerator.model_copy(update={"levels": levels})


def values(layer: Layer, accelerator: Accelerator) -> dict[str, float]:
    return {objective: best_mapping(layer, accelerator, objective).objective_value for objective in OBJECTIVES}


def assert_no_worse(better: dict[str, float], worse: dict[str, float]) -> None:
    for objective, value in better.items():
        assert value <= worse[objective] * (1 + 1e-12), objective


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("target", [target for target in TARGETS if target != "simba_like"])
def test_fewer_rules_are_never_worse(target: str, name: str) -> None:
    accelerator = load_target(target)
    assert_no_worse(values(LAYERS[name], free(accelerator)), values(LAYERS[name], accelerator))


def test_fewer_rules_are_never_worse_with_three_meshes() -> None:
    layer, accelerator = Layer(K=8, C=8, P=4, Q=2, R=3), load_target("simba_like")
    assert_no_worse(values(layer, free(accelerator)), values(layer, accelerator))


MORE = {
    "room": {"global_buffer.entries": 2 * 55296, "input_spad.entries": 24},
    "a longer axis": {"global_buffer.fanout.x.size": 28},
    "a wider port": {
        "dram.shared_bandwidth_words_per_cycle": 4.8,
        "global_buffer.read_bandwidth_words_per_cycle": 10.0,
    },
    "no double buffering": {"global_buffer.buffering": 1.0},
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("change", MORE)
def test_more_hardware_is_never_worse(change: str, name: str) -> None:
    """At fixed energies per access: a larger memory would else cost more per word."""
    plain = with_fixed_energies(load_target("eyeriss"))
    if change == "no double buffering":
        plain = with_values(plain, {"global_buffer.buffering": 2.0})
    assert_no_worse(values(LAYERS[name], with_values(plain, MORE[change])), values(LAYERS[name], plain))


def with_fixed_energies(accelerator: Accelerator) -> Accelerator:
    levels = tuple(
        level.model_copy(update={"access_energy_pj": level.energy_pj(accelerator.node_nm)})
        for level in accelerator.levels
    )
    return accelerator.model_copy(update={"levels": levels})


@pytest.mark.parametrize("layer", [Layer(), Layer(K=7), Layer(P=13, stride_w=3), Layer(K=1009, C=997)])
def test_layers_of_ones_and_of_primes(layer: Layer) -> None:
    for target in TARGETS:
        accelerator = load_target(target)
        assert all(best_mapping(layer, accelerator, objective).optimal for objective in OBJECTIVES)


def test_what_another_layer_left_behind_changes_nothing() -> None:
    """Layers and machines that differ in one thing only must not share an answer, in whatever order they come."""
    accelerator = load_target("eyeriss")
    plain = Layer(K=8, C=6, P=6, Q=2, R=3)
    others = ({"stride_w": 2}, {"dilation_w": 2}, {"weight_bits": 8}, {"N": 2}, {"G": 2})
    layers = [plain, *(replace(plain, **change) for change in others)]
    machines = [accelerator, free(accelerator), with_values(accelerator, {"input_spad.entries": 24})]
    cold = {}
    for place, each in enumerate(machines):
        for layer in layers:
            cold[layer, place] = values(layer, each)
    for layer in layers:
        for place, each in enumerate(machines):
            assert values(layer, each) == cold[layer, place]
