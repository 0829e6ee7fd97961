"""The work behind a ground truth: costs of every piece on some machines, and the fronts of machines; runs in any process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator
from accel_models.errors import DescriptionError, MappingError
from accel_models.mapper.base import Found
from accel_models.plan import MACHINE_COLUMNS, Plan, make_plan
from accel_models.workload import Layer
from benchmarks.known_space import Question, minimised
from cosearch.accuracy import estimator_for
from cosearch.cost_table import make_cost_table
from cosearch.network_front import network_front
from cosearch.objective import OBJECTIVES
from cosearch.results import nondominated

_SIDES = [MACHINE_COLUMNS.index(side) for side in ("fanout_x", "fanout_y")]

Arrays = dict[str, NDArray[Any]]
Key = tuple[Layer, bytes, bytes, bytes]


@lru_cache(maxsize=1)
def _question(text: str) -> Question:
    return Question.from_json(text)


def machine_costs(text: str, machines: range) -> Arrays:
    """Return what every piece costs on some machines; runs in worker processes.

    Parameters
    ----------
    text
        The question, as JSON.
    machines
        Their numbers.

    Returns
    -------
    dict
        ``cycles`` and ``energy_j`` (machines, entries), NaN on a machine that cannot run the networks; ``area_mm2``
        (machines,); ``macs`` and ``params`` (entries,).
    """
    question = _question(text)
    space, index = question.space, question.index
    costs = np.full((2, len(machines), index.entries), np.nan)
    area_mm2 = np.full(len(machines), np.nan)
    sizes = np.full((2, index.entries), np.nan)
    answers: dict[Key, Found] = {}
    for row, genome in enumerate(question.hardware_genomes(np.array(machines))):
        try:
            accelerator = space.hardware.target(genome)
            asked = questions(question.layers, accelerator)
            known = {layer: answers[key] for layer, key in asked.items() if key in answers}
            table = make_cost_table(space.networks, accelerator, question.mapping, known=known)
        except (DescriptionError, MappingError):
            continue
        answers |= {key: known[layer] for layer, key in asked.items()}
        costs[:, row] = table.cycles, table.energy_j
        sizes[:] = table.macs, table.params
        area_mm2[row] = accelerator.area_mm2
    return {"cycles": costs[0], "energy_j": costs[1], "area_mm2": area_mm2, "macs": sizes[0], "params": sizes[1]}


def questions(layers: Iterable[Layer], accelerator: Accelerator) -> dict[Layer, Key]:
    """Return a key for each layer that two machines share only if its best mapping is the same question on both.

    All that a mapper knows is the plan. In it the largest factors of loops say nothing beyond the layer's own bounds, nor do
    the sides of an array say anything beyond the product of those: a 1x1 convolution of 16 channels asks the same of a
    machine that spreads C and R over 64 units as of one that spreads C over 16.
    """
    plans: dict[tuple[int | None, ...], Plan] = {}
    rest: dict[tuple[int | None, ...], bytes] = {}
    keys: dict[Layer, Key] = {}
    for layer in layers:
        bits = (layer.weight_bits, layer.input_bits, layer.output_bits)
        if bits not in plans:
            plans[bits] = make_plan(layer, accelerator)
            rest[bits] = _without_sides(plans[bits])
        most = np.minimum(plans[bits].most, np.array(layer.dims))
        sides = np.minimum(plans[bits].machine[:, _SIDES], most[:, 1:].prod(axis=2, dtype=np.float64))
        keys[layer] = layer, most.tobytes(), sides.tobytes(), rest[bits]
    return keys


def _without_sides(plan: Plan) -> bytes:
    machine = np.delete(plan.machine, _SIDES, axis=1)
    return (
        b"".join(part.tobytes() for part in (machine, plan.fixed, plan.order, plan.uneven))
        + repr(plan.mac_energy_pj).encode()
    )


def machine_fronts(text: str, objectives: tuple[str, ...], machines: NDArray[np.int64], rows: Arrays) -> Arrays:
    """Return the front of some machines together; runs in worker processes.

    Parameters
    ----------
    text
        The question, as JSON.
    objectives
        Names of objectives.
    machines
        int64 (n,): their numbers.
    rows
        Costs of these machines alone, as :func:`machine_costs` returns them.

    Returns
    -------
    dict
        ``machines`` int64 (points,), ``networks`` uint8 (points, network knobs), ``values`` (points, objectives).
    """
    question = _question(text)
    estimator = estimator_for(question.space.networks)
    metrics = [OBJECTIVES[name].metric for name in objectives]
    parts = []
    for row, machine in enumerate(machines.tolist()):
        front = network_front(question.table(machine, rows, row), estimator, metrics)
        values = minimised({name: front.metric(name) for name in metrics}, objectives)
        parts.append(
            {"machines": np.full(len(front), machine), "networks": front.genomes.astype(np.uint8), "values": values}
        )
    return together(parts)


def together(parts: Sequence[Arrays]) -> Arrays:
    """Return the front of several fronts, best first objective first."""
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    values = joined["values"]
    kept = nondominated(values)
    kept = kept[np.lexsort((kept, *values[kept].T[::-1]))]
    return {name: array[kept] for name, array in joined.items()}
