"""A mapping: how a layer's loops are tiled over the levels, ordered in time and spread in space.

It is a printable value. Levels and loops are listed innermost first; a loop with factor 1 is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator, Bypasses, Dataspace
from accel_models.errors import MappingError
from accel_models.workload import DATASPACES, DIMS

Loops = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class LevelMapping:
    """The loops that one level owns: temporal (innermost first), and spatial over its children along X and Y.

    `bypasses` are dataspaces that pass by, of those that the description says may.
    """

    level: str
    temporal: Loops = ()
    spatial_x: Loops = ()
    spatial_y: Loops = ()
    bypasses: tuple[Dataspace, ...] = ()

    def __post_init__(self) -> None:
        for place, loops in (("temporal", self.temporal), ("spatial_x", self.spatial_x), ("spatial_y", self.spatial_y)):
            for dim, factor in loops:
                if dim not in DIMS:
                    raise MappingError(
                        f"mapping: {self.level}.{place}: {dim!r} is no loop dim; known: {' '.join(DIMS)}"
                    )
                if isinstance(factor, bool) or not isinstance(factor, int) or factor < 1:
                    raise MappingError(
                        f"mapping: {self.level}.{place}: factor {factor!r} of {dim} must be a positive integer"
                    )
            if len({dim for dim, _ in loops}) != len(loops):
                raise MappingError(f"mapping: {self.level}.{place} has two loops over one dim: {loops}")


@dataclass(frozen=True, slots=True)
class Mapping:
    """One mapping of one layer: a `LevelMapping` per memory level, innermost first."""

    levels: tuple[LevelMapping, ...]

    def to_array(self) -> NDArray[np.int32]:
        """Return the kernels' form, int32 (levels, 4, 8): factors T, X, Y by dim; order of T, innermost first."""
        array = np.ones((len(self.levels), 4, len(DIMS)), dtype=np.int32)
        for rows, level in zip(array, self.levels, strict=True):
            for row, loops in zip(rows, (level.temporal, level.spatial_x, level.spatial_y), strict=False):
                for dim, factor in loops:
                    row[DIMS.index(dim)] = factor
            inner = [DIMS.index(dim) for dim, _ in level.temporal]
            rows[3] = inner + [dim for dim in range(len(DIMS)) if dim not in inner]
        return array

    @property
    def bypasses(self) -> Bypasses:
        """Dataspaces that each level lets pass."""
        return tuple(level.bypasses for level in self.levels)

    @classmethod
    def from_array(cls, array: NDArray[np.int32], accelerator: Accelerator, bypasses: Bypasses = ()) -> Mapping:
        """Return the mapping that a kernel's array (levels, 4, 8) describes."""
        levels = []
        nothing: Bypasses = ((),) * len(array)
        for rows, level, gone in zip(array, accelerator.levels, bypasses or nothing, strict=True):
            temporal = tuple((DIMS[dim], int(rows[0, dim])) for dim in rows[3] if rows[0, dim] > 1)
            across, down = (
                tuple((DIMS[dim], int(row[dim])) for dim in range(len(DIMS)) if row[dim] > 1) for row in rows[1:3]
            )
            levels.append(LevelMapping(level.name, temporal, across, down, gone))
        return cls(tuple(levels))

    def loop_nest(self, accelerator: Accelerator | None = None) -> str:
        """Return the mapping as an indented loop nest, outermost loop first.

        With the accelerator given, each level says what it keeps.
        """
        keeps = {level.name: level.keeps for level in accelerator.levels} if accelerator else {}
        lines, depth = [], 0
        for level in reversed(self.levels):
            held = [name for name in DATASPACES if name in keeps.get(level.level, ()) and name not in level.bypasses]
            lines.append(f"{level.level}" + (f"  [{', '.join(held)}]" if held else ""))
            spatial = [(*loop, f"parallel {axis}") for axis, loops in (("Y", level.spatial_y), ("X", level.spatial_x))
                       for loop in reversed(loops)]  # fmt: skip
            for dim, factor, word in [(*loop, "for") for loop in reversed(level.temporal)] + spatial:
                depth += 1
                lines.append("  " * depth + f"{word} {dim.lower()} in 0..{factor - 1}")
        lines.append("  " * (depth + 1) + "multiply-accumulate")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.loop_nest()
