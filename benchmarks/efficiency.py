"""How well a look-up table, a fitted model and the analytical model tell latency, against each other and against devices.

    python -m benchmarks.efficiency [--table FOLDER [--published FILE.json]] [--nas-bench-201 CSV] [--fbnet CSV]
                                    [--hat CSV ...] [--accel-nasbench CSV] [--target eyeriss] [--json FILE]

With ``--table``: a table of parts of the networks of ``--space``. Published networks (their device's latency is printed with
them) are added up from it; a model is fitted to the table's own sums and judged on others; the analytical latency on
``--target`` is ranked against the table's.

The other files hold latencies of whole networks. For each device: the fitted model on held-back fifths, beside a line on the
logarithm of the MACs and the median; and, where the network is known, the analytical latency on ``--target``. That target is
another machine than most of the devices: what is compared is the order of networks, and the error left after one factor.

Errors are mean |ln(estimate / measured)|: 0.05 for 5 per cent.
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

from accel_models.accelerator import Accelerator
from accel_models.description import load_target
from accel_models.targets import asic
from benchmarks.command import run
from benchmarks.latency_data import (
    Described,
    Measured,
    read_accel_nasbench,
    read_fbnet,
    read_hat,
    read_nas_bench_201,
    read_published,
)
from cosearch.efficiency import regression
from cosearch.efficiency.fit import fit, line_estimates
from cosearch.efficiency.learned import LearnedEstimator
from cosearch.efficiency.lookup import LookupEstimator, network_latency
from cosearch.efficiency.table_files import read_table
from cosearch.efficiency.tables import PartTable
from cosearch.errors import CosearchError
from cosearch.space import Genomes, NetworkSpace
from cosearch.spaces import load_space

Floats = NDArray[np.float64]
Json = dict[str, Any]


def agreement(estimate: Floats, measured: Floats) -> Json:
    """Rank correlations, error, mean relative error, and the error left when estimates are multiplied by one best factor."""
    logs = np.log(estimate / measured)
    return {
        "spearman": float(spearmanr(estimate, measured).statistic),
        "kendall": float(kendalltau(estimate, measured).statistic),
        "error": float(np.abs(logs).mean()),
        "mape": float(np.abs(estimate / measured - 1).mean()),
        "factor": float(np.exp(-np.median(logs))),
        "error_after_factor": float(np.abs(logs - np.median(logs)).mean()),
    }


class Analytical:
    """Latency on a described machine, every layer at its best mapping; layers are mapped once."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self._cache: asic.Cache = {}

    def latency_s(self, space: NetworkSpace, genomes: Genomes) -> Floats:
        """Return the latencies (n,) of networks of a space."""
        networks = [space.network(genome) for genome in genomes]
        layers = dict.fromkeys(layer for network in networks for _, layer in network.layers)
        asic.find_mappings(layers, self.accelerator, self._cache, "latency", "exact", 1, 0)
        return np.array([asic.totals(network, self.accelerator, self._cache)[0] for network in networks])


def table_against_all(
    folder: Path, space: NetworkSpace, analytical: Analytical, rows: int, networks: int, seed: int
) -> Json:
    """A model fitted to a table's sums, and the analytical model, against the table on networks that were not fitted."""
    table = read_table(folder)
    estimator = LookupEstimator(space, table, str(folder))
    draw = np.random.default_rng(seed)
    train, test = space.sample_genomes(draw, rows), space.sample_genomes(draw, networks)
    truth = estimator.estimate(space.numbers(test))
    fitted = fit(space, train, estimator.estimate(space.numbers(train)).latency_s, seed=seed)
    learned = LearnedEstimator(space, fitted.model, "learned").estimate(space.numbers(test))
    return {
        "table": table.source, "space": space.name, "rows": rows, "networks": networks,
        "learned": agreement(learned.latency_s, truth.latency_s), "learned_held_back": fitted.model.errors.held_back,
        "macs_line_error": fitted.macs_error, "constant_error": fitted.model.errors.constant,
        "analytical": agreement(analytical.latency_s(space, test), truth.latency_s),
    }  # fmt: skip


def published_against_table(folder: Path, published: Path, device: str) -> list[Json]:
    """Each network that was published for a device: its latency then, and what the table adds up to."""
    table = read_table(folder)
    if not isinstance(table, PartTable):
        raise CosearchError(f"{folder}: published networks need a table of parts, not of knobs")
    found = []
    for network, latency_s in read_published(published, device):
        estimate_s, scaled = network_latency(table, network, nearest=True)
        found.append(
            {"network": network.name, "published_s": latency_s, "table_s": estimate_s, "scaled_parts": scaled,
             "off": estimate_s / latency_s - 1}
        )  # fmt: skip
    if not found:
        raise CosearchError(f"{published}: no network for the device {device!r}")
    return found


def measured_against_all(data: Measured, analytical: Analytical, rows: int, networks: int, seed: int) -> list[Json]:
    """Per device: the fitted model on held-back rows, its baselines, and the analytical latency."""
    draw = np.random.default_rng(seed)
    chosen = np.sort(draw.permutation(len(data.genomes))[:rows])
    few = np.sort(draw.permutation(chosen)[:networks])
    modelled = analytical.latency_s(data.space, data.genomes[few])
    found = []
    for device, latency_s in data.latency_s.items():
        fitted = fit(data.space, data.genomes[chosen], latency_s[chosen], seed=seed)
        found.append({
            "space": data.space.name, "device": device, "rows": len(chosen), "networks": len(few),
            "learned": agreement(fitted.held_back_s, latency_s[chosen]), "macs_line_error": fitted.macs_error,
            "constant_error": fitted.model.errors.constant, "analytical": agreement(modelled, latency_s[few]),
        })  # fmt: skip
    return found


