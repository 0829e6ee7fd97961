"""The exact mapper against enumeration of every legal mapping: ``python -m benchmarks.mapper_proof``.

Random small problems of every kind (tests/accel_models/mapping_problems.py): for each objective the value, its tie, the
proof and the bound, and the whole energy-latency front must be what enumeration finds; where no mapping is legal, the
refusal must say why. Enumeration shares nothing with the mapper but the counting kernel, and what it finds best, like a few
of all mappings, is checked by a walk through the loop nest. With ``--large``, each sampling mapper then tries for
``--seconds`` to find something better than the proven optimum of large layers.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from accel_models.errors import MappingError
from accel_models.mapper.base import OBJECTIVES
from accel_models.mapper.best import MAPPERS, best_mapping
from benchmarks.command import run
from benchmarks.mapper import DATAFLOWS, NETWORKS, TARGETS, Problem, problems_of
from tests.accel_models.brute_force import brute_force
from tests.accel_models.mapper_judge import misses, truth_misses
from tests.accel_models.mapping_problems import make_problem

EFFORT = 20_000
"""Mappings that a sampler draws between two looks at the clock."""


def small_problems(seeds: Iterable[int], most_mappings: int) -> dict[str, Any]:
    """Compare mapper and enumeration on the problems of some seeds, and tell every miss."""
    kinds, missed, mappings = Counter[str](), Counter[str](), 0
    wrong, walked, enumerating, start = [], [], 0.0, time.perf_counter()
    for seed in seeds:
        problem = make_problem(seed, most_mappings)
        begin = time.perf_counter()
        truth = brute_force(problem.layer, problem.accelerator, most_mappings)
        enumerating += time.perf_counter() - begin
        kinds.update(problem.kinds)
        mappings += truth.mappings
        for text in truth_misses(problem, truth):
            walked.append(seed)
            typer.echo(f"{problem}: enumeration and walk differ: {text}")
        found = misses(problem, truth)
        if found:
            wrong.append(seed)
            missed.update(problem.kinds)
            typer.echo("\n  ".join([str(problem), ", ".join(problem.kinds), *found]))
    return {
        "kinds": dict(kinds), "missed_kinds": dict(missed), "mappings": mappings, "misses": wrong, "walk_misses": walked,
        "seconds": time.perf_counter() - start, "seconds_of_enumeration": enumerating,
    }  # fmt: skip


def large_problems(count: int, seed: int, seconds: float) -> dict[str, Any]:
    """Let every sampler try to beat the proven optimum of random large problems; return how often each does."""
    problems = random.Random(seed).sample(problems_of(TARGETS, NETWORKS, DATAFLOWS, OBJECTIVES), count)
    samplers = [name for name in MAPPERS if name != "exact"]
    beaten: Counter[str] = Counter()
    unproven = 0
    for problem in problems:
        best = best_mapping(problem.layer, problem.accelerator, problem.objective)
        unproven += not best.optimal
        line = f"{problem.layer} on {problem.target} ({problem.dataflow}), {problem.objective} in {best.seconds:.2f} s:"
        for name in samplers:
            ratio, drawn = best_sampled(problem, name, seconds)
            ratio /= best.objective_value
            beaten[name] += ratio < 1 - 1e-12
            line += f"  {name} {ratio - 1:+.3%} ({drawn} drawn)"
        typer.echo(line + ("" if best.optimal else "  NOT PROVEN"))
    return {
        "large_problems": count,
        "large_unproven": unproven,
        "large_beaten": {name: beaten[name] for name in samplers},
    }


def best_sampled(problem: Problem, sampler: str, seconds: float) -> tuple[float, int]:
    """Return the best value that a sampler finds in so many seconds, seed after seed, and how many mappings it drew."""
    best, drawn, start = float("inf"), 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        try:
            found = best_mapping(
                problem.layer, problem.accelerator, problem.objective, mapper=sampler, effort=EFFORT, seed=drawn
            )
            best = min(best, found.objective_value)
        except MappingError:
            pass
        drawn += EFFORT
    return best, drawn


def report(figures: dict[str, Any], problems: int) -> list[str]:
    """Return how many problems of each kind there were, and how many were missed."""
    lines = ["", f"{'kind':<30}{'problems':>10}{'missed':>8}"]
    for kind, count in sorted(figures["kinds"].items(), key=lambda row: (-row[1], row[0])):
        lines.append(f"{kind:<30}{count:>10}{figures['missed_kinds'].get(kind, 0):>8}")
    lines.append(
        f"{problems} problems, {problems * len(OBJECTIVES)} optima and {problems} fronts, {figures['mappings']:,} mappings "
        f"enumerated in {figures['seconds_of_enumeration']:.0f} of {figures['seconds']:.0f} s: "
        f"{len(figures['misses'])} problems missed, {len(figures['walk_misses'])} counts differ from a walk"
    )
    if figures["misses"]:
        lines.append(f"missed seeds: {figures['misses']}")
    return lines


def main(
    problems: Annotated[int, typer.Option(min=1, help="Random small problems.")] = 400,
    seed: Annotated[int, typer.Option(help="Seed of the first problem; the next follow.")] = 1_000_000,
    mappings: Annotated[int, typer.Option(min=100, help="Most legal mappings of a small problem.")] = 2_000_000,
    large: Annotated[int, typer.Option(min=0, help="Large problems for the samplers.")] = 0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time of each sampler on each large problem.")] = 60.0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Compare the exact mapper with enumeration; exit 1 where they differ, or where a sampler finds something better."""
    figures: dict[str, Any] = {"problems": problems, **small_problems(range(seed, seed + problems), mappings)}
    for line in report(figures, problems):
        typer.echo(line)
    if large:
        figures |= large_problems(large, seed, seconds)
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2))
    if figures["misses"] or figures["walk_misses"] or any(figures.get("large_beaten", {}).values()):
        raise typer.Exit(1)


if __name__ == "__main__":
    run(main)
