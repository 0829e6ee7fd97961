"""SMS-EMOA: evolution that keeps the hypervolume, for two to four objectives, through pymoo's ask and tell.

References
----------
Beume, Naujoks, Emmerich: SMS-EMOA: Multiobjective selection based on dominated hypervolume. European Journal of
Operational Research 181(3), 2007. Here a generation is as large as the population; the candidates that give least are
then removed one after the other.
"""

from __future__ import annotations

from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.sms import SMSEMOA
from pymoo.core.survival import Survival

from cosearch.strategies._pymoo import LimitsFirst, PymooStrategy

REFERENCE = 2.0
"""Reference point of the hypervolume: one span beyond the worst, as in the paper; the fronts span 0 to 1."""


class SmsEmoa(PymooStrategy):
    """Evolution that drops whoever adds least to the front's hypervolume; for 2 to 4 objectives.

    A candidate that breaks a limit loses against every one that keeps them. The time of a generation grows steeply with
    the objectives.
    """

    objectives_allowed = (2, 4)

    def algorithm(self, **common: Any) -> SMSEMOA:
        """Return pymoo's SMS-EMOA, with a survival that scales by the fronts alone, not by what breaks limits."""
        return SMSEMOA(survival=_Survival(), normalize=False, **common)


class _LeastVolume(Survival):
    """Keep whole fronts; of the one that does not fit whole, drop whoever adds least to its hypervolume."""

    def _do(self, problem: Any, pop: Any, *args: Any, n_survive: int = 0, **kwargs: Any) -> Any:
        values = pop.get("F").astype(np.float64)
        ranks = moocore.pareto_rank(values)
        last = np.sort(ranks)[n_survive - 1]
        considered = values[ranks <= last]
        low, high = considered.min(axis=0), considered.max(axis=0)
        split = np.flatnonzero(ranks == last)
        points = (values[split] - low) / np.where(high > low, high - low, 1.0)
        before = np.flatnonzero(ranks < last)
        kept = split[_most_volume(points, n_survive - len(before))]
        return pop[np.concatenate([before, kept])]


class _Survival(LimitsFirst, _LeastVolume):
    """Limits first, then hypervolume."""


def _most_volume(points: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return which `count` of mutually non-dominated points are left when the least contribution is dropped in turn."""
    left = np.arange(len(points))
    reference = np.full(points.shape[1], REFERENCE)
    while len(left) > count:
        left = np.delete(left, np.argmin(moocore.hv_contributions(points[left], ref=reference)))
    return left
