"""TinyNAS's selection of a sub-space: memory look-ups against whole networks, ranking, command and picture."""

from __future__ import annotations

import numpy as np
import pytest

from accel_models.memory_plan import memory_plan
from cosearch.errors import CosearchError, SearchError
from cosearch.report.cdf import plot_cdf
from cosearch.spaces import load_space
from cosearch.spaces.attentive_nas import AttentiveNas
from cosearch.spaces.mcunet import McuNet
from cosearch.spaces.ofa_mobilenet_v3 import OfaMobileNetV3
from cosearch.spaces.space_file import SpaceOfFile
from cosearch.tiny_nas import LEAST_FITTING, MemoryTable, Selection, SubSpace, select_sub_space
from tests.cosearch.commands import runner

SMALL = McuNet((30, 50, 70), (96, 144))

OWN = """
name: own
resolutions: [16, 32]
widths_percent: [50, 100]
classes: 10
kernels: [3, 5]
expands: [3, 6]
stem: {channels: 16}
stages:
  - {channels: 24, depths: [1, 2], stride: 2}
"""


@pytest.fixture(scope="module")
def selection() -> Selection:
    return select_sub_space(SMALL, sram_kib=256, flash_kib=1024, samples=200)


@pytest.mark.parametrize(
    "space", [McuNet((20, 50), (48, 176), mix=True), OfaMobileNetV3(), AttentiveNas(), SpaceOfFile(OWN)],
    ids=lambda space: space.name,
)  # fmt: skip
def test_look_ups_are_the_memory_plans_of_whole_networks(space):
    genomes = space.sample_genomes(np.random.default_rng(0), 12)
    networks = [space.network(genome) for genome in genomes]
    peak, params, macs = MemoryTable(space).of(genomes)
    assert peak.tolist() == [memory_plan(network).peak_bytes for network in networks]
    assert params.tolist() == [network.params for network in networks]
    assert macs.tolist() == [network.macs for network in networks]


def test_sub_spaces_are_what_a_loop_over_their_networks_finds(selection):
    part = next(part for part in selection.ranked if part.label == "w50-r144")
    space = McuNet((50,), (144,))
    # the same random numbers as in the selection; genes of width and resolution have one choice here
    whole = McuNet((30, 50, 70), (96, 144))
    genomes = whole.sample_genomes(np.random.default_rng([0, 50, 144]), 200)
    genomes[:, 0], genomes[:, whole.columns.stem.start] = 1, 1
    kept = []
    for genome in genomes[:60]:
        network = whole.network(genome)
        assert network.nodes == space.network(space.genome(whole.active_values(genome))).nodes
        if memory_plan(network).peak_bytes <= 256 * 1024 and network.params <= 1024 * 1024:
            kept.append(network.macs)
    assert set(kept) <= set(part.macs)
    assert abs(len(kept) / 60 - part.fitting) < 0.2
    assert part.mean_macs == pytest.approx(np.mean(part.macs))
    assert part.quantile_macs(0.5) == pytest.approx(np.median(part.macs))


def test_sub_spaces_are_ranked_by_the_mean_of_what_fits(selection):
    means = [part.mean_macs for part in selection.ranked]
    assert means == sorted(means, reverse=True)
    assert len(selection.ranked) + len(selection.unranked) == 6
    assert all(part.fitting >= LEAST_FITTING for part in selection.ranked)
    assert all(part.fitting < LEAST_FITTING for part in selection.unranked)
    assert selection.best is selection.ranked[0]
    assert load_space(selection.name(selection.best)).arguments[:2] == (
        (selection.best.width,), (selection.best.resolution_px,)
    )  # fmt: skip


def test_the_same_seed_ranks_alike_and_another_draws_other_networks(selection):
    assert select_sub_space(SMALL, sram_kib=256, flash_kib=1024, samples=200) == selection
    other = select_sub_space(SMALL, sram_kib=256, flash_kib=1024, samples=200, seed=1)
    assert other.ranked != selection.ranked


def test_more_memory_never_fits_fewer(selection):
    larger = select_sub_space(SMALL, sram_kib=320, flash_kib=2048, samples=200)
    fitting = {part.label: part.fitting for part in (*larger.ranked, *larger.unranked)}
    assert all(part.fitting <= fitting[part.label] for part in (*selection.ranked, *selection.unranked))
    assert fitting["w50-r144"] == 1.0


