"""The best machine for one network: climbs that map only what can still win.

The energy-delay product of a network on a machine needs the best mapping of every layer, some 20 to 500 ms. But a bound that
no mapping beats needs one (`accel_models.mapper.floor`), and with every layer that is mapped, or refuted to be good enough,
the bound comes nearer to the truth. So candidates are looked at in the order of their bounds, and one is left as soon as its
bound is above the best known. Nothing is lost by that: a climb goes as if all its machines had been mapped.

A climb takes children of its best machine, some knobs changed, some crossed with the best of other climbs, and a few
strangers. There are several: one from the target as described, the others from the random machines of the lowest bounds.
Half of the budget is shared by all, then the better half of them goes on with half of what is left, and so on.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator
from accel_models.errors import DescriptionError, MappingError
from accel_models.mapper.base import Found
from accel_models.workload import Layer, Network
from cosearch.errors import SearchError
from cosearch.space import Genomes
from cosearch.spaces.hardware import HardwareSpace

CLIMBS = 2
"""Climbs at first."""

STRANGERS = 256
STRANGERS_OF_BUDGET = 0.1
"""Random machines from which the climbs start whose bounds are lowest; no more than a share of the budget."""

LOOKS_PER_QUESTION = 4
"""Machines looked at that count as one layer asked for: about what they take."""

BATCH = 8
"""Children at a time."""

STRANGERS_SHARE = 0.05
CROSSED_SHARE = 0.2
NEAR_SHARE = 0.6
"""Shares of the children that are random machines; that have two parents; of the changes that go to a near choice."""

NEAR_STEPS = 4
"""Most steps along a knob's choices of such a change."""

GOES_ON = 0.5
"""Probability that one more knob is changed."""

STALLED = 40
"""Batches without anything new to look at after which a climb ends: the space is exhausted."""


@dataclass(frozen=True)
class BestMachine:
    """The machine with the least energy-delay product of those looked at.

    Attributes
    ----------
    genome
        int64 (knobs,), canonical.
    looked_at
        Machines that were judged.
    mapped
        Those of them whose layers were all mapped; each of the others was proven to be worse than the best of its climb.
    """

    genome: Genomes
    accelerator: Accelerator
    latency_s: float
    energy_j: float
    looked_at: int
    mapped: int

    @property
    def edp_js(self) -> float:
        """Energy-delay product in joule-seconds."""
        return self.latency_s * self.energy_j


