"""Commands about one network or layer on one target: evaluate, roofline, map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cosearch.commands.options import EffortOption, Format, FormatOption, MapperOption, SeedOption, TargetOption
from cosearch.commands.output import print_json, print_table, tell_if_cold

if TYPE_CHECKING:
    from accel_models.workload import Network

app = typer.Typer()


@app.command(epilog="Example: cosearch evaluate --network resnet50 --target eyeriss --format json")
def evaluate(
    network: Annotated[str, typer.Option(help="A name of `cosearch list networks`, or a CONFIG.json.")],
    target: TargetOption,
    resolution: Annotated[int | None, typer.Option(min=1, help="Input size in pixels.")] = None,
    objective: Annotated[str, typer.Option(help="What mappings minimise: edp, energy or latency.")] = "edp",
    mapper: MapperOption = "exact",
    effort: EffortOption = 1000,
    seed: SeedOption = 0,
    format: FormatOption = Format.table,
) -> None:
    """Evaluate one network on one target."""
    from accel_models.description import load_target

    accelerator = load_target(target)
    tell_if_cold(mapper)
    cost = accelerator.evaluate(
        named_network(network, resolution), objective=objective, mapper=mapper, effort=effort, seed=seed
    )
    if format is Format.json:
        print_json(cost_json(cost))
    elif format is Format.csv:
        typer.echo(cost.operations.to_dataframe().drop(columns="mapping").to_csv(index=False), nl=False)
    else:
        from cosearch.report.text import cost_table

        print_table(cost_table(cost))


@app.command(epilog="Example: cosearch roofline --network resnet50 --target eyeriss -o roofline.png")
def roofline(
    network: Annotated[str, typer.Option(help="A name of `cosearch list networks`, or a CONFIG.json.")],
    target: TargetOption,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="PNG, SVG or PDF file; roofline.png beside a table.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="Input size in pixels.")] = None,
    objective: Annotated[str, typer.Option(help="What mappings minimise: edp, energy or latency.")] = "edp",
    mapper: MapperOption = "exact",
    effort: EffortOption = 1000,
    seed: SeedOption = 0,
    format: FormatOption = Format.table,
) -> None:
    """Print and draw what memory and array allow each layer, and what it reaches."""
    from accel_models.description import load_target
    from accel_models.roofline import network_roofline
    from cosearch.report.roofline import plot_roofline, roofline_json, roofline_table

    accelerator, known = load_target(target), named_network(network, resolution)
    tell_if_cold(mapper)
    cost = accelerator.evaluate(known, objective=objective, mapper=mapper, effort=effort, seed=seed)
    found = network_roofline(known, accelerator, cost)
    if output or format is Format.table:
        output = output or Path("roofline.png")
        plot_roofline(found, output)
        typer.echo(f"wrote {output}", err=True)
    if format is Format.json:
        print_json(roofline_json(found))
    elif format is Format.csv:
        typer.echo(found.to_dataframe().to_csv(index=False), nl=False)
    else:
        print_table(roofline_table(found))


@app.command(
    name="map", epilog="Example: cosearch map --layer 'K256 C256 P14 Q14 R3 S3' --target eyeriss --objective edp"
)
def map_layer(
    target: TargetOption,
    layer: Annotated[str | None, typer.Option(help="Loop bounds, such as 'K256 C256 P14 Q14 R3 S3 stride=2'.")] = None,
    network: Annotated[str | None, typer.Option(help="Map every distinct layer of a network instead.")] = None,
    objective: Annotated[str, typer.Option(help="edp, energy or latency.")] = "edp",
    mapper: MapperOption = "exact",
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
    tell_if_cold(mapper)
    layers = [("layer", Layer.parse(layer))] if layer is not None else _distinct(named_network(str(network), None))
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
        print_json({"layers": rows} if layer is None else rows[0])
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

        print_table(layer_table(layer_cost(results[0][1].layer, accelerator, results[0][1].mapping)))
    else:
        from cosearch.report.text import table

        names = ["name", "layer", "energy_pj", "latency_cycles", "edp", "lower_bound"]
        print_table(table(f"{network} on {target}", names, [[row[name] for name in names] for row in rows]))


def named_network(name: str, resolution: int | None) -> Network:
    """Return a known network, or the one that a .json file describes."""
    from accel_models.networks import load_network, read_config

    return read_config(name, resolution) if name.endswith(".json") else load_network(name, resolution)


def _distinct(network: Network) -> list[tuple[str, Any]]:
    return list({layer: (name, layer) for name, layer in reversed(network.layers)}.values())[::-1]


def cost_json(cost: Any) -> dict[str, Any]:
    """Return a network's cost as a JSON object: totals, and a row per layer."""
    rows = [
        {"name": row.name, "kind": row.kind, "layer": str(row.layer), "macs": row.macs, "latency_cycles": row.latency_cycles,
         "energy_pj": row.energy_pj, "utilisation": row.utilisation}
        for row in cost.layers
    ]  # fmt: skip
    keys = ("network", "target", "latency_s", "energy_j", "area_mm2", "edp_js", "macs", "params", "leakage_j")
    return {**{key: getattr(cost, key) for key in keys}, "layers": rows}
