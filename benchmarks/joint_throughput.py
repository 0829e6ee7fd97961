"""Pairs and networks per second and core: ``python -m benchmarks.joint_throughput``.

Two tables. *New hardware each time*: random networks of a space on random machines of a target's search section, each
layer at its proven best mapping; timed from the genome to latency, energy and area, nothing known of the machine before.
Pairs that cannot be mapped are counted and left out of the rates. *Fixed hardware*: wall-clock seconds to make the table
of all pieces of the space's networks on one machine, with one and with two threads, and what the table then gives: costs
of random networks, genome to latency and energy.

Rates are per second of processor time, so that a busy machine does not lower them. What a second thread is worth on this
machine at this moment is printed beside the second table, as `kernel_speed` measures it. Compilation is timed apart.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from accel_models.description import load_target
from benchmarks.command import run
from benchmarks.kernel_speed import spin_seconds
from cosearch.cost_table import CostTable, make_cost_table
from cosearch.evaluate import Evaluator, MappingOptions, Specification
from cosearch.spaces import load_space

TARGETS = ("eyeriss", "nvdla_256", "edge_tpu", "shidiannao")
REPEATS = 9
"""Runs of which the median is reported."""

Json = dict[str, Any]


def joint(target: str, space: str, pairs: int, seed: int) -> Json:
    """Evaluate random pairs; return how many can be mapped, and the processor time of those in ms."""
    evaluator = Evaluator(Specification(load_space(space), load_target(target), "described", MappingOptions()))
    genomes = evaluator.space.sample_genomes(np.random.default_rng(seed), pairs + 1)
    start = time.perf_counter()
    evaluator(genomes[-1])
    compiling = time.perf_counter() - start
    times = []
    for genome in genomes[:pairs]:
        start = time.process_time()
        outcome = evaluator(genome)
        if not outcome.reason:
            times.append(1e3 * (time.process_time() - start))
    return {"target": target, "pairs": pairs, "mapped": len(times), "first_pair_s": compiling, **statistics(times)}


def statistics(times_ms: list[float]) -> Json:
    """Return what a column of times comes to; nothing where there are none."""
    if not times_ms:
        return {}
    median, mean = float(np.median(times_ms)), float(np.mean(times_ms))
    return {
        "median_ms": median,
        "mean_ms": mean,
        "p95_ms": float(np.percentile(times_ms, 95)),
        "max_ms": max(times_ms),
        "pairs_per_second_median": 1e3 / median,
        "pairs_per_second_mean": 1e3 / mean,
    }


def joint_lines(rows: list[Json]) -> list[str]:
    """Return the first table."""
    lines = [
        "new hardware each time, per core",
        f"{'target':<14}{'pairs':>6}{'mapped':>8}{'median ms':>11}{'mean ms':>9}{'p95 ms':>8}{'max ms':>8}"
        f"{'pairs/s (median)':>18}{'(mean)':>8}",
    ]
    for row in rows:
        line = f"{row['target']:<14}{row['pairs']:>6}{row['mapped']:>8}"
        if row["mapped"]:
            line += f"{row['median_ms']:>11.1f}{row['mean_ms']:>9.1f}{row['p95_ms']:>8.1f}{row['max_ms']:>8.1f}"
            line += f"{row['pairs_per_second_median']:>18.1f}{row['pairs_per_second_mean']:>8.1f}"
        lines.append(line)
    lines.append("first pairs, with compilation or the loading of compiled code: ")
    lines[-1] += ", ".join(f"{row['target']} {row['first_pair_s']:.2f} s" for row in rows)
    return lines


def table_seconds(target: str, space: str, resolutions: list[int] | None, threads: int) -> tuple[CostTable, Json]:
    """Make the table of one machine anew; return it with wall-clock and processor seconds."""
    networks, accelerator = load_space(space), load_target(target)
    start, busy = time.perf_counter(), time.process_time()
    table = make_cost_table(networks, accelerator, resolutions=resolutions, threads=threads)
    return table, {
        "threads": threads,
        "wall_s": time.perf_counter() - start,
        "processor_s": time.process_time() - busy,
    }


def networks_per_second(table: CostTable, networks: int, seed: int) -> float:
    """Return how many networks' costs the table gives per second of processor time."""
    space = table.index.space
    genomes = space.sample_genomes(np.random.default_rng(seed), networks)
    there = [space.knobs[0].index(resolution) for resolution in table.index.resolutions]
    genomes[:, 0] = np.resize(there, networks)
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        table.costs(genomes)
        times.append(time.process_time() - start)
    return networks / float(np.median(times))


def fixed(target: str, space: str, resolutions: list[int] | None, networks: int, seed: int) -> Json:
    """Make the table with one and two threads and look networks up in it."""
    table_seconds(target, space, [load_space(space).knobs[0].choices[0]], 1)  # compiles
    pool, steps = ThreadPoolExecutor(2), 300_000_000
    spin_seconds(pool, 1000, 2)
    bare = spin_seconds(pool, steps, 1) / spin_seconds(pool, steps, 2)
    table, one = table_seconds(target, space, resolutions, 1)
    _, two = table_seconds(target, space, resolutions, 2)
    return {
        "target": target, "space": space, "resolutions": list(table.index.resolutions),
        "distinct_layers": table.distinct_layers, "entries": table.index.entries, "builds": [one, two],
        "two_core_speedup_of_a_bare_loop": bare,
        "networks_per_second_per_core": networks_per_second(table, networks, seed),
    }  # fmt: skip


def fixed_lines(figures: Json) -> list[str]:
    """Return the second table."""
    return [
        "",
        f"fixed hardware: {figures['space']} on {figures['target']}, {len(figures['resolutions'])} resolutions, "
        f"{figures['distinct_layers']} distinct layers, {figures['entries']} entries",
        *(
            f"  table with {build['threads']} thread(s): {build['wall_s']:.2f} s ({build['processor_s']:.2f} s of processor)"
            for build in figures["builds"]
        ),
        f"  a bare loop gains {figures['two_core_speedup_of_a_bare_loop']:.2f}x from a second thread here and now",
        f"  {figures['networks_per_second_per_core']:,.0f} networks per second and core from the table",
    ]


def main(
    targets: Annotated[str, typer.Option(help="Comma-separated names.")] = ",".join(TARGETS),
    space: Annotated[str, typer.Option(help="Space of the networks.")] = "ofa-mobilenet-v3",
    pairs: Annotated[int, typer.Option(min=1, help="Random pairs per target.")] = 50,
    table: Annotated[str, typer.Option(help="Target of the second table.")] = "eyeriss",
    resolutions: Annotated[str, typer.Option(help="Of the second table, in px, comma-separated; empty: all.")] = "",
    networks: Annotated[int, typer.Option(min=1, help="Networks to look up.")] = 100_000,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Measure whole evaluations with hardware that is new each time, and with hardware that stays."""
    rows = [joint(target, space, pairs, seed) for target in targets.split(",")]
    typer.echo("\n".join(joint_lines(rows)))
    chosen = [int(word) for word in resolutions.split(",")] if resolutions else None
    figures = fixed(table, space, chosen, networks, seed)
    typer.echo("\n".join(fixed_lines(figures)))
    if json_file:
        json_file.write_text(json.dumps({"joint": rows, "fixed": figures}, indent=2))


if __name__ == "__main__":
    run(main)
