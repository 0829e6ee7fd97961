"""NAAS: evolution of hardware outside, a search of networks for every machine inside.

The outer search is an evolution strategy (separable CMA-ES, as in `cma_es.py`) over the hardware's genes. For each machine
of a generation an inner evolution looks for the network that is best on it, and what that network costs is the machine's
reward: with one objective and a limit on accuracy, the cost of the best network that meets it. The innermost search, of
mappings, is the evaluation's. In the paper every inner search starts anew, and machines that cannot be are drawn again; here
it starts from the best networks known, some of them tried unchanged so that machines are compared on the same networks, and
machines on which no network keeps the limits are left after the first round.

Several objectives become several outer searches as in `cma_es.py`: each has a weight vector, at first a lattice on the
simplex, and both its levels minimise the augmented Tchebycheff value of the objectives scaled to the front seen so far. They
take turns, and one that finds nothing better for `STALLED` turns starts again along other weights. Limits come first on both
levels.

With a fixed network it is the outer search alone, with fixed hardware the inner one.

References
----------
Lin, Yang, Han: NAAS: Neural accelerator architecture search. DAC 2021. Cai et al.: Once-for-All. ICLR 2020 (evolution of
networks: half of the children mutated, half crossed).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosearch.space import Genomes
from cosearch.strategies._base import Problem
from cosearch.strategies._front import Front
from cosearch.strategies._genes import other_choices
from cosearch.strategies._part import joint_space
from cosearch.strategies._scalar import places, simplex_lattice, tchebycheff, total_violation
from cosearch.strategies._walk import Answer, Walk, WalkingStrategy
from cosearch.strategies.cma_es import STALLED, CmaEs, distribution_around, genes_at

INNER = 8
"""Networks tried on a machine."""

ROUNDS = 2
"""Rounds at least in which they are tried; the later ones on machines that keep the limits alone, if any does."""

ELITE = 2
"""Best networks known that are tried on every machine as they are, at most half of a round's."""

PARENTS = 20
"""Best networks that have children: of all known in a machine's first round, then of those tried on it."""

MOST_STEPS = 50
"""Changes of one gene after which a child that was tried on its machine before is given up."""


