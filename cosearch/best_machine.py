"""The best machine for one network: a climb that maps only as many layers as it takes to see that a machine is no better.

The energy-delay product of a network on a machine needs the best mapping of every layer, some 1 to 50 ms each. What the climb
compares needs less. A bound that no mapping beats needs no mapping at all (`accel_models.mapper.floor`): a machine whose bound
is above the best known is out. Of the others the layers are mapped one by one, those first that cost most on the best machine
known. If they cost clearly more than there, the machine is given up: the rest would have to make up for it
(:data:`DOUBT`). So what is given up is in general not proven to be worse, but what is found is proven to be better, and what
the answer costs is exact.

The climb starts from the target as described and takes children of its best machine, one knob or more changed, and a few
random machines. First it changes sizes: how a machine is connected can be judged only where its sizes fit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator
from accel_models.errors import DescriptionError, MappingError
from accel_models.mapper.base import Found
from accel_models.workload import Layer, Network
from cosearch.errors import SearchError
from cosearch.space import Genomes
from cosearch.spaces.hardware import HardwareSpace

LOOKS_PER_LAYER = 4
"""Machines looked at that count as one layer mapped: about what they take."""

BATCH = 8
"""Children at a time; the one of the lowest bound is looked at first."""

STRANGERS = 1
"""Random machines among them."""

NEAR_SHARE = 0.6
"""Share of the changes that go to a near choice; the others go to any."""

NEAR_STEPS = 4
"""Most steps along a knob's choices of such a change."""

SIZES_FIRST = 0.4
"""Part of the budget in which sizes alone are changed."""

SIZING_SHARE = 0.6
"""Share of the changes later on that are of a size for sure; the others are of any knob."""

GOES_ON = 0.5
"""Probability that one more knob is changed."""

DOUBT = 0.015
"""How far layers with half of a network's cost may be above the best machine's before the rest is given up.

In proportion to (rest / share): of a tenth little is known yet, of nine tenths nearly all.
"""

STALLED = 40
"""Batches without anything new to look at after which the climb ends: the space is exhausted."""


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
        Those of them whose layers were all mapped and that were the best so far.
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
    network: Network, space: HardwareSpace, *, budget: int = 1000, seed: int = 0, free: NDArray[np.bool_] | None = None
) -> BestMachine:
    """Return the best machine for a network that a climb of a given budget finds, mappings proven.

    Parameters
    ----------
    budget
        Layers that the mapper is asked for, some 1 to 20 ms each; :data:`LOOKS_PER_LAYER` machines looked at count as one.
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
    judge, looked_at, mapped = NetworkJudge(network), 0, 0
    children = _Children(space, _free(space, free), np.random.default_rng(seed))
    genome, machine, cost = space.default, None, None
    batch, idle = genome[None], 0
    while idle < STALLED and (spent := judge.layers_mapped + looked_at // LOOKS_PER_LAYER) < budget:
        keys = children.new(batch)
        looked_at += len(keys)
        idle = 0 if keys else idle + 1
        for _, key, candidate in _bounded(keys, space, judge):
            better = judge.cost(candidate, cost)
            if better is not None:
                genome, machine, cost, mapped = np.array(key, dtype=np.int64), candidate, better, mapped + 1
        batch = children.of(genome, 1.0 if spent < SIZES_FIRST * budget and not idle else SIZING_SHARE)
    if machine is None or cost is None:
        raise SearchError(f"{network.name} can run on none of {looked_at} machines of {space.name}")
    return BestMachine(genome, machine, cost.latency_s, cost.energy_j, looked_at, mapped)


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


def _bounded(
    keys: Iterable[tuple[int, ...]], space: HardwareSpace, judge: NetworkJudge
) -> list[tuple[float, tuple[int, ...], Accelerator]]:
    """Return (bound, genome, machine) of genomes, the lowest bound first, without choices that contradict each other."""
    found = []
    for key in keys:
        try:
            machine = space.target(np.array(key, dtype=np.int64))
        except DescriptionError:
            continue
        found.append((judge.floor_js(machine), key, machine))
    return sorted(found, key=lambda each: each[:2])


class _Children:
    """Where new genomes come from."""

    def __init__(self, space: HardwareSpace, free: NDArray[np.bool_], random: np.random.Generator) -> None:
        self._space, self._free, self._random = space, free, random
        self._seen: set[tuple[int, ...]] = set()
        self._knobs = np.flatnonzero(free)
        sizing = np.flatnonzero(free & space.sizing)
        self._sizing = sizing if len(sizing) else self._knobs

    def new(self, genomes: Genomes) -> list[tuple[int, ...]]:
        """Return those that were not returned before."""
        keys = [key for key in dict.fromkeys(map(tuple, genomes.tolist())) if key not in self._seen]
        self._seen.update(keys)
        return keys

    def of(self, parent: Genomes, sizing: float) -> Genomes:
        """Return a batch of canonical genomes: strangers, and copies of the parent changed, in sizes so often."""
        space = self._space
        made = np.where(self._free, space.sample_genomes(self._random, BATCH), space.default)
        for child in made[STRANGERS:]:
            child[:] = parent
            self._change(child, sizing)
        return space.canonical(made)

    def _change(self, genome: Genomes, sizing: float) -> None:
        """Change one knob of a genome (knobs,) in place, and perhaps more: to a near choice, or to any."""
        random, choices = self._random, self._space.choices_per_knob
        while True:
            knob = random.choice(self._sizing if random.random() < sizing else self._knobs)
            if random.random() < NEAR_SHARE:
                step = random.integers(1, NEAR_STEPS + 1) * random.choice((-1, 1))
                genome[knob] = np.clip(genome[knob] + step, 0, choices[knob] - 1)
            else:
                genome[knob] = random.integers(choices[knob])
            if random.random() >= GOES_ON:
                return


@dataclass(frozen=True)
class NetworkCost:
    """What a network comes to on a machine, and its layers' best mappings."""

    latency_s: float
    energy_j: float
    layers: Mapping[Layer, Found]

    @property
    def edp_js(self) -> float:
        """Energy-delay product in joule-seconds."""
        return self.latency_s * self.energy_j


