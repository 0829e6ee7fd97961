"""Mappings whose factors do not divide the layer, against a walk with sets of elements and every child by itself."""

from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_models.accelerator import Accelerator
from accel_models.errors import MappingError
from accel_models.imperfect import count_in_closed_form
from accel_models.layer_cost import layer_cost
from accel_models.loopnest import counts as kernels
from accel_models.mapping import Mapping
from accel_models.plan import make_plan
from accel_models.workload import DATASPACES, DIMS, Layer

from .cases import Choose, machine, make_case, mapping_of
from .walker import box_of, elements, extent_of, loops_of

RELEVANT = {"weights": "GKCRS", "inputs": "GNCPQRS", "outputs": "GNKPQ"}


def uneven_case(choose: Choose) -> tuple[Layer, Accelerator, Mapping]:
    """A case of `make_case` whose bounds are cut so that the outermost loop of some dims ends early."""
    layer, accelerator, mapping = make_case(choose, max_steps=120, max_lanes=8)
    cut = {}
    for dim in DIMS:
        loops = [loop for loop in loops_of(mapping) if loop.dim == dim]
        if loops and choose((True, False)):
            spare = max(loop.step for loop in loops)  # extent inside the outermost loop
            cut[dim] = getattr(layer, dim) - choose(range(spare))
    window = {name: getattr(layer, name) for name in ("stride_w", "stride_h", "dilation_w", "dilation_h")}
    bounds = {dim: cut.get(dim, getattr(layer, dim)) for dim in DIMS}
    return Layer(**bounds, **window), accelerator, mapping


def walked_totals(
    layer: Layer, mapping: Mapping, dataspace: str, child: int, parent: int, sweeps: bool
) -> tuple[int, int, int]:
    """Words into all children, accesses of all parents, and output words that all parents see for the first time.

    A tile gains what it did not hold a step before. With `sweeps`, as the rules of perfect nests have it, only along the
    innermost loop that matters to a child: where a loop further out went on since, the tile is brought anew. A loop of
    which a child takes part in one step only does not matter to it.
    """
    loops, bounds = loops_of(mapping), dict(zip(DIMS, layer.dims, strict=True))
    spatial = [loop for loop in loops if loop.spatial and loop.level > child]
    temporal = [loop for loop in reversed(loops) if not loop.spatial and loop.level > child]
    extent = extent_of(loops, child)
    held: dict[tuple[int, ...], tuple] = {}
    seen: dict[tuple[int, ...], set] = {}
    words, accesses = 0, 0
    for step in itertools.product(*(range(loop.factor) for loop in temporal)):
        sent: dict[tuple, int] = {}
        for place in itertools.product(*(range(loop.factor) for loop in spatial)):
            offset = dict.fromkeys(DIMS, 0)
            for loop, index in zip(spatial, place, strict=True):
                offset[loop.dim] += index * loop.step
            at = dict(offset)
            for loop, index in zip(temporal, step, strict=True):
                at[loop.dim] += index * loop.step
            if any(at[dim] >= bounds[dim] for dim in DIMS):
                continue
            matters = [
                index for index, loop in enumerate(temporal)
                if loop.dim in RELEVANT[dataspace] and offset[loop.dim] + loop.step < bounds[loop.dim]
            ]  # fmt: skip
            outside = matters[-1] if matters and sweeps else 0
            now = elements(box_of(layer, dataspace, at, {dim: min(extent[dim], bounds[dim] - at[dim]) for dim in DIMS}))
            sweep, before = held.get(place, (None, set()))
            fresh = now - before if child >= 0 and sweep == step[:outside] else now
            held[place] = step[:outside], now
            words += len(fresh)
            owner = tuple(index for loop, index in zip(spatial, place, strict=True) if loop.level > parent)
            share = (owner, mesh_offsets(layer, dataspace, spatial, place, child, parent))
            sent[share] = max(sent.get(share, 0), len(fresh))
            seen.setdefault(owner, set()).update(now)
        accesses += sum(sent.values())
    return words, accesses, sum(map(len, seen.values()))


def mesh_offsets(layer, dataspace, spatial, place, child: int, parent: int) -> tuple:
    """Where a child sits in each mesh below its parent, as the dataspace sees it."""
    offsets = []
    for level in range(child + 1, parent + 1):
        at = dict.fromkeys(DIMS, 0)
        for loop, index in zip(spatial, place, strict=True):
            if loop.level == level:
                at[loop.dim] += index * loop.step
        offsets.append(tuple(low for low, _ in box_of(layer, dataspace, at, dict.fromkeys(DIMS, 1))))
    return tuple(offsets)


