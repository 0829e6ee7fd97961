"""Gemmini's own cycles (RTL on FireSim) from DOSA's files, and a model of what the loop nest leaves out.

The overhead model has four constants, all positive, fitted on training files only::

    cycles = start + tile_start * tiles + max(compute + block * blocks, byte * bytes)

``start``       cycles: once per layer (configuration, first command, last fence).
``tile_start``  cycles per scratchpad tile: its load, compute and store commands are issued one by one.
``block``       cycles per block of weights of the array's size: it is loaded before the rows stream through.
``byte``        cycles per byte of input and weight tiles. Loading overlaps with computing, hence the maximum.

What Gemmini does with a mapping, found by matching the training rows:

* The array of a training row is square, as wide as the larger of the row's two spatial factors rounded up to a power of
  two: then no row is faster than ``compute`` (the least ratio of the 1,272 is 1.0006), and on arrays of 4, 8 and 16 the
  fastest come within 3 % of it. Channels that the mapping takes one after another fill the array where it has room.
* Nothing stays in the scratchpad from one tile to the next: every tile brings its inputs and weights.
* Layers that are matrix products run as such, and then tiles are whole blocks: smaller ones are rounded up, so fewer.
* A convolution has one side length: those of images that are not square took about the time of the square of the longer
  side (480 x 48: 10.0 times ``compute``). The 83 of them are left out of the fit; no test row is of that kind.

The form was chosen by five-fold cross-validation on the square training rows. Mean of abs(log(estimate / RTL)): our
cycles as they are .97, with the two start-up terms only .52, the sum in place of the maximum .39, this form .37; a
fifth constant (per row of a tile) would bring .36.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from accel_models.loopnest.counts import (
    DILATION_H,
    DILATION_W,
    ORDER,
    SPATIAL_X,
    SPATIAL_Y,
    STRIDE_H,
    STRIDE_W,
    TEMPORAL,
    C,
    K,
    P,
    Q,
    R,
    S,
)
from benchmarks.dosa_rows import ACCUMULATOR, DRAM, SCRATCHPAD, Rows, evaluate, read_rows, spearman

RTL_COLUMN = "target.gemmini_cycle"
SMALLEST_ARRAY = 4
"""Rows with spatial factors of 2 or 3 ran on an array of 4: Gemmini's smallest."""

START_AT, STARTS = (500.0, 200.0, 10.0, 0.1), (0.1, 1.0, 10.0)
"""Orders of magnitude of the constants to start the fit from, and what to scale them by; the best end is kept."""

OUTLIER_SCALE = 0.3
"""Errors beyond exp(0.3) = 1.35 count linearly, not squared: some training rows took 20 to 180 times too long."""


@dataclass(frozen=True)
class Overheads:
    """Constants of the model, in cycles: per layer, per tile, per block of weights, per byte."""

    start: float
    tile_start: float
    block: float
    byte: float


@dataclass(frozen=True, eq=False)
class RtlRows:
    """A file with RTL cycles: float64 (rows,) each.

    `timeloop` holds Timeloop's cycles: recorded, or (training) implied by energy-delay product over energy. `square`
    says of a row that it is a matrix product or a convolution of square images.
    """

    path: Path
    is_training: bool
    rtl: NDArray[np.float64]
    ours: NDArray[np.float64]
    timeloop: NDArray[np.float64]
    square: NDArray[np.bool_]
    tiles: NDArray[np.float64]
    compute: NDArray[np.float64]
    blocks: NDArray[np.float64]
    loaded_bytes: NDArray[np.float64]


@dataclass(frozen=True)
class Agreement:
    """How well estimated cycles meet RTL cycles: rank, relative errors, median of estimate over RTL."""

    spearman: float
    median_error: float
    mean_error: float
    median_ratio: float


