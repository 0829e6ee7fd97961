"""Several objectives as one number: weights on the simplex, scaled objectives, and an order that puts limits first.

References
----------
Das, Dennis: Normal-boundary intersection. SIAM Journal on Optimization 8(3), 1998 (the lattice of weights). Steuer,
Choo: An interactive weighted Tchebycheff procedure for multiple objective programming. Mathematical Programming 26,
1983. Deb: An efficient constraint handling method for genetic algorithms. Computer Methods in Applied Mechanics and
Engineering 186, 2000 (whoever keeps the limits wins, else the smaller violation).
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SUM_SHARE = 0.05
"""Share of the plain sum: what ties in the largest term, or weighs nothing there, still counts."""


def simplex_lattice(objectives: int, divisions: int) -> Floats:
    """Return every weight vector whose entries are multiples of 1 / `divisions` and sum to 1, (n, objectives)."""
    bars = np.array(list(combinations(range(divisions + objectives - 1), objectives - 1)), dtype=np.int64)
    bars = bars.reshape(comb(divisions + objectives - 1, objectives - 1), objectives - 1)
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, divisions + objectives - 1)))
    return (np.diff(edges, axis=1) - 1) / divisions


def lattice_divisions(objectives: int, most: int) -> int:
    """Return the divisions of the finest lattice of at most `most` weight vectors; 0 where one division is too many."""
    if objectives == 1:
        return 1
    divisions = 0
    while comb(divisions + objectives, objectives - 1) <= most:
        divisions += 1
    return divisions


def total_violation(violations: Floats) -> Floats:
    """Return the sum of what each candidate is over its limits, (n,) of (n, limits); 0 where it keeps them."""
    total: Floats = np.maximum(violations, 0.0).sum(axis=1)
    return total


def scaled(objectives: Floats, over: Floats) -> Floats:
    """Return `objectives` (n, objectives) scaled so that those of `over` (m, objectives) span 0 to 1."""
    if not len(over):
        return objectives
    low, high = over.min(axis=0), over.max(axis=0)
    return (objectives - low) / np.where(high > low, high - low, 1.0)


def tchebycheff(objectives: Floats, weights: Floats) -> Floats:
    """Return the augmented weighted Tchebycheff value of scaled objectives, (n,); the smaller the better."""
    value: Floats = (objectives * weights).max(axis=1) + _SUM_SHARE * objectives.sum(axis=1)
    return value


def places(values: Floats, violation: Floats) -> NDArray[np.int64]:
    """Return the place of each candidate, 0 for the best: limits first, then `values`, then as proposed; all (n,)."""
    place = np.empty(len(values), dtype=np.int64)
    place[np.lexsort((np.where(violation > 0, 0.0, values), violation))] = np.arange(len(values))
    return place
