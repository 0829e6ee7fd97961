"""The answer to a front question: of a whole machine, the networks that no pair known so far dominates.

One answer is a pure function of (task, machine), here or in other processes; what of it is new depends on what is known
and is found where that is kept, in the study.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from accel_models.errors import DescriptionError, MappingError
from cosearch.accuracy.quantisation import narrowest_bits
from cosearch.census import census_front, countable
from cosearch.errors import SearchError
from cosearch.estimates import Estimators
from cosearch.evaluate import Outcome, Specification
from cosearch.network_front import NetworkFront, check_question, network_front
from cosearch.objective import Limit
from cosearch.space import Genomes

IN_FLIGHT_PER_WORKER = 2
"""Machines handed to every process ahead of time."""


@dataclass(frozen=True)
class FrontTask:
    """All that an answer depends on beside the machine: the search's objectives and limits, and who estimates."""

    specification: Specification
    metrics: tuple[str, ...]
    limits: tuple[Limit, ...]
    estimators: Estimators

    def check_program(self) -> None:
        """Refuse what the dynamic program cannot answer; raises SearchError."""
        limits = [one for one in self.limits if one.metric != "area_mm2"]
        check_question(self.specification.networks, self.estimators.accuracy, self.metrics, limits)

    @cached_property
    def counted(self) -> bool:
        """Whether the networks are counted one by one: where there is no dynamic program, and they are few."""
        try:
            self.check_program()
        except SearchError:
            return countable(self.specification.networks)
        return False


@dataclass(frozen=True)
class MachineFront:
    """The front of one machine, or the reason why it cannot run the space's networks."""

    front: NetworkFront | None = None
    area_mm2: float = float("nan")
    bits: int = 16
    reason: str = ""

    def outcomes(self) -> list[Outcome]:
        """Return what each row costs, as an evaluation of the pair would."""
        if self.front is None:
            return [Outcome(reason=self.reason)]
        columns = (self.front.latency_s, self.front.energy_j, self.front.macs, self.front.params)
        return [
            Outcome(latency_s, energy_j, self.area_mm2, int(macs), int(params), self.bits)
            for latency_s, energy_j, macs, params in zip(*(column.tolist() for column in columns), strict=True)
        ]


def check_task(task: FrontTask) -> None:
    """Refuse what a front question cannot be answered for, before anything is evaluated.

    Raises
    ------
    SearchError
        If the networks are many and they, the objectives or limits (:func:`cosearch.network_front.check_question`) are not of a
        kind that is a dynamic program; or the target does not allow it.
    """
    hardware = task.specification.space().hardware
    target = hardware.target(hardware.default)
    if not task.counted:
        task.check_program()
    if target.tensor_level is not None:
        level = target.levels[target.tensor_level].name
        raise SearchError(
            f"target {target.name!r} keeps tensors between operations in level {level!r}, so that the cost of a network is no "
            "sum over its pieces; set holds_tensors to false"
        )


def machine_front(task: FrontTask, genome: Genomes, threads: int = 1) -> MachineFront:
    """Return the front of the machine of a hardware genome (hardware knobs,), over all networks of the space."""
    from cosearch.cost_table import make_cost_table  # brings numba

    networks, mapping = task.specification.networks, task.specification.mapping
    try:
        accelerator = task.specification.space().hardware.target(genome)
        if task.counted:
            front = census_front(networks, accelerator, mapping, task.estimators, task.metrics, task.limits, threads)
        else:
            table = make_cost_table(networks, accelerator, mapping, threads=threads)
            front = network_front(table, task.estimators.accuracy, task.metrics, task.limits)
    except (DescriptionError, MappingError) as error:
        return MachineFront(reason=str(error))
    return MachineFront(front, accelerator.area_mm2, narrowest_bits(accelerator))


def machine_fronts(
    task: FrontTask, hardware: Genomes, executor: Executor | None, workers: int
) -> Iterator[MachineFront]:
    """Yield the fronts of machines (n, hardware knobs), in their order, as they are wanted.

    One machine after another on all cores where there are fewer machines than workers, else one per process.
    """
    if executor is None or len(hardware) < workers:
        for genome in hardware:
            yield machine_front(task, genome, threads=workers)
        return
    pickled = pickle.dumps(task)
    waiting = [executor.submit(_in_process, pickled, genome) for genome in hardware[: workers * IN_FLIGHT_PER_WORKER]]
    try:
        for following in range(len(waiting), len(hardware) + len(waiting)):
            first = waiting.pop(0)
            if following < len(hardware):
                waiting.append(executor.submit(_in_process, pickled, hardware[following]))
            yield first.result()
    finally:
        for future in waiting:
            future.cancel()


@lru_cache(maxsize=2)
def _task(pickled: bytes) -> FrontTask:
    task: FrontTask = pickle.loads(pickled)
    return task


def _in_process(pickled: bytes, genome: Genomes) -> MachineFront:
    return machine_front(_task(pickled), genome)


def spread(values: NDArray[np.float64], most: int | None) -> NDArray[np.int64]:
    """Return rows of values (n, objectives) in an order of which every beginning is spread over all of them.

    First the one that is best in the first objective; then always the one farthest from those before it, where every
    objective spans 0 to 1 (Gonzalez: Clustering to minimize the maximum intercluster distance, 1985). At most `most` rows.
    """
    count = len(values) if most is None else min(most, len(values))
    if most is None or count < 2:
        return np.arange(count)
    span = np.ptp(values, axis=0)
    points = (values - values.min(axis=0)) / np.where(span > 0, span, 1.0)
    order = np.zeros(count, dtype=np.int64)
    distance = np.full(len(values), np.inf)
    for place in range(1, count):
        distance = np.minimum(distance, ((points - points[order[place - 1]]) ** 2).sum(axis=1))
        order[place] = distance.argmax()
    return order
