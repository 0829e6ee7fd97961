"""The picture of a roofline: what memory and array would allow, and what each layer reaches; and its table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel_models.roofline import Roofline, RooflinePoint, point_row
from cosearch.report.figure import COLOURS, refuse_format, write
from cosearch.report.text import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

KINDS = dict(
    zip(("conv", "pointwise", "depthwise", "grouped", "linear", "matmul"), COLOURS, strict=True)
)  # colour of each kind of layer
ROOF, CHIP, WHOLE = "#222222", "#8a8a8a", "#d62728"
LARGEST = 1200.0
"""Area, in square points, of the mark of a layer that takes all of the time."""


def plot_roofline(roofline: Roofline, path: str | Path | None = None) -> Figure:
    """Draw the roofs of a target and the layers of a network under them, on logarithmic axes.

    Each layer is a disc whose area is its share of the network's time; the network is a star, and an open star where
    its compulsory traffic would put it. The roofs of levels on the chip are dotted, and the network's own
    intensity at each of them is a small diamond.

    Parameters
    ----------
    path
        File to write; its ending chooses PNG, SVG or PDF.

    Raises
    ------
    CosearchError
        If the ending is unknown or the file cannot be written.
    """
    refuse_format(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 5.4), layout="constrained")
    axis = figure.subplots()
    axis.set_xscale("log")
    axis.set_yscale("log")
    left, right, low, high = _window(roofline)
    axis.set_xlim(left, right)
    axis.set_ylim(low, high)
    _draw_roofs(axis, roofline, left, right)
    _draw_layers(axis, roofline)
    _draw_whole(axis, roofline)
    axis.set_xlabel(
        "operational intensity (MACs per byte of DRAM traffic; at a dotted roof, of that level's traffic)", fontsize=9
    )
    axis.set_ylabel("rate (GMAC/s)", fontsize=9)
    second = axis.secondary_yaxis("right", functions=(_operations, _macs))
    second.set_ylabel("rate (GOP/s, two operations per MAC)", fontsize=9)
    for each in (axis.xaxis, axis.yaxis, second.yaxis):
        each.set_major_formatter(_plain())
        each.set_tick_params(labelsize=9)
    axis.grid(alpha=0.25, linewidth=0.6)
    axis.spines["top"].set_visible(False)
    axis.set_title(_title(roofline), fontsize=10, loc="left")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, labelspacing=0.9)
    if path is not None:
        write(figure, path)
    return figure


def _operations(macs: Any) -> Any:
    return 2 * macs


def _macs(operations: Any) -> Any:
    return operations / 2


def _window(roofline: Roofline) -> tuple[float, float, float, float]:
    """Return the limits of the axes: all layers, the ridge, the network's diamonds, and some air."""
    points, peak = (*roofline.points, roofline.whole), roofline.peak_macs_per_s / 1e9
    across = [point.intensity_macs_per_byte for point in points] + [roofline.whole.compulsory_intensity_macs_per_byte]
    across += [intensity for _, intensity in _on_chip(roofline)]
    ridge = roofline.ridge_macs_per_byte
    across += [turn for turn in (ridge, *(peak / slope for slope, _ in _chip_slopes(roofline))) if turn >= ridge > 0]
    across = [intensity for intensity in across if math.isfinite(intensity)] or [1.0]
    low = min(point.achieved_macs_per_s / 1e9 for point in points) / 2.5
    labels = 1 + len(_chip_slopes(roofline))
    return min(across) / 2, max(across) * 4, low, peak * (peak / low) ** (0.05 + 0.05 * labels)


def _on_chip(roofline: Roofline) -> list[tuple[str, float]]:
    """Return (level, the network's intensity there) of each level on the chip with limited bandwidth and traffic."""
    return [
        (roof.level, roofline.whole.intensity_at(roof.level))
        for roof in roofline.roofs[:-1]
        if math.isfinite(roof.bandwidth_bytes_per_s) and math.isfinite(roofline.whole.intensity_at(roof.level))
    ]


