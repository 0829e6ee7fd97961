"""The exact mapper on arrays that may be filled unevenly, against enumeration of every mapping it has to consider.

A dim is spread unevenly where its extent inside an array divides it, the array's children do not divide the blocks that
are left, and one temporal loop outside takes three rounds or more; no other array has a part of it, and of a window's two
dims (P and R, Q and S) one at most is uneven, in an array that has nothing of the other.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

import pytest

from accel_models import best_mapping, mapping_front
from accel_models.accelerator import Accelerator, AccessEnergy, Axis, Fanout, Mac, MemoryLevel
from accel_models.errors import MappingError
from accel_models.layer_cost import layer_cost
from accel_models.mapper.base import OBJECTIVES, objective_value
from accel_models.mapping import LevelMapping, Mapping
from accel_models.workload import DATASPACES, Layer

PARTNERS = {"P": "R", "R": "P", "Q": "S", "S": "Q"}

Chain = dict[tuple[int, str], int]
"""Factors of one dim that are above one: (level, side) -> factor; side T, X or Y."""


def divisors(number: int) -> list[int]:
    return [factor for factor in range(1, number + 1) if number % factor == 0]


def even_chains(bound: int, slots: list[tuple[int, str]], size: dict[tuple[int, str], int]) -> Iterator[Chain]:
    if not slots:
        if bound == 1:
            yield {}
        return
    for factor in divisors(bound):
        if factor <= size.get(slots[0], bound):
            for rest in even_chains(bound // factor, slots[1:], size):
                yield {slots[0]: factor, **rest} if factor > 1 else rest


def uneven_chains(bound: int, accelerator: Accelerator) -> Iterator[tuple[int, Chain]]:
    """Chains with a last, shorter round, and the level of the array."""
    levels = range(len(accelerator.levels))
    for fan, level in enumerate(accelerator.levels):
        if not level.fanout.uneven:
            continue
        for inside in divisors(bound):
            blocks = bound // inside
            for x, y in itertools.product(range(1, level.fanout.x.size + 1), range(1, level.fanout.y.size + 1)):
                rounds = -(-blocks // (x * y))
                if blocks % (x * y) == 0 or rounds < 3:
                    continue
                for inner in even_chains(inside, [(place, "T") for place in range(fan)], {}):
                    for turn in levels[fan:]:
                        array = {(fan, side): factor for side, factor in (("X", x), ("Y", y)) if factor > 1}
                        yield fan, {**inner, **array, (turn, "T"): rounds}


def all_mappings(layer: Layer, accelerator: Accelerator) -> Iterator[Mapping]:
    """Every mapping of the space described above, legal or not."""
    levels = range(len(accelerator.levels))
    size = {}
    for place, level in enumerate(accelerator.levels):
        size[place, "X"], size[place, "Y"] = level.fanout.x.size, level.fanout.y.size
    slots = [(place, side) for place in levels for side in "TXY"]
    dims = [dim for dim in "NKCPQRSG" if getattr(layer, dim) > 1]
    choices = []
    for dim in dims:
        bound = getattr(layer, dim)
        even = [(-1, chain) for chain in even_chains(bound, slots, size)]
        choices.append(even + list(uneven_chains(bound, accelerator)))
    for pick in itertools.product(*choices):
        chosen = dict(zip(dims, pick, strict=True))
        if not any(clashes(dim, chosen) for dim in dims):
            yield from orders(chosen, accelerator)


def clashes(dim: str, chosen: dict[str, tuple[int, Chain]]) -> bool:
    fan, _ = chosen[dim]
    other = chosen.get(PARTNERS.get(dim, ""))
    if fan < 0 or other is None:
        return False
    return other[0] >= 0 or any((fan, side) in other[1] for side in "XY")


def orders(chosen: dict[str, tuple[int, Chain]], accelerator: Accelerator) -> Iterator[Mapping]:
    """All loop orders of one choice of factors."""
    loops = []
    for place in range(len(accelerator.levels)):
        sides = {
            side: [(dim, chain[place, side]) for dim, (_, chain) in chosen.items() if (place, side) in chain]
            for side in "TXY"
        }
        loops.append(
            [(tuple(order), tuple(sides["X"]), tuple(sides["Y"])) for order in itertools.permutations(sides["T"])]
        )
    for nest in itertools.product(*loops):
        yield Mapping(
            tuple(LevelMapping(level.name, *own) for level, own in zip(accelerator.levels, nest, strict=True))
        )


def problem(seed: int) -> tuple[Layer, Accelerator]:
    """A small layer and a machine of two or three levels whose arrays may be filled unevenly."""
    rng = random.Random(seed)
    kinds = rng.choice(
        (("K",), ("C",), ("K", "C"), ("K", "N"), ("P",), ("P", "R"), ("C", "P"), ("Q", "S"), ("G",), ("K", "P"))
    )
    bounds = {
        dim: rng.choice((3,) if dim in "RS" else (5, 6, 7, 8, 9, 10, 11) if len(kinds) == 1 else (5, 6, 7))
        for dim in kinds
    }
    steps = {name: rng.choice((1, 1, 2)) for name in ("stride_w", "stride_h", "dilation_w", "dilation_h")}
    count = rng.choice((2, 2, 3)) if len(kinds) < 2 else 2
    fan = rng.randrange(count)
    levels = []
    for place in range(count):
        outer = place == count - 1
        kept = DATASPACES if outer else tuple(name for name in DATASPACES if rng.random() < 0.7) or ("weights",)
        numbers = [rng.choice((0.3, 1.0, 2.7, 6.0)) * (50 if outer else 1) for _ in range(3)]
        here = place == fan
        shape = (
            Fanout(x=Axis(size=rng.choice((2, 3, 4))), y=Axis(size=rng.choice((1, 1, 2))), uneven=True)
            if here
            else Fanout()
        )
        levels.append(
            MemoryLevel(
                name=f"level{place}", component="dram" if outer else "sram", keeps=kept,
                entries=None if outer else rng.choice((6, 12, 30, 1000)), block_words=rng.choice((1, 1, 2)),
                read_bandwidth_words_per_cycle=rng.choice((None, 0.5, 2.0)),
                write_bandwidth_words_per_cycle=rng.choice((None, 0.5, 2.0)),
                access_energy_pj=AccessEnergy(read=numbers[0], write=numbers[1], update=numbers[2]), area_um2=1, fanout=shape,
            )
        )  # fmt: skip
    return Layer(**bounds, **steps), Accelerator(
        name="uneven", clock_mhz=1, node_nm=45, mac=Mac(energy_pj=1, area_um2=1), levels=tuple(levels)
    )


def misses(seed: int) -> list[str]:
    layer, accelerator = problem(seed)
    points = []
    for mapping in all_mappings(layer, accelerator):
        try:
            cost = layer_cost(layer, accelerator, mapping)
        except MappingError:
            continue
        points.append((cost.latency_cycles, cost.energy_pj, mapping))
    if not points:
        with pytest.raises(MappingError):
            best_mapping(layer, accelerator)
        return []
    found = []
    for objective in OBJECTIVES:
        result = best_mapping(layer, accelerator, objective)
        best = min(points, key=lambda point: objective_value(objective, point[1], point[0]))
        value = objective_value(objective, best[1], best[0])
        own = layer_cost(layer, accelerator, result.mapping)
        assert (own.energy_pj, own.latency_cycles) == (result.energy_pj, result.latency_cycles)
        assert result.optimal
        if not math.isclose(result.objective_value, value, rel_tol=1e-12):
            found.append(
                f"{seed} {layer} {objective}: {result.objective_value}, of {len(points)}: {value}\n{best[2]}\n{result.mapping}"
            )
    front: list[tuple[float, float]] = []
    for latency, energy, _ in sorted(points, key=lambda point: point[:2]):
        if not front or energy < front[-1][1] * (1 - 1e-12):
            front.append((latency, energy))
    got = [(point.latency_cycles, point.energy_pj) for point in mapping_front(layer, accelerator)]
    if got != [pytest.approx(point, rel=1e-12) for point in front]:
        found.append(f"{seed} {layer} front: {got} instead of {front}")
    return found


@pytest.mark.parametrize("seed", range(40))
def test_the_optimum_is_that_of_enumeration(seed: int) -> None:
    assert not misses(seed)


def test_an_odd_dim_fills_an_array_better_unevenly() -> None:
    """K = 53 over 12 elements: five rounds instead of fifty-three."""
    array = MemoryLevel(
        name="buffer", component="sram", keeps=DATASPACES, entries=4096, area_um2=1,
        access_energy_pj=AccessEnergy(read=1, write=1, update=1), fanout=Fanout(x=Axis(size=12)),
    )  # fmt: skip
    dram = MemoryLevel(
        name="dram", component="dram", keeps=DATASPACES, access_energy_pj=AccessEnergy(read=9, write=9, update=9)
    )
    whole = Accelerator(name="whole", clock_mhz=1, node_nm=45, mac=Mac(energy_pj=1, area_um2=1), levels=(array, dram))
    parts = whole.model_copy(
        update={"levels": (array.model_copy(update={"fanout": Fanout(x=Axis(size=12), uneven=True)}), dram)}
    )
    layer = Layer(K=53)
    assert best_mapping(layer, whole, "latency").latency_cycles == 53
    assert best_mapping(layer, parts, "latency").latency_cycles == 5
