"""Exact fronts against every network of a small space tried one by one, and on the large space against samples."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from accel_models.description import load_target, parse_target
from cosearch.accuracy.predictor import OfaMobileNetV3Predictor
from cosearch.cost_table import CostTable, make_cost_table
from cosearch.errors import SearchError
from cosearch.network_front import NetworkFront, Networks, check_question, network_front
from cosearch.objective import Limit
from cosearch.spaces import load_space
from cosearch.sums_kernel import promising_sums

from .conftest import TARGET
from .small_space import SmallSpace, Stagewise, every_network

QUESTIONS = [
    ["top1_percent", "latency_s"],
    ["top1_percent", "energy_j"],
    ["top1_percent", "edp_js"],
    ["top1_percent", "macs"],
    ["top1_percent", "latency_s", "energy_j"],
    ["top1_percent", "params", "energy_j"],
    ["latency_s", "energy_j"],
    ["edp_js"],
    ["energy_j", "area_mm2"],
    ["top1_percent"],
]
SPACES = {"plain": SmallSpace(), "wide": SmallSpace((50, 100)), "stem": SmallSpace((50, 100), stem=True)}


@pytest.fixture(scope="module", params=SPACES)
def table(request) -> CostTable:
    return make_cost_table(SPACES[request.param], parse_target(TARGET, "tiny.yaml"))


@cache
def every_cost(table: CostTable, estimator: Stagewise) -> dict[str, np.ndarray]:
    genomes = every_network(table.index.space)
    latency_s, energy_j = table.costs(genomes)
    macs, params = table.sizes(genomes)
    top1 = estimator.estimate(table.index.space.numbers(genomes)).value
    return {
        "top1_percent": -top1, "latency_s": latency_s, "energy_j": energy_j, "edp_js": latency_s * energy_j,
        "macs": macs, "params": params, "area_mm2": 0.0 * top1,
    }  # fmt: skip


@cache
def somebody(space: SmallSpace, seed: int) -> Stagewise:
    return Stagewise(space, seed)


def slow_front(table: CostTable, estimator: Stagewise, metrics: list[str], limits: list[Limit]) -> np.ndarray:
    """Values of the front, every network evaluated on its own and every pair of networks compared."""
    every = every_cost(table, estimator)
    keeps = np.ones(len(every["macs"]), dtype=bool)
    for limit in limits:
        value = every[limit.metric] * limit.factor
        keeps &= -value >= limit.bound if limit.metric == "top1_percent" else value <= limit.bound
    values = np.stack([every[name] for name in metrics], axis=1)[keeps]
    values = values[np.lexsort(values.T[::-1])]
    front: list[np.ndarray] = []
    for row in values:  # in lexicographic order, whoever dominates a row stands before it
        if not any((other <= row * (1 + 1e-13 * np.sign(row))).all() for other in front):
            front.append(row)
    return np.array(front)


def values_of(front: NetworkFront, metrics: list[str]) -> np.ndarray:
    return np.stack([front.metric(name) * (-1 if name == "top1_percent" else 1) for name in metrics], axis=1)


@pytest.mark.parametrize("metrics", QUESTIONS, ids=",".join)
def test_the_front_is_that_of_every_network_tried(table, metrics) -> None:
    space = table.index.space
    for seed in (0, 3):
        estimator = somebody(space, seed)
        front = network_front(table, estimator, metrics)
        np.testing.assert_allclose(values_of(front, metrics), slow_front(table, estimator, metrics, []), rtol=1e-12)
        np.testing.assert_array_equal(front.genomes, space.canonical(front.genomes))
        np.testing.assert_array_equal(np.stack([front.latency_s, front.energy_j]), np.stack(table.costs(front.genomes)))
        if "top1_percent" in metrics:
            expected = estimator.estimate(space.numbers(front.genomes)).value
            np.testing.assert_allclose(front.top1_percent, expected, rtol=1e-13)


@pytest.mark.parametrize("metrics", [["edp_js"], ["top1_percent", "energy_j"], ["latency_s"]], ids=",".join)
@pytest.mark.parametrize("quantity", ["top1", "latency_ms", "energy_mj", "macs"])
def test_limits_cut_the_front_and_nothing_else(table, metrics, quantity) -> None:
    estimator = somebody(table.index.space, 3)
    whole = network_front(table, estimator, ["top1_percent", "latency_s", "energy_j"])
    unlimited = Limit(quantity, ">=" if quantity == "top1" else "<=", 1.0)
    seen = np.sort(whole.metric(unlimited.metric) * unlimited.factor)
    for place in (len(seen) // 3, len(seen) // 2):
        limit = Limit(quantity, unlimited.sense, float(seen[place]))
        found = network_front(table, estimator, metrics, [limit])
        expected = slow_front(table, estimator, metrics, [limit])
        np.testing.assert_allclose(values_of(found, metrics), expected, rtol=1e-12)
        assert limit.violations(found.metric(limit.metric)).max() <= 0


def test_where_no_network_keeps_the_limits_the_nearest_is_the_answer(table) -> None:
    estimator = somebody(table.index.space, 0)
    limits = [Limit.parse("energy_mj<=1e-9"), Limit.parse("top1>=50")]
    front = network_front(table, estimator, ["top1_percent", "latency_s"], limits)
    least = slow_front(table, estimator, ["energy_j"], [])
    assert len(front) == 1
    assert front.energy_j[0] == pytest.approx(least[0, 0], rel=1e-12)


def test_no_sample_of_the_large_space_beats_its_front() -> None:
    space, estimator = load_space("ofa-mobilenet-v3"), OfaMobileNetV3Predictor()
    table = make_cost_table(space, load_target("nvdla_256"), resolutions=(128, 160))
    genomes = space.sample_genomes(np.random.default_rng(0), 20_000)
    genomes[:, 0] = np.where(genomes[:, 0] % 2, space.knobs[0].index(128), space.knobs[0].index(160))
    sampled_s, sampled_j = table.costs(genomes)
    front = network_front(table, estimator, ["top1_percent", "latency_s", "energy_j"])
    drop = estimator.estimate(space.numbers(front.genomes)).value - front.top1_percent
    assert np.ptp(drop) < 1e-9 and drop[0] > 0  # what 8 bits cost
    sampled = np.stack([drop[0] - estimator.estimate(space.numbers(genomes)).value, sampled_s, sampled_j], axis=1)
    values = values_of(front, ["top1_percent", "latency_s", "energy_j"])
    for row in sampled[:2000]:
        assert (values <= row + 1e-12).all(axis=1).any()
    two = network_front(table, estimator, ["top1_percent", "edp_js"])
    edp = sampled_s * sampled_j
    best = np.array([two.metric("edp_js")[two.top1_percent >= -top1 - 1e-12].min() for top1 in sampled[:, 0]])
    assert (best <= edp * (1 + 1e-12)).all()


def test_the_product_is_found_as_the_front_in_both_factors_finds_it(table) -> None:
    estimator = somebody(table.index.space, 3)
    both = Networks(table, estimator, ("score", "cycles", "energy_j")).front([])
    by_factors = np.stack([-both.top1_percent, both.metric("edp_js")], axis=1)
    found = values_of(network_front(table, estimator, ["top1_percent", "edp_js"]), ["top1_percent", "edp_js"])
    for row in by_factors:
        assert (found <= row * (1 + 1e-12 * np.sign(row))).all(axis=1).any()


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["top1_percent", "latency_s", "energy_j", "macs"], "one to 3 of .* not 4"),
        (["top1_percent", "edp_js", "params"], "one to 3 of .* not 4"),
        (["area_mm2"], "not 0"),
    ],
)
def test_too_many_sums_are_refused(metrics, message) -> None:
    space = SmallSpace()
    with pytest.raises(SearchError, match=message):
        check_question(space, Stagewise(space, 0), metrics, [])


@pytest.mark.parametrize("text", ["top1<=70", "latency_ms>=1", "macs>=1000"])
def test_limits_from_the_good_side_are_refused(text) -> None:
    space = SmallSpace()
    with pytest.raises(SearchError, match=f"limit {text} asks for networks that others dominate"):
        check_question(space, Stagewise(space, 0), ["top1_percent", "energy_j"], [Limit.parse(text)])


def test_accuracy_that_is_no_sum_over_stages_is_refused() -> None:
    with pytest.raises(SearchError, match="no dynamic program"):
        check_question(SmallSpace(), None, ["top1_percent", "macs"], [])


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_the_filter_of_sums_keeps_the_front(columns) -> None:
    rng = np.random.default_rng(columns)
    for case in range(25):
        one, other = (rng.integers(0, 3 + 20 * case, (rng.integers(1, 40), columns)) / 7 for _ in range(2))
        most = np.where(rng.random(columns) < 0.3, np.quantile(one, 0.7) * 2, np.inf)
        sums = (one[:, None] + other).reshape(-1, columns)
        kept = promising_sums(one, other, most)
        legal = (sums <= most).all(axis=1)
        assert legal[kept].all()
        for place in np.flatnonzero(legal):
            dominated = ((sums <= sums[place]).all(axis=1) & (sums < sums[place]).any(axis=1) & legal).any()
            assert dominated or place in kept
