"""The benchmark of known optima: it reads every field, evaluates what is given, and notices what is wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from accel_models.errors import DescriptionError
from benchmarks.known_optima import judge, main, read_optima
from tests.accel_models.brute_force import TooManyError, brute_force
from tests.accel_models.slow_cost import illegalities

# By hand: two words of each operand, one MAC; K outside C or inside costs the same here. See test below.
CASE: dict[str, Any] = {
    "id": "tiny",
    "dims": {"N": 1, "K": 2, "C": 2, "P": 1, "Q": 1, "R": 1, "S": 1},
    "coef": {"Wstride": 1, "Hstride": 1, "Wdilation": 1, "Hdilation": 1},
    "arch": {
        "template": "tiny",
        "levels": [
            {
                "name": "GLB", "entries": 64, "meshX": 1, "meshY": 1, "instances": 1, "word_bits": 16, "block_size": 1,
                "read_bw": None, "write_bw": None, "multiple_buffering": 1.0,
                "energy": {"read": 1, "write": 1, "update": 1}, "energy_per_hop": 0.0, "keep": [1, 1, 1],
            },
            {
                "name": "DRAM", "entries": None, "meshX": 1, "meshY": 1, "instances": 1, "word_bits": 16, "block_size": 1,
                "read_bw": None, "write_bw": None, "multiple_buffering": 1.0,
                "energy": {"read": 100, "write": 100, "update": 100}, "energy_per_hop": 0.0, "keep": [1, 1, 1],
            },
        ],
        "mac": {"meshX": 2, "meshY": 1, "instances": 2, "word_bits": 16, "energy": 1},
    },
    "constraints": {
        "spatial": {"X": ["K"], "Y": None}, "spatial_level": "GLB", "factors": "perfect", "bypass": "fixed by keep",
    },
    "objective": "energy",
    # DRAM: 4 weights, 2 inputs, 2 outputs. GLB: they are filled (6) and read: 4 weights, 2 inputs (one word for both
    # columns of the mesh), 4 updates of outputs, 2 of which read back. 4 MACs.
    "value": 800 + 6 + 4 + 2 + 4 + 2 + 4, "energy": 822.0, "cycles": 2,
    "mapping": [
        {"level": "GLB", "keep": [1, 1, 1], "X": [["K", 2]], "T": [["C", 2]]}, {"level": "DRAM", "keep": [1, 1, 1], "T": []},
    ],
    "anchor": True,
    "exhaustive": {"complete": True, "value": 822.0},
}  # fmt: skip


def write(path: Path, *cases: dict[str, Any]) -> Path:
    path.write_text(json.dumps({"cases": cases}))
    return path


def changed(**changes: Any) -> dict[str, Any]:
    case = copy.deepcopy(CASE)
    for key, value in changes.items():
        *way, last = key.split("__")
        holder = case
        for part in way:
            holder = holder[part]
        holder[last] = value
    return case


def run(*arguments: str) -> Any:
    app = typer.Typer(add_completion=False)
    app.command()(main)
    return CliRunner().invoke(app, list(arguments))


def test_a_case_is_read_as_it_is_meant(tmp_path: Path) -> None:
    (case,) = read_optima(write(tmp_path / "optima.json", CASE))
    accelerator = case.record.case.accelerator
    assert [level.name for level in accelerator.levels] == ["glb", "dram"]
    assert (accelerator.levels[0].fanout.x.size, accelerator.levels[0].fanout.x.dims) == (2, ("K",))
    assert len(accelerator.levels[0].fanout.y.dims) == 8
    assert accelerator.levels[1].component == "dram"
    assert case.record.difference() == ""
    assert case.optimum == 822
    truth = brute_force(case.record.case.layer, accelerator)
    assert truth.best("energy").energy_pj == 822


def test_no_anchor_means_the_exhaustive_value(tmp_path: Path) -> None:
    other = changed(
        anchor=False,
        value=900.0,
        exhaustive={
            "complete": True, "value": 822.0, "energy": 822.0, "cycles": 2, "mapping": CASE["mapping"],
            "mapping_dims": "N, P, Q merged into P",
        },
    )  # fmt: skip
    (case,) = read_optima(write(tmp_path / "optima.json", other))
    assert case.optimum == 822
    assert [record.difference() for record in case.others] == [""]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"constraints__factors": "imperfect"}, "case tiny: perfect factors"),
        ({"constraints__bypass": "free"}, "fixed bypass"),
        ({"exhaustive__complete": False}, "a complete search"),
        ({"constraints__spatial_level": "DRAM"}, "DRAM must fan out"),
        ({"coef": {"stride": 1}}, "coef 'stride' is not known"),
        ({"arch__mac__meshX": -1}, "case tiny: "),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DescriptionError, match=said):
        read_optima(write(tmp_path / "optima.json", changed(**changes)))


def test_no_file_of_optima(tmp_path: Path) -> None:
    path = tmp_path / "optima.json"
    path.write_text("[]")
    with pytest.raises(DescriptionError, match="no file of optima"):
        read_optima(path)
    case = changed()
    del case["objective"]
    with pytest.raises(DescriptionError, match="key 'objective' is missing"):
        read_optima(write(path, case))


def test_the_command_exits_1_on_a_miss(tmp_path: Path) -> None:
    """Also where it finds less than what is said to be the optimum, and where a given mapping costs something else."""
    figures = tmp_path / "figures.json"
    good = run(str(write(tmp_path / "good.json", CASE)), "--json", str(figures))
    assert good.exit_code == 0, good.output
    assert {key: json.loads(figures.read_text())[key] for key in ("cases", "equal")} == {"cases": 1, "equal": 1}
    for changes, said in (
        ({"value": 821.0}, "MISSED"),
        ({"value": 823.0}, "BELOW THE OPTIMUM"),
        ({"energy": 823.0}, "energy 822.00 pJ, reported 823.00"),
        ({"cycles": 3}, "cycles 2, reported 3"),
    ):
        result = run(str(write(tmp_path / "bad.json", changed(**changes))), "--json", str(figures))
        assert result.exit_code == 1
        assert said in result.output
    assert json.loads(figures.read_text())["given_mappings_differing"] == ["tiny"]


def test_every_given_mapping_is_legal_and_costs_what_is_said(shared_data: Path) -> None:
    cases = read_optima(shared_data / "known_optima" / "optima.json")
    for case in cases:
        for record in (case.record, *case.others):
            assert record.difference() == "", case.name
            assert illegalities(record.case.layer, record.case.accelerator, record.case.mapping) == [], case.name


def test_enumeration_agrees_with_the_given_optima(shared_data: Path) -> None:
    """Of the cases that are small enough: so the file's rules are understood, whatever the mapper does."""
    met = 0
    for case in read_optima(shared_data / "known_optima" / "optima.json"):
        try:
            truth = brute_force(case.record.case.layer, case.record.case.accelerator, most=1_500_000)
        except TooManyError:
            continue
        assert truth.best(case.objective).value(case.objective) == pytest.approx(case.optimum, rel=1e-12), case.name
        met += 1
    assert met >= 14


def test_every_given_optimum_is_found(shared_data: Path) -> None:
    for case in read_optima(shared_data / "known_optima" / "optima.json"):
        verdict = judge(case, "exact")
        assert verdict.equal, f"{case.name}: {verdict.ratio} of the optimum"
        assert verdict.found.optimal, case.name
