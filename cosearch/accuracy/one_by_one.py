"""An estimator that has to look at networks one at a time, because it runs or trains each; it looks at none twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cosearch.accuracy._base import AccuracyEstimate
from cosearch.space import Genomes, NetworkSpace
from cosearch.values import genomes_of


@dataclass(frozen=True, eq=False)
class OneByOneEstimator:
    """What a function says of single networks, remembered.

    Attributes
    ----------
    name, scale, note, quantity
        As `cosearch.accuracy.AccuracyEstimator` says.
    space
        The space whose networks it knows.
    judge
        Says of a canonical genome (knobs,) the value and its expected absolute error, NaN where nothing tells it; always the
        same of the same genome.
    origin
        Function and arguments that make the estimator again, in another process.
    """

    name: str
    space: NetworkSpace
    scale: str
    note: str
    quantity: Literal["top1_percent", "proxy_score"]
    judge: Callable[[Genomes], tuple[float, float]] = field(repr=False)
    origin: tuple[Callable[..., Any], tuple[Any, ...]] = field(repr=False)
    _known: dict[bytes, tuple[float, float]] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Travel to another process as what it was made of."""
        return self.origin

    @property
    def space_name(self) -> str:
        """Name of the space."""
        return self.space.name

    def estimate(self, values: NDArray[np.integer]) -> AccuracyEstimate:
        """Look at networks.

        Parameters
        ----------
        values : ndarray of int, shape (n, knobs)
            As `NetworkSpace.numbers` returns them.

        Returns
        -------
        AccuracyEstimate
            Three arrays of shape (n,); nothing is extrapolated.

        Raises
        ------
        CosearchError
            If the values name no network of the space, or one cannot be judged.
        """
        genomes = self.space.canonical(genomes_of(self.space, values))
        rows = np.array([self._look(genome) for genome in genomes], dtype=np.float64).reshape(len(genomes), 2)
        return AccuracyEstimate(rows[:, 0].copy(), rows[:, 1].copy(), np.zeros(len(genomes), dtype=np.bool_))

    def _look(self, genome: Genomes) -> tuple[float, float]:
        key = genome.tobytes()
        if key not in self._known:
            self._known[key] = self.judge(genome)
        return self._known[key]


def sampling_error_points(top1_percent: float, images: int) -> float:
    """Return how far an accuracy in percent on so many independent images is off on average, in percentage points.

    The number of images that are right is binomial; its mean absolute deviation is taken as a normal's of the same variance,
    sqrt(2 / pi) times the standard error.
    """
    share = top1_percent / 100
    return 100 * float(np.sqrt(2 / np.pi * share * (1 - share) / images))
