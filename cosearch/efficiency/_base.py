"""What an estimator of a device's latency promises.

Such an estimator says how long one real device takes for networks of a space, from what was measured on that device: a
table of the times of blocks, or a model fitted to the times of whole networks. It stands beside the analytical model of
`accel_models`, which knows machines that nobody has built. The rules are those of `cosearch.accuracy._base`:

* **Pure.** ``estimate`` depends on its argument and on what was fixed when the estimator was made, on nothing else.
* **What a network does not contain does not count.** Genes of blocks beyond a stage's depth change nothing.
* **An estimate carries its error**, and says where it is extrapolated: where a block was not measured, or the network lies
  outside the range of the networks that were.
* **Errors.** Values that name no network of the space raise `cosearch.errors.CosearchError`.
* **The caller owns the arrays.** Estimators can be pickled, and are the same in another process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class EfficiencyEstimate:
    """Estimated latency of a batch of n networks on one device.

    Attributes
    ----------
    latency_s : ndarray of float64, shape (n,)
        Estimated latency of one inference, as the device was measured (its batch size, its threads).
    error_s : ndarray of float64, shape (n,)
        Expected absolute error of each estimate; NaN where nothing tells it. The estimator says what it covers.
    extrapolated : ndarray of bool, shape (n,)
        True where the estimate reaches beyond what was measured.
    """

    latency_s: NDArray[np.float64]
    error_s: NDArray[np.float64]
    extrapolated: NDArray[np.bool_]


@runtime_checkable
class EfficiencyEstimator(Protocol):
    """Who says how long a device takes for the networks of one space; the module's docstring has the rules.

    Attributes
    ----------
    name : str
        What it was called by: ``lookup:PATH`` and the like.
    space_name : str
        Name of the network space that it knows.
    device : str
        One line: what was measured.
    """

    @property
    def name(self) -> str:
        """What the estimator was called by."""
        ...

    @property
    def space_name(self) -> str:
        """Name of the network space that it knows."""
        ...

    @property
    def device(self) -> str:
        """What was measured, in one line."""
        ...

    def estimate(self, values: NDArray[np.integer]) -> EfficiencyEstimate:
        """Estimate the latency of n networks.

        Parameters
        ----------
        values : ndarray of int, shape (n, knobs)
            Knob values as `cosearch.space.NetworkSpace.numbers` returns them: the index of a choice that is no whole number.

        Returns
        -------
        EfficiencyEstimate
            Three arrays of shape (n,).

        Raises
        ------
        CosearchError
            If ``values`` has another shape or type, or names no network of the space, or one whose latency the estimator
            cannot tell.
        """
        ...
