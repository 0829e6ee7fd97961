"""One search: ask, evaluate, tell, record; stop and resume.

A search is replayed to be resumed: the strategy starts anew with its seed, and the recorded evaluations answer it until
the record ends. So nothing of a strategy's inner state is ever stored, and a resumed run is the run it would have been.
"""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import cosearch
from accel_models.network_file import network_to_json
from accel_models.workload import Network
from cosearch.accuracy import estimator_for
from cosearch.accuracy._base import AccuracyEstimator
from cosearch.accuracy.quantisation import quantisation_drop
from cosearch.archive import FILE_NAME, Archive, Pair, refuse_taken
from cosearch.errors import RunError, SearchError
from cosearch.evaluate import Evaluator, MappingOptions, Outcome, Specification, evaluate_all, open_pool
from cosearch.objective import Limit, parse_objectives, to_minimise
from cosearch.results import SearchConfig, Study, config_of, nondominated, specification_of
from cosearch.space import Genomes, NetworkSpace
from cosearch.spaces.joint import FixedNetwork, JointSpace
from cosearch.strategies import Problem, make_strategy

if TYPE_CHECKING:
    from accel_models.accelerator import Accelerator
    from cosearch.accuracy._base import AccuracyEstimate

INFEASIBLE = 1e30
"""Objective value (to be minimised) of a pair whose hardware cannot run its network."""

UNMAPPABLE_VIOLATION = 1e9
"""Relative violation of such a pair: worse than any broken limit."""

PATIENCE = 50
"""Generations without a new candidate after which a search ends: the space, or the strategy, is exhausted."""

BATCHES_PER_WORKER = 4


@dataclass(frozen=True)
class Progress:
    """Where a search stands after a generation."""

    generation: int
    evaluated: int
    budget: int
    front_size: int
    feasible: int
    seconds: float


