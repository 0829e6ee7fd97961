"""Every count against Timeloop's: ``python -m benchmarks.timeloop_agreement GOLDEN.json.gz``.

The file holds layers, machines, mappings and what Timeloop reports for them (form: accel_models/interop/golden.py).
Comparable are the cases that docs/cost_model.md defines: exact factors, no link transfers, and no tile whose two innermost
relevant input loops both slide along one side of the window. All others are listed by reason, with their error.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import track

from accel_models.errors import MappingError
from accel_models.interop.golden import GoldenCase, GoldenResult, GoldenRow, read_golden
from accel_models.layer_cost import LayerCost, layer_cost
from benchmarks.command import run

COUNTS = ("tile", "reads", "fills", "updates")
WINDOWS = ({"P", "R"}, {"Q", "S"})
ENERGY_TOLERANCE = 1e-6
ROUNDING_PJ = 0.005  # Timeloop prints each energy with two decimals

IMPERFECT = "imperfect factors"
LINKS = "link transfers"
TWO_WINDOWS = "two window loops"


@dataclass(frozen=True)
class Verdict:
    """How one case compares: equal or not, and the largest relative errors (0.01 = one per cent).

    Attributes
    ----------
    reasons
        Why the case is not comparable; none where it is.
    walked
        True where the reference walked every iteration, and that is what the case is compared with.
    refused
        Why the cost model would not evaluate the mapping; nothing is compared then.
    equal_beside_links
        Every count equal of those that no transfer between neighbours touches.
    """

    number: int
    reasons: tuple[str, ...]
    walked: bool
    refused: str | None = None
    equal: bool = False
    equal_beside_links: bool = False
    cycles_equal: bool = False
    energy_equal: bool = False
    count_error: float = 0.0
    cycles_error: float = 0.0
    energy_error: float = 0.0
    first_difference: str = ""

    @property
    def comparable(self) -> bool:
        """Whether the definition in docs/cost_model.md says that both must agree."""
        return not self.reasons

    @property
    def agrees(self) -> bool:
        """Equal in every count, in cycles and in energy."""
        return self.equal and self.cycles_equal and self.energy_equal


def two_window_loops(case: GoldenCase) -> bool:
    """Tell whether the two innermost input loops outside some input tile both slide along one side of the window."""
    levels = list(zip(case.accelerator.levels, case.mapping.levels, strict=True))
    for place, (memory, _) in enumerate(levels[:-1]):
        outside = [
            dim for _, level in levels[place + 1 :] for dim, factor in level.temporal if dim != "K" and factor > 1
        ]
        if "inputs" in memory.keeps and len(outside) > 1 and any(set(outside[:2]) <= side for side in WINDOWS):
            return True
    return False


def reasons_of(case: GoldenCase) -> tuple[str, ...]:
    """Return why a case is not comparable; nothing for a comparable one."""
    found = {IMPERFECT: case.imperfect, LINKS: case.link_transfers, TWO_WINDOWS: two_window_loops(case)}
    return tuple(reason for reason, holds in found.items() if holds)


def linked_rows(case: GoldenCase) -> set[tuple[str, str]]:
    """Return the (level, dataspace) whose counts transfers between neighbours change: both ends of each such network."""
    names = [level.name for level in case.accelerator.levels]
    touched = set()
    for link in case.links:
        kept = [level.name for level in case.accelerator.levels if link.dataspace in level.keeps]
        outward = [name for name in kept if names.index(name) >= names.index(link.parent)]
        inward = [name for name in kept if names.index(name) < names.index(link.parent)]
        touched |= {(name, link.dataspace) for name in [*outward[:1], *inward[-1:]]}
    return touched


def judge(number: int, case: GoldenCase) -> Verdict:
    """Compare one case; imperfect factors are compared with the walk of every iteration where there is one."""
    reasons, walked = reasons_of(case), case.imperfect and case.exact is not None
    try:
        cost = layer_cost(case.layer, case.accelerator, case.mapping)
    except MappingError as error:
        return Verdict(number, reasons, walked, refused=str(error))
    expected = case.exact if walked and case.exact is not None else case.result
    ours = {(row.level, row.dataspace): row for row in cost.traffic}
    theirs = {(row.level, row.dataspace): row for row in expected.rows}
    differing = {
        place for place in ours.keys() | theirs.keys() if _counts(ours.get(place)) != _counts(theirs.get(place))
    }
    slack = ENERGY_TOLERANCE * expected.energy_pj + ROUNDING_PJ * (len(theirs) + 1)
    return Verdict(
        number, reasons, walked,
        equal=not differing,
        equal_beside_links=differing <= linked_rows(case),
        cycles_equal=cost.latency_cycles == expected.cycles,
        energy_equal=abs(cost.energy_pj - expected.energy_pj) <= slack,
        count_error=max((_row_error(ours.get(place), theirs.get(place)) for place in differing), default=0.0),
        cycles_error=_relative(cost.latency_cycles, expected.cycles),
        energy_error=_relative(cost.energy_pj, expected.energy_pj),
        first_difference=_difference(cost, expected, differing),
    )  # fmt: skip


def _counts(row: Any) -> tuple[int, ...] | None:
    return None if row is None else tuple(getattr(row, name) for name in COUNTS)


def _row_error(ours: Any, theirs: GoldenRow | None) -> float:
    if ours is None or theirs is None:
        return float("inf")
    return max(_relative(getattr(ours, name), getattr(theirs, name)) for name in COUNTS)


def _relative(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / (abs(theirs) or abs(ours) or 1)


def _difference(cost: LayerCost, expected: GoldenResult, differing: set[tuple[str, str]]) -> str:
    if differing:
        level, dataspace = min(differing)
        rows = [
            next((_counts(row) for row in side if (row.level, row.dataspace) == (level, dataspace)), None)
            for side in (cost.traffic, expected.rows)
        ]
        return f"{level} {dataspace} ({', '.join(COUNTS)}): {rows[0]}, Timeloop {rows[1]}"
    if cost.latency_cycles != expected.cycles:
        return f"cycles: {cost.latency_cycles:.0f}, Timeloop {expected.cycles}"
    return f"energy: {cost.energy_pj:.2f} pJ, Timeloop {expected.energy_pj:.2f} pJ"


def summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return the figures: those of the comparable cases, and of the others by reason."""
    comparable = [verdict for verdict in verdicts if verdict.comparable]
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if not verdict.comparable:
            name = " + ".join(verdict.reasons) + (" (walked)" if verdict.walked else "")
            groups.setdefault(name, []).append(verdict)
    return {
        "cases": len(verdicts),
        "comparable": len(comparable),
        "equal": sum(verdict.equal for verdict in comparable),
        "cycles_equal": sum(verdict.cycles_equal for verdict in comparable),
        "energy_equal": sum(verdict.energy_equal for verdict in comparable),
        "disagreeing": [verdict.number for verdict in comparable if not verdict.agrees],
        "not_comparable": {name: _group(groups[name]) for name in sorted(groups)},
    }