def described(name: str, data: Described, seed: int, macs: bool) -> list[Json]:
    """Per quantity: a fit to the file's own numbers on held-back rows, and its baselines; the last column may be MACs."""
    found = []
    for quantity, measured in data.measured.items():
        known = np.isfinite(measured) & (measured > 0)
        values, target = data.values[known], measured[known]
        features = values[:, :-1] if macs else values
        errors, estimates = regression.errors_of(features, target, seed=seed)
        line = line_estimates(np.log(values[:, -1]), target, np.arange(len(target)), seed) if macs else None
        found.append({
            "space": name, "device": quantity, "rows": len(target), "learned": agreement(estimates, target),
            "macs_line_error": None if line is None else regression.log_error(line, target),
            "constant_error": errors.constant, "analytical": None,
        })  # fmt: skip
    return found


def _print_table_part(found: Json, target: str) -> None:
    learned, analytical = found["learned"], found["analytical"]
    print(
        f"{found['table']}, {found['space']}: {found['networks']} random networks\n"
        f"  learned (from {found['rows']} sums of the table): error {learned['error']:.4f}, Spearman "
        f"{learned['spearman']:.4f}, Kendall {learned['kendall']:.4f}; line on log MACs {found['macs_line_error']:.4f}, "
        f"median {found['constant_error']:.4f}\n"
        f"  analytical ({target}): Spearman {analytical['spearman']:.4f}, Kendall {analytical['kendall']:.4f}, error "
        f"{analytical['error_after_factor']:.4f} after a factor of {analytical['factor']:.3g}\n"
    )


def _print_published(rows: Sequence[Json]) -> None:
    print(f"{'published network':42}{'published ms':>14}{'table ms':>10}{'off':>8}{'scaled parts':>14}")
    for row in rows:
        print(
            f"{row['network']:42}{row['published_s'] * 1e3:14.1f}{row['table_s'] * 1e3:10.2f}{row['off']:+8.1%}"
            f"{row['scaled_parts']:14}"
        )
    print()


def _print_measured(rows: Sequence[Json], target: str) -> None:
    print(f"{'':48}{'learned, held back':^30}{'line on':>10}{'':>9}{'analytical: ' + target:^30}")
    heads = ("error", "Spearman", "Kendall", "log MACs", "median", "Spearman", "Kendall", "error*")
    print(f"{'networks':24}{'measured':18}{'rows':>6}" + "".join(f"{head:>10}" for head in heads))
    for row in rows:
        learned, analytical = row["learned"], row["analytical"] or {}
        cells = (
            learned["error"], learned["spearman"], learned["kendall"], row["macs_line_error"], row["constant_error"],
            *(analytical.get(key) for key in ("spearman", "kendall", "error_after_factor")),
        )  # fmt: skip
        text = "".join(f"{'-' if cell is None else f'{cell:.4f}':>10}" for cell in cells)
        print(f"{row['space'][:23]:24}{row['device']:18}{row['rows']:6}{text}")
    print("* after one factor for all networks of a row")


def main(
    table: Annotated[Path | None, typer.Option(help="Measured times of parts: a file or folder.")] = None,
    space: Annotated[str, typer.Option(help="Whose networks the table is for.")] = "ofa-mobilenet-v3-w1.2",
    published: Annotated[Path | None, typer.Option(help="Published networks with their latency (JSON).")] = None,
    device: Annotated[str, typer.Option(help="The device of those that the table was measured on.")] = "note10",
    nas_bench_201: Annotated[Path | None, typer.Option(help="Cells with DEVICE_latency_ms.")] = None,
    fbnet: Annotated[Path | None, typer.Option(help="FBNet, CIFAR-100, with DEVICE_latency_ms.")] = None,
    hat: Annotated[list[Path] | None, typer.Option(help="Transformers; may be given several times.")] = None,
    accel_nasbench: Annotated[Path | None, typer.Option(help="Accel-NASBench.")] = None,
    target: Annotated[str, typer.Option(help="Target of the analytical model.")] = "eyeriss",
    rows: Annotated[int, typer.Option(min=40, help="Most networks that models are fitted to.")] = 2000,
    networks: Annotated[int, typer.Option(min=3, help="Networks for the analytical model.")] = 100,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the figures.")] = None,
) -> None:
    """Agreement of look-up tables, fitted models and the analytical model with each other and with devices."""
    analytical = Analytical(load_target(target))
    result: Json = {"target": target, "seed": seed, "table": None, "published": [], "measured": []}
    if table:
        result["table"] = table_against_all(table, load_space(space), analytical, rows, networks, seed)
    if table and published:
        result["published"] = published_against_table(table, published, device)
    for path, read in ((nas_bench_201, read_nas_bench_201), (fbnet, read_fbnet)):
        if path:
            result["measured"] += measured_against_all(read(path), analytical, rows, networks, seed)
    for path in hat or ():
        result["measured"] += described(path.stem.removesuffix("_all"), read_hat(path), seed, macs=False)
    if accel_nasbench:
        result["measured"] += described(accel_nasbench.stem, read_accel_nasbench(accel_nasbench), seed, macs=True)
    if not (result["table"] or result["measured"]):
        raise CosearchError("name a table or measured networks; see --help")
    if json_file:
        json_file.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if result["table"]:
        _print_table_part(result["table"], target)
    if result["published"]:
        _print_published(result["published"])
    if result["measured"]:
        _print_measured(result["measured"], target)


if __name__ == "__main__":
    run(main)
