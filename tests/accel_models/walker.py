"""The slow twin of the cost kernel: walk the loop nest step by step, with explicit tiles, and count what moves.

Nothing here is a formula of the kernel's. A tile is a box of coordinates that really occur; a transfer is a difference
of two sets of elements; multicast is found by comparing the boxes of a mesh's children at every step; a partial sum is read
back when the walk has seen it before. The policy is docs/cost_model.md's: a tile stays while no loop that matters to it
moves; what two windows share is kept only where nothing but the innermost such loop has stepped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from accel_models.accelerator import Accelerator
from accel_models.layer_cost import layer_cost
from accel_models.mapping import Mapping
from accel_models.workload import DATASPACES, DIMS, Layer

Box = tuple[tuple[int, int], ...]
Index = dict[str, int]

RELEVANT = {"weights": "GKCRS", "inputs": "GNCPQRS", "outputs": "GNKPQ"}


@dataclass(frozen=True)
class Loop:
    """One loop of the nest: whose it is, its dim and factor, and how far one step moves the dim's coordinate."""

    level: int
    dim: str
    factor: int
    step: int
    spatial: bool


def loops_of(mapping: Mapping) -> list[Loop]:
    """Return all loops, innermost first: per level the spatial ones, then the temporal ones."""
    extent = dict.fromkeys(DIMS, 1)
    found = []
    for place, level in enumerate(mapping.levels):
        for spatial, loops in ((True, level.spatial_x + level.spatial_y), (False, level.temporal)):
            for dim, factor in loops:
                if factor > 1:
                    found.append(Loop(place, dim, factor, extent[dim], spatial))
                    extent[dim] *= factor
    return found


def box_of(layer: Layer, dataspace: str, low: Index, extent: Index) -> Box:
    """Return the bounding box of the elements that a block of the iteration space touches."""
    high = {dim: low[dim] + extent[dim] - 1 for dim in DIMS}
    plain = {dim: (low[dim], high[dim]) for dim in DIMS}
    if dataspace == "weights":
        return tuple(plain[dim] for dim in "GKCRS")
    if dataspace == "outputs":
        return tuple(plain[dim] for dim in "GNKPQ")
    columns = tuple(end["P"] * layer.stride_w + end["R"] * layer.dilation_w for end in (low, high))
    rows = tuple(end["Q"] * layer.stride_h + end["S"] * layer.dilation_h for end in (low, high))
    return (plain["G"], plain["N"], plain["C"], columns, rows)  # type: ignore[return-value]


def elements(box: Box) -> set[tuple[int, ...]]:
    return set(itertools.product(*(range(low, high + 1) for low, high in box)))


def volume(box: Box) -> int:
    return math.prod(high - low + 1 for low, high in box)


def extent_of(loops: list[Loop], level: int) -> Index:
    """Extents of the tile of `level` (-1: of one MAC)."""
    extent = dict.fromkeys(DIMS, 1)
    for loop in loops:
        if loop.level <= level:
            extent[loop.dim] *= loop.factor
    return extent


def instances(loops: list[Loop], above: int, up_to: int) -> list[list[Index]]:
    """Where the children of one instance of level `up_to` start: per child, the offset made by each mesh on the way.

    Children live below level `above`; the meshes are listed from `up_to` inward.
    """
    meshes = []
    for level in range(up_to, above, -1):
        spatial = [loop for loop in loops if loop.spatial and loop.level == level]
        offsets = []
        for place in itertools.product(*(range(loop.factor) for loop in spatial)):
            start = dict.fromkeys(DIMS, 0)
            for loop, index in zip(spatial, place, strict=True):
                start[loop.dim] += index * loop.step
            offsets.append(start)
        meshes.append(offsets)
    return [list(way) for way in itertools.product(*meshes)]


def moved_by(at: Index, offsets: Iterable[Index]) -> Index:
    """Return a coordinate after some offsets."""
    moved = dict(at)
    for offset in offsets:
        for dim in DIMS:
            moved[dim] += offset[dim]
    return moved


def walk_time(loops: list[Loop], level: int, relevant: str) -> Iterator[tuple[Index, Loop | None, bool]]:
    """Walk the temporal loops outside the tile of `level`.

    Yields the coordinate of each step, the outermost loop that stepped, and whether a loop over a relevant dim moved.
    """
    temporal = [loop for loop in loops if not loop.spatial and loop.level > level]
    outer_first = list(reversed(temporal))
    before: tuple[int, ...] | None = None
    for place in itertools.product(*(range(loop.factor) for loop in outer_first)):
        at = dict.fromkeys(DIMS, 0)
        for loop, index in zip(outer_first, place, strict=True):
            at[loop.dim] += index * loop.step
        changed = []
        if before is not None:
            changed = [loop for loop, new, old in zip(outer_first, place, before, strict=True) if new != old]
        before = place
        yield at, changed[0] if changed else None, any(loop.dim in relevant for loop in changed)


