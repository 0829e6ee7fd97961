"""Against Timeloop's own mapper: ``python -m benchmarks.timeloop_mapper MAPPER_BEST.json``.

The file holds the best mappings that Timeloop's mapper found in 60 CPU seconds a run, for four layers of ResNet-50 on an
Eyeriss-like machine of 168 elements, in two sets of mappings: `open` (any), and `rs` (rows of the kernel stay in the
elements, as on Eyeriss). Each run must be met or beaten under its own rules. Every recorded mapping is evaluated first.

The optima of these problems, and of two more layers on the machine, are known: `OPTIMA` below. They come from a branch and
bound over this cost model that was written before, and apart from, the mappers of this package; they are given to the
digits that it printed, and must be met to them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from accel_models.accelerator import Accelerator
from accel_models.description import with_values
from accel_models.errors import DescriptionError
from accel_models.mapper.base import MappingResult, objective_value
from accel_models.mapper.best import best_mapping
from accel_models.workload import Layer
from benchmarks.command import run
from benchmarks.golden_form import Json, Recorded, recorded, with_axes

OBJECTIVES = {"energy": "energy", "delay": "latency", "edp": "edp"}
"""Timeloop's metrics, and what they are called here."""

ROW_STATIONARY = {"ispad.temporal.dims": [], "wspad.temporal.dims": ["R", "C"], "pspad.temporal.dims": ["K"]}
ROW_STATIONARY_AXES = (("Q", "K"), ("S", "C"))

OPTIMA = {
    ("conv1_7x7_s2", "rs", "energy"): "7.360e8",
    ("conv1_7x7_s2", "rs", "edp"): "8.873e14",
    ("conv1_7x7_s2", "open", "energy"): "6.798e8",
    ("conv1_7x7_s2", "open", "edp"): "4.828e14",
    ("res3_3x3", "rs", "energy"): "6.173e8",
    ("res3_3x3", "rs", "edp"): "4.310e14",
    ("res3_3x3", "open", "energy"): "6.171e8",
    ("res3_3x3", "open", "edp"): "4.264e14",
    ("res4_3x3", "rs", "energy"): "6.458e8",
    ("res4_3x3", "rs", "edp"): "4.490e14",
    ("res4_3x3", "open", "energy"): "6.458e8",
    ("res4_3x3", "open", "edp"): "4.490e14",
    ("res5_1x1_expand", "rs", "energy"): "4.683e8",
    ("res5_1x1_expand", "rs", "edp"): "2.225e14",
    ("res5_1x1_expand", "open", "energy"): "4.646e8",
    ("res5_1x1_expand", "open", "edp"): "2.224e14",
    ("fc_2048_1000", "rs", "energy"): "4.220e8",
    ("fc_2048_1000", "open", "energy"): "4.220e8",
    ("fc_2048_1000", "rs", "edp"): "2.1628e14",
    ("fc_2048_1000", "open", "edp"): "2.1626e14",
    ("1x1_64_256_56", "rs", "energy"): "4.515e8",
    ("1x1_64_256_56", "open", "energy"): "4.233e8",
    ("1x1_64_256_56", "rs", "edp"): "2.083e14",
    ("1x1_64_256_56", "open", "edp"): "2.062e14",
}
"""Proven optima on the file's machine by (layer, rules, objective), in pJ or pJ x cycles, as printed."""

MORE_LAYERS = {"fc_2048_1000": Layer(K=1000, C=2048), "1x1_64_256_56": Layer(K=256, C=64, P=56, Q=56)}


@dataclass(frozen=True)
class TimeloopRun:
    """One run of Timeloop's mapper: what it minimised under which rules, and the best it found."""

    layer_name: str
    rules: str
    metric: str
    record: Recorded

    @property
    def objective(self) -> str:
        """What was minimised, by its name here."""
        return OBJECTIVES[self.metric]

    @property
    def value(self) -> float:
        """The objective of what Timeloop found: pJ, cycles or pJ x cycles."""
        return objective_value(self.objective, self.record.energy_pj, self.record.cycles)


