"""The one call for the best mapping, whichever mapper answers it."""

from __future__ import annotations

import time
from collections.abc import Callable

from accel_models.accelerator import Accelerator
from accel_models.errors import MappingError, UnknownNameError, unknown_name
from accel_models.mapper import exact, sampled
from accel_models.mapper.base import OBJECTIVES, Found, MappingResult, lower_bound, objective_value, refuse_unmappable
from accel_models.mapper.refusal import reason
from accel_models.mapping import Mapping
from accel_models.plan import Plan, make_plan
from accel_models.workload import Layer

MAPPERS: dict[str, Callable[..., Found]] = {"exact": exact.search, "random": sampled.search}


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
        ``"exact"``: the best of all, proven; ``"random"``: seeded sampling of legal mappings.
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
    plan = make_plan(layer, accelerator)
    refuse_unmappable(plan, accelerator, layer)
    try:
        points = exact.front(plan, time_limit_s)
    except MappingError as error:
        raise _refusal(error, plan, accelerator, layer) from None
    seconds = time.perf_counter() - start
    return tuple(_result(layer, accelerator, "edp", point, seconds, "exact") for point in points)


def _refusal(error: MappingError, plan: Plan, accelerator: Accelerator, layer: Layer) -> MappingError:
    """Return the error that a user sees: the reason, where it is proven that no legal mapping exists."""
    said = (
        reason(plan, accelerator, lambda other: exact.search(other, "latency"))
        if isinstance(error, exact.NoMappingError)
        else str(error)
    )
    return MappingError(f"{accelerator.name}: layer {layer} cannot be mapped: {said}")


def _result(
    layer: Layer, accelerator: Accelerator, objective: str, found: Found, seconds: float, mapper: str
) -> MappingResult:
    value = objective_value(objective, found.energy_pj, found.latency_cycles)
    bound = lower_bound(make_plan(layer, accelerator), layer, accelerator, objective)
    bound = max(min(bound, value), found.lower_bound)
    return MappingResult(
        layer, objective, Mapping.from_array(found.array, accelerator), found.energy_pj, found.latency_cycles,
        bool(found.optimal or value <= bound), float(bound), found.evaluated, seconds, mapper,
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
    plan = make_plan(layer, accelerator)
    refuse_unmappable(plan, accelerator, layer)
    limit = {"time_limit_s": time_limit_s} if mapper == "exact" else {}
    try:
        found = MAPPERS[mapper](plan, objective, effort, seed, **limit)
    except MappingError as error:
        raise _refusal(error, plan, accelerator, layer) from None
    # A search finds every hole in a cost model: no answer leaves here that does more MACs per cycle than there are.
    if found.latency_cycles * accelerator.macs_per_cycle < layer.macs:
        raise AssertionError(
            f"{accelerator.name}: {layer} in {found.latency_cycles} cycles needs more MACs than there are"
        )
    return found
