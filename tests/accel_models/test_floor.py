"""What a layer costs at least: never above the proven best mapping, and not far below it where little is open."""

from __future__ import annotations

import numpy as np
import pytest

from accel_models.description import load_target
from accel_models.errors import MappingError
from accel_models.mapper.best import find
from accel_models.mapper.floor import Floor
from accel_models.workload import Layer
from cosearch.spaces.hardware import make_hardware

LAYERS = [
    Layer.parse(text)
    for text in (
        "K64 C3 P112 Q112 R7 S7 stride=2", "K96 C16 P28 Q28", "G96 P28 Q28 R3 S3", "K40 C24 P14 Q14 R5 S5", "K1000 C1280",
        "G24 P28 Q28 R5 S5 stride=2", "K7 C13 P11 Q17 R3 S1",
    )
]  # fmt: skip
TARGETS = ("eyeriss", "nvdla_256", "shidiannao", "edge_tpu")


def check(layer: Layer, machine) -> bool:
    """Compare the floor with the exact mapper's answers; return whether the layer can be mapped."""
    energy, cycles = Floor(machine).of(layer)
    try:
        best = {objective: find(layer, machine, objective, "exact", 1, 0) for objective in ("energy", "latency")}
    except MappingError:
        return False
    assert energy <= best["energy"].energy_pj * (1 + 1e-12), (layer, machine)
    assert cycles <= best["latency"].latency_cycles, (layer, machine)
    assert Floor(machine).macs_at_once(layer) <= machine.macs_per_cycle
    return True


@pytest.mark.parametrize("target", [*TARGETS, "simba_like", "nvdla_1024"])
def test_no_mapping_of_a_known_machine_is_below(target: str) -> None:
    assert all(check(layer, load_target(target)) for layer in LAYERS)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["naas", "described"])
def test_no_mapping_of_a_random_machine_is_below(target: str, kind: str) -> None:
    space = make_hardware(kind, load_target(target))
    random = np.random.default_rng(5)
    mapped = [
        check(LAYERS[int(random.integers(len(LAYERS)))], space.target(genome))
        for genome in space.sample_genomes(random, 12)
    ]
    assert sum(mapped) >= 6


def test_uneven_arrays_and_open_bypasses_are_not_overrated() -> None:
    eyeriss = load_target("eyeriss")
    *pads, buffer, dram = eyeriss.levels
    uneven = buffer.model_copy(update={"fanout": buffer.fanout.model_copy(update={"uneven": True})})
    passing = buffer.model_copy(update={"may_bypass": ("inputs",)})
    for changed in (uneven, passing):
        machine = eyeriss.model_copy(update={"levels": (*pads, changed, dram)})
        assert all(check(layer, machine) for layer in LAYERS[1:4])


def test_an_array_is_filled_by_divisors_only() -> None:
    """K = 7 on 14 columns (with Q = 17), C = 13 on 12 rows (with S = 1): 7 columns and one row, by hand."""
    layer = Layer.parse("K7 C13 P11 Q17 R3 S1")
    assert Floor(load_target("eyeriss")).macs_at_once(layer) == 7


def test_it_is_tight_where_one_mac_does_everything_in_turn() -> None:
    """A fully connected layer from DRAM: every weight crosses once, so time is what the port needs."""
    layer, machine = Layer.parse("K1000 C1280"), load_target("nvdla_256")
    found = find(layer, machine, "latency", "exact", 1, 0)
    assert Floor(machine).of(layer)[1] >= 0.99 * found.latency_cycles
