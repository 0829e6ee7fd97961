"""From the values of a space's knobs back to genomes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cosearch.errors import CosearchError
from cosearch.space import Genomes, Knob, NetworkSpace

_DENSE = 100_000
"""Choices that span less than this are looked up in an array."""

_CHUNK = 4096
"""Networks that are looked up at once: they fit the caches."""


def genomes_of(space: NetworkSpace, values: NDArray[np.integer]) -> Genomes:
    """Return the genomes (n, knobs), not canonical, of values as `NetworkSpace.numbers` returns them.

    Raises
    ------
    CosearchError
        If the array is no (n, knobs) of whole numbers, or a value is none of its knob's choices.
    """
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != len(space.knobs) or not np.issubdtype(values.dtype, np.integer):
        raise CosearchError(
            f"space {space.name!r}: values are whole numbers (n, {len(space.knobs)}), not {values.dtype} {values.shape}"
        )
    genomes = np.empty(values.T.shape, dtype=np.int64)  # one knob after the other, as look-ups read them
    tables = [_Choices(knob) for knob in space.knobs]
    for start in range(0, len(values), _CHUNK):
        columns = np.ascontiguousarray(values[start : start + _CHUNK].T)
        for row, table, column in zip(genomes, tables, columns, strict=True):
            row[start : start + _CHUNK] = indices = table.indices(column)
            if indices.min() < 0:
                at = int(indices.argmin())
                raise CosearchError(
                    f"space {space.name!r}, row {start + at}: {table.knob.name} = {column[at]} is not one of "
                    f"{table.known.tolist()}"
                )
    return genomes.T


class _Choices:
    """A knob's choices, to be found by value."""

    def __init__(self, knob: Knob) -> None:
        self.knob = knob
        self.known = np.array(knob.numbers, dtype=np.int64)
        self._order = np.argsort(self.known)
        self._least = int(self.known.min())
        dense = int(self.known.max()) - self._least < _DENSE
        self._index = np.full(int(self.known.max()) - self._least + 1, -1) if dense else np.empty(0, dtype=np.int64)
        if dense:
            self._index[self.known - self._least] = np.arange(len(self.known))

    def indices(self, column: NDArray[np.integer]) -> Genomes:
        """Return which choice each value (n,) is, -1 for none."""
        place = column - self._least
        if len(self._index) and place.min() >= 0 and place.max() < len(self._index):
            return self._index[place]
        found = self._order[np.minimum(np.searchsorted(self.known[self._order], column), len(self.known) - 1)]
        return np.where(self.known[found] == column, found, -1)
