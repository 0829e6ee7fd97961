"""Random small (layer, accelerator) problems of every kind, each small enough to enumerate all its mappings.

A problem is a pure function of its seed. Layers and machines are drawn at will; then the layer is made smaller until its
mappings can be counted. What kinds a problem is of is read from it afterwards, so that a list of kinds tells the truth.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from accel_models.accelerator import (
    Accelerator,
    AccessEnergy,
    Axis,
    Fanout,
    LoopRules,
    Mac,
    MemoryLevel,
    Precision,
    TemporalRules,
)
from accel_models.errors import MappingError
from accel_models.mapper.base import refuse_unmappable
from accel_models.plan import make_plan
from accel_models.workload import DATASPACES, DIMS, Layer

from .brute_force import Enumerations, TooManyError

BOUNDS = (2, 2, 2, 3, 3, 4, 4, 5, 6, 6, 7, 8, 9, 12, 15, 16)
FORMS = (
    "KC",
    "NKC",
    "KCPQ",
    "KCPR",
    "KCPQRS",
    "GPQRS",
    "GPR",
    "GKCPR",
    "GKC",
    "NKCPR",
    "NGPR",
    "NKCPQRSG",
    "CPQS",
    "KPR",
)
"""Dims of layers: linear, batched, pointwise, convolutions in one and two dimensions, depth-wise, grouped, all."""

ENERGIES = (0.0, 0.1, 0.3, 0.45, 1.0, 1.7, 2.7, 6.0, 10.0, 33.3)
BANDWIDTHS = (None, None, None, 0.25, 0.3, 0.7, 1.0, 1.2, 2.0, 3.0, 8.0)


@dataclass(frozen=True)
class MappingProblem:
    """One layer on one accelerator; `mappings` is how many are legal (0: it cannot be mapped)."""

    seed: int
    layer: Layer
    accelerator: Accelerator
    mappings: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return what is special about the problem."""
        return tuple(name for name, holds in {**_layer_kinds(self.layer), **_machine_kinds(self)}.items() if holds)

    def __str__(self) -> str:
        """Return all that is needed to meet the problem again."""
        return f"seed {self.seed}: {self.layer}, {self.mappings} mappings, {len(self.accelerator.levels)} levels"


def make_problem(seed: int, most_mappings: int = 100_000, most_macs: int = 1000) -> MappingProblem:
    """Return the problem of a seed: at most so many mappings, and so many steps to walk."""
    chance = random.Random(seed)
    least = most_mappings ** (0.8 * chance.random())  # else every other problem would have a few dozen mappings
    while True:
        accelerator = _draw_machine(chance)
        layer = _draw_layer(chance, accelerator)
        accelerator = _draw_room(chance, layer, accelerator)
        found = _shrink(chance, layer, accelerator, most_mappings, most_macs)
        if found is None:
            continue
        layer, count = found
        if count >= least or (not count and chance.random() < 0.2):  # few without any: there is little to find out
            return MappingProblem(seed, layer, accelerator, count)


@dataclass(frozen=True)
class Impossible:
    """A layer that cannot be mapped, what a message about it must name, and a description that just allows it."""

    layer: Layer
    accelerator: Accelerator
    named: tuple[str, ...]
    relaxed: Accelerator


