"""Leakage: power times latency, a part of its own of the energy, where a description gives it."""

from __future__ import annotations

import pytest

from accel_models.accelerator import Accelerator
from accel_models.description import load_target, parse_target, target_names, with_values
from accel_models.errors import DescriptionError
from accel_models.network_builder import NetworkBuilder
from accel_models.targets import asic
from accel_models.workload import Network

TARGET = """
name: leaky
clock_mhz: 50
node_nm: 45
levels:
  - {name: registers, component: register_file, keeps: [weights, inputs, outputs], entries: 16}
  - name: buffer
    component: sram
    keeps: [inputs, outputs]
    entries: 512
    fanout: {x: {size: 4, dims: [K]}, y: {size: 2, dims: [C]}}
  - {name: dram, component: dram, keeps: [weights, inputs, outputs], shared_bandwidth_words_per_cycle: 2}
"""
GIVEN = {
    "registers.leakage_mw": 0.25,
    "buffer.leakage_mw": 3,
    "dram.leakage_mw": 5,
    "mac.leakage_mw": 0.5,
    "leakage_mw": 7,
}


@pytest.fixture(scope="module")
def tight() -> Accelerator:
    return parse_target(TARGET, "leaky.yaml")


@pytest.fixture(scope="module")
def network() -> Network:
    net = NetworkBuilder("net", channels=4, height=8)
    net.conv("first", 8, 3, activation="relu")
    net.global_pool("pool")
    net.linear("classifier", 10)
    return net.build()


def test_left_out_there_is_none(tight, network) -> None:
    cost = tight.evaluate(network, effort=10)
    assert (tight.leakage_breakdown_mw, cost.leakage, cost.leakage_j) == ((), (), 0)
    assert "leakage" not in str(cost)
    assert all(load_target(name).leakage_breakdown_mw == () for name in target_names())


def test_every_part_leaks_with_all_of_its_instances_for_the_whole_latency(tight, network) -> None:
    cost = with_values(tight, GIVEN).evaluate(network, effort=10)
    # 8 register files and 8 MACs, one buffer, one DRAM, the rest of the chip
    power_mw = {"registers": 2, "buffer": 3, "dram": 5, "mac": 4, "chip": 7}
    assert dict(cost.leakage) == {name: pytest.approx(each * 1e-3 * cost.latency_s) for name, each in power_mw.items()}
    assert cost.leakage_j == pytest.approx(21e-3 * cost.latency_s)
    assert f"({cost.leakage_j * 1e3:.3f} mJ of it leakage)" in str(cost)


def test_energy_is_the_rows_and_the_leakage(tight, network) -> None:
    cache: asic.Cache = {}
    leaky = with_values(tight, GIVEN)
    without, cost = (asic.evaluate(network, each, effort=10, cache=cache) for each in (tight, leaky))
    assert cost.operations == without.operations
    assert cost.latency_s == without.latency_s
    assert cost.energy_j == without.energy_j + cost.leakage_j
    assert cost.energy_j == pytest.approx(
        sum(row.energy_pj for row in cost.operations) * 1e-12 + cost.leakage_j, rel=1e-12
    )
    assert cost.edp_js == cost.energy_j * cost.latency_s
    assert asic.totals(network, leaky, cache) == (cost.latency_s, cost.energy_j)


@pytest.mark.parametrize("path", GIVEN)
def test_each_part_may_be_given_alone(tight, network, path) -> None:
    cost = with_values(tight, {path: 2}).evaluate(network, effort=10)
    instances = 8 if path in ("registers.leakage_mw", "mac.leakage_mw") else 1
    assert cost.leakage_j == pytest.approx(2e-3 * instances * cost.latency_s)


def test_a_slower_clock_leaks_longer(tight, network) -> None:
    cache: asic.Cache = {}
    fast, slow = (
        asic.evaluate(network, with_values(tight, {**GIVEN, "clock_mhz": clock}), effort=10, cache=cache)
        for clock in (100, 25)
    )
    assert slow.leakage_j == pytest.approx(4 * fast.leakage_j)
    assert slow.energy_j - slow.leakage_j == pytest.approx(fast.energy_j - fast.leakage_j)


def test_what_is_spared_by_staying_on_chip_is_spared_of_leakage_too(tight, network) -> None:
    cache: asic.Cache = {}
    leaky = with_values(tight, {**GIVEN, "buffer.entries": 2048})
    asic.evaluate(network, tight, effort=10, cache=cache)
    off = asic.evaluate(network, leaky, cache=cache)
    on = asic.evaluate(network, with_values(leaky, {"buffer.holds_tensors": True}), cache=cache)
    assert on.latency_s < off.latency_s
    assert on.leakage_j == pytest.approx(21e-3 * on.latency_s)
    assert on.energy_j == pytest.approx(sum(row.energy_pj for row in on.operations) * 1e-12 + on.leakage_j, rel=1e-12)


@pytest.mark.parametrize("wrong", [-1, float("inf"), "much"])
def test_a_leakage_that_is_none_is_refused(tight, wrong) -> None:
    with pytest.raises(DescriptionError, match=r"buffer\.leakage_mw"):
        with_values(tight, {"buffer.leakage_mw": wrong})
