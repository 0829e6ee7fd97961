"""The command `cosearch`. Each command parses, calls the Python API, prints; nothing heavy is imported before it is used."""

from __future__ import annotations

import io
import json
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from accel_models.workload import Network
    from cosearch.archive import Pair
    from cosearch.study import Progress, Study

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find neural networks and the accelerators that run them, together.",
    epilog="Example: cosearch search --space ofa-mobilenet-v3 --target eyeriss --out runs/first",
)
targets_app = typer.Typer(
    no_args_is_help=True,
    help="Hardware that can be named or described.",
    epilog="Example: cosearch targets show eyeriss",
)
spaces_app = typer.Typer(
    no_args_is_help=True, help="Spaces of networks.", epilog="Example: cosearch spaces show ofa-mobilenet-v3"
)
app.add_typer(targets_app, name="targets")
app.add_typer(spaces_app, name="spaces")


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    csv = "csv"
    json = "json"


class TableOrJson(StrEnum):
    """How results are printed that are no single table."""

    table = "table"
    json = "json"


class Fix(StrEnum):
    """What a search keeps as it is."""

    hardware = "hardware"
    network = "network"


TableOrJsonOption = Annotated[TableOrJson, typer.Option("--format", help="How to print.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]
TargetOption = Annotated[str, typer.Option("--target", help="Name of a shipped target, or a description file.")]
RunArgument = Annotated[Path, typer.Argument(help="Folder of the run.")]
EffortOption = Annotated[int, typer.Option(min=1, help="Mappings a sampling mapper tries per layer.")]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]


@app.command(
    epilog="Example: cosearch search --space ofa-mobilenet-v3 --target eyeriss --limit 'area_mm2<=16' --out runs/a"
)
def search(
    target: TargetOption,
    out: Annotated[Path, typer.Option(help="New folder for the record.")],
    space: Annotated[str | None, typer.Option(help="Space of networks.")] = None,
    objectives: Annotated[str, typer.Option(help="Comma-separated names.")] = "top1,latency,energy",
    limit: Annotated[list[str] | None, typer.Option(help="Such as 'area_mm2<=16'; may be repeated.")] = None,
    strategy: Annotated[str, typer.Option(help="Who proposes candidates.")] = "nsga2",
    budget: Annotated[int, typer.Option(help="Different pairs to evaluate.")] = 2000,
    population: Annotated[int, typer.Option(help="Candidates per generation.")] = 100,
    seed: SeedOption = 0,
    fix: Annotated[Fix | None, typer.Option(help="Keep the hardware, or the network, as it is.")] = None,
    network: Annotated[str | None, typer.Option(help="With --fix network: which one.")] = None,
    effort: EffortOption = 200,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
) -> None:
    """Search networks and hardware together; the record goes to a new folder."""
    from cosearch.errors import SearchError
    from cosearch.evaluate import MappingOptions
    from cosearch.study import search as run

    if (fix is Fix.network) != (network is not None) or (network is None) == (space is None):
        raise SearchError("name either --space, or --fix network with --network NAME")
    searched = _network(network, None) if network else str(space)
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
            fix_hardware=fix is Fix.hardware,
            mapping=MappingOptions(effort=effort),
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
    from cosearch.study import Study
    from cosearch.study import resume as go_on

    goal = budget or Study.open(run).archive.get("budget")
    _summarise(_watched(lambda watch: go_on(run, budget=budget, workers=workers, on_progress=watch), goal, run), run)


@app.command(epilog="Example: cosearch front runs/first --format csv > front.csv")
def front(run: RunArgument, format: FormatOption = Format.table) -> None:
    """Print the non-dominated pairs, best first objective first, with units."""
    from cosearch.study import Study, column_name

    study = Study.open(run)
    if format is Format.csv:
        typer.echo(study.front().map(_plain_text).to_csv(index=False), nl=False)
    elif format is Format.json:
        units = {objective.name: objective.metric for objective in study.objectives}
        _print_json({"objectives": units, "rows": [_pair_json(study, pair) for pair in study.front_pairs()]})
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
        _print_table(table(f"{len(rows)} non-dominated pairs; `cosearch show {run} ID` shows one", columns, rows))


@app.command(epilog="Example: cosearch show runs/first 1742")
def show(
    run: RunArgument,
    pair_id: Annotated[int, typer.Argument(metavar="ID", help="A pair's id.")],
    format: TableOrJsonOption = TableOrJson.table,
) -> None:
    """Show one pair: the network, the hardware, the cost of each layer, the mapping of the costliest."""
    from cosearch.report.pair import pair_details
    from cosearch.study import Study

    study = Study.open(run)
    details = pair_details(study, study.archive.pair(pair_id))
    if format is TableOrJson.json:
        _print_json({**_cost_json(details.cost), **_pair_json(study, details.pair)})
        return
    for line in details.lines():
        typer.echo(line)
    from cosearch.report.text import cost_table, hardware_table

    _print_table(hardware_table(details.target))
    _print_table(cost_table(details.cost))
    typer.echo(details.costliest_mapping())


@app.command(epilog="Example: cosearch plot runs/first runs/second -o both.svg")
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs; several overlay.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="PNG, SVG or PDF file.")] = None,
) -> None:
    """Draw the front: PNG, SVG or PDF."""
    from cosearch.report.front import plot_front
    from cosearch.study import Study

    path = output or runs[0] / "front.png"
    plot_front([Study.open(run) for run in runs], path)
    typer.echo(f"wrote {path}")


