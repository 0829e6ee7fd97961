"""Cycles and energy against 58,273 recorded runs of Timeloop, and against Gemmini's RTL::

    python -m benchmarks.dosa_agreement TIMELOOP.csv.gz [--rtl RTL.csv ...] [--json FILE]

The files are DOSA's (`benchmarks.dosa_rows` reads them). Energies come from `accel_models.technology` at 40 nm with
nothing fitted, and energy-delay products are compared by rank. A second, calibrated look (`calibrate_energy`) fits the
energy per access of every machine to half of its rows and tests the counts on the other half.
`benchmarks.dosa_gemmini_rtl` has the comparison with RTL.

Rows whose cycles differ are recounted by what is known of this data's Timeloop (older than the golden file's), in this
order; a reason is given only where it makes the row equal, but for the last:

rounding
    Timeloop divides each dataspace's words by the compute cycles before it adds them up. Adding first, in another order
    of the same doubles, ends one cycle off now and then.
window fetched whole
    With a loop inside that does not matter to the inputs, this Timeloop brings whole windows where the golden file's
    brings the new part only.
window walked by two loops
    The two innermost loops that matter to the inputs are P and R, or Q and S: Timeloop's extrapolation of the first
    steps to all of them, which docs/cost_model.md lists as not comparable.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.optimize import nnls

from accel_models.loopnest import counts as kernels
from benchmarks.command import run
from benchmarks.dosa_gemmini_rtl import Agreement, RtlRows, agreement, fit_overheads, read_rtl, with_overheads
from benchmarks.dosa_rows import (
    ACCUMULATOR,
    DRAM,
    REGISTERS,
    SCRATCHPAD,
    Evaluated,
    Rows,
    evaluate,
    read_rows,
    spearman,
)

REASONS = ("rounding", "window fetched whole", "window walked by two loops", "unexplained")
PJ_PER_UJ = 1e6
CALIBRATION_ROWS = 20
"""Fewest rows of a machine to calibrate it: ten for the six energies, ten to test."""


def cycles_in_order(
    rows: Rows, which: NDArray[np.intp], counts: NDArray[np.float64], compute: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return cycles (n,) of rows `which` with words `counts` (n, 4, 3, columns), divided first and added afterwards."""
    machines = rows.machines[rows.machine_of[which]]
    rates = counts / compute[:, None, None, None]
    reads = rates[..., kernels.READS].cumsum(axis=2)[..., -1]  # one after another: weights, inputs, outputs
    writes = (counts[..., kernels.FILLS] + counts[..., kernels.UPDATES]) / compute[:, None, None]
    writes = writes.cumsum(axis=2)[..., -1]
    slowdown = np.ones_like(reads)
    for column, rate in ((kernels.READ_BW, reads), (kernels.WRITE_BW, writes), (kernels.SHARED_BW, reads + writes)):
        limit = np.divide(machines[..., column], rate, out=np.full_like(rate, np.inf), where=rate > 0)
        slowdown = np.minimum(slowdown, limit)
    cycles: NDArray[np.float64] = np.ceil(compute[:, None] / slowdown).max(axis=1)
    return cycles


