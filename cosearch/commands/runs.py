"""Commands about searches: run one, go on with it, look at what it found."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cosearch.commands.models import cost_json, named_network
from cosearch.commands.options import (
    EffortOption,
    Format,
    FormatOption,
    MapperOption,
    RunArgument,
    SeedOption,
    TableOrJson,
    TableOrJsonOption,
    TargetOption,
)
from cosearch.commands.output import plain_text, print_json, print_table, tell_if_cold

if TYPE_CHECKING:
    from cosearch.archive import Pair
    from cosearch.results import Study
    from cosearch.study import Progress

app = typer.Typer()


class Fix(StrEnum):
    """What a search keeps as it is."""

    hardware = "hardware"
    network = "network"


@app.command(
    epilog="Example: cosearch search --space ofa-mobilenet-v3 --target eyeriss --limit 'area_mm2<=16' --out runs/a"
)
def search(
    target: TargetOption,
    out: Annotated[Path, typer.Option(help="New folder for the record.")],
    space: Annotated[
        str | None, typer.Option(help="A name of `cosearch spaces list`, or a FILE.yaml of one's own.")
    ] = None,
    objectives: Annotated[
        str,
        typer.Option(help="Comma-separated, of top1, latency, energy, edp, area, macs, params, proxy, device-latency."),
    ] = "top1,latency,energy",
    limit: Annotated[
        list[str] | None, typer.Option(help="Such as 'area_mm2<=16' or 'top1>=75'; may be repeated.")
    ] = None,
    strategy: Annotated[str, typer.Option(help="A name of `cosearch list strategies`.")] = "nsga2",
    budget: Annotated[int, typer.Option(help="Different pairs to evaluate.")] = 2000,
    population: Annotated[int, typer.Option(help="Candidates per generation.")] = 100,
    seed: SeedOption = 0,
    hardware: Annotated[
        str,
        typer.Option(
            help="Machines to search: described (the target's search: section), naas (NAAS's space under the target's "
            "resources) or naas-bits."
        ),
    ] = "described",
    fix: Annotated[Fix | None, typer.Option(help="Keep the hardware, or the network, as it is.")] = None,
    network: Annotated[
        str | None, typer.Option(help="With --fix network: a name of `cosearch list networks`, or a CONFIG.json.")
    ] = None,
    estimator: Annotated[
        str | None,
        typer.Option(help="Who says how accurate networks are: NAME[:ARGUMENT], a name of `cosearch list estimators`."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Who says how long a measured device takes (objective device-latency): lookup:PATH or learned:PATH."
        ),
    ] = None,
    mapper: MapperOption = "exact",
    effort: EffortOption = 200,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Search networks and hardware together; the record goes to a new folder."""
    from cosearch.errors import SearchError
    from cosearch.evaluate import MappingOptions
    from cosearch.study import search as run

    if (fix is Fix.network) != (network is not None) or (network is None) == (space is None):
        raise SearchError("name either --space, or --fix network with --network NAME")
    tell_if_cold(mapper)
    searched = named_network(network, None) if network else str(space)
    study = _watched(
        lambda watch: run(
            searched,
            target,
            [name.strip() for name in objectives.split(",")],
            limits=limit or [],
            strategy=strategy,
            budget=budget,
            population=population,
            seed=seed,
            hardware=hardware,
            fix_hardware=fix is Fix.hardware,
            mapping=MappingOptions(mapper=mapper, effort=effort),
            estimator=estimator,
            device=device,
            workers=workers,
            out=out,
            on_progress=watch,
        ),
        budget,
        out,
    )
    _summarise(study, out)


