"""How far off the accuracy estimator of OFA-MobileNetV3 w1.0 is, on rows that it was not fitted to.

    python -m benchmarks.accuracy_predictor MEASURED.csv [MEASURED.csv ...] [--specialized FILE.json] [--json FILE]

Each fifth of the rows is held back once: the model of `cosearch.accuracy.predictor` is fitted anew to the other four
fifths (noise and shrinkage chosen inside them) and compared with the held-back fifth. The shipped coefficients are not
used for this. Rows of the same network lie in the same fifth. Several files are fitted as one model with a bias between
the files, and each row is judged on its own file's scale. Beside it stands the baseline that a predictor has to beat:
linear regression on log MACs, log resolution and its square. Files as `cosearch.accuracy.fit` reads them.

Two harder questions follow. A file measured during searches holds near copies, so whole neighbourhoods are held back as
well. And where there are three resolutions or more, each is left out once.

The shipped coefficients are one model of all resolutions; how far each of their sets of measurements reads above the scale of
the estimates, and how well that is known, is printed from their file.

``--specialized`` adds networks that no fit has seen: published specialised OFA networks (fine-tuned, so that they lie
above an estimate for shared weights), judged by the shipped coefficients.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from benchmarks.command import run
from cosearch.accuracy.fit import (
    FOLDS,
    SEED,
    Measurements,
    count_macs_and_params,
    fit_by_cross_validation,
    held_back,
    leave_resolutions_out,
    neighbourhood_folds,
    random_folds,
    read_measurements,
    summary,
)
from cosearch.accuracy.predictor import BLOCKS_PER_STAGE, STAGES, OfaMobileNetV3Predictor
from cosearch.errors import CosearchError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STAGE_OF_WIDTH = {24: 0, 40: 1, 80: 2, 112: 3, 160: 4}


def _baseline_features(values: Ints) -> Floats:
    log_macs, log_side = np.log(count_macs_and_params(values)[0]), np.log(values[:, 0] / 192)
    return np.column_stack([np.ones(len(values)), log_macs, log_side, log_side**2])


def _fit_baseline(rows: Measurements) -> Floats:
    solution = np.linalg.lstsq(_baseline_features(rows.values), rows.top1_percent, rcond=None)[0]
    return np.asarray(solution, dtype=np.float64)


def _baseline(rows: Measurements, folds: Ints) -> Floats:
    """Held-back estimates (n,) in percent of the baseline."""
    estimates = np.empty(len(folds))
    for fold in np.unique(folds):
        inside = folds == fold
        estimates[inside] = _baseline_features(rows.values[inside]) @ _fit_baseline(rows.take(~inside))
    return estimates


def _figures(measured: Floats, estimates: Floats, folds: Ints) -> dict[str, float]:
    """Mean over the fifths, and standard deviation between them, of error (points) and rank correlations."""
    each = []
    for fold in np.unique(folds):
        truth, guess = measured[folds == fold], estimates[folds == fold]
        each.append(
            (np.abs(guess - truth).mean(), kendalltau(truth, guess).statistic, spearmanr(truth, guess).statistic)
        )
    means, spreads = np.mean(each, axis=0), np.std(each, axis=0, ddof=1)
    names = ("mae_points", "kendall", "spearman")
    return dict(zip((*names, *(f"{name}_sd" for name in names)), map(float, (*means, *spreads)), strict=True))


def evaluate(rows: Measurements, names: Sequence[str], seed: int) -> dict[str, Any]:
    """Held-back figures of all rows, and of each resolution of each file."""
    folds = random_folds(rows.values, seed)
    estimates, baseline = held_back(rows, folds, fit_by_cross_validation), _baseline(rows, folds)

    def part(which: NDArray[np.bool_]) -> dict[str, Any]:
        measured = rows.top1_percent[which]
        line = _figures(measured, baseline[which], folds[which])
        model = _figures(measured, estimates[which], folds[which])
        return {"rows": int(which.sum()), **model, **{f"baseline_{name}": value for name, value in line.items()}}

    parts: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        inside = rows.set_index == index
        parts.append({"file": name, "resolution_px": None, **part(inside)})
        known = np.unique(rows.values[inside, 0])
        for resolution in known if len(known) > 1 else ():
            at = inside & (rows.values[:, 0] == resolution)
            if len(np.unique(folds[at])) == FOLDS and np.bincount(folds[at]).min() > 1:
                parts.append({"file": name, "resolution_px": int(resolution), **part(at)})
    return {**part(np.ones(len(folds), dtype=bool)), "seed": seed, "splits": FOLDS, "parts": parts}


def leave_neighbourhoods_out(rows: Measurements, names: Sequence[str], seed: int) -> dict[str, dict[str, float]]:
    """`summary` of every file that is the trace of searches, with whole neighbourhoods of networks held back."""
    found = {}
    for index, name in enumerate(names):
        inside = rows.set_index == index
        folds = neighbourhood_folds(rows.values[inside], seed)
        if np.array_equal(folds, random_folds(rows.values[inside], seed)):
            continue
        every = np.full(len(inside), -1)
        every[inside] = folds
        measured = rows.top1_percent[inside]
        found[name] = summary(held_back(rows, every, fit_by_cross_validation)[inside] - measured, measured)
    return found


def read_specialized(path: Path) -> tuple[Ints, Floats, Ints]:
    """Knob values (n, 46), top-1 (n,) in percent and fine-tuning epochs (n,) of a file's MobileNetV3 w1.0 networks."""
    try:
        networks = json.loads(path.read_text(encoding="utf-8"))
        chosen = [n for n in networks if n["net"] == "MobileNetV3" and n["first_conv"]["out_channels"] == 16]
        values = np.array([_knob_values(network) for network in chosen], dtype=np.int64)
        top1 = np.array([network["top1"] for network in chosen], dtype=float)
        epochs = np.array([network["finetune_epochs"] for network in chosen], dtype=np.int64)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise CosearchError(f"{path}: not a list of specialised networks: {error!r}") from error
    if len(chosen) < 3:
        raise CosearchError(f"{path}: {len(chosen)} MobileNetV3 w1.0 networks; at least 3 are needed")
    return values, top1, epochs


