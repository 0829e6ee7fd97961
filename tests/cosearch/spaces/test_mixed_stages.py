"""Stages with choices of their own, choices per stage, and one width for a whole network: against every network tried."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from accel_models.description import parse_target
from accel_models.network_builder import NetworkBuilder
from accel_models.targets import asic
from cosearch.cost_table import CostTable, make_cost_table
from cosearch.errors import SpaceError
from cosearch.network_front import network_front
from cosearch.objective import Limit
from cosearch.space import Genomes, Knob
from cosearch.spaces import elastic
from cosearch.spaces.elastic import Block
from cosearch.spaces.pieces import PiecewiseSpace
from tests.cosearch.conftest import TARGET
from tests.cosearch.small_space import Stagewise, every_network


class Stages(PiecewiseSpace):
    """Inverted bottlenecks whose channels are their stage's width."""

    source = "a test"

    def __init__(self, options: tuple[tuple[str, object], ...]) -> None:
        self.arguments = (options,)
        super().__init__("stages", "a small space", resolutions=(16, 24), depths=((1, 2), (1, 2)), **dict(options))

    def add_entrance(self, net: NetworkBuilder, stem: tuple[int, ...]) -> None:
        channels = 8 * stem[0] // 50 if self.one_width else 8
        net.conv("stem", channels, stem[-1] if len(stem) > self.one_width else 3, stride=2, activation="relu")

    def add_block(self, net: NetworkBuilder, block: Block) -> None:
        stride = 2 if block.block == 1 else 1
        channels = 8 * block.stage * block.width // 50 if self.one_width else block.width
        net.mbconv(f"{block.stage}.{block.block}", channels, block.kernel, block.expand, stride=stride)

    def add_exit(self, net: NetworkBuilder) -> None:
        net.global_pool("pool")
        net.linear("classifier", 10)


OWN = {"widths": ((8, 16), (16, 24, 32)), "kernels": ((3,), (1, 3)), "expands": ((1, 2), (2,))}
SPACES = {
    "choices of their own": Stages(tuple(OWN.items())),
    "per stage": Stages((("per_stage", True), *OWN.items(), ("stem", (Knob("stem_kernel", (1, 3)),)))),
    "one width": Stages((
        ("one_width", True), ("widths", (50, 100)), ("kernels", (1, 3)), ("expands", (1, 2)),
        ("stem", (Knob("stem_kernel", (1, 3)),)),
    )),
}  # fmt: skip


class Scores(Stagewise):
    """As its parent, of spaces whose stages have choices of their own."""

    def score(self, genome: Genomes) -> float:
        space, score = self._space, 0.0
        for stage, scores in enumerate(self.stage_scores):
            choices = space.stages[stage]
            pairs = [
                choices.kernels.index(block.kernel) * len(choices.expands) + choices.expands.index(block.expand)
                for block in space.blocks(genome)
                if block.stage == stage + 1
            ]
            wanted = pairs + [-1] * (choices.depths[-1] - len(pairs))
            score += float(scores[space.stage_options(stage).tolist().index(wanted)])
        return score


@pytest.fixture(scope="module", params=SPACES)
def table(request) -> CostTable:
    return make_cost_table(SPACES[request.param], parse_target(TARGET, "tiny.yaml"))


@pytest.mark.parametrize("name", SPACES)
def test_the_size_is_the_number_of_different_networks(name):
    space = SPACES[name]
    genomes = every_network(space)
    assert len(genomes) == space.size
    assert len({(network.nodes, network.input) for network in map(space.network, genomes)}) == space.size
    assert [options.shape[0] for options in map(space.stage_options, range(2))] == {
        "choices of their own": [2 + 4, 2 + 4], "per stage": [4, 4], "one width": [4 + 16, 4 + 16],
    }[name]  # fmt: skip


def test_knobs_are_numbered_by_block_or_by_stage_and_one_width_is_a_knob_of_the_stem():
    names = {name: [knob.name for knob in space.knobs[3:]] for name, space in SPACES.items()}
    blocks = [f"{kind}_{block}" for kind in ("kernel", "expand") for block in range(1, 5)]
    stages = [f"{kind}_{stage}" for kind in ("kernel", "expand") for stage in range(1, 3)]
    assert names["choices of their own"] == ["width_1", "width_2", *blocks]
    assert names["per stage"] == ["stem_kernel", "width_1", "width_2", *stages]
    assert names["one width"] == ["width", "stem_kernel", *blocks]


