"""Commands about the latency of a measured device: list what to measure, fit a model, look at estimates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cosearch.commands.options import SeedOption, TableOrJson, TableOrJsonOption
from cosearch.commands.output import print_json, print_table

if TYPE_CHECKING:
    from cosearch.efficiency.tables import PartTable
    from cosearch.space import NetworkSpace

SpaceOption = Annotated[str, typer.Option(help="A name of `cosearch spaces list`.")]

app = typer.Typer()
device_app = typer.Typer(
    no_args_is_help=True,
    help="Latency on a device that was measured: look-up tables and fitted models.",
    epilog="Example: cosearch device-latency show lookup:note10/ --space ofa-mobilenet-v3-w1.2",
)
app.add_typer(device_app, name="device-latency")


@device_app.command("parts", epilog="Example: cosearch device-latency parts --space digits -o parts.csv")
def parts(
    space: SpaceOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="CSV file, its latency_ms left to be filled in.")],
    resolution: Annotated[list[int] | None, typer.Option(help="Of these alone (px); all of them without.")] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Random networks to look into, where no list of pieces is known.")
    ] = 1000,
    seed: SeedOption = 0,
) -> None:
    """Write the parts to be timed on a device before --device lookup:FILE.csv can be used."""
    import csv

    from cosearch.efficiency.space_parts import parts_of_space
    from cosearch.efficiency.table_files import PART_COLUMNS, part_cells
    from cosearch.spaces import load_space

    rows = parts_of_space(load_space(space), resolution or None, samples, seed)
    with output.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["name", *PART_COLUMNS], restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows({"name": name, **part_cells(part)} for name, part in rows)
    typer.echo(f"wrote {output}: {len(rows)} parts", err=True)


@device_app.command(
    "fit", epilog="Example: cosearch device-latency fit measured.csv --space nas-bench-201 -o pixel3.json"
)
def fit(
    measured: Annotated[Path, typer.Argument(help="CSV: one column per knob, and latency_ms or latency_s.")],
    space: SpaceOption,
    output: Annotated[Path, typer.Option("-o", "--output", help="JSON file for --device learned:FILE.json.")],
    device: Annotated[str, typer.Option(help="What was measured, in one line.")] = "",
    seed: SeedOption = 0,
    format: TableOrJsonOption = TableOrJson.table,
) -> None:
    """Fit a model to measured networks, and say how far off it is on networks that it has not seen."""
    from cosearch.efficiency.fit import fit as fit_model
    from cosearch.efficiency.fit import read_measurements
    from cosearch.spaces import load_space

    found = load_space(space)
    genomes, latency_s = read_measurements(found, measured)
    made = fit_model(
        found, genomes, latency_s, device=device or f"{measured.name}: {len(latency_s)} networks", seed=seed
    )
    made.model.write(output)
    errors = made.model.errors
    figures = {
        "rows": len(latency_s), "held_back_error": errors.held_back, "beyond_error": errors.beyond,
        "constant_error": errors.constant, "macs_line_error": made.macs_error, "counts": made.model.counts,
    }  # fmt: skip
    if format is TableOrJson.json:
        print_json(figures)
    else:
        typer.echo(
            f"{len(latency_s)} networks; mean |ln(estimate / measured)| on rows held back: {errors.held_back:.4f}\n"
            f"  beyond the measured range {errors.beyond:.4f}; of a line on log MACs {made.macs_error:.4f}, "
            f"of the median {errors.constant:.4f}"
        )
    typer.echo(f"wrote {output}", err=True)


@device_app.command(
    "show", epilog="Example: cosearch device-latency show lookup:note10/ --space ofa-mobilenet-v3-w1.2 -n 5"
)
def show(
    device: Annotated[str, typer.Argument(help="lookup:PATH, lookup-nearest:PATH or learned:FILE.json.")],
    space: Annotated[str | None, typer.Option(help="Estimate random networks of this space.")] = None,
    network: Annotated[
        str | None, typer.Option(help="Or one network: a name of `cosearch list networks`, or a CONFIG.json.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="Input size of that network, in pixels.")] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="How many random networks.")] = 3,
    seed: SeedOption = 0,
    format: TableOrJsonOption = TableOrJson.table,
) -> None:
    """Show what a table or model covers, and what it says of some networks."""
    from cosearch.errors import CosearchError
    from cosearch.spaces import load_space

    if (space is None) == (network is None):
        raise CosearchError("name either --space or --network")
    if network is not None:
        _show_network(device, network, resolution, format)
        return
    _show_space(device, load_space(str(space)), count, seed, format)


def _show_space(device: str, space: NetworkSpace, count: int, seed: int, format: TableOrJson) -> None:
    """Print a device's coverage of a space, and its estimates of random networks."""
    import numpy as np

    from cosearch.efficiency import make_efficiency
    from cosearch.efficiency.lookup import LookupEstimator
    from cosearch.report.text import table

    estimator = make_efficiency(device, space)
    missing = list(estimator.missing()) if isinstance(estimator, LookupEstimator) else []
    genomes = space.sample_genomes(np.random.default_rng(seed), count)
    rows: list[dict[str, Any]] = []
    if not missing or device.startswith("lookup-nearest"):
        found = estimator.estimate(space.numbers(genomes))
        columns = (found.latency_s.tolist(), found.error_s.tolist(), found.extrapolated.tolist())
        for genome, latency, error, extrapolated in zip(genomes, *columns, strict=True):
            values = space.active_values(genome)
            rows.append({"latency_s": latency, "error_s": error, "extrapolated": extrapolated, "values": values})
    if format is TableOrJson.json:
        print_json({"device": estimator.device, "space": space.name, "missing": missing, "networks": rows})
        return
    typer.echo(f"{estimator.device}; {len(missing)} parts of {space.name} are missing")
    for text in missing[:5]:
        typer.echo(f"  {text}")
    cells = [
        [f"{row['latency_s'] * 1e3:.4g}", f"{row['error_s'] * 1e3:.2g}", "yes" if row["extrapolated"] else "no",
         " ".join(map(str, row["values"].values()))]
        for row in rows
    ]  # fmt: skip
    if cells:
        print_table(table("estimated latency", ["ms", "± ms", "extrapolated", "choices"], cells))


