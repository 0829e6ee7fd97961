"""What the Once-for-All family of spaces has in common: stages of blocks with elastic depth, kernel and expand ratio.

Cai et al., Once-for-All: Train One Network and Specialize it for Efficient Deployment, ICLR 2020, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cosearch.space import Genomes, Knob, NetworkSpace


class Block(NamedTuple):
    """One active block: where it is (stage and block count from 1) and what is chosen for it."""

    stage: int
    block: int
    kernel: int
    expand: int


class ElasticSpace(NetworkSpace):
    """A network space of stages whose first d blocks are kept, each block with a kernel and an expand ratio of its own.

    The knobs are ``resolution``, ``depth_1..``, ``kernel_1..``, ``expand_1..``, in this order; the blocks of all
    stages are numbered through, as many per stage as its largest depth. The kernel and the expand ratio of a block
    beyond its stage's depth do not count.

    Parameters
    ----------
    name, summary
        What the space is called, and what it is in one line.
    resolutions
        Sizes of the square input image, in pixels.
    depths
        Choices of the number of blocks, one tuple per stage, each ascending.
    kernels, expands
        Choices for every block: width of the depth-wise window in elements, middle channels per input channel.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        *,
        resolutions: Sequence[int],
        depths: Sequence[tuple[int, ...]],
        kernels: tuple[int, ...],
        expands: tuple[int, ...],
    ) -> None:
        self.name = name
        self.summary = summary
        self.depths = tuple(depths)
        self.kernels = kernels
        self.expands = expands
        stages = len(self.depths)
        blocks = sum(choices[-1] for choices in self.depths)
        self.knobs = (
            Knob("resolution", tuple(resolutions), "px"),
            *(Knob(f"depth_{stage}", choices) for stage, choices in enumerate(self.depths, 1)),
            *(Knob(f"kernel_{block}", kernels) for block in range(1, blocks + 1)),
            *(Knob(f"expand_{block}", expands) for block in range(1, blocks + 1)),
        )
        self._first_kernel = 1 + stages
        self._first_expand = 1 + stages + blocks
        # per block: the knob of its stage's depth, and which block of that stage it is (from 0)
        self._depth_knob = np.repeat(np.arange(1, 1 + stages), [choices[-1] for choices in self.depths])
        self._rank = np.concatenate([np.arange(choices[-1]) for choices in self.depths])

    @property
    def size(self) -> int:
        """Number of different networks, over all resolutions."""
        per_block = len(self.kernels) * len(self.expands)
        total = len(self.knobs[0].choices)
        for choices in self.depths:
            total *= sum(per_block**depth for depth in choices)
        return total

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Tell which genes of `genomes` (n, knobs) count: all but those of blocks beyond their stage's depth."""
        depths = self._choice_table[self._depth_knob, genomes[:, self._depth_knob]]
        blocks = depths > self._rank
        return np.hstack([np.ones((len(genomes), self._first_kernel), dtype=np.bool_), blocks, blocks])

    def blocks(self, genome: Genomes) -> list[Block]:
        """Return the active blocks of one genome (knobs,), from input to output.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        self.check(genome)
        genes = genome.tolist()
        active = []
        offset = 0
        for stage, choices in enumerate(self.depths, 1):
            for block in range(choices[genes[stage]]):
                kernel = self.kernels[genes[self._first_kernel + offset + block]]
                expand = self.expands[genes[self._first_expand + offset + block]]
                active.append(Block(stage, block + 1, kernel, expand))
            offset += choices[-1]
        return active
