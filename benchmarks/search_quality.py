"""Every strategy against the true front, at equal budgets: ``python -m benchmarks.search_quality``.

The space is the one whose true front `benchmarks.ground_truth` has worked out: 10,368 machines x all networks of
ofa-mobilenet-v3 at one resolution. Each strategy searches it once per seed, as it comes (its own defaults, one population
for all); its pairs are answered by look-up (`benchmarks.race`). Reported, as median over the seeds and quartiles:

* *hypervolume ratio*: that of the pairs found over that of the true front (1: nothing is missing). Objectives span 0 to 1
  from best to worst on the true front, the reference point is (1.1, ..., 1.1). Regret is 1 minus it;
* *IGD+*: how far, on average, true points are from the nearest pair found, counting only by what that is worse. Where the
  true front has more than 2,000 points, so many of them stand for it, drawn once;
* *missed*: points of the true front that were not found;
* *to 99 %*: different pairs until the ratio is 0.99, and how many of the seeds got there;
* *seconds*: processor time of one core, the strategy's own plus a measured price for each answer (`benchmarks.race`);
* *p*: Wilcoxon's signed-rank test, one-sided, that the ratio is larger than random's with the same seeds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.stats import wilcoxon

from benchmarks.command import run
from benchmarks.judge import BUDGETS, SECONDS, Score, Task, Values, score
from benchmarks.known_space import DEFAULT_FILE, KnownSpace
from benchmarks.race import measured_prices
from cosearch.errors import SearchError
from cosearch.evaluate import open_pool
from cosearch.objective import parse_objectives
from cosearch.strategies import strategy_names


def scores(tasks: Sequence[Task], workers: int) -> Iterator[tuple[Task, Score | str]]:
    """Yield the scores of all tasks, as they are done."""
    with open_pool(workers) as executor:
        if executor is None:
            yield from ((task, score(task)) for task in tasks)
            return
        futures = {executor.submit(score, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], future.result()


def summarise(own: Sequence[Score], random: Sequence[Score], budget: int) -> dict[str, Any]:
    """Return the figures of one strategy over its seeds, in order of the seeds."""
    ratios = np.array([each.hypervolume_ratio for each in own])
    reached = [each.to_goal for each in own if each.to_goal is not None]
    budgets = [few for few in BUDGETS if few <= budget]
    return {
        "hypervolume_ratio": float(np.median(ratios)),
        "quartiles": np.percentile(ratios, [25, 75]).tolist(),
        "regret": float(np.median(1 - ratios)),
        "igd_plus": _median([each.igd_plus for each in own]),
        "missed": _median([each.missed for each in own]),
        "evaluations": int(np.median([each.evaluations for each in own])),
        "seconds": _median([each.seconds for each in own]),
        "own_seconds": _median([each.own_seconds for each in own]),
        "evaluations_to_99": {
            "seeds": len(reached),
            "median": _median(reached) if len(reached) == len(own) else None,
            "most": max(reached) if len(reached) == len(own) else None,
        },
        "p_better_than_random": _p_value(ratios, [each.hypervolume_ratio for each in random]),
        "by_evaluations": [
            {
                "evaluations": few,
                "hypervolume_ratio": _quartiles([each.ratios[place] for each in own]),
                "igd_plus": _quartiles([each.igds[place] for each in own]),
                "seconds": _median([each.seconds_at[place] for each in own]),
            }
            for place, few in enumerate(budgets)
        ],
        "by_seconds": [
            {"seconds": seconds, "hypervolume_ratio": _quartiles([each.ratios_by_second[place] or 0.0 for each in own])}
            for place, seconds in enumerate(SECONDS)
        ],
        "per_seed": [asdict(each) for each in own],
    }


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def _quartiles(values: Sequence[float]) -> list[float]:
    """Return the first quartile, the median and the third."""
    return [float(each) for each in np.percentile(values, [25, 50, 75])]


def _p_value(own: Values, random: Sequence[float]) -> float | None:
    """Return how likely it is that ratios so much larger than random's come by chance; None without a difference."""
    if len(own) != len(random) or np.array_equal(own, random):
        return None
    return float(wilcoxon(own, random, alternative="greater").pvalue)


