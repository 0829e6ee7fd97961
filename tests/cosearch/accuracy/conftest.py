"""Where measured networks lie, networks and rows to test with, and slow twins of the estimator."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from cosearch.accuracy import fit
from cosearch.accuracy.predictor import DEPTHS, EXPANDS, KERNELS, OfaMobileNetV3Predictor


@pytest.fixture(scope="session")
def measured_paths(shared_data: Path) -> list[Path]:
    """The two sets behind the shipped coefficients, in the order in which they were fitted."""
    names = ("ofa_mbv3_w1.0_val50k_r128_160_192.csv", "ofa_mbv3_w1.0_r224.csv")
    return [shared_data / "ofa_top1" / name for name in names]


def random_networks(n: int, seed: int = 0, resolutions=range(128, 225, 4)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = ((resolutions, 1), (DEPTHS, 5), (KERNELS, 20), (EXPANDS, 20))
    return np.concatenate([rng.choice(np.array(choices), (n, width)) for choices, width in parts], axis=1)


def uniform_network(resolution: int, depth: int, kernel: int, expand: int) -> np.ndarray:
    return np.array([[resolution, *[depth] * 5, *[kernel] * 20, *[expand] * 20]])


def synthetic(n: int, noise_points: float, seed: int = 0, sets: int = 1) -> fit.Measurements:
    """Rows that follow the shipped model; every further set reads 0.1 points more than the one before."""
    networks = random_networks(n, seed, resolutions=(128, 160, 192))
    set_index = np.arange(n) % sets
    noise = np.random.default_rng(seed + 1).normal(0, noise_points, n)
    return fit.Measurements(
        networks, OfaMobileNetV3Predictor().estimate(networks).value + 0.1 * set_index + noise, set_index, sets
    )


def write_csv(path: Path, rows: fit.Measurements, top1_name: str = "top1") -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([*fit.COLUMNS, top1_name])
        divisor = 100 if top1_name == "top1" else 1
        writer.writerows([*v, t / divisor] for v, t in zip(rows.values.tolist(), rows.top1_percent, strict=True))
    return path


# The slow twins: straight from the module's docstring, one network and one block at a time.


def naive_saturate(x: float, rate: float) -> float:
    return (1 - math.exp(-rate * x)) / rate if rate else x


def naive_score(contents: dict, network) -> float:
    c = contents["coefficients"]
    score = 0.0
    for stage in range(5):
        depth = int(network[1 + stage])
        additive = c["depth_score"][stage][DEPTHS.index(depth)]
        for block in range(4 * stage, 4 * stage + depth):
            additive += c["kernel_score"][block][KERNELS.index(int(network[6 + block]))]
            additive += c["expand_score"][block][EXPANDS.index(int(network[26 + block]))]
        score += naive_saturate(additive, c["stage_rate"][stage])
    return score


def naive_top1(contents: dict, network) -> float:
    c = contents["coefficients"]
    rise = c["resolution_rise_points"] * (1 - math.exp(-(int(network[0]) - 192) / c["resolution_scale_px"]))
    return c["base_percent"] + rise + naive_saturate(naive_score(contents, network), c["rate"])


def naive_divisible(value: float) -> int:
    new = max(8, int(value + 4) // 8 * 8)
    return new + 8 if new < 0.9 * value else new


def naive_macs_and_params(network) -> tuple[int, int]:
    """Layer by layer: (in, out, kernel, groups, side) of every convolution, each followed by batch norm."""
    side = math.ceil(network[0] / 2)
    convolutions = [(3, 16, 3, 1, side), (16, 16, 3, 16, side), (16, 16, 1, 1, side)]
    dense, c_in = [(960, 1280, False), (1280, 1000, True)], 16
    for stage, (c_out, stride, gated) in enumerate(
        [(24, 2, False), (40, 2, True), (80, 2, False), (112, 1, True), (160, 2, True)]
    ):
        for block in range(network[1 + stage]):
            kernel, expand = int(network[6 + 4 * stage + block]), int(network[26 + 4 * stage + block])
            middle = naive_divisible(c_in * expand)
            out = math.ceil(side / stride) if block == 0 else side
            convolutions += [(c_in, middle, 1, 1, side), (middle, middle, kernel, middle, out)]
            convolutions += [(middle, c_out, 1, 1, out)]
            if gated:
                squeezed = naive_divisible(middle / 4)
                dense += [(middle, squeezed, True), (squeezed, middle, True)]
            side, c_in = out, c_out
    convolutions.append((160, 960, 1, 1, side))
    macs = sum(s * s * k * k * i * o // g for i, o, k, g, s in convolutions) + sum(i * o for i, o, _ in dense)
    weights = sum(k * k * i * o // g + 2 * o for i, o, k, g, _ in convolutions)
    return macs, weights + sum(i * o + (o if bias else 0) for i, o, bias in dense)
