"""Latency of a network as the sum of the measured times of its parts, as ProxylessNAS and Once-for-All searched with.

Whoever adds up blocks assumes that a block takes as long inside a network as it took when it was timed. How far that
holds, only whole networks tell (`python -m benchmarks.efficiency` compares where there are published ones).

References
----------
Cai et al., ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware, ICLR 2019, section 3.3.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_models.errors import unknown_name
from accel_models.workload import Network
from cosearch.efficiency._base import EfficiencyEstimate
from cosearch.efficiency.parts import NamedPart, parts_of_network
from cosearch.efficiency.space_parts import parts_of_piece, parts_of_space
from cosearch.efficiency.table_files import read_table
from cosearch.efficiency.tables import KnobTable, PartTable
from cosearch.errors import CosearchError
from cosearch.space import Genomes, NetworkSpace
from cosearch.spaces.piece_index import PieceIndex
from cosearch.spaces.pieces import PiecewiseSpace
from cosearch.values import genomes_of

_MEAN_OF_NORMAL = math.sqrt(2 / math.pi)
"""Expected absolute value of a normal variable of standard deviation 1."""


class Price(NamedTuple):
    """What a table says of some parts, each an array over networks (or pieces) or the number of one.

    Attributes
    ----------
    latency_s
        Sum of the means.
    variance
        Sum of the squared standard deviations (s²) of the parts that are in the table.
    guess_s
        Expected error of the parts that are not.
    missing
        How many are not in the table.
    """

    latency_s: NDArray[np.float64]
    variance: NDArray[np.float64]
    guess_s: NDArray[np.float64]
    missing: NDArray[np.float64]


def price_parts(table: PartTable, parts: Sequence[NamedPart]) -> Price:
    """Return what a table says of a network's parts; those that it lacks are scaled from the nearest it has.

    NaN where the table has not even another part of the kind.
    """
    rows = np.zeros((4, len(parts)))
    for column, (_, part) in enumerate(table.rows_for(parts)):
        timing = table.find(part)
        if timing is not None:
            rows[:, column] = timing.mean_s, timing.spread_s**2, 0.0, 0.0
        else:
            like = table.nearest(part)
            guess = math.nan if like is None else table.scaled(part, like)
            off = math.nan if like is None else table.scaling_error(part, like)
            rows[:, column] = guess, 0.0, guess * off, 1.0
    return Price(*rows.sum(axis=1))


class _Sums(ABC):
    """How the table's rows of many networks are added up."""

    @abstractmethod
    def price(self, genomes: Genomes) -> Price:
        """Return what the table says of networks (n, knobs)."""

    @abstractmethod
    def missing(self) -> list[str]:
        """Return what to say of every row that the space's networks need and the table lacks."""

    @abstractmethod
    def explain(self, genome: Genomes) -> str:
        """Return which row is missing for a network (knobs,), and which is the nearest."""


class _PartSums(_Sums):
    """Sums over the parts of one network after the other."""

    def __init__(self, space: NetworkSpace, table: PartTable) -> None:
        self.space, self.table = space, table

    def price(self, genomes: Genomes) -> Price:
        networks = map(self.space.network, self.space.canonical(genomes))
        rows = [price_parts(self.table, parts_of_network(network)) for network in networks]
        return Price(*np.array(rows, dtype=float).reshape(len(rows), 4).T)

    def missing(self) -> list[str]:
        return missing_rows(self.table, parts_of_space(self.space))

    def explain(self, genome: Genomes) -> str:
        return missing_rows(self.table, parts_of_network(self.space.network(self.space.canonical(genome[None])[0])))[0]


class _PieceSums(_PartSums):
    """Sums over the pieces of an elastic space's networks, each priced once."""

    space: PiecewiseSpace

    def __init__(self, space: PiecewiseSpace, table: PartTable) -> None:
        super().__init__(space, table)
        self._index = PieceIndex(space)
        columns = np.full((4, self._index.entries), np.nan)
        columns[:, -1] = 0.0
        for entry, piece in self._index.pieces():
            columns[:, entry] = price_parts(table, parts_of_piece(piece))
        self._columns = Price(*columns)
        self._gaps = bool((np.nan_to_num(columns[3]) > 0).any())

    def price(self, genomes: Genomes) -> Price:
        needed = self._columns if self._gaps else self._columns[:2]
        sums = self._index.totals(genomes, *needed)
        return Price(*sums) if self._gaps else Price(*sums, *np.zeros((2, len(genomes))))

    def missing(self) -> list[str]:
        return list(
            dict.fromkeys(
                text for _, piece in self._index.pieces() for text in missing_rows(self.table, parts_of_piece(piece))
            )
        )