def search(
    space: str | NetworkSpace | Network,
    target: str | Accelerator,
    objectives: Sequence[str] = ("top1", "latency", "energy"),
    *,
    limits: Sequence[str] = (),
    strategy: str = "nsga2",
    budget: int = 2000,
    population: int = 100,
    seed: int = 0,
    fix_hardware: bool = False,
    mapping: MappingOptions | None = None,
    workers: int = 1,
    out: str | Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Study:
    """Search networks and hardware together.

    Parameters
    ----------
    space
        A network space (or its name); a single `Network` searches hardware alone.
    target
        A description with a `search:` section, or its name or file.
    objectives
        Names of :data:`cosearch.objective.OBJECTIVES`.
    limits
        Such as ``"area_mm2<=16"``.
    strategy
        Name of a strategy; see :func:`cosearch.strategies.strategy_names`.
    budget
        Different pairs to evaluate.
    population
        Candidates per generation.
    seed
        The same seed gives the same record, for any number of workers.
    fix_hardware
        True to keep the hardware as described.
    workers
        Processes.
    out
        Folder of the record; None keeps it in memory.
    on_progress
        Called after each generation.

    Raises
    ------
    CosearchError, AccelModelsError
        For anything asked that cannot be: names, limits, budget, a folder that holds a run already.
    """
    from accel_models.description import load_target
    from cosearch.spaces import load_space

    for name, value, least in (("budget", budget, 1), ("population", population, 2), ("workers", workers, 1)):
        if value < least:
            raise SearchError(f"{name} = {value} must be at least {least}")
    if isinstance(space, str):
        space = load_space(space)
    if isinstance(space, Network):
        space = FixedNetwork(space)
    accelerator = load_target(target) if isinstance(target, str) else target
    config = SearchConfig(
        space.name, accelerator.model_dump_json(), _fixed(space, fix_hardware), tuple(objectives),
        tuple(str(Limit.parse(limit)) for limit in limits), strategy, population, seed, mapping or MappingOptions(),
    )  # fmt: skip
    run = _Run(config, Specification(space, accelerator, fix_hardware, config.mapping), budget)
    path = None if out is None else Path(out) / FILE_NAME
    if path is not None:
        refuse_taken(path)
    references = reference_rows(run.specification)  # takes a while: before it is over, nothing is written
    archive = Archive(path, create=True)
    run.describe(archive, references)
    return run.execute(archive, workers, on_progress)


def resume(
    folder: str | Path,
    *,
    budget: int | None = None,
    workers: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
) -> Study:
    """Continue the run in `folder`, to the same or another budget.

    Raises
    ------
    RunError
        If there is no run, its record is longer than the budget, or is not what this program would have recorded.
    """
    study = Study.open(folder)
    recorded = len(study.archive.pairs())
    if budget is not None and budget < recorded:
        raise RunError(f"{folder}: {recorded} pairs are recorded already; a budget of {budget} would be less")
    if workers < 1:
        raise SearchError(f"workers = {workers} must be at least 1")
    run = _Run(config_of(study), specification_of(study), budget or study.archive.get("budget"))
    study.archive.set("budget", run.budget)
    return run.execute(study.archive, workers, on_progress)


def _fixed(space: NetworkSpace, fix_hardware: bool) -> str:
    parts = ["network"] * isinstance(space, FixedNetwork) + ["hardware"] * fix_hardware
    if len(parts) == 2:
        raise SearchError("network and hardware are both fixed: there is nothing to search; use `cosearch evaluate`")
    return " ".join(parts)


class _Run:
    """The loop of one search: what is asked, what is recorded."""

    def __init__(self, config: SearchConfig, specification: Specification, budget: int) -> None:
        self.config = config
        self.budget = budget
        self.specification = specification
        self.space: JointSpace = specification.space()
        self.objectives = parse_objectives(config.objectives)
        self.limits = [Limit.parse(limit) for limit in config.limits]
        self.estimator = self._estimator()
        problem = Problem(self.space, len(self.objectives), len(self.limits), config.population)
        self.strategy = make_strategy(config.strategy, problem, config.seed)
        self.known: dict[tuple[int, ...], Pair] = {}

    def describe(self, archive: Archive, references: list[tuple[str, str, dict[str, float]]]) -> None:
        """Write what is asked, what genes mean, and the references."""
        archive.write_knobs(self.space.knobs)
        archive.write_references(references)
        archive.set("version", cosearch.__version__)
        archive.set("budget", self.budget)
        if isinstance(self.space.networks, FixedNetwork):
            archive.set("network", network_to_json(self.space.networks.network_itself))
        archive.set("config", asdict(self.config))

    def execute(self, archive: Archive, workers: int, on_progress: Callable[[Progress], None] | None) -> Study:
        """Run the loop until the budget is spent."""
        study = Study(archive)
        recorded = archive.pairs()
        self.known = {pair.genome: pair for pair in recorded}
        self._refuse_another_model(archive, recorded)
        pickled = pickle.dumps(self.specification)
        with open_pool(workers) as executor:
            self._loop(archive, pickled, executor, workers, on_progress)
        self._refuse_hopeless()
        return study

    def _refuse_another_model(self, archive: Archive, recorded: Sequence[Pair]) -> None:
        """Evaluate one recorded pair again: a record must not mix the figures of two versions of the cost model."""
        for pair in recorded:
            if not pair.reason:
                again = Evaluator(self.specification)(np.array(pair.genome, dtype=np.int64))
                for name in ("latency_s", "energy_j", "area_mm2"):
                    now, then = getattr(again, name), pair.metrics[name]
                    if not math.isclose(now, then, rel_tol=1e-9):
                        raise RunError(
                            f"{archive.path}: recorded with another cost model ({name} of pair {pair.id} was {then:.6g}, is "
                            f"{now:.6g}); it can be looked at, not continued"
                        )
                return

    def _loop(
        self, archive: Archive, pickled: bytes, executor: Executor | None, workers: int,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:  # fmt: skip
        strategy = self.strategy
        replayed: dict[tuple[int, ...], Pair] = {}
        recorded = len(self.known)
        start, generation, idle = time.perf_counter(), 0, 0
        while len(replayed) < self.budget and idle < PATIENCE:
            generation += 1
            asked = strategy.ask()
            if not len(asked):
                break
            keys = [tuple(genome) for genome in asked.tolist()]
            fresh = list(dict.fromkeys(key for key in keys if key not in replayed))[: self.budget - len(replayed)]
            idle = 0 if fresh else idle + 1
            missing = [key for key in fresh if key not in self.known]
            if missing and len(replayed) + len(fresh) - len(missing) < recorded:
                raise RunError("the record is not what this program would have recorded; it cannot be continued")
            if missing:
                genomes = np.array(missing, dtype=np.int64)
                outcomes = evaluate_all(
                    pickled, genomes, len(self.space.hardware.knobs), executor, workers * BATCHES_PER_WORKER
                )
                pairs = self._pairs(genomes, outcomes, generation, len(self.known))
                archive.append(pairs)
                self.known.update({pair.genome: pair for pair in pairs})
            replayed.update({key: self.known[key] for key in fresh})
            if any(key not in replayed for key in keys):
                break  # the budget ended inside this generation
            answers = [replayed[key] for key in keys]
            strategy.tell(asked, self._objective_values(answers), self._violations(answers))
            if on_progress is not None:
                on_progress(self._progress(generation, replayed, time.perf_counter() - start))
        if on_progress is not None:
            on_progress(self._progress(generation, replayed, time.perf_counter() - start))

    def _pairs(self, genomes: Genomes, outcomes: Sequence[Outcome], generation: int, before: int) -> list[Pair]:
        estimate = self._estimate(genomes)
        pairs = []
        for place, (genome, outcome) in enumerate(zip(genomes.tolist(), outcomes, strict=True)):
            metrics = _figures(outcome, estimate, place)
            excess = [max(0.0, limit.violation(metrics)) for limit in self.limits]
            violation = UNMAPPABLE_VIOLATION if outcome.reason else float(sum(excess))
            pairs.append(
                Pair(
                    before + place + 1, generation, tuple(genome), violation == 0.0, violation,
                    bool(estimate.extrapolated[place]) if estimate else False, outcome.reason, metrics,
                )
            )  # fmt: skip
        return pairs

    def _estimate(self, genomes: Genomes) -> AccuracyEstimate | None:
        if self.estimator is None:
            return None
        networks, _ = self.space.split(genomes)
        return self.estimator.estimate(self.space.networks.numbers(networks))

    def _objective_values(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        values = to_minimise(self.objectives, [pair.metrics for pair in pairs])
        return np.where(np.isfinite(values), values, INFEASIBLE)

    def _violations(self, pairs: Sequence[Pair]) -> NDArray[np.float64]:
        rows = np.full((len(pairs), max(len(self.limits), 1)), -1.0)
        for row, pair in zip(rows, pairs, strict=True):
            if pair.reason:
                row[:] = UNMAPPABLE_VIOLATION
            else:
                row[: len(self.limits)] = [limit.violation(pair.metrics) for limit in self.limits]
        return rows

    def _progress(self, generation: int, pairs: dict[tuple[int, ...], Pair], seconds: float) -> Progress:
        feasible = [pair for pair in pairs.values() if pair.feasible]
        values = to_minimise(self.objectives, [pair.metrics for pair in feasible])
        size = len(nondominated(values)) if feasible else 0
        return Progress(generation, len(pairs), self.budget, size, len(feasible), seconds)

    def _estimator(self) -> AccuracyEstimator | None:
        wanted = any(objective.metric == "top1_percent" for objective in self.objectives) or any(
            limit.metric == "top1_percent" for limit in self.limits
        )
        estimator = estimator_for(self.specification.networks.name)
        if wanted and estimator is None:
            raise SearchError(
                f"nothing measured says how accurate the networks of {self.specification.networks.name!r} are, so top1 "
                "cannot be an objective or limit there; use latency, energy, edp, area, macs or params"
            )
        return estimator

    def _refuse_hopeless(self) -> None:
        pairs = list(self.known.values())
        if any(pair.feasible for pair in pairs):
            return
        runnable = [pair for pair in pairs if not pair.reason]
        if not runnable:
            raise SearchError(f"none of {len(pairs)} pairs can run at all; the last reason: {pairs[-1].reason}")
        texts = []
        for limit in self.limits:
            values = [limit.value(pair.metrics) for pair in runnable]
            texts.append(f"{limit}: best seen {min(values) if limit.sense == '<=' else max(values):.4g}")
        raise SearchError(f"no pair of {len(pairs)} evaluated keeps the limits ({'; '.join(texts)}); loosen them")


def _figures(outcome: Outcome, estimate: AccuracyEstimate | None, place: int) -> dict[str, float]:
    """Return the metrics of one pair; the estimate's errors and the quantisation's add up."""
    top1, error = math.nan, math.nan
    if estimate is not None:
        drop = quantisation_drop(outcome.bits)
        top1 = float(estimate.top1_percent[place]) - drop.points
        error = float(estimate.error_points[place]) + drop.error_points
    return {
        "top1_percent": top1,
        "top1_error_points": error,
        "latency_s": outcome.latency_s,
        "energy_j": outcome.energy_j,
        "edp_js": outcome.latency_s * outcome.energy_j,
        "area_mm2": outcome.area_mm2,
        "macs": float(outcome.macs),
        "params": float(outcome.params),
    }


def reference_rows(specification: Specification) -> list[tuple[str, str, dict[str, float]]]:
    """Return known networks with a published accuracy, evaluated on the unmodified target."""
    from accel_models.networks import NETWORKS, load_network

    rows = []
    for name in ("mobilenet-v2", "mobilenet-v3-large"):
        fixed = Specification(FixedNetwork(load_network(name)), specification.target, True, specification.mapping)
        outcome = Evaluator(fixed)(np.zeros(0, dtype=np.int64))
        if outcome.reason:
            continue
        metrics = _figures(outcome, None, 0)
        metrics["top1_percent"] = NETWORKS[name].published_top1_percent or math.nan
        rows.append((name, f"published float top-1; {specification.target.name} as described", metrics))
    return rows
