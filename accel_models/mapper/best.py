"""The one call for the best mapping, whichever mapper answers it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from accel_models.accelerator import Accelerator, Bypasses
from accel_models.errors import MappingError, UnknownNameError, unknown_name
from accel_models.mapper import exact, naas, sampled
from accel_models.mapper.base import OBJECTIVES, Found, MappingResult, lower_bound, objective_value, refuse_unmappable
from accel_models.mapper.refusal import reason
from accel_models.mapping import Mapping
from accel_models.plan import Plan, make_plan
from accel_models.workload import Layer

MAPPERS: dict[str, Callable[..., Found]] = {
    "exact": exact.search,
    "random": sampled.search,
    "naas": naas.search,
}


def best_mapping(
    layer: Layer, accelerator: Accelerator, objective: str = "edp", *, mapper: str = "exact", effort: int = 1000,
    seed: int = 0, time_limit_s: float | None = None,
) -> MappingResult:  # fmt: skip
    """Return the best mapping of `layer`: of all legal ones, unless another mapper or a time limit is asked for.

    Parameters
    ----------
    objective
        ``"energy"`` (pJ), ``"latency"`` (cycles) or ``"edp"`` (pJ x cycles).
    mapper
        ``"exact"``: the best of all, proven; ``"random"``: seeded sampling of legal mappings; ``"naas"``: evolution
        of loop orders and tile sizes, as NAAS does it.
    effort
        Mappings that a sampling mapper evaluates.
    seed
        Seed of a sampling mapper.
    time_limit_s
        Seconds after which the exact mapper gives the best so far, with a true bound and ``optimal=False``.

    Raises
    ------
    MappingError
        If no legal mapping exists: the message names the level, the need and the room.
    UnknownNameError
        For an unknown objective or mapper.
    """
    start = time.perf_counter()
    found = find(layer, accelerator, objective, mapper, effort, seed, time_limit_s)
    return _result(layer, accelerator, objective, found, time.perf_counter() - start, mapper)


def mapping_front(
    layer: Layer, accelerator: Accelerator, *, time_limit_s: float | None = None
) -> tuple[MappingResult, ...]:
    """Return the exact energy-latency Pareto set of all legal mappings, latency ascending.

    Raises
    ------
    MappingError
        If no legal mapping exists.
    """
    start = time.perf_counter()
    points: list[Found] = []
    for bypasses, machine, plan in _machines(layer, accelerator):
        try:
            points += [point._replace(bypasses=bypasses) for point in exact.front(plan, _left(time_limit_s, start))]
        except MappingError as error:
            refusal = error, plan, machine
    if not points:
        raise _refusal(*refusal, layer)
    seconds = time.perf_counter() - start
    return tuple(_result(layer, accelerator, "edp", point, seconds, "exact") for point in _undominated(points))


def _undominated(points: list[Found]) -> list[Found]:
    front: list[Found] = []
    for point in sorted(points, key=lambda point: (point.latency_cycles, point.energy_pj)):
        if not front or point.energy_pj < front[-1].energy_pj:
            front.append(point)
    return front


def _machines(layer: Layer, accelerator: Accelerator) -> Iterator[tuple[Bypasses, Accelerator, Plan]]:
    """Yield the machine with every choice of what is bypassed."""
    for bypasses in accelerator.bypass_choices:
        machine = accelerator.bypassing(bypasses)
        yield bypasses, machine, make_plan(layer, machine)


def _left(time_limit_s: float | None, start: float) -> float | None:
    return None if time_limit_s is None else max(0.0, time_limit_s - (time.perf_counter() - start))


def _refusal(error: MappingError, plan: Plan, accelerator: Accelerator, layer: Layer) -> MappingError:
    """Return the error that a user sees: with the reason, where it is proven that no legal mapping exists."""
    said = str(error)
    refuse_unmappable(plan, accelerator, layer)
    if isinstance(error, exact.NoMappingError):
        said = reason(plan, accelerator, lambda other: exact.search(other, "latency"))
    return MappingError(f"{accelerator.name}: layer {layer} cannot be mapped: {said}")


def _result(
    layer: Layer, accelerator: Accelerator, objective: str, found: Found, seconds: float, mapper: str
) -> MappingResult:
    value = objective_value(objective, found.energy_pj, found.latency_cycles)
    bound = lower_bound(make_plan(layer, accelerator), layer, accelerator, objective)
    bound = max(min(bound, value), found.lower_bound)
    return MappingResult(
        layer, objective, Mapping.from_array(found.array, accelerator, found.bypasses), found.energy_pj,
        found.latency_cycles, bool(found.optimal or value <= bound), float(bound), found.evaluated, seconds, mapper,
    )  # fmt: skip


def find(
    layer: Layer, accelerator: Accelerator, objective: str, mapper: str, effort: int, seed: int,
    time_limit_s: float | None = None,
) -> Found:  # fmt: skip
    """Return a mapper's raw answer (see :func:`best_mapping`); what searches call in their inner loop."""
    if objective not in OBJECTIVES:
        raise UnknownNameError(unknown_name("objective", objective, OBJECTIVES))
    if mapper not in MAPPERS:
        raise UnknownNameError(unknown_name("mapper", mapper, MAPPERS))
    start = time.perf_counter()
    best: Found | None = None
    refusal: tuple[MappingError, Plan, Accelerator] | None = None
    share = -(-effort // len(accelerator.bypass_choices))
    for bypasses, machine, plan in _machines(layer, accelerator):
        try:
            if mapper == "exact":
                found = exact.search(plan, objective, time_limit_s=_left(time_limit_s, start), beat=best)
            else:
                found = _better(objective, best, MAPPERS[mapper](plan, objective, share, seed))
        except MappingError as error:
            refusal = refusal or (error, plan, machine)
            continue
        best = found if best is not None and found.array is best.array else found._replace(bypasses=bypasses)
    if best is None:
        assert refusal is not None
        raise _refusal(*refusal, layer) from None
    # A search finds every hole in a cost model: no answer leaves here that does more MACs per cycle than there are.
    if best.latency_cycles * accelerator.macs_per_cycle < layer.macs:
        raise AssertionError(
            f"{accelerator.name}: {layer} in {best.latency_cycles} cycles needs more MACs than there are"
        )
    return best


def _better(objective: str, one: Found | None, other: Found) -> Found:
    """Return the better of two answers, with the effort of both."""
    if one is None:
        return other
    values = [objective_value(objective, found.energy_pj, found.latency_cycles) for found in (one, other)]
    return (one if values[0] <= values[1] else other)._replace(evaluated=one.evaluated + other.evaluated)
