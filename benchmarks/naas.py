"""NAAS, reproduced and beaten: ``python -m benchmarks.naas``.

Five scenarios, each the resources of a known machine, and three networks in each, as in Lin, Yang, Han, "NAAS: neural
accelerator architecture search", DAC 2021: 15 pairs. Per pair the EDP against the native machine (`benchmarks.naas_rows` says
what each column is), and two tests: does `exact` come to an EDP no worse than the evolution's in a tenth of its time, and no
worse than the native machine's? Then, beside the paper's figures: geometric means per scenario, what connectivity adds to
sizing, whether the gains survive other people's energies, and with ``--ofa`` an OFA network on top against ResNet-50 on
Eyeriss.

The paper's figures are from MAESTRO, which at that time left the size of a buffer out of its energy; ours from a model that
counts as Timeloop does. Ratios of the two models differ for that reason alone: they stand side by side, no more.

Seconds are of processor time of the row's own process. Rows run side by side in as many processes as `--workers` says.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from accel_models.energy_sets import ENERGY_SETS
from accel_models.errors import UnknownNameError, unknown_name
from benchmarks.command import run
from benchmarks.naas_ofa import OFA_NOTE, ofa_lines, ofa_rows
from benchmarks.naas_rows import LARGE, SCENARIOS, SMALL, Effort, compare
from cosearch.evaluate import open_pool

Json = dict[str, Any]

COLUMNS = ("sized", "naas", "exact")

PAPER = {
    "edge_tpu": (2.6, 1.1), "nvdla_1024": (2.2, 1.1), "eyeriss": (4.4, 2.1), "nvdla_256": (1.7, 1.4),
    "shidiannao": (4.4, 4.9),
}  # fmt: skip
"""Speed-up and energy saving in the paper, means over its networks."""

PAPER_SIZING = {
    ("vgg16", "edge_tpu"): 3.52, ("mobilenet-v2", "edge_tpu"): 1.42, ("vgg16", "nvdla_1024"): 2.61,
    ("mobilenet-v2", "nvdla_1024"): 1.62,
}  # fmt: skip
"""EDP after sizing alone over that with connectivity and mapping, in the paper."""

SHARE_OF_TIME = 0.1
"""Part of the evolution's time that `exact` may take."""