@dataclass(frozen=True)
class RunVerdict:
    """Ours for one run; `difference` tells where Timeloop's mapping costs something else here."""

    run: TimeloopRun
    found: MappingResult
    difference: str

    @property
    def ratio(self) -> float:
        """Ours over Timeloop's."""
        return self.found.objective_value / self.run.value

    @property
    def met(self) -> bool:
        """Whether ours is as good or better (up to the rounding of Timeloop's report)."""
        return self.ratio <= 1 + 1e-9


@dataclass(frozen=True)
class OptimumVerdict:
    """Ours for one known optimum."""

    place: tuple[str, str, str]
    printed: str
    found: MappingResult

    @property
    def equal(self) -> bool:
        """Whether ours is the optimum to the printed digits."""
        return as_printed(self.found.objective_value, self.printed) == self.printed


def as_printed(value: float, like: str) -> str:
    """Return a value with as many digits as another one is printed with: 735998000.0 like "7.360e8" is "7.360e8"."""
    digits = len(like.split("e")[0]) - 2
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def under_rules(machine: Accelerator, rules: str) -> Accelerator:
    """Return the machine with the rules of a set of mappings.

    Raises
    ------
    DescriptionError
        If the set is not known.
    """
    if rules == "open":
        return machine
    if rules != "rs":
        raise DescriptionError(f"rules {rules!r} are not known: open, rs")
    return with_values(with_axes(machine, *ROW_STATIONARY_AXES), ROW_STATIONARY)


def read_runs(path: Path) -> list[TimeloopRun]:
    """Return the runs of a file.

    Raises
    ------
    DescriptionError
        If the file is not of this form.
    """
    try:
        data = json.loads(path.read_bytes())
        return [_run(each, data["arch"], f"{path}: run {place}") for place, each in enumerate(data["runs"])]
    except KeyError as error:
        raise DescriptionError(f"{path}: key {error} is missing") from None
    except (ValueError, TypeError) as error:
        raise DescriptionError(f"{path}: no file of runs: one JSON object with `runs` is expected ({error})") from None


def _run(each: Json, arch: Json, where: str) -> TimeloopRun:
    if each["metric"] not in OBJECTIVES:
        raise DescriptionError(f"{where}: metric {each['metric']!r} is not known: {', '.join(OBJECTIVES)}")
    coef = {"Wstride": each["stride"], "Hstride": each["stride"]}
    record = recorded(each["dims"], coef, arch, each["mapping"], each["energy_pJ"], each["cycles"], where)
    return TimeloopRun(each["layer"], each["mapspace"], each["metric"], record)


def judge_runs(runs: list[TimeloopRun], mapper: str) -> list[RunVerdict]:
    """Search every run under its own rules."""
    return [
        RunVerdict(
            each,
            best_mapping(
                each.record.case.layer,
                under_rules(each.record.case.accelerator, each.rules),
                each.objective,
                mapper=mapper,
            ),
            each.record.difference(),
        )
        for each in runs
    ]


def judge_optima(runs: list[TimeloopRun], mapper: str) -> list[OptimumVerdict]:
    """Search the known optima: those of layers that the file has, and of more layers on its machine."""
    if not runs:
        return []
    machine = runs[0].record.case.accelerator
    layers = {each.layer_name: each.record.case.layer for each in runs} | MORE_LAYERS
    return [
        OptimumVerdict(
            place, printed, best_mapping(layers[place[0]], under_rules(machine, place[1]), place[2], mapper=mapper)
        )
        for place, printed in OPTIMA.items()
        if place[0] in layers
    ]


