"""The comparison with published scores: the encoding of cells, what is compared with what, and the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from scipy.stats import spearmanr
from typer.testing import CliRunner

pytest.importorskip("torch", reason="the extra torch is not installed")

from benchmarks import zero_cost
from benchmarks.zero_cost import compare, read_published, score_cells
from cosearch.errors import CosearchError
from cosearch.spaces.nas_bench_201 import NasBench201

SPACE = NasBench201()
PARAMS = {"nor_conv_1x1": 0.028, "nor_conv_3x3": 0.24304}
"""Millions of parameters of 15 convolutions: 5 cells at 16, 32 and 64 channels, k k c^2 weights and 2 c of the norm."""


def run(*arguments: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(zero_cost.main)
    return CliRunner().invoke(app, list(arguments))


def published_file(path: Path, keys: dict[str, dict[str, float]]) -> Path:
    cells = {
        key: {"val_accuracy": 50.0, **{name: {"score": value, "time": 1.0} for name, value in scores.items()}}
        for key, scores in keys.items()
    }
    path.write_text(json.dumps({"cifar10": cells}))
    return path


def test_a_published_cell_in_our_order(tmp_path) -> None:
    """NASLib: edges 12, 13, 14, 23, 24, 34; 0 identity, 1 zero, 2 3x3, 3 1x1, 4 pooling."""
    file = published_file(tmp_path / "zc.json", {"(0, 1, 2, 3, 4, 2)": {"nwot": 2.5}, "(1, 1, 1, 1, 1, 1)": {}})
    genomes, scores = read_published(file, "cifar10")
    assert (
        SPACE.format(genomes[0])
        == "|skip_connect~0|+|none~0|nor_conv_1x1~1|+|nor_conv_3x3~0|avg_pool_3x3~1|nor_conv_3x3~2|"
    )
    assert SPACE.format(genomes[1]) == "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
    np.testing.assert_equal(scores["nwot"], [2.5, np.nan])


def test_the_order_agrees_with_the_published_parameters_and_accuracies(shared_data) -> None:
    """Their parameters count all edges, so the operations can be checked exactly; the edges by the accuracies."""
    genomes, scores = read_published(shared_data / "naslib_zero_cost" / "zc_nasbench201.json", "cifar10")
    assert len(genomes) == 725
    counted = [0.073306 + sum(PARAMS.get(name, 0) for name in SPACE.values(genome).values()) for genome in genomes]
    np.testing.assert_allclose(scores["params"], counted, atol=1e-9)
    whole = json.loads((shared_data / "naslib_zero_cost" / "zc_nasbench201.json").read_text())["cifar10"]
    with (shared_data / "nasbench201" / "nasbench201.csv").open() as stream:
        accuracy = {row["arch"]: float(row["cifar10_test"]) for row in csv.DictReader(stream)}
    theirs = [cell["val_accuracy"] for cell in whole.values()]
    assert spearmanr(theirs, [accuracy[SPACE.format(genome)] for genome in genomes]).statistic > 0.97


def test_synflow_has_the_published_value_cell_by_cell(shared_data) -> None:
    """The one proxy that sees neither images nor labels: only the draw of the weights is another one."""
    genomes, scores = read_published(shared_data / "naslib_zero_cost" / "zc_nasbench201.json", "cifar10")
    ours, _ = score_cells(SPACE, genomes[:40], "synflow", 0, "natural")
    connected = [SPACE.network(genome).macs > 10e6 for genome in genomes[:40]]
    assert sum(connected) > 30
    off = np.abs(ours - scores["synflow"][:40])[connected]
    assert off.max() < 0.5, "natural logarithms between 30 and 114"
    assert off.mean() < 0.1


def test_what_is_compared() -> None:
    rng = np.random.default_rng(0)
    accuracy = rng.normal(size=300)
    scores, published = accuracy + rng.normal(size=300), accuracy + 2 * rng.normal(size=300)
    published[:10] = np.nan
    row = compare("naswot", scores, accuracy, 0.1, published, None)
    assert row.spearman == pytest.approx(spearmanr(scores, accuracy).statistic)
    assert row.interval[0] < row.spearman < row.interval[1]
    assert row.published_same_cells == pytest.approx(spearmanr(published[10:], accuracy[10:]).statistic)
    ours = spearmanr(scores[10:], accuracy[10:]).statistic
    assert row.difference == pytest.approx(ours - row.published_same_cells)
    assert 0 < row.difference_interval[0] < row.difference < row.difference_interval[1]
    assert row.agreement == pytest.approx(spearmanr(scores[10:], published[10:]).statistic)
    alone = compare("naswot", scores, accuracy, 0.1, None, 0.786)
    assert (alone.difference, alone.agreement, alone.published_full) == (None, None, 0.786)
    assert alone.interval == row.interval


def test_the_command(tmp_path) -> None:
    table, cells = tmp_path / "table.csv", [f"({a}, {b}, 2, 3, 4, 0)" for a in range(5) for b in range(2)]
    file = published_file(tmp_path / "zc.json", {key: {"params": float(n % 7)} for n, key in enumerate(cells)})
    genomes, _ = read_published(file, "cifar10")
    lines = [f"{SPACE.format(genome)},{60 + n}" for n, genome in enumerate(genomes)]
    table.write_text("\n".join(["arch,cifar10_test", *lines]) + "\n")
    done = run(
        str(table),
        "--published",
        str(file),
        "--cells",
        "8",
        "--proxies",
        "params,synflow",
        "--json",
        str(tmp_path / "out.json"),
    )
    assert done.exit_code == 0, done.output
    assert done.output.startswith(
        "NASBench-201, cifar10, 8 of the published cells, seed 0, weights and natural random images of draw 0"
    )
    result = json.loads((tmp_path / "out.json").read_text())
    assert [row["proxy"] for row in result["rows"]] == ["params", "synflow"]
    assert result["rows"][0]["agreement"] is not None
    assert result["rows"][1]["published_full"] == 0.737
    space_params = [SPACE.network(SPACE.parse(arch)).params for arch in result["arch"]]
    assert result["scores"]["params"] == space_params
    assert isinstance(run(str(table), "--proxies", "nothing").exception, CosearchError)
    assert isinstance(run(str(table), "--published", str(table)).exception, CosearchError)