class Naas(WalkingStrategy):
    """Nested search: CMA-ES over hardware, and for each machine an evolution of networks; several objectives in turns.

    A candidate that breaks a limit loses against every one that keeps them.
    """

    least_population = 4

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        self._space = joint_space(problem)
        self._rng = np.random.default_rng(seed)
        self._front = Front(len(self._space.knobs), problem.objectives)
        knobs = len(self._space.hardware.knobs)
        self._machines = min(problem.population, 4 + int(3 * np.log(knobs))) if knobs else 1
        self._share = min(problem.population // self._machines, INNER // ROUNDS if knobs else PARENTS)
        self._rounds = ceil(INNER / self._share)

    def walk(self) -> Walk:
        """Return random candidates at first, then the outer searches in turn."""
        if (self._space.networks.choices_per_knob == 1).all():
            yield from _asked(CmaEs(self.problem, self.seed))
            return
        objectives = self.problem.objectives
        lattice = simplex_lattice(objectives, 5 if objectives == 2 else 2)
        searches = [_Search(weights, _Tried(self.problem)) for weights in lattice]
        answer = yield self._space.sample_genomes(self._rng, self.problem.population)
        self._learn(answer, searches)
        for search in cycle(searches):
            yield from self._generation(search, searches)

    def _generation(self, search: _Search, searches: list[_Search]) -> Walk:
        """Try networks on every machine of an outer generation, then move toward the better machines."""
        machines = self._next_machines(search)
        tried = [_Tried(self.problem) for _ in machines]
        before = len(self._front.seen)
        for number in range(self._rounds):
            networks = self._round(search, machines, tried) if number else self._first_round(search, machines)
            counts = [len(some) for some in networks]
            if not sum(counts):
                break
            answer = yield np.hstack([np.concatenate(networks), np.repeat(machines, counts, axis=0)])
            violation = self._learn(answer, searches)
            ends = np.cumsum(counts)
            for one, start, end in zip(tried, ends - counts, ends, strict=True):
                one.add(answer.genomes[start:end], answer.objectives[start:end], violation[start:end])
        if search.distribution is not None:
            violation, values = np.array([one.least(self._front, search.weights) for one in tried]).T
            search.distribution.tell(search.points, places(values, violation).astype(np.float64).tolist())
        best = tuple(self._best(search).tolist())
        search.idle = search.idle + 1 if best == search.best else 0
        search.best = best
        if search.idle >= STALLED or len(self._front.seen) == before:
            self._start_again(search)

    def _start_again(self, search: _Search) -> None:
        weights = self._rng.standard_exponential(len(search.weights))
        search.weights, search.distribution, search.idle = weights / weights.sum(), None, 0
        search.known.add(self._front.genomes, self._front.values, self._front.violation)

    def _next_machines(self, search: _Search) -> Genomes:
        """Return the machines (n, hardware knobs) of the next outer generation."""
        hardware = self._space.hardware
        if not hardware.knobs:
            return np.empty((1, 0), dtype=np.int64)
        if search.distribution is None:
            _, best = self._space.split(self._best(search))
            search.distribution = distribution_around(best, hardware.choices_per_knob, self._machines, self._rng)
        search.points = search.distribution.ask()
        return hardware.canonical(genes_at(search.points, hardware.choices_per_knob))

    def _first_round(self, search: _Search, machines: Genomes) -> list[Genomes]:
        """Return networks for each machine: the same few of the best known, and children of these."""
        parents = search.known.best(self._front, search.weights)
        elite = parents[: min(ELITE, max(1, self._share // 2))]
        return [self._networks(elite, parents, machine) for machine in machines]

    def _round(self, search: _Search, machines: Genomes, tried: list[_Tried]) -> list[Genomes]:
        """Return children of each machine's best networks; none on machines that break limits where others keep them."""
        least = np.array([one.least(self._front, search.weights)[0] for one in tried])
        parents = [one.best(self._front, search.weights) for one in tried]
        goes_on = (least <= 0) | (least.min() > 0)
        return [
            self._networks(some[:0], some if goes else some[:0], machine)
            for some, goes, machine in zip(parents, goes_on, machines, strict=True)
        ]

    def _networks(self, elite: Genomes, parents: Genomes, machine: Genomes) -> Genomes:
        """Return networks (n, network knobs) to try on a machine: some as they are, and new children of parents."""
        networks = list(elite)
        keys = set(map(tuple, elite.tolist()))
        while len(networks) < self._share and len(parents):
            child = self._child(parents, machine, keys)
            if child is None:
                break
            networks.append(child)
        return np.array(networks, dtype=np.int64).reshape(len(networks), len(self._space.networks.knobs))

    def _child(self, parents: Genomes, machine: Genomes, keys: set[tuple[int, ...]]) -> Genomes | None:
        """Return a network new on its machine and not among `keys`: two parents crossed, or one changed in some genes."""
        space, rng = self._space.networks, self._rng
        mother, father = parents[rng.integers(0, len(parents), 2)]
        child = np.where(rng.random(len(mother)) < 0.5, mother, father)[None]
        if rng.random() < 0.5:
            changed = other_choices(mother[None], space.choices_per_knob, rng)
            hit = rng.random(len(mother)) < 1 / len(mother)
            child = np.where(hit & (space.choices_per_knob > 1), changed, mother)
        child = space.canonical(child)
        for _ in range(MOST_STEPS):
            key = tuple(child[0].tolist())
            if key not in keys and (*key, *machine.tolist()) not in self._front.seen:
                keys.add(key)
                return child[0]
            free = np.flatnonzero(space.active(child)[0] & (space.choices_per_knob > 1))
            if not len(free):
                break
            gene = rng.choice(free)
            child[0, gene] = other_choices(child, space.choices_per_knob, rng)[0, gene]
            child = space.canonical(child)
        return None

    def _best(self, search: _Search) -> Genomes:
        """Return the pair (knobs,) that is best so far along a search's weights."""
        best: Genomes = self._front.genomes[self._front.along(search.weights)[0]]
        return best

    def _learn(self, answer: Answer, searches: list[_Search]) -> NDArray[np.float64]:
        """Take what was answered into the front, and every search's best; return the total violations (n,)."""
        violation = total_violation(answer.violations)
        self._front.add(answer.genomes, answer.objectives, violation)
        for search in searches:
            search.known.add(answer.genomes, answer.objectives, violation)
            search.known.keep_best(self._front, search.weights)
        return violation


@dataclass(eq=False)
class _Search:
    """One weighting of the objectives, the best pairs along it, and the distribution of machines that searches there."""

    weights: NDArray[np.float64]
    known: _Tried
    distribution: Any = None
    points: Any = None
    best: tuple[int, ...] = ()
    idle: int = 0


class _Tried:
    """Pairs and what they cost."""

    def __init__(self, problem: Problem) -> None:
        self._cut = len(joint_space(problem).networks.knobs)
        self._genomes = np.empty((0, len(problem.space.knobs)), dtype=np.int64)
        self._objectives = np.empty((0, problem.objectives))
        self._violation = np.empty(0)

    def add(self, genomes: Genomes, objectives: NDArray[np.float64], violation: NDArray[np.float64]) -> None:
        """Take more pairs, all (n, ...)."""
        self._genomes = np.concatenate([self._genomes, genomes])
        self._objectives = np.concatenate([self._objectives, objectives])
        self._violation = np.concatenate([self._violation, violation])

    def best(self, front: Front, weights: NDArray[np.float64]) -> Genomes:
        """Return the networks (n, network knobs) of the best pairs along a weighting, best first."""
        return self._genomes[self._first(front, weights), : self._cut]

    def keep_best(self, front: Front, weights: NDArray[np.float64]) -> None:
        """Forget all but the best pairs along a weighting."""
        kept = self._first(front, weights)
        self._genomes, self._objectives = self._genomes[kept], self._objectives[kept]
        self._violation = self._violation[kept]

    def least(self, front: Front, weights: NDArray[np.float64]) -> tuple[float, float]:
        """Return violation and value of the best pair along a weighting; infinite where there is none."""
        first = self._first(front, weights)[:1]
        if not first:
            return np.inf, np.inf
        value = tchebycheff(front.scaled(self._objectives[first]), weights)
        return float(self._violation[first[0]]), float(value[0])

    def _first(self, front: Front, weights: NDArray[np.float64]) -> list[int]:
        """Return the places of the best `PARENTS` pairs of different networks, best first."""
        place = places(tchebycheff(front.scaled(self._objectives), weights), self._violation)
        networks: dict[tuple[int, ...], int] = {}
        for number in np.argsort(place).tolist():
            networks.setdefault(tuple(self._genomes[number, : self._cut].tolist()), number)
            if len(networks) == PARENTS:
                break
        return list(networks.values())


def _asked(strategy: CmaEs) -> Walk:
    """Return the walk of another strategy."""
    while len(genomes := strategy.ask()):
        answer = yield genomes
        strategy.tell(answer.genomes, answer.objectives, answer.violations)
