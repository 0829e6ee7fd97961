"""Tables and loop nests for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from accel_models.accelerator import Accelerator
    from accel_models.targets.cost import NetworkCost


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a rich table; numbers are aligned right."""
    from rich.table import Table

    made = Table(title=title or None, title_justify="left", header_style="bold")
    for place, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[place], (int, float)) or row[place] == "" for row in rows)
        made.add_column(column, justify="right" if numeric else "left", no_wrap=numeric)
    for row in rows:
        made.add_row(*(number(cell) for cell in row))
    return made


def number(cell: Any) -> str:
    """Write a cell: five significant digits for a float, thousands grouped for an integer."""
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:.5g}" if abs(cell) < 1e5 else f"{cell:.4e}"


def hardware_table(target: Accelerator) -> Table:
    """Return an accelerator's levels as a table."""
    rows = []
    for level, instances in reversed(list(zip(target.levels, target.instances, strict=True))):
        x, y = level.fanout.x, level.fanout.y
        mesh = f"{x.size} ({' '.join(x.dims)}) x {y.size} ({' '.join(y.dims)})" if x.size * y.size > 1 else ""
        size = "" if level.entries is None else f"{level.size_bytes / 1024:.4g} KiB"
        energy = level.energy_pj(target.node_nm)
        rows.append(
            [level.name, instances, size, level.word_bits, ", ".join(level.keeps), energy.read, energy.write, mesh]
        )
    columns = ["level", "instances", "size each", "word bits", "keeps", "read pJ", "write pJ", "children X x Y"]
    size = f"{target.macs_per_cycle} MACs, {target.area_mm2:.2f} mm²"
    title = f"{target.name}: {size}, {target.clock_mhz:g} MHz, {target.node_nm:g} nm"
    return table(title, columns, rows)


def cost_table(cost: NetworkCost) -> Table:
    """Return a network's cost, one row per operation that takes time or energy."""
    rows = [
        [row.name, row.kind, row.macs or "", row.latency_cycles, row.energy_pj / 1e6, 100 * row.utilisation if row.macs else ""]
        for row in cost.operations
        if row.latency_cycles or row.energy_pj
    ]  # fmt: skip
    return table(str(cost), ["operation", "kind", "MACs", "cycles", "energy uJ", "MACs busy %"], rows)
