"""The picture of a comparison: how much of the true front's hypervolume each strategy misses, after so many evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cosearch.report.figure import COLOURS, refuse_format, write

LINES = ("-", "--")
LEAST = 1e-5
"""Regret that is drawn as this where it is less."""


def draw(figures: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path) -> None:
    """Draw median and quartiles of the regret of every strategy, one panel per set of objectives.

    Parameters
    ----------
    figures
        Objectives, separated by commas -> strategy -> what `benchmarks.search_quality.summarise` says.
    path
        File to write; its ending chooses PNG, SVG or PDF.

    Raises
    ------
    CosearchError
        If the ending is unknown or the file cannot be written.
    """
    refuse_format(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4 * len(figures) + 0.6, 5.4), layout="constrained")
    axes = figure.subplots(1, len(figures), squeeze=False)[0]
    for axis, (objectives, told) in zip(axes, figures.items(), strict=True):
        for place, (name, each) in enumerate(told.items()):
            pairs = [row["evaluations"] for row in each["by_evaluations"]]
            ratios = np.array([row["hypervolume_ratio"] for row in each["by_evaluations"]])
            low, middle, high = np.maximum(1 - ratios, LEAST).T
            colour, dashes = COLOURS[place % len(COLOURS)], LINES[place // len(COLOURS) % len(LINES)]
            axis.fill_between(pairs, low, high, color=colour, alpha=0.15, linewidth=0)
            axis.plot(pairs, middle, dashes, color=colour, linewidth=1.4, label=name)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(objectives.replace(",", ", "), fontsize=10)
        axis.set_xlabel("different pairs evaluated")
        axis.set_ylabel("regret: missing share of the true hypervolume")
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
    write(figure, path)