@app.command(epilog="Example: cosearch evaluate --network resnet50 --target eyeriss --format json")
def evaluate(
    network: Annotated[str, typer.Option(help="A known network, or a CONFIG.json.")],
    target: TargetOption,
    resolution: Annotated[int | None, typer.Option(min=1, help="Input size in pixels.")] = None,
    objective: Annotated[str, typer.Option(help="What mappings minimise: edp, energy or latency.")] = "edp",
    effort: EffortOption = 1000,
    seed: SeedOption = 0,
    format: FormatOption = Format.table,
) -> None:
    """Evaluate one network on one target."""
    from accel_models.description import load_target

    cost = load_target(target).evaluate(_network(network, resolution), objective=objective, effort=effort, seed=seed)
    if format is Format.json:
        _print_json(_cost_json(cost))
    elif format is Format.csv:
        typer.echo(cost.operations.to_dataframe().drop(columns="mapping").to_csv(index=False), nl=False)
    else:
        from cosearch.report.text import cost_table

        _print_table(cost_table(cost))


@app.command(epilog="Example: cosearch roofline --network resnet50 --target eyeriss -o roofline.png")
def roofline(
    network: Annotated[str, typer.Option(help="A known network, or a CONFIG.json.")],
    target: TargetOption,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="PNG, SVG or PDF file; roofline.png beside a table.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="Input size in pixels.")] = None,
    objective: Annotated[str, typer.Option(help="What mappings minimise: edp, energy or latency.")] = "edp",
    effort: EffortOption = 1000,
    seed: SeedOption = 0,
    format: FormatOption = Format.table,
) -> None:
    """Print and draw what memory and array allow each layer, and what it reaches."""
    from accel_models.description import load_target
    from accel_models.roofline import network_roofline
    from cosearch.report.roofline import plot_roofline, roofline_json, roofline_table

    accelerator, known = load_target(target), _network(network, resolution)
    cost = accelerator.evaluate(known, objective=objective, effort=effort, seed=seed)
    found = network_roofline(known, accelerator, cost)
    if output or format is Format.table:
        output = output or Path("roofline.png")
        plot_roofline(found, output)
        typer.echo(f"wrote {output}", err=True)
    if format is Format.json:
        _print_json(roofline_json(found))
    elif format is Format.csv:
        typer.echo(found.to_dataframe().to_csv(index=False), nl=False)
    else:
        _print_table(roofline_table(found))