def _knob_values(network: dict[str, Any]) -> list[int]:
    """Knob values of one published network; inactive genes are 0."""
    depth = [0] * STAGES
    kernel, expand = np.zeros((2, STAGES, BLOCKS_PER_STAGE), dtype=np.int64)
    for block in network["blocks"][1:]:
        stage = _STAGE_OF_WIDTH[block["out_channels"]]
        kernel[stage, depth[stage]], expand[stage, depth[stage]] = block["kernel_size"], block["expand_ratio"]
        depth[stage] += 1
    return [int(network["image_size"]), *depth, *kernel.ravel().tolist(), *expand.ravel().tolist()]


def check_specialized(path: Path, rows: Measurements) -> dict[str, Any]:
    """How the shipped coefficients order and place published networks; the baseline is fitted to ``rows``."""
    values, top1, epochs = read_specialized(path)
    found = OfaMobileNetV3Predictor().estimate(values)
    off = found.value - top1
    slope, intercept = np.polyfit(found.value, off, 1)
    line = _baseline_features(values) @ _fit_baseline(rows)
    return {
        "rows": len(top1),
        "extrapolated": int(found.extrapolated.sum()),
        "finetune_epochs": sorted(set(epochs.tolist())),
        "bias_points": float(off.mean()),
        "mae_after_bias_points": float(np.abs(off - off.mean()).mean()),
        "kendall": float(kendalltau(top1, found.value).statistic),
        "bias_at_70_percent_points": float(slope * 70 + intercept),
        "bias_at_76_percent_points": float(slope * 76 + intercept),
        "mae_after_line_points": _mae_after_line(found.value, top1),
        "baseline_mae_after_bias_points": float(np.abs(line - top1 - (line - top1).mean()).mean()),
        "baseline_mae_after_line_points": _mae_after_line(line, top1),
        "baseline_kendall": float(kendalltau(top1, line).statistic),
    }


