"""NSGA-III: evolution along reference directions, for two to five objectives, through pymoo's ask and tell.

References
----------
Deb, Jain: An evolutionary many-objective optimization algorithm using reference-point-based nondominated sorting
approach, part I; Jain, Deb: part II, handling constraints. IEEE Transactions on Evolutionary Computation 18(4), 2014.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga3 import NSGA3, ReferenceDirectionSurvival
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
        with warnings.catch_warnings():  # pymoo silences every later warning of the process otherwise
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
