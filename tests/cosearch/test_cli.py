"""Every command does what its help says: exit code 0, what is promised on standard output, nothing on standard error."""

from __future__ import annotations

import csv
import io
import json
import shlex
from pathlib import Path

import pytest
import typer.main

from accel_models.accelerator import Accelerator
from accel_models.description import load_target, target_names
from accel_models.networks import NETWORKS
from cosearch.archive import Archive
from cosearch.cli import app
from cosearch.objective import OBJECTIVES
from cosearch.spaces import load_space, space_names

from .commands import Result, Run, run_apart, runner
from .conftest import TARGET

STRATEGIES = {"random", "grid", "nsga2", "nsga3", "sms-emoa", "regularized-evolution", "cma-es"}


@pytest.fixture
def run(monkeypatch, capsys) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def first(folder) -> Result:
    """The search that the other commands look at, in a process of its own with two workers, as a user starts it."""
    return run_apart("search", "--space", "ofa-mobilenet-v3", "--target", "eyeriss", "--limit", "area_mm2<=9", "--budget", 60,
                     "--population", 20, "--effort", 5, "--workers", 2, "--out", folder / "first")  # fmt: skip


@pytest.fixture
def record(first, folder) -> Path:
    assert first.code == 0, first.err
    return folder / "first"


def fine(result: Result) -> Result:
    assert (result.code, result.err) == (0, "")
    assert result.out.endswith("\n")
    return result


# Help


