"""Sequential: networks on the machine as described, then hardware for the networks that were found.

The customary order of work, network first and hardware after it, as the baseline of a joint search. The first search
never learns what hardware could be: its networks run on the described machine alone. The second one takes the networks
of the first one's front as they are, and looks for hardware for them.

A strategy does not know the budget, so the two take turns: one generation of networks, one of hardware, then two and two,
three and three, and so on. Either has half of the effort, whenever the search ends, and the last hardware is
searched for networks that are nearly the last. The search of networks goes on where it was; the search of hardware starts
its population again from the best pairs known and random hardware, half and half, as its networks are others.

References
----------
Lin, Yang, Han: NAAS: Neural accelerator architecture search. DAC 2021 (against search of one after the other).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from cosearch.space import Genomes, Knob, Space
from cosearch.spaces.joint import JointSpace
from cosearch.strategies._base import Problem
from cosearch.strategies._front import Front
from cosearch.strategies._part import Part, joint_space
from cosearch.strategies._scalar import total_violation
from cosearch.strategies._walk import Answer, Walk, WalkingStrategy
from cosearch.strategies.nsga2 import Nsga2

KNOWN_SHARE = 0.5
"""Share of the first population of a search for hardware that are the best pairs known; the rest is random."""


class Sequential(WalkingStrategy):
    """NSGA-II on networks with the hardware as described, in turns with NSGA-II on hardware for the networks found.

    Where one half is fixed it is NSGA-II on the other.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        self._space = joint_space(problem)
        self._rng = np.random.default_rng(seed)

    def walk(self) -> Walk:
        """Return the turns of the two searches."""
        space = self._space
        cut = len(space.networks.knobs)
        if cut in (0, len(space.knobs)):
            yield from _generations(Nsga2(self.problem, self.seed), space.canonical, None)
            return
        given = np.concatenate([np.zeros(cut, dtype=np.int64), space.hardware.default])
        part = Part(space, given, np.arange(len(space.knobs)) < cut)
        networks = Nsga2(replace(self.problem, space=part), self.seed)
        found, pairs = (Front(len(space.knobs), self.problem.objectives) for _ in range(2))
        for turn in count(1):
            more = yield from _generations(networks, part.whole, turn, found, pairs)
            few = _OfNetworks(space, found, pairs.genomes, self._rng)
            hardware = Nsga2(replace(self.problem, space=few), self.seed + turn)
            more |= yield from _generations(hardware, few.whole, turn, pairs)
            if not more:
                return


class _OfNetworks(Space):
    """Pairs of one of a few networks and any hardware.

    Parameters
    ----------
    space
        All pairs.
    found
        A front of pairs (n, knobs) that has the networks; the knob `network` counts them along the first objective.
    known
        Pairs (m, knobs) whose hardware is worth a place in a first population; one of another network is taken
        with any of the few.
    rng
        Where chance comes from.
    """

    name, summary = "pairs of few networks", "networks that were found, and any hardware"

    def __init__(self, space: JointSpace, found: Front, known: Genomes, rng: np.random.Generator) -> None:
        self._space = space
        self._networks, _ = space.split(found.genomes[np.argsort(found.values[:, 0], kind="stable")])
        self.knobs = (Knob("network", tuple(range(len(self._networks)))), *space.hardware.knobs)
        place = {tuple(network): number for number, network in enumerate(self._networks.tolist())}
        networks, hardware = space.split(known)
        any_place = rng.integers(0, len(place), len(known)).tolist()
        places = [place.get(tuple(network), other) for network, other in zip(networks.tolist(), any_place, strict=True)]
        self._known = np.column_stack([places, hardware])

    def whole(self, genomes: Genomes) -> Genomes:
        """Return the pairs (n, all knobs) of genomes (n, knobs)."""
        return self._space.canonical(np.concatenate([self._networks[genomes[:, 0]], genomes[:, 1:]], axis=1))

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Tell which genes count: which network always does."""
        always = np.ones((len(genomes), 1), dtype=np.bool_)
        return np.concatenate([always, self._space.hardware.active(genomes[:, 1:])], axis=1)

    def canonical(self, genomes: Genomes) -> Genomes:
        """Return genomes with the hardware as its space writes it."""
        return np.concatenate([genomes[:, :1], self._space.hardware.canonical(genomes[:, 1:])], axis=1)

    def sample_genomes(self, rng: np.random.Generator, count: int) -> Genomes:
        """Draw genomes (count, knobs): up to `KNOWN_SHARE` of them known pairs, the rest uniform."""
        genomes = super().sample_genomes(rng, count)
        known = rng.permutation(self._known)[: int(KNOWN_SHARE * count)]
        genomes[: len(known)] = known
        return genomes


def _generations(
    search: Nsga2, whole: Callable[[Genomes], Genomes], generations: int | None, *fronts: Front
) -> Generator[Genomes, Answer, bool]:
    """Run some generations of a search, or all, and add what they cost to fronts; return whether it has more to ask.

    `whole` makes candidates of the problem's space of those of the search.
    """
    for _ in count() if generations is None else range(generations):
        asked = search.ask()
        if not len(asked):
            return False
        answer = yield whole(asked)
        search.tell(asked, answer.objectives, answer.violations)
        for front in fronts:
            front.add(answer.genomes, answer.objectives, total_violation(answer.violations))
    return True
