"""What people look at: the front's picture point by point, tables, and one pair in full."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex

from accel_models.description import load_target, parse_target
from accel_models.networks import load_network
from cosearch.archive import FILE_NAME, Archive
from cosearch.errors import CosearchError, RunError
from cosearch.evaluate import MappingOptions
from cosearch.report.front import COLOURS, plot_front
from cosearch.report.pair import choices, pair_details
from cosearch.report.text import hardware_table, number, size, table
from cosearch.results import Study, front_columns
from cosearch.study import search

from .conftest import TARGET

FAST = MappingOptions(effort=4)


@pytest.fixture(scope="module")
def ofa(tmp_path_factory) -> Study:
    """60 pairs of OFA networks and Eyeriss-like machines."""
    folder = tmp_path_factory.mktemp("ofa") / "first"
    return search("ofa-mobilenet-v3", "eyeriss", budget=60, population=20, mapping=FAST, out=folder)


@pytest.fixture(scope="module")
def hardware(tiny, tmp_path_factory) -> Study:
    """40 machines for one network, without an estimate of accuracy."""
    folder = tmp_path_factory.mktemp("hardware") / "second"
    network = load_network("mobilenet-v2", 64)
    return search(network, tiny, ("latency", "energy", "area"), budget=40, population=20, mapping=FAST, out=folder)


def points(axis, place: int) -> np.ndarray:
    return np.asarray(axis.collections[place].get_offsets())


def labels(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


# The picture


def test_it_shows_every_feasible_pair_once_and_the_front_on_top(ofa) -> None:
    figure = plot_front([ofa])
    latency, energy = figure.axes
    front = ofa.front_pairs()
    feasible = ofa.archive.pairs("feasible = 1")
    for axis, metric in ((latency, "latency_s"), (energy, "energy_j")):
        cloud, on_front = points(axis, 0), points(axis, 1)
        assert len(cloud) + len(on_front) == len(feasible) == 60
        assert len(on_front) == len(front)
        assert np.allclose(on_front, [[pair.metrics[metric] * 1e3, pair.metrics["top1_percent"]] for pair in front])
        ids = {pair.id for pair in front}
        others = [[pair.metrics[metric] * 1e3, pair.metrics["top1_percent"]] for pair in feasible if pair.id not in ids]
        assert np.allclose(cloud, others)
        assert axis.collections[1].get_zorder() > axis.collections[0].get_zorder()


def test_axes_are_labelled_with_units_and_logarithmic_where_values_span_much(ofa) -> None:
    latency, energy = plot_front([ofa]).axes
    assert latency.get_xlabel() == "latency (ms)"
    assert energy.get_xlabel() == "energy per inference (mJ)"
    assert latency.get_ylabel() == energy.get_ylabel() == "estimated ImageNet top-1 (%)"
    for axis, metric in ((latency, "latency_s"), (energy, "energy_j")):
        values = [pair.metrics[metric] for pair in ofa.archive.pairs("feasible = 1")]
        assert axis.get_xscale() == ("log" if max(values) > 8 * min(values) else "linear")
        assert axis.get_yscale() == "linear"
    assert latency.get_xscale() == "log", "no pair is eight times slower than another: the test shows nothing"


def test_a_logarithmic_axis_has_plain_numbers(ofa) -> None:
    axis = plot_front([ofa]).axes[0]
    formatter = axis.xaxis.get_major_formatter()
    assert [formatter(value) for value in (0.5, 1, 2, 5, 10, 200)] == ["0.5", "1", "2", "5", "10", "200"]
    assert [formatter(value) for value in (3, 40, 0.7, 0)] == ["", "", "", ""]


def test_the_legend_says_how_many_and_names_the_references(ofa) -> None:
    figure = plot_front([ofa])
    front = len(ofa.front_pairs())
    first = [f"{60 - front} dominated pairs", f"Pareto front, {front} pairs"]
    assert labels(figure)[:2] == first
    references = [name for name, _, _ in ofa.archive.references()]
    assert references == ["mobilenet-v2", "mobilenet-v3-large"]
    assert all(any(label.startswith(f"{name} (published") for label in labels(figure)) for name in references)


def test_references_stand_where_they_are_published_and_measured(ofa) -> None:
    """72.0 and 75.2 %: Sandler et al., CVPR 2018, table 4; Howard et al., ICCV 2019, table 3."""
    axis = plot_front([ofa]).axes[0]
    shown = [tuple(points(axis, place)[0]) for place in range(2, len(axis.collections))]
    eyeriss = load_target("eyeriss")
    expected = [
        (eyeriss.evaluate(load_network(name), effort=4).latency_s * 1e3, top1)
        for name, top1 in (("mobilenet-v2", 72.0), ("mobilenet-v3-large", 75.2))
    ]
    assert np.allclose(shown, expected)


def test_the_line_is_the_best_of_the_panels_two_objectives(ofa) -> None:
    axis = plot_front([ofa]).axes[0]
    (line,) = axis.lines
    corners = np.unique(np.column_stack([line.get_xdata(orig=True), line.get_ydata(orig=True)]), axis=0)
    everything = np.vstack([points(axis, 0), points(axis, 1)])
    best = [
        point
        for point in everything
        if not any(
            (other[0] <= point[0] and other[1] >= point[1] and tuple(other) != tuple(point)) for other in everything
        )
    ]
    assert np.allclose(corners, sorted(map(tuple, best)))  # fmt: skip


def test_without_something_to_maximise_there_is_a_panel_per_pair_of_objectives(hardware) -> None:
    figure = plot_front([hardware])
    assert [(axis.get_xlabel(), axis.get_ylabel()) for axis in figure.axes] == [
        ("latency (ms)", "energy per inference (mJ)"), ("latency (ms)", "area (mm²)"), ("energy per inference (mJ)", "area (mm²)"),
    ]  # fmt: skip


def test_the_title_says_what_was_searched(ofa, hardware) -> None:
    assert plot_front([ofa]).get_suptitle() == "ofa-mobilenet-v3 x eyeriss: 60 pairs evaluated, nsga2, seed 0"
    limited = search(
        load_network("mobilenet-v2", 64), parse_target(TARGET, ""), ("latency", "energy", "area"), budget=20, population=20,
        mapping=FAST, strategy="random", seed=5, limits=["area_mm2<=1"],
    )  # fmt: skip
    both = plot_front([hardware, limited]).get_suptitle()
    assert both == "mobilenet-v2 x tiny: 60 pairs evaluated, nsga2, random, seed 0, 5, limits area_mm2<=1"


def test_several_runs_overlay_in_colours_of_their_own(ofa, tmp_path) -> None:
    other = search(
        "ofa-mobilenet-v3", "eyeriss", budget=20, population=20, seed=9, mapping=FAST, out=tmp_path / "other"
    )
    figure = plot_front([ofa, other])
    for axis in figure.axes:
        counts = [len(points(axis, place)) for place in range(4)]
        assert counts[0] + counts[1] == 60 and counts[2] + counts[3] == 20
        assert [to_hex(axis.collections[place].get_facecolor()[0]) for place in (1, 3)] == list(COLOURS[:2])
    assert [label.split(":")[0] for label in labels(figure) if "Pareto front" in label] == ["first", "other"]


def test_one_objective_and_one_pair_are_drawn_too(tiny) -> None:
    lonely = search(load_network("mobilenet-v2", 64), tiny, ["area"], budget=1, population=2, mapping=FAST, seed=1)
    (axis,) = plot_front([lonely]).axes
    assert len(points(axis, 1)) == 1
    assert len(points(axis, 0)) == 0


def test_a_run_that_keeps_no_limit_is_drawn_beside_one_that_does(hardware, tiny, tmp_path) -> None:
    hopeless = tmp_path / "hopeless"
    with pytest.raises(Exception, match="keeps the limits"):
        search(
            load_network("mobilenet-v2", 64), tiny, ("latency", "energy", "area"), budget=4, population=4, mapping=FAST,
            out=hopeless, limits=["area_mm2<=0.0001"],
        )  # fmt: skip
    empty = Study.open(hopeless)
    assert list(empty.front().columns) == list(hardware.front().columns) and len(empty.front()) == 0
    assert len(plot_front([hardware, empty]).axes) == 3
    with pytest.raises(RunError, match="there is nothing to draw"):
        plot_front([empty])


def test_runs_with_other_objectives_share_no_picture(ofa, hardware, tmp_path) -> None:
    with pytest.raises(RunError, match="different objectives"):
        plot_front([ofa, hardware], tmp_path / "both.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_the_same_run_draws_the_same_bytes(ofa, tmp_path, suffix) -> None:
    first, second = tmp_path / f"first.{suffix}", tmp_path / "new" / f"second.{suffix}"
    plot_front([ofa], first)
    plot_front([Study.open(ofa.archive.path.parent)], second)
    assert first.read_bytes() == second.read_bytes()
    start = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[suffix.lower()]
    assert first.read_bytes().startswith(start)


def test_text_in_an_svg_is_text(ofa, tmp_path) -> None:
    ofa.plot(tmp_path / "front.svg")
    text = (tmp_path / "front.svg").read_text()
    assert "latency (ms)" in text and "Pareto front" in text
    assert "<dc:date>" not in text


@pytest.mark.parametrize("name", ["front.gif", "front", "front.svg.txt", ".svg"])
def test_an_ending_that_is_no_picture_is_refused(ofa, tmp_path, name) -> None:
    with pytest.raises(CosearchError, match=r"must end in \.png, \.svg, \.pdf"):
        plot_front([ofa], tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["folder.png", "file/front.png"])
def test_a_place_that_cannot_be_written_is_told(ofa, tmp_path, name) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(CosearchError, match=f"{name}: cannot be written"):
        plot_front([ofa], tmp_path / name)


# Tables


@pytest.mark.parametrize(
    ("cell", "text"),
    [(0, "0"), (1234567, "1,234,567"), (1234567.0, "1,234,567"),
     (0.0, "0"), (-3.0, "-3"), (1.23456789, "1.2346"), (123456.5, "1.2346e+05"),
     (1e15, "1.0000e+15"), (float("nan"), "nan"), (float("inf"), "inf"), ("text", "text"), (True, "True"), (1e-9, "1e-09")],
)  # fmt: skip
def test_numbers_in_cells(cell, text) -> None:
    assert number(cell) == text


def printed(made) -> str:
    from rich.console import Console

    console = Console(width=200, file=io.StringIO())
    console.print(made)
    return console.file.getvalue()


def test_names_that_look_like_markup_are_printed_as_they_are() -> None:
    text = printed(table("a [bold]title[/x]", ["[red]column of some width"], [["[/y]cell"], ["[link]"]]))
    assert all(part in text for part in ("a [bold]title[/x]", "[red]column", "[/y]cell", "[link]"))


def test_the_hardware_table_has_a_row_per_level_outermost_first(tiny) -> None:
    text = printed(hardware_table(tiny))
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert [row.split()[1] for row in rows] == ["dram", "buffer", "registers"]
    assert "8 KiB" in rows[1] and "8 (K G) x 8 (C Q)" in rows[1]
    assert "64 B" in rows[2]
    assert text.startswith("tiny: 64 MACs, ")
    assert [size(level) for level in tiny.levels] == ["64 B", "8 KiB", ""]


def test_a_fronts_columns_are_the_same_with_and_without_rows(ofa, hardware) -> None:
    for study in (ofa, hardware):
        assert list(study.front().columns) == front_columns(study.objectives, study.archive.knobs())
    assert list(ofa.front().columns[:6]) == [
        "id",
        "top1_percent",
        "top1_error_points",
        "extrapolated",
        "latency_ms",
        "energy_mj",
    ]


# One pair


def test_a_pair_is_built_again_as_it_was_evaluated(ofa) -> None:
    for pair in ofa.front_pairs()[:3]:
        details = pair_details(ofa, pair)
        assert details.cost.latency_s == pair.metrics["latency_s"]
        assert details.cost.energy_j == pair.metrics["energy_j"]
        assert details.target.area_mm2 == pair.metrics["area_mm2"]
        assert (details.network.macs, details.network.params) == (pair.metrics["macs"], pair.metrics["params"])


def test_a_pairs_lines_say_what_was_chosen_and_what_the_estimate_is_worth(ofa) -> None:
    pairs = ofa.archive.pairs("feasible = 1")
    knobs = [knob.name for knob in ofa.archive.knobs()]
    seen = set()
    for pair in pairs[:12]:
        head, estimate, network, hardware = pair_details(ofa, pair).lines()
        assert head.startswith(f"pair {pair.id} (generation {pair.generation}): ofa-mobilenet-v3: ")
        assert (
            f"{pair.metrics['top1_percent']:.2f} %" in estimate
            and f"error {pair.metrics['top1_error_points']:.2f}" in estimate
        )
        assert "network: resolution=" in network
        bits = pair.genome[knobs.index("hardware.word_bits")]
        assert ("points taken off for 8-bit arithmetic" in estimate) is (bits == 0)
        seen.add(bits)
        assert "array_x=" in hardware and "hardware." not in hardware
    assert seen == {0, 1}, "one of the widths was not drawn"


def test_a_record_of_another_cost_model_is_told_from_what_is_computed_now(ofa) -> None:
    pair = ofa.front_pairs()[0]
    assert not any("another cost model" in line for line in pair_details(ofa, pair).lines())
    slower = replace(pair, metrics={**pair.metrics, "latency_s": 1.0, "edp_js": pair.metrics["energy_j"]})
    (told,) = [line for line in pair_details(ofa, slower).lines() if "another cost model" in line]
    assert told.startswith("recorded with another cost model: 1000.000 ms, ")


def test_genes_that_do_not_count_are_not_shown_as_chosen(ofa) -> None:
    for pair in ofa.archive.pairs()[:20]:
        network, hardware = choices(ofa, pair)
        depth = sum(network[f"depth_{stage}"] for stage in range(1, 6))
        assert sum(name.startswith("kernel_") for name in network) == depth
        assert sum(name.startswith("expand_") for name in network) == depth
        assert len(hardware) == len(load_target("eyeriss").search)
        json.dumps([network, hardware])


def test_the_costliest_mapping_is_printed_as_a_loop_nest(ofa) -> None:
    details = pair_details(ofa, ofa.front_pairs()[0])
    costliest = max(details.cost.layers, key=lambda row: row.energy_pj)
    text = details.costliest_mapping()
    assert text.startswith(f"mapping of {costliest.name} ({costliest.layer})")
    assert "for " in text and text.rstrip().endswith("multiply-accumulate")
    assert all(level.name in text for level in details.target.levels)


def test_a_study_of_a_space_that_is_not_installed_says_so(ofa, tmp_path) -> None:
    archive = Archive(tmp_path / "run" / FILE_NAME, create=True)
    archive.set("config", {**ofa.config, "space": "ofa-mobilenetv3"})
    with pytest.raises(Exception, match="unknown space 'ofa-mobilenetv3': did you mean 'ofa-mobilenet-v3'"):
        pair_details(Study(archive), ofa.front_pairs()[0])