def test_blocks_of_a_stage_share_what_is_chosen_per_stage():
    space = SPACES["per stage"]
    genome = space.genome({"depth_2": 2, "width_1": 16, "width_2": 32, "kernel_2": 3, "expand_1": 2})
    assert space.blocks(genome) == [Block(1, 1, 3, 2, 16), Block(2, 1, 3, 2, 32), Block(2, 2, 3, 2, 32)]
    assert space.active(genome[None]).all()


def test_costs_are_those_of_networks_one_by_one(table):
    space, machine = table.index.space, table.accelerator
    genomes = space.sample_genomes(np.random.default_rng(0), 40)
    latency_s, energy_j = table.costs(genomes)
    macs, params = table.sizes(genomes)
    cache: asic.Cache = {}
    for row, genome in enumerate(genomes):
        network = space.network(genome)
        asic.find_mappings(network.distinct_layers, machine, cache, "edp", "exact", 1, 0)
        latency, energy = asic.totals(network, machine, cache)
        assert latency_s[row] == pytest.approx(latency, rel=1e-12)
        assert energy_j[row] == pytest.approx(energy, rel=1e-12)
        assert (macs[row], params[row]) == (network.macs, network.params)


@pytest.mark.parametrize(
    "metrics",
    [["top1_percent", "latency_s"], ["top1_percent", "edp_js"], ["top1_percent", "macs", "energy_j"], ["latency_s", "params"],
     ["edp_js"], ["top1_percent"]],
    ids=",".join,
)  # fmt: skip
def test_the_front_is_that_of_every_network_tried(table, metrics):
    space = table.index.space
    estimator = Scores(space, 1)
    genomes = every_network(space)
    front = network_front(table, estimator, metrics)
    values = _values(table, estimator, genomes, metrics)
    best = values[[not _beaten(row, values) for row in values]]
    found = _values(table, estimator, front.genomes, metrics)
    np.testing.assert_array_equal(front.genomes, space.canonical(front.genomes))
    for row in best:  # equal rows count once
        assert np.isclose(found, row, rtol=1e-12).all(axis=1).any()
    assert not any(_beaten(row, values) for row in found)


def test_a_front_under_a_limit_keeps_it(table):
    space = table.index.space
    estimator = Scores(space, 1)
    genomes = every_network(space)
    macs = table.sizes(genomes)[0]
    bound = float(np.median(macs))
    front = network_front(table, estimator, ["top1_percent"], [Limit("macs", "<=", bound)])
    reached = estimator.estimate(space.numbers(genomes[macs <= bound])).value.max()
    assert front.macs[0] <= bound
    assert estimator.estimate(space.numbers(front.genomes)).value[0] == pytest.approx(reached, rel=1e-12)


def test_too_many_choices_of_a_stage_are_refused_before_they_are_listed(monkeypatch):
    monkeypatch.setattr(elastic, "MOST_OPTIONS", 19)
    with pytest.raises(
        SpaceError, match="stage 1 has 20 choices of depth, kernels and expand ratios: too many to list"
    ):
        SPACES["one width"].stage_options(0)


@pytest.mark.parametrize("name", SPACES)
def test_it_travels(name):
    space = SPACES[name]
    assert pickle.loads(pickle.dumps(space)).sample(seed=3) == space.sample(seed=3)


def _values(table: CostTable, estimator: Scores, genomes: Genomes, metrics: list[str]) -> np.ndarray:
    latency_s, energy_j = table.costs(genomes)
    macs, params = table.sizes(genomes)
    columns = {
        "top1_percent": -estimator.estimate(table.index.space.numbers(genomes)).value, "latency_s": latency_s,
        "energy_j": energy_j, "edp_js": latency_s * energy_j, "macs": macs, "params": params,
    }  # fmt: skip
    return np.stack([columns[name] for name in metrics], axis=1)


def _beaten(row: np.ndarray, values: np.ndarray) -> bool:
    """Whether another row is better somewhere and no worse anywhere, rounding aside."""
    margin = 1e-12 * np.abs(row)
    return bool(((values <= row + margin).all(axis=1) & (values < row - margin).any(axis=1)).any())
