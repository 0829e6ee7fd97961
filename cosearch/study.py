"""One search: ask, evaluate, tell, record; stop and resume.

A search is replayed to be resumed: the strategy starts anew with its seed, and the recorded evaluations answer it until
the record ends. So nothing of a strategy's inner state is ever stored, and a resumed run is the run it would have been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import cosearch
from accel_models.network_file import network_to_json
from accel_models.workload import Network
from cosearch.accuracy import estimator_for, make_estimator
from cosearch.accuracy._base import AccuracyEstimator
from cosearch.answers import Answers, Terms, figures
from cosearch.archive import FILE_NAME, Archive, Pair, refuse_taken
from cosearch.errors import RunError, SearchError
from cosearch.estimates import NOTHING, Estimators
from cosearch.evaluate import Evaluator, MappingOptions, Specification, open_pool
from cosearch.machine_front import FrontTask, check_task
from cosearch.objective import Limit, parse_objectives
from cosearch.results import SearchConfig, Study, config_of, nondominated, specification_of
from cosearch.space import NetworkSpace
from cosearch.spaces.joint import FixedNetwork, JointSpace
from cosearch.spaces.space_file import SpaceOfFile
from cosearch.strategies import Fronts, Problem, Trials, make_strategy

if TYPE_CHECKING:
    from accel_models.accelerator import Accelerator
    from cosearch.efficiency import EfficiencyEstimator

PATIENCE = 50
"""Generations without a new candidate after which a search ends: the space, or the strategy, is exhausted."""


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
    hardware: str = "described",
    fix_hardware: bool = False,
    mapping: MappingOptions | None = None,
    estimator: str | AccuracyEstimator | None = None,
    device: str | EfficiencyEstimator | None = None,
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
    hardware
        Which machines are searched (:data:`cosearch.spaces.hardware.HARDWARE_KINDS`): ``"described"``, those of the target's
        `search:` section; ``"naas"``, NAAS's space under the target's resources; ``"naas-bits"``, the same with the bits of
        weights and activations; ``"fixed"``, the target alone.
    fix_hardware
        True to keep the hardware as described: another way to say ``hardware="fixed"``.
    estimator
        Who says how accurate networks are: an estimator, or ``"NAME"`` or ``"NAME:ARGUMENT"`` as
        :func:`cosearch.accuracy.make_estimator` takes it; None takes the space's default, if it has one.
    device
        Who says how long a measured device takes (objective ``device-latency``): an estimator, or ``"lookup:PATH"`` or
        ``"learned:PATH"`` as :func:`cosearch.efficiency.make_efficiency` takes it.
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
    hardware = _kind_of_hardware(space, hardware, fix_hardware)
    config = SearchConfig(
        space.name, accelerator.model_dump_json(), "network" if isinstance(space, FixedNetwork) else "", hardware,
        tuple(objectives), tuple(str(Limit.parse(limit)) for limit in limits), strategy, population, seed,
        mapping or MappingOptions(), estimator if isinstance(estimator, str) else getattr(estimator, "name", ""),
        device if isinstance(device, str) else getattr(device, "name", ""),
    )  # fmt: skip
    estimators = _estimators(space, estimator, device)
    run = _Run(config, Specification(space, accelerator, hardware, config.mapping), budget, estimators)
    path = None if out is None else Path(out) / FILE_NAME
    if path is not None:
        refuse_taken(path)
    references = (
        reference_rows(run.specification) if estimators.comparable else []
    )  # a while: nothing is written before
    archive = Archive(path, create=True)
    run.describe(archive, references)
    return run.execute(archive, workers, on_progress)


def resume(
    folder: str | Path,
    *,
    budget: int | None = None,
    workers: int = 1,
    space: NetworkSpace | None = None,
    estimator: AccuracyEstimator | None = None,
    device: EfficiencyEstimator | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Study:
    """Continue the run in `folder`, to the same or another budget.

    A space or an estimator that was not given by name has to be given again, as it was to :func:`search`.

    Raises
    ------
    RunError
        If there is no run, its record is longer than the budget, or is not what this program would have recorded.
    """
    study = Study.open(folder)
    looked_at = study.archive.looked_at()
    if budget is not None and budget < looked_at:
        raise RunError(f"{folder}: {looked_at} pairs were looked at already; a budget of {budget} would be less")
    if workers < 1:
        raise SearchError(f"workers = {workers} must be at least 1")
    config, specification = config_of(study), specification_of(study, space)
    estimators = _estimators(specification.networks, estimator or config.estimator, device or config.device)
    run = _Run(config, specification, budget or study.archive.get("budget"), estimators)
    study.archive.set("budget", run.budget)
    return run.execute(study.archive, workers, on_progress)


def _estimators(
    space: NetworkSpace, accuracy: str | AccuracyEstimator | None, device: str | EfficiencyEstimator | None
) -> Estimators:  # fmt: skip
    """Return who says what of a space's networks; by default who is there for this space."""
    if isinstance(accuracy, str) and accuracy:
        accuracy = make_estimator(accuracy, space)
    if isinstance(device, str) and device:
        from cosearch.efficiency import make_efficiency

        device = make_efficiency(device, space)
    return Estimators(accuracy or estimator_for(space), device or None)


