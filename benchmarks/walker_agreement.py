"""The counting kernel against a walk through the loop nest: ``python -m benchmarks.walker_agreement``.

Random small layers, machines and mappings of all kinds; the walk executes every iteration with explicit tiles and shares
no formula with the kernel (tests/accel_models/walker.py). The cases are those of the tests, more of them.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.command import run
from tests.accel_models.cases import make_case
from tests.accel_models.walker import differences


def main(
    cases: Annotated[int, typer.Option(min=1, help="Random cases.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Seed of the cases.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Count the cases in which kernel and walk differ in any count."""
    choose = random.Random(seed).choice
    start, wrong = time.perf_counter(), 0
    for number in range(cases):
        layer, accelerator, mapping = make_case(choose, max_steps=100, max_lanes=8)
        found = differences(layer, accelerator, mapping)
        if found:
            wrong += 1
            if wrong <= 3:
                typer.echo(f"case {number}: {layer}\n{mapping}\n" + "\n".join(found))
    seconds = time.perf_counter() - start
    typer.echo(f"{cases} cases in {seconds:.0f} s, {wrong} differ")
    if json_file:
        json_file.write_text(json.dumps({"cases": cases, "differ": wrong, "seconds": seconds}))
    if wrong:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(main)
