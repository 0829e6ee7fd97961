"""A part of a space: some of its genes vary, the others stay as given. And the two halves of a joint space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosearch.errors import SearchError
from cosearch.space import Genomes, Space
from cosearch.spaces.joint import JointSpace
from cosearch.strategies._base import Problem


class Part(Space):
    """The candidates of a space that differ in some genes only.

    Parameters
    ----------
    space
        The whole.
    given
        A canonical genome of it, (knobs,): what the genes have that do not vary.
    free
        bool (knobs,): which genes vary.
    """

    def __init__(self, space: Space, given: Genomes, free: NDArray[np.bool_]) -> None:
        self.name, self.summary = space.name, space.summary
        self.knobs = tuple(knob for knob, varies in zip(space.knobs, free, strict=True) if varies)
        self._space, self._given, self._free = space, given, free

    def whole(self, genomes: Genomes) -> Genomes:
        """Return the canonical genomes of the whole space, (n, all knobs), of genomes of this part (n, knobs)."""
        return self._space.canonical(self._filled(genomes))

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Tell which genes count, given the others and those that do not vary."""
        return self._space.active(self._filled(genomes))[:, self._free]

    def canonical(self, genomes: Genomes) -> Genomes:
        """Return the part's genes of the canonical genomes of the whole space."""
        return self.whole(genomes)[:, self._free]

    def _filled(self, genomes: Genomes) -> Genomes:
        filled = np.tile(self._given, (len(genomes), 1))
        filled[:, self._free] = genomes
        return filled


def joint_space(problem: Problem) -> JointSpace:
    """Return the space of a problem, if it has a network's and a machine's half.

    Raises
    ------
    SearchError
        If it does not.
    """
    if not isinstance(problem.space, JointSpace):
        raise SearchError(
            f"it searches pairs of network and hardware, and space {problem.space.name!r} has no such halves"
        )
    return problem.space
