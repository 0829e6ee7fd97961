"""Regularized (aging) evolution, extended to several objectives and to limits.

One change at a time: a child is a copy of its parent with one gene changed, the parent is the best of a small random
sample of the population, and whoever is oldest leaves the population, however good.

With several objectives every tournament draws its own weights, uniform over the simplex or now and then one objective
alone, and is won by the smallest augmented Tchebycheff value of the objectives scaled to the present population; so each
part of the front has its tournaments, its ends too, and with one objective nothing differs from the original. Limits come
first: who keeps them wins over who does not, else the smaller violation.

References
----------
Real, Aggarwal, Huang, Le: Regularized Evolution for Image Classifier Architecture Search. AAAI 2019, algorithm 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosearch.space import Genomes
from cosearch.strategies._base import Problem, Strategy
from cosearch.strategies._genes import other_choices
from cosearch.strategies._scalar import places, scaled, tchebycheff, total_violation

SAMPLE_SHARE = 0.25
"""Share of the population that a parent is the best of, with one objective; 25 of 100 in the paper."""

SAMPLE_SHARE_OF_SEVERAL = 0.5
"""The same with several objectives: their tournaments pull apart, so each must pull harder."""

CORNER_SHARE = 0.2
"""Tournaments that weigh one objective alone, which random weights never do: the ends of the front have some too."""

BATCH_SHARE = 0.1
"""Children at a time, as a share of the population: one in the paper, more here so that processes have work."""

MOST_STEPS = 50
"""Changes of one gene after which a child that was always seen before is given up."""


class RegularizedEvolution(Strategy):
    """Aging evolution: the best of a random sample has a child with one gene changed, and the oldest leaves.

    With several objectives every tournament weighs them at random. Ends when no new child can be found.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        self._rng = np.random.default_rng(seed)
        share = SAMPLE_SHARE if problem.objectives == 1 else SAMPLE_SHARE_OF_SEVERAL
        self._sample = max(2, round(share * problem.population))
        self._seen: set[tuple[int, ...]] = set()
        self._genomes = np.empty((0, len(problem.space.knobs)), dtype=np.int64)  # oldest first, as the next two
        self._objectives = np.empty((0, problem.objectives))
        self._violation = np.empty(0)

    def ask(self) -> Genomes:
        """Return random candidates at first, then children; none where every one that was tried is known."""
        if not len(self._genomes):
            return self.problem.space.sample_genomes(self._rng, self.problem.population)
        count = max(1, round(BATCH_SHARE * self.problem.population))
        values = scaled(self._objectives, self._objectives[self._violation <= 0])
        children = [self._child(self._genomes[self._parent(values)]) for _ in range(count)]
        new = [child for child in children if child is not None]
        return np.array(new, dtype=np.int64).reshape(len(new), self._genomes.shape[1])

    def tell(self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """Let the children join and as many of the oldest go."""
        self._seen.update(map(tuple, genomes.tolist()))
        size = self.problem.population
        self._genomes = np.concatenate([self._genomes, genomes])[-size:]
        self._objectives = np.concatenate([self._objectives, objectives])[-size:]
        self._violation = np.concatenate([self._violation, total_violation(violations)])[-size:]

    def _parent(self, values: NDArray[np.float64]) -> int:
        """Return who wins a tournament on the scaled objectives (population, objectives) at weights of its own."""
        sample = self._rng.integers(0, len(values), self._sample)
        weights = self._rng.standard_exponential((1, values.shape[1]))[0]
        if self._rng.random() < CORNER_SHARE:
            weights = np.where(np.arange(len(weights)) == self._rng.integers(len(weights)), 1.0, 0.0)
        value = tchebycheff(values[sample], weights / weights.sum())
        return int(sample[places(value, self._violation[sample]).argmin()])

    def _child(self, genome: Genomes) -> Genomes | None:
        """Return the first genome not seen before on a walk of single changes from a parent's (knobs,)."""
        space = self.problem.space
        for _ in range(MOST_STEPS):
            free = np.flatnonzero(space.active(genome[None])[0] & (space.choices_per_knob > 1))
            if not len(free):
                return None
            gene = self._rng.choice(free)
            genome = genome.copy()
            genome[gene] = other_choices(genome[None], space.choices_per_knob, self._rng)[0, gene]
            genome = space.canonical(genome[None])[0]
            key = tuple(genome.tolist())
            if key not in self._seen:
                self._seen.add(key)
                return genome
        return None
