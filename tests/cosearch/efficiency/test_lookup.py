"""A look-up table's latency is the sum over a network's parts, by pieces, networks and knobs alike; gaps are refused."""

from __future__ import annotations

import csv
import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from accel_models.networks.ofa_config import network_from_config
from cosearch.efficiency import EfficiencyEstimator, make_efficiency
from cosearch.efficiency.lookup import LookupEstimator, network_latency
from cosearch.efficiency.parts import parts_of_network
from cosearch.efficiency.space_parts import parts_of_space
from cosearch.efficiency.table_files import read_table
from cosearch.efficiency.tables import KnobTable, PartTable, Timing
from cosearch.errors import CosearchError, UnknownNameError
from cosearch.spaces import load_space


def made_up(space, resolutions=None, samples=200) -> PartTable:
    """A table of all parts of a space: whole microseconds, so that sums are exact in any order to 1e-12."""
    parts = [part for _, part in parts_of_space(space, resolutions, samples)]
    return PartTable("made up", {part: Timing((1 + index) * 1e-6, 1e-6, 5) for index, part in enumerate(parts)})


def naive_latency(table: PartTable, network) -> float:
    return math.fsum(table.timings[part].mean_s for _, part in parts_of_network(network))


@pytest.mark.parametrize(
    "name", ["ofa-mobilenet-v3", "ofa-proxyless", "ofa-resnet50", "nas-bench-201", "fbnet-cifar100"]
)
def test_the_latency_is_the_sum_over_the_parts(name) -> None:
    space = load_space(name)
    table = made_up(space, samples=300)
    estimator = LookupEstimator(space, table, "made-up")
    assert isinstance(estimator, EfficiencyEstimator)
    genomes = space.sample_genomes(np.random.default_rng(0), 20)
    found = estimator.estimate(space.numbers(genomes))
    networks = [space.network(genome) for genome in genomes]
    assert found.latency_s == pytest.approx([naive_latency(table, network) for network in networks], rel=1e-12)
    assert found.latency_s == pytest.approx([network_latency(table, network)[0] for network in networks], rel=1e-12)
    parts = [len(parts_of_network(network)) for network in networks]
    # the spread of n independent parts of 1 us each, and what that makes on average of one run
    assert found.error_s == pytest.approx(1e-6 * np.sqrt(2 * np.array(parts) / math.pi), rel=1e-9)
    assert not found.extrapolated.any()
    alone = np.concatenate([estimator.estimate(space.numbers(genomes[i : i + 1])).latency_s for i in range(20)])
    assert np.array_equal(alone, found.latency_s)
    there = pickle.loads(pickle.dumps(estimator)).estimate(space.numbers(genomes))
    assert np.array_equal(there.latency_s, found.latency_s)


def test_a_missing_part_is_refused_by_name_or_scaled_and_flagged() -> None:
    space = load_space("ofa-mobilenet-v3-w1.2")
    table = made_up(space, [160, 192])
    values = {"resolution": 160, "depth_1": 2, "kernel_2": 5}
    within = space.genome(values)
    gone = next(part for name, part in parts_of_network(space.network(within)) if name == "stage1.block2")
    table = PartTable(table.source, {part: timing for part, timing in table.timings.items() if part != gone})
    estimator = LookupEstimator(space, table, "made-up")
    other = space.genome({**values, "kernel_2": 7})
    assert not estimator.estimate(space.numbers(other[None])).extrapolated[0]
    with pytest.raises(
        CosearchError, match=r"no entry for stage1\.block2: block 40x40x32 .* kernel 5 .*nearest entry is: block"
    ):
        estimator.estimate(space.numbers(np.stack([other, within])))
    with pytest.raises(CosearchError, match=r"stage1\.block2"):
        network_latency(table, space.network(within))
    assert any("stage1.block2" in text and "kernel 5" in text for text in estimator.missing())
    nearest = LookupEstimator(space, table, "made-up", nearest=True)
    found = nearest.estimate(space.numbers(np.stack([other, within])))
    assert found.extrapolated.tolist() == [False, True]
    near = table.nearest(gone)
    scaled = table.scaled(gone, near)
    rest = sum(table.timings[part].mean_s for _, part in parts_of_network(space.network(within)) if part != gone)
    assert found.latency_s[1] == pytest.approx(rest + scaled, rel=1e-12)
    assert found.error_s[1] > scaled * table.scaling_error(gone, near) > 0
    assert network_latency(table, space.network(within), nearest=True) == (pytest.approx(found.latency_s[1]), 1)


