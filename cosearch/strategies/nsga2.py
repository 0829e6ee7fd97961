"""NSGA-II over one integer genome of network and hardware genes, through pymoo's ask and tell.

References
----------
Deb, Pratap, Agarwal, Meyarivan: A fast and elitist multiobjective genetic algorithm: NSGA-II. IEEE Transactions on
Evolutionary Computation 6(2), 2002. Blank, Deb: pymoo, IEEE Access 8, 2020.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.evaluator import Evaluator
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.problems.static import StaticProblem

from cosearch.space import Genomes, Space
from cosearch.strategies._base import Problem, Strategy


class Nsga2(Strategy):
    """Elitist evolution: non-dominated sorting, crowding distance, uniform crossover, gene-wise mutation.

    A candidate that breaks a limit loses against every one that keeps them.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        self._problem = PymooProblem(
            n_var=len(problem.space.knobs),
            n_obj=problem.objectives,
            n_ieq_constr=max(problem.limits, 1),
            xl=np.zeros(len(problem.space.knobs)),
            xu=problem.space.choices_per_knob - 1,
            vtype=int,
        )
        self._algorithm = NSGA2(
            pop_size=problem.population,
            sampling=_Sample(problem.space),
            crossover=UniformCrossover(prob=0.9),
            mutation=GeneMutation(problem.space),
            repair=_Canonical(problem.space),
        )
        self._algorithm.setup(self._problem, termination=NoTermination(), seed=seed, verbose=False)
        self._asked: Any = None

    def ask(self) -> Genomes:
        """Return the next generation's candidates."""
        self._asked = self._algorithm.ask()
        if self._asked is None:  # no offspring that the population does not hold already
            return np.empty((0, len(self.problem.space.knobs)), dtype=np.int64)
        return np.asarray(self._asked.get("X"), dtype=np.int64)

    def tell(self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """Let the candidates compete with the present population."""
        static = StaticProblem(self._problem, F=objectives, G=violations)
        Evaluator().eval(static, self._asked)
        self._algorithm.tell(infills=self._asked)


class GeneMutation(Mutation):
    """Change each gene with probability 1 / knobs: half of the time to a neighbouring choice, else to any other."""

    def __init__(self, space: Space) -> None:
        super().__init__(prob=1.0)
        self._choices = space.choices_per_knob

    def _do(self, problem: Any, X: Genomes, *args: Any, random_state: Any = None, **kwargs: Any) -> Genomes:
        shape = X.shape
        hit = random_state.random(shape) < 1.0 / shape[1]
        step = np.where(random_state.random(shape) < 0.5, -1, 1)
        near = X + step
        near = np.where((near < 0) | (near >= self._choices), X - step, near)
        far = (X + 1 + (random_state.random(shape) * np.maximum(self._choices - 1, 1)).astype(np.int64)) % self._choices
        changed = np.where(random_state.random(shape) < 0.5, near, far)
        return np.where(hit & (self._choices > 1), changed, X)


class _Sample(Sampling):
    """First generation: uniform random candidates."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self._space = space

    def _do(self, problem: Any, n_samples: int, *args: Any, random_state: Any = None, **kwargs: Any) -> Genomes:
        return self._space.sample_genomes(random_state, n_samples)


class _Canonical(Repair):
    """Set genes that do not count to 0, so that duplicates are seen as such."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self._space = space

    def _do(self, problem: Any, X: Any, *args: Any, **kwargs: Any) -> Genomes:
        return self._space.canonical(np.asarray(X, dtype=np.int64))
