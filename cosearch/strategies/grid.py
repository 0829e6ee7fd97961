"""Compound scaling: a regular grid over a few axes, along each of which all knobs of one kind grow together.

Knobs of one unit are one kind (image size, array, memories, bandwidths); of those without a unit, those with the same
choices (depths, kernels, expand ratios). What a unit means plays no part. An axis that is t of its way, 0 to 1, sets each
of its knobs to the choice that is t of the way through its choices. Knobs whose choices are not numbers have no size:
they keep their first choice. Only where no number scales the networks (cells whose operations are names) there is nothing
else to vary: then each of the network's knobs is an axis of its own, with all of its choices at every level.

The grid is refined level by level: first the ends of every axis, then its middle as well, then the quarters, until every
choice of the longest knob of every axis was there. Within a level the points come in an order that is spread over all
axes, so a budget may cut it anywhere, and a shorter run is the beginning of a longer one.

References
----------
Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019 (compound scaling).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from math import gcd, prod
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from cosearch.errors import SearchError
from cosearch.space import Genomes, Knob
from cosearch.spaces.joint import JointSpace
from cosearch.strategies._base import Problem, Strategy

_GOLDEN = 0.6180339887498949


class Grid(Strategy):
    """Compound scaling: a regular grid over a few axes that scale all knobs of one kind together.

    It learns nothing, needs no seed, and ends when every point was there.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        space = problem.space
        self._axes = scale_axes(space.knobs)
        networks = space.networks.knobs if isinstance(space, JointSpace) else space.knobs  # a joint space's first ones
        scaled = any(position < len(networks) for axis in self._axes for position in axis)
        self._named = 0 if scaled else sum(len(knob.choices) > 1 for knob in networks)
        if not scaled:
            self._axes = [[place] for place, knob in enumerate(networks) if len(knob.choices) > 1] + self._axes
        if not self._axes:
            raise SearchError("there is nothing to vary: no knob of this space has two choices")
        self._points = self._walk()

    def ask(self) -> Genomes:
        """Return the next points of the grid; none after the last."""
        points = list(islice(self._points, self.problem.population))
        genomes = np.array(points, dtype=np.int64).reshape(len(points), len(self.problem.space.knobs))
        return self.problem.space.canonical(genomes)

    def tell(self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """Learn nothing."""

    def _walk(self) -> Iterator[Genomes]:
        """Yield the genomes (knobs,) of all points, coarse levels first."""
        choices = self.problem.space.choices_per_knob
        lengths = [int(choices[axis].max()) for axis in self._axes]
        before: list[list[int]] = [[] for _ in lengths]
        for level in count():
            places = [
                list(range(length)) if axis < self._named else _places(length, level)
                for axis, length in enumerate(lengths)
            ]
            if places == before:
                return
            for point in _spread(places):
                if all(place in old for place, old in zip(point, before, strict=True)):
                    continue
                genome = np.zeros(len(choices), dtype=np.int64)
                for axis, place, length in zip(self._axes, point, lengths, strict=True):
                    ratio = place / max(length - 1, 1)
                    genome[axis] = np.floor(ratio * (choices[axis] - 1) + 0.5).astype(np.int64)
                yield genome
            before = places


def scale_axes(knobs: Sequence[Knob]) -> list[list[int]]:
    """Return the positions of the knobs that scale together, axis by axis."""
    axes: dict[object, list[int]] = {}
    for position, knob in enumerate(knobs):
        if len(knob.choices) > 1 and all(isinstance(choice, Real) for choice in knob.choices):
            axes.setdefault(knob.unit or knob.choices, []).append(position)
    return list(axes.values())


def _places(length: int, level: int) -> list[int]:
    """Return the places 0 .. length - 1 that a level takes: both ends and 2 ** level - 1 between them."""
    return sorted({(2 * step * (length - 1) + 2**level) // 2 ** (level + 1) for step in range(2**level + 1)})


def _spread(places: Sequence[Sequence[int]]) -> Iterator[tuple[int, ...]]:
    """Yield every combination of one entry of each list, any beginning of them spread over all.

    The combinations are numbered with the first list fastest and taken in steps of some 0.618 of their count, prime to
    it: every run of n1 x n2 x .. nk of them has all combinations of the first k lists.
    """
    total = prod(map(len, places))
    step = max(int(total * _GOLDEN), 1)
    while gcd(step, total) > 1:
        step += 1
    for turn in range(total):
        rest = turn * step % total
        point = []
        for row in places:
            rest, digit = divmod(rest, len(row))
            point.append(row[digit])
        yield tuple(point)
