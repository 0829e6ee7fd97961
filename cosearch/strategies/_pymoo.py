"""What the strategies that pymoo provides have in common: one integer genome of all knobs, its ask and tell, limits.

References
----------
Blank, Deb: pymoo: Multi-Objective Optimization in Python. IEEE Access 8, 2020.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.core.algorithm import Algorithm
from pymoo.core.evaluator import Evaluator
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling
from pymoo.core.survival import Survival
from pymoo.core.termination import NoTermination
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.problems.static import StaticProblem

from cosearch.space import Genomes, Space
from cosearch.strategies._base import Problem, Strategy
from cosearch.strategies._genes import other_choices


class PymooStrategy(Strategy):
    """Asks and tells one algorithm of pymoo; a subclass says which."""

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
        self._algorithm = self.algorithm(
            pop_size=problem.population,
            sampling=_Sample(problem.space),
            crossover=UniformCrossover(prob=0.9),
            mutation=_GeneMutation(problem.space),
            repair=_Canonical(problem.space),
        )
        self._algorithm.setup(self._problem, termination=NoTermination(), seed=seed, verbose=False)
        self._asked: Any = None

    @abstractmethod
    def algorithm(self, **common: Any) -> Algorithm:
        """Return the algorithm, given the population's size and the operators common to all."""

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


class LimitsFirst(Survival):
    """Survival that fills up with the candidates that break limits least; of equal ones the youngest.

    To be named before the survival of pymoo that ranks those that keep the limits. pymoo's own order of equal
    violations is that of an unstable sort, which depends on the processor.
    """

    def do(
        self, problem: Any, pop: Any, *args: Any, n_survive: int | None = None, random_state: Any = None, **kwargs: Any
    ) -> Any:
        """Return the `n_survive` survivors of `pop`, elders first."""
        count = len(pop) if n_survive is None else min(n_survive, len(pop))
        violation = pop.get("CV")[:, 0]
        kept = np.flatnonzero(violation <= 0)
        broken = np.flatnonzero(violation > 0)
        survivors = Population()
        if len(kept):
            best = min(len(kept), count)
            survivors = self._do(problem, pop[kept], *args, n_survive=best, random_state=random_state, **kwargs)
        order = np.lexsort((-broken, violation[broken]))
        return Population.merge(survivors, pop[broken[order[: count - len(survivors)]]])


class _GeneMutation(Mutation):
    """Change each gene with probability 1 / knobs: half of the time to a neighbouring choice, else to any other."""

    def __init__(self, space: Space) -> None:
        super().__init__(prob=1.0)
        self._choices = space.choices_per_knob

    def _do(self, problem: Any, X: Genomes, *args: Any, random_state: Any = None, **kwargs: Any) -> Genomes:
        hit = random_state.random(X.shape) < 1.0 / X.shape[1]
        changed = other_choices(X, self._choices, random_state)
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