def report_runs(verdicts: list[RunVerdict]) -> list[str]:
    """Return a table: Timeloop's best beside ours."""
    lines = [
        f"{'':<34}{'Timeloop, 60 CPU s':>41}{'ours':>41}",
        f"{'layer':<17}{'rules':<7}{'metric':<10}"
        + f"{'energy, uJ':>14}{'cycles':>12}{'EDP':>15}" * 2
        + f"{'ratio':>9}{'proven':>8}{'ms':>9}",
    ]
    for verdict in verdicts:
        each, found = verdict.run, verdict.found
        line = f"{each.layer_name:<17}{each.rules:<7}{each.metric:<10}"
        for energy, cycles in (
            (each.record.energy_pj, each.record.cycles),
            (found.energy_pj, found.latency_cycles),
        ):
            line += f"{energy * 1e-6:>14.3f}{cycles:>12.0f}{energy * cycles:>15.4e}"
        line += f"{verdict.ratio:>9.4f}{'yes' if found.optimal else 'no':>8}{found.seconds * 1e3:>9.1f}"
        lines.append(line + ("" if verdict.met else "  NOT MET"))
        if verdict.difference:
            lines.append(f"    Timeloop's mapping costs something else here: {verdict.difference}")
    return lines


def report_optima(verdicts: list[OptimumVerdict]) -> list[str]:
    """Return a table: known optima beside ours."""
    lines = ["", f"{'layer':<17}{'rules':<7}{'objective':<12}{'optimum':>12}{'ours':>12}{'proven':>8}{'ms':>9}"]
    for verdict in verdicts:
        layer, rules, objective = verdict.place
        found = verdict.found
        line = f"{layer:<17}{rules:<7}{objective:<12}{verdict.printed:>12}"
        line += f"{as_printed(found.objective_value, verdict.printed):>12}"
        line += f"{'yes' if found.optimal else 'no':>8}{found.seconds * 1e3:>9.1f}"
        lines.append(line + ("" if verdict.equal else "  NOT EQUAL"))
    return lines


def figures_of(runs: list[RunVerdict], optima: list[OptimumVerdict]) -> Json:
    """Return the figures: how many runs are met, by which ratio; how many optima are equal."""
    return {
        "runs": len(runs),
        "met": sum(verdict.met for verdict in runs),
        "beaten": sum(verdict.ratio < 1 - 1e-9 for verdict in runs),
        "proven": sum(verdict.found.optimal for verdict in runs),
        "optima": len(optima),
        "optima_equal": sum(verdict.equal for verdict in optima),
        "mappings_differing": sum(bool(verdict.difference) for verdict in runs),
        "rows": [
            {
                "layer": verdict.run.layer_name, "rules": verdict.run.rules, "metric": verdict.run.metric,
                "timeloop_energy_pj": verdict.run.record.energy_pj, "timeloop_cycles": verdict.run.record.cycles,
                "energy_pj": verdict.found.energy_pj, "latency_cycles": verdict.found.latency_cycles,
                "ratio": verdict.ratio, "optimal": verdict.found.optimal, "seconds": verdict.found.seconds,
            }
            for verdict in runs
        ],
    }  # fmt: skip


def main(
    best: Annotated[Path, typer.Argument(metavar="MAPPER_BEST.json", help="What Timeloop's mapper found.")],
    mapper: Annotated[str, typer.Option(help="Who searches.")] = "exact",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Search every run under its own rules; exit 1 where one is not met, or a known optimum is not reached."""
    runs = read_runs(best)
    run_verdicts, optimum_verdicts = judge_runs(runs, mapper), judge_optima(runs, mapper)
    for line in report_runs(run_verdicts) + report_optima(optimum_verdicts):
        typer.echo(line)
    figures = figures_of(run_verdicts, optimum_verdicts)
    typer.echo(
        f"{figures['runs']} runs, {figures['met']} met, of which {figures['beaten']} beaten; "
        f"{figures['optima']} known optima, {figures['optima_equal']} equal to the printed digits"
    )
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2))
    wrong = figures["met"] < figures["runs"] or figures["optima_equal"] < figures["optima"]
    if wrong or figures["mappings_differing"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(main)
