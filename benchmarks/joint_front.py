"""How soon a joint search is done, and whether longer ones of others find more: ``python -m benchmarks.joint_front``.

The strategy `exact` searches networks and NAAS's hardware space under a known machine's resources with a small budget; then
others search the same space for ten times its wall-clock seconds, on as many cores. Reported per strategy: seconds, pairs,
machines, the hypervolume of its front, and how much larger that of both fronts together is than that of `exact` alone.
Objectives span 0 to 1 over the front of all runs together; the reference point is (1.1, ..., 1.1).
"""

from __future__ import annotations

import contextlib
import json
import tempfile
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
from cosearch.objective import to_minimise
from cosearch.results import Study, nondominated
from cosearch.study import Progress

Json = dict[str, Any]


@dataclass(frozen=True)
class Search:
    """What is searched, by all."""

    space: str
    target: str
    hardware: str
    objectives: tuple[str, ...]
    workers: int


@dataclass(frozen=True)
class Outcome:
    """One search: its front (n, objectives), to be minimised, and what it took."""

    strategy: str
    seed: int
    seconds: float
    pairs: int
    machines: int
    front: NDArray[np.float64]


class _EnoughError(Exception):
    """The time is up."""


def search(search: Search, strategy: str, seed: int, budget: int, seconds: float, folder: Path) -> Outcome:
    """Search up to a budget or, after the generation in which they end, a number of seconds."""
    start = time.perf_counter()

    def watch(progress: Progress) -> None:
        if time.perf_counter() - start > seconds:
            raise _EnoughError

    out = folder / f"{strategy}-{seed}"
    with contextlib.suppress(_EnoughError):
        cosearch.search(
            search.space, search.target, search.objectives, hardware=search.hardware, strategy=strategy, seed=seed,
            budget=budget, workers=search.workers, out=out, on_progress=watch,
        ).archive.close()  # fmt: skip
    took = time.perf_counter() - start
    study = Study.open(out)
    pairs = study.archive.pairs()
    knobs = sum(not knob.name.startswith("hardware.") for knob in study.archive.knobs())
    front = to_minimise(study.objectives, [pair.metrics for pair in study.front_pairs()])
    return Outcome(strategy, seed, took, len(pairs), len({pair.genome[knobs:] for pair in pairs}), front)


def compare(outcomes: list[Outcome]) -> list[Json]:
    """Return a row per search; the first one is what the others are compared with."""
    every = np.concatenate([outcome.front for outcome in outcomes])
    every = every[nondominated(every)]
    low, span = every.min(axis=0), np.ptp(every, axis=0)

    def hypervolume(values: NDArray[np.float64]) -> float:
        return float(moocore.hypervolume((values - low) / span, ref=np.full(values.shape[1], 1.1)))

    best, first = hypervolume(every), hypervolume(outcomes[0].front)
    return [
        {
            "strategy": outcome.strategy, "seed": outcome.seed, "seconds": outcome.seconds, "pairs": outcome.pairs,
            "machines": outcome.machines, "front": len(outcome.front),
            "hypervolume_ratio": hypervolume(outcome.front) / best,
            "improves_first": hypervolume(np.concatenate([outcomes[0].front, outcome.front])) / first - 1,
        }
        for outcome in outcomes
    ]  # fmt: skip


def main(
    target: Annotated[str, typer.Option(help="Whose resources limit the machines.")] = "edge_tpu",
    hardware: Annotated[str, typer.Option(help="Which machines: naas, naas-bits or described.")] = "naas",
    space: Annotated[str, typer.Option(help="Network space.")] = "ofa-mobilenet-v3",
    objectives: Annotated[str, typer.Option(help="Comma-separated.")] = "top1,edp",
    budget: Annotated[int, typer.Option(min=1, help="Pairs of the first search.")] = 900,
    others: Annotated[str, typer.Option(help="Comma-separated; `exact` here is another seed's.")] = "exact,nsga2,naas",
    times: Annotated[float, typer.Option(min=0.1, help="How many times as long they search.")] = 10.0,
    seed: Annotated[int, typer.Option(help="Seed of the first search; the others' is the next one.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Let `exact` search, then others for ten times as long, and compare the fronts."""
    what = Search(space, target, hardware, tuple(objectives.split(",")), workers)
    typer.echo(f"{space} x {hardware} hardware with the resources of {target}, {objectives}, {workers} processes")
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [search(what, "exact", seed, budget, np.inf, Path(folder))]
        for name in others.split(","):
            limit = times * outcomes[0].seconds
            outcomes.append(search(what, name, seed + 1, 10**9, limit, Path(folder)))
    rows = compare(outcomes)
    typer.echo(
        f"{'strategy':<22}{'seconds':>9}{'pairs':>9}{'machines':>10}{'front':>7}{'ratio':>8}{'improves first by':>19}"
    )
    for row in rows:
        typer.echo(
            f"{row['strategy']:<22}{row['seconds']:>9.0f}{row['pairs']:>9,}{row['machines']:>10,}{row['front']:>7,}"
            f"{row['hypervolume_ratio']:>8.4f}{row['improves_first']:>18.2%}"
        )
    if json_file:
        json_file.write_text(json.dumps({"search": what.__dict__, "rows": rows}, indent=2))


if __name__ == "__main__":
    run(main)
