"""NSGA-II over one integer genome of network and hardware genes, through pymoo's ask and tell.

References
----------
Deb, Pratap, Agarwal, Meyarivan: A fast and elitist multiobjective genetic algorithm: NSGA-II. IEEE Transactions on
Evolutionary Computation 6(2), 2002.
"""

from __future__ import annotations

from typing import Any

from pymoo.algorithms.moo.nsga2 import NSGA2

from cosearch.strategies._pymoo import PymooStrategy


class Nsga2(PymooStrategy):
    """Elitist evolution: non-dominated sorting, crowding distance, uniform crossover, gene-wise mutation.

    A candidate that breaks a limit loses against every one that keeps them.
    """

    def algorithm(self, **common: Any) -> NSGA2:
        """Return pymoo's NSGA-II."""
        return NSGA2(**common)