def commands(group: typer.main.TyperGroup, way: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [way]
    for name, command in group.commands.items():
        found += commands(command, (*way, name)) if hasattr(command, "commands") else [(*way, name)]
    return found


COMMANDS = commands(typer.main.get_command(app))


def test_every_command_of_the_interface_is_there() -> None:
    assert {" ".join(way) for way in COMMANDS} >= {
        "", "search", "resume", "front", "show", "plot", "evaluate", "map", "targets", "targets list", "targets show",
        "targets check", "targets schema", "spaces", "spaces list", "spaces show", "spaces sample", "list",
    }  # fmt: skip


@pytest.mark.parametrize("way", COMMANDS, ids=" ".join)
def test_help_has_an_example_that_the_command_understands(run, way) -> None:
    text = fine(run(*way, "--help")).out
    assert text == fine(run(*way, "-h")).out
    assert "Usage: cosearch" in text
    example = " ".join(text[text.index("Example: cosearch") :].split())
    words = shlex.split(example.removeprefix("Example: cosearch").split(" > ")[0])
    if way:
        assert words[: len(way)] == list(way)
    assert "Example:" in fine(run(*words, "--help")).out, "an option of the example does not exist"


def test_the_help_of_a_search_names_every_objective(run) -> None:
    words = " ".join(run("search", "--help").out.replace("│", " ").split())
    assert f"Comma-separated, of {', '.join(OBJECTIVES)}." in words


# Search, and what looks at its record


def test_a_search_says_what_it_found_and_what_to_do_next(first, record, folder) -> None:
    lines = fine(first).out.splitlines()
    front = len(Archive(record / "archive.sqlite").pairs("feasible = 1"))
    assert lines[0].startswith("60 pairs evaluated, ") and lines[0].endswith(f" on the front, recorded in {record}")
    assert 0 < int(lines[0].split(", ")[1].split()[0]) <= front
    assert [line.split(":")[0].strip() for line in lines[1:4]] == [
        "estimated ImageNet top-1",
        "latency",
        "energy per inference",
    ]
    assert [line.split()[-1] for line in lines[1:4]] == ["%", "ms", "mJ"]
    assert lines[4].startswith(f"next: cosearch front {record}   cosearch plot {record}   cosearch show {record} ")


def test_the_same_search_in_one_process_writes_the_same_bytes(run, record, folder) -> None:
    fine(run("search", "--space", "ofa-mobilenet-v3", "--target", "eyeriss", "--limit", "area_mm2<=9", "--budget", 60,
             "--population", 20, "--effort", 5, "--workers", 1, "--out", folder / "again"))  # fmt: skip
    assert (folder / "again" / "archive.sqlite").read_bytes() == (record / "archive.sqlite").read_bytes()


def test_front_as_json(run, record) -> None:
    value = fine(run("front", record, "--format", "json")).json
    assert value["objectives"] == {"top1": "top1_percent", "latency": "latency_s", "energy": "energy_j"}
    assert value["rows"]
    for row in value["rows"]:
        assert {"id", "top1", "latency", "energy", "network", "hardware", "area_mm2", "extrapolated"} <= set(row)
        assert row["network"]["resolution"] >= 128 and row["hardware"]["word_bits"] in (8, 16)
        assert row["area_mm2"] <= 9 and row["latency"] == row["latency_s"]
    tops = [row["top1"] for row in value["rows"]]
    assert tops == sorted(tops, reverse=True), "best first objective first"


def test_front_as_csv_and_table_hold_the_same_rows(run, record) -> None:
    ids = [row["id"] for row in run("front", record, "--format", "json").json["rows"]]
    rows = list(csv.DictReader(io.StringIO(fine(run("front", record, "--format", "csv")).out)))
    assert [int(row["id"]) for row in rows] == ids
    assert {"top1_percent", "latency_ms", "energy_mj", "resolution", "hardware.dataflow_x"} <= set(rows[0])
    assert not any("(" in value for row in rows for value in row.values()), "a Python tuple in a table"
    text = fine(run("front", record)).out
    assert text.splitlines()[0] == f"{len(ids)} non-dominated pairs; `cosearch show {record} ID` shows one"
    printed = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert [int(cell) for cell in printed] == ids
    assert "latency_ms" in text and "energy_mj" in text


def test_show_as_json(run, record) -> None:
    row = run("front", record, "--format", "json").json["rows"][0]
    shown = fine(run("show", record, row["id"], "--format", "json")).json
    assert all(shown[key] == value for key, value in row.items()), "show and front disagree"
    assert shown["target"] == "eyeriss"
    assert sum(layer["macs"] for layer in shown["layers"]) == shown["macs"]


def test_show_prints_network_hardware_layers_and_a_mapping(run, record) -> None:
    key = run("front", record, "--format", "json").json["rows"][0]["id"]
    text = fine(run("show", record, key)).out
    for part in (f"pair {key} (generation ", "estimated ImageNet top-1 ", "network: resolution=", "hardware: array_x=",
                 "global_buffer", "stage1.block1.expand", "the layer with the most energy", "multiply-accumulate"):  # fmt: skip
        assert part in text
    assert "None" not in text and "nan" not in text


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plot(run, record, tmp_path, suffix) -> None:
    file = tmp_path / "new" / f"front.{suffix}"
    assert fine(run("plot", record, "-o", file)).out == f"wrote {file}\n"
    assert file.stat().st_size > 5000
    assert fine(run("plot", record, record, "--output", file)).out == f"wrote {file}\n"


def test_plot_goes_beside_the_record_by_default(run, record) -> None:
    assert fine(run("plot", record)).out == f"wrote {record / 'front.png'}\n"
    assert (record / "front.png").is_file()


def test_a_search_of_hardware_alone_is_resumed(run, tmp_path) -> None:
    (tmp_path / "tiny.yaml").write_text(TARGET)
    out = tmp_path / "run"
    asked = (
        "--target",
        tmp_path / "tiny.yaml",
        "--fix",
        "network",
        "--network",
        "mobilenet-v2",
        "--objectives",
        "latency, energy,area",
    )
    fine(run("search", *asked, "--budget", 20, "--population", 10, "--effort", 5, "--workers", 1, "--out", out))
    (tmp_path / "tiny.yaml").unlink()  # a record needs nothing but itself
    assert fine(run("resume", out, "--workers", 1)).out.startswith("20 pairs evaluated, ")
    assert fine(run("resume", out, "--budget", 35, "--workers", 1)).out.startswith("35 pairs evaluated, ")
    rows = fine(run("front", out, "--format", "json")).json["rows"]
    assert rows
    assert all(row["network"] == {} and row["top1_percent"] is None and len(row["hardware"]) == 3 for row in rows)
    fine(run("show", out, rows[0]["id"]))
    fine(run("plot", out, "-o", tmp_path / "front.svg"))


def test_a_search_that_has_seen_everything_says_so(run, tmp_path) -> None:
    text = TARGET.replace("maximum: 16, step: 2", "maximum: 4, step: 2").replace(
        "[1, 1024, 4096, 16384]", "[1024, 4096]"
    )
    (tmp_path / "tiny.yaml").write_text(text)  # 2 x 2 x 2 machines
    asked = (
        "--target",
        tmp_path / "tiny.yaml",
        "--fix",
        "network",
        "--network",
        "squeezenet",
        "--objectives",
        "energy",
    )
    out = tmp_path / "run"
    lines = fine(
        run("search", *asked, "--strategy", "random", "--budget", 99, "--effort", 2, "--workers", 1, "--out", out)
    ).out.splitlines()
    assert lines[0].startswith("8 pairs evaluated, 1 on the front")
    assert lines[1] == "  fewer than the budget of 99: nothing new was proposed any more"


def test_a_search_of_networks_on_hardware_as_it_is(run, tmp_path) -> None:
    asked = ("--space", "ofa-mobilenet-v3", "--target", "nvdla_256", "--fix", "hardware", "--strategy", "random")
    fine(
        run(
            "search", *asked, "--budget", 6, "--population", 3, "--effort", 2, "--workers", 1, "--out", tmp_path / "run"
        )
    )
    rows = fine(run("front", tmp_path / "run", "--format", "json")).json["rows"]
    assert rows
    assert all(row["hardware"] == {} and row["network"]["resolution"] for row in rows)
    assert {row["area_mm2"] for row in rows} == {load_target("nvdla_256").area_mm2}


def test_a_search_of_machines_in_naas_space(run, tmp_path) -> None:
    """Also on a target that describes no ranges; `show` leaves out what does not count."""
    asked = ("--fix", "network", "--network", "squeezenet", "--target", "simba_like", "--hardware", "naas")
    out = tmp_path / "run"
    fine(
        run("search", *asked, "--objectives", "latency,energy", "--strategy", "random", "--mapper", "random", "--effort", 2,
            "--budget", 6, "--population", 3, "--workers", 1, "--out", out)
    )  # fmt: skip
    rows = fine(run("front", out, "--format", "json")).json["rows"]
    assert rows
    for row in rows:
        axes = row["hardware"]["array_dims"]
        assert len([name for name in row["hardware"] if name.startswith("size_")]) == axes
        assert sum(row["hardware"][f"importance_{dim}"] > 0 for dim in "KCPQRS") == axes


# One network, one layer


def test_evaluate(run) -> None:
    asked = ("evaluate", "--network", "squeezenet", "--target", "eyeriss", "--mapper", "random", "--effort", 5)
    value = fine(run(*asked, "--format", "json")).json
    assert {"latency_s", "energy_j", "area_mm2", "edp_js", "macs", "params", "layers"} <= set(value)
    assert value["edp_js"] == value["latency_s"] * value["energy_j"]
    assert {"name", "layer", "latency_cycles", "energy_pj"} <= set(value["layers"][0])
    assert sum(layer["macs"] for layer in value["layers"]) == value["macs"]
    rows = list(csv.DictReader(io.StringIO(fine(run(*asked, "--format", "csv")).out)))
    assert sum(float(row["energy_pj"]) for row in rows) == pytest.approx(value["energy_j"] * 1e12)
    text = fine(run(*asked)).out
    assert text.startswith(f"squeezenet on eyeriss: {value['latency_s'] * 1e3:.3f} ms, ")
    assert "fire2.squeeze" in text
    smaller = fine(run(*asked, "--resolution", 64, "--format", "json")).json
    assert smaller["macs"] < value["macs"] / 8
    assert fine(run(*asked, "--seed", 1, "--format", "json")).json["energy_j"] != value["energy_j"]


def test_evaluate_reads_a_published_configuration(run, tmp_path) -> None:
    config = {
        "net": "MobileNetV3", "image_size": 32, "first_conv": {"out_channels": 8, "kernel_size": 3, "stride": 2}, "blocks": [],
        "final_expand_layer": None, "feature_mix_layer": None, "classifier": {"in_features": 8, "out_features": 10},
    }  # fmt: skip
    (tmp_path / "mine.json").write_text(json.dumps(config))
    value = fine(run("evaluate", "--network", tmp_path / "mine.json", "--target", "eyeriss", "--format", "json")).json
    assert value["macs"] == 16 * 16 * 8 * 27 + 80


def test_map_of_a_layer(run) -> None:
    asked = (
        "map",
        "--layer",
        "K32 C16 P14 Q14 R3 S3 stride=2",
        "--target",
        "eyeriss",
        "--objective",
        "energy",
    )
    value = fine(run(*asked, "--format", "json")).json
    assert {"energy_pj", "latency_cycles", "edp", "optimal", "lower_bound", "evaluated", "seconds", "mapping"} <= set(
        value
    )
    assert value["optimal"] is True
    assert value["lower_bound"] == value["energy_pj"]
    assert value["edp"] == value["energy_pj"] * value["latency_cycles"]
    sampled = fine(run(*asked, "--mapper", "random", "--effort", 50, "--format", "json")).json
    assert sampled["evaluated"] == 50
    assert sampled["optimal"] is False
    assert 0 < sampled["lower_bound"] <= value["energy_pj"] < sampled["energy_pj"]
    text = fine(run(*asked)).out
    assert value["mapping"] in text
    assert f"{value['energy_pj']:.6g} pJ, " in text
    (row,) = csv.DictReader(io.StringIO(fine(run(*asked, "--format", "csv")).out))
    assert float(row["energy_pj"]) == value["energy_pj"]


def test_map_of_a_network(run) -> None:
    asked = ("map", "--network", "squeezenet", "--target", "eyeriss")
    layers = fine(run(*asked, "--format", "json")).json["layers"]
    names = [row["name"] for row in layers]
    assert len(set(names)) == len(names) and len({row["layer"] for row in layers}) == len(layers)
    text = fine(run(*asked)).out
    assert all(name in text for name in names)


# Catalogues


def test_targets(run, tmp_path) -> None:
    assert [row["name"] for row in fine(run("targets", "list", "--format", "json")).json["rows"]] == target_names()
    assert [line.split()[0] for line in fine(run("targets", "list")).out.splitlines()] == target_names()
    table = list(csv.reader(io.StringIO(fine(run("targets", "list", "--format", "csv")).out)))
    assert table[0] == ["name", "summary"]
    assert table[1:] == [[name, load_target(name).summary] for name in target_names()]
    (tmp_path / "tiny.yaml").write_text(TARGET)
    assert fine(run("targets", "check", tmp_path / "tiny.yaml")).out.startswith(
        f"{tmp_path / 'tiny.yaml'}: tiny is fine: 64 MACs"
    )
    assert "buffer.fanout.x.size" in fine(run("targets", "show", tmp_path / "tiny.yaml")).out


@pytest.mark.parametrize("name", target_names())
def test_targets_show(run, name) -> None:
    target = load_target(name)
    value = fine(run("targets", "show", name, "--format", "json")).json
    extra = {key: value.pop(key) for key in ("area_mm2", "macs_per_cycle")}
    assert extra == {"area_mm2": target.area_mm2, "macs_per_cycle": target.macs_per_cycle}
    assert Accelerator.model_validate(value) == target
    text = fine(run("targets", "show", name)).out
    assert all(level.name in text for level in target.levels)
    assert all(knob.name in text for knob in target.search)
    assert target.sources[0] in text


def test_targets_show_the_knobs_of_a_hardware_space(run) -> None:
    shown = fine(run("targets", "show", "edge_tpu", "--hardware", "naas-bits")).out
    assert shown.startswith("edge_tpu-naas-bits: NAAS's space within the 4096 MACs and 8456 KiB of edge_tpu")
    assert "importance_K" in shown and "weight_bits" in shown
    told = fine(run("targets", "show", "edge_tpu", "--hardware", "naas", "--format", "json")).json
    choices = {knob["name"]: knob["choices"] for knob in told["knobs"]}
    assert "weight_bits" not in choices
    assert told["default"].items() >= {"size_1": 64, "size_2": 64, "global_buffer": 8388608}.items()
    assert all(value in choices[name] for name, value in told["default"].items())


def test_the_schema_describes_the_shipped_descriptions(run) -> None:
    schema = fine(run("targets", "schema")).json
    assert set(schema["properties"]) == set(Accelerator.model_fields)
    assert schema["additionalProperties"] is False


def test_spaces(run) -> None:
    assert [row["name"] for row in fine(run("spaces", "list", "--format", "json")).json["rows"]] == space_names()
    for name in space_names():
        space = load_space(name)
        text = fine(run("spaces", "show", name)).out
        assert text.startswith(f"{name}: {space.summary}; {space.size:.3g} networks\n")
        assert all(knob.name in text for knob in space.knobs)


def test_samples_of_a_space(run) -> None:
    value = fine(run("spaces", "sample", "ofa-mobilenet-v3", "--seed", 4, "-n", 3)).json
    assert (value["space"], value["seed"], len(value["networks"])) == ("ofa-mobilenet-v3", 4, 3)
    space = load_space("ofa-mobilenet-v3")
    for sample in value["networks"]:
        network = space.network(space.genome(sample["values"]))
        assert (network.macs, network.params) == (sample["macs"], sample["params"])
    again = fine(run("spaces", "sample", "ofa-mobilenet-v3", "--seed", 4)).json
    assert again["networks"] == value["networks"][:1]


@pytest.mark.parametrize(
    ("what", "names"), [("networks", set(NETWORKS)), ("strategies", STRATEGIES), ("estimators", {"predictor"})]
)
def test_lists(run, what, names) -> None:
    rows = fine(run("list", what, "--format", "json")).json["rows"]
    assert {row["name"] for row in rows} >= names
    assert all(row["summary"] for row in rows)
    assert all(name in fine(run("list", what)).out for name in names)