@app.command(
    name="map", epilog="Example: cosearch map --layer 'K256 C256 P14 Q14 R3 S3' --target eyeriss --objective edp"
)
def map_layer(
    target: TargetOption,
    layer: Annotated[str | None, typer.Option(help="Loop bounds, such as 'K256 C256 P14 Q14 R3 S3 stride=2'.")] = None,
    network: Annotated[str | None, typer.Option(help="Map every distinct layer of a network instead.")] = None,
    objective: Annotated[str, typer.Option(help="edp, energy or latency.")] = "edp",
    mapper: Annotated[str, typer.Option(help="Who looks for the mapping.")] = "random",
    effort: EffortOption = 1000,
    seed: SeedOption = 0,
    format: FormatOption = Format.table,
) -> None:
    """Find the best mapping of a layer, or of each layer of a network."""
    from accel_models.description import load_target
    from accel_models.layer_cost import layer_cost
    from accel_models.mapper.best import best_mapping
    from accel_models.workload import Layer
    from cosearch.errors import CosearchError

    if (layer is None) == (network is None):
        raise CosearchError("name either --layer or --network")
    accelerator = load_target(target)
    layers = [("layer", Layer.parse(layer))] if layer is not None else _distinct(_network(str(network), None))
    results = [
        (name, best_mapping(shape, accelerator, objective, mapper=mapper, effort=effort, seed=seed))
        for name, shape in layers
    ]
    rows: list[dict[str, Any]] = [
        {
            "name": name, "layer": str(found.layer), "energy_pj": found.energy_pj, "latency_cycles": found.latency_cycles,
            "edp": found.edp, "optimal": found.optimal, "lower_bound": found.lower_bound, "evaluated": found.evaluated,
            "seconds": found.seconds, "mapping": found.mapping.loop_nest(accelerator),
        }
        for name, found in results
    ]  # fmt: skip
    if format is Format.json:
        for row, (_, found) in zip(rows, results, strict=True):
            cost = layer_cost(found.layer, accelerator, found.mapping)
            row["traffic"] = cost.to_dataframe().to_dict("records")
            row["mac_energy_pj"], row["level_cycles"] = cost.mac_energy_pj, dict(cost.level_cycles)
        _print_json({"layers": rows} if layer is None else rows[0])
    elif format is Format.csv:
        import pandas as pd

        typer.echo(pd.DataFrame(rows).drop(columns="mapping").to_csv(index=False), nl=False)
    elif layer is not None:
        row = rows[0]
        typer.echo(row["mapping"])
        proof = "optimal" if row["optimal"] else f"not proven optimal; no mapping is below {row['lower_bound']:.4g}"
        typer.echo(
            f"\n{row['energy_pj']:.6g} pJ, {row['latency_cycles']:.0f} cycles, EDP {row['edp']:.4e} pJ cycles; {proof}; "
            f"{row['evaluated']} mappings in {row['seconds']:.3f} s"
        )
        from cosearch.report.text import layer_table

        _print_table(layer_table(layer_cost(results[0][1].layer, accelerator, results[0][1].mapping)))
    else:
        from cosearch.report.text import table

        names = ["name", "layer", "energy_pj", "latency_cycles", "edp", "lower_bound"]
        _print_table(table(f"{network} on {target}", names, [[row[name] for name in names] for row in rows]))


@targets_app.command("list", epilog="Example: cosearch targets list")
def targets_list(format: FormatOption = Format.table) -> None:
    """List the targets that ship."""
    from accel_models.description import load_target, target_names

    _print_rows("target", [(name, load_target(name).summary) for name in target_names()], format)


