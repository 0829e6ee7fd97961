"""The readers and figures of `benchmarks.dosa_agreement`; expected cycles are counted by hand in the comments."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accel_models.loopnest import counts as kernels
from accel_models.loopnest.evaluate_rows import evaluate_rows
from benchmarks import dosa_agreement, dosa_gemmini_rtl, dosa_rows
from benchmarks.command import run

TEXT = "L3[WIO] P28 R7 Q56 K8 - L2[WI] N1 K4X - L1[O] K2 S7 Q2 P2 C3X - L0[W] P2"  # first row of the large file
LAYER = {"prob.Hstride": 1, "prob.Wstride": 1, "prob.Hdilation": 1, "prob.Wdilation": 1}

# One element of the array: 4 MACs, one after another. Per instance and run the accumulator is updated 4 times, read 3
# times and filled once: 8 words at 2 per cycle = 4 cycles. The scratchpad fills and reads 8 weights (two columns) and 4
# inputs (shared): 24 words at 4 per cycle = 6 cycles. DRAM reads 12 words and takes 2: 14 at 8 per cycle = 2 cycles.
SMALL = ("L3[WIO] N1 - L2[WI] N1 K2X - L1[O] C4 - L0[W] N1", {"K": 2, "C": 4}, 2, 6)

# 4 x 2 x 3 = 24 cycles of computing. DRAM: weights 3 x 16 for each of 8 steps = 384, outputs 8, and inputs: Q slides a
# window of 3 rows by one, so 16 x (3 + 3 x 1) = 96, or whole windows 16 x 3 x 4 = 192. 488 / 8 = 61 or 584 / 8 = 73.
# The scratchpad's 384 + 384 (weights in, out) + 96 or 192 + 384 (inputs) at 32 per cycle is less.
SLIDING = ("L3[WIO] Q4 K2 - L2[WI] N1 - L1[O] S3 C16X - L0[W] N1", {"K": 2, "C": 16, "Q": 4, "S": 3}, 16, 61)
WHOLE_WINDOWS = 73

# Rows q + s of the input: S is innermost and slides, then Q. 12 cycles of computing; DRAM: weights 16 x 3 x 4 = 192,
# inputs 4 x 16 x (1 + 2) = 192, outputs: the first three steps add to one partial sum, 4 words. 388 / 8 = 48.5.
BY_TWO = ("L3[WIO] Q4 S3 - L2[WI] N1 - L1[O] N1 C16X - L0[W] N1", {"C": 16, "Q": 4, "S": 3}, 16, 49)


def line(text: str, dims: dict[str, int], mesh: int, cycles: float, **others: float) -> dict[str, object]:
    """Return one row as the files have it."""
    bounds = {f"prob.{dim}": dims.get(dim, 1) for dim in "NKCPQRS"}
    machine = {"arch.meshX": mesh, "arch.mem1_entries": 1024, "arch.mem2_entries": 65536}
    bandwidths = {"arch.mem1_shared_bandwidth": 2, "arch.mem2_shared_bandwidth": 2 * mesh}
    target = {"target.cycle": cycles, "target.energy": cycles / 7, "target.edp": cycles * cycles / 7e6}
    return {**target, "mapping.mapping": text, **machine, **bandwidths, **bounds, **LAYER, **others}


def write(path: Path, *lines: dict[str, object]) -> Path:
    pd.DataFrame(lines).to_csv(path, index=False)
    return path


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command as from a shell; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["dosa_agreement", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        run(dosa_agreement.main)
    return int(end.value.code or 0)


def test_mapping_text_becomes_the_kernels_array() -> None:
    mapping = dosa_rows.parse_mapping(TEXT)
    n, k, c, p, q, r, s, g = range(8)
    assert mapping[3, kernels.TEMPORAL].tolist() == [1, 8, 1, 28, 56, 7, 1, 1]
    assert mapping[3, kernels.ORDER, :4].tolist() == [k, q, r, p]
    assert sorted(mapping[3, kernels.ORDER]) == [n, k, c, p, q, r, s, g]
    assert mapping[2, kernels.SPATIAL_X].tolist() == [1, 4, 1, 1, 1, 1, 1, 1]
    assert mapping[1, kernels.SPATIAL_Y].tolist() == [1, 1, 3, 1, 1, 1, 1, 1]
    assert mapping[1, kernels.ORDER, :4].tolist() == [p, q, s, k]
    assert mapping.prod(axis=(0, 1), where=np.arange(4)[:, None] != kernels.ORDER).tolist() == [
        1,
        64,
        3,
        112,
        112,
        7,
        7,
        1,
    ]


@pytest.mark.parametrize("text", [TEXT, SMALL[0], SLIDING[0], BY_TWO[0]])
def test_mapping_text_round_trip(text: str) -> None:
    assert dosa_rows.format_mapping(dosa_rows.parse_mapping(text)) == text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("P28", "P0", "'P0' is no loop"),
        ("P28", "Z28", "'Z28' is no loop"),
        ("P28", "P28Y", "'P28Y' is no loop"),
        ("P28", "P28X", "nothing is spread below L3"),
        ("R7", "P7", "two loops over P in L3"),
        ("L1[O]", "L1[W]", "level 'L1[W]', expected 'L1[O]'"),
        (" - L0[W] P2", "", "3 levels, expected L3"),
    ],
)
def test_malformed_mapping_text_is_refused_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    wrong = line(TEXT.replace(old, new, 1), {"K": 64}, 32, 1)
    path = write(tmp_path / "rows.csv", line(*SMALL), wrong, wrong)
    with pytest.raises(dosa_rows.RecordedDataError, match=r"rows\.csv, line 3: mapping") as caught:
        dosa_rows.read_rows(path)
    assert message in str(caught.value)


def test_cycles_and_energy_counted_by_hand(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", line(*SMALL), line(*SLIDING), line(*BY_TWO))
    rows = dosa_rows.read_rows(path)
    found = dosa_rows.evaluate(rows, path)
    assert found.cycles.tolist() == [6, 61, 49]
    assert found.compute_cycles.tolist() == [4, 24, 12]
    assert found.used.tolist() == [[2, 2, 1, 1], [16, 1, 1, 1], [16, 1, 1, 1]]
    # the small row in blocks: 8 MACs; 8 register reads, 8 fills; 16 accumulator accesses (two columns); 4 + 2 reads
    # and 4 + 2 fills of the scratchpad by 2 words; 14 words of DRAM
    machine = rows.machines[rows.machine_of[0]]
    accesses = [16, 16, 12, 14]
    mac = dosa_rows.technology.mac(8, 8, 40).energy_pj
    assert found.energies_pj[0] == pytest.approx(8 * mac + machine[:, kernels.E_READ] @ accesses, rel=1e-12)


def test_rows_agree_with_the_kernel_for_one_pair(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", line(*SMALL), line(*SLIDING), line(*BY_TWO))
    rows, count = dosa_rows.read_rows(path), 3
    bounds, sums = np.zeros((4, kernels.BOUND_COLUMNS), dtype=np.int64), np.zeros((4, kernels.SUM_COLUMNS))
    counts, used = np.zeros((count, 4, 3, kernels.COUNT_COLUMNS)), np.zeros((count, 4))
    compute, energies, cycles = np.zeros((3, count))
    codes = np.full(count, -1)
    evaluate_rows(
        rows.layers, rows.machines, rows.machine_of, np.zeros(4, dtype=bool), 0.5, rows.mappings, bounds, sums,
        counts, used, compute, energies, cycles, codes,
    )  # fmt: skip
    for row in range(count):
        one, code = np.zeros((2, 1)), np.full(1, -1)
        machine, mapping = rows.machines[rows.machine_of[row]], rows.mappings[row : row + 1]
        kernels.evaluate_batch(rows.layers[row], machine, 0.5, mapping, one[0], one[1], code)
        assert (energies[row], cycles[row], codes[row]) == (one[0, 0], one[1, 0], code[0])


def test_reasons_of_unequal_rows(tmp_path: Path) -> None:
    recorded = [(SMALL, 6), (SLIDING, WHOLE_WINDOWS), (SLIDING, WHOLE_WINDOWS + 1), (BY_TWO, 40), (BY_TWO, 49)]
    path = write(tmp_path / "rows.csv", *[line(*case[:3], cycles) for case, cycles in recorded])
    rows = dosa_rows.read_rows(path)
    figures = dosa_agreement.compare_timeloop(rows, dosa_rows.evaluate(rows, path))
    assert figures["cycles_equal_fraction"] == pytest.approx(0.4)
    assert figures["unequal"] == {
        "rounding": 0, "window fetched whole": 1, "window walked by two loops": 1, "unexplained": 1,
    }  # fmt: skip


def test_large_file_in_slices(shared_data: Path, tmp_path: Path) -> None:
    whole = shared_data / "dosa_timeloop" / "timeloop_72k.csv.gz"
    table = pd.read_csv(whole, skiprows=lambda place: place % 150 != 0)  # the header is line 0
    path = tmp_path / "slice.csv"
    table.to_csv(path, index=False)
    rows = dosa_rows.read_rows(path)
    assert len(rows) == 58273 // 150
    assert [dosa_rows.format_mapping(each) for each in rows.mappings] == table["mapping.mapping"].tolist()
    found = dosa_rows.evaluate(rows, path)
    figures = dosa_agreement.compare_timeloop(rows, found)
    assert figures["cycles_equal_fraction"] >= 0.98
    assert figures["unequal"]["unexplained"] == 0
    assert figures["edp_spearman"] >= 0.98
    every = np.arange(len(rows))
    in_order = dosa_agreement.cycles_in_order(rows, every, found.counts, found.compute_cycles)
    assert np.abs(in_order - found.cycles).max() <= 1


def test_energy_calibration_finds_energies_that_made_the_rows(tmp_path: Path) -> None:
    # energies that are made of the counts are met to rounding; so is no energy that is not
    texts = [
        f"L3[WIO] C{c} K{k} - L2[WI] N1 K2X - L1[O] C4 - L0[W] P{p}"
        for c in (1, 3, 5)
        for k in (1, 2, 7)
        for p in (2, 3, 9)
    ]
    dims = [{"K": 2 * k, "C": 4 * c, "P": p} for c in (1, 3, 5) for k in (1, 2, 7) for p in (2, 3, 9)]
    path = write(tmp_path / "rows.csv", *[line(text, dim, 2, 1) for text, dim in zip(texts, dims, strict=True)])
    rows = dosa_rows.read_rows(path)
    found = dosa_rows.evaluate(rows, path)
    made = rows.layers[:, :8].prod(axis=1) * 2.0 + found.used[:, 1] * found.counts[:, 1, 2, :3].sum(axis=1) * 5.0
    rows.table["target.energy"] = made / 1e6
    assert dosa_agreement.calibrate_energy(rows, found).max() < 1e-9
    rows.table["target.energy"] = made * np.linspace(1, 2, len(rows)) / 1e6
    assert dosa_agreement.calibrate_energy(rows, found).max() > 0.01


def test_work_as_gemmini_runs_it_by_hand(tmp_path: Path) -> None:
    # convolution: tile of 4 x 2 channels, 2 pixels, 3 taps on a 4 x 4 array: 3 blocks of weights, 6 cycles, and
    # 2 x 4 bytes of inputs with 4 x 2 x 3 of weights; 4 tiles
    convolution = line(
        "L3[WIO] K2 P2 - L2[WI] N1 K4X - L1[O] R3 C2X - L0[W] P2", {"K": 8, "C": 2, "P": 4, "R": 3}, 4, 50,
        **{"target.gemmini_cycle": 60},
    )  # fmt: skip
    # matrix product: tiles of 8 x 1 channels, 2 rows on an 8 x 8 array; rounded up to 8 x 8 x 8, so one tile of them
    product = line(
        "L3[WIO] C4 P3 - L2[WI] N1 K8X - L1[O] N1 - L0[W] P2", {"K": 8, "C": 4, "P": 6}, 8, 50,
        **{"target.gemmini_cycle": 60},
    )  # fmt: skip
    rows = dosa_gemmini_rtl.read_rtl(write(tmp_path / "rtl.csv", convolution, product))
    assert not rows.is_training
    assert rows.square.tolist() == [False, True]
    assert rows.tiles.tolist() == [4, 1]
    assert rows.blocks.tolist() == [12, 1]
    assert rows.compute.tolist() == [24, 2]
    assert rows.loaded_bytes.tolist() == [128, 2 + 8]


def test_fit_finds_the_overheads_that_made_the_cycles() -> None:
    draw = np.random.default_rng(0)
    tiles, blocks, compute, loaded = (
        np.floor(10 ** draw.uniform(low, high, 300)) for low, high in ((0, 3), (1, 5), (3, 7), (3, 8))
    )
    yes, none = np.ones(300, dtype=bool), np.zeros(300)
    constants = dosa_gemmini_rtl.Overheads(start=900.0, tile_start=150.0, block=7.0, byte=0.2)
    unknown = dosa_gemmini_rtl.RtlRows(Path("made"), True, none, none, none, yes, tiles, compute, blocks, loaded)
    cycles = dosa_gemmini_rtl.with_overheads(unknown, constants)
    rows = dosa_gemmini_rtl.RtlRows(Path("made"), True, cycles, none, none, yes, tiles, compute, blocks, loaded)
    found = dosa_gemmini_rtl.fit_overheads(rows)
    for name in ("start", "tile_start", "block", "byte"):
        assert getattr(found, name) == pytest.approx(getattr(constants, name), rel=1e-3)


def test_overheads_from_training_rows_help_on_test_rows(shared_data: Path) -> None:
    folder = shared_data / "dosa_timeloop"
    training = dosa_gemmini_rtl.read_rtl(folder / "gemmini_rtl_train.csv")
    test = dosa_gemmini_rtl.read_rtl(folder / "gemmini_rtl_test.csv")
    assert (training.is_training, test.is_training) == (True, False)
    assert (training.rtl / training.compute).min() > 1.0  # what `compute` says is a bound
    ours = dosa_gemmini_rtl.agreement(test.ours, test.rtl)
    estimate = dosa_gemmini_rtl.with_overheads(test, dosa_gemmini_rtl.fit_overheads(training))
    better = dosa_gemmini_rtl.agreement(estimate, test.rtl)
    assert ours.spearman >= 0.97
    assert better.spearman > ours.spearman
    assert better.median_error < ours.median_error
    assert better.mean_error < ours.mean_error


def test_command_writes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write(tmp_path / "rows.csv", line(*SMALL), line(*SLIDING))
    rtl = [line(*case, **{"target.gemmini_cycle": 3 * case[3]}) for case in (SMALL, SLIDING)]
    further = write(tmp_path / "rtl.csv", *rtl)
    out = tmp_path / "figures.json"
    assert command(monkeypatch, rows, "--rtl", further, further, "--json", out) == 0
    figures = json.loads(out.read_text())
    assert {"rows": 2, "cycles_equal_fraction": 1.0}.items() <= figures.items()
    assert {"edp_spearman", "rtl_spearman", "seconds"} <= figures.keys()
    assert figures["rtl"][str(further)]["ours"]["median_ratio"] == pytest.approx(1 / 3)
    assert "2 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("prob.Wstride", "prob.Stride", "unknown column 'prob.Wstride'"),
        ("65536", "none", "line 2: arch.mem2_entries is 'none'"),
        ("K2X", "K1.5X", "line 2: mapping"),
        ("C4 ", "C8 ", "do not multiply"),
        ("65536", "7", "do not fit"),
        ("K2X", "K4X", "more elements than the array"),
    ],
)
def test_command_refuses_malformed_rows(tmp_path, monkeypatch, capsys, old: str, new: str, message: str) -> None:
    path = write(tmp_path / "rows.csv", line(*SMALL), line(*SMALL))
    path.write_text(path.read_text().replace(old, new))
    refused(monkeypatch, capsys, path, message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", None, "No such file"),
        ("rows.csv", b"", "no table"),
        ("rows.csv", b"\xff\xfe\x00,", "no table"),
        ("rows.csv", b"target.cycle\n1\n", "1 rows"),
        ("rows.csv.gz", b"target.cycle", "Not a gzipped file"),
        ("rows.csv.gz", gzip.compress(b"target.cycle\n1\n", mtime=0)[:-9], "no table"),
    ],
)
def test_command_refuses_other_files(tmp_path, monkeypatch, capsys, name, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refused(monkeypatch, capsys, tmp_path / name, message)


def refused(monkeypatch, capsys, path: Path, message: str) -> None:
    """Assert that the command takes `path` for bad input and says so."""
    assert command(monkeypatch, path) == 2
    said = capsys.readouterr().err
    assert path.name in said
    assert message in said
    assert "Traceback" not in said


def test_command_refuses_files_it_has_no_use_for(tmp_path, monkeypatch, capsys) -> None:
    path = write(tmp_path / "rows.csv", line(*SMALL), line(*SLIDING))
    assert command(monkeypatch, path, path) == 2
    assert "--rtl" in capsys.readouterr().err
    assert command(monkeypatch, path, "--rtl", path) == 2
    assert "target.gemmini_cycle" in capsys.readouterr().err
