"""One pair in full: what was chosen, and what each layer costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from accel_models.accelerator import Accelerator
from accel_models.targets.cost import NetworkCost
from accel_models.workload import Network
from cosearch.accuracy.quantisation import quantisation_drop
from cosearch.archive import Pair
from cosearch.evaluate import Specification
from cosearch.objective import OBJECTIVES
from cosearch.results import Study, specification_of
from cosearch.spaces.joint import HARDWARE_PREFIX


@dataclass(frozen=True)
class PairDetails:
    """A recorded pair, built and evaluated again."""

    pair: Pair
    network: Network
    target: Accelerator
    cost: NetworkCost
    chosen: tuple[dict[str, Any], dict[str, Any]]
    scale: str
    note: str

    def lines(self) -> list[str]:
        """Return the choices and figures as lines of text."""
        metrics = self.pair.metrics
        lines = [f"pair {self.pair.id} (generation {self.pair.generation}): {self.network}"]
        if np.isfinite(metrics["top1_percent"]):
            given = self.target.precision
            bits = min(given.weights, given.inputs) if given else 16
            drop = quantisation_drop(bits).points
            quantised = f"; {drop:.2f} points taken off for {bits}-bit arithmetic" if drop else ""
            note = ", outside the measured range" if self.pair.extrapolated else ""
            error = f"{metrics['top1_error_points']:.2f} points"
            error = error if np.isfinite(metrics["top1_error_points"]) else "not known"
            lines.append(
                f"{self.scale} {metrics['top1_percent']:.2f} % ({self.note}{quantised}), expected error {error}{note}"
            )
        if np.isfinite(metrics["proxy_score"]):
            lines.append(
                f"proxy score {metrics['proxy_score']:.6g} ({self.note}): it ranks networks, it is no accuracy"
            )
        if np.isfinite(metrics["device_latency_s"]):
            lines.append(
                f"latency on the measured device {metrics['device_latency_s'] * 1e3:.3f} ms, expected error "
                f"{metrics['device_latency_error_s'] * 1e3:.3f} ms"
            )
        if not math.isclose(self.cost.latency_s * self.cost.energy_j, metrics["edp_js"], rel_tol=1e-9):
            lines.append(
                f"recorded with another cost model: {metrics['latency_s'] * 1e3:.3f} ms, {metrics['energy_j'] * 1e3:.3f} mJ; "
                "below is what this version says"
            )
        for title, values in zip(("network", "hardware"), self.chosen, strict=True):
            if values:
                lines.append(f"{title}: " + ", ".join(f"{name}={_text(value)}" for name, value in values.items()))
        return lines

    def costliest_mapping(self) -> str:
        """Return the loop nest of the layer that takes the most energy."""
        row = max(self.cost.layers, key=lambda row: row.energy_pj)
        assert row.mapping is not None
        return f"mapping of {row.name} ({row.layer}), the layer with the most energy:\n{row.mapping.loop_nest(self.target)}"


def choices(study: Study, pair: Pair) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the network's and the hardware's chosen values; genes that do not count are left out."""
    space = specification_of(study).space()
    networks, hardware = space.split(np.array(pair.genome, dtype=np.int64))
    chosen = space.hardware.active_values(hardware)
    return space.networks.active_values(networks), {
        name.removeprefix(HARDWARE_PREFIX): value for name, value in chosen.items()
    }


def pair_details(study: Study, pair: Pair) -> PairDetails:
    """Build a recorded pair again and evaluate it layer by layer, with the search's own mapping options."""
    specification: Specification = specification_of(study)
    space = specification.space()
    networks, hardware = space.split(np.array(pair.genome, dtype=np.int64))
    network, target = space.networks.network(networks), space.hardware.target(hardware)
    options = specification.mapping
    cost = target.evaluate(
        network, objective=options.objective, mapper=options.mapper, effort=options.effort, seed=options.seed
    )
    titles, note = study.archive.get("titles") or {}, study.archive.get("accuracy_note", "")
    scale = titles.get("top1_percent", OBJECTIVES["top1"].title)
    return PairDetails(pair, network, target, cost, choices(study, pair), scale, note)


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
