"""Tables are read as their files mean them, and every mistake in one is named with its place."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from accel_models.workload import TensorShape
from cosearch.efficiency.parts import BLOCK, LAYER, POOLED_LAYER, NamedPart, Part
from cosearch.efficiency.table_files import PART_COLUMNS, part_cells, read_table
from cosearch.efficiency.tables import KnobTable, PartTable, Timing
from cosearch.errors import CosearchError

# Two keys of Once-for-All's form and two of ProxylessNAS's.
OFA = """\
Conv-input:160x160x3-output:80x80x24:
  count: 4
  mean: 0.5
  std: 0.25
expanded_conv-input:10x10x96-output:10x10x136-expand:288-kernel:5-stride:1-idskip:0-se:1-hs:1:
  count: 10
  mean: 2.0
  std: 0.1
"""
PROXYLESS = """\
Logits-input:7x7x1280-output:1000: {count: 3, mean: 0.3, var: 0.04}
expanded_conv-input:14x14x80-output:14x14x80-expand:6-kernel:3-stride:1-idskip:1: {count: 9, mean: 1.5, var: 0.09}
"""
STEM = Part(LAYER, TensorShape(3, 160, 160), TensorShape(24, 80, 80), 3, 2, activation="h_swish")
GATED = Part(BLOCK, TensorShape(96, 10, 10), TensorShape(136, 10, 10), 5, 1, 1, 288, True, False, "h_swish")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def close(timing: Timing | None, mean_s: float, spread_s: float, count: int) -> bool:
    return timing is not None and timing.count == count and math.isclose(timing.mean_s, mean_s) and math.isclose(
        timing.spread_s, spread_s
    )  # fmt: skip


def test_once_for_alls_keys_are_understood(tmp_path) -> None:
    table = read_table(write(tmp_path / "a.yaml", OFA))
    assert isinstance(table, PartTable)
    assert close(table.find(GATED), 2e-3, 1e-4, 10)
    assert close(table.find(STEM), 5e-4, 2.5e-4, 4), "a layer is found by its shapes where the table says no more"
    assert table.find(Part(BLOCK, *(GATED.input, GATED.output), 3, 1, 1, 288, True, False, "h_swish")) is None


def test_proxyless_nass_keys_are_understood(tmp_path) -> None:
    table = read_table(write(tmp_path / "a.yaml", PROXYLESS))
    assert isinstance(table, PartTable)
    shape = TensorShape(80, 14, 14)
    assert close(table.find(Part(BLOCK, shape, shape, 3, 1, 1, 480, False, True, "relu")), 1.5e-3, 3e-4, 9)
    pool = NamedPart("pool", Part("global_pool", TensorShape(1280, 7, 7), TensorShape(1280)))
    classifier = NamedPart("classifier", Part(LAYER, TensorShape(1280), TensorShape(1000), 1, 1, activation=""))
    (row,) = table.rows_for([pool, classifier])
    assert row.part == Part(POOLED_LAYER, TensorShape(1280, 7, 7), TensorShape(1000))


def test_several_files_are_one_table_with_the_mean_over_all_runs(tmp_path) -> None:
    write(tmp_path / "a.yaml", OFA)
    write(tmp_path / "b.yml", OFA.replace("mean: 2.0", "mean: 5.0").replace("count: 10", "count: 30"))
    table = read_table(tmp_path)
    # by hand: (10 * 2 + 30 * 5) / 40 ms; variance 0.1² + (10 * 2.25² + 30 * 0.75²) / 40
    assert close(table.timings[GATED], 4.25e-3, 1e-3 * math.sqrt(0.01 + 1.6875), 40)  # type: ignore[index]


def test_a_csv_of_parts_is_what_the_command_writes_with_times_filled_in(tmp_path) -> None:
    path = tmp_path / "mine.csv"
    pool = Part("pool", TensorShape(24, 80, 80), TensorShape(24, 40, 40), 2)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, PART_COLUMNS, restval="")
        writer.writeheader()
        for time, part in enumerate((STEM, GATED, pool), 1):
            writer.writerow({**part_cells(part), "latency_ms": time})
    table = read_table(path)
    assert {part: timing.mean_s for part, timing in table.timings.items()} == {STEM: 1e-3, GATED: 2e-3, pool: 3e-3}
    assert all(math.isnan(timing.spread_s) for timing in table.timings.values())


def test_a_csv_of_knobs(tmp_path) -> None:
    table = read_table(write(tmp_path / "knobs.csv", "knob,choice,latency_ms\n,,2\ndepth,3,-0.5\n"))
    assert isinstance(table, KnobTable)
    assert {key: timing.mean_s for key, timing in table.timings.items()} == {("", ""): 2e-3, ("depth", "3"): -0.5e-3}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "Conv-input:1x1x3:\n  mean: 1\n", "cannot read the key"),
        ("a.yaml", OFA.replace("kernel:5", "kernel:five"), "cannot read the key"),
        ("a.yaml", OFA.replace("mean: 2.0", "mean: fast"), "a time of 'fast' ms"),
        ("a.yaml", OFA.replace("  mean: 2.0\n", ""), "no 'mean'"),
        ("a.yaml", "a: [", "is not YAML"),
        ("a.yaml", "- 1\n", "holds no table"),
        ("a.yaml", "{}\n", "holds no measured time"),
        ("a.txt", "", "a look-up table is a .yaml, .yml or .csv"),
        ("a.csv", "kind,input,latency_ms\n", "no column 'output'"),
        ("a.csv", "kind,input,output,latency_ms\nblok,1x1x1,1x1x1,1\n", "line 2: kind = 'blok'"),
        ("a.csv", "kind,input,output,latency_ms\nlayer,1x1,1x1x1,1\n", "line 2: input = '1x1'"),
        ("a.csv", "kind,input,output,latency_ms\nlayer,1x1x1,1x1x0,1\n", "line 2: output = '1x1x0'"),
        ("a.csv", "kind,input,output,kernel,latency_ms\nlayer,1x1x1,1x1x1,x,1\n", "kernel = 'x' is no whole number"),
        ("a.csv", "kind,input,output,latency_ms\nlayer,1x1x1,1x1x1,-1\n", "line 2: a time of '-1' ms"),
        ("a.csv", "kind,input,output,latency_ms,count\nlayer,1x1x1,1x1x1,1,0\n", "a count at least 1"),
        ("a.csv", "knob,latency_ms\n", "no column 'choice'"),
        ("a.csv", "knob,choice,latency_ms\ndepth,3,\n", "line 2: a time of '' ms"),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path, name, text, said) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(CosearchError, match=path.name) as caught:
        read_table(path)
    assert said in str(caught.value)


def test_absent_empty_and_mixed_folders_are_refused(tmp_path) -> None:
    with pytest.raises(CosearchError, match="no look-up table"):
        read_table(tmp_path)
    with pytest.raises(CosearchError, match=r"absent\.yaml: cannot be read"):
        read_table(tmp_path / "absent.yaml")
    write(tmp_path / "a.yaml", OFA)
    write(tmp_path / "b.csv", "knob,choice,latency_ms\n,,2\n")
    with pytest.raises(CosearchError, match="one table is of one sort"):
        read_table(tmp_path)


def block(pixels: int, kernel: int) -> Part:
    shape = TensorShape(16, pixels, pixels)
    return Part(BLOCK, shape, shape, kernel, 1, 1, 64, False, True, "relu")


def test_the_nearest_entry_is_scaled_by_work_and_its_error_grows_with_the_distance() -> None:
    table = PartTable("two sizes", {block(16, 3): Timing(1e-3), block(32, 3): Timing(4.4e-3), STEM: Timing(1.0)})
    asked = block(18, 3)
    near = table.nearest(asked)
    assert near == block(16, 3)
    assert math.isclose(table.scaled(asked, near), 1e-3 * 18**2 / 16**2)
    # By hand: a factor of 4 in work lies 2 steps apart; from the one, the other is off by 0.4 / 4.4, or by 0.1.
    rate = (0.4 / 4.4 + 0.1) / 4
    assert math.isclose(table.scaling_error(asked, near), rate * 2 * math.log2(18 / 16))
    assert table.nearest(Part("pool", TensorShape(1), TensorShape(1))) is None
    assert "nearest entry is: block 16x16x16" in table.missing("stage1", asked)
    assert "no pool at all" in table.missing("stem", Part("pool", TensorShape(1), TensorShape(1)))
