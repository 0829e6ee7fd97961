"""A front under other energies: against evaluations by hand, and as a user asks for it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from accel_models.energy_sets import ENERGY_SETS, with_energies
from accel_models.networks import load_network
from cosearch.evaluate import MappingOptions
from cosearch.rescore import Figures, Machine, Twice, rank_correlations, rescore
from cosearch.results import Study
from cosearch.study import search

from .commands import Run, runner

NETWORK = load_network("mobilenet-v2", 64)


@pytest.fixture(scope="module")
def hardware(tiny, tmp_path_factory) -> Study:
    """20 machines for one network."""
    folder = tmp_path_factory.mktemp("hardware") / "run"
    return search(NETWORK, tiny, ("latency", "energy"), budget=20, population=10, out=folder, limits=["area_mm2<=2"])


@pytest.fixture(scope="module")
def ofa(tiny, tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("ofa") / "run"
    fast = MappingOptions(mapper="random", effort=20)
    return search("ofa-mobilenet-v3", tiny, budget=12, population=6, mapping=fast, fix_hardware=True, out=folder)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(monkeypatch, capsys)


@pytest.mark.parametrize("energies", ENERGY_SETS)
def test_rows_are_what_evaluations_say(hardware: Study, energies: str) -> None:
    found = rescore(hardware, energies)
    assert [row.pair.id for row in found.rows] == [pair.id for pair in hardware.front_pairs()]
    space = [knob.name for knob in hardware.archive.knobs()]
    assert space == ["hardware.array_x", "hardware.array_y", "hardware.buffer"]
    from cosearch.results import specification_of

    for row in found.rows:
        assert row.cost.before == (row.pair.metrics["latency_s"], row.pair.metrics["energy_j"])
        machine = specification_of(hardware).space().hardware.target(np.array(row.pair.genome))
        again = with_energies(machine, energies).evaluate(NETWORK)
        assert row.cost.after == (again.latency_s, again.energy_j)
        assert row.cost.kept.latency_s == row.cost.before.latency_s, "a mapping takes as long under any energies"


def test_new_mappings_are_no_worse_layer_by_layer_than_those_kept(tiny) -> None:
    one_layer = load_network("vgg16", 32)
    machine = Machine(tiny, "accelergy-table", MappingOptions())
    machine.cost(one_layer)
    _, new, kept = machine._found
    for layer, found in new.items():
        assert found.energy_pj * found.latency_cycles <= kept[layer].energy_pj * kept[layer].latency_cycles * (
            1 + 1e-12
        )


def test_who_is_still_on_the_front_is_not_dominated(hardware: Study) -> None:
    found = rescore(hardware, "accelergy-table")
    points = [(row.cost.after.latency_s, row.cost.after.energy_j) for row in found.rows]

    def dominated(point: tuple[float, float]) -> bool:
        return any(other != point and other[0] <= point[0] and other[1] <= point[1] for other in points)

    assert [row.on_front for row in found.rows] == [not dominated(point) for point in points]


def test_the_gain_is_against_the_same_network_on_the_unmodified_target(hardware: Study, tiny) -> None:
    (gain,) = rescore(hardware, "timeloop-table").gains
    pairs = hardware.front_pairs()
    best = min(pairs, key=lambda pair: pair.metrics["edp_js"])
    assert (gain.reference, gain.pair_id) == ("mobilenet-v2 on tiny", best.id)
    assert gain.edp_before == tiny.evaluate(NETWORK).edp_js / best.metrics["edp_js"]
    assert gain.survives == (gain.edp_after > 1)


def test_known_networks_are_the_reference_where_networks_vary(ofa: Study) -> None:
    found = rescore(ofa, "eyeriss-relative")
    published = {"mobilenet-v2 on tiny": 72.0, "mobilenet-v3-large on tiny": 75.2}  # Sandler 2018; Howard 2019
    top1 = {row.pair.id: row.pair.metrics["top1_percent"] for row in found.rows}
    for gain in found.gains:
        assert top1[gain.pair_id] >= published[gain.reference]
    comparable = [name for name, least in published.items() if max(top1.values()) >= least]
    assert [gain.reference for gain in found.gains] == comparable


def test_rank_correlations_against_scipy_and_by_hand() -> None:
    before, after = [1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 3.0, 4.0]
    costs = [Twice(Figures(1.0, x), Figures(1.0, y), Figures(1.0, y)) for x, y in zip(before, after, strict=True)]
    found = rank_correlations(costs)
    assert found["energy_j", "kendall"] == pytest.approx((5 - 1) / 6)  # five pairs in the same order, one not
    assert found["edp_js", "spearman"] == pytest.approx(stats.spearmanr(before, after).statistic)
    assert all(math.isnan(value) for value in rank_correlations(costs[:1]).values())


# The command


def test_the_command_prints_all_three_forms(hardware: Study, run: Run) -> None:
    folder = hardware.archive.path.parent
    rows = len(hardware.front_pairs())
    table = run("rescore", folder, "--energies", "accelergy-table")
    assert table.code == 0, table.err
    assert f"{rows} pairs of the front" in table.out
    assert "over mobilenet-v2 on tiny: EDP" in table.out
    csv = run("rescore", folder, "--format", "csv").out.splitlines()
    assert len(csv) == rows + 1
    assert csv[0].startswith("id,latency_ms_before,latency_ms_after,latency_ms_kept,energy_mj_before")
    answer = run("rescore", folder, "--format", "json").json
    assert answer["energies"] == "timeloop-table"
    assert [row["id"] for row in answer["rows"]] == [pair.id for pair in hardware.front_pairs()]
    assert set(answer["correlations"]) == {"energy_j", "edp_js"}


def test_mistakes_are_told(hardware: Study, run: Run, tmp_path) -> None:
    wrong = run("rescore", hardware.archive.path.parent, "--energies", "accelergy")
    assert (wrong.code, wrong.out) == (2, "")
    assert "did you mean 'accelergy-table'" in wrong.err
    missing = run("rescore", tmp_path / "nothing")
    assert missing.code == 2
    assert "holds no run" in missing.err
