"""Time to the proven best mapping: ``python -m benchmarks.mapper``.

Every distinct layer of ResNet-50, MobileNetV2, VGG16 and the largest OFA-MobileNetV3 network, on five accelerators, each
with its own dataflow and with a free one (any dim along any axis, in any loop). Two tables: nothing kept from one layer to
the next, and everything kept that the mapper keeps (empty at the start). Times are processor time per layer and objective,
on one core; compilation (or the loading of compiled code) is timed apart. Two groups are summed up: `constrained` (native
dataflows, and free ones of machines with at most three levels) and `free` (all other free dataflows).

``--samplers`` gives each sampling mapper ten times the exact mapper's time and prints the gap that it leaves; ``--pairs``
measures whole evaluations of pairs, random networks of the OFA-MobileNetV3 space on random hardware.
"""

from __future__ import annotations

import functools
import json
import resource
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from accel_models.accelerator import Accelerator, Axis, Fanout, TemporalRules
from accel_models.description import load_target
from accel_models.errors import MappingError, UnknownNameError, unknown_name
from accel_models.mapper.base import OBJECTIVES, MappingResult
from accel_models.mapper.best import MAPPERS, best_mapping
from accel_models.networks import load_network
from accel_models.targets.asic import evaluate
from accel_models.workload import Layer, Network
from benchmarks.command import run
from cosearch.spaces.hardware import DescribedHardware
from cosearch.spaces.ofa_mobilenet_v3 import OfaMobileNetV3

TARGETS = ("eyeriss", "nvdla_256", "nvdla_1024", "edge_tpu", "shidiannao")
NETWORKS = ("resnet50", "mobilenet-v2", "vgg16", "ofa-largest")
DATAFLOWS = ("native", "free")
GROUPS = ("constrained", "free")
SAMPLER_TIME = 10
"""A sampler's share of time: so many times what the exact mapper took."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """One layer to be mapped."""

    target: str
    dataflow: str
    objective: str
    layer: Layer
    accelerator: Accelerator

    @property
    def group(self) -> str:
        """Which of :data:`GROUPS` the problem counts for."""
        few = len(self.accelerator.levels) <= 3
        return "constrained" if self.dataflow == "native" or few else "free"


@dataclass(frozen=True)
class Measured:
    """What one search took, in milliseconds of processor time, and its answer; None where the layer cannot be mapped."""

    problem: Problem
    ms: float
    result: MappingResult | None


def free_dataflow(accelerator: Accelerator) -> Accelerator:
    """Return an accelerator without rules: any dim in any temporal loop, and along any axis that has a length."""
    levels = [
        level.model_copy(
            update={
                "temporal": TemporalRules(),
                "fanout": Fanout(x=Axis(size=level.fanout.x.size), y=Axis(size=level.fanout.y.size)),
            }
        )
        for level in accelerator.levels
    ]
    return accelerator.model_copy(update={"levels": tuple(levels)})


def largest_network() -> Network:
    """Return the OFA-MobileNetV3 network with the largest value of every knob."""
    space = OfaMobileNetV3()
    return space.network(np.array([len(knob.choices) - 1 for knob in space.knobs]))


def layers_of(networks: Iterable[str]) -> list[Layer]:
    """Return every layer shape of some networks once, in order of appearance."""
    found: dict[Layer, None] = {}
    for name in networks:
        network = largest_network() if name == "ofa-largest" else load_network(name)
        found |= dict.fromkeys(network.distinct_layers)
    return list(found)


def problems_of(
    targets: Sequence[str], networks: Sequence[str], dataflows: Sequence[str], objectives: Sequence[str]
) -> list[Problem]:
    """Return all problems, target by target."""
    layers = layers_of(networks)
    return [
        Problem(target, dataflow, objective, layer, accelerator)
        for target in targets
        for dataflow in dataflows
        for accelerator in [load_target(target) if dataflow == "native" else free_dataflow(load_target(target))]
        for objective in objectives
        for layer in layers
    ]


def forget() -> None:
    """Drop all that mappers keep from one call to the next: what small caches of their modules hold."""
    for name, module in list(sys.modules.items()):
        if name == "accel_models.plan" or name.startswith("accel_models.mapper."):
            for member in vars(module).values():
                if isinstance(member, functools._lru_cache_wrapper):
                    member.cache_clear()


def search(problem: Problem, mapper: str, **options: Any) -> MappingResult | None:
    """Return a mapper's answer, None where it finds no mapping."""
    try:
        return best_mapping(problem.layer, problem.accelerator, problem.objective, mapper=mapper, **options)
    except MappingError:
        return None


