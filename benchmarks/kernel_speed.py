"""Full evaluations of mappings per second and core: ``python -m benchmarks.kernel_speed``.

Random legal mappings of ResNet-50's distinct layers on one target (the five-level Eyeriss unless told otherwise). Each
evaluation checks the mapping, counts every read, fill and update, and computes energy and cycles. Compilation is timed
apart. The rate is per second of processor time, so that a busy machine does not lower it. The second figure is wall-clock
time of two threads on halves of the same rows (the kernel releases the interpreter lock) against one. What a second thread
is worth on this machine at this moment is printed beside it: the same ratio for a loop that touches no memory.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numba
import numpy as np
import typer
from numpy.typing import NDArray

from accel_models.batch import evaluate_mappings
from accel_models.description import load_target
from accel_models.loopnest.sample import sample_batch
from accel_models.mapper.sampled import divisors
from accel_models.networks import load_network
from accel_models.plan import Plan, make_plan
from benchmarks.command import run


def draw(plan: Plan, rows: int, seed: int) -> NDArray[np.int32]:
    """Return random legal mappings of one layer."""
    table = divisors(tuple(int(bound) for bound in plan.layer[:8]))
    mappings = np.empty((rows, plan.levels, 4, 8), dtype=np.int32)
    found = sample_batch(np.uint64(seed), plan.layer, plan.machine, plan.most, plan.fixed, plan.order, table, mappings)
    return mappings[:found]


@numba.njit(nogil=True)
def spin(steps: int) -> int:
    """A chain of dependent multiplications: no memory, nothing to vectorise."""
    state = np.uint64(1)
    for _ in range(steps):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
    return int(state)


def spin_seconds(pool: ThreadPoolExecutor, steps: int, threads: int) -> float:
    """Wall-clock seconds of the bare loop, split over threads."""
    start = time.perf_counter()
    list(pool.map(spin, [steps // threads] * threads))
    return time.perf_counter() - start


def seconds_for(works: list[tuple[Plan, NDArray[np.int32]]], threads: int) -> tuple[float, float]:
    """Wall-clock and processor seconds to evaluate everything."""
    start, busy = time.perf_counter(), time.process_time()
    for plan, mappings in works:
        evaluate_mappings(plan, mappings, threads)
    return time.perf_counter() - start, time.process_time() - busy


def main(
    target: Annotated[str, typer.Option(help="Target to map on.")] = "eyeriss",
    network: Annotated[str, typer.Option(help="Whose layers.")] = "resnet50",
    rows: Annotated[int, typer.Option(min=100, help="Mappings per layer.")] = 50_000,
    repeats: Annotated[int, typer.Option(min=1, help="The median of so many runs is reported.")] = 9,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Measure evaluations per second on one core, and what a second core adds."""
    start = time.perf_counter()
    plans = [make_plan(layer, load_target(target)) for layer in load_network(network).distinct_layers]
    works = [(plan, draw(plan, rows, seed)) for seed, plan in enumerate(plans, 1)]
    illegal = sum(int((evaluate_mappings(plan, mappings).code != 0).sum()) for plan, mappings in works)
    ready = time.perf_counter() - start
    total = sum(len(mappings) for _, mappings in works)
    ones, twos, busy, bare = [], [], [], []
    pool, steps = ThreadPoolExecutor(2), 300_000_000
    spin_seconds(pool, 1000, 2)
    for _ in range(repeats):
        wall, processor = seconds_for(works, 1)
        ones.append(wall)
        busy.append(processor)
        twos.append(seconds_for(works, 2)[0])
        bare.append(spin_seconds(pool, steps, 1) / spin_seconds(pool, steps, 2))
    rate, speedup = total / float(np.median(busy)), float(np.median(ones) / np.median(twos))
    typer.echo(
        f"{network} on {target}: {len(works)} layers, {total} mappings, {plans[0].levels} levels; {illegal} illegal"
    )
    typer.echo(f"set-up, sampling and compilation: {ready:.1f} s")
    typer.echo(
        f"one core:  {rate / 1e6:.2f} M evaluations/s ({1e9 / rate:.0f} ns each; best run {total / min(busy) / 1e6:.2f} M/s)"
    )
    typer.echo(
        f"two cores: {speedup:.2f}x (best runs {min(ones) / min(twos):.2f}x); "
        f"a bare loop gains {np.median(bare):.2f}x (best {max(bare):.2f}x) here and now"
    )
    bytes_per_row = works[0][1][0].nbytes + 3 * 8
    typer.echo(f"each reads {bytes_per_row} bytes: {rate * bytes_per_row / 1e9:.2f} GB/s of memory traffic")
    if json_file:
        figures = {
            "evaluations_per_second_per_core": rate,
            "two_core_speedup": speedup,
            "two_core_speedup_of_a_bare_loop": float(np.median(bare)),
            "mappings": total,
            "setup_s": ready,
        }
        json_file.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    run(main)
