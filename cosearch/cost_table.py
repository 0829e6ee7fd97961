"""What every piece of a space's networks costs on one machine: the cost of a network is then a sum of look-ups.

Layers run one after the other and tensors between them go through DRAM, so latency and energy of a network are sums over
its nodes. The one cost that depends on another node, that of a fused operation, depends on the node right before it, in
the same piece. Where a level holds tensors between operations none of this is so, and there is no table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator
from accel_models.targets import asic
from accel_models.targets.vector_unit import VectorCosts
from accel_models.workload import Layer, VectorOp
from cosearch.errors import SearchError, SpaceError
from cosearch.evaluate import MappingOptions
from cosearch.space import Genomes, NetworkSpace
from cosearch.spaces.piece_index import PieceIndex
from cosearch.spaces.pieces import Piece, PiecewiseSpace


@dataclass(frozen=True, eq=False)
class CostTable:
    """The costs of every piece on one machine; ``index.parts(table.energy_j)`` reads one by resolution, block and choice.

    Attributes
    ----------
    index
        Which entry is which piece: the layout of the arrays below, float64 (index.entries,) each. An entry is NaN where no
        network has such a piece; the last one, 0, stands for blocks that are not there.
    accelerator
        The machine.
    cycles
        Latency in cycles, whole numbers: their sums are exact.
    energy_j
        Energy in J, leakage during the piece's own latency included.
    macs, params
        Multiply-accumulates and parameters, whole numbers.
    distinct_layers
        How many layers were mapped.
    """

    index: PieceIndex = field(repr=False)
    accelerator: Accelerator = field(repr=False)
    cycles: NDArray[np.float64] = field(repr=False)
    energy_j: NDArray[np.float64] = field(repr=False)
    macs: NDArray[np.float64] = field(repr=False)
    params: NDArray[np.float64] = field(repr=False)
    distinct_layers: int

    def costs(self, genomes: Genomes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return latency in s and energy in J, (n,) each, of the networks of genomes (n, knobs), canonical or not.

        Raises
        ------
        SpaceError
            If a genome is not one of the space, or its resolution was left out of the table.
        """
        cycles, energy_j = self.index.totals(genomes, self.cycles, self.energy_j)
        return cycles / (self.accelerator.clock_mhz * 1e6), energy_j

    def sizes(self, genomes: Genomes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return multiply-accumulates and parameters, (n,) each; raises as :meth:`costs` does."""
        macs, params = self.index.totals(genomes, self.macs, self.params)
        return macs.astype(np.int64), params.astype(np.int64)


def make_cost_table(
    networks: NetworkSpace,
    accelerator: Accelerator,
    mapping: MappingOptions | None = None,
    *,
    resolutions: Sequence[int] | None = None,
    known: asic.Cache | None = None,
    threads: int = 1,
) -> CostTable:
    """Return the cost of every piece on one machine, each distinct layer mapped once.

    Parameters
    ----------
    mapping
        How mappings are looked for; by default as a search does.
    resolutions
        Those of the space's (px) that are wanted; all of them without.
    known
        Mappings already known for this machine and these options; new ones are added.
    threads
        Cores that look for mappings; the result does not depend on it.

    Raises
    ------
    SearchError
        If costs on this machine, or of these networks, are not sums over pieces.
    SpaceError
        If a resolution is not one of the space's, or the space has too many pieces (see `PieceIndex.pieces`).
    MappingError
        If a layer cannot be mapped at all.
    """
    space = _additive(networks, accelerator)
    mapping = mapping or MappingOptions()
    index = PieceIndex(space, resolutions)
    pieces = list(index.pieces())
    for _, piece in pieces:
        _refuse_crossing(space, piece)
    layers = dict.fromkeys(node.op for _, piece in pieces for node in piece.nodes if isinstance(node.op, Layer))
    found = {} if known is None else known
    asic.find_mappings(
        layers, accelerator, found, mapping.objective, mapping.mapper, mapping.effort, mapping.seed, threads
    )
    vector = VectorCosts(accelerator)
    rows = np.full((4, index.entries), np.nan)
    rows[:, -1] = 0.0
    for entry, piece in pieces:
        rows[:, entry] = _sums(piece, vector, found)
    cycles, energy_pj, macs, params = rows
    _, energy_j = asic.in_si_units(cycles, energy_pj, accelerator)
    return CostTable(index, accelerator, cycles, energy_j, macs, params, len(layers))


def _additive(networks: NetworkSpace, accelerator: Accelerator) -> PiecewiseSpace:
    """Return the space, if costs of its networks on the machine can be sums over pieces."""
    if not isinstance(networks, PiecewiseSpace):
        raise SearchError(
            f"space {networks.name!r} has no table of costs: its networks are not put together from pieces "
            "(cosearch.spaces.pieces)"
        )
    if accelerator.tensor_level is not None:
        level = accelerator.levels[accelerator.tensor_level].name
        raise SearchError(
            f"target {accelerator.name!r} has no table of costs: level {level!r} holds tensors between operations, and which "
            "of them fit depends on the whole network, so that its cost is no sum over blocks; set holds_tensors to false"
        )
    return networks


def _refuse_crossing(space: PiecewiseSpace, piece: Piece) -> None:
    """Refuse a piece whose first operation runs beside the last one of the piece before it."""
    for first in piece.nodes[:1]:
        if isinstance(first.op, VectorOp) and first.op.fused and first.op.operations:
            raise SpaceError(
                f"space {space.name!r}: {first.name} is fused with the operation before it, which is in another piece: "
                "its cost is not that piece's own"
            )


def _sums(piece: Piece, vector: VectorCosts, found: asic.Cache) -> tuple[float, float, int, int]:
    """Return cycles, dynamic energy in pJ, multiply-accumulates and parameters of a piece."""
    total_cycles, total_pj = 0.0, 0.0
    for _, cycles, energy_pj in asic.costs_through_dram(piece.nodes, vector, found):
        total_cycles += cycles
        total_pj += energy_pj
    macs = sum(node.op.macs for node in piece.nodes if isinstance(node.op, Layer))
    return total_cycles, total_pj, macs, sum(node.params for node in piece.nodes)
