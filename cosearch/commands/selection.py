"""`cosearch spaces select`: which part of a space to search, for a memory that is given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from cosearch.commands.options import Format, FormatOption, SeedOption
from cosearch.commands.output import print_json, print_table

EPILOG = "Example: cosearch spaces select mcunet --sram-kib 320 --flash-kib 1024 --plot cdf.png"


def select(
    space: Annotated[str, typer.Argument(help="Name of a space with one width for the whole network.")],
    sram_kib: Annotated[float, typer.Option(help="What int8 activations may take at any moment, in KiB.")],
    flash_kib: Annotated[float, typer.Option(help="What int8 weights may take, in KiB.")],
    samples: Annotated[int, typer.Option(min=1, help="Networks drawn per width and resolution.")] = 1000,
    seed: SeedOption = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw the distributions of MACs: .png, .svg or .pdf.")] = None,
    top: Annotated[int, typer.Option(min=1, help="Rows of the table; csv and json have all.")] = 12,
    format: FormatOption = Format.table,
) -> None:
    """Rank the sub-spaces of one width and resolution by the MACs of networks that fit (TinyNAS)."""
    from cosearch.report.figure import refuse_format
    from cosearch.spaces import load_space
    from cosearch.tiny_nas import select_sub_space

    refuse_format(plot)
    found = select_sub_space(load_space(space), sram_kib=sram_kib, flash_kib=flash_kib, samples=samples, seed=seed)
    found = replace(found, space=space)  # the name that was typed loads a sub-space again, of a file too
    best = found.best
    frame = found.to_dataframe()
    if format is Format.csv:
        typer.echo(frame.to_csv(index=False), nl=False)
    elif format is Format.json:
        records = frame.astype(object).where(frame.notna(), None).to_dict("records")
        limits = {"sram_kib": sram_kib, "flash_kib": flash_kib, "samples": samples, "seed": seed}
        print_json({**limits, "best": found.name(best), "rows": records})
    else:
        from cosearch.report.text import table

        columns = ["rank", "sub-space", "fitting %", "mean M MACs", "median", "90th percentile"]
        rows = [
            [place, found.name(part), 100 * part.fitting, part.mean_macs / 1e6]
            + [part.quantile_macs(share) / 1e6 for share in (0.5, 0.9)]
            for place, part in enumerate(found.ranked[:top], 1)
        ]
        few = f"; in {len(found.unranked)} more, too few fit" if found.unranked else ""
        title = f"{len(found.ranked)} sub-spaces of {space} for {sram_kib:g} KiB SRAM, {flash_kib:g} KiB flash{few}"
        print_table(table(title, columns, rows))
        typer.echo(f"search this one: --space {found.name(best)}")
    if plot is not None:
        from cosearch.report.cdf import plot_cdf

        plot_cdf(found, plot)
