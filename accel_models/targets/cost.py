"""What a network costs on a target: totals, and a row per operation that they are the sums of."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from accel_models.mapping import Mapping
from accel_models.workload import Layer

if TYPE_CHECKING:
    import pandas as pd

    from accel_models.targets.residency import Residency


@dataclass(frozen=True, slots=True)
class NodeCost:
    """What one operation of a network costs: a layer on the MAC array, or an operation of the vector unit."""

    name: str
    kind: str
    macs: int
    latency_cycles: float
    energy_pj: float
    utilisation: float
    layer: Layer | None = None
    mapping: Mapping | None = None


class NodeTable(tuple[NodeCost, ...]):
    """The rows of a network's cost, in order of execution; `layers` are those that run on the MAC array."""

    __slots__ = ()

    def to_dataframe(self) -> pd.DataFrame:
        """Return the rows as a table (mappings and layers as text)."""
        import pandas as pd

        names = [item.name for item in fields(NodeCost)]
        frame = pd.DataFrame([[getattr(row, name) for name in names] for row in self], columns=names)
        for name in ("layer", "mapping"):
            frame[name] = frame[name].map(str, na_action="ignore")
        return frame

    def _repr_html_(self) -> str:
        return str(self.to_dataframe().drop(columns="mapping").to_html())


@dataclass(frozen=True)
class NetworkCost:
    """What one pass of a network (batch 1) costs on a target.

    Attributes
    ----------
    latency_s, energy_j, edp_js
        Seconds, joules, and their product.
    area_mm2
        Area of the target.
    macs, params
        Of the network.
    layers
        Rows of the layers on the MAC array, in order.
    operations
        Rows of everything, the vector unit's work included. Latency is the sum over these; energy is, with `leakage`.
    leakage
        Name and joules of everything that the description gives a leakage.
    residency
        What stayed on chip between operations, and what layers then cost per level; None where the description has no
        level that holds tensors.
    """

    network: str
    target: str
    latency_s: float
    energy_j: float
    area_mm2: float
    macs: int
    params: int
    layers: NodeTable
    operations: NodeTable
    leakage: tuple[tuple[str, float], ...] = ()
    residency: Residency | None = None

    @property
    def leakage_j(self) -> float:
        """Energy of leakage over the whole latency, in joules; part of `energy_j`."""
        return sum(energy_j for _, energy_j in self.leakage)

    @property
    def edp_js(self) -> float:
        """Energy-delay product in joule-seconds."""
        return self.energy_j * self.latency_s

    def __str__(self) -> str:
        leakage = f" ({self.leakage_j * 1e3:.3f} mJ of it leakage)" if self.leakage else ""
        return (
            f"{self.network} on {self.target}: {self.latency_s * 1e3:.3f} ms, {self.energy_j * 1e3:.3f} mJ{leakage}, "
            f"{self.area_mm2:.2f} mm2"
        )
