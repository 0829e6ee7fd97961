"""Sizing only: NSGA-II over the networks and the sizes of a machine that stays connected as described.

What co-search could do before NAAS: arrays, memories and bandwidths grow and shrink, while the dims that run in parallel
and the structure stay those of the machine at hand. The difference to a search of the whole space is what connectivity is
worth.

References
----------
Lin, Yang, Han: NAAS: Neural accelerator architecture search. DAC 2021, section 4 (the comparison with sizing alone).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cosearch.errors import SearchError
from cosearch.space import Genomes
from cosearch.strategies._base import Problem, Strategy
from cosearch.strategies._part import Part, joint_space
from cosearch.strategies.nsga2 import Nsga2


class SizingOnly(Strategy):
    """NSGA-II that keeps how the machine is connected: networks and sizes vary, dims, structure and bits do not."""

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        space = joint_space(problem)
        networks = np.ones(len(space.networks.knobs), dtype=np.bool_)
        free = np.concatenate([networks, space.hardware.sizing])
        if not free.any():
            raise SearchError(
                "it varies networks and sizes, and here the network is fixed and no knob sizes the hardware"
            )
        given = np.concatenate([np.zeros(len(networks), dtype=np.int64), space.hardware.default])
        self._part = Part(space, given, free)
        self._inner = Nsga2(replace(problem, space=self._part), seed)

    def ask(self) -> Genomes:
        """Return the next generation's candidates."""
        return self._part.whole(self._inner.ask())

    def tell(self, genomes: Genomes, objectives: NDArray[np.float64], violations: NDArray[np.float64]) -> None:
        """Let the candidates compete with the present population."""
        self._inner.tell(genomes, objectives, violations)
