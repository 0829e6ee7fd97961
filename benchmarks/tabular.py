"""Do searches find the best cell? Every strategy on NAS-Bench-201's tables: ``python -m benchmarks.tabular NASBENCH201.csv``.

Accuracies are looked up (`cosearch.accuracy.tabular`); the best cells of a data set are those with the highest one. Three
settings, each on three data sets:

* *top1*: the target as described, accuracy the only objective: the customary search for an architecture;
* *top1,latency*: the target as described, and latency as well: the best cell is one end of the front;
* *joint*: machines of the target's search section as well. So that a machine takes milliseconds, layers are mapped by a few
  random draws: which cell is the most accurate does not depend on it.

Where the target is as described, every cell is evaluated once, and the searches look that up (a test holds them against
`cosearch.search`); they go on until a best cell is met or the strategy has nothing more to ask. Joint searches are whole ones,
with `--joint-budget` pairs, then with four times as many. Reported: with how many of the seeds a best cell was met, and how
many different candidates that took, it included (median, most). What a strategy cannot take is said.

``--macro FILE`` adds NAS-Bench-Macro: the front of the exact strategy against that of all 6,561 networks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import process_time
from typing import Annotated

import typer

from accel_models.errors import unknown_name
from benchmarks.command import run
from benchmarks.known_table import KnownTable, Met
from cosearch.accuracy.tabular import make
from cosearch.errors import CosearchError, SearchError
from cosearch.evaluate import MappingOptions
from cosearch.spaces import load_space
from cosearch.strategies import strategy_names
from cosearch.study import search

SPACES = ("nas-bench-201", "nas-bench-201-cifar100", "nas-bench-201-imagenet16-120")

SETTINGS = {"top1": ("top1",), "top1,latency": ("top1", "latency"), "joint": ("top1", "latency")}
"""Objectives by name of the setting; in `joint` machines vary."""

QUICK = MappingOptions(mapper="random", effort=8)
"""How layers are mapped on machines that vary."""


@dataclass(frozen=True)
class Row:
    """One strategy in one setting on one data set, over its seeds.

    Attributes
    ----------
    found
        Seeds with which a best cell was met, of `seeds`.
    median, most
        Different candidates until then; None where some seeds never met one.
    evaluated
        Most candidates that a search came to.
    seconds
        Processor time of a search, median; of looked-up ones the strategy's own.
    refused
        Why the strategy cannot search this, empty if it can.
    """

    setting: str
    space: str
    strategy: str
    seeds: int = 0
    found: int = 0
    median: float | None = None
    most: int | None = None
    evaluated: int = 0
    seconds: float = 0.0
    refused: str = ""

    def __str__(self) -> str:
        head = f"{self.setting:<13} {self.space:<29} {self.strategy:<22}"
        if self.refused:
            return f"{head} cannot: {self.refused}"
        took = "      never" if self.median is None or self.most is None else f" {self.median:>8,.0f} {self.most:>7,}"
        return f"{head} {self.found:>2} of {self.seeds:<3}{took:<17} {self.evaluated:>8,} {self.seconds:>7.1f}"


def row(place: tuple[str, str, str], met: Sequence[Met]) -> Row:
    """Return the figures of one strategy over its seeds."""
    places = sorted(each.place for each in met if each.place is not None)
    every = len(places) == len(met)
    return Row(
        *place, len(met), len(places), median(places) if every else None, places[-1] if every else None,
        max(each.evaluated for each in met), median(each.seconds for each in met),
    )  # fmt: skip


def joint_search(known: KnownTable, strategy: str, seed: int, population: int, budgets: Sequence[int]) -> Met:
    """Search networks and machines with the first budget, then with the next, until a best cell is met.

    Raises
    ------
    SearchError
        If the strategy cannot take the problem.
    """
    start, place, pairs = process_time(), None, []
    for budget in budgets:
        try:
            study = search(
                known.space, known.target, SETTINGS["joint"], strategy=strategy, budget=budget, population=population,
                seed=seed, estimator=known.estimator, mapping=QUICK,
            )  # fmt: skip
        except SearchError:
            if budget == budgets[0]:
                raise
            break  # the larger budget is more than the strategy takes
        pairs = study.archive.pairs()
        study.archive.close()
        place = known.first_best([pair.genome for pair in pairs])
        if place is not None:
            break
    return Met(place, len(pairs), process_time() - start)


def main(
    nasbench201: Annotated[Path, typer.Argument(help="accuracies of all cells: columns arch, cifar10_test, ..")],
    macro: Annotated[Path | None, typer.Option(help="accuracies of NAS-Bench-Macro: columns arch, mean_acc")] = None,
    target: Annotated[str, typer.Option(help="the machine, by name or file")] = "eyeriss",
    settings: Annotated[str, typer.Option(help="which, with ; between; all three")] = ";".join(SETTINGS),
    strategies: Annotated[str, typer.Option(help="names with commas; all that are there")] = "",
    seeds: Annotated[int, typer.Option(min=1)] = 10,
    joint_seeds: Annotated[int, typer.Option(min=1)] = 3,
    joint_budget: Annotated[int, typer.Option(min=1)] = 4000,
    population: Annotated[int, typer.Option(min=4)] = 100,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures here")] = None,
) -> None:
    """Let every strategy look for the best cell of NAS-Bench-201."""
    wanted = settings.split(";")
    names = strategies.split(",") if strategies else strategy_names()
    for kind, chosen, there in (("setting", wanted, SETTINGS), ("strategy", names, strategy_names())):
        for name in chosen:
            if name not in there:
                raise CosearchError(unknown_name(kind, name, there))
    rows = []
    for place, name in enumerate(SPACES):
        space = load_space(name)
        known = KnownTable(space, make(space, str(nasbench201)), target)
        typer.echo(f"{name}: best {known.best_percent:.2f} % ({known.estimator.note})")
        if place == 0:
            typer.echo(f"{'':<66} {'found':>8}   median    most evaluated   cpu s")
        for setting in wanted:
            for strategy in names:
                count = joint_seeds if setting == "joint" else seeds
                rows.append(_row(known, setting, strategy, count, population, joint_budget))
                typer.echo(str(rows[-1]))
    able = [each for each in rows if not each.refused]
    typer.echo(f"with every seed: {sum(each.most is not None for each in able)} of {len(able)} rows")
    fronts = []
    if macro:
        space = load_space("nas-bench-macro")
        known = KnownTable(space, make(space, str(macro)), target)
        fronts = [known.exact_front(objective) for objective in ("macs", "latency", "energy")]
        typer.echo("\n".join(map(str, fronts)))
    if json_file:
        asked = {"target": target, "seeds": seeds, "joint_seeds": joint_seeds, "population": population}
        figures = {"rows": [asdict(each) for each in rows], "macro": [asdict(front) for front in fronts]}
        json_file.write_text(json.dumps(asked | figures, indent=1))


def _row(known: KnownTable, setting: str, strategy: str, seeds: int, population: int, joint_budget: int) -> Row:
    place = (setting, known.space.name, strategy)
    try:
        if setting == "joint":
            budgets = (joint_budget, 4 * joint_budget)
            met = [joint_search(known, strategy, seed, population, budgets) for seed in range(seeds)]
        else:
            met = [known.search(strategy, SETTINGS[setting], seed, population) for seed in range(seeds)]
    except SearchError as error:
        return Row(*place, refused=str(error))
    return row(place, met)


if __name__ == "__main__":
    run(main)
