"""Strategies of several stages, written as one walk: a generator that yields what it asks and is sent what that costs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cosearch.space import Genomes
from cosearch.strategies._base import Problem, Question, Strategy


@dataclass(frozen=True)
class Answer:
    """What a strategy is told: the arguments of :meth:`Strategy.tell`."""

    genomes: Genomes
    objectives: NDArray[np.float64]
    violations: NDArray[np.float64]


Walk = Generator[Question, Answer, None]
"""Yields questions, mostly canonical genomes (n, knobs); is sent the answers; ends where nothing more is to be asked."""


class WalkingStrategy(Strategy):
    """Asks what its walk yields; a subclass says which walk."""

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        self._walk = self.walk()
        self._answer: Answer | None = None

    @abstractmethod
    def walk(self) -> Walk:
        """Return the walk; it begins to run at the first `ask`."""

    def ask(self) -> Question:
        """Return what the walk yields next; none after its end."""
        try:
            return next(self._walk) if self._answer is None else self._walk.send(self._answer)
        except StopIteration:
            return np.empty((0, len(self.problem.space.knobs)), dtype=np.int64)

    def tell(self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """Keep the answer until the walk goes on."""
        self._answer = Answer(genomes, objectives, violations)