def _show_network(device: str, name: str, resolution: int | None, format: TableOrJson) -> None:
    """Print the rows of a table that make up a network's latency."""
    from cosearch.commands.models import named_network
    from cosearch.efficiency.lookup import network_latency
    from cosearch.efficiency.parts import parts_of_network
    from cosearch.efficiency.table_files import read_table
    from cosearch.efficiency.tables import PartTable
    from cosearch.errors import CosearchError
    from cosearch.report.text import table

    kind, _, path = device.partition(":")
    found = read_table(path) if kind in ("lookup", "lookup-nearest") and path else None
    if not isinstance(found, PartTable):
        raise CosearchError(f"--network needs a table of parts, such as lookup:PATH, not {device!r}; or name --space")
    network = named_network(name, resolution)
    latency_s, scaled = network_latency(found, network, nearest=kind == "lookup-nearest")
    rows = [(part.name, str(part.part), *_cells(found, part)) for part in found.rows_for(parts_of_network(network))]
    if format is TableOrJson.json:
        keys = ("name", "part", "latency_s", "measured")
        parts = [dict(zip(keys, row, strict=True)) for row in rows]
        print_json(
            {"device": found.source, "network": network.name, "latency_s": latency_s, "scaled": scaled, "parts": parts}
        )
        return
    title = f"{network.name} on {found.source}: {latency_s * 1e3:.4g} ms, {scaled} parts scaled from the nearest"
    cells = [[name, part, f"{time * 1e3:.4g}", "yes" if measured else "scaled"] for name, part, time, measured in rows]
    print_table(table(title, ["name", "part", "ms", "measured"], cells))


def _cells(table: PartTable, named: Any) -> tuple[float, bool]:
    """Return the time in s of a part, and whether it was measured."""
    timing = table.find(named.part)
    if timing is not None:
        return timing.mean_s, True
    like = table.nearest(named.part)
    return (table.scaled(named.part, like) if like is not None else float("nan")), False