def read_rtl(path: Path) -> RtlRows:
    """Read and evaluate a file with RTL cycles. Where they stand in place of Timeloop's, it is a training file."""
    rows = read_rows(path, (RTL_COLUMN,))
    table = rows.table
    rtl = table[RTL_COLUMN].to_numpy(np.float64)
    is_training = bool((rtl == table["target.cycle"]).all())
    implied = table["target.edp"] / (table["target.energy"] * 1e-6)  # J x cycles over uJ
    timeloop = (implied if is_training else table["target.cycle"]).to_numpy(np.float64)
    is_product = (rows.layers[:, [Q, R, S]] == 1).all(axis=1)
    square = is_product | (rows.layers[:, P] == rows.layers[:, Q])
    ours = evaluate(rows, path).cycles
    return RtlRows(path, is_training, rtl, ours, timeloop, square, *_as_gemmini_runs_it(rows, is_product))


def _as_gemmini_runs_it(rows: Rows, is_product: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    """Return tiles, compute cycles, blocks of weights, and bytes of input and weight tiles of the whole run."""
    layers, mappings = rows.layers, rows.mappings
    tile = mappings[:, :DRAM, TEMPORAL:ORDER].prod(axis=(1, 2))
    widest = np.maximum(mappings[:, SCRATCHPAD, SPATIAL_X, K], mappings[:, ACCUMULATOR, SPATIAL_Y, C])
    side = np.maximum(2 ** np.ceil(np.log2(widest)), SMALLEST_ARRAY)
    blocks_per_tile = np.ceil(tile[:, K] / side) * np.ceil(tile[:, C] / side) * tile[:, R] * tile[:, S]
    steps = mappings[:, DRAM, TEMPORAL].astype(np.float64)
    for dim in (K, C, P):
        whole_blocks = np.ceil(layers[:, dim] / (np.ceil(tile[:, dim] / side) * side))
        steps[:, dim] = np.where(is_product, whole_blocks, steps[:, dim])
    tiles = steps.prod(axis=1)
    width = (tile[:, P] - 1) * layers[:, STRIDE_W] + (tile[:, R] - 1) * layers[:, DILATION_W] + 1
    height = (tile[:, Q] - 1) * layers[:, STRIDE_H] + (tile[:, S] - 1) * layers[:, DILATION_H] + 1
    tile_bytes = tile[:, C] * (width * height + tile[:, K] * tile[:, R] * tile[:, S])
    return tiles, tiles * blocks_per_tile * tile[:, P] * tile[:, Q], tiles * blocks_per_tile, tiles * tile_bytes


def with_overheads(rows: RtlRows, constants: Overheads) -> NDArray[np.float64]:
    """Return the model's cycles of each row."""
    work = np.maximum(rows.compute + constants.block * rows.blocks, constants.byte * rows.loaded_bytes)
    return constants.start + constants.tile_start * rows.tiles + work


def fit_overheads(rows: RtlRows) -> Overheads:
    """Fit the constants to the RTL cycles of a training file: least squares of log ratios, outliers tamed."""
    names = ("start", "tile_start", "block", "byte")

    def errors(logarithms: NDArray[np.float64]) -> NDArray[np.float64]:
        constants = Overheads(**dict(zip(names, np.exp(logarithms), strict=True)))
        return np.log(with_overheads(rows, constants) / rows.rtl)[rows.square]

    starts = [np.log(np.array(START_AT) * scale) for scale in STARTS]
    ends = [least_squares(errors, start, loss="soft_l1", f_scale=OUTLIER_SCALE) for start in starts]
    best = min(ends, key=lambda end: float(end.cost))
    return Overheads(**{name: float(value) for name, value in zip(names, np.exp(best.x), strict=True)})


def agreement(estimate: NDArray[np.float64], rtl: NDArray[np.float64]) -> Agreement:
    """Compare cycles (rows,) with RTL cycles (rows,)."""
    ratio = estimate / rtl
    error = np.abs(ratio - 1)
    return Agreement(spearman(estimate, rtl), float(np.median(error)), float(error.mean()), float(np.median(ratio)))
