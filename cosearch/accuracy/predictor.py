"""Estimated ImageNet top-1 of OFA-MobileNetV3 w1.0 sub-networks: shared weights, no fine-tuning.

The model
---------
With ``sat(x; k) = (1 - exp(-k x)) / k``, which rises for every k and is x for k = 0::

    top1(r, network) = base + resolution(r) + sat(score; k)       score = sum over the stages s of  stage(s)
    resolution(r)    = rise (1 - exp(-(r - 192) / scale))
    stage(s)         = sat(additive(s); k_s)
    additive(s)      = depth_score[s, depth] + sum over active blocks b of (kernel_score[b, k] + expand_score[b, e])

that is (a resolution term) + (per-block and per-depth effects, additive inside a stage, saturating twice). What an
exact search over blocks may rely on:

* **additive inside a stage**: ``additive(s)`` is a sum over blocks, and ``stage(s)`` rises with it;
* **additive across stages**: ``score`` is a sum over stages, each a function of 7,371 options
  (`Coefficients.stage_scores` is the whole table), and top-1 rises with it;
* **separate from resolution**: which of two networks is better is the same at every resolution, and
  `Coefficients.score_for_top1` turns a wanted top-1 into a wanted score.

The two saturations are what products of stage sums stand for in a linear model: their second-order terms are -k_s / 2
times the products inside a stage, and -k / 2 times the products of all pairs of stages. They cost six numbers and can
be inverted. Tried on top: effects of (kernel, expand) pairs raised the held-back error; products of blocks of a stage,
a coefficient for each pair of stages, or an interaction of resolution and network lowered it by .003 points at most.

Where it comes from
-------------------
`cosearch.accuracy.fit` fits the coefficients to two sets of measured sub-networks of the public supernet: 128, 160 and
192 px (MaximeGirard/memory-optimized-once-for-all, README: MIT) and 224 px (IntelLabs/DyNAS-T, Apache-2.0). The shipped
file names files, rows, seed and held-back errors. No resolution is in both sets, so a bias between them cannot be told
from the shape of the resolution curve; under the curve above, with a prior of 0 +- 0.1 points, it is the file's
``set_bias_points``. **Estimates are on the scale of the cleaner set** (the 224 px one), at all resolutions.

What the error says
-------------------
* At a measured resolution: mean absolute error of held-back rows. In a set that was measured during searches, whose
  rows are near copies of each other, whole neighbourhoods were held back. At 128-192 px it is mostly measurement noise.
* Between two measured resolutions nothing was measured, but the curve was checked by leaving 160 or 192 px out. So such
  networks are not flagged, and are charged the worse neighbour's error (above 192 px: that of 192 px) plus the left-out
  resolution's bias, growing to its full size halfway between the two.
* Outside the measured resolutions, or with a score outside what was measured around that resolution (which is how too
  small and too large networks show): flagged, and charged what leaving out an end resolution, or the tenths with the
  lowest and the highest scores, cost; growing with the distance.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cosearch.accuracy._base import AccuracyEstimate
from cosearch.errors import CosearchError

if TYPE_CHECKING:
    from cosearch.space import NetworkSpace

SHIPPED_FILE = "ofa_mobilenet_v3_w1.0.json"
FORMAT = 1
REFERENCE_RESOLUTION_PX = 192

STAGES, BLOCKS_PER_STAGE = 5, 4
BLOCKS = STAGES * BLOCKS_PER_STAGE
DEPTHS, KERNELS, EXPANDS = (2, 3, 4), (3, 5, 7), (3, 4, 6)
KNOBS = (
    "resolution",
    *(f"depth_{i}" for i in range(1, STAGES + 1)),
    *(f"kernel_{i}" for i in range(1, BLOCKS + 1)),
    *(f"expand_{i}" for i in range(1, BLOCKS + 1)),
)
DEPTH_COLUMNS = slice(1, 1 + STAGES)
KERNEL_COLUMNS = slice(1 + STAGES, 1 + STAGES + BLOCKS)
EXPAND_COLUMNS = slice(1 + STAGES + BLOCKS, 1 + STAGES + 2 * BLOCKS)

STAGE_OPTIONS = sum(9**depth for depth in DEPTHS)
"""Networks of one stage: 9 (kernel, expand) pairs per block, depth 2, 3 or 4."""

_FIRST_OPTION = np.array([0, 9**2, 9**2 + 9**3])
_FIRST_OF_STAGE = STAGE_OPTIONS * np.arange(STAGES, dtype=np.int32)
_INACTIVE = 9
_CHUNK_ROWS = 4096

# Look-up tables over a knob's value. _BAD makes an index of any active block too large to be valid; an inactive block's
# place value is 0, so whatever stands in its genes vanishes.
_BAD = 100_000


def _lookup(choices: tuple[int, ...], step: int) -> NDArray[np.int32]:
    table = np.full(max(choices) + 2, _BAD, dtype=np.int32)
    table[list(choices)] = step * np.arange(len(choices))
    return table


_DEPTH_LOOKUP = _lookup(DEPTHS, 1)
_DEPTH_LOOKUP[_DEPTH_LOOKUP == _BAD] = len(DEPTHS)
_KERNEL_LOOKUP = _lookup(KERNELS, len(EXPANDS))
_EXPAND_LOOKUP = _lookup(EXPANDS, 1)
_PLACE_VALUES = np.array(
    [[9**j if j < depth else 0 for j in range(BLOCKS_PER_STAGE)] for depth in (*DEPTHS, 0)], dtype=np.int32
)
_DEPTH_OFFSETS = np.array([*_FIRST_OPTION, _BAD], dtype=np.int32)


def saturate(x: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """(1 - exp(-rate x)) / rate: rises with x, and is x where the rate is (nearly) zero."""
    if abs(rate) < 1e-6:
        return x
    return -np.expm1(-rate * x) / rate


def stage_options(values: NDArray[np.integer]) -> NDArray[np.int32]:
    """Which of its `STAGE_OPTIONS` each stage takes; genes of inactive blocks do not count.

    Parameters
    ----------
    values : ndarray of int, shape (n, 46)
        Knob values in the order of `KNOBS`.

    Returns
    -------
    ndarray of int32, shape (n, 5)
        All options of depth 2 come first, then depth 3, then 4. Within a depth: sum over the active blocks j = 0,
        1, ... of 9^j (3 kernel index + expand index).

    Raises
    ------
    CosearchError
        If ``values`` is no integer array of 46 columns, or holds a value that is no choice of its knob.
    """
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != len(KNOBS) or values.dtype.kind not in "iu":
        raise CosearchError(
            f"knob values must be an integer array of shape (n, {len(KNOBS)}): resolution, 5 depths, 20 kernels, "
            f"20 expand ratios; got shape {values.shape} of {values.dtype}"
        )
    options = np.empty((len(values), STAGES), dtype=np.int32)
    for start in range(0, len(values), _CHUNK_ROWS):
        chunk = values[start : start + _CHUNK_ROWS]
        depth = _DEPTH_LOOKUP.take(chunk[:, DEPTH_COLUMNS], mode="clip")
        pair = _KERNEL_LOOKUP.take(chunk[:, KERNEL_COLUMNS], mode="clip")
        pair += _EXPAND_LOOKUP.take(chunk[:, EXPAND_COLUMNS], mode="clip")
        pair = pair.reshape(len(chunk), STAGES, BLOCKS_PER_STAGE)
        option = np.einsum("nsj,nsj->ns", pair, _PLACE_VALUES[depth]) + _DEPTH_OFFSETS[depth]
        if option.max() >= STAGE_OPTIONS or chunk[:, 0].min() <= 0:
            raise CosearchError(_first_mistake(chunk, start))
        options[start : start + _CHUNK_ROWS] = option
    return options


def _first_mistake(values: NDArray[np.integer], first_row: int) -> str:
    """The first value that is no choice of its knob, in words; rows are counted from ``first_row``."""
    kinds = (
        ("depth", DEPTH_COLUMNS, DEPTHS),
        ("kernel", KERNEL_COLUMNS, KERNELS),
        ("expand", EXPAND_COLUMNS, EXPANDS),
    )
    for row, network in enumerate(values, start=first_row):
        if network[0] <= 0:
            return f"row {row}: resolution is {network[0]}, must be a positive number of pixels"
        active = np.arange(BLOCKS_PER_STAGE) < network[DEPTH_COLUMNS][:, None]
        for kind, columns, choices in kinds:
            wrong = ~np.isin(network[columns], choices)
            if kind != "depth":
                wrong &= active.ravel()
            if wrong.any():
                knob = int(np.flatnonzero(wrong)[0])
                return f"row {row}: {kind}_{knob + 1} is {network[columns][knob]}, must be one of {choices}"
    raise AssertionError("called for values without a mistake")


@cache
def _option_table() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Depth index (options,) and (kernel, expand) pair per block (options, 4) of every option; 9 where inactive."""
    depth = np.repeat(np.arange(len(DEPTHS)), [9**d for d in DEPTHS])
    rank = np.arange(STAGE_OPTIONS) - _FIRST_OPTION[depth]
    block = np.arange(BLOCKS_PER_STAGE)
    pair = rank[:, None] // 9**block % 9
    return depth, np.where(block < np.array(DEPTHS)[depth][:, None], pair, _INACTIVE)


