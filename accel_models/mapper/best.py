"""The one call for the best mapping, whichever mapper answers it."""

from __future__ import annotations

import time

from accel_models.accelerator import Accelerator
from accel_models.errors import MappingError, UnknownNameError, unknown_name
from accel_models.mapper import sampled
from accel_models.mapper.base import OBJECTIVES, Found, MappingResult, lower_bound, objective_value, refuse_unmappable
from accel_models.mapping import Mapping
from accel_models.plan import make_plan
from accel_models.workload import Layer

MAPPERS = {"random": sampled.search}


def best_mapping(
    layer: Layer, accelerator: Accelerator, objective: str = "edp", *, mapper: str = "random", effort: int = 1000,
    seed: int = 0,
) -> MappingResult:  # fmt: skip
    """Return the best mapping of `layer` that the mapper finds.

    Parameters
    ----------
    objective
        ``"energy"`` (pJ), ``"latency"`` (cycles) or ``"edp"`` (pJ x cycles).
    mapper
        ``"random"``: seeded sampling of legal mappings.
    effort
        Mappings that a sampling mapper evaluates.
    seed
        Seed of a sampling mapper.

    Raises
    ------
    MappingError
        If no legal mapping exists: the message names the level, the need and the room.
    UnknownNameError
        For an unknown objective or mapper.
    """
    start = time.perf_counter()
    found = find(layer, accelerator, objective, mapper, effort, seed)
    bound = lower_bound(make_plan(layer, accelerator), layer, accelerator, objective)
    value = objective_value(objective, found.energy_pj, found.latency_cycles)
    return MappingResult(
        layer, objective, Mapping.from_array(found.array, accelerator), found.energy_pj, found.latency_cycles,
        bool(value <= bound), float(bound), found.evaluated, time.perf_counter() - start, mapper,
    )  # fmt: skip


def find(layer: Layer, accelerator: Accelerator, objective: str, mapper: str, effort: int, seed: int) -> Found:
    """Return a mapper's raw answer (see :func:`best_mapping`); what searches call in their inner loop."""
    if objective not in OBJECTIVES:
        raise UnknownNameError(unknown_name("objective", objective, OBJECTIVES))
    if mapper not in MAPPERS:
        raise UnknownNameError(unknown_name("mapper", mapper, MAPPERS))
    plan = make_plan(layer, accelerator)
    refuse_unmappable(plan, accelerator, layer)
    try:
        found = MAPPERS[mapper](plan, objective, effort, seed)
    except MappingError as error:
        raise MappingError(f"{accelerator.name}: layer {layer}: {error}") from None
    # A search finds every hole in a cost model: no answer leaves here that does more MACs per cycle than there are.
    if found.latency_cycles * accelerator.macs_per_cycle < layer.macs:
        raise AssertionError(
            f"{accelerator.name}: {layer} in {found.latency_cycles} cycles needs more MACs than there are"
        )
    return found
