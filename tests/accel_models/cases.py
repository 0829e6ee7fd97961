"""Hypothesis strategies and small machines for the tests of the cost model: the one place where random cases are made."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from typing import Any

from hypothesis import strategies as st

from accel_models.accelerator import Accelerator, AccessEnergy, Axis, Fanout, Mac, MemoryLevel
from accel_models.mapping import LevelMapping, Mapping
from accel_models.workload import DATASPACES, DIMS, Layer


def mapping_of(levels: Dict[str, Dict[str, str]], names: tuple[str, ...] = ("buffer", "dram")) -> Mapping:
    """Return a mapping from short text: ``{"buffer": {"T": "C2 K2", "X": "P4"}}``, loops innermost first."""
    made = []
    for name in names:
        sides = [
            tuple((word[0], int(word[1:])) for word in levels.get(name, {}).get(side, "").split())
            for side in ("T", "X", "Y")
        ]
        made.append(LevelMapping(name, *sides))
    return Mapping(tuple(made))


def machine(x: int, y: int) -> Accelerator:
    """A three-level machine with room for anything small."""
    unit = AccessEnergy(read=1, write=1, update=1)
    levels = [
        MemoryLevel(
            name="registers", component="register_file", keeps=DATASPACES, entries=10**6, access_energy_pj=unit, area_um2=1
        ),
        MemoryLevel(
            name="buffer", component="sram", keeps=DATASPACES, entries=10**6, access_energy_pj=unit, area_um2=1,
            fanout=Fanout(x=Axis(size=x), y=Axis(size=y)),
        ),
        MemoryLevel(name="dram", component="dram", keeps=DATASPACES, access_energy_pj=unit),
    ]  # fmt: skip
    return Accelerator(name="machine", clock_mhz=1, node_nm=45, mac=Mac(energy_pj=1, area_um2=1), levels=tuple(levels))


Choose = Callable[[Sequence[Any]], Any]
"""Picks one of several: drawn by hypothesis in the tests, by a seeded generator in the long benchmark."""


@st.composite
def mapped_cases(draw: st.DrawFn) -> tuple[Layer, Accelerator, Mapping]:
    """A small layer, a machine that fits it, and a random legal mapping, of all kinds."""
    return make_case(lambda options: draw(st.sampled_from(options)))


def make_case(choose: Choose, max_steps: int = 400, max_lanes: int = 12) -> tuple[Layer, Accelerator, Mapping]:
    """Build a case from single choices; `max_steps` bounds the walk through it."""
    levels = choose((2, 3, 4, 5))
    fans_out = {choose(range(levels)) for _ in range(choose((0, 1, 1, 2)))}
    steps, lanes = 1, 1
    rows: list[dict[str, list[tuple[str, int]]]] = [{"T": [], "X": [], "Y": []} for _ in range(levels)]
    bounds = dict.fromkeys(DIMS, 1)
    for dim in shuffled(choose, DIMS):
        for _ in range(choose((0, 1, 1, 2))):
            factor = choose((2, 2, 3, 4))
            level = choose(range(levels))
            side = choose("TTXY" if level in fans_out else "T")
            cost = steps * factor if side == "T" else steps
            wide = lanes * factor if side != "T" else lanes
            if cost > max_steps or wide > max_lanes or any(dim == other for other, _ in rows[level][side]):
                continue
            steps, lanes = cost, wide
            rows[level][side].append((dim, factor))
            bounds[dim] *= factor
    mapping = Mapping(
        tuple(
            LevelMapping(f"level{place}", *(tuple(shuffled(choose, row[side])) for side in ("T", "X", "Y")))
            for place, row in enumerate(rows)
        )
    )
    window = {name: choose((1, 1, 2, 3)) for name in ("stride_w", "stride_h", "dilation_w", "dilation_h")}
    return Layer(**bounds, **window), machine_for(choose, mapping), mapping


def shuffled(choose: Choose, items: Sequence[Any]) -> list[Any]:
    left, taken = list(items), []
    while left:
        taken.append(left.pop(choose(range(len(left)))))
    return taken


def machine_for(choose: Choose, mapping: Mapping) -> Accelerator:
    """A machine whose meshes fit a mapping exactly, with random energies, bandwidths and kept dataspaces."""
    levels = []
    numbers = (0.0, 0.3, 1.0, 2.7, 10.0)
    bandwidths = (None, None, 0.25, 0.7, 1.0, 3.0, 8.0)
    for place, level in enumerate(mapping.levels):
        outermost = place == len(mapping.levels) - 1
        kept = choose([kept for size in (1, 2, 3) for kept in itertools.combinations(DATASPACES, size)])
        x, y = (math.prod(factor for _, factor in side) for side in (level.spatial_x, level.spatial_y))
        levels.append(
            MemoryLevel(
                name=level.level,
                component="dram" if outermost else "sram",
                keeps=DATASPACES if outermost else kept,
                entries=None if outermost else 10**7,
                block_words=choose((1, 1, 4)),
                read_bandwidth_words_per_cycle=choose(bandwidths),
                write_bandwidth_words_per_cycle=choose(bandwidths),
                shared_bandwidth_words_per_cycle=choose(bandwidths),
                reads_back_first_update=choose((False, False, True)),
                access_energy_pj=AccessEnergy(read=choose(numbers), write=choose(numbers), update=choose(numbers)),
                area_um2=1,
                fanout=Fanout(x=Axis(size=x), y=Axis(size=y)),
            )
        )
    return Accelerator(name="random", clock_mhz=1, node_nm=45, mac=Mac(energy_pj=1, area_um2=1), levels=tuple(levels))
