"""What an accuracy estimator promises.

An estimator says how good networks are without running them. It gets the *values* of the knobs of a batch of networks,
and returns per network a top-1 accuracy, how far that is off on average, and whether the network lies outside what the
estimator has seen. The rules:

* **An estimate is never called measured.** Its `scale` says what the number is, and whoever shows it shows its error
  beside it: a search maximises the estimator's error along with the accuracy.
* **A score is no accuracy.** What only ranks networks says so: its `quantity` is ``"proxy_score"``, an objective of its
  own (``proxy``), without unit.
* **Pure.** ``estimate`` depends on its argument and on what was fixed when the estimator was made, on nothing else: no
  random draw, no state that a call changes. The same network gets the same estimate alone and in a batch.
* **What a network does not contain does not count.** Genes of blocks beyond a stage's depth change nothing.
* **Errors.** Values that name no network of the space raise `cosearch.errors.CosearchError`. A network of the space
  that lies outside the fitted range is no error: it is estimated, flagged as extrapolated, and charged a larger error.
* **The caller owns the arrays** that it hands in and gets back; an estimator changes none and keeps none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AccuracyEstimate:
    """Estimated accuracy of a batch of n networks.

    Attributes
    ----------
    value : ndarray of float64, shape (n,)
        Estimated top-1 accuracy in percent on the scale that the estimator states; or, of an estimator whose `quantity`
        is ``"proxy_score"``, a score: higher is better.
    error_points : ndarray of float64, shape (n,)
        Expected absolute error of each estimate against one measurement, in percentage points, as found on held-back
        data of the same regime; larger where the estimate is extrapolated. NaN where nothing tells it.
    extrapolated : ndarray of bool, shape (n,)
        True where the network lies outside the range of the data behind the estimate.
    """

    value: NDArray[np.float64]
    error_points: NDArray[np.float64]
    extrapolated: NDArray[np.bool_]


@runtime_checkable
class AccuracyEstimator(Protocol):
    """Who says how good a network of one space is; the module's docstring has the rules.

    Attributes
    ----------
    name : str
        What the estimator is called on the command line and in a record.
    space_name : str
        Name of the network space that it knows, as `cosearch spaces list` prints it.
    scale : str
        What its values are, short enough for an axis: "estimated ImageNet top-1". Values on a scale that ends in "ImageNet
        top-1" are shown beside published figures of known networks.
    note : str
        How they come about, in a few words: "shared weights, no fine-tuning".
    quantity : str
        ``"top1_percent"``, or ``"proxy_score"`` of values that only rank.
    """

    @property
    def name(self) -> str:
        """What the estimator is called."""
        ...

    @property
    def space_name(self) -> str:
        """Name of the network space that it knows."""
        ...

    @property
    def scale(self) -> str:
        """What its values are."""
        ...

    @property
    def note(self) -> str:
        """How its values come about."""
        ...

    @property
    def quantity(self) -> Literal["top1_percent", "proxy_score"]:
        """Which metric its values are."""
        ...

    def estimate(self, values: NDArray[np.integer]) -> AccuracyEstimate:
        """Estimate the accuracy of n networks.

        Parameters
        ----------
        values : ndarray of int, shape (n, knobs)
            Knob values (not choice indices) in the order of the space's knobs, as `NetworkSpace.numbers` returns them:
            of choices that are no whole numbers (names of operations) the index.

        Returns
        -------
        AccuracyEstimate
            Three arrays of shape (n,).

        Raises
        ------
        CosearchError
            If ``values`` has another shape or type, or names no network of the space.
        """
        ...


@runtime_checkable
class StagewiseEstimator(AccuracyEstimator, Protocol):
    """An estimator of an elastic space whose top-1, at one resolution, rises with a sum of one score per stage.

    That is what an exact search over all networks needs (:mod:`cosearch.network_front`). Inside a stage anything goes: a
    score is a table over the stage's options.
    """

    @property
    def stage_scores(self) -> Sequence[NDArray[np.float64]]:
        """Per stage the scores (options,) of `ElasticSpace.stage_options`, in that order."""
        ...

    def top1_of_score(self, score: NDArray[np.float64], resolution_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return top-1 in percent (n,) of networks by the sum of their scores (n,) and their resolution (n,)."""
        ...

    def score_for_top1(self, top1_percent: float, resolution_px: int) -> float:
        """Return the least sum of scores that reaches a top-1 in percent at a resolution; inf where none does."""
        ...
