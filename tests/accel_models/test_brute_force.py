"""The judge is judged: enumeration against a slower one that knows nothing but the definition, and against the walk."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from accel_models import best_mapping
from accel_models.accelerator import Accelerator, Dataspace
from accel_models.description import with_values
from accel_models.errors import MappingError
from accel_models.layer_cost import layer_cost
from accel_models.mapper.base import OBJECTIVES
from accel_models.mapping import LevelMapping, Mapping
from accel_models.workload import DIMS, Layer

from .brute_force import Enumerations, TooManyError, brute_force
from .cases import machine
from .mapper_judge import misses, same_front, truth_misses
from .mapping_problems import MappingProblem, impossible_problems, make_problem
from .slow_cost import illegalities, slow_cost

KINDS = {
    "batched", "linear", "pointwise", "window", "depth-wise", "grouped", "strided", "stride over kernel", "dilated",
    "own bits", "optional bypass", "1 levels", "2 levels", "3 levels", "4 levels", "5 levels", "bypass",
    "double buffering", "blocks",
    "precision", "wide partial sums", "reads back first update", "read or write bandwidth", "shared bandwidth", "no mesh",
    "one mesh", "two meshes", "three meshes", "temporal rules", "order", "axis rules", "fixed factors", "largest factors",
    "cannot be mapped", "no room for one element",
}  # fmt: skip


def every_mapping(layer: Layer, accelerator: Accelerator) -> list[Mapping]:
    """All mappings by the definition alone: any factor anywhere, any order; then what breaks a rule is left out."""
    places = [(level, side) for level in range(len(accelerator.levels)) for side in range(3)]
    looping = [dim for dim, bound in zip(DIMS, layer.dims, strict=True) if bound > 1]
    splits = [
        [
            split
            for split in itertools.product(range(1, getattr(layer, dim) + 1), repeat=len(places))
            if math.prod(split) == getattr(layer, dim)
        ]
        for dim in looping
    ]
    found = []
    for split in itertools.product(*splits):
        sides: dict[tuple[int, int], list[tuple[str, int]]] = {place: [] for place in places}
        for dim, factors in zip(looping, split, strict=True):
            for place, factor in zip(places, factors, strict=True):
                sides[place] += [(dim, factor)] if factor > 1 else []
        ways = [
            itertools.product(itertools.permutations(sides[place, 0]), subsets(level.may_bypass))
            for place, level in enumerate(accelerator.levels)
        ]
        for way in itertools.product(*ways):
            mapping = Mapping(
                tuple(
                    LevelMapping(level.name, temporal, tuple(sides[place, 1]), tuple(sides[place, 2]), gone)
                    for place, (level, (temporal, gone)) in enumerate(zip(accelerator.levels, way, strict=True))
                )
            )
            found += [] if illegalities(layer, accelerator, mapping) else [mapping]
    return found


def subsets(names: Sequence[Dataspace]) -> list[tuple[Dataspace, ...]]:
    return [some for size in range(len(names) + 1) for some in itertools.combinations(names, size)]


SMALL = {
    "free": (Layer(K=4, C=2), {}),
    "tight": (Layer(K=4, C=2, P=2), {"registers.entries": 5, "registers.buffering": 1}),
    "window": (Layer(P=4, R=2, stride_w=2), {"registers.entries": 9, "registers.buffering": 2}),
    "rules": (
        Layer(K=4, C=6),
        {"registers.temporal.dims": ["K"], "buffer.temporal.order": ["C", "K"], "buffer.fanout.x.dims": ["K"]},
    ),
    "factors": (
        Layer(K=4, C=6),
        {"registers.temporal.factors": {"C": 2, "N": 7}, "buffer.temporal.max_factors": {"K": 2}},
    ),
    "bypass": (
        Layer(K=2, P=3, R=2),
        {"registers.may_bypass": ["outputs", "weights"], "buffer.may_bypass": ["inputs"], "registers.entries": 4},
    ),
    "axis": (Layer(K=4, P=4), {"buffer.fanout.y.factors": {"P": 2}, "buffer.fanout.x.max_factors": {"K": 1}}),
}


@pytest.mark.parametrize("name", SMALL)
def test_enumeration_finds_every_mapping_once(name: str) -> None:
    layer, values = SMALL[name]
    accelerator = with_values(machine(2, 2), values)
    expected = every_mapping(layer, accelerator)
    every = Enumerations(layer, accelerator, 100_000)
    found = [every.point(place).mapping for place in range(every.count)]
    assert Counter(found) == Counter(expected)
    assert len(set(found)) == len(found) > 1
    truth = brute_force(layer, accelerator)
    costs = [layer_cost(layer, accelerator, mapping) for mapping in expected]
    assert truth.mappings == len(expected)
    for objective, value in (
        ("energy", min(cost.energy_pj for cost in costs)),
        ("latency", min(cost.latency_cycles for cost in costs)),
        ("edp", min(cost.energy_pj * cost.latency_cycles for cost in costs)),
    ):
        assert truth.best(objective).value(objective) == value
    assert [(point.latency_cycles, point.energy_pj) for point in truth.front] == sorted(
        {
            (cost.latency_cycles, cost.energy_pj)
            for cost in costs
            if not any(
                other.latency_cycles <= cost.latency_cycles
                and other.energy_pj <= cost.energy_pj
                and (other.latency_cycles, other.energy_pj) != (cost.latency_cycles, cost.energy_pj)
                for other in costs
            )
        }
    )


def test_the_number_of_mappings_of_a_hand_counted_problem() -> None:
    """K = 4 and C = 3 in one level: 2 orders. In two: 3 splits of K, 2 of C; 2 orders where both loop in one level."""
    one = machine(1, 1).model_copy(update={"levels": machine(1, 1).levels[-1:]})
    two = machine(1, 1).model_copy(update={"levels": machine(1, 1).levels[-2:]})
    assert brute_force(Layer(K=4, C=3), one).mappings == 2
    assert brute_force(Layer(K=4, C=3), two).mappings == 2 * (2 + 2 + 1)  # K whole inside, split, whole outside
    with pytest.raises(TooManyError):
        brute_force(Layer(K=4, C=3), two, most=9)


@pytest.mark.parametrize("seed", range(60))
def test_the_truth_is_what_a_walk_counts(seed: int) -> None:
    problem = make_problem(seed, most_mappings=20_000, most_macs=500)
    truth = brute_force(problem.layer, problem.accelerator)
    assert truth.mappings == problem.mappings
    assert truth_misses(problem, truth) == []


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_no_sampled_mapping_is_better_than_the_truth(seed: int) -> None:
    problem = make_problem(seed, most_mappings=20_000, most_macs=500)
    truth = brute_force(problem.layer, problem.accelerator)
    for objective in OBJECTIVES:
        try:
            found = best_mapping(problem.layer, problem.accelerator, objective, mapper="random", effort=300)
        except MappingError:
            continue
        assert truth.front
        assert found.objective_value >= truth.best(objective).value(objective)
        assert illegalities(problem.layer, problem.accelerator, found.mapping) == []


def test_problems_are_of_every_kind_and_come_again() -> None:
    problems = [make_problem(seed, most_mappings=20_000, most_macs=500) for seed in range(250)]
    seen = Counter(kind for problem in problems for kind in problem.kinds)
    assert set(seen) == KINDS
    assert problems[7] == make_problem(7, most_mappings=20_000, most_macs=500)
    assert sum(problem.mappings > 1000 for problem in problems) > 100


@pytest.mark.parametrize("name", impossible_problems())
def test_impossible_problems_are_impossible_by_one(name: str) -> None:
    problem = impossible_problems()[name]
    assert brute_force(problem.layer, problem.accelerator).mappings == 0
    assert brute_force(problem.layer, problem.relaxed).mappings > 0


def test_the_slow_cost_tells_a_wrong_mapping() -> None:
    """Break each rule of a legal mapping; all is refused that the cost model or a rule forbids."""
    layer = Layer(K=4, C=2)
    target = with_values(machine(2, 1), {"registers.entries": 6, "buffer.fanout.x.dims": ["K"]})
    legal = Mapping(
        (LevelMapping("registers", (("C", 2),)), LevelMapping("buffer", (("K", 2),), (("K", 2),)), LevelMapping("dram"))
    )
    assert illegalities(layer, target, legal) == []
    assert slow_cost(layer, target, legal)[1] == 4
    for values, said in (
        ({"registers.entries": 4}, "registers: 5 words in 4 / 1.0"),
        ({"registers.buffering": 1.5}, "registers: 5 words in 6 / 1.5"),
        ({"registers.temporal.dims": ["K"]}, "registers temporal: C is not allowed"),
        ({"registers.temporal.factors": {"C": 1}}, "registers temporal: C must be 1"),
        ({"buffer.temporal.max_factors": {"K": 1}}, "buffer temporal: K is at most 1"),
        ({"buffer.fanout.x.size": 1}, "buffer: wider than 1 along X"),
        ({"buffer.fanout.x.dims": ["C"]}, "buffer X: K is not allowed"),
    ):
        assert illegalities(layer, with_values(target, values), legal) == [said]
    assert illegalities(Layer(K=8, C=2), target, legal) == ["K: 4 of 8"]
    passing = Mapping((replace(legal.levels[0], bypasses=("weights",)), *legal.levels[1:]))
    optional = {"registers.may_bypass": ["weights"], "registers.entries": 3}  # two inputs and an output
    assert illegalities(layer, target, passing) == ["registers: weights may not pass by"]
    assert illegalities(layer, with_values(target, optional), passing) == []
    assert slow_cost(layer, with_values(target, optional), passing)[0] != slow_cost(layer, target, legal)[0]
    ordered = Mapping(
        (LevelMapping("registers", (("C", 2), ("K", 2))), LevelMapping("buffer", (), (("K", 2),)), legal.levels[2])
    )
    strict = with_values(target, {"registers.entries": 99, "registers.temporal.order": ["K"]})
    assert illegalities(layer, strict, ordered) == ["registers: order ['C', 'K'] does not begin with ['K']"]


def test_the_judge_sees_a_mapper_that_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapper that samples a little is honest, but proves nothing, misses optima and finds no front."""
    problem = MappingProblem(0, Layer(K=6, C=4), with_values(machine(2, 2), {"registers.entries": 9}), 1)
    truth = brute_force(problem.layer, problem.accelerator)

    def sampled(layer: Layer, accelerator: Accelerator, objective: str):  # type: ignore[no-untyped-def]
        return best_mapping(layer, accelerator, objective, mapper="random", effort=1)

    monkeypatch.setattr("tests.accel_models.mapper_judge.best_mapping", sampled)
    monkeypatch.setattr(
        "tests.accel_models.mapper_judge.mapping_front", lambda *problem: (sampled(*problem, "energy"),)
    )
    said = misses(problem, truth)
    for objective in OBJECTIVES:
        assert f"{objective}: not proven" in said
    assert any("enumeration finds" in text for text in said)
    assert any(text.startswith("front: ") for text in said)
    refused = MappingProblem(problem.seed, problem.layer, problem.accelerator, 0)
    assert misses(refused, type(truth)(0, ())) == ["answered, though no mapping is legal"] * 4


def test_fronts_are_the_same_but_for_rounding() -> None:
    front = [(10.0, 3.0), (20.0, 2.0), (30.0, 1.0)]
    assert same_front(front, [(10.0, 3.0 + 1e-13), *front[1:]])
    assert same_front(front, [*front, (40.0, 1.0 - 1e-13)])
    assert not same_front(front, front[:2])
    assert not same_front(front, [(11.0, 3.0), *front[1:]])
    assert not same_front(front, [(10.0, 3.0 + 1e-10), *front[1:]])