def _draw_roofs(axis: Axes, roofline: Roofline, left: float, right: float) -> None:
    """Draw the roofs; each bandwidth is named above the point where it meets the array's peak."""
    peak, ridge = roofline.peak_macs_per_s / 1e9, roofline.ridge_macs_per_byte
    axis.plot([max(ridge, left), right], [peak, peak], color=ROOF, linewidth=1.6, label=f"array: {_rate(peak)}MAC/s")
    names = []
    if ridge:
        slope = roofline.dram.bandwidth_bytes_per_s / 1e9
        label = f"{roofline.dram.level}: {_rate(slope)}B/s"
        axis.plot([left, ridge], [slope * left, peak], color=ROOF, linewidth=1.6, linestyle="--", label=label)
        axis.plot([ridge, ridge], [axis.get_ylim()[0], peak], color=ROOF, linewidth=0.6, alpha=0.5)
        names.append((ridge, f"{roofline.dram.level}, ridge {ridge:.4g} MACs/B"))
    for slope, levels in _chip_slopes(roofline):
        turn = max(peak / slope, left)
        axis.plot([left, turn], [slope * left, peak], color=CHIP, linewidth=1, linestyle=":")
        names.append((turn, f"{', '.join(levels)}: {_rate(slope)}B/s"))
    # The rightmost name lies lowest, so that none runs into the next; those far to the right end at their line.
    for row, (turn, name) in enumerate(sorted(names, reverse=True)):
        late = math.log(turn / left) > 0.72 * math.log(right / left)
        leader = {"arrowstyle": "-", "color": CHIP, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0, "relpos": (late, 0)}
        axis.annotate(name, (turn, peak), xytext=(0, 7 + 13 * row), textcoords="offset points", fontsize=8,
                      color="#444444", ha="right" if late else "left", arrowprops=leader)  # fmt: skip


def _chip_slopes(roofline: Roofline) -> list[tuple[float, list[str]]]:
    """Return (GB/s, levels) of the on-chip roofs: levels with one bandwidth share a line."""
    slopes: dict[float, list[str]] = {}
    for roof in roofline.roofs[:-1]:
        if math.isfinite(roof.bandwidth_bytes_per_s):
            slopes.setdefault(roof.bandwidth_bytes_per_s / 1e9, []).append(roof.level)
    return sorted(slopes.items())


def _draw_layers(axis: Axes, roofline: Roofline) -> None:
    for kind, colour in KINDS.items():
        points = [point for point in roofline.points if point.kind == kind]
        if points:
            share = sum(point.time_share for point in points)
            across, up = zip(*(_place(axis, point) for point in points), strict=True)
            axis.scatter(across, up, s=[_area(point.time_share) for point in points], color=colour, alpha=0.55,
                         linewidths=0.5, edgecolors="white", zorder=3)  # fmt: skip
            many = f"{len(points)} layer" + ("s" if len(points) > 1 else "")
            axis.scatter([], [], s=40, color=colour, alpha=0.7, label=f"{kind}: {many}, {_percent(share)} of the time")
    for share in (0.01, 0.1):
        axis.scatter([], [], s=_area(share), facecolors="none", edgecolors="#777777", label=f"{share:.0%} of the time")
    if any(math.isinf(point.intensity_macs_per_byte) for point in roofline.points):
        axis.scatter([], [], s=0, label="at the right edge: no DRAM traffic")
    for point in _slowest(axis, roofline.points):
        name = f"{point.name}, {point.time_share:.0%}"
        axis.annotate(name, _place(axis, point), xytext=(7, -11), textcoords="offset points", fontsize=7,
                      color=KINDS[point.kind], zorder=6)  # fmt: skip


def _place(axis: Axes, point: RooflinePoint) -> tuple[float, float]:
    """Return where a point stands; one without DRAM traffic stands at the right edge."""
    return min(point.intensity_macs_per_byte, axis.get_xlim()[1] / 1.2), point.achieved_macs_per_s / 1e9


def _slowest(axis: Axes, points: Iterable[RooflinePoint], most: int = 3, share: float = 0.04) -> list[RooflinePoint]:
    """Return the layers that take most of the time, no two of them so near that their names would touch."""
    chosen: list[RooflinePoint] = []
    for point in sorted(points, key=lambda point: -point.time_share):
        x, y = _place(axis, point)
        others = [_place(axis, other) for other in chosen]
        apart = all(abs(math.log(x / across)) > 1.5 or abs(math.log(y / up)) > 0.6 for across, up in others)
        if apart and len(chosen) < most and point.time_share >= share:
            chosen.append(point)
    return chosen


