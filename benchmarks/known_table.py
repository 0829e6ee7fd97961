"""A small space on one machine, every network evaluated: searches by look-up, and the true front.

As in `cosearch.study`: a candidate that was answered before costs nothing, and a search ends where the strategy has nothing
more to ask, or asks for nothing new `PATIENCE` times.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from time import process_time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_models import load_target
from cosearch.accuracy.tabular import TabularEstimator
from cosearch.evaluate import Evaluator, MappingOptions, Specification
from cosearch.objective import parse_objectives, to_minimise
from cosearch.results import Study, nondominated
from cosearch.space import Genomes, NetworkSpace
from cosearch.strategies import Fronts, Problem, make_strategy
from cosearch.strategies._base import Trials
from cosearch.study import PATIENCE, search


class Met(NamedTuple):
    """How a search went: which candidate was the first best network (from 1; None if none was), how many there were in
    all, and the processor seconds."""

    place: int | None
    evaluated: int
    seconds: float


@dataclass(frozen=True)
class Front:
    """The true front of top-1 and an objective: of how many points; and whether the exact strategy's is the same."""

    space: str
    objective: str
    points: int
    equal: bool
    best_percent: float
    best_error_points: float

    def __str__(self) -> str:
        return (
            f"{self.space}, top1 and {self.objective}: the true front has {self.points} points, the exact strategy's is "
            f"{'the same' if self.equal else 'ANOTHER'}; best {self.best_percent:.2f} +- {self.best_error_points:.2f} %"
        )


class KnownTable:
    """All networks of a space, their accuracies looked up.

    Parameters
    ----------
    space
        A space of some ten thousand networks.
    estimator
        Their accuracies.
    target
        Name or file of the machine.
    """

    def __init__(self, space: NetworkSpace, estimator: TabularEstimator, target: str) -> None:
        self.space, self.estimator, self.target = space, estimator, target
        accuracy = estimator.accuracy_percent
        self.best_percent = float(np.nanmax(accuracy))
        self.genomes = np.array(list(itertools.product(*map(range, space.choices_per_knob.tolist()))), dtype=np.int64)
        self.best = frozenset(map(tuple, self.genomes[accuracy == self.best_percent].tolist()))
        self._row = {tuple(genome): row for row, genome in enumerate(self.genomes.tolist())}

    @cached_property
    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """Metrics of all networks (n,) on the machine as described, each evaluated by itself: it takes a while."""
        evaluate = Evaluator(Specification(self.space, load_target(self.target), "fixed", MappingOptions()))
        outcomes = [evaluate(genome) for genome in self.genomes]
        names = ("latency_s", "energy_j", "macs", "params")
        costs = {name: np.array([getattr(outcome, name) for outcome in outcomes], dtype=float) for name in names}
        return {"top1_percent": self.estimator.accuracy_percent, **costs}

    def first_best(self, genomes: Sequence[Sequence[int]]) -> int | None:
        """Return which pair (from 1) is the first with a best network, None if none is."""
        knobs = len(self.space.knobs)
        return next((place for place, genome in enumerate(genomes, 1) if tuple(genome[:knobs]) in self.best), None)

    def values(self, genomes: Genomes, objectives: Sequence[str]) -> NDArray[np.float64]:
        """Return objectives (n, objectives) of networks (n, knobs), to be minimised, in display units as a study has them."""
        rows = [self._row[tuple(genome)] for genome in genomes.tolist()]
        columns = []
        for objective in parse_objectives(objectives):
            sign = -1.0 if objective.maximise else 1.0
            columns.append(sign * objective.scale * self.metrics[objective.metric][rows])
        return np.column_stack(columns)

    def search(self, strategy: str, objectives: Sequence[str], seed: int, population: int) -> Met:
        """Search on the machine as described until a best network is met.

        Raises
        ------
        SearchError
            If the strategy cannot take the problem.
        """
        space = Specification(self.space, load_target(self.target), "fixed", MappingOptions()).space()
        asking = make_strategy(strategy, Problem(space, len(objectives), 0, population), seed)
        seen: dict[tuple[int, ...], None] = {}
        assert self.metrics  # evaluated before the clock runs
        idle, start, most = 0, process_time(), asking.largest_budget or len(self.genomes)
        while idle < PATIENCE and len(seen) < most and not self.best & seen.keys():
            asked = asking.ask()
            if isinstance(asked, Fronts | Trials):  # of one machine, whose front is asked once
                pairs = self._study(strategy, objectives, seed, most, population).archive.pairs()
                place = self.first_best([pair.genome for pair in pairs])
                return Met(place, len(pairs), process_time() - start)
            if not len(asked):
                break
            before = len(seen)
            seen.update(dict.fromkeys(map(tuple, asked.tolist())))
            idle = 0 if len(seen) > before else idle + 1
            asking.tell(asked, self.values(asked, objectives), np.full((len(asked), 1), -1.0))
        place = self.first_best(list(seen)[:most])
        return Met(place, min(len(seen), most), process_time() - start)

    def exact_front(self, objective: str) -> Front:
        """Hold the exact strategy's front of top-1 and an objective against that of all networks."""
        names = ("top1", objective)
        values = self.values(self.genomes, names)
        true = _points(values[nondominated(values)])
        pairs = self._study("exact", names, 0, len(self.genomes), 100).front_pairs()
        found = _points(to_minimise(parse_objectives(names), [pair.metrics for pair in pairs]))
        best = self.estimator.estimate(self.space.numbers(self.genomes[values[:, :1].argmin(axis=0)]))
        error = float(best.error_points[0])
        return Front(self.space.name, objective, len(true), found == true, self.best_percent, error)

    def _study(self, strategy: str, objectives: Sequence[str], seed: int, budget: int, population: int) -> Study:
        return search(
            self.space, self.target, objectives, strategy=strategy, seed=seed, population=population, budget=budget,
            fix_hardware=True, estimator=self.estimator,
        )  # fmt: skip


def _points(values: NDArray[np.float64]) -> set[tuple[float, float]]:
    """Return points (n, 2), costs to nine figures: in which order a sum was added is not the point."""
    return {(float(top1), float(f"{cost:.9g}")) for top1, cost in values.tolist()}