class _KnobSums(_Sums):
    """Sums over the knobs."""

    def __init__(self, space: NetworkSpace, table: KnobTable) -> None:
        self.space, self.table = space, table
        knobs = {knob.name: {str(choice): index for index, choice in enumerate(knob.choices)} for knob in space.knobs}
        columns = np.full((2, len(space.knobs), int(space.choices_per_knob.max())), np.nan)
        self._constant = np.zeros(2)
        for (knob, choice), timing in table.timings.items():
            figures = timing.mean_s, timing.spread_s**2
            if not knob and not choice:
                self._constant = np.array(figures)
            elif knob not in knobs:
                raise CosearchError(f"{table.source}: " + unknown_name(f"knob of {space.name!r}", knob, knobs))
            elif choice not in knobs[knob]:
                raise CosearchError(f"{table.source}: " + unknown_name(f"choice of {knob}", choice, knobs[knob]))
            else:
                columns[:, list(knobs).index(knob), knobs[knob][choice]] = figures
        self._missing = np.isnan(columns[0])
        with np.errstate(invalid="ignore"):
            mean = np.array([row[~np.isnan(row)].mean() if (~np.isnan(row)).any() else np.nan for row in columns[0]])
            off = np.array([row[~np.isnan(row)].std() if (~np.isnan(row)).any() else np.nan for row in columns[0]])
        self._latency = np.where(self._missing, mean[:, None], columns[0])
        self._variance = np.where(self._missing, 0.0, columns[1])
        self._guess = np.where(self._missing, off[:, None], 0.0)

    def price(self, genomes: Genomes) -> Price:
        active, knobs = self.space.active(genomes), np.arange(genomes.shape[1])
        rows = (self._latency, self._variance, self._guess, self._missing.astype(float))
        latency, variance, guess, missing = (np.where(active, row[knobs, genomes], 0.0).sum(axis=1) for row in rows)
        return Price(latency + self._constant[0], variance + self._constant[1], guess, missing)

    def missing(self) -> list[str]:
        return [
            self._lacks(*place)
            for place in np.argwhere(self._missing)
            if place[1] < self.space.choices_per_knob[place[0]]
        ]

    def explain(self, genome: Genomes) -> str:
        counts = self.space.active(genome[None])[0] & self._missing[np.arange(len(genome)), genome]
        return self._lacks(int(counts.argmax()), int(genome[counts.argmax()]))

    def _lacks(self, index: int, gene: int) -> str:
        knob = self.space.knobs[index]
        known = [other for name, other in self.table.timings if name == knob.name]
        hint = f"it has {', '.join(known)}" if known else "it has no choice of that knob"
        return f"{self.table.source}: no entry for {knob.name} = {knob.choices[gene]}; {hint}"


class LookupEstimator:
    """Latency by a look-up table; of spaces made of pieces, for millions of networks per second.

    The error of an estimate is what the spread of the parts' timings gives for one run, if they vary independently: NaN
    where the table does not tell a spread. It does not contain what adding up parts misses. With `nearest`, a part that was
    not measured takes the nearest entry's time, scaled by MACs (of a knob table: the mean of the knob's choices); such an
    estimate is flagged as extrapolated, and its error contains that of scaling every measured part from its nearest other.

    Parameters
    ----------
    space
        Whose networks are estimated.
    table
        What was measured.
    name
        What the estimator was called by.
    nearest
        Whether parts that were not measured are scaled from the nearest. Without, they are refused.

    Raises
    ------
    CosearchError
        If the table's knobs are not the space's.
    """

    def __init__(self, space: NetworkSpace, table: PartTable | KnobTable, name: str, *, nearest: bool = False) -> None:
        self.name, self.space_name, self.device = name, space.name, table.source
        self.space, self.nearest = space, nearest
        self._sums: _Sums
        if isinstance(table, KnobTable):
            self._sums = _KnobSums(space, table)
        elif isinstance(space, PiecewiseSpace):
            self._sums = _PieceSums(space, table)
        else:
            self._sums = _PartSums(space, table)

    @classmethod
    def read(cls, space: NetworkSpace, path: str, *, nearest: bool = False) -> LookupEstimator:
        """Return the estimator of a file or folder.

        Raises
        ------
        CosearchError
            As :func:`cosearch.efficiency.table_files.read_table`, and if the table is not one of this space's.
        """
        return cls(space, read_table(path), f"lookup{'-nearest' if nearest else ''}:{path}", nearest=nearest)

    def missing(self) -> list[str]:
        """Return what to say of every row that the table lacks (of a space without pieces: as 1000 random networks show)."""
        return self._sums.missing()

    def estimate(self, values: NDArray[np.integer]) -> EfficiencyEstimate:
        """Estimate the latency of n networks by the values (n, knobs) of their knobs.

        Raises
        ------
        CosearchError
            If values name no network of the space, or one of a part that the table does not have: naming that part and the
            nearest entry.
        """
        genomes = genomes_of(self.space, values)
        price = self._sums.price(genomes)
        missing = price.missing > 0
        refused = missing & (not self.nearest or np.isnan(price.latency_s))
        if refused.any():
            raise CosearchError(self._sums.explain(genomes[int(refused.argmax())]))
        error = _MEAN_OF_NORMAL * np.sqrt(price.variance) + price.guess_s
        return EfficiencyEstimate(price.latency_s, error, missing)


def missing_rows(table: PartTable, parts: Sequence[NamedPart]) -> list[str]:
    """Return what to say of each part that the table lacks."""
    return [table.missing(name, part) for name, part in table.rows_for(parts) if table.find(part) is None]


def network_latency(table: PartTable, network: Network, *, nearest: bool = False) -> tuple[float, int]:
    """Return the latency in s that a table gives a network, and how many of its parts were scaled from the nearest.

    Raises
    ------
    CosearchError
        If parts are missing, and `nearest` is False or the table has no part of that kind.
    """
    parts = parts_of_network(network)
    price = price_parts(table, parts)
    if price.missing and (not nearest or math.isnan(price.latency_s)):
        raise CosearchError(f"{network.name}: " + missing_rows(table, parts)[0])
    return float(price.latency_s), int(price.missing)
