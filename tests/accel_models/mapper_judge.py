"""What a mapper with a proof must answer, beside what enumeration finds: shared by the tests and the long benchmark.

Values are equal where they differ by less than one part in 1e12: sums of the same terms in another order.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence

from accel_models import best_mapping, mapping_front
from accel_models.errors import MappingError
from accel_models.layer_cost import layer_cost
from accel_models.mapper.base import OBJECTIVES, MappingResult

from .brute_force import Point, Truth
from .mapping_problems import MappingProblem
from .slow_cost import illegalities, slow_cost

TOLERANCE = 1e-12

Cost = tuple[float, float]
"""Latency in cycles, energy in pJ."""


def misses(problem: MappingProblem, truth: Truth) -> list[str]:
    """Return all that the exact mapper answers wrongly about a problem, a line each; none where it is right."""
    if not truth.front:
        calls = [lambda name=name: best_mapping(problem.layer, problem.accelerator, name) for name in OBJECTIVES]
        calls.append(lambda: mapping_front(problem.layer, problem.accelerator))
        return [text for call in calls for text in refusal_misses(problem, call)]
    found = []
    for objective in OBJECTIVES:
        try:
            result = best_mapping(problem.layer, problem.accelerator, objective)
        except MappingError as error:
            found.append(f"{objective}: refused, though {truth.mappings} mappings are legal: {error}")
            continue
        found += [f"{objective}: {text}" for text in _result_misses(problem, truth, objective, result)]
    return found + [f"front: {text}" for text in _front_misses(problem, truth)]


def refusal_misses(problem: MappingProblem, call: Callable[[], object]) -> list[str]:
    """Return what is wrong with the answer to a problem without a legal mapping."""
    try:
        call()
    except MappingError as error:
        text = str(error)
    else:
        return ["answered, though no mapping is legal"]
    return unclear(text, problem)


def unclear(text: str, problem: MappingProblem) -> list[str]:
    """Return what a refusal leaves out: the layer, the level or rule that is in the way, what would be needed."""
    left_out = []
    if str(problem.layer) not in text:
        left_out.append(f"does not name the layer: {text}")
    rest = text.replace(str(problem.layer), "")
    levels = [level.name for level in problem.accelerator.levels]
    if not any(name in rest for name in (*levels, "factors", "dims", "order")):
        left_out.append(f"names no level and no rule: {text}")
    for name in levels:
        rest = rest.replace(name, "")
    if not re.search(r"\d", rest):
        left_out.append(f"tells no need: {text}")
    return left_out


def _result_misses(problem: MappingProblem, truth: Truth, objective: str, result: MappingResult) -> list[str]:
    best = truth.best(objective)
    found = _honesty_misses(problem, result)
    if not close(result.objective_value, best.value(objective)):
        value = best.value(objective)
        ratio = result.objective_value / (value or 1)
        found.append(
            f"{result.objective_value!r}, enumeration finds {value!r} (ratio {ratio:.12f})\n"
            f"found:\n{result.mapping}\nbetter:\n{best.mapping}"
        )
    else:
        found += _tie_misses(truth, objective, result)
    if result.optimal is not True:
        found.append("not proven")
    if not result.lower_bound <= result.objective_value:
        found.append(f"lower bound {result.lower_bound!r} above the value {result.objective_value!r}")
    return found


def _honesty_misses(problem: MappingProblem, result: MappingResult) -> list[str]:
    """What is wrong with a result whatever the truth is: an illegal mapping, a cost that is not the mapping's."""
    found = illegalities(problem.layer, problem.accelerator, result.mapping)
    if found:
        return [f"illegal mapping: {text}" for text in found]
    cost = layer_cost(problem.layer, problem.accelerator, result.mapping)
    if (cost.energy_pj, cost.latency_cycles) != (result.energy_pj, result.latency_cycles):
        said = (result.energy_pj, result.latency_cycles)
        return [f"says {said}, its mapping costs {(cost.energy_pj, cost.latency_cycles)}"]
    return []


def _tie_misses(truth: Truth, objective: str, result: MappingResult) -> list[str]:
    """Among equal latencies the least energy counts; among equal energies the least latency."""
    if objective == "latency" and not close(result.energy_pj, truth.front[0].energy_pj):
        return [f"ties: energy {result.energy_pj!r}, as fast is possible with {truth.front[0].energy_pj!r}"]
    slowest = truth.front[-1].latency_cycles  # sums that are equal but for rounding may be told apart or not
    if objective == "energy" and result.latency_cycles > slowest:
        return [f"ties: {result.latency_cycles} cycles, as little energy is possible in {slowest}"]
    return []


def _front_misses(problem: MappingProblem, truth: Truth) -> list[str]:
    try:
        results = mapping_front(problem.layer, problem.accelerator)
    except MappingError as error:
        return [f"refused, though {truth.mappings} mappings are legal: {error}"]
    found = [text for result in results for text in _honesty_misses(problem, result)]
    got = [(result.latency_cycles, result.energy_pj) for result in results]
    if got != sorted(got) or any(later[1] >= sooner[1] for sooner, later in itertools.pairwise(got)):
        found.append(f"not in order, or a point is no better than one before: {got}")
    if not all(result.optimal for result in results):
        found.append("not proven")
    expected = [(point.latency_cycles, point.energy_pj) for point in truth.front]
    if not same_front(got, expected):
        found.append(f"{got}, enumeration finds {expected}")
    return found


def same_front(one: Sequence[Cost], other: Sequence[Cost]) -> bool:
    """Tell whether two fronts are the same, but for points that win less energy than rounding does."""
    one, other = distinct(one), distinct(other)
    return len(one) == len(other) and all(
        mine[0] == theirs[0] and close(mine[1], theirs[1]) for mine, theirs in zip(one, other, strict=True)
    )


def distinct(front: Sequence[Cost]) -> list[Cost]:
    """Return the points of a front that are better in energy than the one before by more than rounding."""
    kept: list[Cost] = []
    for latency, energy in front:
        if not kept or not close(energy, kept[-1][1]):
            kept.append((latency, energy))
    return kept


def close(value: float, other: float) -> bool:
    """Tell whether two values are equal but for the order of their sums."""
    return math.isclose(value, other, rel_tol=TOLERANCE)


def truth_misses(problem: MappingProblem, truth: Truth) -> list[str]:
    """Return where enumeration and a walk through the loop nest differ: at the best points and at random mappings."""
    best = [truth.best(objective) for objective in OBJECTIVES] if truth.front else []
    return [text for point in dict.fromkeys((*best, *truth.samples)) for text in _walk_misses(problem, point)]


def _walk_misses(problem: MappingProblem, point: Point) -> list[str]:
    found = illegalities(problem.layer, problem.accelerator, point.mapping)
    energy, latency = slow_cost(problem.layer, problem.accelerator, point.mapping)
    if latency != point.latency_cycles or not close(energy, point.energy_pj):
        found.append(
            f"walk: {latency} cycles, {energy!r} pJ; kernel: {point.latency_cycles} cycles, {point.energy_pj!r} pJ\n"
            f"{point.mapping}"
        )
    return found
