"""The true front of a joint sub-space, known completely: ``python -m benchmarks.ground_truth``.

1. *Costs.* On each of some 10,000 machines (`benchmarks.known_space`) every distinct layer of every network is mapped by
   the exact mapper; what every piece costs is kept.
2. *Fronts.* On each machine the front over all networks is a dynamic program (`cosearch.network_front`); the front of
   those fronts is the true one. A machine on which every piece costs at least as much as on another one, at no better
   accuracy, cannot add to it and is left out.

The work is cut into parts, each written to ``FILE.parts`` when it is done: stop at any time, call again, and it goes on.
The file is the same, byte for byte, however often it was stopped and for any number of workers.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.command import run
from benchmarks.known_machines import Arrays, machine_costs, machine_fronts, together
from benchmarks.known_space import (
    CHOICES,
    COSTS,
    DEFAULT_FILE,
    RESOLUTIONS,
    KnownSpace,
    Question,
    machines_of,
    read_arrays,
    write_arrays,
)
from cosearch.errors import CosearchError, RunError
from cosearch.evaluate import open_pool
from cosearch.objective import parse_objectives

MACHINES_PER_PART = 144
FRONTS_PER_PART = 8
FRONTS = "top1,latency;top1,energy;top1,latency,energy"
ADDED = {"latency": "cycles", "energy": "energy_j"}
"""Objectives that are sums over pieces, and the costs that they are sums of."""


def make_parts(
    folder: Path, jobs: Mapping[str, tuple[Any, ...]], work: Callable[..., Arrays], workers: int, what: str
) -> list[Arrays]:
    """Return what `work` makes of the arguments of every job, in order; what lies in `folder` already is read.

    Raises
    ------
    OSError
        If a part cannot be written.
    """
    files = {name: folder / f"{name}.npz" for name in jobs}
    missing = [name for name in jobs if not files[name].exists()]
    done, start = len(jobs) - len(missing), time.perf_counter()
    if missing:
        typer.echo(f"{what}: {done} of {len(jobs)} parts are there", err=True)
    with open_pool(min(workers, max(len(missing), 1))) as executor:
        for name, arrays in _made({name: jobs[name] for name in missing}, work, executor):
            write_arrays(files[name], arrays)
            done += 1
            left = (time.perf_counter() - start) / (done - len(jobs) + len(missing)) * (len(jobs) - done)
            typer.echo(f"{what}: {done} of {len(jobs)} parts, {left / 60:.1f} min left", err=True)
    return [read_arrays(file) for file in files.values()]


def _made(
    jobs: Mapping[str, tuple[Any, ...]], work: Callable[..., Arrays], executor: Executor | None
) -> Iterator[tuple[str, Arrays]]:
    """Yield name and result of every job, as they are done."""
    if executor is None:
        yield from ((name, work(*arguments)) for name, arguments in jobs.items())
        return
    names = {executor.submit(work, *arguments): name for name, arguments in jobs.items()}
    for future in as_completed(names):
        yield names[future], future.result()


def costs(question: Question, folder: Path, workers: int) -> Arrays:
    """Return what every piece costs on every machine; see :func:`machine_costs`."""
    text = question.to_json()
    spans = [
        range(first, min(first + MACHINES_PER_PART, question.count))
        for first in range(0, question.count, MACHINES_PER_PART)
    ]
    jobs = {f"costs-{span.start:05d}": (text, span) for span in spans}
    parts = make_parts(folder, jobs, machine_costs, workers, "costs")
    joined = {name: np.concatenate([part[name] for part in parts]) for name in ("cycles", "energy_j", "area_mm2")}
    sizes = {name: np.fmax.reduce([part[name] for part in parts]) for name in ("macs", "params")}
    return joined | sizes


def useful_machines(costs: NDArray[np.float64], bits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the machines on which no piece is as cheap as on one other machine at least, ascending.

    Parameters
    ----------
    costs
        float64 (machines, costs): of every piece, in what the objectives are about; NaN on machines that run nothing.
    bits
        int64 (machines,): more are more accurate.
    """
    kept: list[int] = []
    cheap = np.empty_like(costs)
    for machine in np.argsort(costs.sum(axis=1), kind="stable"):  # whoever is cheaper in all is cheaper in the sum
        if np.isnan(costs[machine, 0]):
            continue
        others = cheap[: len(kept)]
        if not ((others <= costs[machine]).all(axis=1) & (bits[kept] >= bits[machine])).any():
            cheap[len(kept)] = costs[machine]
            kept.append(int(machine))
    return np.sort(np.array(kept, dtype=np.int64))