@app.command(epilog="Example: cosearch resume runs/first --budget 4000")
def resume(
    run: RunArgument,
    budget: Annotated[int | None, typer.Option(min=1, help="New number of pairs; the old one if left out.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Continue a stopped search, or one whose budget is to grow."""
    from cosearch.results import Study
    from cosearch.study import resume as go_on

    goal = budget or Study.open(run).archive.get("budget")
    _summarise(_watched(lambda watch: go_on(run, budget=budget, workers=workers, on_progress=watch), goal, run), run)


@app.command(epilog="Example: cosearch front runs/first --format csv > front.csv")
def front(run: RunArgument, format: FormatOption = Format.table) -> None:
    """Print the non-dominated pairs, best first objective first, with units."""
    from cosearch.results import Study, column_name

    study = Study.open(run)
    if format is Format.csv:
        typer.echo(study.front().map(plain_text).to_csv(index=False), nl=False)
    elif format is Format.json:
        units = {objective.name: objective.metric for objective in study.objectives}
        print_json({"objectives": units, "rows": [_pair_json(study, pair) for pair in study.front_pairs()]})
    elif not study.front_pairs():
        limits = ", ".join(study.config["limits"])
        kept = f" and keeps {limits}" if limits else ""
        typer.echo(f"no front: none of {len(study.archive.pairs())} recorded pairs can run{kept}")
    else:
        from cosearch.report.text import table

        rows = [
            [pair.id, *(pair.metrics[objective.metric] * objective.scale for objective in study.objectives),
             pair.metrics["area_mm2"], pair.metrics["macs"] / 1e6, "yes" if pair.extrapolated else ""]
            for pair in study.front_pairs()
        ]  # fmt: skip
        columns = [
            "id",
            *(column_name(objective) for objective in study.objectives),
            "area_mm2",
            "macs_millions",
            "extrapolated",
        ]
        print_table(table(f"{len(rows)} non-dominated pairs; `cosearch show {run} ID` shows one", columns, rows))


@app.command(epilog="Example: cosearch show runs/first 1742")
def show(
    run: RunArgument,
    pair_id: Annotated[int, typer.Argument(metavar="ID", help="A pair's id.")],
    format: TableOrJsonOption = TableOrJson.table,
) -> None:
    """Show one pair: the network, the hardware, the cost of each layer, the mapping of the costliest."""
    from cosearch.report.pair import pair_details
    from cosearch.results import Study

    study = Study.open(run)
    details = pair_details(study, study.archive.pair(pair_id))
    if format is TableOrJson.json:
        print_json({**cost_json(details.cost), **_pair_json(study, details.pair)})
        return
    for line in details.lines():
        typer.echo(line)
    from cosearch.report.text import cost_table, hardware_table

    print_table(hardware_table(details.target))
    print_table(cost_table(details.cost))
    typer.echo(details.costliest_mapping())


@app.command(epilog="Example: cosearch plot runs/first runs/second -o both.svg")
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs; several overlay.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="PNG, SVG or PDF file.")] = None,
) -> None:
    """Draw the front: PNG, SVG or PDF."""
    from cosearch.report.front import plot_front
    from cosearch.results import Study

    path = output or runs[0] / "front.png"
    plot_front([Study.open(run) for run in runs], path)
    typer.echo(f"wrote {path}")


def _pair_json(study: Study, pair: Pair) -> dict[str, Any]:
    from cosearch.report.pair import choices

    networks, hardware = choices(study, pair)
    named = {objective.name: pair.metrics[objective.metric] for objective in study.objectives}
    return {
        "id": pair.id,
        **named,
        **pair.metrics,
        "extrapolated": pair.extrapolated,
        "network": networks,
        "hardware": hardware,
    }


def _watched(run: Any, budget: int, folder: Path) -> Study:
    """Run a search with a progress line on a terminal (on standard error), quiet in a pipe."""
    if sys.stderr.isatty():
        return _interruptible(lambda: _with_progress(run, budget), folder)
    return _interruptible(lambda: run(None), folder)


def _with_progress(run: Any, budget: int) -> Study:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("searching", total=budget)

        def watch(state: Progress) -> None:
            rate = state.evaluated / max(state.seconds, 1e-9)
            text = f"generation {state.generation}, front {state.front_size}, {rate:.0f} pairs/s"
            bar.update(task, completed=state.evaluated, description=text)

        study: Study = run(watch)
        return study


def _interruptible(run: Any, folder: Path) -> Study:
    from cosearch.errors import CosearchError
    from cosearch.results import Study

    try:
        study: Study = run()
    except KeyboardInterrupt:
        try:
            Study.open(folder)
            hint = f"all finished generations are kept. Continue with: cosearch resume {folder}"
        except CosearchError:
            hint = "nothing was recorded yet"
        typer.echo(f"stopped; {hint}", err=True)
        raise typer.Exit(130) from None
    return study


def _summarise(study: Study, folder: Path) -> None:
    from cosearch.report.proof import proven

    front = study.front_pairs()
    pairs, looked_at = len(study.archive.pairs()), study.archive.looked_at()
    refuted = f" ({looked_at - pairs} more refuted by a bound)" if looked_at > pairs else ""
    typer.echo(f"{pairs} pairs evaluated{refuted}, {len(front)} on the front, recorded in {folder}")
    if looked_at < study.archive.get("budget"):
        typer.echo(f"  fewer than the budget of {study.archive.get('budget')}: nothing new was proposed any more")
    for objective in study.objectives:
        values = [pair.metrics[objective.metric] * objective.scale for pair in front]
        typer.echo(f"  {objective.title}: {min(values):.4g} to {max(values):.4g} {objective.unit}")
    for line in proven(study):
        typer.echo(f"  {line}")
    typer.echo(f"next: cosearch front {folder}   cosearch plot {folder}   cosearch show {folder} {front[0].id}")
