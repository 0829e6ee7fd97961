"""The front in accuracy and EDP, which is a product of two sums: exact, by weighing the sums in ever more ways.

Parts of networks can be compared in two sums at once, but that front is large and most of it of no use. A product of two
positive numbers is quasi-concave, so over any set of networks it is least at a corner of the set's convex hull; and every
corner is the least weighted sum ``a cycles + b energy`` for some weights. So for every least accuracy wanted, the least EDP
is found by a program in accuracy and *one* weighted sum, for the right weights (Lawler: combinatorial optimisation with
parametric costs; the search for weights is that of Aneja and Nair 1979 for the two ends of an edge of the hull).

Which weights are right is found from two sides. Two ways to weigh give, for every accuracy, two lines that no network lies
below. Where they cross is the least EDP that any corner between them can have. If that is no better than what is known,
nothing in between is needed; else the sums are weighed once more, along the line through the two networks found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cosearch.stage_program import Parts, front_rows

if TYPE_CHECKING:
    from cosearch.network_front import Networks

_ROUNDING = 1e-12
"""Relative difference of EDP that is rounding."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Line:
    """What one way to weigh the sums found at one resolution, highest score first.

    Attributes
    ----------
    weights
        Of cycles and energy.
    score, cycles, energy_j
        Of the networks found (n,), scores falling, weighted sums falling.
    ends
        The networks.
    """

    weights: tuple[float, float]
    score: Floats
    cycles: Floats
    energy_j: Floats
    ends: Parts

    @property
    def weighted(self) -> Floats:
        """Weighted sums (n,)."""
        return self.weights[0] * self.cycles + self.weights[1] * self.energy_j


class ProductFront:
    """Finds the networks of least EDP for every accuracy.

    Parameters
    ----------
    networks
        The networks of one machine; of their sums, cycles and energy in this order are the costs.
    most
        Per resolution the largest sums that are of use.
    """

    def __init__(self, networks: Networks, most: list[Floats]) -> None:
        self._networks, self._most = networks, most
        self._clock_hz = networks.table.accelerator.clock_mhz * 1e6
        self._best = np.empty((0, 2))  # top-1 negated and EDP in Js of the best networks so far, most accurate first

    def lines(self) -> list[tuple[int, Parts]]:
        """Return resolutions (their rows) and networks at these among which the front is."""
        ends = [(row, self._line(row, (1.0, 0.0)), self._line(row, (0.0, 1.0))) for row in self._networks.rows]
        found = []
        for row, fast, frugal in ends:
            found += [(row, line.ends) for line in (fast, frugal, *self._between(row, fast, frugal))]
        return found

    def _between(self, row: int, fast: _Line, frugal: _Line) -> list[_Line]:
        """Return the lines that are needed between two, the first of which weighs cycles more."""
        weights = self._next_weights(row, fast, frugal)
        if weights is None:
            return []
        line = self._line(row, weights)
        return [line, *self._between(row, fast, line), *self._between(row, line, frugal)]

    def _next_weights(self, row: int, fast: _Line, frugal: _Line) -> tuple[float, float] | None:
        """Return the weights with which to look next between two lines; None if what is there is of no use."""
        scores = np.union1d(fast.score, frugal.score)
        if not len(scores) or not len(fast.score) or not len(frugal.score):
            return None
        one, other = _reaching(fast.score, scores), _reaching(frugal.score, scores)
        (a, b), (c, d) = fast.weights, frugal.weights
        u, v = fast.weighted[one], frugal.weighted[other]
        cycles, energy_j = (u * d - v * b) / (a * d - b * c), (v * a - u * c) / (a * d - b * c)
        hope = cycles / self._clock_hz * energy_j
        known = self._known(self._top1(row, scores))
        gain = known / hope
        worst = int(gain.argmax())
        if gain[worst] <= 1 + _ROUNDING:
            return None
        quick, saving = one[worst], other[worst]
        more_energy = fast.energy_j[quick] - frugal.energy_j[saving]
        more_cycles = frugal.cycles[saving] - fast.cycles[quick]
        if more_energy <= 0 or more_cycles <= 0:  # one network at both: what is left is rounding
            return None
        weights = (1.0, float(more_cycles / more_energy))
        if any(
            abs(weights[1] * each[0] - each[1]) <= _ROUNDING * max(each[1], weights[1] * each[0])
            for each in (fast.weights, frugal.weights)
        ):
            return None
        return weights

    def _line(self, row: int, weights: tuple[float, float]) -> _Line:
        """Weigh the sums, and remember what is found."""
        scored = self._networks.estimator is not None
        matrix = np.zeros((2 + scored, 1 + scored))
        matrix[0, 0] = float(scored)
        matrix[-2:, -1] = weights
        most = np.append(self._most[row][: int(scored)], np.inf)
        ends = self._networks.program.ends(row, most, matrix)
        order = np.argsort(ends.sums[:, 0], kind="stable")
        ends = Parts(ends.sums[order], ends.chosen[order])
        score = -ends.sums[:, 0] if scored else np.zeros(len(order))
        cycles, energy_j = self._networks.table.index.totals(
            self._networks.program.genomes(row, ends), self._networks.table.cycles, self._networks.table.energy_j
        )
        rows = np.stack([-self._top1(row, score), cycles / self._clock_hz * energy_j], axis=1)
        best = np.concatenate([self._best, rows])
        best = best[front_rows(best)]
        self._best = best[np.argsort(best[:, 0], kind="stable")]
        return _Line(weights, score, cycles, energy_j, ends)

    def _top1(self, row: int, score: Floats) -> Floats:
        return np.zeros(len(score)) if self._networks.estimator is None else self._networks.top1(row, score)

    def _known(self, top1: Floats) -> Floats:
        """Return the least EDP known of networks that reach a top-1 (n,); inf where none does."""
        place = np.searchsorted(self._best[:, 0], -top1, side="right") - 1
        return np.where(place >= 0, self._best[np.maximum(place, 0), 1], np.inf)


def _reaching(falling: Floats, scores: Floats) -> NDArray[np.int64]:
    """Return the last place in falling scores that reaches each score (n,); the first where none does."""
    place = len(falling) - np.searchsorted(falling[::-1], scores, side="left") - 1
    return np.maximum(place, 0)
