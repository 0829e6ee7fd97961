"""Accuracies looked up in a table in which every network of a space was measured, such as NAS-Bench-201's.

``tabular:FILE`` reads a CSV file with a header: a column ``arch`` with networks in the form that the space's `parse` reads
(``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`` for NAS-Bench-201, eight digits for NAS-Bench-Macro), and accuracies in percent.
Which column, the space says: ``cifar10_test``, ``cifar100_test`` or ``imagenet16_120_test``, or ``mean_acc``; another one is
named behind a ``#``, as in ``tabular:nasbench201.csv#cifar10_valid``. Other columns may be there.

**What is looked up is measured**, of networks trained alone: a mean over trainings where the file holds means. What the
error says: where the single trainings are in the file (NAS-Bench-Macro's ``acc1`` to ``acc3``), how far one of a network's
trainings is from their mean, in the mean. A file of means alone does not tell how far the trainings spread, so the error is
NaN: unknown, not zero. Nothing is ever extrapolated: a network that the file lacks has no accuracy.

A search that looks up test accuracies selects on the test set: its best network is the table's best, and no statement about
what a search would find that trains and validates. For that, give it a column of validation accuracies.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from accel_models.errors import unknown_name
from cosearch.accuracy._base import AccuracyEstimate
from cosearch.errors import CosearchError, SpaceError
from cosearch.space import Genomes, Knob, NetworkSpace

NETWORK_COLUMN = "arch"

MOST_NETWORKS = 1_000_000
"""Most networks of a space that a table may be about: it has a place for each."""


@runtime_checkable
class TabulatedSpace(Protocol):
    """What a space adds to a `NetworkSpace` so that its networks can be looked up.

    Attributes
    ----------
    accuracy_column : str
        Column of a file that holds the accuracy, unless the user names another.
    training_columns : tuple of str
        Columns with the accuracies of single trainings, whose mean that is; none if there are none.
    data_set_title : str
        Data set of the accuracies, as it is written.
    """

    accuracy_column: str
    training_columns: tuple[str, ...]
    data_set_title: str

    def parse(self, text: str) -> Genomes:
        """Return the genome of a network as the file writes it; raise `SpaceError` where it is none."""
        ...


@dataclass(frozen=True, eq=False)
class TabularEstimator:
    """Accuracies of all networks of one space.

    Attributes
    ----------
    name
        As it is asked for: ``tabular:`` and the file.
    space_name
        The space.
    scale
        What its values are.
    note
        The column that they come from, and how many networks it has.
    knobs
        The space's.
    accuracy_percent, error_points
        float64 (networks,): by the genome read as digits, the first knob's the highest; NaN where the file lacks it.
    """

    name: str
    space_name: str
    scale: str
    note: str
    knobs: tuple[Knob, ...] = field(repr=False)
    accuracy_percent: NDArray[np.float64] = field(repr=False)
    error_points: NDArray[np.float64] = field(repr=False)
    quantity: Literal["top1_percent"] = "top1_percent"

    def estimate(self, values: NDArray[np.integer]) -> AccuracyEstimate:
        """Look networks up.

        Parameters
        ----------
        values : ndarray of int, shape (n, knobs)
            As `NetworkSpace.numbers` returns them: values, or indices of choices that are names.

        Returns
        -------
        AccuracyEstimate
            Three arrays of shape (n,).

        Raises
        ------
        CosearchError
            If the values name no network of the space, or one that the file lacks.
        """
        entries = self._entries(np.asarray(values))
        found = self.accuracy_percent[entries]
        missing = np.flatnonzero(np.isnan(found))
        if missing.size:
            row = np.unravel_index(entries[missing[0]], [len(knob.choices) for knob in self.knobs])
            chosen = ", ".join(
                f"{knob.name} = {knob.choices[int(gene)]}" for knob, gene in zip(self.knobs, row, strict=True)
            )
            raise CosearchError(f"estimator {self.name!r}: the file has no accuracy of the network with {chosen}")
        return AccuracyEstimate(found, self.error_points[entries], np.zeros(len(entries), dtype=np.bool_))

    def _entries(self, values: NDArray[np.integer]) -> NDArray[np.int64]:
        if values.ndim != 2 or values.shape[1] != len(self.knobs) or values.dtype.kind not in "iu":
            raise CosearchError(
                f"estimator {self.name!r}: knob values must be an integer array of shape (n, {len(self.knobs)}), "
                f"not {values.shape} of {values.dtype}"
            )
        entries = np.zeros(len(values), dtype=np.int64)
        for knob, column in zip(self.knobs, values.T, strict=True):
            same = column[:, None] == np.array(knob.numbers)
            known = same.any(axis=1)
            if not known.all():
                raise CosearchError(
                    f"estimator {self.name!r}: {column[~known][0]} is no value of {knob.name}: {list(knob.numbers)}"
                )
            entries = entries * len(knob.choices) + same.argmax(axis=1)
        return entries


def make(space: NetworkSpace, argument: str) -> TabularEstimator:
    """Looks measured accuracies of a space's networks up in a file: tabular:FILE.csv.

    Parameters
    ----------
    space
        The space; it says how its networks are written (:class:`TabulatedSpace`).
    argument
        ``FILE`` or ``FILE#COLUMN``.

    Raises
    ------
    CosearchError
        If the space is not one that can be looked up, or the file cannot be read as one of its networks' accuracies: with
        file and line.
    """
    if not isinstance(space, TabulatedSpace) or space.size > MOST_NETWORKS:
        raise CosearchError(
            f"estimator 'tabular' has no form for space {space.name!r}: it looks up small spaces whose networks have a "
            "written form, such as nas-bench-201 and nas-bench-macro"
        )
    file, _, column = argument.partition("#")
    if not file:
        raise CosearchError(
            "estimator 'tabular' needs the file with the accuracies: tabular:FILE or tabular:FILE#COLUMN"
        )
    path, column = Path(file), column or space.accuracy_column
    usual = column == space.accuracy_column
    rows = _read(path, space, column, space.training_columns if usual else ())
    shape = [len(knob.choices) for knob in space.knobs]
    entries = np.ravel_multi_index(tuple(np.stack([row.genome for row in rows]).T), shape)
    _refuse_repeated(path, rows, entries)
    accuracy, error = np.full((2, int(np.prod(shape))), np.nan)
    accuracy[entries] = [row.accuracy for row in rows]
    trainings = np.array([row.trainings for row in rows])
    if trainings.size:
        error[entries] = np.abs(trainings - trainings.mean(axis=1, keepdims=True)).mean(axis=1)
    return TabularEstimator(
        f"tabular:{argument}", space.name,
        f"{space.data_set_title} {'test accuracy' if usual else column}, measured",
        f"column {column} of {path.name}: {len(rows):,} of {space.size:,} networks", space.knobs, accuracy, error,
    )  # fmt: skip


class _Row(NamedTuple):
    """One network of a file: its line, and accuracies in percent."""

    line: int
    genome: Genomes
    accuracy: float
    trainings: list[float]


def _read(path: Path, space: TabulatedSpace, column: str, training_columns: tuple[str, ...]) -> list[_Row]:
    """Return the networks of a file, at least one."""
    rows: list[_Row] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            lines = csv.reader(stream)
            header = next(lines, [])
            for needed in (NETWORK_COLUMN, column):
                if needed not in header:
                    raise CosearchError(f"{path}:1: " + unknown_name("column", needed, header))
            place, wanted = header.index(NETWORK_COLUMN), [header.index(column)]
            if set(training_columns) <= set(header):
                wanted += [header.index(name) for name in training_columns]
            for fields in filter(None, lines):
                where = f"{path}:{lines.line_num}"
                if len(fields) != len(header):
                    raise CosearchError(f"{where}: {len(fields)} fields, where the header has {len(header)}")
                try:
                    genome = space.parse(fields[place])
                except SpaceError as error:
                    raise CosearchError(f"{where}: {error}") from None
                accuracy, *trainings = [_percent(fields[index], where, header[index]) for index in wanted]
                rows.append(_Row(lines.line_num, genome, accuracy, trainings))
    except (OSError, UnicodeError, csv.Error) as error:
        raise CosearchError(f"{path}: cannot read the accuracies: {error}") from None
    if not rows:
        raise CosearchError(f"{path}: there is a header, and no networks")
    return rows


def _refuse_repeated(path: Path, rows: list[_Row], entries: NDArray[np.int64]) -> None:
    first: dict[int, int] = {}
    for row, entry in zip(rows, entries.tolist(), strict=True):
        if first.setdefault(entry, row.line) != row.line:
            raise CosearchError(f"{path}:{row.line}: the network of line {first[entry]} again")


def _percent(text: str, where: str, column: str) -> float:
    try:
        figure = float(text)
    except ValueError:
        figure = np.nan
    if not 0 <= figure <= 100:
        raise CosearchError(f"{where}: {column} = {text!r} is no accuracy in percent")
    return figure
