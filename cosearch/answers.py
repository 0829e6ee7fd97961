"""What a strategy asks is answered from the record as far as it goes, then by evaluating; and recorded.

Three kinds of questions: pairs; the fronts of whole machines; and pairs to be tried, most of which are refuted. All are
answered in the order they are asked in. What they add to the record counts towards the budget, and so does what is refuted.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from accel_models.errors import DescriptionError
from cosearch.accuracy.quantisation import LOSSLESS_BITS, narrowest_bits
from cosearch.archive import Answer, Archive, Pair
from cosearch.errors import RunError
from cosearch.estimates import NOTHING, Estimate
from cosearch.evaluate import Outcome, evaluate_all
from cosearch.machine_front import FrontTask, machine_fronts, spread
from cosearch.objective import Limit, Objective, to_minimise
from cosearch.results import nondominated
from cosearch.space import Genomes
from cosearch.strategies import Fronts, Trials
from cosearch.trial import Bar, try_pairs

INFEASIBLE = 1e30
"""Objective value (to be minimised) of a pair whose hardware cannot run its network."""

UNMAPPABLE_VIOLATION = 1e9
"""Relative violation of such a pair: worse than any broken limit."""

BATCHES_PER_WORKER = 4

Key = tuple[int, ...]


@dataclass(frozen=True)
class Terms:
    """What a search is about: its objectives and its limits."""

    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objectives' metrics."""
        return tuple(objective.metric for objective in self.objectives)

    def values(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """Return the objectives of pairs (pairs, objectives), to be minimised, finite."""
        values = to_minimise(self.objectives, [pair.metrics for pair in pairs])
        return np.where(np.isfinite(values), values, INFEASIBLE)

    def violations(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        """Return the relative excess of pairs over each limit, (pairs, limits or 1)."""
        rows = np.full((len(pairs), max(len(self.limits), 1)), -1.0)
        for row, pair in zip(rows, pairs, strict=True):
            if pair.reason:
                row[:] = UNMAPPABLE_VIOLATION
            else:
                row[: len(self.limits)] = [limit.violation(pair.metrics) for limit in self.limits]
        return rows


class Answers:
    """Answers the questions of one run, in turn.

    Parameters
    ----------
    archive
        The record; what it holds already answers first.
    task
        What evaluations depend on.
    terms
        Objectives and limits.
    budget
        Most different pairs.
    executor, workers
        Who evaluates: this process where there is no executor.

    Attributes
    ----------
    given
        The pairs that were answers so far.
    known
        All pairs of the record.
    refuted
        How many pairs were refuted so far.
    """

    def __init__(
        self, archive: Archive, task: FrontTask, terms: Terms, budget: int, executor: Executor | None, workers: int
    ) -> None:  # fmt: skip
        self.given: dict[Key, Pair] = {}
        self.refuted = 0
        self.known: dict[Key, Pair] = {pair.genome: pair for pair in archive.pairs()}
        self._by_id = {pair.id: pair for pair in self.known.values()}
        self._recorded = len(self.known)
        self._archive, self._task, self._terms = archive, task, terms
        self._budget, self._executor, self._workers = budget, executor, workers
        self._space = task.specification.space()
        self._pickled = pickle.dumps(task.specification)
        self._machines: set[Key] = set()
        self._front_values = np.empty((0, len(terms.objectives)))

    def pairs(self, asked: Genomes, generation: int) -> list[Pair] | None:
        """Return the pairs of genomes (n, knobs), in their order; None where the budget ends before all are evaluated.

        Raises
        ------
        RunError
            If the record is of another program, or cannot be written.
        """
        keys = [tuple(genome) for genome in asked.tolist()]
        fresh = list(dict.fromkeys(key for key in keys if key not in self.given))[: self._left]
        missing = [key for key in fresh if key not in self.known]
        if missing:
            genomes = np.array(missing, dtype=np.int64)
            outcomes = evaluate_all(
                self._pickled,
                genomes,
                len(self._space.hardware.knobs),
                self._executor,
                self._workers * BATCHES_PER_WORKER,
            )
            self._record(self._made(genomes, outcomes, generation), reused=len(fresh) - len(missing))
        self._give([self.known[key] for key in fresh])
        return [self.given[key] for key in keys] if all(key in self.given for key in keys) else None

    def fronts(self, question: Fronts, generation: int) -> list[Pair] | None:
        """Return the pairs that answer a front question, machine by machine; None where the budget ends before.

        Raises
        ------
        RunError
            As :meth:`pairs`.
        """
        answer: list[Pair] = []
        done = [answer for answer in self._archive.answers(generation) if answer.complete]
        for one in done:
            answer += self._again(one)
        rest = question.hardware[len(done) :]
        for machine, found in zip(rest, machine_fronts(self._task, rest, self._executor, self._workers), strict=True):
            key = tuple(machine.tolist())
            networks = np.zeros((1, len(self._space.networks.knobs)), dtype=np.int64)
            networks = networks if found.front is None else found.front.genomes
            genomes = np.hstack([networks, np.tile(machine, (len(networks), 1))])
            new = self._new(self._made(genomes, found.outcomes(), generation), key, question.most)
            complete = len(new) <= self._left
            answer += self._answer(new[: self._left], Answer(generation, key, question.most, complete, 0, ()))
            if not complete:
                return None
        return answer

    def trials(self, question: Trials, generation: int) -> list[Pair] | None:
        """Return the pairs of a question that were not refuted, in their order; None where the budget ends before.

        Raises
        ------
        RunError
            As :meth:`pairs`.
        """
        done = [answer for answer in self._archive.answers(generation) if answer.complete]
        if done:
            return self._again(done[0])
        new = [genome for genome in question.genomes if tuple(genome.tolist()) not in self.given]
        genomes = np.array(new[: self._left], dtype=np.int64).reshape(-1, len(self._space.knobs))
        bar = Bar(self._task.specification, self._terms.objectives, self._terms.limits, self._front_values)
        outcomes = try_pairs(
            bar, genomes, self._estimated(genomes), self._executor, self._workers, self._workers * BATCHES_PER_WORKER
        )
        kept = [place for place, outcome in enumerate(outcomes) if outcome is not None]
        pairs = self._made(genomes[kept], [outcome for outcome in outcomes if outcome is not None], generation)
        complete = len(genomes) == len(new)
        pairs = self._answer(pairs, Answer(generation, None, None, complete, len(genomes) - len(kept), ()))
        return pairs if complete else None

    @property
    def looked_at(self) -> int:
        """How many pairs count towards the budget so far."""
        return len(self.given) + self.refuted

    @property
    def _left(self) -> int:
        return self._budget - self.looked_at

    def _again(self, answer: Answer) -> list[Pair]:
        """Give what the record says was the answer."""
        pairs = [self._by_id[key] for key in answer.pairs]
        self._give(pairs, answer.refuted)
        return pairs

    def _answer(self, pairs: Sequence[Pair], answer: Answer) -> list[Pair]:
        """Record pairs as an answer, and give them."""
        fresh = [pair for pair in pairs if pair.genome not in self.known]
        reused = len(pairs) - len(fresh)  # of a run that ended inside this answer: the beginning of it
        if any(pair.genome not in self.known for pair in pairs[:reused]):
            raise _another_record()
        fresh = [replace(pair, id=len(self.known) + place) for place, pair in enumerate(fresh, 1)]
        given = [self.known[pair.genome] for pair in pairs[:reused]] + fresh
        self._record(fresh, replace(answer, pairs=tuple(pair.id for pair in given)), reused=reused)
        self._give(given, answer.refuted)
        return given

    def _new(self, pairs: Sequence[Pair], machine: Key, most: int | None) -> list[Pair]:
        """Return the pairs of a machine's front that nothing given dominates, spread over it; at least one of a machine."""
        feasible = [pair for pair in pairs if pair.feasible and pair.genome not in self.given]
        values = np.concatenate([self._front_values, self._terms.values(feasible)])
        before = len(self._front_values)
        new = [feasible[place - before] for place in nondominated(values) if place >= before]
        if new:
            return [new[place] for place in spread(self._terms.values(new), most)]
        return [] if machine in self._machines else [min(pairs, key=lambda pair: pair.violation)]

    def _give(self, pairs: Sequence[Pair], refuted: int = 0) -> None:
        """Take pairs for given, and others for refuted."""
        self.refuted += refuted
        self.given.update({pair.genome: pair for pair in pairs})
        self._machines.update(pair.genome[len(self._space.networks.knobs) :] for pair in pairs)
        feasible = [pair for pair in pairs if pair.feasible]
        values = np.concatenate([self._front_values, self._terms.values(feasible)])
        self._front_values = values[nondominated(values)] if feasible else values

    def _record(self, pairs: Sequence[Pair], answer: Answer | None = None, *, reused: int) -> None:
        """Write pairs, and the answer that they are, at once; `reused` of the record's own are given before them."""
        if pairs and len(self.given) + reused < self._recorded:
            raise _another_record()
        self._archive.append(pairs, answer)
        self.known.update({pair.genome: pair for pair in pairs})
        self._by_id.update({pair.id: pair for pair in pairs})

    def _made(self, genomes: Genomes, outcomes: Sequence[Outcome], generation: int) -> list[Pair]:
        """Return evaluated genomes (n, knobs) as the next pairs of the record."""
        pairs = []
        rows = zip(genomes.tolist(), outcomes, self._estimates(genomes), strict=True)
        for place, (genome, outcome, estimate) in enumerate(rows):
            metrics = figures(outcome, estimate)
            excess = [max(0.0, limit.violation(metrics)) for limit in self._terms.limits]
            violation = UNMAPPABLE_VIOLATION if outcome.reason else float(sum(excess))
            pairs.append(
                Pair(
                    len(self.known) + place + 1, generation, tuple(genome), violation == 0.0, violation,
                    estimate.extrapolated, outcome.reason, metrics,
                )
            )  # fmt: skip
        return pairs

    def _estimated(self, genomes: Genomes) -> list[dict[str, float]]:
        """Return what is said of each pair's network on its machine."""
        if not len(genomes):
            return []
        machines, place = np.unique(self._space.split(genomes)[1], axis=0, return_inverse=True)
        bits = np.array([self._bits(machine) for machine in machines])[place.ravel()].tolist()
        return [one.on(width) for one, width in zip(self._estimates(genomes), bits, strict=True)]

    def _bits(self, machine: Genomes) -> int:
        """Return the narrower of a machine's weights and inputs; of a genome that describes no machine, enough."""
        try:
            return narrowest_bits(self._space.hardware.target(machine))
        except DescriptionError:
            return LOSSLESS_BITS

    def _estimates(self, genomes: Genomes) -> list[Estimate]:
        networks, _ = self._space.split(genomes)
        return self._task.estimators.judge(self._space.networks.numbers(networks))


def _another_record() -> RunError:
    return RunError("the record is not what this program would have recorded; it cannot be continued")


def figures(outcome: Outcome, estimate: Estimate = NOTHING) -> dict[str, float]:
    """Return the metrics of one pair; the estimate's errors and the quantisation's add up."""
    return {
        **estimate.on(outcome.bits),
        "latency_s": outcome.latency_s,
        "energy_j": outcome.energy_j,
        "edp_js": outcome.latency_s * outcome.energy_j,
        "area_mm2": outcome.area_mm2,
        "macs": float(outcome.macs),
        "params": float(outcome.params),
    }
