"""The command that evaluates a front again with other people's energies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cosearch.commands.options import Format, FormatOption, RunArgument
from cosearch.commands.output import print_json, print_table, tell_if_cold

if TYPE_CHECKING:
    from cosearch.rescore import Rescoring

app = typer.Typer()


@app.command(epilog="Example: cosearch rescore runs/first --energies accelergy-table")
def rescore(
    run: RunArgument,
    energies: Annotated[
        str, typer.Option(help="Set of energies: timeloop-table, eyeriss-relative or accelergy-table.")
    ] = "timeloop-table",
    format: FormatOption = Format.table,
) -> None:
    """Evaluate a run's front again with a second set of energies: does the gain survive another model?"""
    from cosearch.rescore import rescore as evaluate_again
    from cosearch.results import Study

    study = Study.open(run)
    tell_if_cold(study.config["mapping"]["mapper"])
    found = evaluate_again(study, energies)
    if format is Format.csv:
        typer.echo(found.to_dataframe().to_csv(index=False), nl=False)
    elif format is Format.json:
        print_json(rescoring_json(found))
    else:
        from cosearch.report.text import table

        columns = ["id", "latency ms", "then", "energy mJ", "then", "mappings kept", "EDP mJ ms", "then", "on front"]
        print_table(table(f"{len(found.rows)} pairs of the front of {run}, as recorded and then with {energies}", columns, [
            [row.pair.id, cost.before.latency_s * 1e3, cost.after.latency_s * 1e3, cost.before.energy_j * 1e3,
             cost.after.energy_j * 1e3, cost.kept.energy_j * 1e3, cost.before.edp_js * 1e6, cost.after.edp_js * 1e6,
             "yes" if row.on_front else "no"]
            for row in found.rows for cost in (row.cost,)
        ]))  # fmt: skip
        for line in summary(found):
            typer.echo(line)


def summary(found: Rescoring) -> list[str]:
    """Return what the table comes to, as lines of text."""
    stay = sum(row.on_front for row in found.rows)
    lines = [f"{stay} of {len(found.rows)} pairs are still on the front with {found.energies}"]
    for metric, title in (("energy_j", "energy"), ("edp_js", "EDP")):
        ranks = [found.correlations[metric, name] for name in ("spearman", "kendall")]
        if all(map(math.isfinite, ranks)):
            lines.append(f"rank correlation of {title}: Spearman {ranks[0]:.3f}, Kendall {ranks[1]:.3f}")
    for one in found.gains:
        verdict = "survives" if one.survives else "does not survive" if one.edp_before > 1 else "was none"
        lines.append(
            f"gain of pair {one.pair_id} over {one.reference}: EDP {one.edp_before:.2f}x, then {one.edp_after:.2f}x; energy "
            f"{one.energy_before:.2f}x, then {one.energy_after:.2f}x: it {verdict}"
        )
    return lines


def rescoring_json(found: Rescoring) -> dict[str, Any]:
    """Return a rescoring as a JSON object, in base units."""

    def figures(cost: Any) -> dict[str, float]:
        return {"latency_s": cost.latency_s, "energy_j": cost.energy_j, "edp_js": cost.edp_js}

    return {
        "energies": found.energies,
        "correlations": {
            metric: {name: found.correlations[metric, name] for name in ("spearman", "kendall")}
            for metric in ("energy_j", "edp_js")
        },
        "gains": [
            {"reference": one.reference, "id": one.pair_id, "edp_before": one.edp_before, "edp_after": one.edp_after,
             "energy_before": one.energy_before, "energy_after": one.energy_after, "survives": one.survives}
            for one in found.gains
        ],
        "rows": [
            {"id": row.pair.id, "before": figures(row.cost.before), "after": figures(row.cost.after),
             "mappings_kept": figures(row.cost.kept), "on_front": row.on_front}
            for row in found.rows
        ],
    }  # fmt: skip
