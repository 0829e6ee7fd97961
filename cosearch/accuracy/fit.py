"""Fits the coefficients of `cosearch.accuracy.predictor` to measured sub-networks, and measures how far off they are.

    python -m cosearch.accuracy.fit MEASURED.csv [MEASURED.csv ...] -o FILE.json

The shipped file was written from two sets of measured OFA-MobileNetV3 w1.0 sub-networks (shared weights, full ImageNet
validation set): 128, 160 and 192 px from MaximeGirard/memory-optimized-once-for-all (README: MIT) and 224 px from
IntelLabs/DyNAS-T (Apache-2.0). One row per network: image_size, d1..d5, k1..k20, e1..e20, and `top1` (a fraction) or
`top1_percent`; other columns are ignored. The same files give the same bytes.

The fit is penalised least squares, solved by Levenberg-Marquardt: a row weighs 1 / variance of its set's held-back
residuals, and scores are shrunk with a strength chosen by cross-validation inside the rows at hand. Rows of the same
network never lie on both sides of a split.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau

from cosearch.accuracy import predictor as model
from cosearch.accuracy.predictor import BLOCKS, BLOCKS_PER_STAGE, DEPTHS, EXPANDS, KERNELS, STAGES, Coefficients
from cosearch.errors import CosearchError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FitFunction = Callable[["Measurements"], "Fit"]

COLUMNS = ("image_size", *(f"{kind}{i + 1}" for kind, n in (("d", 5), ("k", 20), ("e", 20)) for i in range(n)))
MINIMUM_ROWS, FOLDS, SEED, RIDGES = 20, 5, 0, (10.0, 100.0, 1000.0, 10000.0)
NEAR_GENES = 8  # a set whose rows have their nearest neighbour within fewer genes (median) is the trace of searches

_CENTRE_PERCENT, _FIRST_NOISE_POINTS, _MAXIMUM_STEPS = 75.0, 0.3, 100
_PRIOR_SCALE_PX, _PRIOR_LOG_SCALE_SD = 50.0, 0.5
_PRIOR_OFFSET_SD_POINTS = 0.1 / np.sqrt(2)  # of each set, so that two sets differ by 0 +- 0.1 points
_PRIOR_STAGE_RATE_SD, _PRIOR_RATE_SD = 2.0, 0.5
_PER_BLOCK = len(KERNELS) + len(EXPANDS)
_PER_STAGE = len(DEPTHS) + (1 + BLOCKS_PER_STAGE) * _PER_BLOCK
_SCORES = STAGES * _PER_STAGE
_SHRINKAGE = np.tile([*[1 / 64] * (len(DEPTHS) + _PER_BLOCK), *[1.0] * (BLOCKS_PER_STAGE * _PER_BLOCK)], STAGES)
_WIDTHS, _STRIDES, _GATED = (24, 40, 80, 112, 160), (2, 2, 2, 1, 2), (False, True, False, True, True)


@dataclass(frozen=True)
class Measurements:
    """Measured networks of ``sets`` sets: values (n, 46), top-1 (n,) in percent, number of the row's set (n,)."""

    values: Ints
    top1_percent: Floats
    set_index: Ints
    sets: int

    def take(self, which: NDArray[np.bool_]) -> Measurements:
        """The rows where ``which`` (n,) is true."""
        return Measurements(self.values[which], self.top1_percent[which], self.set_index[which], self.sets)


def read_measurements(paths: Sequence[Path]) -> Measurements:
    """Read files of measured networks, one set each; CosearchError names the file, line and column of a mistake."""
    values, top1 = zip(*[_read_file(path) for path in paths], strict=True)
    set_index = np.repeat(np.arange(len(paths)), [len(part) for part in top1])
    return Measurements(np.concatenate(values), np.concatenate(top1), set_index, len(paths))


def _read_file(path: Path) -> tuple[Ints, Floats]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            header = next(csv.reader(stream), [])
            target, unit = ("top1_percent", 1.0) if "top1_percent" in header else ("top1", 100.0)
            missing = [name for name in (*COLUMNS, target) if name not in header]
            if missing:
                wanted = "image_size, d1..d5, k1..k20, e1..e20, and top1 (a fraction) or top1_percent"
                raise CosearchError(f"{path}: no column {missing[0]!r} ({len(missing)} missing); wanted: {wanted}")
            columns = [header.index(name) for name in (*COLUMNS, target)]
            cells = [[row[column] for column in columns] for row in csv.reader(stream) if row]
        if len(cells) < MINIMUM_ROWS:
            raise CosearchError(f"{path}: {len(cells)} rows; at least {MINIMUM_ROWS} measured networks are needed")
        table = np.array(cells, dtype=float)
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise CosearchError(f"{path}: cannot be read as a table of numbers: {error}") from error
    top1, values = table[:, -1] * unit, table[:, :-1].astype(np.int64)
    wrong = ~((top1 > 0) & (top1 < 100)) | (values != table[:, :-1]).any(axis=1)
    if wrong.any():
        rule = f"{target} must lie between 0 and {100 / unit:g}, and every knob must be a whole number"
        raise CosearchError(f"{path}, line {np.flatnonzero(wrong)[0] + 2}: {rule}")
    try:
        model.stage_options(values)
    except CosearchError as error:
        raise CosearchError(f"{path}: {error} (row 0 is line 2)") from error
    return values, top1


