"""The front of a small space, every network counted, against every pair evaluated and against the dynamic program."""

import numpy as np
import pytest

from accel_models import load_target
from cosearch import study
from cosearch.census import census_front, countable, take_census
from cosearch.cost_table import make_cost_table
from cosearch.estimates import Estimators
from cosearch.evaluate import Evaluator, MappingOptions, Specification
from cosearch.network_front import network_front
from cosearch.objective import Limit
from cosearch.results import nondominated
from cosearch.spaces import load_space
from tests.cosearch.small_space import SmallSpace, Stagewise, every_network

SPACE = SmallSpace(stem=True)
SOMEBODY = Estimators(Stagewise(SPACE, 5))
OPTIONS = MappingOptions()
NAMES = ("top1_percent", "latency_s", "energy_j", "macs")
SIGNS = np.array([-1, 1, 1, 1])


@pytest.fixture(scope="module")
def eyeriss():
    return load_target("eyeriss")


@pytest.fixture(scope="module")
def every(eyeriss) -> dict[str, np.ndarray]:
    """All metrics of all networks, evaluated one by one."""
    networks = every_network(SPACE)
    evaluate = Evaluator(Specification(SPACE, eyeriss, "fixed", OPTIONS))
    outcomes = [evaluate(genome) for genome in networks]
    columns = {
        name: np.array([getattr(one, name) for one in outcomes], dtype=float)
        for name in ("latency_s", "energy_j", "macs", "params")
    }
    top1 = SOMEBODY.accuracy.estimate(SPACE.numbers(networks)).value
    return {**columns, "edp_js": columns["latency_s"] * columns["energy_j"], "top1_percent": top1}


def test_a_census_counts_every_network_once() -> None:
    census = take_census(SPACE)
    assert len(census.genomes) == SPACE.size == len(every_network(SPACE))
    network = SPACE.network(census.genomes[7])
    assert census.macs[7] == network.macs
    assert census.params[7] == network.params
    assert census.counts[[7]].sum() == len(network.nodes)


def front_of(values: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Values of the front, sorted; sums in another order differ in the last digits, which are rounded away."""
    rounded = (values / np.abs(scale).max(axis=0)).round(11)
    return np.unique(rounded[nondominated(rounded)], axis=0)


@pytest.mark.parametrize(
    ("metrics", "limits"),
    [
        (("top1_percent", "latency_s"), ()),
        (("top1_percent", "latency_s", "energy_j", "macs"), ()),  # one too many for the dynamic program
        (("top1_percent", "edp_js", "params"), ("params<=2000",)),
        (("latency_s",), ("top1>=65", "macs>=60000")),  # a limit from the good side: dominated networks are asked for
    ],
)
def test_the_front_is_that_of_every_pair(eyeriss, every, metrics, limits) -> None:
    asked = [Limit.parse(limit) for limit in limits]
    front = census_front(SPACE, eyeriss, OPTIONS, SOMEBODY, metrics, asked)
    keeps = np.ones(len(every["macs"]), dtype=bool)
    for limit in asked:
        keeps &= limit.violations(every[limit.metric]) <= 0
    assert 0 < keeps.sum() < len(keeps) or not limits
    signs = [-1.0 if name == "top1_percent" else 1.0 for name in metrics]
    values = np.stack([every[name][keeps] * sign for name, sign in zip(metrics, signs, strict=True)], axis=1)
    found = np.stack([front.metric(name) * sign for name, sign in zip(metrics, signs, strict=True)], axis=1)
    np.testing.assert_array_equal(front_of(found, values), front_of(values, values))


def test_the_front_is_that_of_the_dynamic_program(eyeriss) -> None:
    metrics = ("top1_percent", "latency_s", "energy_j")
    counted = census_front(SPACE, eyeriss, OPTIONS, SOMEBODY, metrics, ())
    table = make_cost_table(SPACE, eyeriss, OPTIONS)
    programmed = network_front(table, SOMEBODY.accuracy, metrics)
    for name in metrics:
        np.testing.assert_allclose(counted.metric(name), programmed.metric(name), rtol=1e-12)


def test_where_nothing_keeps_the_limits_the_nearest_is_told(eyeriss, every) -> None:
    limit = Limit.parse("macs<=1")
    front = census_front(SPACE, eyeriss, OPTIONS, SOMEBODY, ("latency_s",), [limit])
    assert front.macs.tolist() == [every["macs"].min()]


def test_exact_asks_a_small_space_for_what_is_no_dynamic_program(eyeriss, every) -> None:
    found = study.search(
        SPACE, eyeriss, ("top1", "latency", "energy", "macs"), strategy="exact", estimator=SOMEBODY.accuracy,
        fix_hardware=True, budget=2000,
    )  # fmt: skip
    rows = np.stack([every[name] for name in NAMES], axis=1) * SIGNS
    front = np.array([pair.metrics[name] for pair in found.front_pairs() for name in NAMES]).reshape(-1, 4) * SIGNS
    np.testing.assert_array_equal(front_of(front, rows), front_of(rows, rows))


def test_large_spaces_are_not_counted() -> None:
    assert countable(SPACE)
    assert not countable(load_space("ofa-mobilenet-v3"))


class Unhashable(Stagewise):
    """As a plug-in's may be, that compares by value."""

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        return self is other


def test_an_estimator_need_not_be_hashable(eyeriss) -> None:
    who = Estimators(Unhashable(SPACE, 5))
    front, same = (census_front(SPACE, eyeriss, OPTIONS, one, NAMES, ()) for one in (who, SOMEBODY))
    assert front.genomes.tolist() == same.genomes.tolist()
