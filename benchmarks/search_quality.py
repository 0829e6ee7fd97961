"""Hypervolume of every strategy at equal budget: ``python -m benchmarks.search_quality``.

Each strategy searches the same space with the same budget, once per seed. Objectives are scaled to 0..1 between the best
and the worst value seen on any front of any run; the hypervolume is taken against the point (1.1, ..., 1.1) and divided
by that of the front of all runs together, the best that is known of this space.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import moocore
import numpy as np
import typer
from numpy.typing import NDArray

import cosearch
from benchmarks.command import run
from cosearch.evaluate import MappingOptions
from cosearch.objective import to_minimise
from cosearch.results import nondominated


@dataclass(frozen=True)
class Outcome:
    """The front that one strategy found with one seed, (points, objectives), to be minimised; what it took."""

    strategy: str
    seed: int
    front: NDArray[np.float64]
    evaluations: int
    seconds: float


def search_once(strategy: str, seed: int, target: str, budget: int, mapper: str, effort: int, workers: int) -> Outcome:
    """Run one search and keep its front."""
    start = time.perf_counter()
    study = cosearch.search(
        "ofa-mobilenet-v3", target, ["top1", "latency", "energy"], strategy=strategy, budget=budget, seed=seed,
        mapping=MappingOptions(mapper=mapper, effort=effort), workers=workers,
    )  # fmt: skip
    pairs = study.front_pairs()
    front = to_minimise(study.objectives, [pair.metrics for pair in pairs])
    return Outcome(strategy, seed, front, len(study.archive.pairs()), time.perf_counter() - start)


def hypervolume_ratios(outcomes: list[Outcome]) -> list[float]:
    """Return each outcome's hypervolume over that of all fronts together."""
    every = np.concatenate([outcome.front for outcome in outcomes])
    low, high = every.min(axis=0), every.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    reference = np.full(every.shape[1], 1.1)
    best = moocore.hypervolume((every[nondominated(every)] - low) / span, ref=reference)
    return [float(moocore.hypervolume((outcome.front - low) / span, ref=reference) / best) for outcome in outcomes]


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Seeds per strategy.")] = 10,
    budget: Annotated[int, typer.Option(min=10, help="Pairs per search.")] = 600,
    strategies: Annotated[str, typer.Option(help="Comma-separated names.")] = "random,nsga2",
    target: Annotated[str, typer.Option(help="Target with a search section.")] = "eyeriss",
    mapper: Annotated[str, typer.Option(help="Who looks for mappings.")] = "exact",
    effort: Annotated[int, typer.Option(min=1, help="Mappings per layer of a sampling mapper.")] = 100,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Compare strategies by hypervolume at equal budget, over several seeds."""
    names = strategies.split(",")
    outcomes = [
        search_once(name, seed, target, budget, mapper, effort, workers) for seed in range(seeds) for name in names
    ]
    ratios = hypervolume_ratios(outcomes)
    summary: dict[str, Any] = {}
    typer.echo(
        f"ofa-mobilenet-v3 x {target}, {budget} pairs, {seeds} seeds; hypervolume over that of all fronts together"
    )
    for name in names:
        own = [ratio for ratio, outcome in zip(ratios, outcomes, strict=True) if outcome.strategy == name]
        low, middle, high = np.percentile(own, [25, 50, 75])
        seconds = float(np.median([outcome.seconds for outcome in outcomes if outcome.strategy == name]))
        summary[name] = {
            "hypervolume_ratio": float(middle), "quartiles": [float(low), float(high)], "evaluations": budget,
            "seconds": seconds, "per_seed": own,
        }  # fmt: skip
        typer.echo(f"{name:>12}: median {middle:.4f}, quartiles {low:.4f} .. {high:.4f}, {seconds:.1f} s a search")
    if "random" in summary:
        for name in names:
            if name != "random":
                pairs = zip(summary[name]["per_seed"], summary["random"]["per_seed"], strict=True)
                wins = sum(mine > theirs for mine, theirs in pairs)
                summary[name]["wins_over_random"] = wins
                typer.echo(f"{name} has the larger hypervolume than random in {wins} of {seeds} seeds")
    if json_file:
        json_file.write_text(json.dumps({"strategies": summary, "seeds": seeds, "budget": budget}, indent=2))


if __name__ == "__main__":
    run(main)