def impossible_problems() -> dict[str, Impossible]:
    """Return a problem for every reason why no mapping is legal."""
    layer = Layer(K=4, C=6, P=3)
    rows: dict[str, tuple[dict[str, Any], tuple[str, ...], dict[str, Any]]] = {
        "no room": ({"entries": 2}, ("'buffer'", "2", "3"), {"entries": 3}),
        "no room for two": ({"entries": 5, "buffering": 2}, ("'buffer'", "2", "3"), {"entries": 6, "buffering": 2}),
        "wide elements": ({"entries": 5, "bits": 32}, ("'buffer'", "5", "6"), {"entries": 6, "bits": 32}),
        "wide partial sums": ({"entries": 3, "sum_bits": 32}, ("'buffer'", "3", "4"), {"entries": 4, "sum_bits": 32}),
        "fixed factors overflow": (
            {"entries": 13, "inner": {"factors": {"K": 4, "C": 2}}}, ("buffer", "13", "14"),
            {"entries": 14, "inner": {"factors": {"K": 4, "C": 2}}},
        ),
        "a fixed factor does not divide": (
            {"inner": {"factors": {"K": 3}}}, ("K", "3", "4"), {"inner": {"factors": {"K": 2}}}
        ),
        "fixed factors of two levels": (
            {"inner": {"factors": {"K": 4}}, "outer": {"factors": {"K": 2}}}, ("K", "4"),
            {"inner": {"factors": {"K": 2}}, "outer": {"factors": {"K": 2}}},
        ),
        "a fixed factor wider than its axis": (
            {"x": 3, "axis": {"factors": {"K": 4}}}, ("buffer", "4", "3"), {"x": 4, "axis": {"factors": {"K": 4}}}
        ),
        "no loop for a dim": (
            {"inner": {"dims": ["K"]}, "outer": {"dims": ["K", "C"]}}, ("P", "3"),
            {"inner": {"dims": ["K"]}, "outer": {"dims": ["K", "C", "P"]}},
        ),
        "largest factors too small": (
            {"inner": {"max_factors": {"C": 3}}, "outer": {"max_factors": {"C": 1}}}, ("C", "6"),
            {"inner": {"max_factors": {"C": 3}}, "outer": {"max_factors": {"C": 2}}},
        ),
    }  # fmt: skip
    return {name: Impossible(layer, _plain(**cut), named, _plain(**wide)) for name, (cut, named, wide) in rows.items()}


def _plain(
    entries: int = 100, buffering: float = 1, bits: int = 16, sum_bits: int | None = None, x: int = 1,
    inner: dict[str, Any] | None = None, outer: dict[str, Any] | None = None, axis: dict[str, Any] | None = None,
) -> Accelerator:  # fmt: skip
    """Two levels, unit energies; rules of the temporal loops of both and of the axis."""
    unit = AccessEnergy(read=1, write=1, update=1)
    buffer = MemoryLevel(
        name="buffer", component="sram", keeps=DATASPACES, entries=entries, buffering=buffering, access_energy_pj=unit,
        partial_sum_bits=sum_bits, temporal=TemporalRules(**inner or {}), fanout=Fanout(x=Axis(size=x, **axis or {})),
    )  # fmt: skip
    dram = MemoryLevel(
        name="dram", component="dram", keeps=DATASPACES, access_energy_pj=unit, temporal=TemporalRules(**outer or {})
    )
    precision = Precision(weights=bits, inputs=bits, outputs=bits)
    return Accelerator(
        name="plain", clock_mhz=1, node_nm=45, mac=Mac(energy_pj=1), precision=precision, levels=(buffer, dram)
    )


def _draw_layer(chance: random.Random, accelerator: Accelerator) -> Layer:
    pick = chance.choice
    form = pick(FORMS)
    bounds = {dim: pick(BOUNDS) if dim not in "RS" else pick((2, 3, 3, 4, 5)) for dim in form}
    steps = {
        name: pick((1, 1, 1, 2, 2, 3, 4) if "stride" in name else (1, 1, 1, 2, 3))
        for name in ("stride_w", "stride_h", "dilation_w", "dilation_h")
    }
    bits = {}
    if accelerator.precision is not None and chance.random() < 0.3:
        bits = {name: pick((None, 2, 4, 8, 16)) for name in ("weight_bits", "input_bits", "output_bits")}
    return Layer(**bounds, **steps, **bits)


def _draw_machine(chance: random.Random) -> Accelerator:
    pick = chance.choice
    count = pick((1, 2, 2, 3, 3, 3, 4, 4, 5, 5))
    spreading = set(chance.sample(range(count), min(count, pick((0, 1, 1, 1, 2, 2, 3)))))
    optional = pick((0.0, 0.0, 0.4))
    ruled, bandwidths = chance.random() < 0.5, pick((BANDWIDTHS, BANDWIDTHS, (None,)))
    levels = [
        _draw_level(
            chance, place, bandwidths, optional, outermost=place == count - 1, spreads=place in spreading, ruled=ruled
        )
        for place in range(count)
    ]
    precision = None
    if chance.random() < 0.5:
        precision = Precision(weights=pick((2, 4, 8, 12, 16)), inputs=pick((4, 8, 8, 16)), outputs=pick((8, 8, 16, 32)))
    return Accelerator(
        name="random", clock_mhz=1, node_nm=45, mac=Mac(energy_pj=pick((None, 0.0, 0.3, 1.0))), precision=precision,
        levels=tuple(levels),
    )  # fmt: skip