@targets_app.command("show", epilog="Example: cosearch targets show eyeriss")
def targets_show(
    target: Annotated[str, typer.Argument(help="Name or file.")], format: TableOrJsonOption = TableOrJson.table
) -> None:
    """Show one target: levels, sizes, energies, area, search ranges."""
    from accel_models.description import load_target
    from cosearch.report.text import hardware_table, table

    found = load_target(target)
    if format is TableOrJson.json:
        _print_json(
            {**found.model_dump(mode="json"), "area_mm2": found.area_mm2, "macs_per_cycle": found.macs_per_cycle}
        )
        return
    typer.echo(found.summary)
    for source in found.sources:
        typer.echo(f"  source: {source}")
    _print_table(hardware_table(found))
    _print_table(table("area", ["part", "mm²"], list(found.area_breakdown_mm2.items())))
    rows = [
        [knob.name, len(knob.values()), _span(knob.values()), knob.unit, ", ".join(knob.sets)] for knob in found.search
    ]
    _print_table(table("search", ["knob", "choices", "values", "unit", "sets"], rows))


@targets_app.command("check", epilog="Example: cosearch targets check mine.yaml")
def targets_check(file: Annotated[str, typer.Argument(help="A description file.")]) -> None:
    """Check a description; every mistake is named with its line."""
    from accel_models.description import load_target

    found = load_target(file)
    typer.echo(
        f"{file}: {found.name} is fine: {found.macs_per_cycle} MACs, {len(found.levels)} levels, {found.area_mm2:.2f} mm²"
    )


@targets_app.command("schema", epilog="Example: cosearch targets schema > target.schema.json")
def targets_schema() -> None:
    """Print the JSON schema of a description, for editors."""
    from accel_models.accelerator import Accelerator

    _print_json(Accelerator.model_json_schema())


@spaces_app.command("list", epilog="Example: cosearch spaces list")
def spaces_list(format: FormatOption = Format.table) -> None:
    """List the spaces of networks."""
    from cosearch.spaces import load_space, space_names

    _print_rows("space", [(name, load_space(name).summary) for name in space_names()], format)


@spaces_app.command("show", epilog="Example: cosearch spaces show ofa-mobilenet-v3")
def spaces_show(space: Annotated[str, typer.Argument(help="Name of a space.")]) -> None:
    """Show a space's knobs and size."""
    from cosearch.report.text import table
    from cosearch.spaces import load_space

    found = load_space(space)
    rows = [[knob.name, len(knob.choices), _span(knob.choices), knob.unit] for knob in found.knobs]
    _print_table(
        table(f"{found.name}: {found.summary}; {found.size:.3g} networks", ["knob", "choices", "values", "unit"], rows)
    )


@spaces_app.command("sample", epilog="Example: cosearch spaces sample ofa-mobilenet-v3 --seed 1 -n 3")
def spaces_sample(
    space: Annotated[str, typer.Argument(help="Name of a space.")],
    seed: SeedOption = 0,
    count: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 1,
) -> None:
    """Draw random networks: one JSON object with their choices, MACs and parameters."""
    import numpy as np

    from cosearch.spaces import load_space

    found = load_space(space)
    rows = []
    for genome in found.sample_genomes(np.random.default_rng(seed), count):
        network = found.network(genome)
        rows.append({"values": found.active_values(genome), "macs": network.macs, "params": network.params})
    _print_json({"space": space, "seed": seed, "networks": rows})


class Catalogue(StrEnum):
    """What `cosearch list` can list."""

    strategies = "strategies"
    estimators = "estimators"
    networks = "networks"


@app.command(name="list", epilog="Example: cosearch list networks")
def list_names(what: Catalogue, format: FormatOption = Format.table) -> None:
    """List strategies, accuracy estimators or networks."""
    _print_rows(what.value, _catalogue(what), format)