def test_what_has_no_entry_of_its_kind_is_refused_even_where_the_nearest_would_do() -> None:
    space = load_space("nas-bench-201")
    table = made_up(space)
    table = PartTable("no layers", {part: timing for part, timing in table.timings.items() if part.kind != "layer"})
    with pytest.raises(CosearchError, match="no layer at all"):
        LookupEstimator(space, table, "made-up", nearest=True).estimate(np.zeros((1, 6), dtype=np.int64))


def test_operations_without_macs_cost_nothing_where_a_table_times_none() -> None:
    space = load_space("nas-bench-201")
    full = made_up(space, samples=300)
    layers = PartTable("layers", {part: timing for part, timing in full.timings.items() if part.kind == "layer"})
    genome = space.genome(dict.fromkeys((knob.name for knob in space.knobs), "nor_conv_3x3"))
    expected = sum(
        layers.timings[part].mean_s for _, part in parts_of_network(space.network(genome)) if part.kind == "layer"
    )
    found = LookupEstimator(space, layers, "layers").estimate(space.numbers(genome[None]))
    assert found.latency_s[0] == pytest.approx(expected, rel=1e-12)


def test_a_knob_table_adds_up_what_counts() -> None:
    space = load_space("digits")
    draw = np.random.default_rng(0)
    times = {(knob.name, str(choice)): draw.integers(1, 100) * 1e-6 for knob in space.knobs for choice in knob.choices}
    table = KnobTable(
        "knobs", {("", ""): Timing(5e-6, 0.0), **{key: Timing(time, 1e-6) for key, time in times.items()}}
    )
    estimator = LookupEstimator(space, table, "knobs")
    genomes = space.sample_genomes(draw, 20)
    found = estimator.estimate(space.numbers(genomes))
    active = [space.active_values(genome) for genome in genomes]
    expected = [5e-6 + sum(times[name, str(value)] for name, value in values.items()) for values in active]
    assert found.latency_s == pytest.approx(expected, rel=1e-12)
    assert found.error_s == pytest.approx([1e-6 * math.sqrt(2 * len(values) / math.pi) for values in active])
    assert not found.extrapolated.any() and estimator.missing() == []
    alone = [estimator.estimate(space.numbers(genomes[i : i + 1])).latency_s[0] for i in range(20)]
    assert np.array_equal(alone, found.latency_s)


def test_a_knob_table_with_a_gap_says_which_and_one_of_another_space_is_refused() -> None:
    space = load_space("nas-bench-201")
    rows = {(knob.name, choice): Timing(1e-3) for knob in space.knobs for choice in knob.choices}
    del rows["edge_2_1", "none"]
    genomes = np.array([[1] * 6, [0] * 6])
    with pytest.raises(CosearchError, match="no entry for edge_2_1 = none; it has skip_connect"):
        LookupEstimator(space, KnobTable("knobs", rows), "knobs").estimate(genomes)
    found = LookupEstimator(space, KnobTable("knobs", rows), "knobs", nearest=True).estimate(genomes)
    assert found.extrapolated.tolist() == [False, True]
    assert found.latency_s == pytest.approx([6e-3, 6e-3]) and np.isnan(found.error_s).all()
    for key, said in ((("edge_9", "none"), "edge_9"), (("edge_2_1", "conv"), "choice of edge_2_1 'conv'")):
        with pytest.raises(CosearchError, match=said):
            LookupEstimator(space, KnobTable("knobs", {key: Timing(1e-3)}), "knobs")


@pytest.mark.parametrize(
    "values", [np.zeros((2, 5), dtype=np.int64), np.zeros((2, 6)), np.full((2, 6), 5), np.full((1, 6), -1)]
)
def test_values_that_name_no_network_are_refused(values) -> None:
    space = load_space("nas-bench-201")
    estimator = LookupEstimator(space, made_up(space, samples=50), "made-up")
    with pytest.raises(CosearchError, match="nas-bench-201"):
        estimator.estimate(values)


