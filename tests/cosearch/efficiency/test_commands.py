"""`cosearch device-latency`: what to measure, a fit, a look."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cosearch.commands.efficiency import app
from cosearch.efficiency.table_files import PART_COLUMNS, read_table
from cosearch.errors import CosearchError
from cosearch.spaces import load_space


def run(*words: object) -> str:
    found = CliRunner().invoke(app, ["device-latency", *map(str, words)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


def run_json(*words: object) -> dict:
    return json.loads(run(*words, "--format", "json"))


def test_parts_written_timed_and_looked_up(tmp_path) -> None:
    path = tmp_path / "parts.csv"
    run("parts", "--space", "digits", "-o", path)
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows and set(PART_COLUMNS) <= set(rows[0]) and not any(row["latency_ms"] for row in rows)
    with pytest.raises(CosearchError, match="line 2: a time of '' ms"):
        read_table(path)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows({**row, "latency_ms": 0.5, "std_ms": 0.1} for row in rows)
    found = run_json("show", f"lookup:{path}", "--space", "digits", "-n", 2)
    assert found["missing"] == [] and len(found["networks"]) == 2
    assert all(row["latency_s"] > 0 and not row["extrapolated"] for row in found["networks"])
    assert "0 parts of digits are missing" in run("show", f"lookup:{path}", "--space", "digits")
    gaps = run_json("show", f"lookup:{path}", "--space", "nas-bench-201")
    assert gaps["missing"] and gaps["networks"] == []
    network = run_json("show", f"lookup-nearest:{path}", "--network", "mobilenet-v2")
    assert network["scaled"] > 0 and network["latency_s"] == pytest.approx(
        sum(p["latency_s"] for p in network["parts"])
    )
    assert "scaled from the nearest" in run("show", f"lookup-nearest:{path}", "--network", "mobilenet-v2")


def test_a_fit_and_a_look_at_it(tmp_path) -> None:
    space, path, model = load_space("nas-bench-201"), tmp_path / "m.csv", tmp_path / "m.json"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*(knob.name for knob in space.knobs), "latency_s"])
        for genome in space.sample_genomes(np.random.default_rng(0), 60):
            writer.writerow([*space.values(genome).values(), 1 + genome.sum()])
    figures = run_json("fit", path, "--space", "nas-bench-201", "-o", model)
    assert figures["rows"] == 60 and figures["held_back_error"] < 1e-3 < figures["constant_error"]
    assert "60 networks" in run("fit", path, "--space", "nas-bench-201", "-o", model, "--device", "a phone")
    found = run_json("show", f"learned:{model}", "--space", "nas-bench-201", "-n", 1, "--seed", 3)
    genome = space.sample_genomes(np.random.default_rng(3), 1)[0]
    assert found["device"] == "a phone"
    assert found["networks"][0]["latency_s"] == pytest.approx(1 + genome.sum(), rel=1e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("lookup:x.csv",), "either --space or --network"),
        (("learned:x.json", "--network", "resnet50"), "needs a table of parts"),
        (("lookup:absent.csv", "--space", "digits"), "absent.csv: cannot be read"),
    ],
)
def test_mistakes_are_told(words, said) -> None:
    with pytest.raises(CosearchError, match=said):
        run("show", *words)
