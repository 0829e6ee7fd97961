"""Exact networks on searched hardware: the front of a whole machine is one answer, and machines evolve.

On one machine the networks worth having, of 2e19 and more, are found without sampling (:mod:`cosearch.network_front`). So
only machines have to be searched, and a machine is cheap to try: with one network of the front so far, and no further than
a bound says that the pair may come onto the front. In turns

* *trials*: machines bred from those on the front, each with the network of its parent;
* *fronts*: of the best of them, those whose pair came onto the front with the largest gain, the whole front.

When trials have brought nothing for some turns, the fronts that were cut short, of machines on the front, are asked in full. Where
all machines are few (`ENUMERABLE`), every one that was not asked before is asked then: what is left is the true front of
the space. A fixed network needs no fronts: trials alone. Fixed hardware needs no trials: one front, in full.

The evolution is ours; the idea of best responses in turns is that of block coordinate descent.
"""

from __future__ import annotations

from collections import Counter
from math import prod

import moocore
import numpy as np
from numpy.typing import NDArray

from cosearch.space import Genomes
from cosearch.spaces.hardware import HardwareSpace
from cosearch.strategies._base import Fronts, Problem, Trials
from cosearch.strategies._genes import other_choices
from cosearch.strategies._part import joint_space
from cosearch.strategies._scalar import scaled, total_violation
from cosearch.strategies._walk import Answer, Walk, WalkingStrategy

PAIRS_PER_FRONT = 50
"""Most pairs that a machine's front brings at first: as many as there is work in it."""

CHILDREN_SHARE = 2.0
"""Machines tried in a turn, as a share of the population: most are refuted for little."""

ENUMERATED_SHARE = 0.5
"""Machines whose fronts are asked at a time where every one is, as a share of the population."""

FRONTS_SHARE = 0.02
"""Machines of a turn whose fronts are asked, as a share of the population."""

STRANGERS_SHARE = 0.1
"""Share of the children that are random machines."""

CROSSED_SHARE = 0.5
"""Share of the other children that have two parents."""

STALLED = 8
"""Turns without a child on the front after which fronts are asked in full."""

ENUMERABLE = 20_000
"""Most machines of a space of which every one is asked in the end."""

MOST_STEPS = 50
"""Changes after which a child that is always known already is given up."""

FRONT_SHARE = 2 / 3
"""How often a parent is drawn from the front rather than from the front and the best of the rest."""

_LEAST_GAIN = 1e-12
"""Gain of a pair on the front that costs no less than its parent in sum."""

Key = tuple[int, ...]


