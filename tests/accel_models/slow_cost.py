"""Energy, latency and legality of a mapping in plain Python: the slow twin of everything around the counts.

The counts are the walker's, which executes every iteration; room, rules, energies and cycles are worked out here from the
description, after docs/cost_model.md, without the plan and without a kernel.
"""

from __future__ import annotations

import math

from accel_models import technology
from accel_models.accelerator import Accelerator, LoopRules, MemoryLevel
from accel_models.mapping import LevelMapping, Mapping
from accel_models.workload import DATASPACES, DIMS, Layer

from .walker import Walked, box_of, extent_of, loops_of, volume, walk


def bits_of(layer: Layer, accelerator: Accelerator, level: MemoryLevel, dataspace: str) -> int | None:
    """Bits of one element of a dataspace in a level; None: one word."""
    own = {"weights": layer.weight_bits, "inputs": layer.input_bits, "outputs": layer.output_bits}[dataspace]
    if own is None and accelerator.precision is not None:
        own = getattr(accelerator.precision, dataspace)
    if dataspace == "outputs" and level.partial_sum_bits is not None:
        return level.partial_sum_bits
    return own


def words_per_element(layer: Layer, accelerator: Accelerator, level: MemoryLevel, dataspace: str) -> float:
    bits = bits_of(layer, accelerator, level, dataspace)
    return 1.0 if bits is None else bits / level.word_bits


def slow_cost(layer: Layer, accelerator: Accelerator, mapping: Mapping) -> tuple[float, float]:
    """Return (energy in pJ, latency in cycles) of a mapping by walking its loop nest."""
    levels = accelerator.levels
    counts = walk(
        layer,
        [_kept(level, own) for level, own in zip(levels, mapping.levels, strict=True)],
        mapping,
        [level.reads_back_first_update for level in levels],
    )
    compute = math.prod(factor for level in mapping.levels for _, factor in level.temporal)
    energy, latency = layer.macs * _mac_pj(layer, accelerator), float(compute)
    for place, level in enumerate(levels):
        rows = {name: counts[place, name] for name in DATASPACES if (place, name) in counts}
        widths = {name: words_per_element(layer, accelerator, level, name) for name in rows}
        instances = math.prod(_lanes(outer) for outer in mapping.levels[place + 1 :])
        energy += instances * sum(_row_pj(accelerator, level, row, widths[name]) for name, row in rows.items())
        latency = max(latency, _level_cycles(level, rows, widths, compute))
    return energy, latency


def _kept(level: MemoryLevel, own: LevelMapping) -> tuple[str, ...]:
    return tuple(name for name in level.keeps if name not in own.bypasses)


def _mac_pj(layer: Layer, accelerator: Accelerator) -> float:
    if accelerator.mac.energy_pj is not None:
        return accelerator.mac.energy_pj
    given = accelerator.precision
    weights = layer.weight_bits or (given.weights if given else 16)
    inputs = layer.input_bits or (given.inputs if given else 16)
    return technology.mac(weights, inputs, accelerator.node_nm).energy_pj


def _lanes(level: LevelMapping) -> int:
    return math.prod(factor for _, factor in level.spatial_x + level.spatial_y)


def _row_pj(accelerator: Accelerator, level: MemoryLevel, row: Walked, width: float) -> float:
    each = level.energy_pj(accelerator.node_nm)
    return sum(
        math.ceil(count * width / level.block_words) * energy
        for count, energy in ((row.reads, each.read), (row.fills, each.write), (row.updates, each.update))
    )


def _level_cycles(level: MemoryLevel, rows: dict[str, Walked], widths: dict[str, float], compute: int) -> float:
    read, write = 0.0, 0.0
    for name, row in rows.items():
        read += row.reads * widths[name] / compute
        write += (row.fills * widths[name] + row.updates * widths[name]) / compute
    slowest = 1.0
    for rate, bandwidth in (
        (read, level.read_bandwidth_words_per_cycle),
        (write, level.write_bandwidth_words_per_cycle),
        (read + write, level.shared_bandwidth_words_per_cycle),
    ):
        if bandwidth is not None and rate > bandwidth:
            slowest = min(slowest, bandwidth / rate)
    return float(compute) if slowest == 1.0 else float(math.ceil(compute / slowest))


def illegalities(layer: Layer, accelerator: Accelerator, mapping: Mapping) -> list[str]:
    """Return every rule that a mapping breaks, in words; none for a legal one."""
    broken = []
    bounds = dict(zip(DIMS, layer.dims, strict=True))
    loops = loops_of(mapping)
    for place, (level, own) in enumerate(zip(accelerator.levels, mapping.levels, strict=True)):
        for side, factors, rules in (
            ("temporal", own.temporal, level.temporal),
            ("X", own.spatial_x, level.fanout.x),
            ("Y", own.spatial_y, level.fanout.y),
        ):
            broken += [f"{level.name} {side}: {text}" for text in _broken_rules(dict(factors), rules, bounds)]
        for side, factors, size in (
            ("X", own.spatial_x, level.fanout.x.size),
            ("Y", own.spatial_y, level.fanout.y.size),
        ):
            if math.prod(factor for _, factor in factors) > size:
                broken.append(f"{level.name}: wider than {size} along {side}")
        broken += [f"{level.name}: {name} may not pass by" for name in own.bypasses if name not in level.may_bypass]
        order = [dim for dim, factor in own.temporal if factor > 1]
        named = [dim for dim in level.temporal.order if dim in order]
        if order[: len(named)] != named:
            broken.append(f"{level.name}: order {order} does not begin with {named}")
        need = _words_held(layer, accelerator, level, _kept(level, own), extent_of(loops, place))
        if level.entries is not None and need > math.floor(level.entries / level.buffering):
            broken.append(f"{level.name}: {need} words in {level.entries} / {level.buffering}")
    reached = extent_of(loops, len(mapping.levels))
    broken += [f"{dim}: {reached[dim]} of {bound}" for dim, bound in bounds.items() if reached[dim] != bound]
    return broken


def _broken_rules(factors: dict[str, int], rules: LoopRules, bounds: dict[str, int]) -> list[str]:
    broken = [f"{dim} is not allowed" for dim, factor in factors.items() if factor > 1 and dim not in rules.dims]
    for dim, fixed in rules.factors.items():
        wanted = fixed if bounds[dim] > 1 else 1
        if factors.get(dim, 1) != wanted:
            broken.append(f"{dim} must be {wanted}")
    for dim, most in rules.max_factors.items():
        if factors.get(dim, 1) > most:
            broken.append(f"{dim} is at most {most}")
    return broken


def _words_held(
    layer: Layer, accelerator: Accelerator, level: MemoryLevel, kept: tuple[str, ...], extent: dict[str, int]
) -> int:
    origin = dict.fromkeys(DIMS, 0)
    return sum(
        math.ceil(volume(box_of(layer, name, origin, extent)) * words_per_element(layer, accelerator, level, name))
        for name in kept
    )