def test_estimators_by_name(tmp_path) -> None:
    space = load_space("nas-bench-201")
    path = tmp_path / "knobs.csv"
    lines = [f"{knob.name},{choice},1\n" for knob in space.knobs for choice in knob.choices]
    path.write_text("knob,choice,latency_ms\n" + "".join(lines), encoding="utf-8")
    for kind in ("lookup", "lookup-nearest"):
        estimator = make_efficiency(f"{kind}:{path}", space)
        assert (estimator.name, estimator.space_name) == (f"{kind}:{path}", "nas-bench-201")
        assert "30 measured choices" in estimator.device
    with pytest.raises(UnknownNameError, match="did you mean 'lookup'"):
        make_efficiency(f"lokup:{path}", space)
    with pytest.raises(CosearchError, match="name what was measured"):
        make_efficiency("lookup", space)


# Against what was measured elsewhere


def test_the_note10_table_covers_its_space_and_meets_the_published_latencies(shared_data: Path) -> None:
    """The three networks whose parts are all in the table; the published figures are whole ms (mit-han-lab/once-for-all)."""
    table = read_table(shared_data / "note10_lut")
    assert isinstance(table, PartTable)
    space = load_space("ofa-mobilenet-v3-w1.2")
    assert LookupEstimator(space, table, "note10").missing() == []
    published = json.loads((shared_data / "ofa_specialized" / "ofa_specialized_networks.json").read_text())
    off = {}
    for one in published:
        if one["device"] == "note10":
            latency_s, scaled = network_latency(table, network_from_config(one), nearest=True)
            off[one["constraint"], scaled == 0] = latency_s * 1e3 / one["constraint"] - 1
    assert {constraint for constraint, covered in off if covered} == {30.0, 41.0, 50.0}
    assert all(abs(error) < (0.03 if covered else 0.08) for (_, covered), error in off.items())


@pytest.mark.parametrize(
    ("device", "tolerance"), [("eyeriss", 1e-9), ("fpga", 1e-9), ("pixel3", 1e-6), ("raspi4", 1e-6)]
)
def test_hw_nas_benchs_fbnet_latencies_are_the_sum_of_their_blocks(
    shared_data: Path, tmp_path, device, tolerance
) -> None:
    """5,000 networks; the block table was solved from them up to one constant, which the first of them gives here.

    Of a block that changes no shape, "skip" costs nothing. The two phones' latencies were rounded before publication.
    """
    space = load_space("fbnet-cifar100")
    folder = shared_data / "fbnet_hw_latency"
    rows = {}
    with (folder / "fbnet_cifar100_block_lut_derived.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            key = tuple(int(row[name]) for name in ("h_in", "cin", "cout", "stride"))
            rows[key, row["op"]] = float(row[device])
    with (folder / "fbnet_cifar100_5000.csv").open(newline="") as stream:
        measured = list(csv.DictReader(stream))
    genomes = np.array([[int(row[f"op{layer}"]) for layer in range(22)] for row in measured])
    latency_s = np.array([float(row[f"{device}_latency_ms"]) for row in measured]) * 1e-3
    lines, place = [], (32, 16)
    plan = zip((1, 4, 4, 4, 4, 4, 1), (16, 24, 32, 64, 112, 184, 352), (1, 1, 2, 2, 1, 2, 1), strict=True)
    shapes = [(channels, stride if layer == 0 else 1) for depth, channels, stride in plan for layer in range(depth)]
    for knob, (channels, stride) in zip(space.knobs, shapes, strict=True):
        key = (*place, channels, stride)
        lines += [f"{knob.name},{op},{rows.get((key, op), 0.0)!r}" for op in knob.choices]
        place = (place[0] // stride, channels)
    path = tmp_path / "blocks.csv"
    path.write_text("\n".join(["knob,choice,latency_ms", *lines]) + "\n")
    without = make_efficiency(f"lookup:{path}", space).estimate(genomes[:1]).latency_s[0]
    path.write_text("\n".join(["knob,choice,latency_ms", *lines, f",,{float(latency_s[0] - without) * 1e3!r}"]) + "\n")
    found = make_efficiency(f"lookup:{path}", space).estimate(genomes)
    assert found.latency_s == pytest.approx(latency_s, rel=tolerance, abs=0)
