"""What integer arithmetic costs in accuracy: an additive drop with its source and its spread, never hidden.

Published pairs of float and int8 ImageNet top-1, after calibration or fine-tuning by their authors:

* MCUNet's seven published networks (README of mit-han-lab/mcunet): 49.7/49.0, 57.0/56.2, 41.5/40.4, 51.5/49.9,
  60.9/60.3, 62.2/61.8, 68.4/68.0.
* OFA-ResNet50's five (Vitis AI model zoo): 79.9/78.9, 79.5/78.4, 79.1/78.0, 77.7/77.0, 75.2/74.4.

Published pairs of float and 4-bit ImageNet top-1, weights and activations:

* Six networks after calibration alone (README of hustvl/pd-quant; Liu et al., PD-Quant, CVPR 2023): ResNet18 71.01/69.30,
  ResNet50 76.63/75.09, MobileNetV2 72.62/68.33, RegNetX-600MF 73.52/71.04, RegNetX-3.2GF 78.46/76.57, MnasNet-2.0
  76.52/73.30.
* Two after training with integers only (model zoo of Zhen-Dong/HAWQ, W4A4; Yao et al., HAWQ-V3, ICML 2021): ResNet18
  71.47/68.45, ResNet50 77.72/74.24.

A drop is the mean of its pairs; its error is the mean absolute distance from it. Neither is a function of the network here.
Small networks lose more: of the 4-bit pairs, MobileNetV2 the most.
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
INT4_PAIRS = (
    (71.01, 69.30), (76.63, 75.09), (72.62, 68.33), (73.52, 71.04), (78.46, 76.57), (76.52, 73.30),
    (71.47, 68.45), (77.72, 74.24),
)  # fmt: skip
LOSSLESS_BITS = 16


@dataclass(frozen=True, slots=True)
class Drop:
    """Points of top-1 lost, and the expected absolute error of that figure."""

    points: float
    error_points: float


def _drop(pairs: tuple[tuple[float, float], ...]) -> Drop:
    lost = [full - quantised for full, quantised in pairs]
    return Drop(fmean(lost), fmean(abs(one - fmean(lost)) for one in lost))


INT8 = _drop(INT8_PAIRS)
INT4 = _drop(INT4_PAIRS)


def narrowest_bits(accelerator: Accelerator) -> int:
    """Return the narrower of a machine's weights and inputs, in bits; 16 where it does not say."""
    given = accelerator.precision
    return LOSSLESS_BITS if given is None else min(given.weights, given.inputs)


def quantisation_drop(bits: int) -> Drop:
    """Return the drop for weights and activations of `bits` (the narrower of the two).

    Nothing is lost from 16 bits up; 8 to 15 bits count as int8, 4 to 7 bits as int4.

    Raises
    ------
    SearchError
        Below 4 bits: no measured pair tells.
    """
    if bits >= LOSSLESS_BITS:
        return Drop(0.0, 0.0)
    if bits >= 8:
        return INT8
    if bits >= 4:
        return INT4
    raise SearchError(
        f"nothing measured says what {bits}-bit arithmetic costs in top-1; use 4, 8 or 16 bits, or drop top1"
    )
