"""The best candidates that a strategy was told of: the front of those that break the limits least."""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import NDArray

from cosearch.space import Genomes
from cosearch.strategies._scalar import scaled, tchebycheff


class Front:
    """Of all candidates added: those that break the limits least (0 where any keeps them) and that nothing dominates.

    Attributes
    ----------
    genomes, values, violation
        Theirs, (n, knobs), (n, objectives) and (n,), in the order of their coming.
    seen
        Every genome that was ever added.
    """

    def __init__(self, knobs: int, objectives: int) -> None:
        self.genomes = np.empty((0, knobs), dtype=np.int64)
        self.values = np.empty((0, objectives))
        self.seen: set[tuple[int, ...]] = set()
        self.violation = np.empty(0)

    def add(
        self, genomes: Genomes, objectives: NDArray[np.float64], violation: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Take what candidates cost, all (n, ...); return which of them are new, (n,)."""
        keys = [tuple(genome) for genome in genomes.tolist()]
        new = np.array([key not in self.seen for key in keys], dtype=np.bool_)
        self.seen.update(keys)
        genomes = np.concatenate([self.genomes, genomes])
        objectives = np.concatenate([self.values, objectives])
        violation = np.concatenate([self.violation, violation])
        least = np.flatnonzero(violation == violation.min())
        front = least[moocore.is_nondominated(objectives[least])]
        self.genomes, self.values, self.violation = genomes[front], objectives[front], violation[front]
        return new

    def scaled(self, objectives: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return objectives (n, objectives) scaled so that the front spans 0 to 1."""
        return scaled(objectives, self.values)

    def along(self, weights: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the places of the front's candidates, the best for one weighting first, (n,)."""
        order: NDArray[np.int64] = np.argsort(tchebycheff(self.scaled(self.values), weights), kind="stable")
        return order
