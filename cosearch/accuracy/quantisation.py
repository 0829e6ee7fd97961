"""What integer arithmetic costs in accuracy: an additive drop with its source and its spread, never hidden.

Published pairs of float and int8 ImageNet top-1, after calibration or fine-tuning by their authors:

* MCUNet's seven published networks (README of mit-han-lab/mcunet): 49.7/49.0, 57.0/56.2, 41.5/40.4, 51.5/49.9,
  60.9/60.3, 62.2/61.8, 68.4/68.0.
* OFA-ResNet50's five (Vitis AI model zoo): 79.9/78.9, 79.5/78.4, 79.1/78.0, 77.7/77.0, 75.2/74.4.

The drop is their mean; its error is the mean absolute distance from it. Neither is a function of the network here.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from accel_models.accelerator import Accelerator
from cosearch.errors import SearchError

INT8_PAIRS = (
    (49.7, 49.0), (57.0, 56.2), (41.5, 40.4), (51.5, 49.9), (60.9, 60.3), (62.2, 61.8), (68.4, 68.0),
    (79.9, 78.9), (79.5, 78.4), (79.1, 78.0), (77.7, 77.0), (75.2, 74.4),
)  # fmt: skip
LOSSLESS_BITS = 16


@dataclass(frozen=True, slots=True)
class Drop:
    """Points of top-1 lost, and the expected absolute error of that figure."""

    points: float
    error_points: float


INT8 = Drop(
    fmean(full - quantised for full, quantised in INT8_PAIRS),
    fmean(abs(full - quantised - fmean(a - b for a, b in INT8_PAIRS)) for full, quantised in INT8_PAIRS),
)


def narrowest_bits(accelerator: Accelerator) -> int:
    """Return the narrower of a machine's weights and inputs, in bits; 16 where it does not say."""
    given = accelerator.precision
    return LOSSLESS_BITS if given is None else min(given.weights, given.inputs)


def quantisation_drop(bits: int) -> Drop:
    """Return the drop for weights and activations of `bits` (the narrower of the two).

    Nothing is lost from 16 bits up; 8 to 15 bits count as int8.

    Raises
    ------
    SearchError
        Below 8 bits: no measured pair tells.
    """
    if bits >= LOSSLESS_BITS:
        return Drop(0.0, 0.0)
    if bits >= 8:
        return INT8
    raise SearchError(
        f"nothing measured says what {bits}-bit arithmetic costs in top-1; use 8 or 16 bits, or drop top1"
    )
