"""One strategy on a space whose costs are known: the loop and the accounting of a search, with look-ups for evaluations.

As in `cosearch.study`: a pair that was answered before costs nothing, the budget counts different pairs, and a search ends
where the strategy has nothing more to ask, or asks for nothing new `PATIENCE` times. A question about whole machines is
answered by the dynamic program over the stored costs, and costs as many pairs as it brings. A trial is refuted where a pair
known is at least as good in every objective.

What a search would have taken is worked out: the strategy's own processor time, and a price for all that was looked up. A
piece of a network is mapped once per machine; a front takes all pieces of its machine, and the dynamic program; a refuted
trial has a price of its own.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.known_space import KnownSpace, minimised
from cosearch.answers import INFEASIBLE, UNMAPPABLE_VIOLATION
from cosearch.cost_table import make_cost_table
from cosearch.errors import RunError
from cosearch.estimates import NOTHING
from cosearch.evaluate import Evaluator, Specification
from cosearch.machine_front import spread
from cosearch.objective import parse_objectives
from cosearch.results import nondominated
from cosearch.space import Genomes
from cosearch.strategies import Fronts, Problem, make_strategy
from cosearch.strategies._base import Trials
from cosearch.study import PATIENCE
from cosearch.trial import Bar, try_pairs

MOST_KEPT = 10_000_000
"""Rows of machines' fronts that one process remembers, some 70 bytes each."""


_ROUNDING = 1e-9
"""Slack of the bounds of a trial (`cosearch.trial`)."""


class Prices(NamedTuple):
    """Processor seconds: of a pair whose layers are all mapped, a piece to be mapped, a machine's front, a refuted trial."""

    pair_s: float
    piece_s: float
    front_s: float
    trial_s: float


@dataclass(frozen=True, eq=False)
class Course:
    """How one search went.

    Attributes
    ----------
    values
        float64 (pairs, objectives): of the different pairs in the order they were answered, to be minimised; `INFEASIBLE`
        where a machine cannot run the networks.
    pairs, seconds
        (generations,): how many pairs there were after each generation, and the seconds that it took until then.
    own_seconds
        Of these, at the end, the strategy's own.
    """

    values: NDArray[np.float64] = field(repr=False)
    pairs: NDArray[np.int64] = field(repr=False)
    seconds: NDArray[np.float64] = field(repr=False)
    own_seconds: float


