"""The picture of a Pareto front: the front, the cloud it dominates, and known networks for comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cosearch.errors import RunError
from cosearch.objective import Objective, to_minimise
from cosearch.report.figure import COLOURS, refuse_format, write
from cosearch.results import nondominated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cosearch.archive import Pair
    from cosearch.report.figure import COLOURS, refuse_format, write
from cosearch.results import Study

MARKERS = ("D", "s", "^", "v", "P", "X")


def plot_front(studies: Sequence[Study], path: str | Path | None = None) -> Figure:
    """Draw the front of one or several runs, one panel per pair of objectives.

    With three objectives, each panel still shows the front of all three: a point that looks dominated in a panel is
    better in the objective that the panel does not show.

    Parameters
    ----------
    studies
        Runs with the same objectives; several overlay.
    path
        File to write; its ending chooses PNG, SVG or PDF.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    RunError
        If the runs have different objectives or nothing to show.
    CosearchError
        If the ending is unknown or the file cannot be written.
    """
    refuse_format(path)
    objectives = studies[0].objectives
    if any(study.objectives != objectives for study in studies):
        raise RunError("these runs have different objectives, so they share no picture; plot them one by one")
    if not any(study.front_pairs() for study in studies):
        raise RunError("no pair of this run keeps its limits: there is nothing to draw")
    from matplotlib.figure import Figure

    panels = _panels(objectives)
    figure = Figure(figsize=(5.4 * len(panels) + 0.6, 5.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (across, up) in zip(axes, panels, strict=True):
        for place, study in enumerate(studies):
            _draw_run(axis, study, across, up, COLOURS[place % len(COLOURS)], len(studies) > 1)
        _draw_references(axis, studies[0], across, up)
        axis.set_xlabel(across.label)
        axis.set_ylabel(up.label)
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(panels), fontsize=8)
    figure.suptitle(_title(studies), fontsize=10)
    if path is not None:
        write(figure, path)
    return figure


def _panels(objectives: Sequence[Objective]) -> list[tuple[Objective, Objective]]:
    """Pairs (across, up) to show: what is maximised goes up, against every other; else all pairs."""
    if len(objectives) == 1:
        return [(objectives[0], objectives[0])]
    best = [objective for objective in objectives if objective.maximise]
    if best:
        return [(other, best[0]) for other in objectives if other is not best[0]]
    return list(combinations(objectives, 2))


def _draw_run(axis: Axes, study: Study, across: Objective, up: Objective, colour: str, named: bool) -> None:
    front = study.front_pairs()
    on_front = {pair.id for pair in front}
    cloud = [pair for pair in study.archive.pairs("feasible = 1") if pair.id not in on_front]
    name = f"{study.archive.path.parent.name}: " if named and study.archive.path else ""
    axis.scatter(*_points(cloud, across, up), s=7, color="#9a9a9a" if not named else colour, alpha=0.35, linewidths=0,
                 label=f"{name}{len(cloud)} dominated pairs", rasterized=True)  # fmt: skip
    axis.scatter(*_points(front, across, up), s=18, color=colour, linewidths=0.4, edgecolors="white",
                 label=f"{name}Pareto front, {len(front)} pairs", zorder=3)  # fmt: skip
    if front:
        _draw_edge(axis, front, across, up, colour)
    if front and _spans(front + cloud, across):
        axis.set_xscale("log")
        for which in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
            which(_plain_decades())


def _draw_edge(axis: Axes, front: Sequence[Pair], across: Objective, up: Objective, colour: str) -> None:
    """Draw the line that no pair crosses in this panel: the front of its two objectives alone."""
    values = to_minimise([across, up], [pair.metrics for pair in front])
    edge = [front[place] for place in nondominated(values)]
    x, y = _points(edge, across, up)
    order = np.argsort(x)
    axis.step(
        x[order],
        y[order],
        where="post" if up.maximise else "pre",
        color=colour,
        linewidth=1,
        label="best of this panel's two alone",
    )


def _plain_decades() -> Any:
    """Return a formatter of a logarithmic axis that writes plain numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import FuncFormatter

    def text(value: float, place: int | None = None) -> str:
        leading = value / 10 ** math.floor(math.log10(value)) if value > 0 else 0
        return f"{value:g}" if min(abs(leading - digit) for digit in (1, 2, 5)) < 1e-6 else ""

    return FuncFormatter(text)


def _draw_references(axis: Axes, study: Study, across: Objective, up: Objective) -> None:
    for place, (name, note, metrics) in enumerate(study.archive.references()):
        x, y = metrics[across.metric] * across.scale, metrics[up.metric] * up.scale
        if math.isfinite(x) and math.isfinite(y):
            marker = MARKERS[place % len(MARKERS)]
            axis.scatter([x], [y], s=52, marker=marker, color="#d62728", zorder=4, label=f"{name} ({note})")


def _points(pairs: Sequence[Pair], across: Objective, up: Objective) -> tuple[Any, Any]:
    return (
        np.array([pair.metrics[across.metric] * across.scale for pair in pairs]),
        np.array([pair.metrics[up.metric] * up.scale for pair in pairs]),
    )


def _spans(pairs: Sequence[Pair], objective: Objective) -> bool:
    """Tell whether values span more than a factor of eight, so that a logarithmic axis reads better."""
    values = [pair.metrics[objective.metric] for pair in pairs]
    return min(values) > 0 and max(values) > 8 * min(values)


def _title(studies: Sequence[Study]) -> str:
    import json

    configs = [study.config for study in studies]
    pairs = sum(len(study.archive.pairs()) for study in studies)

    def each(texts: Iterable[str], between: str = ", ") -> str:
        return between.join(dict.fromkeys(text for text in texts if text))

    searched = each((f"{config['space']} x {json.loads(config['target'])['name']}" for config in configs), " and ")
    limits = each(", ".join(config["limits"]) for config in configs)
    told = f"{each(config['strategy'] for config in configs)}, seed {each(str(config['seed']) for config in configs)}"
    return f"{searched}: {pairs} pairs evaluated, {told}" + (f", limits {limits}" if limits else "")
