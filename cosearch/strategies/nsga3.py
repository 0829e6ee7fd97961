"""NSGA-III: evolution along reference directions, for two to five objectives, through pymoo's ask and tell.

References
----------
Deb, Jain: An evolutionary many-objective optimization algorithm using reference-point-based nondominated sorting
approach, part I; Jain, Deb: part II, handling constraints. IEEE Transactions on Evolutionary Computation 18(4), 2014.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga3 import (
    NSGA3,
    HyperplaneNormalization,
    ReferenceDirectionSurvival,
    get_extreme_points_c,
)
from pymoo.operators.selection.tournament import TournamentSelection

from cosearch.errors import SearchError
from cosearch.space import Genomes
from cosearch.strategies._base import Problem
from cosearch.strategies._pymoo import LimitsFirst, PymooStrategy
from cosearch.strategies._scalar import lattice_divisions, simplex_lattice


class Nsga3(PymooStrategy):
    """Evolution that keeps the front spread along reference directions; for 2 to 5 objectives.

    The directions are a regular lattice with as many points as the population allows, with a second one inside where
    the first has none there. A candidate that breaks a limit loses against every one that keeps them.
    """

    objectives_allowed = (2, 5)

    def __init__(self, problem: Problem, seed: int) -> None:
        self._scale: NDArray[np.float64] | None = None
        super().__init__(problem, seed)

    def algorithm(self, **common: Any) -> NSGA3:
        """Return pymoo's NSGA-III."""
        directions = reference_directions(self.problem.objectives, self.problem.population)
        return NSGA3(
            directions,
            selection=TournamentSelection(func_comp=_smaller_violation),
            survival=_Survival(directions),
            **common,
        )

    def tell(self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """Let the candidates compete with the present population.

        Objectives are divided by their spread among the first candidates that keep the limits: pymoo takes differences
        below 0.001 for none, whatever the unit.
        """
        kept = (violations <= 0).all(axis=1)
        if self._scale is None and kept.any():
            size = np.maximum(np.ptp(objectives[kept], axis=0), 1e-9 * np.abs(objectives[kept]).max(axis=0))
            self._scale = np.where(size > 0, size, 1.0)
        super().tell(genomes, objectives if self._scale is None else objectives / self._scale, violations)


def reference_directions(objectives: int, population: int) -> NDArray[np.float64]:
    """Return the finest regular lattice of at most `population` directions, (n, objectives).

    A lattice of fewer divisions than objectives lies on the border of the simplex; a second one of half the size is
    then put inside, as fine as the population allows.

    Raises
    ------
    SearchError
        If the population is smaller than the number of objectives.
    """
    outer = lattice_divisions(objectives, population)
    if not outer:
        raise SearchError(f"{objectives} objectives need a population of at least {objectives}, not {population}")
    directions = simplex_lattice(objectives, outer)
    inner = lattice_divisions(objectives, population - len(directions))
    if outer < objectives and inner:
        inside = simplex_lattice(objectives, inner) / 2 + 1 / (2 * objectives)
        directions = np.concatenate([directions, inside])
    return directions


def _smaller_violation(pop: Any, P: NDArray[np.int64], random_state: Any = None, **kwargs: Any) -> NDArray[np.int64]:
    """Return who wins each tournament (n, 2): the smaller violation, either one at equal ones.

    pymoo's own draws from a stream without a seed where violations tie.
    """
    violation = pop.get("CV")[:, 0][P]
    either = random_state.integers(0, 2, len(P))
    winner = np.where(violation[:, 0] == violation[:, 1], either, violation.argmin(axis=1))
    return P[np.arange(len(P)), winner][:, None]


class _Survival(LimitsFirst, ReferenceDirectionSurvival):
    """pymoo's survival along reference directions, with an order of its own for those that break limits."""

    def __init__(self, directions: NDArray[np.float64]) -> None:
        super().__init__(directions)
        self.norm = _Normalization(directions.shape[1])


class _Normalization(HyperplaneNormalization):
    """pymoo's normalisation by the plane through the extreme points.

    pymoo solves for the plane with LAPACK, whose last digits depend on the processor, and silences every later warning
    of the process.
    """

    ideal_point: NDArray[np.float64]
    worst_point: NDArray[np.float64]
    nadir_point: NDArray[np.float64]
    extreme_points: NDArray[np.float64] | None

    def update(self, F: NDArray[np.float64], nds: NDArray[np.int64]) -> None:
        """Take the objectives (n, objectives) of those that keep the limits; `nds` are those nothing dominates."""
        front = F[nds]
        self.ideal_point = np.minimum(self.ideal_point, F.min(axis=0))
        self.worst_point = np.maximum(self.worst_point, F.max(axis=0))
        extremes = get_extreme_points_c(front, self.ideal_point, extreme_points=self.extreme_points)
        self.extreme_points = extremes
        intercepts = plane_intercepts(extremes - self.ideal_point)
        nadir = front.max(axis=0) if intercepts is None else np.minimum(self.ideal_point + intercepts, self.worst_point)
        self.nadir_point = np.where(nadir - self.ideal_point <= 1e-6, F.max(axis=0), nadir)


def plane_intercepts(points: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return where the plane through n points (n, n) cuts the axes, (n,), infinite where it is parallel to one.

    None where the points span no plane, or it cuts an axis below 0. Gaussian elimination in plain steps, for the same
    digits on every processor.
    """
    size = len(points)
    rows = np.column_stack([points, np.ones(size)])
    for column in range(size):
        pivot = column + int(np.abs(rows[column:, column]).argmax())
        rows[[column, pivot]] = rows[[pivot, column]]
        if rows[column, column] == 0:
            return None
        rows[column] /= rows[column, column]
        for other in range(size):
            if other != column:
                rows[other] -= rows[other, column] * rows[column]
    plane = rows[:, -1]
    if (plane < 0).any() or not np.allclose((points * plane).sum(axis=1), 1):
        return None
    with np.errstate(divide="ignore"):
        return 1 / np.abs(plane)
