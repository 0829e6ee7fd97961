"""Uniform random sampling: every knob uniform over its choices, the baseline of every comparison."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosearch.space import Genomes
from cosearch.strategies._base import Problem, Strategy


class RandomSampling(Strategy):
    """Proposes a population of independent random candidates at a time."""

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        self._rng = np.random.default_rng(seed)

    def ask(self) -> Genomes:
        """Return the next random candidates."""
        return self.problem.space.sample_genomes(self._rng, self.problem.population)

    def tell(self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """Learn nothing."""
