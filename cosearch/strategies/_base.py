"""The contract of a strategy.

A strategy proposes genomes and is told what they cost. It never evaluates, never sees names or units, and draws from its
own seeded stream only, so the same problem and seed give the same proposals on every machine. It may propose a genome
again: the study answers from its record at no cost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cosearch.errors import SearchError
from cosearch.space import Genomes, Space


@dataclass(frozen=True)
class Problem:
    """What a strategy needs to know.

    Parameters
    ----------
    space
        Where genomes come from.
    objectives
        How many, all minimised.
    limits
        How many limits there are.
    population
        How many candidates to propose at a time.
    """

    space: Space
    objectives: int
    limits: int
    population: int = 100


class Strategy(ABC):
    """Proposes candidates (ask) and learns from their cost (tell), in turn.

    Raises
    ------
    SearchError
        If it cannot take the problem: `objectives_allowed` and `least_population` say what it can.
    """

    objectives_allowed: ClassVar[tuple[int, int | None]] = (1, None)
    """Fewest and most objectives that it takes; None for any number."""

    least_population: ClassVar[int] = 2

    def __init__(self, problem: Problem, seed: int) -> None:
        fewest, most = self.objectives_allowed
        if problem.objectives < fewest or (most is not None and problem.objectives > most):
            span = f"{fewest} or more" if most is None else f"{fewest} to {most}"
            raise SearchError(f"it takes {span} objectives, not {problem.objectives}")
        if problem.population < self.least_population:
            raise SearchError(f"it takes a population of {self.least_population} or more, not {problem.population}")
        self.problem = problem
        self.seed = seed

    @abstractmethod
    def ask(self) -> Genomes:
        """Return the next candidates, canonical genomes (n, knobs); none where there is nothing more to propose."""

    @abstractmethod
    def tell(self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """Learn what the candidates of the last `ask` cost.

        Parameters
        ----------
        genomes
            As asked, (n, knobs).
        objectives
            (n, objectives), all to be minimised; finite also for pairs that cannot run (a large number).
        violations
            (n, max(limits, 1)): relative excess over each limit, 0 or less where it is kept.
        """
