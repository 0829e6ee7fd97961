"""A co-search that costs nothing: ten small blocks on a machine of four knobs, and the loop that a study runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator
from accel_models.workload import Network
from cosearch.answers import INFEASIBLE, UNMAPPABLE_VIOLATION
from cosearch.space import Genomes, Knob, NetworkSpace
from cosearch.spaces.hardware import HardwareSpace
from cosearch.spaces.joint import JointSpace
from cosearch.strategies import Problem, Strategy, make_strategy
from cosearch.study import PATIENCE

BLOCKS = 10


class Networks(NetworkSpace):
    """Blocks beyond the depth do not count. They have costs, but no layers."""

    name, summary = "toy", "ten blocks"
    knobs = (
        Knob("depth", tuple(range(4, BLOCKS + 1))),
        *(Knob(f"kernel_{block}", (3, 5, 7)) for block in range(BLOCKS)),
        *(Knob(f"expand_{block}", (3, 4, 6)) for block in range(BLOCKS)),
    )
    size = 7 * 9**BLOCKS  # at most

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """All but the blocks beyond the depth."""
        blocks = np.arange(BLOCKS) < genomes[:, :1] + 4
        return np.hstack([np.ones((len(genomes), 1), dtype=np.bool_), blocks, blocks])

    def network(self, genome: Genomes) -> Network:
        """Say that there is none."""
        raise NotImplementedError


class NoNetworks(Networks):
    """One network: nothing to choose."""

    knobs, size = (), 1

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """No genes."""
        return np.ones(genomes.shape, dtype=np.bool_)


class Line(NoNetworks):
    """Twelve networks."""

    knobs, size = (Knob("width", tuple(range(12))),), 12


class Hardware(HardwareSpace):
    """Knobs, by default the middle of their choices; those whose choices are numbers size it. No machine behind them."""

    def __init__(self, *knobs: Knob) -> None:
        self.name, self.summary, self.knobs = "machine", "knobs without a machine", knobs
        self.default = self.choices_per_knob // 2
        self.sizing = np.array([isinstance(knob.choices[0], int) for knob in knobs], dtype=np.bool_)

    def target(self, genome: Genomes) -> Accelerator:
        """Say that there is none."""
        raise NotImplementedError


SPACE = JointSpace(
    Networks(),
    Hardware(
        Knob("rows", tuple(range(2, 17)), "PEs"),
        Knob("columns", tuple(range(2, 17, 2)), "PEs"),
        Knob("buffer", (1, 2, 4, 8, 16, 32, 64), "words"),
        Knob("bandwidth", (1, 2, 4, 8), "words/cycle"),
        Knob("dataflow", (("K",), ("C",), ("P",))),
    ),
)


def cost(genomes: Genomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return error, latency, energy, area (n, 4) and the excess over an area of 8 (n, 1), as a study tells them."""
    active = SPACE.active(genomes)[:, 1 : 1 + BLOCKS]
    kernel = np.array([3, 5, 7])[genomes[:, 1 : 1 + BLOCKS]] * active
    expand = np.array([3, 4, 6])[genomes[:, 1 + BLOCKS : 1 + 2 * BLOCKS]] * active
    rows, columns, buffer, bandwidth, dataflow = genomes[:, -5:].T
    array, words = (rows + 2) * (2 * columns + 2), 2.0**buffer
    gain = np.linspace(1.0, 0.4, BLOCKS)
    error = -(np.sqrt(kernel) * gain + np.sqrt(expand) * gain[::-1]).sum(axis=1)
    work = (expand * (3 + kernel) * np.linspace(1.0, 2.0, BLOCKS)).sum(axis=1)
    traffic = work * (0.2 + 1 / words) * (1 + 0.2 * dataflow)
    latency = np.maximum(40 * work / array * (1 + 0.1 * ((rows + dataflow) % 3)), traffic / 2.0**bandwidth)
    energy = work * (1 + 0.02 * words) + 4 * traffic + 0.3 * latency * np.sqrt(array)
    area = 0.05 * array + 0.1 * words + 0.4 * 2.0**bandwidth
    values = np.column_stack([error, latency, energy, area])
    excess = (area / 8 - 1)[:, None]
    cannot_run = (buffer == 0) & (expand.sum(axis=1) > 30)
    values[cannot_run], excess[cannot_run] = INFEASIBLE, UNMAPPABLE_VIOLATION
    return values, excess


@dataclass(frozen=True)
class Run:
    """What a search proposed, all that was new in order, and what it cost: (n, knobs), (n, objectives), (n,)."""

    genomes: Genomes
    values: NDArray[np.float64]
    feasible: NDArray[np.bool_]


def search(
    strategy: Strategy | str, *, objectives: tuple[int, ...] = (0, 1, 2), seed: int = 0, budget: int = 600
) -> Run:
    """Ask and tell as a study does, until the budget of different candidates is spent or nothing more comes."""
    if isinstance(strategy, str):
        strategy = make_strategy(strategy, Problem(SPACE, len(objectives), 1, population=40), seed)
    seen: dict[tuple[int, ...], None] = {}
    idle = 0
    while len(seen) < budget and idle < PATIENCE:
        asked = strategy.ask()
        if not len(asked):
            break
        before = len(seen)
        seen.update(dict.fromkeys(map(tuple, asked.tolist())))
        idle = 0 if len(seen) > before else idle + 1
        values, excess = cost(asked)
        strategy.tell(asked, values[:, objectives], excess)
    genomes = np.array(list(seen)[:budget], dtype=np.int64)
    values, excess = cost(genomes)
    return Run(genomes, values[:, objectives], (excess <= 0).all(axis=1))


def usual(genomes: Genomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Answer with three objectives and the limit's excess."""
    values, excess = cost(genomes)
    return values[:, :3], excess


def all_break_a_limit_alike(genomes: Genomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Answer with violations that all tie."""
    return cost(genomes)[0][:, :3], np.ones((len(genomes), 1))


def none_can_run(genomes: Genomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Answer as a study does where no machine can run its network."""
    return np.full((len(genomes), 3), INFEASIBLE), np.full((len(genomes), 1), UNMAPPABLE_VIOLATION)
