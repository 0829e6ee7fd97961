"""All layers on one machine in one call: what single calls find, in any number of threads, and the first refusal."""

from __future__ import annotations

import time

import numpy as np
import pytest

import accel_models
from accel_models.accelerator import Accelerator
from accel_models.description import load_target, parse_target
from accel_models.errors import MappingError, UnknownNameError
from accel_models.mapper import table
from accel_models.mapper.base import Found
from accel_models.mapper.best import find
from accel_models.mapper.table import map_layers
from accel_models.networks import load_network
from accel_models.targets import asic
from accel_models.workload import Layer, Network

RULED = """
name: ruled
clock_mhz: 50
node_nm: 45
levels:
  - {name: registers, component: register_file, keeps: [weights, inputs, outputs], entries: 64}
  - name: buffer
    component: sram
    keeps: [weights, inputs, outputs]
    entries: 4096
    fanout: {x: {size: 4, dims: [K]}}
    temporal: {factors: {R: 3}}
  - {name: dram, component: dram, keeps: [weights, inputs, outputs]}
"""


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network("mobilenet-v2")


@pytest.fixture(scope="module")
def nvdla() -> Accelerator:
    return load_target("nvdla_256")


def same(one: Found, other: Found) -> bool:
    return np.array_equal(one.array, other.array) and one._replace(array=other.array) == other


@pytest.mark.parametrize(
    ("mapper", "options"), [("exact", {}), ("random", {"effort": 40, "seed": 3}), ("naas", {"effort": 60, "seed": 3})]
)
def test_it_finds_what_single_calls_find_in_any_number_of_threads(network, nvdla, mapper, options) -> None:
    layers = list(network.distinct_layers)[: 40 if mapper == "exact" else 6]
    alone = {
        layer: find(layer, nvdla, "edp", mapper, options.get("effort", 1), options.get("seed", 0)) for layer in layers
    }
    for threads in (1, 2, 5):
        found = map_layers(layers, nvdla, mapper=mapper, threads=threads, **options)
        assert list(found) == layers
        assert all(same(found[layer], alone[layer]) for layer in layers)


def test_every_distinct_layer_is_mapped_once(network, nvdla, monkeypatch) -> None:
    asked: list[Layer] = []
    answer = Found(np.ones((4, 4, 8), dtype=np.int32), 1.0, 1.0, 1)
    monkeypatch.setattr(table, "find", lambda layer, *_: asked.append(layer) or answer)
    layers = [layer for _, layer in network.layers]
    assert list(map_layers(layers, nvdla)) == list(network.distinct_layers) == asked
    assert len(layers) > len(asked)
    assert map_layers([], nvdla, threads=2) == {}


def test_the_objective_is_passed_on(network, nvdla) -> None:
    layers = list(network.distinct_layers)[:3]
    by = {objective: map_layers(layers, nvdla, objective) for objective in ("energy", "latency")}
    for layer in layers:
        assert same(by["latency"][layer], find(layer, nvdla, "latency", "exact", 1, 0))
        assert by["energy"][layer].energy_pj <= by["latency"][layer].energy_pj
        assert by["energy"][layer].latency_cycles >= by["latency"][layer].latency_cycles


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_first_layer_that_cannot_be_mapped_is_named(threads) -> None:
    ruled = parse_target(RULED, "ruled.yaml")
    layers = [Layer(K=4, R=3), Layer(K=4, R=5), Layer(K=4, R=3), Layer(K=8, R=7)]
    with pytest.raises(MappingError, match=r"ruled: layer K4 R5 cannot be mapped: .*does not divide R = 5"):
        map_layers(layers, ruled, threads=threads)


def test_a_later_refusal_that_comes_sooner_waits_its_turn(nvdla, monkeypatch) -> None:
    def refuse(layer: Layer, *_: object) -> Found:
        time.sleep(0.05 if layer.K == 1 else 0)
        raise MappingError(f"refused {layer.K}")

    monkeypatch.setattr(table, "find", refuse)
    with pytest.raises(MappingError, match="refused 1"):
        map_layers([Layer(), Layer(K=2), Layer(K=3)], nvdla, threads=2)


@pytest.mark.parametrize("threads", [1, 2])
def test_unknown_names(network, nvdla, threads) -> None:
    with pytest.raises(UnknownNameError, match="unknown mapper 'exakt': did you mean 'exact'"):
        map_layers(network.distinct_layers, nvdla, mapper="exakt", threads=threads)
    with pytest.raises(UnknownNameError, match="unknown objective"):
        map_layers(network.distinct_layers, nvdla, "speed", threads=threads)


def test_a_networks_cost_is_the_same_in_any_number_of_threads(network, nvdla) -> None:
    one, two = (asic.evaluate(network, nvdla, threads=threads) for threads in (1, 2))
    assert one == two
    assert accel_models.map_layers is map_layers


def test_layers_that_are_known_are_not_looked_for(network, nvdla) -> None:
    first, *others = network.distinct_layers
    known = Found(np.ones((4, 4, 8), dtype=np.int32), 1.0, 1.0, 1)
    cache: asic.Cache = {first: known}
    asic.find_mappings([first, *others[:2]], nvdla, cache, "edp", "exact", 1, 0, threads=2)
    assert cache[first] is known
    assert list(cache) == [first, *others[:2]]