def main(
    scenarios: Annotated[str, typer.Option(help="Comma-separated names.")] = ",".join(SCENARIOS),
    networks: Annotated[str, typer.Option(help="Comma-separated names.")] = ",".join((*LARGE, *SMALL)),
    budget: Annotated[int, typer.Option(min=20, help="Machines of the evolution, per pair.")] = Effort.machines,
    effort: Annotated[
        int, typer.Option(min=1, help="Mappings per layer and machine of the evolution.")
    ] = Effort.mappings,
    questions: Annotated[
        int, typer.Option(min=1, help="Questions of exact and sized, per distinct layer of a small network.")
    ] = Effort.questions,
    sizing: Annotated[bool, typer.Option(help="Also what connectivity adds to sizing.")] = True,
    ofa: Annotated[bool, typer.Option("--ofa", help="Also OFA networks against ResNet-50 on Eyeriss.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Rows side by side.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Compare native machines, sizing, NAAS-like evolution and exact search."""
    start = time.perf_counter()
    asked = _named("scenario", scenarios, SCENARIOS), _named("network", networks, (*LARGE, *SMALL))
    pairs = [(network, scenario) for scenario in asked[0] for network in SCENARIOS[scenario] if network in asked[1]]
    if not pairs:
        raise UnknownNameError(f"none of the networks {networks} is run in the scenarios {scenarios}")
    how = Effort(budget, effort, Effort.population, questions, seed)
    extra = [pair for pair in PAPER_SIZING if pair not in pairs and set(asked[1]) >= {pair[0]} and pair[1] in asked[0]]
    with open_pool(workers) as executor:
        rows = _compared(pairs, how, COLUMNS, executor)
        more = _compared(extra, how, ("sized", "exact"), executor) if sizing else []
    figures: Json = {"effort": asdict(how), "rows": rows}
    lines = [*row_lines(rows), "", *scenario_lines(rows, asked[0]), "", *rescored_lines(rows)]
    if sizing:
        figures["sizing"] = sizing_rows([*rows, *more])
        lines += ["", *sizing_lines(figures["sizing"])]
    typer.echo("\n".join(lines))
    if ofa:
        figures["ofa"] = ofa_rows(budget, effort, seed, workers)
        typer.echo("\n".join(["", *ofa_lines(figures["ofa"]), OFA_NOTE]))
    figures["seconds"] = time.perf_counter() - start
    typer.echo(f"\n{figures['seconds']:.0f} s in all")
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2))


def _named(kind: str, names: str, known: Sequence[str] | Json) -> list[str]:
    asked = names.split(",")
    for name in asked:
        if name not in known:
            raise UnknownNameError(unknown_name(kind, name, known))
    return asked


def _compared(
    pairs: Sequence[tuple[str, str]], how: Effort, columns: tuple[str, ...], executor: Executor | None
) -> list[Json]:  # fmt: skip
    if executor is None:
        return [compare(*pair, how, columns) for pair in pairs]
    futures = [executor.submit(compare, *pair, how, columns) for pair in pairs]
    return [future.result() for future in futures]


def passes(row: Json) -> dict[str, bool]:
    """Return the tests of a row by name."""
    seconds = {name: row["details"][name]["seconds"] for name in ("naas", "exact")}
    return {
        "exact <= naas": row["exact"] <= row["naas"],
        "exact <= native": row["exact"] <= row["native"],
        "in a tenth of the time": seconds["exact"] <= SHARE_OF_TIME * seconds["naas"],
    }


def row_lines(rows: Sequence[Json]) -> list[str]:
    """Return the table of pairs and what was missed."""
    lines = [
        "EDP against the native machine (below 1 is better); seconds of processor",
        f"{'network':<14}{'scenario':<12}{'native':>8}{'mapped':>8}{'sized':>8}{'naas':>8}{'exact':>8}{'speed-up':>10}"
        f"{'energy':>8}{'MACs':>6}{'naas s':>8}{'exact s':>9}  ",
    ]
    missed = []
    for row in rows:
        best, evolved, tests = row["details"]["exact"], row["details"]["naas"], passes(row)
        failed = [name for name, passed in tests.items() if not passed]
        missed += [f"{row['network']} under {row['scenario']}: not {name}" for name in failed]
        lines.append(
            f"{row['network']:<14}{row['scenario']:<12}{row['native']:>8.3f}{row['mapped']:>8.3f}{row['sized']:>8.3f}"
            f"{row['naas']:>8.3f}{row['exact']:>8.3f}{best['speedup']:>9.2f}x{best['energy_saving']:>7.2f}x{best['macs']:>6}"
            f"{evolved['seconds']:>8.1f}{best['seconds']:>9.1f}  {'pass' if not failed else 'FAIL'}"
        )
    good = sum(all(passes(row).values()) for row in rows)
    lines.append(f"{good} of {len(rows)} pairs pass: exact no worse than naas in a tenth of its time, nor than native")
    return lines + [f"  missed: {text}" for text in missed]


def scenario_lines(rows: Sequence[Json], scenarios: Sequence[str]) -> list[str]:
    """Return geometric means per scenario beside the paper's figures."""
    lines = [
        "geometric means against native: speed-up and energy saving",
        f"{'scenario':<14}{'exact':>16}{'naas, ours':>18}{'paper':>16}{'EDP exact':>12}{'EDP paper':>11}",
    ]
    for scenario in scenarios:
        own = [row for row in rows if row["scenario"] == scenario]
        if own:
            exact, evolved = (
                [geometric_mean([row["details"][name][key] for row in own]) for key in ("speedup", "energy_saving")]
                for name in ("exact", "naas")
            )
            speed, energy = PAPER[scenario]
            below = " (below the paper)" if math.prod(exact) < speed * energy else ""
            lines.append(
                f"{scenario:<14}{exact[0]:>8.2f}x{exact[1]:>6.2f}x{evolved[0]:>10.2f}x{evolved[1]:>6.2f}x{speed:>8.1f}x{energy:>6.1f}x"
                f"{math.prod(exact):>11.2f}x{speed * energy:>10.2f}x{below}"
            )
    return [*lines, "the paper's with MAESTRO, means over its own networks: another model, no target to be met exactly"]


def rescored_lines(rows: Sequence[Json]) -> list[str]:
    """Return whether the gains survive other energies, and how alike their ranks are."""
    from scipy import stats

    ours = [row["exact"] for row in rows]
    lines = ["EDP of exact's machine against native with other energies, mappings found anew on both"]
    lines.append(f"{'network':<14}{'scenario':<12}{'as searched':>12}" + "".join(f"{name:>18}" for name in ENERGY_SETS))
    lines += [
        f"{row['network']:<14}{row['scenario']:<12}{row['exact']:>12.3f}"
        + "".join(f"{row['rescored'][name]:>18.3f}" for name in ENERGY_SETS)
        for row in rows
    ]
    for name in ENERGY_SETS:
        theirs = [row["rescored"][name] for row in rows]
        survive = sum(ratio < 1 for ratio in theirs)
        text = f"{name}: {survive} of {len(rows)} gains survive, geometric mean {geometric_mean(theirs):.3f} after "
        text += f"{geometric_mean(ours):.3f}"
        if len(set(ours)) > 1 and len(set(theirs)) > 1:
            text += f"; Spearman {stats.spearmanr(ours, theirs).statistic:.3f}, "
            text += f"Kendall {stats.kendalltau(ours, theirs).statistic:.3f}"
        lines.append(text)
    return lines


def sizing_rows(rows: Sequence[Json]) -> list[Json]:
    """Return, for the pairs of which the paper tells it, what connectivity adds to sizing."""
    known = {(row["network"], row["scenario"]): row for row in rows}
    return [
        {"network": pair[0], "scenario": pair[1], "gain": known[pair]["sized"] / known[pair]["exact"], "paper": paper}
        for pair, paper in PAPER_SIZING.items()
        if pair in known
    ]


def sizing_lines(rows: Sequence[Json]) -> list[str]:
    """Return the table of :func:`sizing_rows`."""
    lines = [
        "EDP of sizing alone over that with connectivity (ours: proven mappings in both; the paper's adds mapping too)"
    ]
    return lines + [
        f"{row['network']:<14}{row['scenario']:<12}{row['gain']:>8.2f}x   paper {row['paper']:.2f}x" for row in rows
    ]


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of positive numbers."""
    return math.exp(sum(map(math.log, values)) / len(values))


if __name__ == "__main__":
    run(main)