def test_memory_is_compared_to_the_byte():
    space = McuNet((50,), (96,))
    genomes = space.sample_genomes(np.random.default_rng([0, 50, 96]), 30)
    peak, params, _ = MemoryTable(space).of(genomes)
    at = {"samples": 30, "flash_kib": params.max() / 1024}
    assert select_sub_space(space, sram_kib=peak.max() / 1024, **at).ranked[0].fitting == 1.0
    below = select_sub_space(space, sram_kib=(peak.max() - 1) / 1024, **at)
    assert below.ranked[0].fitting == (peak < peak.max()).mean() < 1.0


def test_names_of_sub_spaces_keep_the_other_words():
    part = SubSpace(50, 144, 10, (1,))
    for space, expected in (
        ("mcunet", "mcunet@w50-r144"),
        ("mcunet@c10", "mcunet@c10-w50-r144"),
        ("mcunet@w50,60-mix", "mcunet@mix-w50-r144"),
    ):
        assert Selection(space, 1, 1, 10, 0, (), ()).name(part) == expected
        assert load_space(expected).knobs[0].choices == (144,)


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(SearchError, match="space 'attentive-nas' has no sub-spaces to select from"):
        select_sub_space(AttentiveNas(), sram_kib=320, flash_kib=1024)
    with pytest.raises(SearchError, match="sram_kib = 0 must be positive"):
        select_sub_space(SMALL, sram_kib=0, flash_kib=1024)
    with pytest.raises(SearchError, match=r"of no width and resolution do 10% of the networks fit 1 KiB of SRAM"):
        _ = select_sub_space(SMALL, sram_kib=1, flash_kib=1024, samples=5).best


def test_the_table_has_a_row_per_sub_space(selection):
    frame = selection.to_dataframe()
    assert len(frame) == 6
    assert frame["rank"].dropna().tolist() == list(range(1, len(selection.ranked) + 1))
    assert frame["mean_mmacs"][0] == pytest.approx(selection.best.mean_macs / 1e6)
    assert (frame["median_mmacs"] <= frame["p90_mmacs"])[: len(selection.ranked)].all()


def test_the_picture_has_a_curve_per_ranked_sub_space(selection, tmp_path):
    figure = plot_cdf(selection, tmp_path / "cdf.svg")
    axis = figure.axes[0]
    curves = [line for line in axis.lines if len(line.get_xdata()) > 2]
    assert len(curves) == len(selection.ranked)
    best = max(curves, key=lambda line: line.get_linewidth())
    assert best.get_ydata()[-1] == 100
    assert best.get_xdata()[-1] == selection.best.macs[-1] / 1e6
    assert selection.best.label in axis.get_legend().get_texts()[0].get_text()
    assert axis.get_xlabel() == "M MACs"
    first = (tmp_path / "cdf.svg").read_bytes()
    plot_cdf(selection, tmp_path / "cdf.svg")
    assert (tmp_path / "cdf.svg").read_bytes() == first
    with pytest.raises(CosearchError, match=r"the file must end in \.png"):
        plot_cdf(selection, "cdf.txt")


def test_the_command_ranks_prints_and_draws(tmp_path, monkeypatch, capsys):
    run = runner(monkeypatch, capsys)
    (tmp_path / "own.yaml").write_text(OWN, encoding="utf-8")
    words = ("spaces", "select", tmp_path / "own.yaml", "--sram-kib", 8, "--flash-kib", 100, "--samples", 50)
    done = run(*words, "--plot", tmp_path / "cdf.png")
    assert done.code == 0
    best = done.out.rsplit("--space ", 1)[1].strip()
    assert load_space(best).size > 1
    assert (tmp_path / "cdf.png").read_bytes()[:4] == b"\x89PNG"
    told = run(*words, "--format", "json").json
    assert told["best"] == best == told["rows"][0]["space"]
    assert len(told["rows"]) == 4
    lines = run(*words, "--format", "csv").out.splitlines()
    assert lines[0].startswith("rank,space,width,resolution_px,fitting_percent,mean_mmacs")
    assert len(lines) == 5
    few = run("spaces", "select", "attentive-nas", "--sram-kib", 8, "--flash-kib", 100)
    assert (few.code, few.err) == (
        2, "cosearch: space 'attentive-nas' has no sub-spaces to select from: it has no one width for the whole network\n"
    )  # fmt: skip