def _draw_level(
    chance: random.Random,
    place: int,
    bandwidths: Sequence[float | None],
    optional: float,
    *,
    outermost: bool,
    spreads: bool,
    ruled: bool,
) -> MemoryLevel:
    pick = chance.choice
    kept = DATASPACES if outermost else chance.sample(DATASPACES, pick((1, 1, 2, 2, 3)))
    free = () if outermost else tuple(name for name in kept if chance.random() < optional)
    if outermost:
        energy = pick(
            (
                None,
                AccessEnergy(read=200.0, write=200.0, update=200.0),
                AccessEnergy(read=17.0, write=21.0, update=21.0),
            )
        )
    else:
        energy = pick((None, *(AccessEnergy(read=pick(ENERGIES), write=pick(ENERGIES), update=pick(ENERGIES)),) * 5))
    return MemoryLevel(
        name=f"level{place}",
        component="dram" if outermost else pick(("sram", "register_file")),
        keeps=tuple(name for name in DATASPACES if name in kept),  # type: ignore[misc]
        may_bypass=free,  # type: ignore[arg-type]
        entries=None if outermost else 10**6,
        word_bits=pick((8, 16, 16, 24)),
        partial_sum_bits=pick((None, None, None, 20, 32)),
        block_words=pick((1, 1, 1, 2, 4, 8)),
        read_bandwidth_words_per_cycle=pick(bandwidths),
        write_bandwidth_words_per_cycle=pick(bandwidths),
        shared_bandwidth_words_per_cycle=pick((*bandwidths, None, None, None)),
        buffering=1 if outermost else pick((1, 1, 2, 1.5)),
        reads_back_first_update=pick((False, False, True)),
        access_energy_pj=energy,
        temporal=TemporalRules(**_draw_rules(chance, outermost), order=_some(chance, DIMS, 3))
        if ruled and chance.random() < 0.4
        else TemporalRules(),
        fanout=_draw_fanout(chance, ruled) if spreads else Fanout(),
    )


def _draw_fanout(chance: random.Random, ruled: bool) -> Fanout:
    axes = {}
    for name in chance.choice(("x", "y", "xy", "xy")):
        rules = _draw_rules(chance) if ruled and chance.random() < 0.6 else {}
        axes[name] = Axis(size=chance.choice((2, 2, 3, 4, 4, 5, 6, 8)), **rules)
    return Fanout(**axes)


def _draw_rules(chance: random.Random, outermost: bool = False) -> dict[str, Any]:
    dims = tuple(DIMS) if outermost and chance.random() < 0.8 else _some(chance, DIMS, 8)
    rules: dict[str, Any] = {"dims": dims} if chance.random() < 0.7 else {}
    allowed = rules.get("dims", DIMS)
    kind = chance.random()
    if kind < 0.25:
        rules["factors"] = {dim: chance.choice((1, 1, 2, 2, 3)) for dim in _some(chance, allowed, 2)}
    elif kind < 0.5:
        rules["max_factors"] = {dim: chance.choice((1, 2, 2, 3, 4)) for dim in _some(chance, allowed, 3)}
    return rules


def _some(chance: random.Random, items: Sequence[str], most: int) -> tuple[str, ...]:
    return tuple(chance.sample(list(items), chance.randint(0, min(most, len(items)))))


def _draw_room(chance: random.Random, layer: Layer, accelerator: Accelerator) -> Accelerator:
    """Give each level room for some part of the tensors that it keeps: from next to nothing to all."""
    sizes = {"weights": layer.weight_elements, "inputs": layer.input_elements, "outputs": layer.output_elements}
    levels = []
    for level in accelerator.levels:
        if level.entries is not None:
            whole = sum(sizes[name] for name in level.keeps)
            room = math.ceil(min(whole, 3) + whole * chance.random() ** 3)
            entries = math.ceil(room * level.buffering) + chance.choice((0, 0, 1, 2))
            level = level.model_copy(update={"entries": entries if chance.random() < 0.98 else 1})
        levels.append(level)
    return accelerator.model_copy(update={"levels": tuple(levels)})


