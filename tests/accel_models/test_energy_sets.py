"""Other people's energies: the published points are met, and nothing but energies changes."""

from __future__ import annotations

import pytest

from accel_models import technology
from accel_models.accelerator import Accelerator
from accel_models.description import load_target, target_summaries
from accel_models.energy_sets import ENERGY_SETS, with_energies
from accel_models.errors import UnknownNameError
from accel_models.networks import load_network

KIB = 1024


def machine(
    entries: int, *, node_nm: float = 65, bits: int = 16, component: str = "sram", block: int = 1
) -> Accelerator:
    memory = {"name": "memory", "component": component, "keeps": ["weights", "inputs", "outputs"], "entries": entries}
    dram = {"name": "dram", "component": "dram", "keeps": ["weights", "inputs", "outputs"], "dram_type": "ddr3"}
    levels = [{**level, "word_bits": bits, "block_words": block} for level in (memory, dram)]
    precision = dict.fromkeys(("weights", "inputs", "outputs"), bits)
    return Accelerator.model_validate(
        {"name": "one", "clock_mhz": 100.0, "node_nm": float(node_nm), "precision": precision, "levels": levels}
    )


def read_pj(accelerator: Accelerator, level: int) -> float:
    energy = accelerator.levels[level].access_energy_pj
    assert energy is not None
    return energy.read


@pytest.mark.parametrize(
    ("size_bytes", "macs"),
    [(0.5 * KIB, 1.0), (100 * KIB, 6.0), (1024 * KIB, 1 + 5 / 99.5 * 1023.5)],  # pat.cpp: x0, y0; x1, y1; the same line
)
def test_timeloops_table_is_a_line_through_eyeriss_two_points(size_bytes: float, macs: float) -> None:
    charged = with_energies(machine(int(size_bytes // 2)), "timeloop-table")
    unit = technology.mac(16, 16, 65).energy_pj
    assert read_pj(charged, 0) == pytest.approx(macs * unit)
    assert read_pj(charged, 1) == pytest.approx(200 * unit)  # pat.cpp: DRAMEnergy
    assert charged.mac.energy_pj == pytest.approx(unit)


@pytest.mark.parametrize(("size_bytes", "macs"), [(512, 1), (1024, 1), (100 * KIB, 6), (500 * KIB, 6)])
def test_eyeriss_costs_by_kind_of_memory(size_bytes: int, macs: float) -> None:
    charged = with_energies(machine(size_bytes // 2), "eyeriss-relative")
    unit = technology.mac(16, 16, 65).energy_pj  # ISCA 2016, table IV: RF 1, buffer 6, DRAM 200
    assert [read_pj(charged, level) / unit for level in (0, 1)] == pytest.approx([macs, 200])


@pytest.mark.parametrize(
    ("words", "bits", "read", "write"),
    [
        (12, 16, 0.202442, 0.176713),
        (16, 16, 0.2513, 0.2191),
        (192, 16, 1.976602, 1.881657),
        (16384, 64, 18.183829, 14.137929),
    ],
)
def test_accelergys_points_are_met_at_32_nm(words: int, bits: int, read: float, write: float) -> None:
    """ERT_summary.yaml of the Eyeriss-like example: ifmap_spad, psum_spad, weights_spad, shared_glb."""
    energy = with_energies(machine(words, node_nm=32, bits=bits), "accelergy-table").levels[0].access_energy_pj
    assert energy is not None
    assert (energy.read, energy.write, energy.update) == pytest.approx((read, write, write))


def test_accelergys_dram_and_mac() -> None:
    """The same table: 512 pJ for 64 bits of LPDDR4; 0.207692 pJ for 8 x 8 bits with a sum of 16."""
    charged = with_energies(machine(64, node_nm=32, bits=8, block=8), "accelergy-table")
    assert read_pj(charged, 1) == pytest.approx(512)
    assert charged.mac.energy_pj == pytest.approx(0.207692)


@pytest.mark.parametrize("name", ENERGY_SETS)
@pytest.mark.parametrize("target", ["eyeriss", "nvdla_256", "edge_tpu", "shidiannao"])
def test_only_energies_change(name: str, target: str) -> None:
    before = load_target(target)
    after = with_energies(before, name)
    stripped = [
        one.model_copy(
            update={
                "levels": tuple(level.model_copy(update={"access_energy_pj": None}) for level in one.levels),
                "mac": one.mac.model_copy(update={"energy_pj": None}),
                "vector_unit": one.vector_unit.model_copy(update={"energy_pj": None}),
            }
        )
        for one in (before, after)
    ]
    assert stripped[0] == stripped[1]
    assert after != before
    assert after.area_mm2 == before.area_mm2


@pytest.mark.parametrize("name", ENERGY_SETS)
def test_every_target_can_be_charged_and_more_bits_cost_more(name: str) -> None:
    for target in target_summaries():
        charged = with_energies(load_target(target), name)
        assert all(level.access_energy_pj is not None and level.access_energy_pj.read > 0 for level in charged.levels)
    narrow, wide = (with_energies(machine(1024, bits=bits), name) for bits in (8, 16))
    assert read_pj(wide, 0) > read_pj(narrow, 0)
    assert (wide.mac.energy_pj or 0) == pytest.approx(4 * (narrow.mac.energy_pj or 0))


def test_a_network_costs_what_its_new_energies_say() -> None:
    """All energies scaled alike scale the cost: the relative sets differ by the MAC of the node alone."""
    network = load_network("squeezenet", 64)
    near, far = (
        with_energies(load_target("nvdla_256").model_copy(update={"node_nm": node}), "eyeriss-relative").evaluate(
            network
        )
        for node in (16.0, 65.0)
    )
    scale = technology.mac(16, 16, 65).energy_pj / technology.mac(16, 16, 16).energy_pj
    assert far.energy_j == pytest.approx(near.energy_j * scale)
    assert far.latency_s == near.latency_s


def test_an_unknown_set_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown set of energies 'timeloop': did you mean 'timeloop-table'"):
        with_energies(load_target("eyeriss"), "timeloop")
