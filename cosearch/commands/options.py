"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    csv = "csv"
    json = "json"


class TableOrJson(StrEnum):
    """How results are printed that are no single table."""

    table = "table"
    json = "json"


TableOrJsonOption = Annotated[TableOrJson, typer.Option("--format", help="How to print.")]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print.")]
TargetOption = Annotated[
    str, typer.Option("--target", help="A name of `cosearch targets list`, or a description file.")
]
RunArgument = Annotated[Path, typer.Argument(help="Folder of the run.")]
EffortOption = Annotated[int, typer.Option(min=1, help="Mappings that --mapper random or naas tries per layer.")]
MapperOption = Annotated[
    str, typer.Option(help="Who looks for mappings: exact (the best of all, proven), random or naas.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")]