def _catalogue(what: Catalogue) -> list[tuple[str, str]]:
    if what is Catalogue.networks:
        from accel_models.networks import NETWORKS

        return [(name, entry.summary) for name, entry in NETWORKS.items()]
    from cosearch.accuracy import GROUP as ESTIMATORS
    from cosearch.plugins import load_plugin, plugin_names
    from cosearch.strategies import GROUP as STRATEGIES

    group = STRATEGIES if what is Catalogue.strategies else ESTIMATORS
    return [
        (name, (load_plugin(group, what.value, name).__doc__ or "").splitlines()[0]) for name in plugin_names(group)
    ]


def _network(name: str, resolution: int | None) -> Network:
    from accel_models.networks import load_network, read_config

    return read_config(name, resolution) if name.endswith(".json") else load_network(name, resolution)


def _distinct(network: Network) -> list[tuple[str, Any]]:
    return list({layer: (name, layer) for name, layer in reversed(network.layers)}.values())[::-1]


def _span(values: tuple[Any, ...]) -> str:
    if len(values) > 4 and all(isinstance(value, (int, float)) for value in values):
        return f"{values[0]}, {values[1]} ... {values[-1]}"
    return ", ".join(" ".join(map(str, value)) if isinstance(value, tuple) else str(value) for value in values)


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


def _cost_json(cost: Any) -> dict[str, Any]:
    rows = [
        {"name": row.name, "kind": row.kind, "layer": str(row.layer), "macs": row.macs, "latency_cycles": row.latency_cycles,
         "energy_pj": row.energy_pj, "utilisation": row.utilisation}
        for row in cost.layers
    ]  # fmt: skip
    keys = ("network", "target", "latency_s", "energy_j", "area_mm2", "edp_js", "macs", "params")
    return {**{key: getattr(cost, key) for key in keys}, "layers": rows}


def _print_rows(kind: str, rows: list[tuple[str, str]], format: Format) -> None:
    if format is Format.json:
        _print_json({"rows": [{"name": name, "summary": summary} for name, summary in rows]})
        return
    if format is Format.csv:
        import csv

        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("name", "summary"), *rows])
        typer.echo(text.getvalue(), nl=False)
        return
    width = max((len(name) for name, _ in rows), default=0)
    for name, summary in rows:
        typer.echo(f"{name:<{width}}  {summary}")


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    """Return a JSON value with null where a number is none: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain_text(cell: Any) -> Any:
    """Write a list of dims as a table's cell."""
    return " ".join(map(str, cell)) if isinstance(cell, tuple) else cell


def _print_table(made: Table) -> None:
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    title, made.title = made.title, None  # rich would fold a title at the width of its table
    if title:
        console.print(title, soft_wrap=True)
    console.print(made)


def _watched(run: Any, budget: int, folder: Path) -> Study:
    """Run a search with a progress line on a terminal (on standard error), quiet in a pipe."""
    if not sys.stderr.isatty():
        return _interruptible(lambda: run(None), folder)
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

        return _interruptible(lambda: run(watch), folder)


def _interruptible(run: Any, folder: Path) -> Study:
    from cosearch.errors import CosearchError
    from cosearch.study import Study

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
    front = study.front_pairs()
    pairs = len(study.archive.pairs())
    typer.echo(f"{pairs} pairs evaluated, {len(front)} on the front, recorded in {folder}")
    for objective in study.objectives:
        values = [pair.metrics[objective.metric] * objective.scale for pair in front]
        typer.echo(f"  {objective.title}: {min(values):.4g} to {max(values):.4g} {objective.unit}")
    typer.echo(f"next: cosearch front {folder}   cosearch plot {folder}   cosearch show {folder} {front[0].id}")


def main() -> None:
    """Run the command; a mistake of the user's gives one message on standard error and exit code 2."""
    from accel_models.errors import AccelModelsError
    from cosearch.errors import CosearchError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot write "mm²" gets "mm?", not a traceback
    try:
        app()
    except (CosearchError, AccelModelsError) as error:
        typer.echo(f"cosearch: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        sys.exit(0)
    except OSError as error:  # a full disk, a file that may not be read
        typer.echo(f"cosearch: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
