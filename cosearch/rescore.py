"""A front under other people's energies: does what a search found survive another model?

Every pair of a recorded front is evaluated again with a second set of energies (`accel_models.energy_sets`), once with
mappings found anew for them and once with the mappings kept that were best before. Latencies change only with mappings.
So are known networks on the unmodified target, and with them the gain of the search.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from accel_models.energy_sets import with_energies
from cosearch.errors import RunError
from cosearch.objective import Limit, to_minimise
from cosearch.results import Study, nondominated, specification_of
from cosearch.spaces.joint import FixedNetwork

if TYPE_CHECKING:
    import pandas as pd

    from accel_models.accelerator import Accelerator
    from accel_models.mapper.base import Found
    from accel_models.workload import Layer, Network
    from cosearch.archive import Pair
    from cosearch.evaluate import MappingOptions

REFERENCES = ("mobilenet-v2", "mobilenet-v3-large")
"""Networks with a published accuracy that stand for "without a search", where a search was over networks."""

HARDWARE_KEPT = 64
"""Machines whose mappings are remembered: pairs of a front often share one."""


class Figures(NamedTuple):
    """What one pair costs under one set of energies."""

    latency_s: float
    energy_j: float

    @property
    def edp_js(self) -> float:
        """Energy-delay product in joule-seconds."""
        return self.latency_s * self.energy_j


@dataclass(frozen=True, slots=True)
class Twice:
    """One network on one machine: before, with mappings found anew under the second set, and with those from before."""

    before: Figures
    after: Figures
    kept: Figures


@dataclass(frozen=True, slots=True)
class RescoredPair:
    """A pair of the front, evaluated again.

    `on_front` says whether it is still non-dominated among the pairs of the old front, and within every limit.
    """

    pair: Pair
    cost: Twice
    on_front: bool


@dataclass(frozen=True, slots=True)
class Gain:
    """How many times less the best pair costs than a reference on the unmodified target, before and after.

    `pair_id` is the pair of the least energy-delay product before, of those whose estimated top-1 is no lower than the
    reference's published one (of all, where there is no estimate).
    """

    reference: str
    pair_id: int
    edp_before: float
    edp_after: float
    energy_before: float
    energy_after: float

    @property
    def survives(self) -> bool:
        """True where the pair is still better in energy-delay product."""
        return self.edp_after > 1


@dataclass(frozen=True)
class Rescoring:
    """A front under a second set of energies.

    Attributes
    ----------
    energies
        Name of the set.
    rows
        The front, in its own order.
    correlations
        Metric and rank coefficient ("spearman", "kendall") -> rank correlation between before and after over the rows; NaN
        where there are fewer than two different values.
    gains
        Against each reference that has a comparable pair.
    """

    energies: str
    rows: tuple[RescoredPair, ...]
    correlations: Mapping[tuple[str, str], float]
    gains: tuple[Gain, ...]

    def to_dataframe(self) -> pd.DataFrame:
        """Return one row per pair, units in the names."""
        import pandas as pd

        return pd.DataFrame([rescored_row(row) for row in self.rows])


def rescored_row(row: RescoredPair) -> dict[str, float | int | bool]:
    """Return the figures of a pair by name: latency, energy and their product, before and after."""
    figures: dict[str, float | int | bool] = {"id": row.pair.id}
    for metric, scale, unit in (
        ("latency_s", 1e3, "latency_ms"),
        ("energy_j", 1e3, "energy_mj"),
        ("edp_js", 1e6, "edp_mj_ms"),
    ):
        for when in ("before", "after", "kept"):
            figures[f"{unit}_{when}"] = getattr(getattr(row.cost, when), metric) * scale
    return {**figures, "on_front": row.on_front}


def rescore(study: Study, energies: str) -> Rescoring:
    """Evaluate the front of a recorded search again with the energies of a named set.

    Raises
    ------
    UnknownNameError
        If there is no such set.
    RunError
        If the run has no front, or another program recorded it.
    """
    specification = specification_of(study)
    with_energies(specification.target, energies)  # an unknown name is refused before anything takes time
    pairs = study.front_pairs()
    if not pairs:
        raise RunError(f"{study.archive.path}: there is no front to evaluate again")
    space, options = specification.space(), specification.mapping

    @functools.lru_cache(maxsize=HARDWARE_KEPT)
    def machine(genes: tuple[int, ...]) -> Machine:
        return Machine(space.hardware.target(np.array(genes, dtype=np.int64)), energies, options)

    costs = []
    for pair in pairs:
        network_genes, hardware_genes = space.split(np.array(pair.genome, dtype=np.int64))
        network = space.networks.network(network_genes)
        costs.append(machine(tuple(hardware_genes.tolist())).cost(network))
    kept = _still_on_front(study, pairs, costs)
    rows = tuple(RescoredPair(*row) for row in zip(pairs, costs, kept, strict=True))
    unmodified = Machine(specification.target, energies, options)
    fixed = specification.networks.network_itself if isinstance(specification.networks, FixedNetwork) else None
    return Rescoring(energies, rows, rank_correlations(costs), tuple(_gains(rows, unmodified, fixed)))


class Machine:
    """An accelerator with its own energies and with another set, and the best mappings on both."""

    def __init__(self, accelerator: Accelerator, energies: str, options: MappingOptions) -> None:
        self.before, self.after = accelerator, with_energies(accelerator, energies)
        self.options = options
        self._found: tuple[dict[Layer, Found], ...] = ({}, {}, {})

    def cost(self, network: Network) -> Twice:
        """Return what a network costs before, after, and after with the mappings of before.

        Raises
        ------
        MappingError
            If a layer cannot be mapped at all.
        """
        from accel_models.targets import asic

        own, new, kept = self._found
        options = self.options
        for machine, found in ((self.before, own), (self.after, new)):
            asic.find_mappings(
                network.distinct_layers, machine, found, options.objective, options.mapper, options.effort, options.seed
            )
        for layer in network.distinct_layers:
            if layer not in kept:
                kept[layer] = _charged_again(layer, own[layer], self.after)
        parts = ((self.before, own), (self.after, new), (self.after, kept))
        return Twice(*(Figures(*asic.totals(network, machine, found)) for machine, found in parts))


def _charged_again(layer: Layer, found: Found, accelerator: Accelerator) -> Found:
    """Return a mapping with what it costs on a machine of the same shape but other energies."""
    from accel_models.layer_cost import layer_cost
    from accel_models.mapping import Mapping as LoopNest

    cost = layer_cost(layer, accelerator, LoopNest.from_array(found.array, accelerator, found.bypasses))
    return found._replace(energy_pj=cost.energy_pj, latency_cycles=cost.latency_cycles, optimal=False)


def _still_on_front(study: Study, pairs: Sequence[Pair], costs: Sequence[Twice]) -> list[bool]:
    limits = [Limit.parse(text) for text in study.config["limits"]]
    metrics = [
        {
            **pair.metrics,
            "latency_s": cost.after.latency_s,
            "energy_j": cost.after.energy_j,
            "edp_js": cost.after.edp_js,
        }
        for pair, cost in zip(pairs, costs, strict=True)
    ]
    within = [place for place, row in enumerate(metrics) if all(limit.violation(row) <= 0 for limit in limits)]
    best = nondominated(to_minimise(study.objectives, [metrics[place] for place in within])).tolist() if within else []
    kept = {within[place] for place in best}
    return [place in kept for place in range(len(pairs))]


def rank_correlations(costs: Sequence[Twice]) -> dict[tuple[str, str], float]:
    """Return Spearman's and Kendall's rank correlation of energy and energy-delay product, before against after."""
    from scipy import stats

    found = {}
    for metric in ("energy_j", "edp_js"):
        before, after = ([getattr(getattr(cost, when), metric) for cost in costs] for when in ("before", "after"))
        varied = len(set(before)) > 1 and len(set(after)) > 1
        for name, coefficient in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
            found[metric, name] = float(coefficient(before, after).statistic) if varied else math.nan
    return found


def _gains(rows: Sequence[RescoredPair], unmodified: Machine, fixed: Network | None) -> list[Gain]:
    """Return the gain over the fixed network itself on the unmodified target, or over known networks there."""
    from accel_models.errors import MappingError
    from accel_models.networks import NETWORKS, load_network

    known = [(fixed.name, fixed, math.nan)] if fixed else [
        (name, load_network(name), NETWORKS[name].published_top1_percent or math.nan) for name in REFERENCES
    ]  # fmt: skip
    gains = []
    for name, network, top1 in known:
        comparable = [row for row in rows if not row.pair.metrics["top1_percent"] < top1]
        try:
            reference = unmodified.cost(network)
        except MappingError:
            continue
        if comparable:
            best = min(comparable, key=lambda row: row.cost.before.edp_js)
            gains.append(gain(f"{name} on {unmodified.before.name}", best.pair.id, reference, best.cost))
    return gains


def gain(reference_name: str, pair_id: int, reference: Twice, found: Twice) -> Gain:
    """Return how many times less a pair costs than a reference, mappings found anew."""
    return Gain(
        reference_name, pair_id,
        reference.before.edp_js / found.before.edp_js, reference.after.edp_js / found.after.edp_js,
        reference.before.energy_j / found.before.energy_j, reference.after.energy_j / found.after.energy_j,
    )  # fmt: skip