def sum_over_blocks(per_pair: NDArray[np.float64], per_depth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Additive total of every option of every stage.

    Parameters
    ----------
    per_pair : ndarray, shape (20, 3, 3)
        What block b adds with kernel index k and expand index e.
    per_depth : ndarray, shape (5, 3)
        What a stage adds at each depth.

    Returns
    -------
    ndarray of float64, shape (5, `STAGE_OPTIONS`)
    """
    depth, pair = _option_table()
    padded = np.pad(per_pair.reshape(STAGES, BLOCKS_PER_STAGE, 9).astype(float), ((0, 0), (0, 0), (0, 1)))
    return per_depth[:, depth] + sum(padded[:, j, pair[:, j]] for j in range(BLOCKS_PER_STAGE))


@dataclass(frozen=True)
class Coefficients:
    """The fitted numbers of the model in the module's docstring.

    Attributes
    ----------
    base_percent : float
        Top-1 in percent of a network of score 0 at 192 px.
    resolution_rise_points, resolution_scale_px : float
        ``rise`` and ``scale`` of the resolution's curve.
    depth_score : ndarray, shape (5, 3)
        Per stage and depth 2, 3, 4; in percentage points before saturation, as the other scores.
    kernel_score, expand_score : ndarray, shape (20, 3)
        Per block and kernel 3, 5, 7, or expand ratio 3, 4, 6.
    stage_rate : ndarray, shape (5,)
        ``k_s``, per point.
    rate : float
        ``k``, per point.
    """

    base_percent: float
    resolution_rise_points: float
    resolution_scale_px: float
    depth_score: NDArray[np.float64]
    kernel_score: NDArray[np.float64]
    expand_score: NDArray[np.float64]
    stage_rate: NDArray[np.float64]
    rate: float

    @cached_property
    def stage_scores(self) -> NDArray[np.float64]:
        """Score of every option of every stage, shape (5, `STAGE_OPTIONS`), in points before the last saturation."""
        additive = sum_over_blocks(self.kernel_score[:, :, None] + self.expand_score[:, None, :], self.depth_score)
        return np.stack([saturate(row, rate) for row, rate in zip(additive, self.stage_rate, strict=True)])

    def score(self, values: NDArray[np.integer]) -> NDArray[np.float64]:
        """Sum of the stage scores (n,) of networks of knob values (n, 46); raises as `stage_options` does."""
        return self.stage_scores.ravel()[stage_options(values) + _FIRST_OF_STAGE].sum(axis=1)

    def resolution_points(self, resolution_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a resolution adds to top-1, in points; 0 at 192 px."""
        distance = (resolution_px - REFERENCE_RESOLUTION_PX) / self.resolution_scale_px
        return self.resolution_rise_points * -np.expm1(-distance)

    def top1_percent(self, score: NDArray[np.float64], resolution_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Top-1 in percent of networks whose stage scores sum to ``score``; rises with it."""
        return self.base_percent + self.resolution_points(resolution_px) + saturate(score, self.rate)

    def score_for_top1(self, top1_percent: float, resolution_px: int) -> float:
        """The sum of stage scores that reaches a top-1 (percent) at a resolution; inf where no score does."""
        points = top1_percent - self.base_percent - float(self.resolution_points(np.array(float(resolution_px))))
        if abs(self.rate) < 1e-6:
            return points
        inside = 1.0 - self.rate * points
        if inside <= 0.0:
            return float("inf") if self.rate > 0.0 else float("-inf")
        return float(-np.log(inside) / self.rate)


@dataclass(frozen=True)
class ErrorModel:
    """How far off an estimate is; see the module's docstring.

    Attributes
    ----------
    resolutions_px : ndarray, shape (m,)
        Measured resolutions, ascending; the next three attributes are per measured resolution.
    error_points : ndarray, shape (m,)
        Mean absolute error of held-back rows, in points.
    lowest_score, highest_score : ndarray, shape (m,)
        Range of the measured networks' scores.
    between_points : float
        Bias of an inner resolution that was left out, in points.
    beyond_points_per_px : float
        Bias of an end resolution that was left out, per pixel of its distance to the next one.
    score_points, score_distance : float
        Added error, in points, of the tenths with the lowest and highest scores when left out, and their median
        distance from the rest.
    """

    resolutions_px: NDArray[np.float64]
    error_points: NDArray[np.float64]
    lowest_score: NDArray[np.float64]
    highest_score: NDArray[np.float64]
    between_points: float
    beyond_points_per_px: float
    score_points: float
    score_distance: float

    def judge(
        self, resolution_px: NDArray[np.float64], score: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Expected absolute error (n,) in points and the flag `extrapolated` (n,) of networks of these scores (n,)."""
        known = self.resolutions_px
        right = np.searchsorted(known, resolution_px).clip(0, len(known) - 1)
        left = np.where(known[right] <= resolution_px, right, (right - 1).clip(0))
        half_gap = np.maximum((known[right] - known[left]) / 2, 1)
        nearest = np.minimum(np.abs(resolution_px - known[left]), np.abs(resolution_px - known[right]))
        beyond = np.maximum(known[0] - resolution_px, resolution_px - known[-1]).clip(0)
        error = np.maximum(self.error_points[left], self.error_points[right])
        error += np.where(beyond > 0, beyond * self.beyond_points_per_px, self.between_points * nearest / half_gap)

        low = np.interp(resolution_px, known, self.lowest_score)
        high = np.interp(resolution_px, known, self.highest_score)
        outside = np.maximum(score - high, low - score).clip(0)
        error += np.where(outside > 0, self.score_points * np.maximum(outside / self.score_distance, 1), 0)
        return error, (beyond > 0) | (outside > 0)


class OfaMobileNetV3Predictor:
    """Estimates top-1 of OFA-MobileNetV3 w1.0 sub-networks from a small table of fitted coefficients.

    Parameters
    ----------
    contents
        What `cosearch.accuracy.fit` wrote, as parsed JSON; None reads the shipped file when it is first needed.

    Attributes
    ----------
    name, space_name : str
        As in `cosearch.accuracy._base.AccuracyEstimator`.

    Notes
    -----
    Estimates are of sub-networks with the supernet's shared weights and re-estimated batch-norm statistics. Published
    specialised networks, fine-tuned for 25 or 75 epochs, lie about 0.3 points above an estimate of 76 %, 1.6 above 70 %.
    """

    name = "predictor"
    space_name = "ofa-mobilenet-v3"
    quantity: Literal["top1_percent"] = "top1_percent"
    scale = "estimated ImageNet top-1"
    note = "shared weights, no fine-tuning"

    def __init__(self, contents: dict[str, Any] | None = None) -> None:
        self._given = contents

    @cached_property
    def contents(self) -> dict[str, Any]:
        """The coefficient file, parsed: coefficients, errors, and where they come from."""
        contents = self._given
        if contents is None:
            text = resources.files("cosearch.accuracy").joinpath(SHIPPED_FILE).read_text(encoding="utf-8")
            contents = json.loads(text)
        if contents.get("format") != FORMAT:
            raise CosearchError(
                f"accuracy coefficients: format {contents.get('format')!r} is unknown, this version reads {FORMAT}; "
                "write the file again with python -m cosearch.accuracy.fit"
            )
        return contents

    @cached_property
    def coefficients(self) -> Coefficients:
        """The fitted numbers of the model."""
        return Coefficients(**_arrays(self.contents["coefficients"]))

    @cached_property
    def errors(self) -> ErrorModel:
        """How far off an estimate is."""
        return ErrorModel(**_arrays(self.contents["errors"]))

    @property
    def stage_scores(self) -> NDArray[np.float64]:
        """Scores (5, `STAGE_OPTIONS`) of the options of each stage, in the order of `ElasticSpace.stage_options`."""
        return self.coefficients.stage_scores

    def top1_of_score(self, score: NDArray[np.float64], resolution_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return top-1 in percent (n,) of networks by the sum of their scores (n,) and their resolution (n,)."""
        return self.coefficients.top1_percent(score, resolution_px)

    def score_for_top1(self, top1_percent: float, resolution_px: int) -> float:
        """Return the least sum of scores that reaches a top-1 in percent at a resolution; inf where none does."""
        return self.coefficients.score_for_top1(top1_percent, resolution_px)

    @property
    def reference_set(self) -> str:
        """Name of the set of measurements whose scale the estimates are on."""
        return str(self.contents["scale"])

    def estimate(self, values: NDArray[np.integer]) -> AccuracyEstimate:
        """Estimate top-1 of n sub-networks.

        Parameters
        ----------
        values : ndarray of int, shape (n, 46)
            Knob values in the order of `KNOBS`. Genes of blocks beyond a stage's depth may hold anything.

        Returns
        -------
        AccuracyEstimate
            Top-1 in percent, its expected absolute error in points, and whether it is extrapolated: (n,) each.

        Raises
        ------
        CosearchError
            If ``values`` is no integer array of 46 columns, or holds a value that is no choice of its knob.
        """
        score = self.coefficients.score(values)
        resolution = values[:, 0].astype(float)
        error, extrapolated = self.errors.judge(resolution, score)
        return AccuracyEstimate(self.coefficients.top1_percent(score, resolution), error, extrapolated)


def make(space: NetworkSpace, argument: str) -> OfaMobileNetV3Predictor:
    """Estimates ImageNet top-1 of OFA-MobileNetV3 w1.0 sub-networks: shared weights, no fine-tuning.

    Raises
    ------
    CosearchError
        If the space is another one, or there is an argument.
    """
    if space.name != OfaMobileNetV3Predictor.space_name:
        raise CosearchError(
            f"estimator 'predictor' knows the space {OfaMobileNetV3Predictor.space_name!r} only, not {space.name!r}"
        )
    if argument:
        raise CosearchError(f"estimator 'predictor' takes no argument, but got {argument!r}")
    return OfaMobileNetV3Predictor()


def _arrays(fields: dict[str, Any]) -> dict[str, Any]:
    """Lists as arrays of float64, the rest as it is."""
    return {name: np.array(value, dtype=float) if isinstance(value, list) else value for name, value in fields.items()}