def _kind_of_hardware(space: NetworkSpace, hardware: str, fix: bool) -> str:
    """Return which machines are searched, if that and the networks leave something to search."""
    if fix and hardware not in ("described", "fixed"):
        raise SearchError(
            f"the hardware is to be fixed and to be searched in the space {hardware!r}: ask for one of them"
        )
    kind = "fixed" if fix else hardware
    if kind == "fixed" and isinstance(space, FixedNetwork):
        raise SearchError("network and hardware are both fixed: there is nothing to search; use `cosearch evaluate`")
    return kind


class _Run:
    """The loop of one search: what is asked, what is recorded."""

    def __init__(
        self, config: SearchConfig, specification: Specification, budget: int, estimators: Estimators
    ) -> None:  # fmt: skip
        self.config = config
        self.budget = budget
        self.specification = specification
        self.space: JointSpace = specification.space()
        self.terms = Terms(parse_objectives(config.objectives), tuple(Limit.parse(limit) for limit in config.limits))
        self.estimators = estimators
        self._refuse_unsaid()
        problem = Problem(self.space, len(self.terms.objectives), len(self.terms.limits), config.population)
        self.strategy = make_strategy(config.strategy, problem, config.seed)
        most = self.strategy.largest_budget
        if most is not None and budget > most:
            raise SearchError(f"strategy {config.strategy!r}: it takes a budget of at most {most}, not {budget}")
        self.task = FrontTask(specification, self.terms.metrics, self.terms.limits, estimators)
        if self.strategy.asks_fronts and self.space.networks.knobs:
            check_task(self.task)

    def describe(self, archive: Archive, references: list[tuple[str, str, dict[str, float]]]) -> None:
        """Write what is asked, what genes mean, and the references."""
        archive.write_knobs(self.space.knobs)
        archive.write_references(references)
        archive.set("version", cosearch.__version__)
        archive.set("budget", self.budget)
        if isinstance(self.space.networks, FixedNetwork):
            archive.set("network", network_to_json(self.space.networks.network_itself))
        if isinstance(self.specification.networks, SpaceOfFile):  # whose file the record then needs no more
            archive.set("space", self.specification.networks.arguments)
        if self.estimators.accuracy:
            archive.set("titles", {self.estimators.accuracy.quantity: self.estimators.scale})
            archive.set("accuracy_note", self.estimators.accuracy.note)
        archive.set("config", asdict(self.config))

    def execute(self, archive: Archive, workers: int, on_progress: Callable[[Progress], None] | None) -> Study:
        """Run the loop until the budget is spent."""
        study = Study(archive)
        self._refuse_another_model(archive)
        with open_pool(workers) as executor:
            answers = Answers(archive, self.task, self.terms, self.budget, executor, workers)
            self._loop(answers, on_progress)
        self._refuse_hopeless(list(answers.known.values()))
        return study

    def _refuse_another_model(self, archive: Archive) -> None:
        """Evaluate one recorded pair again: a record must not mix the figures of two versions of the cost model."""
        for pair in archive.pairs("id = (SELECT MIN(id) FROM pairs WHERE reason = '')"):
            genome = np.array(pair.genome, dtype=np.int64)
            networks, _ = self.space.split(genome[None])
            estimate = self.estimators.judge(self.space.networks.numbers(networks))[0]
            again = figures(Evaluator(self.specification)(genome), estimate)
            for name, then in pair.metrics.items():
                now = again[name]
                if not (math.isclose(now, then, rel_tol=1e-9) or (math.isnan(now) and math.isnan(then))):
                    what = "another estimator" if name in NOTHING.metrics else "another cost model"
                    raise RunError(
                        f"{archive.path}: recorded with {what} ({name} of pair {pair.id} was {then:.6g}, is {now:.6g}); it "
                        "can be looked at, not continued"
                    )

    def _loop(self, answers: Answers, on_progress: Callable[[Progress], None] | None) -> None:
        start, generation, idle = time.perf_counter(), 0, 0
        while answers.looked_at < self.budget and idle < PATIENCE:
            generation += 1
            before = len(answers.given)
            asked = self.strategy.ask()
            if isinstance(asked, Fronts):
                answer = answers.fronts(asked, generation)
            elif isinstance(asked, Trials):
                answer = answers.trials(asked, generation)
            elif len(asked):
                answer = answers.pairs(asked, generation)
            else:
                break
            if answer is None:
                break  # the budget ended inside this generation
            idle = 0 if len(answers.given) > before or isinstance(asked, Fronts) else idle + 1
            genomes = np.array([pair.genome for pair in answer], dtype=np.int64).reshape(
                len(answer), len(self.space.knobs)
            )
            self.strategy.tell(genomes, self.terms.values(answer), self.terms.violations(answer))
            if on_progress is not None:
                on_progress(self._progress(generation, answers, time.perf_counter() - start))
        if on_progress is not None:
            on_progress(self._progress(generation, answers, time.perf_counter() - start))

    def _progress(self, generation: int, answers: Answers, seconds: float) -> Progress:
        feasible = [pair for pair in answers.given.values() if pair.feasible]
        size = len(nondominated(self.terms.values(feasible))) if feasible else 0
        return Progress(generation, answers.looked_at, self.budget, size, len(feasible), seconds)

    def _refuse_unsaid(self) -> None:
        """Refuse objectives and limits about what nobody says of this space's networks."""
        wanted = {*self.terms.metrics, *(limit.metric for limit in self.terms.limits)}
        name = self.specification.networks.name
        if "top1_percent" in wanted - self.estimators.metrics:
            raise SearchError(
                f"nothing measured says how accurate the networks of {name!r} are, so top1 cannot be an objective or limit "
                "there; name an estimator (--estimator; `cosearch list estimators`), or use latency, energy, edp, area, macs "
                "or params"
            )
        if "proxy_score" in wanted - self.estimators.metrics:
            raise SearchError(
                "the objective proxy is a score: name who gives it, such as --estimator zero-cost:synflow"
            )
        if "device_latency_s" in wanted - self.estimators.metrics:
            raise SearchError(
                "device-latency is what a device takes: name its table, such as --device lookup:TABLE.yaml"
            )

    def _refuse_hopeless(self, pairs: Sequence[Pair]) -> None:
        if any(pair.feasible for pair in pairs):
            return
        runnable = [pair for pair in pairs if not pair.reason]
        if not runnable:
            raise SearchError(f"none of {len(pairs)} pairs can run at all; the last reason: {pairs[-1].reason}")
        texts = []
        for limit in self.terms.limits:
            values = [limit.value(pair.metrics) for pair in runnable]
            texts.append(f"{limit}: best seen {min(values) if limit.sense == '<=' else max(values):.4g}")
        raise SearchError(f"no pair of {len(pairs)} evaluated keeps the limits ({'; '.join(texts)}); loosen them")


def reference_rows(specification: Specification) -> list[tuple[str, str, dict[str, float]]]:
    """Return known networks with a published accuracy, evaluated on the unmodified target."""
    from accel_models.networks import NETWORKS, load_network

    rows = []
    for name in ("mobilenet-v2", "mobilenet-v3-large"):
        fixed = Specification(FixedNetwork(load_network(name)), specification.target, "fixed", specification.mapping)
        outcome = Evaluator(fixed)(np.zeros(0, dtype=np.int64))
        if outcome.reason:
            continue
        metrics = figures(outcome)
        metrics["top1_percent"] = NETWORKS[name].published_top1_percent or math.nan
        rows.append((name, f"published float top-1; {specification.target.name} as described", metrics))
    return rows