def explain(rows: Rows, found: Evaluated, which: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return for each row of `which`, all unequal, the index of its reason in `REASONS`.

    Inputs wait nowhere but in the scratchpad and in DRAM, so the loops outside their tile are DRAM's (`nest`, innermost
    first).
    """
    recorded = rows.table["target.cycle"].to_numpy()[which]
    counts, compute = found.counts[which].copy(), found.compute_cycles[which]
    rounding = cycles_in_order(rows, which, counts, compute) == recorded
    loops, order = rows.mappings[which, DRAM, kernels.TEMPORAL], rows.mappings[which, DRAM, kernels.ORDER]
    nest = [[dim for dim in dims if steps[dim] > 1] for steps, dims in zip(loops, order, strict=True)]
    under_k = np.array([dims[:1] == [kernels.K] for dims in nest], dtype=bool)
    whole = counts[:, SCRATCHPAD, kernels.INPUTS, kernels.TILE] * loops.prod(axis=1) / loops[:, kernels.K]
    counts[under_k, DRAM, kernels.INPUTS, kernels.READS] = whole[under_k]
    counts[under_k, SCRATCHPAD, kernels.INPUTS, kernels.FILLS] = whole[under_k]
    fetched_whole = under_k & (cycles_in_order(rows, which, counts, compute) == recorded)
    innermost = [{*[dim for dim in dims if dim != kernels.K][:2]} for dims in nest]
    by_two = np.array([dims in ({kernels.P, kernels.R}, {kernels.Q, kernels.S}) for dims in innermost], dtype=bool)
    return np.select([rounding, fetched_whole, by_two], [0, 1, 2], 3).astype(np.intp)


def calibrate_energy(rows: Rows, found: Evaluated) -> NDArray[np.float64]:
    """Return relative errors of energy of the rows that calibrate nothing.

    Repeated rows count once (the large file has many). For each machine the energies of a multiply-accumulate, a
    register fill, an accumulator access, a scratchpad read, a scratchpad fill and a DRAM access (scratchpad and DRAM by
    blocks) are fitted to every other row, none negative, by least squares of relative errors. DRAM's block is as many
    words as it moves per cycle.
    """
    words = found.counts * found.used[:, :, None, None]
    mesh = rows.machines[rows.machine_of, SCRATCHPAD, kernels.BLOCK][:, None]
    pad, dram = found.counts[:, SCRATCHPAD], found.counts[:, DRAM, :, : kernels.UPDATES + 1].reshape(len(rows), -1)
    block = rows.machines[rows.machine_of, DRAM, kernels.SHARED_BW][:, None]
    accesses = np.stack(
        [
            rows.layers[:, :8].prod(axis=1),
            words[:, REGISTERS, kernels.WEIGHTS, kernels.FILLS],
            words[:, ACCUMULATOR, kernels.OUTPUTS, : kernels.UPDATES + 1].sum(axis=1),
            np.ceil(pad[:, :, kernels.READS] / mesh).sum(axis=1),
            np.ceil(pad[:, :, kernels.FILLS] / mesh).sum(axis=1),
            np.ceil(dram / block).sum(axis=1),
        ],
        axis=1,
    )
    relative = accesses / (rows.table["target.energy"].to_numpy() * PJ_PER_UJ)[:, None]
    errors = []
    for machine in range(len(rows.machines)):
        mine = np.unique(relative[rows.machine_of == machine], axis=0)
        if len(mine) >= CALIBRATION_ROWS:
            energies_pj, _ = nnls(mine[::2], np.ones(len(mine[::2])))
            errors.append(np.abs(mine[1::2] @ energies_pj - 1))
    return np.concatenate([np.zeros(0), *errors])


def compare_timeloop(rows: Rows, found: Evaluated) -> dict[str, Any]:
    """Return the figures of the comparison with recorded Timeloop runs."""
    recorded = rows.table["target.cycle"].to_numpy()
    unequal = np.flatnonzero(found.cycles != recorded)
    reasons = np.bincount(explain(rows, found, unequal), minlength=len(REASONS))
    energy, delay_product = (rows.table[f"target.{name}"].to_numpy() for name in ("energy", "edp"))
    errors = calibrate_energy(rows, found)
    return {
        "rows": len(rows),
        "cycles_equal_fraction": 1 - len(unequal) / len(rows),
        "cycles_within_one_fraction": float((np.abs(found.cycles - recorded) <= 1).mean()),
        "unequal": {name: int(number) for name, number in zip(REASONS, reasons, strict=True)},
        "largest_relative_error": float(np.abs(found.cycles / recorded - 1).max()),
        "edp_spearman": spearman(found.energies_pj * found.cycles, delay_product),
        "energy_spearman": spearman(found.energies_pj, energy),
        "energy_over_recorded": float(np.median(found.energies_pj / (energy * PJ_PER_UJ))),
        "calibrated_energy_error": dict(zip(("median", "p99"), _percentiles(errors), strict=True)),
    }


def _percentiles(errors: NDArray[np.float64]) -> tuple[float | None, float | None]:
    return (float(np.median(errors)), float(np.percentile(errors, 99))) if len(errors) else (None, None)


def compare_rtl(files: list[RtlRows]) -> dict[str, Any]:
    """Return the figures of the comparison with RTL; the overheads are those of the first training file, if any.

    `rtl_spearman` is that of the test file (the worst of several) with the cycles of our counts.
    """
    training = [rows for rows in files if rows.is_training]
    constants = fit_overheads(training[0]) if training else None
    figures: dict[str, dict[str, Any]] = {}
    ranks, ranks_with_overheads = [], []
    for rows in files:
        estimates = {"timeloop": rows.timeloop, "ours": rows.ours}
        if constants:
            estimates["with_overheads"] = with_overheads(rows, constants)
        said = {name: agreement(cycles, rows.rtl) for name, cycles in estimates.items()}
        if not rows.is_training:
            ranks.append(said["ours"].spearman)
            ranks_with_overheads += [said["with_overheads"].spearman] if constants else []
        use, not_square = "training" if rows.is_training else "test", int((~rows.square).sum())
        compared = {name: asdict(each) for name, each in said.items()}
        figures[str(rows.path)] = {"use": use, "rows": len(rows.rtl), "not_square": not_square, **compared}
    return {
        "rtl_spearman": min(ranks, default=None),
        "rtl_overhead_spearman": min(ranks_with_overheads, default=None),
        "rtl_overheads": asdict(constants) if constants else None,
        "rtl": figures,
    }


def _print_timeloop(figures: dict[str, Any]) -> None:
    equal, count = figures["cycles_equal_fraction"], figures["rows"]
    typer.echo(f"{count} rows, {figures['seconds']:.1f} s")
    typer.echo(f"cycles equal in {equal:.2%}, within one cycle in {figures['cycles_within_one_fraction']:.2%}")
    for name, number in figures["unequal"].items():
        typer.echo(f"  {number:>6} unequal: {name}")
    typer.echo(f"Spearman: EDP {figures['edp_spearman']:.4f}, energy {figures['energy_spearman']:.4f}")
    typer.echo(f"energy over recorded, median: {figures['energy_over_recorded']:.2f} (technology.py, nothing fitted)")
    error = figures["calibrated_energy_error"]
    if error["median"] is not None:
        typer.echo(f"energy, calibrated on the other half: median error {error['median']:.2%}, p99 {error['p99']:.1%}")


def _print_rtl(figures: dict[str, Any]) -> None:
    if figures["rtl_overheads"]:
        shown = ", ".join(f"{name} {value:.3g}" for name, value in figures["rtl_overheads"].items())
        typer.echo(f"overheads in cycles: {shown}")
    for name, figure in figures["rtl"].items():
        typer.echo(f"{name} ({figure['use']}, {figure['rows']} rows, {figure['not_square']} not square), against RTL:")
        for who in ("timeloop", "ours", "with_overheads"):
            if who in figure:
                said = Agreement(**figure[who])
                typer.echo(
                    f"  {who:>14}: Spearman {said.spearman:.4f}, relative error median {said.median_error:.3f} "
                    f"mean {said.mean_error:.3f}, estimate over RTL {said.median_ratio:.2f}"
                )


def main(
    timeloop: Annotated[Path, typer.Argument(help="timeloop_72k.csv.gz, or a file of its form.")],
    more: Annotated[list[Path] | None, typer.Argument(help="After --rtl: further RTL files.")] = None,
    rtl: Annotated[
        list[Path] | None, typer.Option("--rtl", help="RTL files; the training file fits overheads.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Compare cycles and energy with recorded Timeloop runs and with Gemmini's RTL."""
    if more and not rtl:
        raise typer.BadParameter(f"unexpected file {str(more[0])!r}: RTL files come after --rtl")
    start = time.perf_counter()
    rows = read_rows(timeloop)
    figures = compare_timeloop(rows, evaluate(rows, timeloop))
    figures["seconds"] = time.perf_counter() - start
    _print_timeloop(figures)
    if rtl:
        figures |= compare_rtl([read_rtl(path) for path in [*rtl, *(more or [])]])
        _print_rtl(figures)
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    run(main)
