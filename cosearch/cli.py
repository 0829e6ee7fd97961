"""The command `cosearch`. Commands parse, call the Python API, print; nothing heavy is imported before it is used."""

from __future__ import annotations

import io
import sys

import typer

from cosearch.commands import catalogue, efficiency, models, rescore, runs, training

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find neural networks and the accelerators that run them, together.",
    epilog="Example: cosearch search --space ofa-mobilenet-v3 --target eyeriss --out runs/first",
)
for part in (runs, rescore, training, models, efficiency, catalogue):
    app.add_typer(part.app)


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