def _mae_after_line(estimates: Floats, measured: Floats) -> float:
    line = np.polyfit(estimates, measured, 1)
    return float(np.abs(np.polyval(line, estimates) - measured).mean())


def _print(result: dict[str, Any]) -> None:
    """The figures as tables."""
    print(f"estimated top-1, shared weights, no fine-tuning; {FOLDS} fifths held back in turn, seed {result['seed']}")
    print("mean +- standard deviation between the fifths; baseline: log MACs, log resolution and its square\n")
    heads = ("MAE points", "Kendall", "Spearman", "baseline MAE", "baseline Kendall")
    keys = ("mae_points", "kendall", "spearman", "baseline_mae_points", "baseline_kendall")
    print(f"{'':40}{'rows':>6}" + "".join(f"{head:>18}" for head in heads))
    several = len({part["file"] for part in result["parts"]}) > 1
    for part in (*result["parts"], *([{**result, "file": "all files", "resolution_px": None}] if several else [])):
        label = part["file"] if part["resolution_px"] is None else f"  {part['resolution_px']} px"
        cells = [f"{part[key]:.4f} +- {part[key + '_sd']:.4f}" for key in keys]
        print(f"{label:40}{part['rows']:6}" + "".join(f"{cell:>18}" for cell in cells))
    for kind, title in (("neighbourhoods_left_out", "neighbourhoods of"), ("resolution_left_out", "pixels of")):
        for name, row in result[kind].items():
            print(
                f"left out: {title} {name}: {row['rows']} rows, bias (estimate minus measured) "
                f"{row['bias_points']:+.3f} points, MAE {row['mae_points']:.3f} points, Kendall {row['kendall']:.3f}"
            )
    for source in result["shipped_sources"]:
        print(
            f"shipped fit: {source['name']} ({source['rows']} rows) reads {source['set_bias_points']:+.3f} +- "
            f"{source['set_bias_standard_error_points']:.3f} points above the scale of the estimates"
        )
    if special := result["specialized"]:
        epochs = " or ".join(map(str, special["finetune_epochs"]))
        print(
            f"\n{special['rows']} published specialised networks, fine-tuned for {epochs} epochs, by the shipped "
            f"coefficients; {special['extrapolated']} extrapolated\n"
            f"  bias {special['bias_points']:+.3f} points; {special['bias_at_70_percent_points']:+.2f} at an estimate "
            f"of 70 %, {special['bias_at_76_percent_points']:+.2f} at 76 %\n"
            f"  MAE after the bias {special['mae_after_bias_points']:.3f} points (baseline "
            f"{special['baseline_mae_after_bias_points']:.3f}), after a line {special['mae_after_line_points']:.3f} "
            f"(baseline {special['baseline_mae_after_line_points']:.3f})\n"
            f"  Kendall {special['kendall']:.3f} (baseline {special['baseline_kendall']:.3f})"
        )


def main(
    measured: Annotated[list[Path], typer.Argument(help="Files of measured networks, fitted as one model.")],
    specialized: Annotated[Path | None, typer.Option(help="Published specialised networks (JSON).")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
    seed: Annotated[int, typer.Option(help="Of the fifths.")] = SEED,
) -> None:
    """Held-back error of the OFA-MobileNetV3 estimator, beside a baseline."""
    rows, names = read_measurements(measured), [path.name for path in measured]
    special = check_specialized(specialized, rows) if specialized else None
    several = len(np.unique(rows.values[:, 0])) >= 3
    result = {
        **evaluate(rows, names, seed),
        "neighbourhoods_left_out": leave_neighbourhoods_out(rows, names, seed),
        "resolution_left_out": leave_resolutions_out(rows, fit_by_cross_validation) if several else {},
        "specialized": special,
        "shipped_sources": OfaMobileNetV3Predictor().contents["fit"]["sources"],
    }
    if json_file:
        json_file.write_text(json.dumps(result, indent=1, default=float) + "\n", encoding="utf-8")
    _print(result)


if __name__ == "__main__":
    run(main)
