"""Tables and loop nests for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from accel_models.accelerator import Accelerator, MemoryLevel
    from accel_models.layer_cost import LayerCost
    from accel_models.targets.cost import NetworkCost


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a rich table; numbers are aligned right."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(title), title_justify="left", header_style="bold")
    for place, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[place], (int, float)) or row[place] == "" for row in rows)
        made.add_column(Text(column), justify="right" if numeric else "left", no_wrap=numeric)
    for row in rows:
        made.add_row(*(Text(number(cell)) for cell in row))  # as text: names may hold what rich takes for markup
    return made


def number(cell: Any) -> str:
    """Write a cell: five significant digits for a fraction, thousands grouped for a whole number."""
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        return str(cell)
    if isinstance(cell, int) or (cell.is_integer() and abs(cell) < 1e12):
        return f"{int(cell):,}"
    return f"{cell:.5g}" if abs(cell) < 1e5 else f"{cell:.4e}"


def size(level: MemoryLevel) -> str:
    """Write the capacity of one instance of a level, in a unit that reads well; nothing for DRAM."""
    if level.entries is None:
        return ""
    return f"{level.size_bytes:.4g} B" if level.size_bytes < 1024 else f"{level.size_bytes / 1024:.4g} KiB"


def hardware_table(target: Accelerator) -> Table:
    """Return an accelerator's levels as a table."""
    rows = []
    for level, instances in reversed(list(zip(target.levels, target.instances, strict=True))):
        x, y = level.fanout.x, level.fanout.y
        mesh = f"{x.size} ({' '.join(x.dims)}) x {y.size} ({' '.join(y.dims)})" if x.size * y.size > 1 else ""
        energy = level.energy_pj(target.node_nm)
        kept = ", ".join(level.keeps)
        rows.append([level.name, instances, size(level), level.word_bits, kept, energy.read, energy.write, mesh])
    columns = ["level", "instances", "size each", "word bits", "keeps", "read pJ", "write pJ", "children X x Y"]
    at = f"{target.clock_mhz:g} MHz, {target.node_nm:g} nm"
    title = f"{target.name}: {target.macs_per_cycle} MACs, {target.area_mm2:.2f} mm², {at}"
    return table(title, columns, rows)


def cost_table(cost: NetworkCost) -> Table:
    """Return a network's cost, one row per operation that takes time or energy."""
    rows = [
        [row.name, row.kind, row.macs or "", row.latency_cycles, row.energy_pj / 1e6, 100 * row.utilisation if row.macs else ""]
        for row in cost.operations
        if row.latency_cycles or row.energy_pj
    ]  # fmt: skip
    return table(str(cost), ["operation", "kind", "MACs", "cycles", "energy uJ", "MACs busy %"], rows)


def layer_table(cost: LayerCost) -> Table:
    """Return what moves under one mapping, per level and dataspace; the energies add up to the layer's."""
    cycles = dict(cost.level_cycles)
    rows: list[list[Any]] = []
    for row in cost.traffic:
        first = not rows or rows[-1][0] != row.level
        counts = [row.used_instances, row.tile, row.reads, row.fills, row.updates]
        rows.append([row.level, row.dataspace, *counts, row.energy_pj, cycles[row.level] if first else ""])
    rows.append(["MACs", "", "", "", "", "", "", cost.mac_energy_pj, cost.compute_cycles])
    rows.append(["all", "", "", "", "", "", "", cost.energy_pj, cost.latency_cycles])
    columns = ["level", "dataspace", "instances used", "tile", "reads", "fills", "updates", "energy pJ", "cycles"]
    return table("elements per used instance; energy of all instances; the slowest level's cycles count", columns, rows)
