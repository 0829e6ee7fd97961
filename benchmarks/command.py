"""How a benchmark becomes a command: one message and exit code 2 for a mistake of the user's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from accel_models.errors import AccelModelsError
from cosearch.errors import CosearchError


def run(main: Callable[..., Any]) -> None:
    """Run `main` as a typer command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except (CosearchError, AccelModelsError, OSError) as error:
        typer.echo(f"{main.__module__}: {error}", err=True)
        sys.exit(2)
