"""What one search is worth against a true front: hypervolume, IGD+, what is missed, and how soon; runs in any process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import moocore
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.known_space import KnownSpace
from benchmarks.race import Course, Prices, Race, able
from cosearch.errors import SearchError
from cosearch.results import nondominated

BUDGETS = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
SECONDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
REFERENCE = 1.1
IGD_POINTS = 2000
GOAL = 0.99
SAME = 1e-9
"""Distance, in spans of the true front, below which a point found is a true one."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """What one search of one strategy was worth; lists are by :data:`BUDGETS` as far as the budget goes, or by seconds."""

    strategy: str
    seed: int
    evaluations: int
    seconds: float
    own_seconds: float
    hypervolume_ratio: float
    igd_plus: float
    missed: int
    to_goal: int | None
    ratios: list[float]
    igds: list[float]
    seconds_at: list[float]
    ratios_by_second: list[float | None]


class Judge:
    """Measures sets of pairs against the true front."""

    def __init__(self, known: KnownSpace, objectives: tuple[str, ...]) -> None:
        self.true = known.fronts[objectives].values
        self._low, high = self.true.min(axis=0), self.true.max(axis=0)
        self._span = np.where(high > self._low, high - self._low, 1.0)
        points = self._scaled(self.true)
        self._whole = moocore.hypervolume(points, ref=np.full(len(objectives), REFERENCE))
        some = np.random.default_rng(0).choice(len(points), min(IGD_POINTS, len(points)), replace=False)
        self._points, self._some = points, points[np.sort(some)]

    def ratio(self, values: Values) -> float:
        """Return the hypervolume of pairs over that of the true front."""
        front = self._front(values)
        return (
            float(moocore.hypervolume(front, ref=np.full(values.shape[1], REFERENCE)) / self._whole)
            if len(front)
            else 0.0
        )

    def igd_plus(self, values: Values) -> float:
        """Return the mean distance of true points, by what pairs are worse, in spans of the true front."""
        front = self._front(values)
        return float(moocore.igd_plus(front, ref=self._some)) if len(front) else float("inf")

    def missed(self, values: Values) -> int:
        """Return how many points of the true front are not among pairs."""
        front = self._front(values)
        if not len(front):
            return len(self._points)
        distance, _ = cKDTree(front).query(self._points)
        return int((distance > SAME).sum())

    def to_goal(self, values: Values) -> int | None:
        """Return how many of the pairs, in their order, are enough for `GOAL`; None where all are not."""
        if self.ratio(values) < GOAL:
            return None
        few, enough = 0, len(values)
        while enough - few > 1:
            middle = (few + enough) // 2
            few, enough = (few, middle) if self.ratio(values[:middle]) >= GOAL else (middle, enough)
        return enough

    def score(self, strategy: str, seed: int, budget: int, course: Course) -> Score:
        """Return what a search was worth."""
        values, count = course.values, len(course.values)
        budgets = [few for few in BUDGETS if few <= budget]
        ends = [int(np.searchsorted(course.pairs, min(few, count))) for few in budgets]
        after = [course.pairs[course.seconds <= seconds] for seconds in SECONDS]
        return Score(
            strategy,
            seed,
            count,
            float(course.seconds[-1]),
            course.own_seconds,
            self.ratio(values),
            self.igd_plus(values),
            self.missed(values),
            self.to_goal(values),
            [self.ratio(values[:few]) for few in budgets],
            [self.igd_plus(values[:few]) for few in budgets],
            [float(course.seconds[end]) for end in ends],
            [self.ratio(values[: pairs[-1]]) if len(pairs) else None for pairs in after],
        )

    def _front(self, values: Values) -> Values:
        running = values[able(values)]
        return self._scaled(running[nondominated(running)]) if len(running) else running

    def _scaled(self, values: Values) -> Values:
        return (values - self._low) / self._span


@dataclass(frozen=True)
class Task:
    """All that one score depends on."""

    file: str
    objectives: tuple[str, ...]
    prices: Prices
    strategy: str
    seed: int
    budget: int
    population: int


@lru_cache(maxsize=1)
def _ready(file: str, objectives: tuple[str, ...], prices: Prices) -> tuple[Race, Judge]:
    known = KnownSpace.load(Path(file))
    return Race(known, objectives, prices), Judge(known, objectives)


def score(task: Task) -> Score | str:
    """Return what one search is worth, or why there is none; runs in worker processes."""
    race, judge = _ready(task.file, task.objectives, task.prices)
    try:
        course = race.run(task.strategy, task.seed, task.budget, task.population)
    except SearchError as error:
        return str(error)
    return judge.score(task.strategy, task.seed, task.budget, course)
