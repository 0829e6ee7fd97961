"""Objectives and limits by name, each with its unit and direction.

A *metric* is what an evaluation records (`METRICS`, base units). An objective is a metric with a direction. A limit
bounds a metric in the unit that its name says (``latency_ms<=5``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from accel_models.errors import unknown_name
from cosearch.errors import SearchError, UnknownNameError

METRICS = (
    "top1_percent", "top1_error_points", "latency_s", "energy_j", "edp_js", "area_mm2", "macs", "params", "proxy_score",
    "device_latency_s", "device_latency_error_s",
)  # fmt: skip
"""Figures recorded of every evaluated pair, in the order of the archive's columns."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One thing to be as small (or large) as possible.

    `scale` turns the metric's base unit into the display `unit`.
    """

    name: str
    metric: str
    unit: str
    scale: float = 1.0
    maximise: bool = False
    title: str = ""

    @property
    def label(self) -> str:
        """Axis label with unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("top1", "top1_percent", "%", maximise=True, title="estimated ImageNet top-1"),
        Objective("latency", "latency_s", "ms", 1e3, title="latency"),
        Objective("energy", "energy_j", "mJ", 1e3, title="energy per inference"),
        Objective("edp", "edp_js", "mJ ms", 1e6, title="energy-delay product"),
        Objective("area", "area_mm2", "mm²", title="area"),
        Objective("macs", "macs", "M", 1e-6, title="multiply-accumulates"),
        Objective("params", "params", "M", 1e-6, title="parameters"),
        Objective("proxy", "proxy_score", "", maximise=True, title="proxy score"),
        Objective("device-latency", "device_latency_s", "ms", 1e3, title="latency on the measured device"),
    )
}

LIMITS = {
    "top1": ("top1_percent", 1.0),
    "latency_s": ("latency_s", 1.0),
    "latency_ms": ("latency_s", 1e3),
    "energy_j": ("energy_j", 1.0),
    "energy_mj": ("energy_j", 1e3),
    "edp_js": ("edp_js", 1.0),
    "area_mm2": ("area_mm2", 1.0),
    "macs": ("macs", 1.0),
    "params": ("params", 1.0),
    "proxy": ("proxy_score", 1.0),
    "device_latency_s": ("device_latency_s", 1.0),
    "device_latency_ms": ("device_latency_s", 1e3),
}
"""Quantity a limit may name -> (metric, factor from the metric's unit to the name's)."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound that a pair must respect, in the unit its name says."""

    quantity: str
    sense: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read a limit such as ``"area_mm2<=16"`` or ``"top1>=75"``.

        Raises
        ------
        SearchError
            If it cannot be read.
        UnknownNameError
            If the quantity is unknown.
        """
        found = re.fullmatch(r"\s*([A-Za-z0-9_]+)\s*(<=|>=)\s*(\S+)\s*", text)
        if not found:
            raise SearchError(f"limit {text!r} is not of the form 'area_mm2<=16' or 'top1>=75'")
        quantity, sense, number = found.groups()
        if quantity not in LIMITS:
            raise UnknownNameError(unknown_name("limit", quantity, LIMITS))
        try:
            bound = float(number)
        except ValueError:
            bound = math.nan
        if not math.isfinite(bound) or bound <= 0:
            raise SearchError(f"limit {text!r}: {number!r} is not a positive number")
        return cls(quantity, sense, bound)

    @property
    def metric(self) -> str:
        """The metric that it bounds."""
        return LIMITS[self.quantity][0]

    @property
    def factor(self) -> float:
        """What the metric is multiplied with to be in the limit's own unit."""
        return LIMITS[self.quantity][1]

    def value(self, metrics: Mapping[str, float]) -> float:
        """Return the bounded figure of one pair, in the limit's own unit."""
        return metrics[self.metric] * self.factor

    def violation(self, metrics: Mapping[str, float]) -> float:
        """Return by how much a pair breaks the limit, relative to the bound; 0 or less where it is kept."""
        return float(self.violations(np.array(metrics[self.metric])))

    def violations(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the same for many values of the metric, of any shape."""
        excess = (values * self.factor - self.bound) / self.bound
        return excess if self.sense == "<=" else -excess

    def __str__(self) -> str:
        return f"{self.quantity}{self.sense}{self.bound:g}"


def parse_objectives(names: Sequence[str], titles: Mapping[str, str] | None = None) -> tuple[Objective, ...]:
    """Return the objectives of the given names; `titles` has other titles for some metrics.

    Raises
    ------
    UnknownNameError
        If a name is unknown.
    SearchError
        If there are none, or one stands twice.
    """
    for name in names:
        if name not in OBJECTIVES:
            raise UnknownNameError(unknown_name("objective", name, OBJECTIVES))
    if not names or len(set(names)) != len(names):
        raise SearchError(f"objectives {','.join(names)!r}: name one or more, each once, of {', '.join(OBJECTIVES)}")
    found = [OBJECTIVES[name] for name in names]
    return tuple(replace(one, title=(titles or {}).get(one.metric) or one.title) for one in found)


def to_minimise(objectives: Sequence[Objective], metrics: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
    """Return the objectives of pairs in display units, maximised ones negated: (pairs, objectives)."""
    signs = [-objective.scale if objective.maximise else objective.scale for objective in objectives]
    names = [objective.metric for objective in objectives]
    return np.array([[row[name] * sign for name, sign in zip(names, signs, strict=True)] for row in metrics]).reshape(
        len(metrics), len(objectives)
    )