def _draw_whole(axis: Axes, roofline: Roofline) -> None:
    whole = roofline.whole
    across, rate = _place(axis, whole)
    chip = [intensity for _, intensity in _on_chip(roofline)]
    if chip:
        axis.plot([*chip, across], [rate] * (len(chip) + 1), color=WHOLE, linewidth=0.6, alpha=0.5)
        axis.scatter(chip, [rate] * len(chip), marker="D", s=22, facecolors="white", edgecolors=WHOLE, zorder=4,
                     label="network, by on-chip traffic")  # fmt: skip
    bound = min(whole.compulsory_intensity_macs_per_byte, axis.get_xlim()[1] / 1.2)
    axis.scatter([bound], [whole.bound_macs_per_s / 1e9], marker="*", s=170, facecolors="none", edgecolors=WHOLE,
                 zorder=4, label="network's bound: compulsory traffic")  # fmt: skip
    axis.scatter([across], [rate], marker="*", s=170, color=WHOLE, edgecolors="white", linewidths=0.5, zorder=5,
                 label=f"network: {_rate(rate)}MAC/s, {whole.latency_s * 1e3:.3g} ms")  # fmt: skip
    if roofline.vector_latency_s:
        share = roofline.vector_latency_s / whole.latency_s
        axis.scatter([], [], s=0, label=f"vector unit: {_percent(share)} of the time")


def _area(share: float) -> float:
    """Area of a mark, in square points; never too small to be seen."""
    return max(6.0, LARGEST * share)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else "under 1%"


def _rate(giga: float) -> str:
    """Write a rate given in units of 10**9 with its prefix: ``"1.2 G"``, ``"45.9 T"``."""
    for factor, prefix in ((1e3, "T"), (1, "G"), (1e-3, "M")):
        if giga >= factor:
            return f"{giga / factor:.3g} {prefix}"
    return f"{giga * 1e6:.3g} k"


def _plain() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, place: f"{value:g}")


def _title(roofline: Roofline) -> str:
    whole = roofline.whole
    reached = whole.achieved_macs_per_s / whole.attainable_macs_per_s
    return (
        f"{roofline.network} on {roofline.target}: {whole.intensity_macs_per_byte:.3g} MACs per byte, "
        f"{reached:.0%} of what that allows, {whole.achieved_macs_per_s / roofline.peak_macs_per_s:.0%} of the peak"
    )


def roofline_table(roofline: Roofline) -> Table:
    """Return the layers and the network as a table: intensities in MACs per byte, rates in GMAC/s."""
    rows = [
        [
            point.name, point.kind, point.macs, point.dram_bytes / 1024, point.intensity_macs_per_byte,
            point.compulsory_intensity_macs_per_byte, point.attainable_macs_per_s / 1e9,
            point.achieved_macs_per_s / 1e9, 100 * point.time_share, point.limited_by,
        ]
        for point in (*roofline.points, roofline.whole)
    ]  # fmt: skip
    columns = [
        "layer", "kind", "MACs", "DRAM KiB", "MACs/B", "at most", "attainable GMAC/s", "achieved GMAC/s", "time %",
        "limited by",
    ]  # fmt: skip
    slope = roofline.dram.bandwidth_bytes_per_s
    memory = f"{slope / 1e9:.4g} GB/s" if math.isfinite(slope) else "unlimited"
    title = (
        f"{roofline.network} on {roofline.target}: peak {roofline.peak_macs_per_s / 1e9:.4g} GMAC/s, "
        f"{roofline.dram.level} {memory}, ridge {roofline.ridge_macs_per_byte:.4g} MACs/B"
    )
    return table(title, columns, rows)


def roofline_json(roofline: Roofline) -> dict[str, Any]:
    """Return everything for one JSON object, units in the names; what is infinite (no limit, no traffic) is null."""
    return {
        "network": roofline.network,
        "target": roofline.target,
        "peak_macs_per_s": roofline.peak_macs_per_s,
        "ridge_macs_per_byte": roofline.ridge_macs_per_byte,
        "roofs": [
            {"level": roof.level, "bandwidth_bytes_per_s": _finite(roof.bandwidth_bytes_per_s)}
            for roof in roofline.roofs
        ],
        "layers": [_point_json(point) for point in roofline.points],
        "whole": _point_json(roofline.whole),
        "vector_latency_s": roofline.vector_latency_s,
        "vector_bytes": roofline.vector_bytes,
    }


def _point_json(point: RooflinePoint) -> dict[str, Any]:
    row = {name: _finite(value) for name, value in point_row(point).items()}
    return {**row, "bound_macs_per_s": point.bound_macs_per_s, "traffic_bytes": dict(point.traffic_bytes)}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and math.isinf(value) else value