def lines(objectives: tuple[str, ...], told: dict[str, dict[str, Any]], true: int, seeds: int) -> list[str]:
    """Return the tables of one set of objectives."""
    budgets = [row["evaluations"] for row in next(iter(told.values()))["by_evaluations"]]
    order = sorted(told, key=lambda name: -told[name]["hypervolume_ratio"])
    rows = ["", f"{', '.join(objectives)}: {true:,} points on the true front", ""]
    rows.append(
        f"{'strategy':<22}{'pairs':>7}{'ratio':>8}{'quartiles':>18}{'regret':>9}{'IGD+':>9}{'missed':>9}"
        f"{'to 99 % (seeds, median, most)':>32}{'seconds':>9}{'own':>7}{'p':>9}"
    )
    for name in order:
        each = told[name]
        goal = each["evaluations_to_99"]
        reached = f"{goal['seeds']}/{seeds}" + (f", {goal['median']:,.0f}, {goal['most']:,}" if goal["most"] else "")
        p = each["p_better_than_random"]
        rows.append(
            f"{name:<22}{each['evaluations']:>7,}{each['hypervolume_ratio']:>8.4f}"
            f"{'{:.4f} .. {:.4f}'.format(*each['quartiles']):>18}{each['regret']:>9.2g}{each['igd_plus']:>9.2g}"
            f"{each['missed']:>9,.0f}{reached:>32}{each['seconds']:>9.1f}{each['own_seconds']:>7.1f}"
            + (f"{p:>9.1g}" if p is not None else f"{'':>9}")
        )
    for title, key in (("hypervolume ratio", "hypervolume_ratio"), ("IGD+", "igd_plus")):
        rows += ["", f"median {title} after so many pairs", "".join([f"{'':<22}", *(f"{few:>9,}" for few in budgets)])]
        for name in order:
            medians = [row[key][1] for row in told[name]["by_evaluations"]]
            rows.append(f"{name:<22}" + "".join(f"{median:>9.4f}" for median in medians))
    longest = max(score["seconds"] for each in told.values() for score in each["per_seed"])
    marks = SECONDS[: 1 + int(np.searchsorted(SECONDS, longest))]
    rows += ["", "median hypervolume ratio after so many seconds"]
    rows.append("".join([f"{'':<22}", *(f"{seconds:>8}" for seconds in marks)]))
    for name in order:
        medians = [row["hypervolume_ratio"][1] for row in told[name]["by_seconds"][: len(marks)]]
        rows.append(f"{name:<22}" + "".join(f"{median:>8.4f}" for median in medians))
    return rows


def main(
    truth: Annotated[Path, typer.Option(help="What benchmarks.ground_truth wrote.")] = DEFAULT_FILE,
    objectives: Annotated[
        str, typer.Option(help="Sets of objectives, separated by semicolons; all of the truth without.")
    ] = "",
    strategies: Annotated[str, typer.Option(help="Comma-separated names; all that are installed without.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Searches per strategy.")] = 20,
    budget: Annotated[int, typer.Option(min=10, help="Different pairs per search.")] = 5000,
    population: Annotated[int, typer.Option(min=2, help="Candidates per generation, of every strategy.")] = 100,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Also draw the curves: .png, .svg or .pdf.")] = None,
) -> None:
    """Compare strategies with the true front at equal budgets, over several seeds."""
    known = KnownSpace.load(truth)
    sets = [tuple(each.split(",")) for each in objectives.split(";")] if objectives else list(known.fronts)
    for names in sets:
        parse_objectives(names)
        if names not in known.fronts:
            there = "; ".join(map(",".join, known.fronts))
            raise SearchError(f"{truth}: no true front of {','.join(names)}; there are: {there}")
    chosen = strategies.split(",") if strategies else strategy_names()
    typer.echo(f"{known.space.name}: {budget:,} pairs, {seeds} seeds, population {population}")
    figures: dict[str, Any] = {}
    for names in sets:
        prices = measured_prices(known, names)
        typer.echo(
            f"{', '.join(names)}: {1e3 * prices.pair_s:.2f} ms a pair, {1e3 * prices.piece_s:.2f} ms a piece to map, "
            f"{prices.front_s:.3f} s a front, {1e3 * prices.trial_s:.2f} ms a refuted trial"
        )
        tasks = [
            Task(str(truth), names, prices, name, seed, budget, population) for name in chosen for seed in range(seeds)
        ]
        figures[",".join(names)] = told = compare(tasks, workers)
        typer.echo("\n".join(lines(names, told, len(known.fronts[names].values), seeds)))
    main_set = max(figures, key=lambda names: names.count(","))
    if json_file:
        asked = {"objectives": main_set, "seeds": seeds, "budget": budget, "population": population}
        json_file.write_text(json.dumps(asked | {"strategies": figures[main_set], "by_objectives": figures}, indent=1))
    if plot:
        from benchmarks.convergence import draw

        draw(figures, plot)


def compare(tasks: Sequence[Task], workers: int) -> dict[str, dict[str, Any]]:
    """Return the figures of every strategy; what a strategy cannot do is told and left out."""
    found: dict[str, list[Score]] = {task.strategy: [] for task in tasks}
    for done, (task, result) in enumerate(scores(tasks, workers), 1):
        if isinstance(result, str):
            if task.seed == 0:
                typer.echo(f"{task.strategy} is left out: {result}")
        else:
            found[task.strategy].append(result)
            typer.echo(
                f"  {done} of {len(tasks)}: {task.strategy}, seed {task.seed}: {result.hypervolume_ratio:.4f}", err=True
            )
    for own in found.values():
        own.sort(key=lambda each: each.seed)
    budget = tasks[0].budget
    return {name: summarise(own, found.get("random", []), budget) for name, own in found.items() if own}


if __name__ == "__main__":
    run(main)
