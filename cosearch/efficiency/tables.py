"""Times that were measured on a device: of parts of networks, or of the choices of a space's knobs."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cosearch.efficiency.parts import BLOCK, LAYER, POOLED_LAYER, NamedPart, Part

Floats = NDArray[np.float64]

VECTOR_KINDS = (
    "activation", "add", "multiply", "pool", "global_pool", "concat", "upsample", "softmax", "normalise", "shuffle",
)  # fmt: skip
KINDS = (BLOCK, LAYER, POOLED_LAYER, *VECTOR_KINDS)
"""Kinds of parts that a table may have rows for."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long something took: mean in s over so many runs, and the standard deviation of one run (NaN: not told)."""

    mean_s: float
    spread_s: float = math.nan
    count: int = 1


@dataclass(frozen=True)
class PartTable:
    """Times of parts.

    Attributes
    ----------
    source
        Where they come from, in one line.
    timings
        What was measured of each part.
    """

    source: str
    timings: Mapping[Part, Timing]

    @cached_property
    def times_vector_operations(self) -> bool:
        """Whether it has any row for what needs no MACs. If not, such operations are taken to cost nothing."""
        return any(part.kind in VECTOR_KINDS for part in self.timings)

    def find(self, part: Part) -> Timing | None:
        """Return what was measured of a part, or of what a table writes down that gives a layer's shapes alone."""
        return self.timings.get(part) or self.timings.get(part.vague)

    def rows_for(self, parts: Sequence[NamedPart]) -> list[NamedPart]:
        """Return the parts that the table should have a row for, if networks consist of `parts`, in order.

        A global pool and the layer behind it become one where the table has them so; operations without MACs are left out
        where it has none of them.
        """
        rows: list[NamedPart] = []
        for name, part in parts:
            if rows and rows[-1].part.kind == "global_pool" and part.kind == LAYER:
                joined = Part(POOLED_LAYER, rows[-1].part.input, part.output)
                if joined in self.timings:
                    rows[-1] = NamedPart(name, joined)
                    continue
            rows.append(NamedPart(name, part))
        return [row for row in rows if self.times_vector_operations or row.part.kind not in VECTOR_KINDS]

    def nearest(self, part: Part, *, other: bool = False) -> Part | None:
        """Return the measured part of the same kind that is most like one; with `other`, not that part itself."""
        if part.kind not in self._by_kind:
            return None
        rows, sizes, marks = self._by_kind[part.kind]
        distance = _distances(sizes, marks, part)
        if other and part in self.timings:
            distance[rows.index(part)] = np.inf
        best = int(distance.argmin())
        return rows[best] if np.isfinite(distance[best]) else None

    @cached_property
    def _by_kind(self) -> dict[str, tuple[list[Part], Floats, Floats]]:
        """Per kind its parts, in the order of their text, and the arrays that :func:`_distances` takes."""
        kinds: dict[str, list[Part]] = {}
        for part in sorted(self.timings, key=str):
            kinds.setdefault(part.kind, []).append(part)
        return {
            kind: (parts, np.array(list(map(_sizes, parts))), np.array(list(map(_marks, parts))))
            for kind, parts in kinds.items()
        }

    def scaled(self, part: Part, like: Part) -> float:
        """Return the time in s of a part if it takes as long per unit of work as a measured one."""
        known = replace(like, kernel=part.kernel) if like.kernel is None else like
        return self.timings[like].mean_s * part.work / known.work

    def missing(self, name: str, part: Part) -> str:
        """Return what to say of a part, called so in its network, that was not measured."""
        near = self.nearest(part)
        hint = f"the nearest entry is: {near}" if near else f"it has no {part.kind} at all"
        return f"{self.source}: no entry for {name}: {part}; {hint} (lookup-nearest:PATH scales that, and says so)"

    def scaling_error(self, part: Part, like: Part) -> float:
        """Return how far off :meth:`scaled` is expected to be, as a fraction: in proportion to how unlike the parts are."""
        return self._error_per_step * _distance(like, part)

    @cached_property
    def _error_per_step(self) -> float:
        """Error of pricing every measured part by its nearest other, over how unlike those are: sum over sum."""
        error = steps = 0.0
        for part, timing in self.timings.items():
            like = self.nearest(part, other=True)
            if like is not None and part.kernel is not None and timing.mean_s > 0:
                error += abs(self.scaled(part, like) / timing.mean_s - 1)
                steps += _distance(like, part)
        return error / steps if steps else math.nan


@dataclass(frozen=True)
class KnobTable:
    """Times of choices: (knob, choice as text) -> what it adds. The part that all networks have is under ("", "")."""

    source: str
    timings: Mapping[tuple[str, str], Timing]


def _distance(row: Part, part: Part) -> float:
    """Return how unlike two parts of a kind are: logarithms of sizes, and a step for every mark that differs."""
    return float(_distances(np.array([_sizes(row)]), np.array([_marks(row)]), part)[0])


def _distances(sizes: Floats, marks: Floats, part: Part) -> Floats:
    """Return how unlike parts (n,), by their sizes and marks, are to one; what either does not say makes no difference."""
    steps = np.nan_to_num(np.abs(sizes - _sizes(part))).sum(axis=1)
    own = np.array(_marks(part))
    differs = (marks != own) & ~np.isnan(marks) & ~np.isnan(own)
    return np.asarray(steps + differs.sum(axis=1), dtype=np.float64)


def _sizes(part: Part) -> list[float]:
    """Return the logarithms (base 2) of what is large or small about a part."""
    pixels = part.output.height * part.output.width
    numbers = (
        pixels, part.input.channels, part.output.channels, part.middle or 1, part.groups, part.kernel or math.nan,
    )  # fmt: skip
    return [math.log2(number) for number in numbers]


def _marks(part: Part) -> list[float]:
    """Return what is the same or not about a part."""
    function = math.nan if part.activation is None else float(zlib.crc32(part.activation.encode()))
    return [part.squeeze_excite, part.residual, function, math.nan if part.stride is None else part.stride]
