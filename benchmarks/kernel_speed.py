"""Full evaluations of mappings per second and core: ``python -m benchmarks.kernel_speed``.

Random legal mappings of ResNet-50's distinct layers on one target (the five-level Eyeriss unless told otherwise). Each
evaluation checks the mapping, counts every read, fill and update, and computes energy and cycles. Compilation is timed
apart. The rate is per second of processor time, so that a busy machine does not lower it. The second figure is wall-clock
time of two threads on halves of the same rows (the kernel releases the interpreter lock) against one.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from accel_models.description import load_target
from accel_models.loopnest.counts import evaluate_batch
from accel_models.loopnest.sample import sample_batch
from accel_models.mapper.sampled import divisors
from accel_models.networks import load_network
from accel_models.plan import Plan, make_plan
from benchmarks.command import run


class Work:
    """Mappings of one layer and where their results go."""

    def __init__(self, plan: Plan, rows: int, seed: int) -> None:
        self.plan = plan
        table = divisors(tuple(int(bound) for bound in plan.layer[:8]))
        mappings = np.empty((rows, plan.levels, 4, 8), dtype=np.int64)
        found = sample_batch(np.uint64(seed), plan.layer, plan.machine, plan.allowed_x, plan.allowed_y, table, mappings)
        self.mappings = mappings[:found]
        self.energies_pj, self.cycles = np.empty(found), np.empty(found)
        self.codes = np.empty(found, dtype=np.int64)

    def evaluate(self, start: int, stop: int) -> None:
        """Evaluate some of the rows."""
        part = slice(start, stop)
        evaluate_batch(
            self.plan.layer, self.plan.machine, self.plan.mac_energy_pj, self.mappings[part], self.energies_pj[part],
            self.cycles[part], self.codes[part],
        )  # fmt: skip


def seconds_for(works: list[Work], threads: int) -> tuple[float, float]:
    """Wall-clock and processor seconds to evaluate everything, each thread on its share of every layer's rows."""

    def share(thread: int) -> None:
        for work in works:
            rows = len(work.codes)
            work.evaluate(rows * thread // threads, rows * (thread + 1) // threads)

    start, busy = time.perf_counter(), time.process_time()
    if threads == 1:
        share(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(share, range(threads)))
    return time.perf_counter() - start, time.process_time() - busy


def main(
    target: Annotated[str, typer.Option(help="Target to map on.")] = "eyeriss",
    network: Annotated[str, typer.Option(help="Whose layers.")] = "resnet50",
    rows: Annotated[int, typer.Option(min=100, help="Mappings per layer.")] = 20_000,
    repeats: Annotated[int, typer.Option(min=1, help="The median of so many runs is reported.")] = 9,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Measure evaluations per second on one core, and what a second core adds."""
    start = time.perf_counter()
    layers = list(load_network(network).distinct_layers)
    works = [Work(make_plan(layer, load_target(target)), rows, seed + 1) for seed, layer in enumerate(layers)]
    works[0].evaluate(0, 1)
    ready = time.perf_counter() - start
    total = sum(len(work.codes) for work in works)
    ones, twos, busy = [], [], []
    for _ in range(repeats):
        wall, processor = seconds_for(works, 1)
        ones.append(wall)
        busy.append(processor)
        twos.append(seconds_for(works, 2)[0])
    illegal = sum(int((work.codes != 0).sum()) for work in works)
    rate, speedup = total / float(np.median(busy)), float(np.median(ones) / np.median(twos))
    typer.echo(f"{network} on {target}: {len(layers)} layers, {total} mappings, {works[0].plan.levels} levels; {illegal} illegal")
    typer.echo(f"set-up, sampling and compilation: {ready:.1f} s")
    typer.echo(f"one core:  {rate / 1e6:.2f} M evaluations/s ({1e9 / rate:.0f} ns each; best run {total / min(busy) / 1e6:.2f} M/s)")
    typer.echo(f"two cores: {speedup:.2f}x (best runs {min(ones) / min(twos):.2f}x)")
    bytes_per_row = works[0].mappings[0].nbytes + 3 * 8
    typer.echo(f"each reads {bytes_per_row} bytes: {rate * bytes_per_row / 1e9:.2f} GB/s of memory traffic")
    if json_file:
        figures = {"evaluations_per_second_per_core": rate, "two_core_speedup": speedup, "mappings": total, "setup_s": ready}
        json_file.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    run(main)
