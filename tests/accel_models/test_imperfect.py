"""Mappings whose factors do not divide the layer, against a walk with sets of elements and every child by itself."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_models.accelerator import Accelerator
from accel_models.errors import MappingError
from accel_models.layer_cost import layer_cost
from accel_models.mapping import Mapping
from accel_models.workload import DATASPACES, DIMS, Layer

from .cases import Choose, machine, make_case, mapping_of
from .walker import box_of, elements, extent_of, loops_of


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


def walked_totals(layer: Layer, mapping: Mapping, dataspace: str, child: int, parent: int) -> tuple[int, int, int]:
    """Words into all children, accesses of all parents, and output words that all parents see for the first time."""
    loops, bounds = loops_of(mapping), dict(zip(DIMS, layer.dims, strict=True))
    spatial = [loop for loop in loops if loop.spatial and loop.level > child]
    temporal = [loop for loop in reversed(loops) if not loop.spatial and loop.level > child]
    extent = extent_of(loops, child)
    held: dict[tuple[int, ...], set] = {}
    seen: dict[tuple[int, ...], set] = {}
    words, accesses = 0, 0
    for step in itertools.product(*(range(loop.factor) for loop in temporal)):
        sent: dict[tuple, int] = {}
        for place in itertools.product(*(range(loop.factor) for loop in spatial)):
            at = dict.fromkeys(DIMS, 0)
            for loop, index in [*zip(temporal, step, strict=True), *zip(spatial, place, strict=True)]:
                at[loop.dim] += index * loop.step
            if any(at[dim] >= bounds[dim] for dim in DIMS):
                continue
            now = elements(box_of(layer, dataspace, at, {dim: min(extent[dim], bounds[dim] - at[dim]) for dim in DIMS}))
            fresh = now - held.get(place, set()) if child >= 0 else now
            held[place] = now
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


def half_away(value: float) -> int:
    return math.floor(value + 0.5)


def check_against_walk(layer: Layer, accelerator: Accelerator, mapping: Mapping) -> None:
    loops = loops_of(mapping)
    rows = {(row.level, row.dataspace): row for row in layer_cost(layer, accelerator, mapping).traffic}
    for dataspace in DATASPACES:
        kept = [place for place, level in enumerate(accelerator.levels) if dataspace in level.keeps]
        for place, level in enumerate(kept):
            used = math.prod(loop.factor for loop in loops if loop.spatial and loop.level > level)
            _, accesses, first = walked_totals(layer, mapping, dataspace, kept[place - 1] if place else -1, level)
            words = walked_totals(layer, mapping, dataspace, level, kept[place + 1])[0] if level != kept[-1] else 0
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
