"""Mappings whose factors do not divide the layer: K = 1000 over 168 elements, with a last, shorter round.

A loop of factor f over tiles of extent e covers f e steps of its dim; where the layer ends before, the last iteration is
shorter and children beyond the end idle. The outermost loop of a dim must have no whole iteration to spare. Counts come
from a walk through every iteration (`loopnest.walk`), averaged over the instances in use: reads, updates and fills of
outputs rounded half away from zero, read-only fills truncated, as Timeloop reports them.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from accel_models.errors import MappingError
from accel_models.loopnest import counts as kernels
from accel_models.loopnest.uneven import check_uneven, count_uneven, find_uneven
from accel_models.loopnest.walk import walk
from accel_models.plan import Plan
from accel_models.workload import DATASPACES, DIMS

LONGEST_WALK = 200_000_000
"""Steps times children after which a walk is refused (some ten seconds)."""

_RELEVANT = {"weights": "GKCRS", "inputs": "GNCPQRS", "outputs": "GNKPQ"}


def covers(layer_bounds: NDArray[np.int64], array: NDArray[np.int32]) -> bool:
    """Tell whether a mapping's factors cover a layer with no whole iteration to spare, and at least one dim unevenly."""
    factors = array[:, :3, :].prod(axis=1)
    whole = factors.prod(axis=0)
    for dim, bound in enumerate(layer_bounds[: len(DIMS)]):
        loops = [int(array[level, side, dim]) for level in range(len(array)) for side in (1, 2, 0)]
        steps = [factor for factor in loops if factor > 1]
        inner = math.prod(steps[:-1])
        if whole[dim] != bound and (not steps or steps[-1] != -(-int(bound) // inner)):
            return False
    return bool((whole != layer_bounds[: len(DIMS)]).any())


def count_imperfect(
    plan: Plan, array: NDArray[np.int32], sums: NDArray[np.float64], counts: NDArray[np.float64]
) -> float:
    """Fill `counts` and `sums` of an uneven mapping, in closed form where there is one; return the compute cycles.

    Raises
    ------
    MappingError
        If a walk is needed and would be too long.
    """
    compute = count_in_closed_form(plan, array, sums, counts)
    return compute if compute > 0 else count_by_walking(plan, array, sums, counts)


def count_in_closed_form(
    plan: Plan, array: NDArray[np.int32], sums: NDArray[np.float64], counts: NDArray[np.float64]
) -> float:
    """Fill `counts` and `sums` of an uneven mapping; return the compute cycles, or a negative number if there is no such form."""
    uneven = np.zeros((len(DIMS), 5), dtype=np.int64)
    bounds = np.zeros((plan.levels, kernels.BOUND_COLUMNS), dtype=np.int64)
    if find_uneven(plan.layer, array, uneven) != kernels.OK:
        return -1.0
    check_uneven(plan.layer, plan.machine, array, bounds, sums)
    return float(count_uneven(plan.layer, plan.machine, array, uneven, bounds, sums, counts))


def count_by_walking(
    plan: Plan, array: NDArray[np.int32], sums: NDArray[np.float64], counts: NDArray[np.float64]
) -> float:
    """Fill `counts` and `sums` (see `loopnest.counts`) of an uneven mapping; return the compute cycles.

    Raises
    ------
    MappingError
        If a level has too little room or too narrow a mesh is left to the caller; here only if the walk is too long.
    """
    nest = _Nest(plan, array)
    tensor = kernels.tile_elements(nest.extents, plan.levels - 1, plan.layer, kernels.OUTPUTS)
    for level in range(plan.levels):
        sums[level, kernels.USED] = nest.used(level)
        for space in range(len(DATASPACES)):
            sums[level, kernels.TILE_OF + space] = kernels.tile_elements(nest.extents, level, plan.layer, space)
    for space, name in enumerate(DATASPACES):
        kept = [level for level in range(plan.levels) if plan.machine[level, kernels.KEEP + space]]
        inner = -1
        moved = {level: np.zeros(2) for level in (-1, *kept)}
        for level in kept:
            moved[inner] = nest.move(name, space, inner, level)
            inner = level
        for place, level in enumerate(kept):
            used = sums[level, kernels.USED]
            accesses = moved[kept[place - 1] if place else -1][1] / used
            fills = moved[level][0] / used
            _fill_row(
                counts[level, space], name, accesses, fills, nest.first_visits(tensor, level), plan.machine[level]
            )
            counts[level, space, kernels.TILE] = sums[level, kernels.TILE_OF + space]
    return nest.compute_cycles()


def _fill_row(row: NDArray[np.float64], name: str, accesses: float, fills: float, first: float, level: NDArray) -> None:
    row[:] = 0.0
    if name != "outputs":
        row[kernels.READS], row[kernels.FILLS] = _round(accesses), math.floor(fills + 1e-9)
        return
    row[kernels.UPDATES] = _round(accesses)
    row[kernels.READS] = _round(accesses - (0.0 if level[kernels.READS_BACK] else first))
    row[kernels.FILLS] = _round(max(0.0, fills - first))


def _round(value: float) -> float:
    return math.floor(value + 0.5)


class _Nest:
    """One mapping of one layer as loops with distances."""

    def __init__(self, plan: Plan, array: NDArray[np.int32]) -> None:
        self.plan, self.array = plan, array
        self.bounds = plan.layer[: len(DIMS)]
        levels = plan.levels
        self.extents = np.ones((levels, kernels.BOUND_COLUMNS), dtype=np.int64)
        self.temporal: list[tuple[int, int, int, int]] = []  # level, dim, steps, distance; innermost first
        self.spatial: list[tuple[int, int, int, int]] = []
        extent = np.ones(len(DIMS), dtype=np.int64)
        for level in range(levels):
            for side in (kernels.SPATIAL_X, kernels.SPATIAL_Y):
                for dim in range(len(DIMS)):
                    self._add(self.spatial, level, dim, int(array[level, side, dim]), extent)
            for dim in array[level, kernels.ORDER]:
                self._add(self.temporal, level, int(dim), int(array[level, kernels.TEMPORAL, dim]), extent)
            self.extents[level, : len(DIMS)] = np.minimum(extent, self.bounds)

    @staticmethod
    def _add(loops: list[tuple[int, int, int, int]], level: int, dim: int, factor: int, extent: NDArray) -> None:
        if factor > 1:
            loops.append((level, dim, factor, int(extent[dim])))
            extent[dim] *= factor

    def used(self, level: int) -> int:
        """Instances of a level that have anything to do."""
        return math.prod(steps for at, _, steps, _ in self.spatial if at > level)

    def compute_cycles(self) -> float:
        """Steps of the longest-running MAC: the one that starts at the origin."""
        return float(math.prod(self._visits(dim) for dim in range(len(DIMS))))

    def _visits(self, dim: int) -> int:
        loops = [(steps, distance) for _, own, steps, distance in self.temporal if own == dim]
        bound, count = int(self.bounds[dim]), 0
        for place in itertools.product(*(range(steps) for steps, _ in loops)):
            count += sum(index * distance for index, (_, distance) in zip(place, loops, strict=True)) < bound
        return count

    def first_visits(self, tensor: float, level: int) -> float:
        """Output words that one instance of a level makes, on average; splitting C, R or S does not shrink them.

        Instances beyond the end of C, R or S make none.
        """
        sharing = 1
        for dim in (DIMS.index(name) for name in "CRS"):
            loops = [(steps, distance) for at, own, steps, distance in self.spatial if at > level and own == dim]
            places = itertools.product(*(range(steps) for steps, _ in loops))
            starts = [sum(i * distance for i, (_, distance) in zip(place, loops, strict=True)) for place in places]
            sharing *= sum(start < int(self.bounds[dim]) for start in starts)
        return math.floor(tensor * sharing / self.used(level) + 1e-9)

    def move(self, name: str, space: int, child: int, parent: int) -> NDArray[np.float64]:
        """Walk one boundary: words into all children of level `child`, accesses of all instances of `parent`."""
        starts, group, weight = self._children(name, child, parent)
        loops = np.array([loop[1:] for loop in self.temporal if loop[0] > child], dtype=np.int64).reshape(-1, 3)
        steps = math.prod(int(loop[1]) for loop in loops) * len(starts)
        if steps > LONGEST_WALK:
            raise MappingError(
                f"mapping: factors that do not divide the layer need a walk of {steps:.1e} steps; too long"
            )
        extent = self.extents[child, : len(DIMS)] if child >= 0 else np.ones(len(DIMS), dtype=np.int64)
        result = np.zeros(2)
        walk(self.plan.layer, space, loops, starts, group, weight, extent, child >= 0, result)
        return result

    def _children(
        self, name: str, child: int, parent: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Representatives of all children, the group that each shares its parent's accesses with, and their numbers.

        Children with equal offsets of the relevant dims, under one parent, that idle at the same times, are alike.
        """
        loops = [loop for loop in self.spatial if loop[0] > child]
        spare = [self._spare(dim) for dim in range(len(DIMS))]
        alike: dict[tuple, list] = {}
        groups: dict[tuple, int] = {}
        for place in itertools.product(*(range(loop[2]) for loop in loops)):
            start, above = [0] * len(DIMS), []
            meshes: dict[int, list[int]] = {}
            for index, (level, dim, _, distance) in zip(place, loops, strict=True):
                start[dim] += index * distance
                if level > parent:
                    above.append(index)
                elif DIMS[dim] in _RELEVANT[name]:
                    offset = meshes.setdefault(level, [0] * len(DIMS))
                    offset[dim] += index * distance
            share = (tuple(above), tuple((level, self._seen(name, offset)) for level, offset in sorted(meshes.items())))
            key = (share, tuple(start[dim] < spare[dim] for dim in range(len(DIMS))))
            number = groups.setdefault(share, len(groups))
            alike.setdefault(key, [start, number, 0.0])[2] += 1
        rows = list(alike.values())
        return (
            np.array([row[0] for row in rows], dtype=np.int64),
            np.array([row[1] for row in rows], dtype=np.int64),
            np.array([row[2] for row in rows]),
        )

    def _seen(self, name: str, offset: list[int]) -> tuple[int, ...]:
        """An offset as the dataspace sees it: P with R and Q with S are one coordinate of the inputs."""
        if name != "inputs":
            return tuple(offset)
        stride_w, stride_h, dilation_w, dilation_h = (int(value) for value in self.plan.layer[8:12])
        n, _, c, p, q, r, s, g = offset
        return (n, c, g, p * stride_w + r * dilation_w, q * stride_h + s * dilation_h)

    def _spare(self, dim: int) -> int:
        """Offsets below this take part in the last iteration of the temporal loops over `dim`."""
        last = sum((steps - 1) * distance for _, own, steps, distance in self.temporal if own == dim)
        return int(self.bounds[dim]) - last