def _group(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    compared = [verdict for verdict in verdicts if verdict.refused is None]
    figures: dict[str, Any] = {
        "cases": len(verdicts),
        "compared": len(compared),
        "equal": sum(verdict.equal for verdict in compared),
        "equal_beside_links": sum(verdict.equal_beside_links for verdict in compared),
        "cycles_equal": sum(verdict.cycles_equal for verdict in compared),
        "energy_equal": sum(verdict.energy_equal for verdict in compared),
    }
    for name in ("count_error", "cycles_error", "energy_error"):
        errors = [getattr(verdict, name) for verdict in compared]
        figures[name] = {"median": statistics.median(errors), "max": max(errors)} if errors else None
    refusals = Counter(verdict.refused for verdict in verdicts if verdict.refused is not None)
    return {**figures, "refused": refusals.most_common(1)[0][0] if refusals else None}


def report(figures: dict[str, Any], verdicts: Sequence[Verdict]) -> list[str]:
    """Return the figures as lines of text."""
    lines = [f"{figures['cases']} cases, {figures['comparable']} comparable, of which equal in"]
    for key, label in (("equal", "every count"), ("cycles_equal", "cycles"), ("energy_equal", "energy")):
        lines.append(f"  {label:<12}{figures[key]:>6}")
    wrong = [verdict for verdict in verdicts if verdict.comparable and not verdict.agrees]
    lines += [
        f"  case {verdict.number} disagrees: {verdict.refused or verdict.first_difference}" for verdict in wrong[:10]
    ]
    columns = (
        "cases",
        "compared",
        "equal",
        "beside links",
        "cycles",
        "energy",
        "counts",
        "max",
        "cycles",
        "max",
        "energy",
        "max",
    )
    lines += [
        "",
        "not comparable: how many are equal in every count (in all that no link touches), in cycles, in energy;",
        "relative errors of the counts (the worst of each case), of cycles and of energy: median and max;",
        "(walked): compared with the reference's walk of every iteration",
        f"{'':<63}" + "".join(f"{column:>13}" if column == "beside links" else f"{column:>9}" for column in columns),
    ]
    for name, group in figures["not_comparable"].items():
        numbers = f"{group['cases']:>9}{group['compared']:>9}{group['equal']:>9}{group['equal_beside_links']:>13}"
        numbers += f"{group['cycles_equal']:>9}{group['energy_equal']:>9}"
        for error in (group["count_error"], group["cycles_error"], group["energy_error"]):
            numbers += f"{error['median']:>9.2%}{error['max']:>9.2%}" if error else f"{'':>18}"
        lines.append(f"{name:<63}{numbers}")
        if group["refused"]:
            lines.append(f"  {group['cases'] - group['compared']} not evaluated, most often: {group['refused']}")
    return lines


def main(
    golden: Annotated[Path, typer.Argument(metavar="GOLDEN.json.gz", help="What Timeloop counted.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures here.")] = None,
) -> None:
    """Compare every case with Timeloop's counts; exit 1 where a comparable one disagrees."""
    cases = track(
        read_golden(golden), "comparing", console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
    )
    verdicts = [judge(number, case) for number, case in enumerate(cases)]
    figures = summary(verdicts)
    for line in report(figures, verdicts):
        typer.echo(line)
    if json_file:
        json_file.write_text(json.dumps(figures, indent=2))
    if figures["disagreeing"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    run(main)
