"""The benchmark of latency estimates: on made-up data whose answer is known."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.efficiency import agreement, main
from benchmarks.latency_data import read_accel_nasbench, read_fbnet, read_hat, read_nas_bench_201, read_published
from cosearch.errors import CosearchError
from cosearch.spaces import load_space


def run(tmp_path: Path, *words: object) -> tuple[dict[str, Any], str]:
    import typer

    app = typer.Typer()
    app.command()(main)
    file = tmp_path / "figures.json"
    found = CliRunner().invoke(app, [*map(str, words), "--json", str(file)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return json.loads(file.read_text()), found.stdout


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def cells(tmp_path: Path, count: int = 60) -> Path:
    """Cells whose latency is 1 ms and 1 ms more per 3x3 convolution."""
    space, rows = load_space("nas-bench-201"), []
    for genome in space.sample_genomes(np.random.default_rng(0), count):
        a, b, c, d, e, f = space.values(genome).values()
        arch = f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"
        rows.append({"arch": arch, "toy_latency_ms": 1 + [a, b, c, d, e, f].count("nor_conv_3x3")})
    return write(tmp_path / "cells.csv", rows)


def test_agreement_by_hand() -> None:
    found = agreement(np.array([2.0, 4.0, 8.0]), np.array([1.0, 2.0, 4.0]))
    assert found["spearman"] == pytest.approx(1) and found["kendall"] == pytest.approx(1)
    assert (found["error"], found["mape"]) == (pytest.approx(math.log(2)), pytest.approx(1.0))
    assert (found["factor"], found["error_after_factor"]) == (pytest.approx(0.5), pytest.approx(0, abs=1e-12))
    worse = agreement(np.array([2.0, 1.0, 4.0]), np.array([1.0, 2.0, 4.0]))
    assert worse["spearman"] == pytest.approx(0.5) and worse["kendall"] == pytest.approx(1 / 3)


def test_measured_cells_against_fit_and_analytical_model(tmp_path) -> None:
    path = cells(tmp_path)
    figures, text = run(tmp_path, "--nas-bench-201", path, "--rows", 50, "--networks", 5)
    (row,) = figures["measured"]
    assert (row["space"], row["device"], row["rows"], row["networks"]) == ("nas-bench-201", "toy", 50, 5)
    assert row["learned"]["error"] < 1e-3 < row["constant_error"]
    assert -1 <= row["analytical"]["spearman"] <= 1 and row["analytical"]["error_after_factor"] >= 0
    assert "toy" in text
    space = load_space("nas-bench-201")
    read = read_nas_bench_201(path)
    assert np.array_equal(read.genomes, space.sample_genomes(np.random.default_rng(0), 60))


def test_files_of_numbers(tmp_path) -> None:
    draw = np.random.default_rng(0)
    hat = [
        {"layers": int(n), "latency_mean_encoder": 2.0 * n, "latency_std_encoder": 0} for n in draw.integers(1, 7, 40)
    ]
    path = write(tmp_path / "hat.csv", hat)
    found = read_hat(path)
    assert found.values.shape == (40, 1)
    assert found.measured["encoder"] == pytest.approx(2e-3 * found.values[:, 0])
    accel = [
        {"b0_e": int(e), "b1_k": int(k), "macs_M": 10.0 * e * k, "latency_a": float(e * k), "throughput_b": 1 / (e * k)}
        for e, k in zip(draw.choice([1, 4, 6], 40), draw.choice([3, 5], 40), strict=True)
    ]
    other = write(tmp_path / "accel.csv", accel)
    described = read_accel_nasbench(other)
    assert described.values.shape == (40, 2 + 1 + 1)
    assert described.measured["latency_a"] * 1e3 == pytest.approx(described.measured["throughput_b"])
    figures, _ = run(tmp_path, "--hat", path, "--accel-nasbench", other)
    by_name = {(row["space"], row["device"]): row for row in figures["measured"]}
    assert by_name["hat", "encoder"]["learned"]["error"] < 1e-4
    assert by_name["accel", "latency_a"]["macs_line_error"] < 1e-6
    assert by_name["accel", "latency_a"]["learned"]["error"] < 1e-2


def test_a_table_a_fit_to_it_and_the_analytical_model(tmp_path) -> None:
    from cosearch.efficiency.space_parts import parts_of_space
    from cosearch.efficiency.table_files import part_cells

    rows = [{**part_cells(part), "latency_ms": part.work * 1e-6} for _, part in parts_of_space(load_space("digits"))]
    path = write(tmp_path / "parts.csv", rows)
    figures, text = run(tmp_path, "--table", path, "--space", "digits", "--rows", 100, "--networks", 10)
    assert figures["table"]["learned"]["error"] < 0.05 < figures["table"]["constant_error"]
    assert "digits" in text and figures["published"] == []


def test_published_networks_of_one_device(shared_data: Path) -> None:
    found = read_published(shared_data / "ofa_specialized" / "ofa_specialized_networks.json", "note10")
    assert sorted(round(latency_s * 1e3) for _, latency_s in found) == [8, 11, 16, 22, 30, 41, 50, 64]


@pytest.mark.parametrize("read", [read_nas_bench_201, read_fbnet, read_hat, read_accel_nasbench])
def test_files_that_are_none_are_refused(tmp_path, read) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2\n")
    with pytest.raises(CosearchError, match=r"a\.csv: no column"):
        read(path)
    with pytest.raises(CosearchError, match=r"absent\.csv: cannot be read"):
        read(tmp_path / "absent.csv")


def test_nothing_to_do_is_a_mistake(tmp_path) -> None:
    with pytest.raises(CosearchError, match="name a table or measured networks"):
        run(tmp_path)