def true_front(question: Question, costs: Arrays, objectives: tuple[str, ...], folder: Path, workers: int) -> Arrays:
    """Return the true front in some objectives."""
    there = ~np.isnan(costs["cycles"]).all(axis=0)
    columns = [costs[ADDED[name]][:, there] for name in objectives if name in ADDED]
    machines = useful_machines(np.hstack(columns), question.word_bits)
    text, jobs = question.to_json(), {}
    for first in range(0, len(machines), FRONTS_PER_PART):
        some = machines[first : first + FRONTS_PER_PART]
        rows = costs | {name: costs[name][some] for name in ("cycles", "energy_j")}
        jobs[f"{'-'.join(objectives)}-{first:05d}"] = (text, objectives, some, rows)
    what = f"front of {', '.join(objectives)}, {len(machines)} machines not outdone in every piece"
    return together(make_parts(folder, jobs, machine_fronts, workers, what))


def make(question: Question, objectives: Sequence[tuple[str, ...]], file: Path, workers: int) -> None:
    """Write the truth, by way of its parts.

    Raises
    ------
    RunError
        If the parts that lie there are of another question.
    """
    folder = file.with_name(file.name + ".parts")
    folder.mkdir(parents=True, exist_ok=True)
    asked = folder / "question.json"
    if asked.exists() and asked.read_text(encoding="utf-8") != question.to_json():
        raise RunError(f"{folder}: these parts are of another sub-space; remove them, or write to another file (--out)")
    asked.write_text(question.to_json(), encoding="utf-8")
    arrays = costs(question, folder, workers)
    stored: Arrays = {"question": np.array(question.to_json())} | {name: arrays[name] for name in COSTS}
    for names in objectives:
        front = true_front(question, arrays, names, folder, workers)
        stored |= {f"{part} of {','.join(names)}": array for part, array in front.items()}
    write_arrays(file, stored)
    shutil.rmtree(folder)


def fewer(choices: Mapping[str, tuple[Any, ...]], machines: int) -> dict[str, tuple[Any, ...]]:
    """Return the first of the choices, at most so many machines: the longest list always loses its last choice."""
    left = dict(choices)
    while math.prod(map(len, left.values())) > machines:
        longest = max(left, key=lambda name: len(left[name]))
        left[longest] = left[longest][:-1]
    return left


def summary(truth: KnownSpace, file: Path) -> list[str]:
    """Return what there is to say about a truth."""
    mapped = int((~np.isnan(truth.costs["area_mm2"])).sum())
    question = truth.question
    lines = [
        f"{truth.space.name}: {question.count:,} machines, {mapped:,} of them run the networks; all "
        f"{truth.space.networks.size:.2g} networks at {', '.join(map(str, question.resolutions))} px",
        f"{len(question.layers)} distinct layers on each, each at its proven best mapping ({question.mapping.objective}); "
        f"{file}: {file.stat().st_size / 1e6:.1f} MB",
    ]
    for objectives, front in truth.fronts.items():
        machines, points = np.unique(front.machines, return_counts=True)
        lines.append(
            f"true front of {', '.join(objectives)}: {len(front.values):,} pairs of {len(machines)} machines, "
            f"{points.max():,} of them of one machine"
        )
    return lines


def main(
    out: Annotated[
        Path, typer.Option(help="File of the truth; its parts lie beside it until it is done.")
    ] = DEFAULT_FILE,
    machines: Annotated[int | None, typer.Option(min=1, help="At most so many machines; all without.")] = None,
    resolutions: Annotated[str, typer.Option(help="Of the networks, in px, comma-separated.")] = ",".join(
        map(str, RESOLUTIONS)
    ),
    fronts: Annotated[str, typer.Option(help="Sets of objectives, separated by semicolons.")] = FRONTS,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Work out the true front of a sub-space that is small enough to be known completely."""
    objectives = [tuple(names.split(",")) for names in fronts.split(";")]
    for names in objectives:
        parse_objectives(names)
        if not set(names) <= {"top1", *ADDED}:
            raise CosearchError(f"fronts: {','.join(names)}: only top1, latency and energy are worked out here")
    choices = CHOICES if machines is None else fewer(CHOICES, machines)
    question = Question(machines_of(choices), tuple(_number(word) for word in resolutions.split(",")))
    start, busy = time.perf_counter(), processor_seconds()
    if not out.exists():
        make(question, objectives, out, workers)
        typer.echo(
            f"{time.perf_counter() - start:.1f} s, {processor_seconds() - busy:.1f} s of processor, this call", err=True
        )
    truth = KnownSpace.load(out)
    if truth.question.to_json() != question.to_json() or set(objectives) - set(truth.fronts):
        raise RunError(f"{out}: there is another truth already; remove it, or write to another file (--out)")
    typer.echo("\n".join(summary(truth, out)))


def processor_seconds() -> float:
    """Return the processor time of this process and of those that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _number(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise CosearchError(f"resolutions: {word!r} is no number of pixels") from None


if __name__ == "__main__":
    run(main)