def compile_seconds(problems: Sequence[Problem], mapper: str) -> float:
    """Search one small layer for every accelerator and objective; return the wall-clock seconds: mostly compilation."""
    start = time.perf_counter()
    small = Layer(K=8, C=8, P=4, Q=4, R=3, S=3)
    for objective, accelerator in dict.fromkeys((each.objective, each.accelerator) for each in problems):
        search(Problem("", "", objective, small, accelerator), mapper, effort=1)
    return time.perf_counter() - start


def measure(problems: Sequence[Problem], mapper: str, time_limit_s: float | None, *, keep: bool) -> list[Measured]:
    """Search all problems one after the other; with `keep`, what a mapper keeps serves the problems after it."""
    forget()
    measured = []
    for problem in problems:
        if not keep:
            forget()
        start = time.process_time()
        result = search(problem, mapper, time_limit_s=time_limit_s)
        measured.append(Measured(problem, 1e3 * (time.process_time() - start), result))
    return measured


def summary(measured: Sequence[Measured]) -> Json:
    """Return counts, and the median, the 95th percentile and the largest time (ms) of all that can be mapped."""
    results = [each for each in measured if each.result is not None]
    figures: Json = {
        "problems": len(results),
        "proven": sum(each.result is not None and each.result.optimal for each in results),
        "unmappable": len(measured) - len(results),
    }
    times = [each.ms for each in results]
    median, p95, most = np.percentile(times, [50, 95, 100]) if times else (None, None, None)
    return {
        **figures,
        **{
            key: None if value is None else float(value)
            for key, value in (("median_ms", median), ("p95_ms", p95), ("max_ms", most))
        },
    }


def rows_of(measured: Sequence[Measured]) -> dict[tuple[str, str, str], list[Measured]]:
    """Return the measurements by target, dataflow and objective."""
    rows: dict[tuple[str, str, str], list[Measured]] = {}
    for each in measured:
        rows.setdefault((each.problem.target, each.problem.dataflow, each.problem.objective), []).append(each)
    return rows


def table(title: str, measured: Sequence[Measured]) -> list[str]:
    """Return a table of times by target, dataflow and objective, and by group."""
    lines = [
        "", title,
        f"{'target':<14}{'dataflow':<13}{'objective':<11}{'layers':>7}{'proven':>8}{'median ms':>12}{'p95 ms':>10}{'max ms':>10}",
    ]  # fmt: skip
    rows = [(*place, each) for place, each in rows_of(measured).items()]
    rows += [("all", group, "all", [each for each in measured if each.problem.group == group]) for group in GROUPS]
    for target, dataflow, objective, each in rows:
        figures = summary(each)
        if not figures["problems"]:
            continue
        line = f"{target:<14}{dataflow:<13}{objective:<11}{figures['problems']:>7}"
        line += f"{figures['proven'] / figures['problems']:>8.1%}{figures['median_ms']:>12.2f}"
        line += f"{figures['p95_ms']:>10.2f}{figures['max_ms']:>10.1f}"
        lines.append(line + (f"  {figures['unmappable']} cannot be mapped" if figures["unmappable"] else ""))
    return lines


