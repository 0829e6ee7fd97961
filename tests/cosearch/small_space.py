"""A space of a few thousand networks, small enough to try every one, and somebody who says how accurate they are."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from accel_models.network_builder import NetworkBuilder
from cosearch.accuracy._base import AccuracyEstimate
from cosearch.space import Genomes, Knob
from cosearch.spaces.elastic import Block, ElasticSpace
from cosearch.spaces.pieces import PiecewiseSpace


class SmallSpace(PiecewiseSpace):
    """Two stages of one or two blocks, at two resolutions; widths and stem elastic where asked for."""

    source = "a test"

    def __init__(self, widths: tuple[int, ...] = (100,), *, stem: bool = False) -> None:
        self.arguments = (widths,)
        super().__init__(
            "small",
            "a small space",
            resolutions=(16, 24),
            depths=((1, 2), (1, 2)),
            kernels=(1, 3),
            expands=(1, 2),
            widths=widths,
            stem=(Knob("stem_width", (8, 16)), Knob("stem_kernel", (1, 3))) if stem else (),
        )

    def add_entrance(self, net: NetworkBuilder, stem: tuple[int, ...]) -> None:
        width, kernel = stem or (8, 3)
        net.conv("stem", width, kernel, stride=2, activation="relu")

    def add_block(self, net: NetworkBuilder, block: Block) -> None:
        name, stride = f"{block.stage}.{block.block}", 2 if block.block == 1 else 1
        net.mbconv(name, 8 * block.stage * block.width // 100, block.kernel, block.expand, stride=stride)

    def add_exit(self, net: NetworkBuilder) -> None:
        net.global_pool("pool")
        net.linear("classifier", 10)


class Stagewise:
    """Random scores of every option of every stage; top-1 saturates, and rises with the resolution."""

    name, space_name = "random", "small"
    scale, note, quantity = "random ImageNet top-1", "a test", "top1_percent"

    def __init__(self, space: ElasticSpace, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._space = space
        self.stage_scores = [rng.random(len(space.stage_options(stage))).round(1) for stage in range(len(space.depths))]

    def top1_of_score(self, score: NDArray[np.float64], resolution_px: NDArray[np.float64]) -> NDArray[np.float64]:
        return 60.0 - np.expm1(-score) * 10 + 0.1 * resolution_px

    def score_for_top1(self, top1_percent: float, resolution_px: int) -> float:
        inside = 1.0 - (top1_percent - 60.0 - 0.1 * resolution_px) / 10
        return -float(np.log(inside)) if inside > 0 else float("inf")

    def estimate(self, values: NDArray[np.integer]) -> AccuracyEstimate:
        """Look the options up one by one."""
        score = np.zeros(len(values))
        for row, network in enumerate(values):
            genome = [knob.index(int(value)) for knob, value in zip(self._space.knobs, network, strict=True)]
            score[row] = self.score(np.array(genome))
        none = np.zeros(len(values))
        return AccuracyEstimate(self.top1_of_score(score, values[:, 0].astype(float)), none, none > 0)

    def score(self, genome: Genomes) -> float:
        space, score = self._space, 0.0
        blocks = space.blocks(genome)
        for stage, scores in enumerate(self.stage_scores):
            own = [block for block in blocks if block.stage == stage + 1]
            pairs = [space.kernels.index(b.kernel) * len(space.expands) + space.expands.index(b.expand) for b in own]
            wanted = pairs + [-1] * (space.depths[stage][-1] - len(pairs))
            score += float(scores[space.stage_options(stage).tolist().index(wanted)])
        return score


def every_network(space: ElasticSpace) -> Genomes:
    """Every canonical genome."""
    every = np.array(list(itertools.product(*map(range, space.choices_per_knob.tolist()))), dtype=np.int64)
    return np.unique(space.canonical(every), axis=0)
