"""How well scores without training rank the cells of NAS-Bench-201, beside what is published of the same scores.

    python -m benchmarks.zero_cost NASBENCH201.csv [--published ZC_NASBENCH201.json] [--cells 200] [--json FILE]

The file of accuracies is that of ``tabular:`` (`cosearch.accuracy.tabular`). Each cell is built in torch with fresh weights and
scored from 32 random images, all of one draw; printed is Spearman's rank correlation of the scores with the accuracies, with
the middle 95 % of 2,000 bootstrap samples of the cells. That interval holds the luck of the cells; how much the draw of weights
and images matters, another ``--draw`` tells: to the Jacobian covariance some 0.04.

``--published`` adds scores that others computed, cell by cell (NAS-Bench-Suite-Zero, in NASLib's encoding). Then the cells are
drawn from that file, so that both correlations are over the same cells and the luck of the draw cancels: printed are the
published scores' correlation on them, the difference with its own bootstrap interval, and the rank correlation of our scores
with the published ones. Their size counts every edge of a cell, ours those that its output depends on, and their images are
those of CIFAR-10.

References
----------
Krishnakumar et al., NAS-Bench-Suite-Zero: Accelerating Research on Zero Cost Proxies, NeurIPS 2022.
Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021: table 2 is over all 15,625 cells.
"""

from __future__ import annotations

import ast
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import rankdata

from accel_models.errors import unknown_name
from benchmarks.command import run
from cosearch.accuracy.tabular import make
from cosearch.errors import CosearchError
from cosearch.space import Genomes
from cosearch.spaces.nas_bench_201 import NasBench201
from cosearch.supernet.device import threads
from cosearch.zero_cost import PROXIES, check_proxy, score
from cosearch.zero_cost.fresh import random_images, random_labels

Floats = NDArray[np.float64]

FULL = {
    "synflow": (0.737, 0.763, 0.751),
    "jacob-cov": (0.731, 0.704, 0.701),
    "grad-norm": (0.594, 0.637, 0.578),
    "snip": (0.596, 0.637, 0.578),
    "fisher": (0.36, 0.385, 0.327),
}
"""Abdelfattah et al., table 2: Spearman over all 15,625 cells on CIFAR-10, CIFAR-100 and ImageNet16-120."""

DATA_SETS = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16_120": "ImageNet16-120"}
"""Names here and in the published file."""

_PUBLISHED = {"jacob-cov": "jacov", "naswot": "nwot", "grad-norm": "grad_norm", "macs": "flops"}
_GENE_OF_NASLIB = (1, 0, 3, 2, 4)
"""NASLib numbers the operations identity, zero, 3x3, 1x1, pooling; here they are none, skip, 1x1, 3x3, pooling."""
_EDGE_OF_NASLIB = (0, 1, 3, 2, 4, 5)
"""NASLib orders the edges by the node that is read: 12, 13, 14, 23, 24, 34; here by the node that is made."""
_BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Row:
    """What a proxy does on some cells; correlations are Spearman's, intervals the middle 95 % of bootstrap samples."""

    proxy: str
    cells: int
    seconds_per_cell: float
    spearman: float
    interval: tuple[float, float]
    published_full: float | None = None
    published_same_cells: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    agreement: float | None = None