def _shrink(
    chance: random.Random, layer: Layer, accelerator: Accelerator, most_mappings: int, most_macs: int
) -> tuple[Layer, int] | None:
    """Make a layer smaller until it has few enough mappings; return it with their number, None where nothing is left."""
    while True:
        longer = [dim for dim in DIMS if getattr(layer, dim) > 1]
        if not longer:
            return None
        if layer.macs <= most_macs:
            try:
                return layer, Enumerations(layer, accelerator, most_mappings).count
            except TooManyError:
                pass
        dim = chance.choice(longer)
        bound = getattr(layer, dim)
        prime = next(factor for factor in range(2, bound + 1) if bound % factor == 0)
        layer = replace(layer, **{dim: bound // prime})


def _layer_kinds(layer: Layer) -> dict[str, bool]:
    window = layer.R > 1 or layer.S > 1
    return {
        "batched": layer.N > 1,
        "linear": layer.P == layer.Q == layer.R == layer.S == 1,
        "pointwise": layer.P * layer.Q > 1 and not window,
        "window": window,
        "depth-wise": layer.G > 1 and layer.K == layer.C == 1,
        "grouped": layer.G > 1 and layer.K * layer.C > 1,
        "strided": (layer.P > 1 and layer.stride_w > 1) or (layer.Q > 1 and layer.stride_h > 1),
        "stride over kernel": (layer.P > 1 and layer.stride_w > layer.R) or (layer.Q > 1 and layer.stride_h > layer.S),
        "dilated": (layer.R > 1 and layer.dilation_w > 1) or (layer.S > 1 and layer.dilation_h > 1),
        "own bits": layer.weight_bits is not None or layer.input_bits is not None or layer.output_bits is not None,
    }


def _machine_kinds(problem: MappingProblem) -> dict[str, bool]:
    levels = problem.accelerator.levels
    axes = [axis for level in levels for axis in (level.fanout.x, level.fanout.y) if axis.size > 1]
    meshes = sum(level.fanout.x.size * level.fanout.y.size > 1 for level in levels)
    temporal = [level.temporal for level in levels]
    return {
        **{f"{count} levels": len(levels) == count for count in range(1, 6)},
        "bypass": any(len(level.keeps) < len(DATASPACES) for level in levels),
        "optional bypass": any(level.may_bypass for level in levels),
        "double buffering": any(level.buffering > 1 for level in levels),
        "blocks": any(level.block_words > 1 for level in levels),
        "precision": problem.accelerator.precision is not None,
        "wide partial sums": any(level.partial_sum_bits is not None and "outputs" in level.keeps for level in levels),
        "reads back first update": any(level.reads_back_first_update and "outputs" in level.keeps for level in levels),
        "read or write bandwidth": any(
            level.read_bandwidth_words_per_cycle or level.write_bandwidth_words_per_cycle for level in levels
        ),
        "shared bandwidth": any(level.shared_bandwidth_words_per_cycle is not None for level in levels),
        "no mesh": meshes == 0,
        "one mesh": meshes == 1,
        "two meshes": meshes == 2,
        "three meshes": meshes == 3,
        "temporal rules": any(_rules(rules) for rules in temporal),
        "order": any(rules.order for rules in temporal),
        "axis rules": any(_rules(axis) for axis in axes),
        "fixed factors": any(rules.factors for rules in (*temporal, *axes)),
        "largest factors": any(rules.max_factors for rules in (*temporal, *axes)),
        "cannot be mapped": problem.mappings == 0,
        "no room for one element": problem.mappings == 0 and _no_room(problem),
    }


def _rules(rules: LoopRules) -> bool:
    return len(rules.dims) < len(DIMS) or bool(rules.factors or rules.max_factors)


def _no_room(problem: MappingProblem) -> bool:
    try:
        refuse_unmappable(make_plan(problem.layer, problem.accelerator), problem.accelerator, problem.layer)
    except MappingError:
        return True
    return False
