"""The dynamic program over the stages of a space: which beginnings of networks are worth going on with.

A *part* is a beginning of a network: an entrance and the first few stages. What counts of it are its sums: the score of its
stages, negated, and what its pieces cost on one machine. All that may follow a part depends on nothing but the tensor that
it hands on, which is told by its width. So of the parts that hand on one tensor only the front is needed: whatever is put
behind a dominated part is at least as good behind the one that dominates it.

Costs may be weighed together (`weights`): then the front is that of the weighted sums, which is smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import moocore
import numpy as np
from numpy.typing import NDArray

from cosearch.cost_table import CostTable
from cosearch.space import Genomes
from cosearch.sums_kernel import promising_sums

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Parts:
    """Beginnings of networks, or what may come next.

    Attributes
    ----------
    sums
        float64 (n, sums), all to be minimised.
    chosen
        int64 (n, 1 + stages so far): the stem, then per stage the option taken, counted on through the stage's widths.
    """

    sums: Floats
    chosen: NDArray[np.int64]

    @staticmethod
    def best(parts: Iterable[Parts]) -> Parts:
        """Return the front of several sets of parts."""
        given = list(parts)
        sums = np.concatenate([one.sums for one in given])
        chosen = np.concatenate([one.chosen for one in given])
        kept = front_rows(sums)
        return Parts(sums[kept], chosen[kept])

    def followed(self, choice: Parts, most: Floats) -> Parts:
        """Return the front of every part followed by every choice, of those with sums of at most `most` (sums,)."""
        row, option = np.divmod(promising_sums(self.sums, choice.sums, most), len(choice.sums))
        sums = self.sums[row] + choice.sums[option]
        kept = front_rows(sums)
        return Parts(sums[kept], np.concatenate([self.chosen[row[kept]], choice.chosen[option[kept]]], axis=1))

    def weighed(self, weights: Floats | None) -> Parts:
        """Return the front in the weighted sums; the parts themselves without weights (sums, weighted sums)."""
        if weights is None:
            return self
        sums = self.sums @ weights
        kept = front_rows(sums)
        return Parts(sums[kept], self.chosen[kept])


class StageProgram:
    """The program over one table of costs.

    Parameters
    ----------
    table
        What pieces cost.
    scores
        Per stage the scores of its options; None where they do not count.
    costs
        Names of the table's quantities that count. There has to be one sum at least.

    Attributes
    ----------
    sums
        How many sums a part has: the negated score first, where it counts, then the costs.
    """

    def __init__(self, table: CostTable, scores: Sequence[Floats] | None, costs: Sequence[str]) -> None:
        self.table, self.space = table, table.index.space
        self.sums = len(costs) + (scores is not None)
        self._scores = scores
        self._costs = [table.index.parts(getattr(table, name)) for name in costs]
        self._stages = [self.space.stage_options(stage) for stage in range(len(self.space.depths))]
        self._options = lru_cache(maxsize=None)(self._options_of_row)

    def ends(self, row: int, most: Floats, weights: Floats | None = None) -> Parts:
        """Return the front of whole networks at one resolution (the row of the table's index).

        Parameters
        ----------
        most
            The largest (weighted) sums that are of use, inf where there is no limit.
        weights
            float64 (sums, weighted sums), non-negative: what the front is taken in; the sums themselves without.
        """
        stages = [{key: one.weighed(weights) for key, one in stage.items()} for stage in self._options(row)]
        exits = {width: self._end("exit", row, width, weights) for width in range(len(self.space.stages[-1].widths))}
        rest = _least_rest(stages, exits)
        before = self._entrances(row, weights)
        for stage, choices in enumerate(stages):
            reached: dict[int, list[Parts]] = {}
            for (incoming, width), choice in choices.items():
                if incoming in before and width in rest[stage]:
                    parts = before[incoming].followed(choice, most - rest[stage][width])
                    reached.setdefault(width, []).append(parts)
            before = {width: Parts.best(parts) if len(parts) > 1 else parts[0] for width, parts in reached.items()}
        return Parts.best(Parts(parts.sums + exits[width], parts.chosen) for width, parts in before.items())

    def genomes(self, row: int, ends: Parts) -> Genomes:
        """Return the canonical genomes (n, knobs) of whole networks at a resolution."""
        space, columns = self.space, self.space.columns
        genomes = np.zeros((len(ends.chosen), len(space.knobs)), dtype=np.int64)
        genomes[:, 0] = space.knobs[0].index(self.table.index.resolutions[row])
        if space.stem:
            stems = np.unravel_index(ends.chosen[:, 0], [len(knob.choices) for knob in space.stem])
            genomes[:, columns.stem] = np.stack(stems, axis=1)
        pairs = []
        for stage, (options, taken) in enumerate(zip(self._stages, ends.chosen[:, 1:].T, strict=True)):
            width, option = np.divmod(taken, len(options))
            pairs.append(options[option])
            depth = (pairs[-1] >= 0).sum(axis=1)
            genomes[:, columns.depth.start + stage] = np.searchsorted(space.depths[stage], depth)
            if space.gene_of.width[stage] >= 0:
                genomes[:, space.gene_of.width[stage]] = width
        # 0 for blocks that are not there, as a canonical genome has
        pair = np.maximum(np.concatenate(pairs, axis=1), 0)
        expands = np.array([len(stage.expands) for stage in space.stages])[space.stage_of_block]
        for genes, choice in ((space.gene_of.kernel, pair // expands), (space.gene_of.expand, pair % expands)):
            for block in np.flatnonzero(genes >= 0)[
                ::-1
            ]:  # the first block last: it is there where blocks share a gene
                genomes[:, genes[block]] = choice[:, block]
        return genomes

    def _entrances(self, row: int, weights: Floats | None) -> dict[int, Parts]:
        """Return the entrances by the number of the tensor that they hand on."""
        tensors = self.table.index.tensor_of_stem
        stems = np.arange(len(tensors))
        sums = np.stack([self._end("entrance", row, stem, weights) for stem in stems.tolist()])
        return {
            int(tensor): Parts.best([Parts(sums[tensors == tensor], stems[tensors == tensor, None])])
            for tensor in np.unique(tensors)
        }

    def _end(self, kind: str, row: int, place: int, weights: Floats | None) -> Floats:
        """Return the (weighted) sums of an entrance or an exit."""
        scores = [0.0] * (self._scores is not None)
        sums = np.array([*scores, *(getattr(cost, kind)[row, place] for cost in self._costs)])
        return sums if weights is None else sums @ weights

    def _options_of_row(self, row: int) -> list[dict[tuple[int, int], Parts]]:
        """Return per stage the front of its options, by the tensor that they read and the width that they make."""
        return [self._options_of_stage(row, stage) for stage in range(len(self._stages))]

    def _options_of_stage(self, row: int, stage: int) -> dict[tuple[int, int], Parts]:
        options, choices = self._stages[stage], self.space.stages[stage]
        blocks = np.flatnonzero(self.space.stage_of_block == stage)
        pairs = np.s_[: len(choices.kernels), : len(choices.expands)]
        found = {}
        for incoming, width in self.table.index.passes(stage):
            columns = [] if self._scores is None else [-self._scores[stage]]
            for cost in self._costs:
                total = np.zeros(len(options))
                for rank, block in enumerate(blocks):
                    own = cost.blocks[row, block, width if rank else incoming, width][pairs].ravel()
                    total += np.append(own, 0.0)[options[:, rank]]  # -1, the last: a block that is not there
                columns.append(total)
            sums = np.stack(columns, axis=1)
            kept = front_rows(sums)
            found[incoming, width] = Parts(sums[kept], width * len(options) + kept[:, None])
        return found


def _least_rest(
    stages: Sequence[Mapping[tuple[int, int], Parts]], exits: Mapping[int, Floats]
) -> list[Mapping[int, Floats]]:
    """Return per stage, by the width that it makes, the least sums of all that may follow."""
    rest = [exits]
    for choices in reversed(stages[1:]):
        least: dict[int, Floats] = {}
        for (incoming, width), choice in choices.items():
            if width in rest[0]:
                after = choice.sums.min(axis=0) + rest[0][width]
                least[incoming] = np.minimum(least.get(incoming, after), after)
        rest.insert(0, least)
    return rest


def front_rows(values: Floats) -> NDArray[np.int64]:
    """Return the rows of values (n, columns), to be minimised, that no other row dominates; the first of equal ones."""
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    if values.shape[1] == 1:
        return np.array([values[:, 0].argmin()])
    return np.flatnonzero(moocore.is_nondominated(values, keep_weakly=False))