class NetworkJudge:
    """What one network costs on machines: the floor, and the truth as far as it is asked for.

    `layers_mapped` counts the layers that the mapper was asked for.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._times = Counter(node.op for node in network.nodes if isinstance(node.op, Layer))
        self.layers_mapped = 0

    def floor_js(self, accelerator: Accelerator) -> float:
        """Return an energy-delay product in joule-seconds that no mappings beat."""
        return _Bound(self._network, self._times, accelerator).edp_js

    def cost(self, accelerator: Accelerator, best: NetworkCost | None = None) -> NetworkCost | None:
        """Return what the network comes to; None where a layer cannot be mapped, and where that is above `best`'s.

        None too where it hardly will be: see :data:`DOUBT`.
        """
        from accel_models.targets import asic

        bound = _Bound(self._network, self._times, accelerator)
        most_js = math.inf if best is None else best.edp_js
        shares = {layer: times * _root(bound.floors[layer]) for layer, times in self._times.items()}
        if best is not None:
            shares = {layer: times * _root(best.layers[layer][1:3]) for layer, times in self._times.items()}
        found: dict[Layer, Found] = {}
        try:
            for layer in sorted(shares, key=lambda layer: -shares[layer]):
                if bound.edp_js > most_js:
                    return None
                self.layers_mapped += 1
                goal = math.inf if best is None else self._goal(layer, found, best.layers)
                answer = _below(layer, accelerator, goal)
                if answer is None:
                    return None
                found[layer] = answer
                bound.put(layer, answer)
        except MappingError:
            return None
        cost = NetworkCost(*asic.totals(self._network, accelerator, found), found)
        return cost if cost.edp_js <= most_js else None

    def _goal(self, layer: Layer, found: Mapping[Layer, Found], best: Mapping[Layer, Found]) -> float:
        """Return the product (pJ x cycles) of a layer from which on there is little hope.

        Let E and L be what the layers in `found` come to, e and l what this one does, all times that it occurs. There is little
        hope where (E + e) (L + l) is too far above the same layers' on the best machine; and by Cauchy and Schwarz the root of
        that is at least sqrt(E L) + sqrt(e l).
        """
        now = self._sums(found, found)
        then = self._sums(best, (*found, layer))
        share = math.sqrt(math.prod(then) / math.prod(self._sums(best, best)))
        most = math.prod(then) * (1 + DOUBT * max(0.0, 1 - share) / share)
        root = math.sqrt(most * (1 + 1e-9)) - math.sqrt(math.prod(now))  # sums in another order
        return (max(root, 0.0) / self._times[layer]) ** 2

    def _sums(self, found: Mapping[Layer, Found], layers: Iterable[Layer]) -> tuple[float, float]:
        """Return pJ and cycles of some layers."""
        chosen = [(self._times[layer], found[layer]) for layer in layers]
        return sum(n * one.energy_pj for n, one in chosen), sum(n * one.latency_cycles for n, one in chosen)


class _Bound:
    """What a network costs at least on a machine of which some layers are mapped, and of the others floors are known."""

    def __init__(self, network: Network, times: Mapping[Layer, int], accelerator: Accelerator) -> None:
        from accel_models.mapper.floor import Floor

        floor = Floor(accelerator)
        self.floors = {layer: floor.of(layer) for layer in times}
        self._times, self._accelerator = times, accelerator
        self._energy_pj, self._cycles = floor.of_vector_unit(network)
        for layer, (energy_pj, cycles) in self.floors.items():
            self._energy_pj += times[layer] * energy_pj
            self._cycles += times[layer] * cycles

    @property
    def edp_js(self) -> float:
        """The bound in joule-seconds, rounding taken off: sums here and in an evaluation are in another order."""
        from accel_models.targets import asic

        return math.prod(asic.in_si_units(self._cycles, self._energy_pj, self._accelerator)) * (1 - 1e-9)

    def put(self, layer: Layer, found: Found) -> None:
        """Put what a layer costs at its best mapping in the place of its floor."""
        energy_pj, cycles = self.floors[layer]
        self._energy_pj += self._times[layer] * (found.energy_pj - energy_pj)
        self._cycles += self._times[layer] * (found.latency_cycles - cycles)


def _root(cost: tuple[float, float]) -> float:
    """Return the root of energy times latency: what of two layers is the larger."""
    return math.sqrt(math.prod(cost))


def _below(layer: Layer, accelerator: Accelerator, goal: float) -> Found | None:
    """Return the best mapping of a layer, None where its product (pJ x cycles) is not below `goal`.

    Raises
    ------
    MappingError
        If it cannot be mapped at all.
    """
    from accel_models.mapper import exact
    from accel_models.mapper.best import find
    from accel_models.plan import make_plan

    if not math.isfinite(goal) or len(accelerator.bypass_choices) > 1:
        return find(layer, accelerator, "edp", "exact", 1, 0)
    nothing = Found(np.empty(0, dtype=np.int32), goal, 1.0, 0)
    answer = exact.search(make_plan(layer, accelerator), "edp", beat=nothing)
    return None if answer.array is nothing.array else answer
