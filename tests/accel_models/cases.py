"""Hypothesis strategies and small machines for the tests of the cost model: the one place where random cases are made."""

from __future__ import annotations

from collections.abc import Mapping as Dict

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


@st.composite
def mapped_cases(draw: st.DrawFn, max_steps: int = 400) -> tuple[Layer, Accelerator, Mapping]:
    """A small layer, a machine that fits it, and a random legal mapping, of all kinds."""
    levels = draw(st.integers(2, 5))
    fans_out = draw(st.lists(st.integers(0, levels - 1), min_size=0, max_size=2, unique=True))
    steps, lanes = 1, 1
    rows: list[dict[str, list[tuple[str, int]]]] = [{"T": [], "X": [], "Y": []} for _ in range(levels)]
    bounds = dict.fromkeys(DIMS, 1)
    for dim in draw(st.permutations(DIMS)):
        for _ in range(draw(st.integers(0, 2))):
            factor = draw(st.sampled_from((2, 2, 3, 4)))
            level = draw(st.integers(0, levels - 1))
            side = draw(st.sampled_from("TTXY" if level in fans_out else "T"))
            cost = steps * factor if side == "T" else steps
            wide = lanes * factor if side != "T" else lanes
            if cost > max_steps or wide > 12 or any(dim == other for other, _ in rows[level][side]):
                continue
            steps, lanes = cost, wide
            rows[level][side].append((dim, factor))
            bounds[dim] *= factor
    mapping = Mapping(
        tuple(
            LevelMapping(f"level{place}", *(tuple(draw(st.permutations(row[side]))) for side in ("T", "X", "Y")))
            for place, row in enumerate(rows)
        )
    )
    window = {name: draw(st.integers(1, 3)) for name in ("stride_w", "stride_h", "dilation_w", "dilation_h")}
    return Layer(**bounds, **window), _machine_for(draw, mapping), mapping


def _machine_for(draw: st.DrawFn, mapping: Mapping) -> Accelerator:
    levels = []
    for place, level in enumerate(mapping.levels):
        outermost = place == len(mapping.levels) - 1
        kept = draw(st.sets(st.sampled_from(DATASPACES), min_size=1))
        x, y = 1, 1
        for _, factor in level.spatial_x:
            x *= factor
        for _, factor in level.spatial_y:
            y *= factor
        energy = AccessEnergy(**{kind: draw(st.floats(0, 10)) for kind in ("read", "write", "update")})
        bandwidth = st.none() | st.floats(0.25, 8)
        levels.append(
            MemoryLevel(
                name=level.level,
                component="dram" if outermost else "sram",
                keeps=DATASPACES if outermost else tuple(name for name in DATASPACES if name in kept),
                entries=None if outermost else 10**7,
                block_words=draw(st.sampled_from((1, 1, 4))),
                read_bandwidth_words_per_cycle=draw(bandwidth),
                write_bandwidth_words_per_cycle=draw(bandwidth),
                shared_bandwidth_words_per_cycle=draw(bandwidth),
                reads_back_first_update=draw(st.booleans()),
                access_energy_pj=energy,
                area_um2=1,
                fanout=Fanout(x=Axis(size=x), y=Axis(size=y)),
            )
        )
    return Accelerator(name="random", clock_mhz=1, node_nm=45, mac=Mac(energy_pj=1, area_um2=1), levels=tuple(levels))