def best_machine(
    network: Network, space: HardwareSpace, *, budget: int = 5000, seed: int = 0, free: NDArray[np.bool_] | None = None
) -> BestMachine:
    """Return the best machine for a network that a search of a given budget finds, mappings proven.

    Parameters
    ----------
    budget
        Layers that the mapper is asked for, some 1 to 20 ms each; :data:`LOOKS_PER_QUESTION` machines looked at, a
        millisecond each, count as one.
    seed
        The same seed gives the same answer.
    free
        bool (knobs,): those that vary; the others stay as the target has them. None for all.

    Raises
    ------
    SearchError
        If the network can run on none of them, no knob varies, or tensors stay on chip in the target, which knows no bound.
    """
    if space.base.tensor_level is not None:
        raise SearchError(
            f"target {space.base.name!r} holds tensors on chip: a network there has no cost layer by layer"
        )
    search = _Search(NetworkJudge(network), space, _free(space, free), np.random.default_rng(seed))
    climbs = [_Climb(start) for start in search.starts(int(min(STRANGERS, STRANGERS_OF_BUDGET * budget)))]
    while True:
        share = (budget - search.spent) / (2 if len(climbs) > 1 else 1) / len(climbs)
        for climb in climbs:
            others = [other.genome for other in climbs if other is not climb and math.isfinite(other.edp_js)]
            search.go_on(climb, others, search.spent + share)
        climbs.sort(key=lambda climb: climb.edp_js)
        if len(climbs) == 1 or search.spent >= budget:
            break
        climbs = climbs[: len(climbs) // 2]
    best = climbs[0]
    if best.machine is None:
        raise SearchError(f"{network.name} can run on none of {search.looked_at} machines of {space.name}")
    return BestMachine(best.genome, best.machine, best.latency_s, best.energy_j, search.looked_at, search.mapped)


def _free(space: HardwareSpace, free: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return which knobs vary.

    Raises
    ------
    SearchError
        If none does.
    """
    varies = space.choices_per_knob > 1
    varies = varies if free is None else varies & free
    if not varies.any():
        raise SearchError(f"no knob of {space.name} varies: there is one machine; evaluate it")
    return varies


@dataclass(eq=False)
class _Climb:
    """Where a climb stands: its best machine, and what it has seen."""

    genome: Genomes
    machine: Accelerator | None = None
    latency_s: float = math.inf
    energy_j: float = math.inf
    seen: set[tuple[int, ...]] = field(default_factory=set)

    @property
    def edp_js(self) -> float:
        """Energy-delay product of the best machine in joule-seconds."""
        return self.latency_s * self.energy_j


class _Search:
    """What the climbs have in common: the judge, the space, the random stream, and what was spent."""

    def __init__(
        self, judge: NetworkJudge, space: HardwareSpace, free: NDArray[np.bool_], random: np.random.Generator
    ) -> None:
        self.looked_at = self.mapped = 0
        self._judge, self._space, self._free, self._random = judge, space, free, random

    @property
    def spent(self) -> int:
        """Layers asked for, and a share of the machines looked at."""
        return self._judge.questions + self.looked_at // LOOKS_PER_QUESTION

    def starts(self, strangers: int) -> list[Genomes]:
        """Return the target as described and the strangers, of so many, that have the lowest bounds."""
        judged = self._judged(self._strangers(strangers), set())
        return [self._space.default, *(np.array(key, dtype=np.int64) for _, key, _ in judged[: CLIMBS - 1])]

    def go_on(self, climb: _Climb, others: list[Genomes], until: float) -> None:
        """Let a climb look at batches of children until so much is spent in all."""
        idle = 0
        batch = climb.genome[None]
        while self.spent < until and idle < STALLED:
            candidates = self._judged(batch, climb.seen)
            idle = 0 if candidates else idle + 1
            for floor_js, key, machine in candidates:
                if floor_js > climb.edp_js or self.spent >= until:
                    break
                cost = self._judge.cost(machine, climb.edp_js)
                if cost is not None:
                    self.mapped += 1
                    climb.genome, climb.machine = np.array(key, dtype=np.int64), machine
                    climb.latency_s, climb.energy_j = cost
            batch = self._children(climb.genome, others)

    def _judged(
        self, genomes: Genomes, seen: set[tuple[int, ...]]
    ) -> list[tuple[float, tuple[int, ...], Accelerator]]:  # fmt: skip
        """Return (bound, genome, machine) of those that were not seen before, the lowest bound first."""
        found = []
        for key in dict.fromkeys(map(tuple, genomes.tolist())):
            if key in seen:
                continue
            seen.add(key)
            self.looked_at += 1
            try:
                machine = self._space.target(np.array(key, dtype=np.int64))
            except DescriptionError:
                continue
            found.append((self._judge.floor_js(machine), key, machine))
        return sorted(found, key=lambda entry: entry[:2])

    def _strangers(self, count: int) -> Genomes:
        space = self._space
        return space.canonical(np.where(self._free, space.sample_genomes(self._random, count), space.default))

    def _children(self, parent: Genomes, others: list[Genomes]) -> Genomes:
        """Return a batch of canonical genomes: strangers, and changed or crossed copies of the parent."""
        made = self._strangers(BATCH)
        random = self._random
        for child in made[math.ceil(STRANGERS_SHARE * BATCH) :]:
            child[:] = parent
            if others and random.random() < CROSSED_SHARE:
                other = others[random.integers(len(others))]
                child[:] = np.where(random.random(len(child)) < 0.5, other, parent)
            self._change(child)
        return self._space.canonical(made)

    def _change(self, genome: Genomes) -> None:
        """Change one knob of a genome (knobs,) in place, and perhaps more: to a near choice, or to any."""
        random, choices = self._random, self._space.choices_per_knob
        knobs = np.flatnonzero(self._free)
        while True:
            knob = random.choice(knobs)
            if random.random() < NEAR_SHARE:
                step = random.integers(1, NEAR_STEPS + 1) * random.choice((-1, 1))
                genome[knob] = np.clip(genome[knob] + step, 0, choices[knob] - 1)
            else:
                genome[knob] = random.integers(choices[knob])
            if random.random() >= GOES_ON:
                return


class NetworkJudge:
    """What one network costs on machines: the floor, and the truth as far as it is asked for.

    `questions` counts the layers that the mapper was asked for.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._times = Counter(node.op for node in network.nodes if isinstance(node.op, Layer))
        self.questions = 0

    def floor_js(self, accelerator: Accelerator) -> float:
        """Return an energy-delay product in joule-seconds that no mappings beat."""
        floors, vector = self._floors(accelerator)
        return self._partial(accelerator, floors, vector).edp_js

    def cost(self, accelerator: Accelerator, most_js: float = math.inf) -> tuple[float, float] | None:
        """Return latency in s and energy in J at the best mappings; None where their product is above `most_js`.

        None too where a layer cannot be mapped. A layer is first asked for a mapping that beats its share of `most_js`, which
        is refuted far sooner than the best mapping is found; where enough are refuted the machine is out.
        """
        from accel_models.targets import asic

        partial = self._partial(accelerator, *self._floors(accelerator))
        most = most_js * (1 + 1e-9)  # sums in another order
        try:
            for last in (False, True):
                for layer in partial.open_layers():
                    if partial.edp_js > most:
                        return None
                    self.questions += 1
                    partial.ask(layer, math.inf if last else most)
        except MappingError:
            return None
        latency_s, energy_j = asic.totals(self._network, accelerator, partial.found)
        return None if latency_s * energy_j > most_js else (latency_s, energy_j)

    def _partial(
        self, accelerator: Accelerator, floors: dict[Layer, tuple[float, float]], vector: tuple[float, float]
    ) -> _Partial:
        return _Partial(accelerator, self._times, floors, vector)

    def _floors(self, accelerator: Accelerator) -> tuple[dict[Layer, tuple[float, float]], tuple[float, float]]:
        """Return (pJ, cycles) that no mapping of each layer is below, and those of the vector unit's work."""
        from accel_models.mapper.floor import layer_floor
        from accel_models.targets.vector_unit import VectorCosts

        vector = VectorCosts(accelerator)
        energy_pj = cycles = 0.0
        for node in self._network.nodes:
            if not isinstance(node.op, Layer):
                own_cycles, own_pj = vector.of(node.op, math.inf)  # behind a layer that hides it wholly
                cycles, energy_pj = cycles + own_cycles, energy_pj + own_pj
        return {layer: layer_floor(layer, accelerator) for layer in self._times}, (energy_pj, cycles)


class _Partial:
    """A network on a machine of which some layers are mapped, and of the others bounds are known.

    Let e and l be energy and latency of a layer, n how often it occurs. Then the network's product is at least (sum n e)
    (sum n l) with a bound for each e and l; and, by Cauchy and Schwarz, at least (sum n sqrt(e l)) squared with a bound for
    each product, which is what the mapper refutes. Layers that are mapped, and the vector unit, are one term of that sum.
    """

    def __init__(
        self, accelerator: Accelerator, times: Mapping[Layer, int], floors: dict[Layer, tuple[float, float]],
        vector: tuple[float, float],
    ) -> None:  # fmt: skip
        self.found: dict[Layer, Found] = {}
        self._accelerator, self._times, self._floors = accelerator, times, floors
        self._done_pj, self._done_cycles = vector
        self._open_pj = sum(times[layer] * floor[0] for layer, floor in floors.items())
        self._open_cycles = sum(times[layer] * floor[1] for layer, floor in floors.items())
        self._roots = {layer: times[layer] * math.sqrt(floor[0] * floor[1]) for layer, floor in floors.items()}
        self._unasked = set(floors)
        hertz = accelerator.clock_mhz * 1e6
        self._unit = 1e-12 / hertz

    @property
    def edp_js(self) -> float:
        """The bound in joule-seconds; the truth, but for what fused operations add, where all layers are mapped.

        Leakage is left out: it adds to the truth only.
        """
        sums = (self._done_pj + self._open_pj) * (self._done_cycles + self._open_cycles)
        roots = math.sqrt(self._done_pj * self._done_cycles) + sum(self._roots.values())
        return max(sums, roots**2) * self._unit

    def open_layers(self) -> list[Layer]:
        """Return the layers that are not mapped, the largest first."""
        return sorted(self._roots, key=lambda layer: -self._roots[layer])

    def ask(self, layer: Layer, most_js: float) -> None:
        """Map a layer, or refute that it can be as good as it must for the network to come to `most_js`.

        Raises
        ------
        MappingError
            If it cannot be mapped at all.
        """
        from accel_models.mapper import exact
        from accel_models.mapper.best import find
        from accel_models.plan import make_plan

        simple = len(self._accelerator.bypass_choices) == 1
        self._unasked.discard(layer)
        if not math.isfinite(most_js) or not simple:
            self._take(layer, find(layer, self._accelerator, "edp", "exact", 1, 0))
            return
        goal = self._goal(layer, most_js)
        nothing = Found(np.empty(0, dtype=np.int32), goal, 1.0, 0)
        answer = exact.search(make_plan(layer, self._accelerator), "edp", beat=nothing)
        if answer.array is nothing.array:
            self._roots[layer] = self._times[layer] * math.sqrt(goal)
        else:
            self._take(layer, answer)

    def _goal(self, layer: Layer, most_js: float) -> float:
        """Return the product (pJ x cycles) that refutes `most_js` if no open layer is better in proportion to its bound."""
        waiting = self._roots[layer] + sum(self._roots[other] for other in self._unasked)
        fixed = math.sqrt(self._done_pj * self._done_cycles) + sum(self._roots.values()) - waiting
        factor = (math.sqrt(most_js / self._unit) - fixed) / waiting
        return float((factor * self._roots[layer] / self._times[layer]) ** 2)

    def _take(self, layer: Layer, found: Found) -> None:
        times, (floor_pj, floor_cycles) = self._times[layer], self._floors[layer]
        self.found[layer] = found
        self._open_pj -= times * floor_pj
        self._open_cycles -= times * floor_cycles
        self._done_pj += times * found.energy_pj
        self._done_cycles += times * found.latency_cycles
        del self._roots[layer]
