"""The picture behind a selection of a sub-space: how the fitting networks' multiply-accumulates are distributed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cosearch.report.figure import COLOURS, refuse_format, write
from cosearch.tiny_nas import Selection, SubSpace

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 6
"""Sub-spaces with a colour and a line in the legend; the others are grey."""


def plot_cdf(selection: Selection, path: str | Path | None = None) -> Figure:
    """Draw one curve per ranked sub-space: which share of its fitting networks has at most so many multiply-accumulates.

    The further right a curve, the better the sub-space; the best one is drawn thickest.

    Parameters
    ----------
    selection
        What :func:`cosearch.tiny_nas.select_sub_space` found.
    path
        File to write; its ending chooses PNG, SVG or PDF.

    Raises
    ------
    SearchError
        If no sub-space is ranked.
    CosearchError
        If the ending is unknown or the file cannot be written.
    """
    refuse_format(path)
    best = selection.best
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.4, 4.8), layout="constrained")
    axis = figure.subplots()
    for part in reversed(selection.ranked[NAMED:]):
        _curve(axis, part, color="#9a9a9a", linewidth=0.7, alpha=0.45)
    for place, part in reversed(list(enumerate(selection.ranked[:NAMED]))):
        name = f"{part.label}: mean {part.mean_macs / 1e6:.1f} M, {100 * part.fitting:.3g} % fit"
        _curve(axis, part, color=COLOURS[place], linewidth=2.6 if part is best else 1.2, label=name)
    axis.axvline(best.mean_macs / 1e6, color=COLOURS[0], linewidth=0.8, linestyle=":")
    others = len(selection.ranked) - NAMED
    if others > 0:
        axis.plot([], [], color="#9a9a9a", linewidth=0.7, label=f"{others} other sub-spaces")
    handles, labels = axis.get_legend_handles_labels()
    order = [*range(min(NAMED, len(selection.ranked)))[::-1], *range(NAMED, len(handles))]
    axis.legend([handles[i] for i in order], [labels[i] for i in order], loc="lower right", fontsize=8, frameon=True)
    axis.set_xlabel("M MACs")
    axis.set_ylabel("share of the fitting networks, %")
    axis.set_xlim(left=0)
    axis.set_ylim(0, 100)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_title(
        f"{selection.space}: networks that fit {selection.sram_kib:g} KiB SRAM and {selection.flash_kib:g} KiB flash "
        f"({selection.samples:,} drawn per sub-space)",
        fontsize=10,
    )
    if path is not None:
        write(figure, path)
    return figure


def _curve(axis: Axes, part: SubSpace, **style: Any) -> None:
    shares = 100 * np.arange(len(part.macs) + 1) / len(part.macs)
    axis.step(np.array([part.macs[0], *part.macs]) / 1e6, shares, where="post", **style)
