"""Which sums of two fronts can be on the front of all sums: a filter in linear time, before sorting.

The sums of fronts of m and n rows are m n rows, nearly all dominated. A grid over the first columns keeps the least value
of the last column in every cell; a sum is dominated where a cell that is lower in every other column holds no more. What
is left, the front and a band of a cell's width along it, is for an exact method to sort out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel_models.loopnest.compile import kernel

CELLS_1D = 8192
CELLS_2D = 512
"""Cells along the one other column, or along each of two."""


def promising_sums(
    one: NDArray[np.float64], other: NDArray[np.float64], most: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return which sums of a row of `one` (m, columns) and a row of `other` (n, columns) can be on the front of all.

    Parameters
    ----------
    most
        Largest sums of use (columns,), inf where there is no limit.

    Returns
    -------
    ndarray of int64
        ``row of one * n + row of other``, ascending: all of the front of the sums that are at most `most`, and some more.

    Raises
    ------
    ValueError
        If there are more than three columns.
    """
    columns = one.shape[1]
    if columns > 3:
        raise ValueError(f"sums have one to three columns, not {columns}")
    if not len(one) or not len(other):
        return np.zeros(0, dtype=np.int64)
    cells = (1, 1, CELLS_1D, CELLS_2D)[columns], (1, 1, 1, CELLS_2D)[columns]
    return _filter(*(_three(values) for values in (one, other)), _three(most[None])[0], *cells)


def _three(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values (n, columns) with columns of zeros before them, so that there are three, the last one last."""
    padded = np.zeros((len(values), 3))
    columns = values.shape[1]
    padded[:, : columns - 1], padded[:, 2] = values[:, :-1], values[:, -1]
    return padded


@kernel
def _filter(
    one: NDArray[np.float64], other: NDArray[np.float64], most: NDArray[np.float64], first_cells: int, second_cells: int
) -> NDArray[np.int64]:
    low = np.empty(2)
    scale = np.empty(2)
    for column in range(2):
        cells = first_cells if column == 0 else second_cells
        low[column] = one[:, column].min() + other[:, column].min()
        span = one[:, column].max() + other[:, column].max() - low[column]
        scale[column] = (cells - 1) / span if span > 0.0 else 0.0
    least = np.full((first_cells + 1, second_cells + 1), np.inf)  # row and column 0: below all sums
    for i in range(len(one)):
        for j in range(len(other)):
            first, second, last = one[i, 0] + other[j, 0], one[i, 1] + other[j, 1], one[i, 2] + other[j, 2]
            if first <= most[0] and second <= most[1] and last <= most[2]:
                row = int((first - low[0]) * scale[0]) + 1
                column = int((second - low[1]) * scale[1]) + 1
                least[row, column] = min(least[row, column], last)
    strict_first, strict_second = int(first_cells > 1), int(second_cells > 1)
    for row in range(first_cells + 1):
        for column in range(second_cells + 1):
            if row > 0:
                least[row, column] = min(least[row, column], least[row - 1, column])
            if column > 0:
                least[row, column] = min(least[row, column], least[row, column - 1])
    kept = np.empty(len(one) * len(other), dtype=np.int64)
    count = 0
    for i in range(len(one)):
        for j in range(len(other)):
            first, second, last = one[i, 0] + other[j, 0], one[i, 1] + other[j, 1], one[i, 2] + other[j, 2]
            if first <= most[0] and second <= most[1] and last <= most[2]:
                row = int((first - low[0]) * scale[0]) + 1
                column = int((second - low[1]) * scale[1]) + 1
                lower = least[row - strict_first, column - strict_second]
                if last < lower or (second_cells == 1 and last == lower):
                    kept[count] = i * len(other) + j
                    count += 1
    return kept[:count].copy()
