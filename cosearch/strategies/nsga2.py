"""NSGA-II over one integer genome of network and hardware genes, through pymoo's ask and tell.

References
----------
Deb, Pratap, Agarwal, Meyarivan: A fast and elitist multiobjective genetic algorithm: NSGA-II. IEEE Transactions on
Evolutionary Computation 6(2), 2002.
"""

from __future__ import annotations

from typing import Any

import moocore
import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.survival import Survival
from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function

from cosearch.strategies._pymoo import LimitsFirst, PymooStrategy


class Nsga2(PymooStrategy):
    """Elitist evolution: non-dominated sorting, crowding distance, uniform crossover, gene-wise mutation.

    A candidate that breaks a limit loses against every one that keeps them.
    """

    def algorithm(self, **common: Any) -> NSGA2:
        """Return pymoo's NSGA-II, with a survival whose ties are broken by its own random stream alone."""
        return NSGA2(survival=_Survival(), **common)


class _LeastCrowded(Survival):
    """Keep whole fronts; of the one that does not fit whole, those that are least crowded, equal ones at random.

    As pymoo's own, whose order of equal distances is that of an unstable sort, which depends on the processor.
    """

    def _do(
        self, problem: Any, pop: Any, *args: Any, n_survive: int = 0, random_state: Any = None, **kwargs: Any
    ) -> Any:
        values = pop.get("F").astype(np.float64)
        ranks = moocore.pareto_rank(values)
        crowding = get_crowding_function("cd")
        survivors: list[int] = []
        for rank in range(np.sort(ranks)[n_survive - 1] + 1):
            front = np.flatnonzero(ranks == rank)
            distance = crowding.do(values[front])
            for one, far in zip(pop[front], distance, strict=True):
                one.set("rank", rank)
                one.set("crowding", far)
            room = n_survive - len(survivors)
            if len(front) > room:
                chance = random_state.permutation(len(front))
                ascending = chance[np.argsort(distance[chance], kind="stable")]
                front = front[ascending[::-1][:room]]
            survivors.extend(front.tolist())
        return pop[survivors]


class _Survival(LimitsFirst, _LeastCrowded):
    """Limits first, then fronts and crowding."""