@dataclass
class Moved:
    """What crosses one boundary: into one child, and out of its parent; partial sums that come back or are first."""

    words_into_child: int = 0
    new_in_child: int = 0
    accesses_of_parent: int = 0
    new_in_parent: int = 0


def walk_boundary(layer: Layer, loops: list[Loop], dataspace: str, child: int, parent: int) -> Moved:
    """Walk all time and count what moves between one instance of `parent` and its children at level `child`."""
    extent = extent_of(loops, child)
    outside = [loop for loop in loops if not loop.spatial and loop.level > child]
    windowed = next((loop for loop in outside if loop.dim in RELEVANT[dataspace]), None)
    # Each mesh multicasts among its own children: two children share where they coincide mesh by mesh, and then always.
    origin = dict.fromkeys(DIMS, 0)
    distinct: dict[tuple[Box, ...], list[Index]] = {}
    for way in instances(loops, child, parent):
        distinct.setdefault(tuple(box_of(layer, dataspace, offset, extent) for offset in way), way)
    starts = [moved_by(origin, way) for way in distinct.values()]
    moved, seen_by_child, seen_by_parent = Moved(), set(), set()
    before: list[Box] = []
    for at, stepped, moved_relevant in walk_time(loops, child, RELEVANT[dataspace]):
        boxes = [box_of(layer, dataspace, moved_by(at, [start]), extent) for start in starts]
        for place, box in enumerate(boxes):
            if child >= 0 and before and not moved_relevant:
                fresh: set[tuple[int, ...]] = set()
            elif child >= 0 and before and stepped is windowed:
                fresh = elements(box) - elements(before[place])
            else:
                fresh = elements(box)
            if place == 0:
                moved.words_into_child += len(fresh)
                moved.new_in_child += len(fresh - seen_by_child)
                seen_by_child |= fresh
            moved.accesses_of_parent += len(fresh)
            moved.new_in_parent += len(fresh - seen_by_parent)
            seen_by_parent |= fresh
        before = boxes
    return moved


@dataclass(frozen=True)
class Walked:
    """Counts of one level and dataspace, per instance."""

    tile: int
    reads: int
    fills: int
    updates: int


def walk(
    layer: Layer, keeps: list[tuple[str, ...]], mapping: Mapping, reads_back: list[bool]
) -> dict[tuple[int, str], Walked]:
    """Return the counts per (level, dataspace) that the level keeps."""
    loops = loops_of(mapping)
    counts = {}
    for dataspace in DATASPACES:
        kept = [level for level in range(len(keeps)) if dataspace in keeps[level]]
        for place, level in enumerate(kept):
            below = walk_boundary(layer, loops, dataspace, kept[place - 1] if place else -1, level)
            above = Moved()
            if level != kept[-1]:
                above = walk_boundary(layer, loops, dataspace, level, kept[place + 1])
            tile = volume(box_of(layer, dataspace, dict.fromkeys(DIMS, 0), extent_of(loops, level)))
            if dataspace == "outputs":
                first = 0 if reads_back[level] else below.new_in_parent
                counts[level, dataspace] = Walked(
                    tile,
                    below.accesses_of_parent - first,
                    above.words_into_child - above.new_in_child,
                    below.accesses_of_parent,
                )
            else:
                counts[level, dataspace] = Walked(tile, below.accesses_of_parent, above.words_into_child, 0)
    return counts


def differences(layer: Layer, accelerator: Accelerator, mapping: Mapping) -> list[str]:
    """Return where the kernel's counts and the walk's differ, a line each; none where they agree."""
    rows = layer_cost(layer, accelerator, mapping).traffic
    names = [level.name for level in accelerator.levels]
    got = {(names.index(row.level), row.dataspace): Walked(row.tile, row.reads, row.fills, row.updates) for row in rows}
    walked = walk(
        layer,
        [level.keeps for level in accelerator.levels],
        mapping,
        [level.reads_back_first_update for level in accelerator.levels],
    )
    return [
        f"level {place[0]} {place[1]}: kernel {got.get(place)}, walk {walked.get(place)}"
        for place in sorted(got.keys() | walked.keys())
        if got.get(place) != walked.get(place)
    ]
