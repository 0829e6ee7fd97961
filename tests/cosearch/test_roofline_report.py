"""The roofline's picture, table and command."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from accel_models.accelerator import Accelerator, MemoryLevel
from accel_models.networks import load_network
from accel_models.roofline import Roofline, network_roofline
from accel_models.workload import Network
from cosearch.cli import app
from cosearch.errors import CosearchError
from cosearch.report.roofline import plot_roofline, roofline_json, roofline_table

COMMAND = ["roofline", "--network", "squeezenet", "--resolution", "64", "--target", "eyeriss", "--effort", "16"]


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network("mobilenet-v2", 64)


@pytest.fixture(scope="module")
def roofline(tiny: Accelerator, network: Network) -> Roofline:
    return network_roofline(network, tiny, tiny.evaluate(network, effort=16))


def test_roofs_and_points_stand_where_the_figures_say(roofline: Roofline) -> None:
    (axis, *_) = plot_roofline(roofline).axes
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    peak, slope = roofline.peak_macs_per_s / 1e9, roofline.dram.bandwidth_bytes_per_s / 1e9
    lines = {str(line.get_label()): line for line in axis.lines}
    flat = next(line for name, line in lines.items() if name.startswith("array: 6.4 G"))  # 64 MACs at 100 MHz
    assert set(flat.get_ydata()) == {peak}
    steep = next(line for name, line in lines.items() if name.startswith("dram: 800 M"))  # 4 words of 2 bytes
    for across, up in zip(steep.get_xdata(), steep.get_ydata(), strict=True):
        assert up == pytest.approx(slope * across)
    assert steep.get_xdata()[-1] == flat.get_xdata()[0] == roofline.ridge_macs_per_byte == pytest.approx(8)
    drawn = {tuple(point) for group in axis.collections for point in group.get_offsets().tolist()}
    for point in (*roofline.points, roofline.whole):
        assert (point.intensity_macs_per_byte, point.achieved_macs_per_s / 1e9) in drawn
    left, right = axis.get_xlim()
    low, high = axis.get_ylim()
    assert all(left < across < right and low < up < high for across, up in drawn)


def test_marks_grow_with_the_share_of_time(roofline: Roofline) -> None:
    (axis, *_) = plot_roofline(roofline).axes
    areas = {}
    for group in axis.collections:
        for place, area in zip(group.get_offsets().tolist(), group.get_sizes().tolist(), strict=False):
            areas.setdefault(tuple(place), set()).add(area)
    shares = sorted(roofline.points, key=lambda point: point.time_share)
    least, most = (
        areas[point.intensity_macs_per_byte, point.achieved_macs_per_s / 1e9] for point in (shares[0], shares[-1])
    )
    assert max(most) > max(least)


def test_labels_carry_units_and_the_legend_names_everything(roofline: Roofline) -> None:
    figure = plot_roofline(roofline)
    (axis, *_) = figure.axes
    assert "MACs per byte" in axis.get_xlabel()
    assert "GMAC/s" in axis.get_ylabel()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    for part in (
        "array",
        "dram",
        "depthwise: 17 layers",
        "pointwise: 34 layers",
        "1% of the time",
        "network: ",
        "bound",
    ):
        assert any(part in text for text in texts), part
    assert any("ridge 8 MACs/B" in note.get_text() for note in axis.texts)
    assert any("buffer" in note.get_text() for note in axis.texts)


def unlimited(level: MemoryLevel) -> MemoryLevel:
    ports = ("read", "write", "shared")
    return level.model_copy(update={f"{port}_bandwidth_words_per_cycle": None for port in ports})


def test_unlimited_bandwidth_is_drawn_without_a_slope(tiny: Accelerator, network: Network) -> None:
    target = tiny.model_copy(update={"levels": tuple(unlimited(level) for level in tiny.levels)})
    found = network_roofline(network, target, target.evaluate(network, effort=16))
    (axis, *_) = plot_roofline(found).axes
    assert [str(line.get_label()) for line in axis.lines] == ["array: 6.4 GMAC/s"]
    text = json.dumps(roofline_json(found), allow_nan=False)
    assert json.loads(text)["roofs"][-1] == {"level": "dram", "bandwidth_bytes_per_s": None}
    assert "unlimited" in str(roofline_table(found).title)


def test_a_layer_without_dram_traffic_stands_at_the_right_edge(roofline: Roofline) -> None:
    first = roofline.points[0]
    inside = replace(first, traffic_bytes=(*first.traffic_bytes[:-1], ("dram", 0.0)), compulsory_bytes=0.0)
    found = replace(roofline, points=(inside, *roofline.points[1:]))
    figure = plot_roofline(found)
    (axis, *_) = figure.axes
    edge = axis.get_xlim()[1]
    places = [place for group in axis.collections for place in group.get_offsets().tolist()]
    assert max(across for across, _ in places) == pytest.approx(edge / 1.2)
    assert "at the right edge: no DRAM traffic" in [text.get_text() for text in figure.legends[0].get_texts()]
    json.dumps(roofline_json(found), allow_nan=False)


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_the_same_figures_draw_the_same_bytes(roofline: Roofline, tmp_path: Path, ending: str) -> None:
    first, second = tmp_path / f"new/first{ending}", tmp_path / f"second{ending}"
    plot_roofline(roofline, first)
    plot_roofline(roofline, second)
    assert first.read_bytes() == second.read_bytes()
    assert first.stat().st_size > 5000
    if ending == ".png":
        pixels = matplotlib.image.imread(first)
        assert pixels.shape[0] > 600
        assert pixels.std() > 0.05  # something is drawn


def test_files_that_cannot_be_drawn_are_refused(roofline: Roofline, tmp_path: Path) -> None:
    with pytest.raises(CosearchError, match=r"must end in \.png, \.svg, \.pdf"):
        plot_roofline(roofline, tmp_path / "roofline.txt")
    (tmp_path / "file").write_text("")
    with pytest.raises(CosearchError, match="cannot be written"):
        plot_roofline(roofline, tmp_path / "file" / "roofline.png")


def test_the_table_has_a_row_per_layer_and_one_for_the_network(roofline: Roofline) -> None:
    made = roofline_table(roofline)
    assert made.row_count == len(roofline.points) + 1
    out = io.StringIO()
    Console(file=out, width=200).print(made)
    last = out.getvalue().splitlines()[-2]
    assert "mobilenet-v2" in last
    assert f"{roofline.whole.achieved_macs_per_s / 1e9:.5g}" in last


def test_the_command_prints_a_table_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, COMMAND)
    assert result.exit_code == 0, result.output
    assert "squeezenet on eyeriss: peak 33.6 GMAC/s, dram 0.48 GB/s, ridge 70 MACs/B" in result.stdout
    assert result.stderr == "wrote roofline.png\n"
    assert (tmp_path / "roofline.png").is_file()


def test_the_command_prints_one_json_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [*COMMAND, "--format", "json"])
    printed = json.loads(result.stdout)
    assert printed["peak_macs_per_s"] == 168 * 200e6
    assert printed["ridge_macs_per_byte"] == pytest.approx(70)
    whole = printed["whole"]
    assert whole["macs"] == load_network("squeezenet", 64).macs == sum(layer["macs"] for layer in printed["layers"])
    assert whole["intensity_operations_per_byte"] == 2 * whole["intensity_macs_per_byte"]
    assert math.isclose(
        whole["dram_bytes"], sum(layer["dram_bytes"] for layer in printed["layers"]) + printed["vector_bytes"]
    )
    assert not list(tmp_path.iterdir())


def test_the_command_prints_csv_and_draws_where_told(tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    result = CliRunner().invoke(app, [*COMMAND, "--format", "csv", "-o", str(picture)])
    frame = pd.read_csv(io.StringIO(result.stdout))
    assert frame["name"].iloc[-1] == "squeezenet"
    assert (frame["achieved_macs_per_s"] <= frame["attainable_macs_per_s"] * (1 + 1e-9)).all()
    assert picture.read_text().startswith("<?xml")