def gap_of(each: Measured, sampler: str, most_s: float) -> float | None:
    """Return how far a sampler stays above the proven optimum (0.01: one per cent) in ten times the exact mapper's time.

    It never takes more than `most_s`. Its effort is chosen by time: short runs tell its speed, a long one takes what is
    left. None where it finds nothing; -1 where it maps a layer that the exact mapper refuses.
    """
    budget_s, spent, effort, tried, values = min(most_s, SAMPLER_TIME * each.ms * 1e-3), 0.0, 64, 0, []
    while spent < budget_s and effort >= 16:
        start = time.process_time()
        found = search(each.problem, sampler, effort=effort, seed=tried)
        spent += time.process_time() - start
        tried += effort
        values += [found.objective_value] if found else []
        effort = min(int(tried * (budget_s - spent) / spent), 20 * effort)
    if not values:
        return None
    return -1.0 if each.result is None else min(values) / each.result.objective_value - 1


def gaps(
    measured: Sequence[Measured], samplers: Sequence[str], most_s: float
) -> dict[str, dict[tuple[str, str, str], list[float | None]]]:
    """Return the gaps of every sampler, by target, dataflow and objective, where the answer is proven."""
    found: dict[str, dict[tuple[str, str, str], list[float | None]]] = {}
    for sampler in samplers:
        compile_seconds([each.problem for each in measured], sampler)
        for place, rows in rows_of(measured).items():
            proven = [each for each in rows if each.result is None or each.result.optimal]
            found.setdefault(sampler, {})[place] = [gap_of(each, sampler, most_s) for each in proven]
    return found


def gap_summary(row: Sequence[float | None]) -> Json:
    """Return median, 95th percentile and largest gap, how many are none, and how often the sampler found no mapping."""
    known = [gap for gap in row if gap is not None]
    median, p95, most = (float(value) for value in np.percentile(known, [50, 95, 100])) if known else (None, None, None)
    return {
        "problems": len(row), "optimal": sum(gap <= 1e-9 for gap in known), "nothing_found": len(row) - len(known),
        "below_optimum": sum(gap < -1e-9 for gap in known), "median": median, "p95": p95, "max": most,
    }  # fmt: skip


def gap_table(found: dict[str, dict[tuple[str, str, str], list[float | None]]]) -> list[str]:
    """Return a table of what samplers miss."""
    lines = [
        "", f"what samplers leave above the optimum in {SAMPLER_TIME} times the exact mapper's time",
        f"{'sampler':<10}{'target':<14}{'dataflow':<10}{'objective':<11}{'layers':>7}{'optimal':>9}"
        f"{'median':>9}{'p95':>10}{'max':>10}",
    ]  # fmt: skip
    for sampler, rows in found.items():
        for (target, dataflow, objective), row in rows.items():
            figures = gap_summary(row)
            line = (
                f"{sampler:<10}{target:<14}{dataflow:<10}{objective:<11}{figures['problems']:>7}{figures['optimal']:>9}"
            )
            if figures["median"] is not None:
                line += f"{figures['median']:>9.2%}{figures['p95']:>10.2%}{figures['max']:>10.1%}"
            line += f"  nothing found: {figures['nothing_found']}" if figures["nothing_found"] else ""
            lines.append(line + ("  BELOW THE OPTIMUM" if figures["below_optimum"] else ""))
    return lines


def pairs_per_second(count: int, target: str, mapper: str, seed: int = 0) -> float:
    """Evaluate random networks on random hardware, new for each; return the pairs per second of processor time.

    Pairs that cannot be mapped count: a search meets them too. What the mapper keeps stays from pair to pair.
    """
    networks, hardware = OfaMobileNetV3(), DescribedHardware(load_target(target))
    chance = np.random.default_rng(seed)
    pairs = [
        (networks.network(genome), hardware.target(genes))
        for genome, genes in zip(
            networks.sample_genomes(chance, count), hardware.sample_genomes(chance, count), strict=True
        )
    ]
    start = time.process_time()
    for network, accelerator in pairs:
        try:
            evaluate(network, accelerator, objective="edp", mapper=mapper)
        except MappingError:
            continue
    return count / (time.process_time() - start)


def peak_mib() -> float:
    """Return the largest memory of this process so far, in MiB."""
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / (2**20 if sys.platform == "darwin" else 2**10)