def in_closed_form(layer: Layer, accelerator: Accelerator, mapping: Mapping) -> bool:
    """Whether the rules of perfect nests count it (see docs/cost_model.md), and no walk."""
    plan = make_plan(layer, accelerator)
    sums, counts = np.zeros((plan.levels, kernels.SUM_COLUMNS)), np.zeros((plan.levels, 3, kernels.COUNT_COLUMNS))
    return count_in_closed_form(plan, mapping.to_array(), sums, counts) > 0


def half_away(value: float) -> int:
    return math.floor(value + 0.5)


def check_against_walk(layer: Layer, accelerator: Accelerator, mapping: Mapping) -> None:
    loops, sweeps = loops_of(mapping), in_closed_form(layer, accelerator, mapping)
    rows = {(row.level, row.dataspace): row for row in layer_cost(layer, accelerator, mapping).traffic}
    for dataspace in DATASPACES:
        kept = [place for place, level in enumerate(accelerator.levels) if dataspace in level.keeps]
        for place, level in enumerate(kept):
            used = math.prod(loop.factor for loop in loops if loop.spatial and loop.level > level)
            _, accesses, first = walked_totals(
                layer, mapping, dataspace, kept[place - 1] if place else -1, level, sweeps
            )
            words = (
                walked_totals(layer, mapping, dataspace, level, kept[place + 1], sweeps)[0] if level != kept[-1] else 0
            )
            row = rows[accelerator.levels[level].name, dataspace]
            if dataspace == "outputs":
                own = math.floor(first / used + 1e-9)
                back = 0 if accelerator.levels[level].reads_back_first_update else own
                expected = (
                    half_away(accesses / used - back),
                    half_away(max(0.0, words / used - own)),
                    half_away(accesses / used),
                )
            else:
                expected = (half_away(accesses / used), math.floor(words / used + 1e-9), 0)
            assert (row.reads, row.fills, row.updates) == expected, (level, dataspace)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_counts_equal_the_walk(data: st.DataObject) -> None:
    case = uneven_case(lambda options: data.draw(st.sampled_from(options)))
    if case[0].macs < math.prod(loop.factor for loop in loops_of(case[2])):
        check_against_walk(*case)


def test_counts_of_cases_drawn_evenly_equal_the_walk() -> None:
    """Hypothesis prefers simple cases; a mistake of one case in a hundred is found among these."""
    rng, closed = random.Random(0), []
    for _ in range(1200):
        case = uneven_case(lambda options: rng.choice(list(options)))
        if case[0].macs < math.prod(loop.factor for loop in loops_of(case[2])):
            check_against_walk(*case)
            closed.append(in_closed_form(*case))
    assert 50 < sum(closed) < len(closed) - 50


def test_a_thousand_outputs_on_168_elements() -> None:
    """By hand: five rounds of 168 and one of 160; each element works six times four cycles; every weight is read once."""
    mapping = mapping_of({"buffer": {"X": "K14", "Y": "K12"}, "dram": {"T": "C4 K6"}}, ("registers", "buffer", "dram"))
    cost = layer_cost(Layer(K=1000, C=4), machine(14, 12), mapping)
    assert cost.compute_cycles == 24
    reads = {(row.level, row.dataspace): row.reads for row in cost.traffic}
    assert reads["dram", "weights"] == 4000
    assert reads["dram", "inputs"] == 6 * 4  # each round wants all four inputs again, shared by all elements
    assert reads["registers", "weights"] == round(4000 / 168)


def test_compute_cycles_count_the_longest_element() -> None:
    names = ("registers", "buffer", "dram")
    mapping = mapping_of({"buffer": {"X": "K4"}, "dram": {"T": "K3 C5"}}, names)
    assert layer_cost(Layer(K=12, C=5), machine(4, 1), mapping).compute_cycles == 15
    uneven = layer_cost(Layer(K=9, C=5), machine(4, 1), mapping)
    assert uneven.compute_cycles == 15
    assert uneven.layer.macs == 45
    weights = {row.level: row for row in uneven.traffic if row.dataspace == "weights"}
    assert weights["dram"].reads == 45
    assert uneven.utilisation == 45 / (4 * 15)


@pytest.mark.parametrize(
    ("bound", "message"), [(8, "factors of K multiply to 12"), (13, "factors of K multiply to 12")]
)
def test_an_iteration_to_spare_or_one_too_few_is_refused(bound: int, message: str) -> None:
    mapping = mapping_of({"buffer": {"X": "K4"}, "dram": {"T": "K3"}}, ("registers", "buffer", "dram"))
    with pytest.raises(MappingError, match=message):
        layer_cost(Layer(K=bound), machine(4, 1), mapping)