class Exact(WalkingStrategy):
    """All networks at once, by dynamic programming on every machine tried; machines evolve, few ones are enumerated.

    Ends when every machine of a small space is known in full.
    """

    asks_fronts = True

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        self._space = joint_space(problem)
        self._rng = np.random.default_rng(seed)
        self._pool = _Pool(problem, len(self._space.networks.knobs))
        self._asked: set[Key] = set()
        self._cut: dict[
            Key, None
        ] = {}  # machines of which there may be more than was told, in the order they were asked
        self._tried: set[Key] = set()

    def walk(self) -> Walk:
        """Ask about machines that evolve, then about the rest of a small space."""
        hardware, networks = self._space.hardware, self._space.networks
        if networks.knobs:
            yield from self._fronts([tuple(hardware.default.tolist())], PAIRS_PER_FRONT)
        else:
            self._add((yield self._space.canonical(hardware.default[None])))
        if len(hardware.knobs):
            yield from self._evolve(every_machine(hardware) if networks.knobs else None)
        if networks.knobs:
            yield from self._rest()

    def _evolve(self, machines: Genomes | None) -> Walk:
        """Let machines evolve; to the end of the budget, or until they stall where all machines are few."""
        best_of = max(1, round(FRONTS_SHARE * self.problem.population))
        idle, strangers = 0, 1.0
        while machines is None or idle < 2 * STALLED:
            children, parents = self._children(strangers)
            if not len(children):
                return
            answer = yield Trials(children)
            kept = np.array([parents[tuple(genome)] for genome in answer.genomes.tolist()])
            gains = self._add(answer, kept.reshape(answer.objectives.shape))
            promising = np.flatnonzero(gains > 0)
            idle, strangers = 0 if len(promising) else idle + 1, STRANGERS_SHARE
            if not self._space.networks.knobs:
                continue
            if len(promising):
                best = promising[np.argsort(-gains[promising], kind="stable")]
                keys = dict.fromkeys(map(tuple, self._space.split(answer.genomes[best])[1].tolist()))
                yield from self._fronts(list(keys)[:best_of], PAIRS_PER_FRONT)
            elif idle % STALLED == 0:
                on_front = set(self._pool.machines())
                yield from self._in_full([machine for machine in self._cut if machine in on_front])

    def _rest(self) -> Walk:
        """Ask for all that was cut, then for the machines of a small space that were not asked, then again.

        A machine whose answer was not cut has told all: what it kept back was dominated, and stays so.
        """
        yield from self._in_full(list(self._cut))
        batch = max(1, round(ENUMERATED_SHARE * self.problem.population))
        machines = every_machine(self._space.hardware)
        rest = [] if machines is None else [key for key in map(tuple, machines.tolist()) if key not in self._asked]
        for start in range(0, len(rest), batch):
            yield from self._fronts(rest[start : start + batch], PAIRS_PER_FRONT)
        yield from self._in_full(list(self._cut))

    def _in_full(self, machines: list[Key]) -> Walk:
        """Ask for all that is new of machines."""
        if machines:
            yield from self._fronts(machines, None)

    def _fronts(self, machines: list[Key], most: int | None) -> Walk:
        self._asked.update(machines)
        hardware = np.array(machines, dtype=np.int64).reshape(len(machines), len(self._space.hardware.knobs))
        answer = yield Fronts(hardware, most)
        told = Counter(map(tuple, self._space.split(answer.genomes)[1].tolist()))
        for machine in machines:
            if most is not None and told[machine] >= most:
                self._cut[machine] = None
            else:
                self._cut.pop(machine, None)
        self._add(answer)

    def _add(self, answer: Answer, compared_with: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        return self._pool.add(answer.genomes, answer.objectives, answer.violations, compared_with)

    def _children(self, strangers: float) -> tuple[Genomes, dict[Key, NDArray[np.float64]]]:
        """Return new pairs (n, knobs), and by pair what its network costs on its parent (objectives,)."""
        parents: dict[Key, NDArray[np.float64]] = {}
        for _ in range(max(1, round(CHILDREN_SHARE * self.problem.population))):
            row = self._pool.draw(self._rng)
            child = self._child(row, self._rng.random() < strangers)
            if child is not None:
                parents[child] = self._pool.objectives[row]
        return np.array(list(parents), dtype=np.int64).reshape(len(parents), len(self._space.knobs)), parents

    def _child(self, row: int, stranger: bool) -> Key | None:
        """Return the network of a row of the pool on a machine not tried with it; None where none was found."""
        space, hardware = self._space, self._space.hardware
        network, machine = space.split(self._pool.genomes[row])
        if not stranger and self._rng.random() < CROSSED_SHARE:
            other = space.split(self._pool.genomes[self._pool.draw(self._rng)])[1]
            machine = np.where(self._rng.random(len(machine)) < 0.5, machine, other)
        for _ in range(MOST_STEPS):
            if stranger:
                machine = hardware.sample_genomes(self._rng, 1)[0]
            else:
                changed = self._rng.random(len(machine)) < 1.0 / len(machine)
                changed[self._rng.integers(len(machine))] = True
                changed &= hardware.choices_per_knob > 1
                other = other_choices(machine[None], hardware.choices_per_knob, self._rng)[0]
                machine = hardware.canonical(np.where(changed, other, machine)[None])[0]
            pair = (*network.tolist(), *machine.tolist())
            if pair not in self._tried and tuple(machine.tolist()) not in self._asked:
                self._tried.add(pair)
                return pair
        return None


class _Pool:
    """The front of what was told, and the best of the rest; rows of `genomes` and `objectives`, best first."""

    def __init__(self, problem: Problem, network_knobs: int) -> None:
        self._size, self._cut = problem.population, network_knobs
        self.genomes = np.empty((0, len(problem.space.knobs)), dtype=np.int64)
        self.objectives = np.empty((0, problem.objectives))
        self._violation = np.empty(0)
        self._on_front = 0
        self._rows_of: list[list[int]] = []

    def add(
        self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64],
        compared_with: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:  # fmt: skip
        """Take what was told, all (n, ...).

        Returns
        -------
        ndarray of float64, shape (n,)
            How much less than the objectives it is compared with each one costs, in units of the front's span; 0 for those
            that are not on the front.
        """
        violation = total_violation(violations)
        new = np.arange(len(self.genomes) + len(genomes)) - len(self.genomes)
        genomes = np.concatenate([self.genomes, genomes])
        values = np.concatenate([self.objectives, objectives])
        violation = np.concatenate([self._violation, violation])
        least = violation == violation.min()
        rank = np.full(len(values), np.inf)
        rank[least] = moocore.pareto_rank(values[least])
        order = np.lexsort((new, rank, violation))
        self._on_front = int((rank == 0).sum())
        kept = order[: max(self._size, self._on_front)]
        self.genomes, self.objectives, self._violation = genomes[kept], values[kept], violation[kept]
        self._rows_of = list(self._rows(len(kept)).values())
        self._front_machines = list(self._rows(self._on_front))
        gains = np.zeros(len(objectives))
        if compared_with is not None:
            front = values[rank == 0]
            gained = (scaled(compared_with, front) - scaled(objectives, front)).sum(axis=1)
            gains = np.where(rank[new >= 0] == 0, np.maximum(gained, _LEAST_GAIN), 0.0)
        return gains

    def machines(self) -> list[Key]:
        """Return the machines on the front."""
        return self._front_machines

    def draw(self, rng: np.random.Generator) -> int:
        """Return a row: of the front's machines, or of all, any as likely as any other."""
        count = len(self._front_machines) if rng.random() < FRONT_SHARE else len(self._rows_of)
        rows = self._rows_of[rng.integers(count)]
        on_front = sum(row < self._on_front for row in rows)
        return rows[rng.integers(on_front or len(rows))]

    def _rows(self, count: int) -> dict[Key, list[int]]:
        """Return the rows of each machine among the first `count`, machines in order of their best row."""
        rows: dict[Key, list[int]] = {}
        for row, machine in enumerate(self.genomes[:count, self._cut :].tolist()):
            rows.setdefault(tuple(machine), []).append(row)
        return rows


def every_machine(hardware: HardwareSpace) -> Genomes | None:
    """Return all canonical genomes (n, knobs) of a hardware space; None where there are more than `ENUMERABLE`."""
    if prod(hardware.choices_per_knob.tolist()) > ENUMERABLE:
        return None
    return hardware.every_genome()
