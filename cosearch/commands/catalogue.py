"""Commands about what can be named: targets, spaces, strategies, estimators, networks."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cosearch.commands import selection
from cosearch.commands.options import Format, FormatOption, SeedOption, TableOrJson, TableOrJsonOption
from cosearch.commands.output import plain_text, print_json, print_rows, print_table, span

if TYPE_CHECKING:
    from cosearch.spaces.hardware import HardwareSpace

app = typer.Typer()
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
spaces_app.command("select", epilog=selection.EPILOG)(selection.select)


@targets_app.command("list", epilog="Example: cosearch targets list")
def targets_list(format: FormatOption = Format.table) -> None:
    """List the targets that ship."""
    from accel_models.description import target_summaries

    print_rows(list(target_summaries().items()), format)


@targets_app.command("show", epilog="Example: cosearch targets show eyeriss")
def targets_show(
    target: Annotated[str, typer.Argument(help="Name or file.")],
    hardware: Annotated[
        str | None, typer.Option(help="Show instead what `cosearch search --hardware` chooses from: naas or naas-bits.")
    ] = None,
    format: TableOrJsonOption = TableOrJson.table,
) -> None:
    """Show one target: levels, sizes, energies, area, search ranges."""
    from accel_models.description import load_target
    from cosearch.report.text import hardware_table, table

    found = load_target(target)
    if hardware is not None:
        from cosearch.spaces.hardware import make_hardware

        _show_hardware_space(make_hardware(hardware, found), format)
        return
    if format is TableOrJson.json:
        print_json(
            {**found.model_dump(mode="json"), "area_mm2": found.area_mm2, "macs_per_cycle": found.macs_per_cycle}
        )
        return
    typer.echo(found.summary)
    for source in found.sources:
        typer.echo(f"  source: {source}")
    print_table(hardware_table(found))
    print_table(table("area", ["part", "mm²"], list(found.area_breakdown_mm2.items())))
    rows = [
        [knob.name, len(knob.values()), span(knob.values()), knob.unit, ", ".join(knob.sets)] for knob in found.search
    ]
    print_table(table("search", ["knob", "choices", "values", "unit", "sets"], rows))


def _show_hardware_space(space: HardwareSpace, format: TableOrJson) -> None:
    """Print the knobs of a hardware space, each with the value that comes nearest to the target."""
    from cosearch.report.text import table

    native = space.active_values(space.default)
    if format is TableOrJson.json:
        knobs = [{"name": knob.name, "choices": knob.choices, "unit": knob.unit} for knob in space.knobs]
        print_json({"name": space.name, "summary": space.summary, "knobs": knobs, "default": native})
        return
    rows = [
        [knob.name, len(knob.choices), span(knob.choices), knob.unit, plain_text(native.get(knob.name, ""))]
        for knob in space.knobs
    ]
    columns = ["knob", "choices", "values", "unit", space.base.name]
    print_table(table(f"{space.name}: {space.summary}", columns, rows))


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

    print_json(Accelerator.model_json_schema())


@spaces_app.command("list", epilog="Example: cosearch spaces list")
def spaces_list(format: FormatOption = Format.table) -> None:
    """List the spaces of networks."""
    from cosearch.spaces import load_space, space_names

    print_rows([(name, load_space(name).summary) for name in space_names()], format)


@spaces_app.command("show", epilog="Example: cosearch spaces show ofa-mobilenet-v3")
def spaces_show(space: Annotated[str, typer.Argument(help="Name of a space.")]) -> None:
    """Show a space's knobs and size."""
    from cosearch.report.text import table
    from cosearch.spaces import load_space

    found = load_space(space)
    rows = [[knob.name, len(knob.choices), span(knob.choices), knob.unit] for knob in found.knobs]
    print_table(
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
    print_json({"space": space, "seed": seed, "networks": rows})


class Catalogue(StrEnum):
    """What `cosearch list` can list."""

    strategies = "strategies"
    estimators = "estimators"
    networks = "networks"


@app.command(name="list", epilog="Example: cosearch list networks")
def list_names(what: Catalogue, format: FormatOption = Format.table) -> None:
    """List strategies, accuracy estimators or networks."""
    print_rows(_catalogue(what), format)


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
