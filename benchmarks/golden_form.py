"""Machines and mappings of recorded searches: the golden file's form (accel_models/interop/golden.py), less the counts.

Such files record what a search found: an architecture, a mapping and its energy and cycles, but no counts per level, and
they may say which dims may be spread along an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accel_models.accelerator import Accelerator
from accel_models.description import with_values
from accel_models.interop.golden import GoldenCase, _read_case
from accel_models.layer_cost import layer_cost
from accel_models.workload import DIMS

Json = dict[str, Any]


@dataclass(frozen=True)
class Recorded:
    """One recorded mapping with the energy (pJ) and the cycles that were reported for it."""

    case: GoldenCase
    energy_pj: float
    cycles: float

    def difference(self) -> str:
        """Say how our cost of the recorded mapping differs from what was reported; empty where it does not."""
        cost = layer_cost(self.case.layer, self.case.accelerator, self.case.mapping)
        # Reports round each row's energy to a hundredth of a pJ.
        slack = 0.005 * (len(cost.traffic) + 1) + 1e-12 * self.energy_pj
        if abs(cost.energy_pj - self.energy_pj) > slack:
            return f"energy {cost.energy_pj:.2f} pJ, reported {self.energy_pj:.2f}"
        if cost.latency_cycles != self.cycles:
            return f"cycles {cost.latency_cycles:.0f}, reported {self.cycles:.0f}"
        return ""


def recorded(
    dims: Json, coef: Json, arch: Json, mapping: Sequence[Json], energy_pj: float, cycles: float, where: str
) -> Recorded:
    """Return a record as a layer, an accelerator and a mapping.

    Raises
    ------
    DescriptionError
        If it is not of the form: the message begins with `where`.
    """
    levels = [{**level, "dram": level.get("dram", level["entries"] is None)} for level in arch["levels"]]
    form = {
        "kind": "recorded", "dims": dims, "coef": coef, "arch": {**arch, "levels": levels}, "mapping": mapping,
        "link_transfers": False, "imperfect": False,
        "out": {"levels": {"MAC": {"Energy (total)": energy_pj}}, "summary": {"Cycles": cycles}},
    }  # fmt: skip
    return Recorded(_read_case(form, where), energy_pj, cycles)


def with_axes(accelerator: Accelerator, x: Sequence[str] | None, y: Sequence[str] | None) -> Accelerator:
    """Return an accelerator whose meshes take only these dims along X and Y; None takes any."""
    values = {}
    for level in accelerator.levels:
        values[f"{level.name}.fanout.x.dims"] = list(DIMS if x is None else x)
        values[f"{level.name}.fanout.y.dims"] = list(DIMS if y is None else y)
    return with_values(accelerator, values)
