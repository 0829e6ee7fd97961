"""Every known optimum found: ``python -m benchmarks.known_optima OPTIMA.json``.

The file holds small problems (layer, machine, objective) whose optimum was found by a proven mapper and by exhaustive
search. Where both agree the case is an anchor and `value` is its optimum; else the proven mapper searched another set of
mappings, and `exhaustive.value` is the optimum of ours. Every mapping that the file gives is evaluated first: a machine
read wrongly would else look like a mapper that misses. An optimum is met when it is equal to one part in 1e9 (the file's
figures are sums in another order).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from accel_models.errors import DescriptionError
from accel_models.mapper.base import MappingResult
from accel_models.mapper.best import best_mapping
from benchmarks.command import run
from benchmarks.golden_form import Json, Recorded, recorded, with_axes

TOLERANCE = 1e-9
MERGED = "N, P, Q merged into P"


@dataclass(frozen=True)
class KnownOptimum:
    """One problem, its optimum (pJ, cycles or pJ x cycles), and the mappings that the file gives for it."""

    name: str
    objective: str
    record: Recorded
    optimum: float
    anchor: bool
    others: tuple[Recorded, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What a mapper found for a case; `differences` tells given mappings whose cost is not ours."""

    case: KnownOptimum
    found: MappingResult
    differences: tuple[str, ...]

    @property
    def ratio(self) -> float:
        """What was found over the optimum."""
        return self.found.objective_value / self.case.optimum

    @property
    def equal(self) -> bool:
        """Whether the optimum was met, neither missed nor undercut."""
        return math.isclose(self.ratio, 1.0, rel_tol=TOLERANCE)


def read_optima(path: Path) -> list[KnownOptimum]:
    """Return the cases of a file.

    Raises
    ------
    DescriptionError
        If the file is not of this form, or a case asks for something that is not understood.
    """
    try:
        cases = json.loads(path.read_bytes())["cases"]
    except (ValueError, KeyError, TypeError) as error:
        raise DescriptionError(
            f"{path}: no file of optima: one JSON object with `cases` is expected ({error})"
        ) from None
    return [_case(case, f"{path}: case {case.get('id', place)}") for place, case in enumerate(cases)]


def _case(case: Json, where: str) -> KnownOptimum:
    try:
        rules, exhaustive = case["constraints"], case["exhaustive"]
        if rules["factors"] != "perfect" or rules["bypass"] != "fixed by keep" or not exhaustive["complete"]:
            raise DescriptionError(
                f"{where}: perfect factors, fixed bypass and a complete search are expected: {rules}"
            )
        record = _record(case, case["mapping"], case, where)
        spreading = [
            level.name for level in record.case.accelerator.levels if level.fanout.x.size * level.fanout.y.size > 1
        ]
        if spreading != [rules["spatial_level"].lower()]:
            raise DescriptionError(f"{where}: {rules['spatial_level']} must fan out, {spreading} do")
        return KnownOptimum(
            case["id"], case["objective"], record, case["value"] if case["anchor"] else exhaustive["value"],
            case["anchor"], _others(case, where),
        )  # fmt: skip
    except KeyError as error:
        raise DescriptionError(f"{where}: key {error} is missing") from None


def _record(case: Json, mapping: list[Json], figures: Json, where: str) -> Recorded:
    made = recorded(case["dims"], case["coef"], case["arch"], mapping, figures["energy"], figures["cycles"], where)
    axes = case["constraints"]["spatial"]
    accelerator = with_axes(made.case.accelerator, axes["X"], axes["Y"])
    return replace(made, case=replace(made.case, accelerator=accelerator))


def _others(case: Json, where: str) -> tuple[Recorded, ...]:
    """The best mapping of the exhaustive search, where it is given."""
    exhaustive = case["exhaustive"]
    if "mapping" not in exhaustive:
        return ()
    dims = dict(case["dims"])
    if exhaustive["mapping_dims"] == MERGED:  # a product without a window: batch and outputs are one dim
        dims.update(N=1, P=dims["N"] * dims["P"] * dims["Q"], Q=1)
    return (_record({**case, "dims": dims}, exhaustive["mapping"], exhaustive, where),)


def judge(case: KnownOptimum, mapper: str) -> Verdict:
    """Search one case, and evaluate the mappings that the file gives."""
    found = best_mapping(case.record.case.layer, case.record.case.accelerator, case.objective, mapper=mapper)
    given = (record.difference() for record in (case.record, *case.others))
    return Verdict(case, found, tuple(text for text in given if text))


def report(verdicts: list[Verdict]) -> list[str]:
    """Return a table of all cases, misses marked."""
    lines = [f"{'case':<18}{'objective':<10}{'optimum':>22}{'found':>22}{'ratio':>12}{'proven':>8}{'ms':>9}"]
    for verdict in verdicts:
        case, found = verdict.case, verdict.found
        proven = "yes" if found.optimal else "no"
        line = f"{case.name:<18}{case.objective:<10}{case.optimum:>22,.2f}{found.objective_value:>22,.2f}"
        line += f"{verdict.ratio:>12.8f}{proven:>8}{found.seconds * 1e3:>9.1f}"
        lines.append(line + ("" if verdict.equal else "  MISSED" if verdict.ratio > 1 else "  BELOW THE OPTIMUM"))
        lines += [f"    the given mapping costs something else: {text}" for text in verdict.differences]
    return lines


def main(
    optima: Annotated[Path, typer.Argument(metavar="OPTIMA.json", help="Problems with their optimum.")],
    mapper: Annotated[str, typer.Option(help="Who searches.")] = "exact",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Search every problem of the file; exit 1 where an optimum is not met or a given mapping costs something else."""
    verdicts = [judge(case, mapper) for case in read_optima(optima)]
    for line in report(verdicts):
        typer.echo(line)
    equal = sum(verdict.equal for verdict in verdicts)
    proven = sum(verdict.found.optimal for verdict in verdicts)
    differing = [verdict.case.name for verdict in verdicts if verdict.differences]
    typer.echo(
        f"{len(verdicts)} cases, {equal} optima met, {proven} proven; {len(differing)} given mappings cost something else"
    )
    if json_file:
        figures = {
            "cases": len(verdicts), "equal": equal, "proven": proven,
            "missed": [verdict.case.name for verdict in verdicts if not verdict.equal],
            "given_mappings_differing": differing,
        }  # fmt: skip
        json_file.write_text(json.dumps(figures, indent=2))
    if equal < len(verdicts) or differing:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(main)
