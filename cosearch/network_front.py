"""Every network of a space that is worth having on one machine: the exact front, without sampling.

On one machine latency, energy, multiply-accumulates and parameters of a network are sums over its pieces
(:mod:`cosearch.cost_table`), and its estimated top-1 rises with a sum of one score per stage
(:class:`cosearch.accuracy.StagewiseEstimator`). So the front over all networks, 2e19 and more, is a dynamic program:

    for every resolution                     (each has its own costs and its own curve of accuracy)
        options of a stage                   all of its depths, kernels and expand ratios, some 7,000: keep the front
        front of the stages up to here  +  options of the next stage   ->   keep the front
        ... and the exit
    front of the fronts of all resolutions, in the objectives themselves

Dropping a dominated part is sound because all that may follow a part depends on nothing but the tensor that it hands on
(its width): whatever is put behind a dominated part is at least as good behind the one that dominates it. A part is a
vector of as many sums as the objectives and limits need; a product such as EDP needs both of its factors. Parts that
cannot keep a limit any more, whatever follows, are dropped on the way.

What is exact is the front *of this accuracy model and these mappings*: networks whose sums are equal to the last digit
count once, and sums of energies are rounded as floating-point sums are (1e-15 of the value).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from cosearch.accuracy._base import AccuracyEstimator, StagewiseEstimator
from cosearch.accuracy.quantisation import narrowest_bits, quantisation_drop
from cosearch.cost_table import CostTable
from cosearch.errors import SearchError
from cosearch.objective import Limit
from cosearch.product_front import ProductFront
from cosearch.space import Genomes
from cosearch.spaces.pieces import PiecewiseSpace
from cosearch.stage_program import Parts, StageProgram, front_rows

SUMS = {
    "latency_s": ("cycles",), "energy_j": ("energy_j",), "edp_js": ("cycles", "energy_j"), "macs": ("macs",),
    "params": ("params",), "area_mm2": (), "top1_percent": (),
}  # fmt: skip
"""What of a cost table each metric is made of."""

MOST_SUMS = 3
"""Most quantities, the score of accuracy among them, that a front is taken in: beyond, fronts have millions of rows."""

_SLACK = 1e-9
"""Relative tolerance of the limits while parts are dropped; what is left is held to the limits themselves."""


@dataclass(frozen=True, eq=False)
class NetworkFront:
    """Networks none of which is better than another, and what they cost; arrays of n rows.

    Attributes
    ----------
    genomes
        int64 (n, knobs), canonical.
    top1_percent
        Estimated, what integer arithmetic costs taken off; NaN without an estimator.
    latency_s, energy_j, macs, params
        As of the cost table.
    """

    genomes: Genomes = field(repr=False)
    top1_percent: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    macs: NDArray[np.float64]
    params: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.genomes)

    def rows(self, kept: NDArray[np.integer] | slice) -> NetworkFront:
        """Return some of the rows."""
        return NetworkFront(*(getattr(self, column.name)[kept] for column in fields(self)))

    def metric(self, name: str) -> NDArray[np.float64]:
        """Return a metric of :data:`SUMS` (n,); that of area, the same for all rows, as zeros."""
        if name == "edp_js":
            return self.latency_s * self.energy_j
        values: NDArray[np.float64] = np.zeros(len(self)) if name == "area_mm2" else getattr(self, name)
        return values


def network_front(
    table: CostTable, estimator: AccuracyEstimator | None, metrics: Sequence[str], limits: Sequence[Limit] = ()
) -> NetworkFront:
    """Return the front of all networks of a table's space on its machine, most accurate first.

    Parameters
    ----------
    table
        What the pieces cost.
    estimator
        Who says how accurate the networks are; None where no metric and no limit is about that.
    metrics
        Names of :data:`cosearch.objective.METRICS` that are objectives. Area is the machine's alone and changes nothing.
    limits
        What every network has to keep. If none can, the one row is the network that breaks them least, summed over the
        limits and in relation to their bounds; an area too large is not the networks' affair.

    Raises
    ------
    SearchError
        As :func:`check_question`.
    """
    limits = [limit for limit in limits if limit.metric != "area_mm2"]
    sums = check_question(table.index.space, estimator, metrics, limits)
    networks = Networks(table, estimator, sums)
    only_products = not {"latency_s", "energy_j", "macs", "params"} & {*metrics, *(limit.metric for limit in limits)}
    front = networks.product_front if only_products and "edp_js" in metrics else networks.front
    found = front(limits)
    if not len(found):
        found = networks.front([])
        broken = _violations(found, limits)
        return found.rows(np.array([broken.argmin()]))
    return found.rows(_order(_objectives(found, metrics)))


def check_question(
    space: object, estimator: AccuracyEstimator | None, metrics: Sequence[str], limits: Sequence[Limit]
) -> tuple[str, ...]:
    """Return the sums that a front has to be taken in, ``score`` first, if that can be done.

    Raises
    ------
    SearchError
        If the space is not put together from pieces, its accuracy is no sum over stages, there are too many sums, or none; or
        a limit bounds a metric from its good side.
    """
    if not isinstance(space, PiecewiseSpace):
        raise SearchError(
            f"space {getattr(space, 'name', space)!r} is not put together from pieces (cosearch.spaces.pieces), so the "
            "front of its networks is no dynamic program"
        )
    for limit in limits:
        if limit.sense != (">=" if limit.metric == "top1_percent" else "<="):
            raise SearchError(
                f"limit {limit} asks for networks that others dominate, which an exact front leaves out: it takes top1>= and "
                "<= of costs; another strategy takes this one"
            )
    wanted = [*metrics, *(limit.metric for limit in limits)]
    for metric in wanted:
        if metric not in SUMS:
            raise SearchError(
                f"an exact front over all networks of {space.name!r} knows {', '.join(SUMS)}, not {metric}: another strategy does"
            )
    sums = list(dict.fromkeys(part for metric in wanted for part in SUMS[metric]))
    if "top1_percent" in wanted:
        if not isinstance(estimator, StagewiseEstimator):
            raise SearchError(
                f"the accuracy of space {space.name!r} is not known as a sum over stages, so the front of its networks is "
                "no dynamic program"
            )
        sums.insert(0, "score")
    if len(sums) > MOST_SUMS or not sums:
        raise SearchError(
            f"a front over all networks takes one to {MOST_SUMS} of top1, latency, energy, macs and params (edp is two, "
            f"latency and energy) among objectives and limits, not {len(sums)}: {', '.join(wanted)}"
        )
    return tuple(sums)


class Networks:
    """The networks of a table's space on its machine, of which fronts are wanted.

    Attributes
    ----------
    table
        What their pieces cost.
    estimator
        Who says how accurate they are; None where that is not asked.
    program
        The program over their stages, whose sums are the score, where it is asked, and the costs asked.
    rows
        Rows of the table's index: the resolutions.
    """

    def __init__(self, table: CostTable, estimator: AccuracyEstimator | None, sums: tuple[str, ...]) -> None:
        self.table = table
        self.estimator = estimator if isinstance(estimator, StagewiseEstimator) and "score" in sums else None
        self.drop = quantisation_drop(narrowest_bits(table.accelerator)).points if self.estimator else 0.0
        self.costs = [name for name in sums if name != "score"]
        scores = self.estimator.stage_scores if self.estimator else None
        self.program = StageProgram(table, scores, self.costs)
        self.rows = range(len(table.index.resolutions))

    def front(self, limits: Sequence[Limit]) -> NetworkFront:
        """Return networks that keep the limits, the front in the sums among them; no row if none does."""
        found = [self.networks(row, self.program.ends(row, self.most(row, limits))) for row in self.rows]
        return joined(one.rows(np.flatnonzero(_violations(one, limits) <= 0)) for one in found)

    def product_front(self, limits: Sequence[Limit]) -> NetworkFront:
        """Return networks that keep the limits (of top-1 and EDP), the front in top-1 and EDP among them."""
        lines = ProductFront(self, [self.most(row, limits) for row in self.rows]).lines()
        found = [self.networks(row, ends) for row, ends in lines]
        return joined(one.rows(np.flatnonzero(_violations(one, limits) <= 0)) for one in found)

    def most(self, row: int, limits: Sequence[Limit]) -> NDArray[np.float64]:
        """Return the largest sums (sums,) with which a network of a resolution can keep the limits."""
        most = np.full(self.program.sums, np.inf)
        for limit in limits:
            bound = limit.bound / limit.factor
            if limit.metric == "top1_percent" and limit.sense == ">=" and self.estimator:
                score = self.estimator.score_for_top1(bound + self.drop, self.table.index.resolutions[row])
                most[0] = min(most[0], -score + _SLACK * max(1.0, abs(score)))
            elif limit.sense == "<=" and len(SUMS[limit.metric]) == 1:
                place = bool(self.estimator) + self.costs.index(SUMS[limit.metric][0])
                scale = self.table.accelerator.clock_mhz * 1e6 if limit.metric == "latency_s" else 1.0
                most[place] = min(most[place], bound * scale * (1 + _SLACK))
        return most

    def networks(self, row: int, ends: Parts) -> NetworkFront:
        """Return whole networks of one resolution with all of their figures."""
        genomes = self.program.genomes(row, ends)
        top1 = np.full(len(genomes), np.nan)
        if self.estimator:
            top1 = self.top1(row, -ends.sums[:, 0])
        latency_s, energy_j = self.table.costs(genomes)
        macs, params = self.table.sizes(genomes)
        return NetworkFront(genomes, top1, latency_s, energy_j, macs.astype(np.float64), params.astype(np.float64))

    def top1(self, row: int, score: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return top-1 in percent (n,) of networks of one resolution by the sum of their scores (n,)."""
        assert self.estimator is not None
        resolution = np.full(len(score), float(self.table.index.resolutions[row]))
        return self.estimator.top1_of_score(score, resolution) - self.drop


def joined(fronts: Iterable[NetworkFront]) -> NetworkFront:
    """Return the rows of several fronts, one after the other."""
    given = list(fronts)
    return NetworkFront(
        *(np.concatenate([getattr(one, column.name) for one in given]) for column in fields(NetworkFront))
    )


def _violations(front: NetworkFront, limits: Sequence[Limit]) -> NDArray[np.float64]:
    """Return the summed relative excess (n,) over the limits."""
    total = np.zeros(len(front))
    for limit in limits:
        total += np.maximum(limit.violations(front.metric(limit.metric)), 0.0)
    return total


def _objectives(front: NetworkFront, metrics: Sequence[str]) -> NDArray[np.float64]:
    """Return metrics (n, metrics), accuracy negated: all to be minimised."""
    columns = [front.metric(name) * (-1.0 if name == "top1_percent" else 1.0) for name in metrics]
    return np.stack(columns, axis=1)


def _order(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows of the front of values (n, objectives), the least first value first."""
    kept = front_rows(values)
    return kept[np.lexsort((kept, *values[kept].T[::-1]))]
