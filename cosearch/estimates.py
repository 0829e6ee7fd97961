"""What is said of a network alone, whatever machine it runs on: its accuracy, and its latency on a measured device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosearch.accuracy._base import AccuracyEstimator
from cosearch.accuracy.quantisation import quantisation_drop

if TYPE_CHECKING:
    from cosearch.efficiency import EfficiencyEstimator

COMPARABLE = "ImageNet top-1"
"""What the scale of an accuracy ends in that may stand beside published figures."""


@dataclass(frozen=True)
class Estimate:
    """What is estimated of one network: metrics by name, and whether any of them is extrapolated."""

    metrics: Mapping[str, float]
    extrapolated: bool = False

    def on(self, bits: int) -> dict[str, float]:
        """Return the metrics on a machine of so many bits: what these cost is taken off, and its error added."""
        if math.isnan(self.metrics["top1_percent"]):
            return dict(self.metrics)
        drop = quantisation_drop(bits)
        return {
            **self.metrics,
            "top1_percent": self.metrics["top1_percent"] - drop.points,
            "top1_error_points": self.metrics["top1_error_points"] + drop.error_points,
        }


NOTHING = Estimate(
    dict.fromkeys(
        ("top1_percent", "top1_error_points", "proxy_score", "device_latency_s", "device_latency_error_s"), math.nan
    )
)


@dataclass(frozen=True, eq=False)
class Estimators:
    """Who says how accurate networks are, and how fast a device runs them; None where nobody does."""

    accuracy: AccuracyEstimator | None = None
    device: EfficiencyEstimator | None = None

    @property
    def scale(self) -> str:
        """What the accuracies are, for an axis; empty where there are none."""
        return self.accuracy.scale if self.accuracy else ""

    @property
    def comparable(self) -> bool:
        """Whether published ImageNet accuracies may stand beside these."""
        return self.accuracy is None or self.scale.endswith(COMPARABLE)

    @property
    def metrics(self) -> set[str]:
        """Names of the metrics that are said."""
        said = {"device_latency_s"} if self.device else set()
        return said | {self.accuracy.quantity} if self.accuracy else said

    def judge(self, values: NDArray[np.integer]) -> list[Estimate]:
        """Return what is said of n networks by the values (n, knobs) of their knobs (`NetworkSpace.numbers`)."""
        columns: dict[str, NDArray[np.float64]] = {}
        extrapolated = np.zeros(len(values), dtype=np.bool_)
        if self.accuracy and len(values):
            found = self.accuracy.estimate(values)
            columns[self.accuracy.quantity] = found.value
            if self.accuracy.quantity == "top1_percent":
                columns["top1_error_points"] = found.error_points
            extrapolated |= found.extrapolated
        if self.device and len(values):
            latency = self.device.estimate(values)
            columns |= {"device_latency_s": latency.latency_s, "device_latency_error_s": latency.error_s}
            extrapolated |= latency.extrapolated
        rows = zip(*(column.tolist() for column in columns.values()), strict=True) if columns else [()] * len(values)
        return [
            Estimate({**NOTHING.metrics, **dict(zip(columns, row, strict=True))}, flag)
            for row, flag in zip(rows, extrapolated.tolist(), strict=True)
        ]