def read_published(path: Path, data_set: str) -> tuple[Genomes, dict[str, Floats]]:
    """Return the cells (n, 6) of a published file, and their scores (n,) by the published name, NaN where one is missing."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))[DATA_SETS[data_set]]
        codes = np.array([ast.literal_eval(key) for key in cells], dtype=np.int64)
        genomes = np.array(_GENE_OF_NASLIB)[codes[:, _EDGE_OF_NASLIB]]
        names = sorted({name for cell in cells.values() for name, value in cell.items() if isinstance(value, dict)})
        scores = {
            name: np.array([cell.get(name, {}).get("score", np.nan) for cell in cells.values()], dtype=np.float64)
            for name in names
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError, SyntaxError, AttributeError) as error:
        raise CosearchError(f"{path}: not a file of published scores of {DATA_SETS[data_set]}: {error!r}") from None
    return genomes, scores


def score_cells(space: NasBench201, genomes: Genomes, proxy: str, seed: int, images: str) -> tuple[Floats, float]:
    """Return the scores (n,) of cells (n, 6), and the seconds that one takes on one thread."""
    scores, start = np.empty(len(genomes)), time.perf_counter()
    for place, genome in enumerate(genomes):
        network = space.network(genome)
        with threads(1):
            batch = random_images(network, 32, seed, images)  # type: ignore[arg-type]
            labels = random_labels(network, 32, seed)
        scores[place] = score(proxy, network, seed, batch, labels)
    return scores, (time.perf_counter() - start) / len(genomes)


def compare(
    proxy: str, scores: Floats, accuracy: Floats, seconds: float, published: Floats | None, full: float | None
) -> Row:
    """Return what a proxy does on some cells; published scores that are NaN leave the comparison, not the correlation."""
    rng = np.random.default_rng(0)
    own = _spearman(scores, accuracy)
    interval = _interval(np.array([_spearman(scores[i], accuracy[i]) for i in _samples(rng, len(scores))]))
    if published is None:
        return Row(proxy, len(scores), seconds, own, interval, full)
    known = np.isfinite(published)
    ours, theirs, truth = scores[known], published[known], accuracy[known]
    gaps = np.array([
        _spearman(ours[i], truth[i]) - _spearman(theirs[i], truth[i]) for i in _samples(rng, len(ours))
    ])  # fmt: skip
    same = _spearman(theirs, truth)
    return Row(
        proxy, len(scores), seconds, own, interval, full, same, _spearman(ours, truth) - same, _interval(gaps),
        _spearman(ours, theirs),
    )  # fmt: skip


def _samples(rng: np.random.Generator, cells: int) -> NDArray[np.int64]:
    return rng.integers(cells, size=(_BOOTSTRAPS, cells))


def _spearman(left: Floats, right: Floats) -> float:
    """Return the rank correlation, NaN where all values of one are the same."""
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])


def _interval(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]  # a sample of few cells may hold one cell alone
    low, high = np.percentile(known, (2.5, 97.5)) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def _print(result: dict[str, Any]) -> None:
    print(
        f"NASBench-201, {result['data_set']}, {result['cells']} {result['drawn_from']}, seed {result['seed']}, "
        f"weights and {result['images']} random images of draw {result['draw']}"
    )
    print("Spearman's rank correlation with the accuracy [95 % bootstrap interval]")
    print(
        f"{'proxy':11}{'s per cell':>11}{'ours':>22}{'published, all':>16}{'same cells':>12}{'difference':>24}{'agreement':>11}"
    )
    for row in result["rows"]:
        low, high = row["interval"]
        line = f"{row['proxy']:11}{row['seconds_per_cell']:11.3f}{row['spearman']:8.3f} [{low:.3f}, {high:.3f}]"
        full = row["published_full"]
        line += f"{'' if full is None else f'{full:.3f}':>16}"
        if row["agreement"] is not None:
            low, high = row["difference_interval"]
            line += f"{row['published_same_cells']:12.3f}{row['difference']:+8.3f} [{low:+.3f}, {high:+.3f}]"
            line += f"{row['agreement']:11.3f}"
        print(line.rstrip())


def main(
    accuracies: Annotated[Path, typer.Argument(help="Accuracies of the cells (CSV), as tabular: reads them.")],
    published: Annotated[Path | None, typer.Option(help="Published scores cell by cell (JSON).")] = None,
    cells: Annotated[int, typer.Option(help="How many are drawn; 0 for all.", min=0)] = 200,
    proxies: Annotated[str, typer.Option(help="Names with commas between.")] = ",".join(PROXIES),
    data_set: Annotated[str, typer.Option(help="cifar10, cifar100 or imagenet16_120.")] = "cifar10",
    images: Annotated[str, typer.Option(help="Random images: natural or white.")] = "natural",
    seed: Annotated[int, typer.Option(help="Of the cells that are drawn.", min=0)] = 0,
    draw: Annotated[int, typer.Option(help="Seed of weights, images and labels; the estimator's is 0.", min=0)] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Rank correlation of zero-cost scores with the accuracies of NAS-Bench-201."""
    names = [name.strip() for name in proxies.split(",")]
    for name in names:
        check_proxy(name)
    if images not in ("natural", "white"):
        raise CosearchError(unknown_name("kind of random images", images, ("natural", "white")))
    space = NasBench201(data_set)
    table = make(space, str(accuracies))
    rng = np.random.default_rng(seed)
    theirs: dict[str, Floats] = {}
    if published is None:
        every = np.indices([len(knob.choices) for knob in space.knobs]).reshape(len(space.knobs), -1).T
    else:
        every, theirs = read_published(published, data_set)
    chosen = rng.permutation(len(every))[: cells or None]
    accuracy = table.estimate(space.numbers(every[chosen])).value
    result: dict[str, Any] = {
        "data_set": data_set, "cells": len(chosen), "seed": seed, "draw": draw, "images": images, "rows": [],
        "drawn_from": "random cells" if published is None else "of the published cells", "scores": {},
    }  # fmt: skip
    for name in names:
        scores, seconds = score_cells(space, every[chosen], name, draw, images)
        other = theirs.get(_PUBLISHED.get(name, name))
        full = FULL[name][list(DATA_SETS).index(data_set)] if name in FULL else None
        row = compare(name, scores, accuracy, seconds, None if other is None else other[chosen], full)
        result["rows"].append(asdict(row))
        result["scores"][name] = scores.tolist()
    result["arch"] = [space.format(genome) for genome in every[chosen]]
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    _print(result)


if __name__ == "__main__":
    run(main)
