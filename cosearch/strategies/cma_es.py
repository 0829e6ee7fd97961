"""CMA-ES on a genome relaxed to the unit cube; with several objectives, one search per direction of the front, in turns.

A knob of n choices becomes a number x from 0 to 1, how far along its choices; floor(n x) is the choice. So one encoding
serves sizes, orders and networks, as in NAAS.

Several objectives become several searches. Each has a search distribution and a weight vector of its own, at first a
lattice on the simplex, and minimises the augmented Tchebycheff value of the objectives scaled to the front seen so far.
As many as fit the population propose at a time, then the next ones. One that finds nothing better for `STALLED` turns,
or nothing new, gets other weights, uniform over the simplex, and starts again at the best that any of them has found for
these. Only the order of candidates counts: limits first, then the value, so no penalty has to be tuned.

The covariance matrix is diagonal: with tens of knobs and thousands of evaluations a full one is not learnt, and its
eigenvectors would depend on the machine in their last digits.

References
----------
Hansen, Ostermeier: Completely derandomized self-adaptation in evolution strategies. Evolutionary Computation 9(2), 2001.
Ros, Hansen: A simple modification in CMA-ES achieving linear time and space complexity. PPSN 2008 (the diagonal).
Lin, Yang, Han: NAAS: Neural accelerator architecture search. DAC 2021.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray

from cosearch.space import Genomes
from cosearch.strategies._base import Problem, Strategy
from cosearch.strategies._scalar import places, scaled, simplex_lattice, tchebycheff, total_violation

FIRST_STEP = 0.2
"""Standard deviation at the start, as a share of a knob's range."""

LEAST_STEP = 0.2
"""Standard deviation that is never undercut, in choices of a knob: a change stays possible."""

STALLED = 10
"""Turns without a better candidate after which a search starts again along other weights."""


class CmaEs(Strategy):
    """Evolution strategy with a step size adapted for every knob (separable CMA-ES), as NAAS uses.

    With several objectives several weighted searches take turns. A candidate that breaks a limit loses against every one
    that keeps them.
    """

    least_population = 4

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        self._rng = np.random.default_rng(seed)
        self._choices = problem.space.choices_per_knob
        self._size = min(problem.population, 4 + int(3 * np.log(len(self._choices))))
        self._seen = _Seen(problem)
        lattice = simplex_lattice(problem.objectives, 5 if problem.objectives == 2 else 2)
        self._waiting = [_Search(weights) for weights in lattice]
        self._asked: list[_Search] = []

    def ask(self) -> Genomes:
        """Return random candidates at first, then those of the next searches in turn."""
        space = self.problem.space
        if not self._seen.genomes:
            return space.sample_genomes(self._rng, self.problem.population)
        turns = min(len(self._waiting), self.problem.population // self._size)
        self._asked, self._waiting = self._waiting[:turns], self._waiting[turns:]
        return space.canonical(np.concatenate([self._candidates(one) for one in self._asked]))

    def tell(self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """Let every search that was asked move toward its better half."""
        violation = total_violation(violations)
        new = self._seen.add(genomes, objectives, violation)
        values = self._seen.scaled(objectives)
        for turn, one in enumerate(self._asked):
            own = slice(turn * self._size, (turn + 1) * self._size)
            place = places(tchebycheff(values[own], one.weights), violation[own])
            one.distribution.tell(one.points, place.astype(np.float64).tolist())
            best = tuple(self._seen.best(one.weights).tolist())
            one.idle = one.idle + 1 if best == one.best else 0
            one.best = best
            if one.idle >= STALLED or not new[own].any():
                self._start_again(one)
        self._waiting += self._asked
        self._asked = []

    def _start_again(self, one: _Search) -> None:
        weights = self._rng.standard_exponential(len(one.weights))
        one.weights, one.distribution, one.idle = weights / weights.sum(), None, 0

    def _candidates(self, one: _Search) -> Genomes:
        """Return the next genomes (size, knobs) of a search."""
        if one.distribution is None:
            one.distribution = self._distribution(self._seen.best(one.weights))
        one.points = one.distribution.ask()
        points = np.array(one.points)[:, : len(self._choices)]
        return np.minimum((points * self._choices).astype(np.int64), self._choices - 1)

    def _distribution(self, genome: Genomes) -> Any:
        """Return a distribution around a genome (knobs,), at the middle of its choices; it draws from our stream."""
        more = int(len(genome) == 1)  # cma needs two dimensions
        choices = np.append(self._choices, [1] * more)
        start = (np.append(genome, [0] * more) + 0.5) / choices
        options = {
            "bounds": [0, 1], "popsize": self._size, "CMA_diagonal": True, "minstd": list(LEAST_STEP / choices),
            "verbose": -9, "seed": np.nan, "randn": lambda *shape: self._rng.standard_normal(shape),
        }  # fmt: skip
        with warnings.catch_warnings():  # cma changes the filters of the whole process
            import cma  # takes a second: matplotlib, scipy.stats

            return cma.CMAEvolutionStrategy(start, FIRST_STEP, options)


@dataclass(eq=False)
class _Search:
    """One weighting of the objectives and the distribution that searches along it."""

    weights: NDArray[np.float64]
    distribution: Any = None
    points: Any = None
    best: tuple[int, ...] = ()
    idle: int = 0


class _Seen:
    """What was told: every genome, and the front of those that break the limits least."""

    def __init__(self, problem: Problem) -> None:
        self.genomes: set[tuple[int, ...]] = set()
        self._front = np.empty((0, len(problem.space.knobs)), dtype=np.int64)
        self._values = np.empty((0, problem.objectives))
        self._violation = np.empty(0)

    def add(
        self, genomes: Genomes, objectives: NDArray[np.float64], violation: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Take what candidates cost, all (n, ...); return which of them are new."""
        keys = [tuple(genome) for genome in genomes.tolist()]
        new = np.array([key not in self.genomes for key in keys])
        self.genomes.update(keys)
        genomes = np.concatenate([self._front, genomes])
        objectives = np.concatenate([self._values, objectives])
        violation = np.concatenate([self._violation, violation])
        least = np.flatnonzero(violation == violation.min())
        front = least[moocore.is_nondominated(objectives[least])]
        self._front, self._values, self._violation = genomes[front], objectives[front], violation[front]
        return new

    def scaled(self, objectives: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return objectives (n, objectives) scaled to the front."""
        return scaled(objectives, self._values)

    def best(self, weights: NDArray[np.float64]) -> Genomes:
        """Return the genome (knobs,) that is best so far for one weighting."""
        best: Genomes = self._front[tchebycheff(self.scaled(self._values), weights).argmin()]
        return best