def _channels(value: Ints | Floats) -> Ints:
    """`make_divisible(value, 8)` of the supernet."""
    rounded = np.maximum(8, (value + 4) // 8 * 8)
    return np.where(rounded < 0.9 * value, rounded + 8, rounded).astype(np.int64)


def count_macs_and_params(values: Ints) -> tuple[Ints, Ints]:
    """MACs (n,) and parameters (n,) of w1.0 sub-networks, from values (n, 46) in the order of `predictor.KNOBS`.

    Convolutions, fully connected layers and squeeze-excite count as MACs; batch norm has 2 parameters per channel.
    """
    side = -(-values[:, 0] // 2)
    macs = side**2 * (27 * 16 + 9 * 16 + 16 * 16)  # stem; first block: depth-wise and project
    params = np.full(len(values), (27 + 2) * 16 + (9 + 2) * 16 + (16 + 2) * 16)
    c_in = 16
    for stage, c_out in enumerate(_WIDTHS):
        for block in range(BLOCKS_PER_STAGE):
            side_in, side = side, -(-side // _STRIDES[stage]) if block == 0 else side
            column = stage * BLOCKS_PER_STAGE + block
            kernel, expand = values[:, model.KERNEL_COLUMNS][:, column], values[:, model.EXPAND_COLUMNS][:, column]
            mid = _channels(c_in * expand)
            squeezed = _channels(mid / 4) * _GATED[stage]
            gate = 2 * mid * squeezed
            active = values[:, model.DEPTH_COLUMNS][:, stage] > block
            macs = macs + active * (side_in**2 * c_in * mid + side**2 * mid * (kernel**2 + c_out) + gate)
            gate_params = gate + squeezed + mid * _GATED[stage]
            params = params + active * (mid * (c_in + 2 + kernel**2 + 2 + c_out) + 2 * c_out + gate_params)
            c_in = c_out
    head = 960 * 1280 + 1280 * 1000
    return macs + side**2 * 160 * 960 + head, params + (160 + 2) * 960 + head + 1000


def random_folds(values: Ints, seed: int) -> Ints:
    """Fold 0..`FOLDS`-1 of every row (n,), drawn at random; a network is in one fold, at whatever resolutions."""
    networks = np.unique(model.stage_options(values), axis=0, return_inverse=True)[1].ravel()
    return np.random.default_rng(seed).permutation(networks.max() + 1)[networks] % FOLDS


def neighbourhood_folds(values: Ints, seed: int) -> Ints:
    """Folds (n,) that hold back whole neighbourhoods of a search's trace; random ones for a set that is no trace.

    Neighbourhoods are 2 `FOLDS` clusters (average linkage) of networks that differ in few active genes.
    """
    genes = values[:, 1:].copy()
    active = np.arange(BLOCKS_PER_STAGE) < values[:, model.DEPTH_COLUMNS][:, :, None]
    genes[:, STAGES:] *= np.tile(active.reshape(len(values), BLOCKS), (1, 2))
    distances = pdist(genes, "hamming") * genes.shape[1]
    square = squareform(distances)
    np.fill_diagonal(square, np.inf)
    if np.median(square.min(axis=1)) >= NEAR_GENES:
        return random_folds(values, seed)
    return np.asarray(fcluster(linkage(distances, "average"), 2 * FOLDS, "maxclust"), dtype=np.int64)


def design_matrix(values: Ints) -> Floats:
    """One column per score: stage by stage its depths, its kernels and expand ratios, those of each block: (n, 165).

    A stage's kernels and expand ratios count its blocks, and are shrunk less than a block's own: few rows are enough
    for what blocks have in common. `_coefficients` adds them to the blocks'.
    """
    columns: list[NDArray[Any]] = []
    for stage in range(STAGES):
        depth = values[:, model.DEPTH_COLUMNS][:, stage]
        blocks = []
        for block in range(BLOCKS_PER_STAGE):
            for part, choices in ((model.KERNEL_COLUMNS, KERNELS), (model.EXPAND_COLUMNS, EXPANDS)):
                genes = values[:, part][:, stage * BLOCKS_PER_STAGE + block]
                blocks += [(genes == choice) & (depth > block) for choice in choices]
        shared = [np.sum(blocks[i::_PER_BLOCK], axis=0) for i in range(_PER_BLOCK)]
        columns += [*[depth == choice for choice in DEPTHS], *shared, *blocks]
    return np.array(columns, dtype=float).T


@dataclass(frozen=True)
class Fit:
    """Coefficients on a scale between the sets', how far each set (sets,) reads above it, and how they were chosen.

    ``offset_covariance`` is (sets, sets); ``noise_points`` (sets,) the root mean square of the held-back residuals.
    """

    coefficients: Coefficients
    offset_points: Floats
    offset_covariance: Floats
    noise_points: Floats
    ridge: float

    def estimate(self, values: Ints, set_index: Ints) -> Floats:
        """Top-1 (n,) in percent of networks (n, 46), each on the scale of a set (n,)."""
        top1 = self.coefficients.top1_percent(self.coefficients.score(values), values[:, 0].astype(float))
        return top1 + self.offset_points[set_index]

    def on_scale_of(self, set_index: int) -> Fit:
        """The same fit, with estimates for every set on the scale of one."""
        base_percent = self.coefficients.base_percent + float(self.offset_points[set_index])
        on_scale = replace(self.coefficients, base_percent=base_percent)
        return replace(self, coefficients=on_scale, offset_points=np.zeros(len(self.offset_points)))


def _saturate(x: Floats, rate: Floats) -> tuple[Floats, Floats, Floats]:
    """`predictor.saturate`, and its derivatives by x and by the rate."""
    rate = np.where(np.abs(rate) < 1e-4, 1e-4, rate)
    slope = np.exp(np.clip(-rate * x, -50, 50))
    value = (1 - slope) / rate
    return value, slope, (x * slope - value) / rate


def _model(theta: Floats, scored: Floats, resolution_px: Floats, sets: Floats) -> tuple[Floats, Floats]:
    """Top-1 (n,) minus `_CENTRE_PERCENT` and its derivatives (n, parameters).

    Parameters: base, rise, log scale, one offset per set, `_SCORES` scores, `STAGES` rates, the last rate.
    """
    offset, score, stage_rate, rate = np.split(theta[3:], np.cumsum([sets.shape[1], _SCORES, STAGES]))
    distance = (resolution_px - model.REFERENCE_RESOLUTION_PX) / np.exp(theta[2])
    decay = np.exp(-distance)
    stage, by_additive, by_stage_rate = _saturate((scored * score).reshape(-1, STAGES, _PER_STAGE).sum(2), stage_rate)
    points, by_stage, by_rate = _saturate(stage.sum(axis=1), rate)
    by_score = scored * np.repeat(by_stage[:, None] * by_additive, _PER_STAGE, axis=1)
    resolution = [np.ones_like(decay), 1 - decay, -theta[1] * decay * distance]
    slopes = np.column_stack([*resolution, sets, by_score, by_stage[:, None] * by_stage_rate, by_rate])
    return theta[0] + theta[1] * (1 - decay) + sets @ offset + points, slopes


def fit_rows(rows: Measurements, ridge: float, noise_points: Floats) -> Fit:
    """Fit to all rows; ``ridge`` shrinks the scores, ``noise_points`` (sets,) is the standard error of a row."""
    n_sets, matrix = rows.sets, design_matrix(rows.values)
    weight = noise_points[rows.set_index] ** -2.0
    mean = weight @ matrix / weight.sum()
    sets = (rows.set_index[:, None] == np.arange(n_sets)).astype(float)
    data = (matrix - mean, rows.values[:, 0].astype(float), sets)
    target = rows.top1_percent - _CENTRE_PERCENT

    prior = np.array([0, 0, np.log(_PRIOR_SCALE_PX), *[0] * (n_sets + _SCORES + STAGES + 1)])
    spread = [1e3, 1e3, _PRIOR_LOG_SCALE_SD, *[_PRIOR_OFFSET_SD_POINTS] * n_sets, *(ridge * _SHRINKAGE) ** -0.5]
    penalty = np.array([*spread, *[_PRIOR_STAGE_RATE_SD] * STAGES, _PRIOR_RATE_SD]) ** -2.0
    free = np.ones(len(prior), dtype=bool)
    free[1:3] = len(np.unique(data[1])) > np.array([1, 2])  # a curve needs two resolutions, its bend a third
    theta = prior.copy()
    theta[0], theta[-STAGES - 1 :] = target.mean(), 0.1

    def loss(at: Floats) -> tuple[float, Floats, Floats]:
        value, slopes = _model(at, *data)
        return float(weight @ (target - value) ** 2 + penalty @ (at - prior) ** 2), target - value, slopes[:, free]

    damping, (now, residual, slopes) = 1e-3, loss(theta)
    for _ in range(_MAXIMUM_STEPS):
        normal = (slopes * weight[:, None]).T @ slopes + np.diag(penalty[free])
        gradient = slopes.T @ (weight * residual) - (penalty * (theta - prior))[free]
        before = now
        while damping < 1e9:
            trial = theta.copy()
            trial[free] += np.linalg.solve(normal + damping * np.diag(np.diag(normal)), gradient)
            after = loss(trial)
            if after[0] <= before:
                theta, (now, residual, slopes) = trial, after
                break
            damping *= 4
        damping = max(damping / 4, 1e-9)
        if before - now <= 1e-10 * before:
            break
    is_offset = np.isin(np.flatnonzero(free), np.arange(3, 3 + n_sets))
    covariance: Floats = np.asarray(np.linalg.inv(normal), dtype=np.float64)[np.ix_(is_offset, is_offset)]
    return Fit(_coefficients(theta, mean, n_sets), theta[3 : 3 + n_sets], covariance, noise_points, ridge)


def _coefficients(theta: Floats, mean: Floats, n_sets: int) -> Coefficients:
    """The parameters by name; what centring subtracts from a stage goes into its depth scores."""
    scores = theta[3 + n_sets : 3 + n_sets + _SCORES].reshape(STAGES, _PER_STAGE)
    depth, shared, own = np.split(scores, [len(DEPTHS), len(DEPTHS) + _PER_BLOCK], axis=1)
    depth = depth - (scores * mean.reshape(scores.shape)).sum(axis=1, keepdims=True)
    blocks = own.reshape(STAGES, BLOCKS_PER_STAGE, _PER_BLOCK) + shared[:, None]
    kernel, expand = np.split(blocks.reshape(BLOCKS, _PER_BLOCK), [len(KERNELS)], axis=1)
    base, scale = _CENTRE_PERCENT + float(theta[0]), float(np.exp(theta[2]))
    return Coefficients(base, float(theta[1]), scale, depth, kernel, expand, theta[-STAGES - 1 : -1], float(theta[-1]))


def fit_by_cross_validation(rows: Measurements, seed: int = SEED) -> Fit:
    """Fit with noise and ridge chosen inside ``rows``: first each set's held-back residuals, then one of `RIDGES`."""
    folds = random_folds(rows.values, seed)
    noise = np.full(rows.sets, _FIRST_NOISE_POINTS)

    def residuals(ridge: float, noise: Floats) -> Floats:
        return rows.top1_percent - held_back(rows, folds, lambda inside: fit_rows(inside, ridge, noise))

    first = residuals(RIDGES[1], noise)
    for s in np.unique(rows.set_index):
        noise[s] = np.sqrt((first[rows.set_index == s] ** 2).mean())
    losses = [((residuals(ridge, noise) / noise[rows.set_index]) ** 2).sum() for ridge in RIDGES]
    return fit_rows(rows, RIDGES[int(np.argmin(losses))], noise)


def left_out(rows: Measurements, inside: NDArray[np.bool_], fit: FitFunction) -> Floats:
    """Top-1 in percent of the rows ``inside`` by a fit to the others, each row on its own set's scale."""
    return fit(rows.take(~inside)).estimate(rows.values[inside], rows.set_index[inside])


def held_back(rows: Measurements, folds: Ints, fit: FitFunction) -> Floats:
    """Top-1 (n,) in percent of every row by a fit to the other folds' rows, each row on its own set's scale."""
    estimates = np.empty(len(folds))
    for fold in np.unique(folds):
        estimates[folds == fold] = left_out(rows, folds == fold, fit)
    return estimates


def summary(off: Floats, measured: Floats) -> dict[str, float]:
    """Rows, bias, mean absolute error and Kendall tau of estimates that are ``off`` (n,) points from ``measured``."""
    tau = kendalltau(measured, measured + off).statistic
    return {"rows": len(off), "bias_points": off.mean(), "mae_points": np.abs(off).mean(), "kendall": tau}


def leave_resolutions_out(rows: Measurements, fit: FitFunction) -> dict[int, dict[str, float]]:
    """`summary` of each resolution (pixels) when a fit has not seen it."""
    inside = {int(resolution): rows.values[:, 0] == resolution for resolution in np.unique(rows.values[:, 0])}
    measured = {resolution: rows.top1_percent[which] for resolution, which in inside.items()}
    return {r: summary(left_out(rows, which, fit) - measured[r], measured[r]) for r, which in inside.items()}


def _score_ends(rows: Measurements, score: Floats, error: Floats, fit: FitFunction) -> dict[str, Any]:
    """Range of the scores (n,) per resolution; what leaving out its lowest and highest tenth adds to the error (n,)."""
    known, at = np.unique(rows.values[:, 0], return_inverse=True)
    ends = np.array([np.quantile(score[at == i], [0, 0.1, 0.9, 1]) for i in range(len(known))])
    outside = np.maximum(ends[at, 1] - score, score - ends[at, 2])
    inside = outside > 0
    added = np.abs(left_out(rows, inside, fit) - rows.top1_percent[inside]) - error[inside]
    end = 2 * at[inside] + (score > ends[at, 2])[inside]
    worst = (np.bincount(end, added) / np.bincount(end)).max()
    cost = {"score_points": max(0.0, float(worst)), "score_distance": float(np.median(outside[inside]))}
    return {"lowest_score": ends[:, 0], "highest_score": ends[:, 3], **cost}


def fit_file(paths: Sequence[Path], seed: int = SEED) -> dict[str, Any]:
    """Fit to files of measured networks (see `read_measurements`): the contents of the coefficient file."""
    rows = read_measurements(paths)
    known = np.unique(rows.values[:, 0])
    if len(known) < 3:
        raise CosearchError(f"{', '.join(map(str, paths))}: an estimator of the space needs three resolutions or more")
    found = fit_by_cross_validation(rows, seed)
    reference = int(np.argmin(found.noise_points))
    bias, covariance = found.offset_points - found.offset_points[reference], found.offset_covariance
    bias_error = np.sqrt((np.diag(covariance) + covariance[reference, reference] - 2 * covariance[reference]).clip(0))

    def fit(inside: Measurements) -> Fit:  # errors are of what a user gets: estimates on the reference scale
        return fit_by_cross_validation(inside, seed).on_scale_of(reference)

    near = np.concatenate([neighbourhood_folds(rows.values[rows.set_index == i], seed) for i in range(len(paths))])
    folds = (random_folds(rows.values, seed), near)
    off, near_off = (held_back(rows, each, fit) - rows.top1_percent for each in folds)
    parts = {}
    for resolution in known:
        inside = rows.values[:, 0] == resolution
        part = summary(off[inside], rows.top1_percent[inside])
        parts[int(resolution)] = part | {"neighbourhood_mae_points": np.abs(near_off[inside]).mean()}
    left = leave_resolutions_out(rows, fit)
    left_bias = np.abs([part["bias_points"] for part in left.values()])
    coefficients = found.on_scale_of(reference).coefficients
    errors = {
        "resolutions_px": known,
        "error_points": [max(part["mae_points"], part["neighbourhood_mae_points"]) for part in parts.values()],
        "between_points": left_bias[1:-1].max(),
        "beyond_points_per_px": (left_bias[[0, -1]] / np.diff(known)[[0, -1]]).max(),
        **_score_ends(rows, coefficients.score(rows.values), np.abs(off), fit),
    }
    sources = []
    for i, (path, n) in enumerate(zip(paths, np.bincount(rows.set_index), strict=True)):
        file = {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "rows": int(n)}
        bias_of_set = {"set_bias_points": bias[i], "set_bias_standard_error_points": bias_error[i]}
        sources.append({**file, "noise_points": found.noise_points[i], **bias_of_set})
    origin = {"seed": seed, "folds": FOLDS, "ridge": found.ridge, "sources": sources}
    return {
        "format": model.FORMAT,
        "estimates": "ImageNet top-1 in percent, OFA-MobileNetV3 w1.0, shared weights, no fine-tuning",
        "scale": paths[reference].name,
        "coefficients": asdict(coefficients),
        "errors": errors,
        "fit": {**origin, "held_back": parts, "resolution_left_out": left},
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command of the module's docstring; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m cosearch.accuracy.fit", description="fits the accuracy estimator")
    parser.add_argument("measured", type=Path, nargs="+", help="files of measured networks, one per set")
    parser.add_argument("-o", "--output", type=Path, required=True, help="JSON file to write")
    chosen = parser.parse_args(arguments)
    try:
        text = json.dumps(fit_file(chosen.measured), default=lambda array: array.tolist())
        contents = json.loads(text, parse_float=lambda digits: round(float(digits), 6))
        chosen.output.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
    except (CosearchError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