def able(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which pairs (n,) run, by their objectives (n, objectives)."""
    running: NDArray[np.bool_] = np.all(values < INFEASIBLE, axis=1)
    return running


class MachineFronts:
    """The fronts of machines in some objectives, worked out when they are asked for; the latest ones are remembered."""

    def __init__(self, known: KnownSpace, objectives: Sequence[str]) -> None:
        self._known, self._objectives = known, tuple(objectives)
        self._kept: OrderedDict[int, tuple[NDArray[np.uint8], NDArray[np.float64]]] = OrderedDict()
        self._rows = 0

    def of(self, machine: int) -> tuple[Genomes, NDArray[np.float64]]:
        """Return network genomes (n, knobs) and objectives (n, objectives); no rows where it cannot run the networks."""
        if machine not in self._kept:
            found = self._work_out(machine)
            self._kept[machine] = found
            self._rows += len(found[0])
            while self._rows > MOST_KEPT and len(self._kept) > 1:
                _, (dropped, _) = self._kept.popitem(last=False)
                self._rows -= len(dropped)
        self._kept.move_to_end(machine)
        networks, values = self._kept[machine]
        return networks.astype(np.int64), values

    def _work_out(self, machine: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        front = self._known.network_front(machine, self._objectives)
        if front is None:
            knobs = len(self._known.space.networks.knobs)
            return np.empty((0, knobs), dtype=np.uint8), np.empty((0, len(self._objectives)))
        metrics = {name: front.metric(name) for name in ("top1_percent", "latency_s", "energy_j")}
        return front.genomes.astype(np.uint8), minimised(metrics, self._objectives)


class Race:
    """A known space and the objectives of a search, ready for any strategy."""

    def __init__(self, known: KnownSpace, objectives: Sequence[str], prices: Prices) -> None:
        self.known, self.objectives, self.prices = known, tuple(objectives), prices
        self.fronts = MachineFronts(known, objectives)

    def values(self, genomes: Genomes) -> NDArray[np.float64]:
        """Return the objectives of pairs as a search tells them: `INFEASIBLE` where there is none."""
        values = self.known.values(genomes, self.objectives)
        return np.where(np.isfinite(values), values, INFEASIBLE)

    def run(self, strategy: str, seed: int, budget: int, population: int) -> Course:
        """Run one strategy to the end of its budget, or of the largest one that it takes.

        Raises
        ------
        SearchError
            If the strategy cannot take the problem.
        """
        problem = Problem(self.known.space, len(self.objectives), 0, population)
        asking = make_strategy(strategy, problem, seed)
        budget = min(budget, asking.largest_budget or budget)
        book = _Book(self, budget)
        pairs, seconds = [], []
        own, idle = 0.0, 0
        while book.count < budget and idle < PATIENCE:
            start, before = time.thread_time(), book.count
            asked = asking.ask()
            own += time.thread_time() - start
            if isinstance(asked, Fronts):
                answer = book.fronts(asked)
            elif isinstance(asked, Trials):
                answer = book.trials(asked)
            elif len(asked):
                answer = book.pairs(asked)
            else:
                break
            if answer is not None:
                idle = 0 if book.count > before or isinstance(asked, Fronts) else idle + 1
                genomes, values = answer
                bad = np.where(able(values)[:, None], -1.0, UNMAPPABLE_VIOLATION)
                start = time.thread_time()
                asking.tell(genomes, values, bad)
                own += time.thread_time() - start
            pairs.append(book.count)
            seconds.append(own + book.price())
            if answer is None:
                break  # the budget ended inside this generation
        return Course(book.values(), np.array(pairs), np.array(seconds), own)


class _Book:
    """What was answered, and what it would have taken."""

    def __init__(self, race: Race, budget: int) -> None:
        self._race, self._budget = race, budget
        question = race.known.question
        self._row: dict[bytes, int] = {}
        self._values: list[NDArray[np.float64]] = []
        self._front = np.empty((0, len(race.objectives)))
        self._machines: set[int] = set()
        self._mapped = np.zeros((question.count, question.index.entries), dtype=np.bool_)
        self._mapped[:, -1] = True  # stands for blocks that are not there
        self._pieces = self._fronts = self._refuted = 0

    @property
    def count(self) -> int:
        """Different pairs so far, those that were refuted too."""
        return len(self._values)

    def values(self) -> NDArray[np.float64]:
        """Return the objectives of all pairs."""
        return np.array(self._values).reshape(self.count, len(self._race.objectives))

    def price(self) -> float:
        """Return the seconds that the answers so far would have taken."""
        prices = self._race.prices
        work = (len(self._row), self._pieces, self._fronts, self._refuted)
        return sum(amount * price for amount, price in zip(work, prices, strict=True))

    def pairs(self, asked: Genomes) -> tuple[Genomes, NDArray[np.float64]] | None:
        """Return pairs and their objectives; None where the budget ends before all are known."""
        keys = [genome.tobytes() for genome in asked]
        first = {key: place for place, key in reversed(list(enumerate(keys))) if key not in self._row}
        fresh = sorted(first.values())[: self._budget - self.count]
        if fresh:
            values = self._race.values(asked[fresh])
            self._map(asked[fresh])
            self._give(asked[fresh], values)
        if any(key not in self._row for key in keys):
            return None
        return asked, np.array([self._values[self._row[key]] for key in keys])

    def fronts(self, question: Fronts) -> tuple[Genomes, NDArray[np.float64]] | None:
        """Return what is new of machines' fronts; None where the budget ends before."""
        space = self._race.known.space
        answers = []
        for hardware in question.hardware:
            machine = int(self._race.known.question.machine_numbers(hardware[None])[0])
            networks, values = self._race.fronts.of(machine)
            self._pieces += int((~self._mapped[machine]).sum())
            self._mapped[machine] = True
            self._fronts += 1
            if not len(networks):
                networks = np.zeros((1, len(space.networks.knobs)), dtype=np.int64)
                values = self._race.values(np.hstack([networks[0], hardware])[None])
            genomes = np.hstack([networks, np.tile(hardware, (len(networks), 1))])
            new = self._new(genomes, values, machine, question.most)
            chosen = new[: self._budget - self.count]
            self._give(genomes[chosen], values[chosen])
            answers.append((genomes[chosen], values[chosen]))
            if len(chosen) < len(new):
                return None
        return np.concatenate([genomes for genomes, _ in answers]), np.concatenate([values for _, values in answers])

    def trials(self, question: Trials) -> tuple[Genomes, NDArray[np.float64]] | None:
        """Return the pairs that no pair known refutes; None where the budget ends before."""
        new = np.array([genome.tobytes() not in self._row for genome in question.genomes], dtype=np.bool_)
        genomes = question.genomes[new][: self._budget - self.count]
        values = self._race.values(genomes)
        least = np.where(values > 0, values * (1 - _ROUNDING), values)
        refuted = np.array([bool((self._front <= each).all(axis=1).any()) for each in least], dtype=np.bool_)
        if len(self._front):
            refuted |= ~able(values)
        complete = len(genomes) == int(new.sum())
        self._refuted += int(refuted.sum())
        self._values += list(values[refuted])  # they count, and change no front
        genomes, values = genomes[~refuted], values[~refuted]
        self._map(genomes)
        self._give(genomes, values)
        return (genomes, values) if complete else None

    def _new(self, genomes: Genomes, values: NDArray[np.float64], machine: int, most: int | None) -> NDArray[np.int64]:
        """Return the rows of a front that no pair before dominates, spread over it; at least one of a machine."""
        before = len(self._front)
        kept = nondominated(np.concatenate([self._front, values])) - before
        kept = np.array(
            [row for row in kept[kept >= 0].tolist() if genomes[row].tobytes() not in self._row], dtype=np.int64
        )
        if len(kept) and able(values).all():
            return kept[spread(values[kept], most)]
        return np.zeros(0 if machine in self._machines else 1, dtype=np.int64)

    def _map(self, genomes: Genomes) -> None:
        """Take note of the pieces that pairs need mapped."""
        question = self._race.known.question
        networks, hardware = self._race.known.space.split(genomes)
        entries = question.index.look_ups(networks)
        machines = np.broadcast_to(question.machine_numbers(hardware), entries.shape)
        pieces = np.unique(machines * question.index.entries + entries)
        mapped = self._mapped.reshape(-1)
        self._pieces += int((~mapped[pieces]).sum())
        mapped[pieces] = True

    def _give(self, genomes: Genomes, values: NDArray[np.float64]) -> None:
        """Take pairs for answered."""
        for place, genome in enumerate(genomes, len(self._values)):
            self._row[genome.tobytes()] = place
        self._values.extend(values)
        hardware = self._race.known.space.split(genomes)[1]
        self._machines.update(self._race.known.question.machine_numbers(hardware).tolist())
        feasible = values[able(values)]
        if len(feasible):
            every = np.concatenate([self._front, feasible])
            self._front = every[nondominated(every)]


def measured_prices(known: KnownSpace, objectives: Sequence[str], machines: int = 5) -> Prices:
    """Measure prices in processor time on a few random machines.

    A piece's is that of a whole machine's table, each layer mapped once, over its pieces; a trial's that of a network of the
    true front, to be refuted by that front.

    Raises
    ------
    RunError
        If a pair costs something else now than the look-up says.
    """
    question, networks = known.question, known.space.networks
    rng = np.random.default_rng(0)
    able = np.flatnonzero(~np.isnan(known.costs["area_mm2"]))
    pieces = int((~np.isnan(known.costs["macs"])).sum()) - 1
    specification = Specification(networks, question.machines, "described", question.mapping)
    evaluator = Evaluator(specification)
    front = known.fronts[tuple(objectives)]
    bar = Bar(specification, parse_objectives(objectives), (), front.values)
    spent = []
    for machine in rng.choice(able, machines + 1).tolist():
        hardware = question.hardware_genomes(np.array([machine]))[0]
        pair = np.concatenate([known.space.split(rng.choice(front.genomes))[0], hardware])
        accelerator = known.space.hardware.target(hardware)
        evaluator(pair)
        times = [time.thread_time()]
        outcome = evaluator(pair)
        times.append(time.thread_time())
        make_cost_table(networks, accelerator, question.mapping)
        times.append(time.thread_time())
        known.network_front(machine, objectives)
        times.append(time.thread_time())
        said = {**NOTHING.metrics, "top1_percent": float(known.metrics(pair[None])["top1_percent"][0])}
        try_pairs(bar, pair[None], [said], None, 1, 1)
        times.append(time.thread_time())
        spent.append(np.diff(times))
        if not math.isclose(outcome.energy_j, known.metrics(pair[None])["energy_j"][0], rel_tol=1e-9):
            raise RunError("the truth was made with another cost model; remove its file and make it again")
    pair_s, table_s, front_s, trial_s = np.mean(spent[1:], axis=0).tolist()  # the first machine's hold the compiler's
    return Prices(pair_s, table_s / pieces, front_s, trial_s)
