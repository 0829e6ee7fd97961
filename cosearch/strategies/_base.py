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


@dataclass(frozen=True)
class Fronts:
    """A question about whole machines: which networks, of all, are worth having on them.

    The study answers with the pairs that no pair known to it dominates, in objectives and limits, machine by machine; with
    one pair at least of a machine that it knows none of. A strategy that asks so sets `asks_fronts`.

    Parameters
    ----------
    hardware
        Canonical hardware genomes (n, hardware knobs), each once.
    most
        Most pairs per machine, spread over its front; None for all.
    """

    hardware: Genomes
    most: int | None


@dataclass(frozen=True)
class Trials:
    """A question about pairs that matter only if they come onto the front.

    The study answers with those that it could not refute: a pair is refuted as soon as a bound on its costs is no better
    than a pair known to it. Refuted pairs are no part of the answer, nor of the record; they count towards the budget.

    Parameters
    ----------
    genomes
        Canonical genomes (n, knobs), each once.
    """

    genomes: Genomes


Question = Genomes | Fronts | Trials
"""What a strategy may ask."""


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

    largest_budget: ClassVar[int | None] = None
    """Most different candidates that a search with it may ask for; None for any number."""

    asks_fronts: ClassVar[bool] = False
    """Whether it asks for the fronts of whole machines where networks vary."""

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
    def ask(self) -> Question:
        """Return the next candidates, canonical genomes (n, knobs), or another question; none where all is asked."""

    @abstractmethod
    def tell(self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """Learn what the candidates of the last `ask` cost.

        Parameters
        ----------
        genomes
            As asked, (n, knobs); of other questions the pairs of the answer, in the order that was asked for.
        objectives
            (n, objectives), all to be minimised; finite also for pairs that cannot run (a large number).
        violations
            (n, max(limits, 1)): relative excess over each limit, 0 or less where it is kept.
        """
