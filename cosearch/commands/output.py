"""How results are printed: tables, JSON, lists of names."""

from __future__ import annotations

import io
import json
import math
import sys
from typing import TYPE_CHECKING, Any

import typer

from cosearch.commands.options import Format

if TYPE_CHECKING:
    from rich.table import Table


def print_rows(rows: list[tuple[str, str]], format: Format) -> None:
    """Print names with their summaries."""
    if format is Format.json:
        print_json({"rows": [{"name": name, "summary": summary} for name, summary in rows]})
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


def tell_if_cold(mapper: str) -> None:
    """Say why the first mapping takes long, where it does."""
    from accel_models.loopnest.compile import is_cold

    if mapper == "exact" and is_cold():
        typer.echo("first use: compiling the mapper, once, for a minute or two", err=True)


def print_json(value: Any) -> None:
    """Print one JSON object."""
    typer.echo(json.dumps(_finite(value), indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    """Return a JSON value with null where a number is none: JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain_text(cell: Any) -> Any:
    """Write a list of dims as a table's cell."""
    return " ".join(map(str, cell)) if isinstance(cell, tuple) else cell


def print_table(made: Table) -> None:
    """Print a table, at the terminal's width where there is one."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    title, made.title = made.title, None  # rich would fold a title at the width of its table
    if title:
        console.print(title, soft_wrap=True)
    console.print(made)


def span(values: tuple[Any, ...]) -> str:
    """Write choices shortly: the first two and the last of many numbers."""
    if len(values) > 4 and all(isinstance(value, (int, float)) for value in values):
        return f"{values[0]}, {values[1]} ... {values[-1]}"
    return ", ".join(" ".join(map(str, value)) if isinstance(value, tuple) else str(value) for value in values)
