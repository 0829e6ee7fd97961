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
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosearch.space import Genomes
from cosearch.strategies._base import Problem, Strategy
from cosearch.strategies._front import Front
from cosearch.strategies._scalar import places, simplex_lattice, tchebycheff, total_violation

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
        self._front = Front(len(self._choices), problem.objectives)
        lattice = simplex_lattice(problem.objectives, 5 if problem.objectives == 2 else 2)
        self._waiting = [_Search(weights) for weights in lattice]
        self._asked: list[_Search] = []

    def ask(self) -> Genomes:
        """Return random candidates at first, then those of the next searches in turn."""
        space = self.problem.space
        if not len(self._front.genomes):
            return space.sample_genomes(self._rng, self.problem.population)
        turns = min(len(self._waiting), self.problem.population // self._size)
        self._asked, self._waiting = self._waiting[:turns], self._waiting[turns:]
        return space.canonical(np.concatenate([self._candidates(one) for one in self._asked]))

    def tell(self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """Let every search that was asked move toward its better half."""
        violation = total_violation(violations)
        new = self._front.add(genomes, objectives, violation)
        values = self._front.scaled(objectives)
        for turn, one in enumerate(self._asked):
            own = slice(turn * self._size, (turn + 1) * self._size)
            place = places(tchebycheff(values[own], one.weights), violation[own])
            one.distribution.tell(one.points, place.astype(np.float64).tolist())
            best = tuple(self._best(one.weights).tolist())
            one.idle = one.idle + 1 if best == one.best else 0
            one.best = best
            if one.idle >= STALLED or not new[own].any():
                self._start_again(one)
        self._waiting += self._asked
        self._asked = []

    def _best(self, weights: NDArray[np.float64]) -> Genomes:
        """Return the genome (knobs,) that is best so far for one weighting."""
        best: Genomes = self._front.genomes[self._front.along(weights)[0]]
        return best

    def _start_again(self, one: _Search) -> None:
        weights = self._rng.standard_exponential(len(one.weights))
        one.weights, one.distribution, one.idle = weights / weights.sum(), None, 0

    def _candidates(self, one: _Search) -> Genomes:
        """Return the next genomes (size, knobs) of a search."""
        if one.distribution is None:
            one.distribution = distribution_around(self._best(one.weights), self._choices, self._size, self._rng)
        one.points = one.distribution.ask()
        return genes_at(one.points, self._choices)


@dataclass(eq=False)
class _Search:
    """One weighting of the objectives and the distribution that searches along it."""

    weights: NDArray[np.float64]
    distribution: Any = None
    points: Any = None
    best: tuple[int, ...] = ()
    idle: int = 0


def distribution_around(genome: Genomes, choices: Genomes, size: int, rng: np.random.Generator) -> Any:
    """Return a separable CMA-ES of cma around a genome (knobs,), `size` points at a time, that draws from `rng`.

    The points are in the unit cube, of two dimensions at least; it starts at the middle of the genome's choices.
    """
    more = int(len(genome) == 1)  # cma needs two dimensions
    choices = np.append(choices, [1] * more)
    start = (np.append(genome, [0] * more) + 0.5) / choices
    options = {
        "bounds": [0, 1], "popsize": size, "CMA_diagonal": True, "minstd": list(LEAST_STEP / choices),
        "verbose": -9, "seed": np.nan, "randn": lambda *shape: rng.standard_normal(shape),
    }  # fmt: skip
    with warnings.catch_warnings():  # cma changes the filters of the whole process
        import cma  # takes a second: matplotlib, scipy.stats

        return cma.CMAEvolutionStrategy(start, FIRST_STEP, options)


def genes_at(points: Sequence[NDArray[np.float64]], choices: Genomes) -> Genomes:
    """Return the genes (n, knobs) of points of the unit cube, not canonical."""
    relaxed = np.array(points)[:, : len(choices)]
    return np.minimum((relaxed * choices).astype(np.int64), choices - 1)