def slowest(measured: Sequence[Measured], count: int = 5) -> list[str]:
    """Return the problems that took longest."""
    lines = ["", "slowest:"]
    for each in sorted(measured, key=lambda each: -each.ms)[:count]:
        problem, result = each.problem, each.result
        lines.append(
            f"{each.ms:>10.1f} ms  {problem.layer} on {problem.target} ({problem.dataflow}), {problem.objective}; "
            + ("cannot be mapped" if result is None else f"{result.evaluated} evaluated, proven: {result.optimal}")
        )
    return lines


def figures_of(uncached: Sequence[Measured], cached: Sequence[Measured]) -> Json:
    """Return the figures of both tables: of all problems, of each group, and of each row."""
    whole = summary(uncached)
    figures: Json = {key: whole[key] for key in ("problems", "proven", "unmappable")}
    for name, measured in (("", uncached), ("cached_", cached)):
        for group in GROUPS:
            figures[name + group] = summary([each for each in measured if each.problem.group == group])
        figures[name + "rows"] = [
            {"target": target, "dataflow": dataflow, "objective": objective, **summary(rows)}
            for (target, dataflow, objective), rows in rows_of(measured).items()
        ]
    return figures


def names(text: str, allowed: Iterable[str], kind: str) -> list[str]:
    """Return the names of a comma-separated list.

    Raises
    ------
    UnknownNameError
        If one is not allowed.
    """
    allowed, found = tuple(allowed), text.split(",")
    for name in found:
        if name not in allowed:
            raise UnknownNameError(unknown_name(kind, name, allowed))
    return found


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)


def main(
    targets: Annotated[str, typer.Option(help="Comma-separated names.")] = ",".join(TARGETS),
    networks: Annotated[str, typer.Option(help="Comma-separated names.")] = ",".join(NETWORKS),
    dataflows: Annotated[str, typer.Option(help="native, free or both.")] = ",".join(DATAFLOWS),
    objectives: Annotated[str, typer.Option(help="Comma-separated names.")] = ",".join(OBJECTIVES),
    mapper: Annotated[str, typer.Option(help="Whose time is measured.")] = "exact",
    time_limit: Annotated[float, typer.Option(min=0.001, help="Seconds per layer.")] = 10.0,
    samplers: Annotated[bool, typer.Option("--samplers", help="Also measure what samplers miss.")] = False,
    sampler_limit: Annotated[float, typer.Option(min=0.01, help="Most seconds of a sampler per layer.")] = 60.0,
    pairs: Annotated[int, typer.Option(min=0, help="Random pairs on eyeriss to evaluate.")] = 20,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Measure the time to the best mapping of each layer; exit 1 where a sampler finds a better one."""
    problems = problems_of(
        names(targets, TARGETS, "target"), names(networks, NETWORKS, "network"),
        names(dataflows, DATAFLOWS, "dataflow"), names(objectives, OBJECTIVES, "objective"),
    )  # fmt: skip
    compiling = compile_seconds(problems, mapper)
    _say([f"{len(problems)} problems; compilation, or loading compiled code: {compiling:.1f} s"])
    uncached = measure(problems, mapper, time_limit, keep=False)
    _say(table("nothing kept between layers", uncached) + slowest(uncached))
    cached = measure(problems, mapper, time_limit, keep=True)
    _say(table("what the mapper keeps, kept from layer to layer", cached))
    figures: Json = {**figures_of(uncached, cached), "compile_seconds": compiling, "mapper": mapper}
    if samplers:
        found = gaps(uncached, [name for name in MAPPERS if name != mapper], sampler_limit)
        _say(gap_table(found))
        figures["samplers"] = {
            name: gap_summary([gap for row in rows.values() for gap in row]) for name, rows in found.items()
        }
    if pairs:
        forget()
        figures["pairs_per_second_per_core"] = pairs_per_second(pairs, "eyeriss", mapper)
        _say(["", f"random pairs on eyeriss: {figures['pairs_per_second_per_core']:.1f} per second and core"])
    figures["peak_mib"] = peak_mib()
    _say([f"{figures['proven']} of {figures['problems']} proven; peak memory {figures['peak_mib']:.0f} MiB"])
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2))
    if any(row["below_optimum"] for row in figures.get("samplers", {}).values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    run(main)
