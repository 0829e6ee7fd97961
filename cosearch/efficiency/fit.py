"""Fit a model of a device's latency to measured networks of a space.

A file of measurements is CSV: one column per knob, by its name (`cosearch spaces show`), with the choice as it is written
there, and ``latency_ms`` or ``latency_s``. The cell of a knob that does not count may be empty. Other columns are ignored.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accel_models.errors import unknown_name
from cosearch.efficiency import regression
from cosearch.efficiency.features import SpaceFeatures
from cosearch.efficiency.learned import LearnedModel
from cosearch.errors import CosearchError
from cosearch.space import Genomes, Knob, NetworkSpace

_UNITS = {"latency_ms": 1e-3, "latency_s": 1.0}
_WORTH_COUNTING = 0.95
"""MACs and parameters become features only if the error is less than this times the error without: they take time."""


@dataclass(frozen=True)
class Fit:
    """A fitted model, and what it has to beat.

    Attributes
    ----------
    model
        What is fitted.
    held_back_s
        float64 (n,): estimates of the rows from fits that did not see them.
    macs_error
        Held-back error of a straight line from the logarithm of the MACs to that of the latency.
    """

    model: LearnedModel
    held_back_s: NDArray[np.float64]
    macs_error: float


def read_measurements(space: NetworkSpace, path: Path) -> tuple[Genomes, NDArray[np.float64]]:
    """Return canonical genomes (n, knobs) and latencies in s (n,) of a file.

    Raises
    ------
    CosearchError
        If it cannot be read; the message names the line and the column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            header = reader.fieldnames or []
            unit = next((name for name in _UNITS if name in header), None)
            if unit is None:
                raise CosearchError(f"{path}: no column latency_ms or latency_s")
            for knob in space.knobs:
                if knob.name not in header:
                    raise CosearchError(f"{path}: no column for the knob {knob.name!r} of {space.name!r}")
            genomes, latencies = [], []
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                genomes.append([_gene(where, knob, row) for knob in space.knobs])
                latencies.append(_latency(where, row[unit]) * _UNITS[unit])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CosearchError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    table = np.array(genomes, dtype=np.int64).reshape(-1, len(space.knobs))
    counts = space.active(np.maximum(table, 0))
    missing = (table < 0) & counts
    if missing.any():
        row, column = np.argwhere(missing)[0]
        raise CosearchError(f"{path}, row {row + 1}: {space.knobs[column].name} counts there, but has no value")
    return space.canonical(np.maximum(table, 0)), np.array(latencies)


def _gene(where: str, knob: Knob, row: Mapping[str, str | None]) -> int:
    """Return which choice a cell names, -1 for an empty one."""
    text = (row[knob.name] or "").strip()
    if not text:
        return -1
    names = [str(choice) for choice in knob.choices]
    if text not in names:
        raise CosearchError(f"{where}: " + unknown_name(f"choice of {knob.name}", text, names))
    return names.index(text)


def _latency(where: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise CosearchError(f"{where}: a latency of {text!r}; wanted is a positive number")
    return value


def fit(
    space: NetworkSpace, genomes: Genomes, latency_s: NDArray[np.float64], *, device: str = "", seed: int = 0
) -> Fit:
    """Return a model of measured networks (n, knobs) and latencies (n,), with the errors found on held-back rows.

    Raises
    ------
    CosearchError
        If there are too few rows.
    """
    groups = np.unique(genomes, axis=0, return_inverse=True)[1].ravel()
    plain, counted = (SpaceFeatures(space, counts=counts) for counts in (False, True))
    best, best_matrix = plain, plain.matrix(genomes)
    errors, held_back = regression.errors_of(best_matrix, latency_s, best.scales, groups, seed)
    matrix = counted.matrix(genomes)
    if errors.held_back > regression.EXACT:
        others = regression.errors_of(matrix, latency_s, counted.scales, groups, seed)
        if others[0].held_back < _WORTH_COUNTING * errors.held_back:
            best, best_matrix, (errors, held_back) = counted, matrix, others
    model = LearnedModel(
        space.name, device or f"{len(latency_s)} measured networks", len(latency_s), best.counts,
        regression.fit(best_matrix, latency_s, best.scales, seed), errors, _seen(space, genomes),
    )  # fmt: skip
    line = line_estimates(matrix[:, 1], latency_s, groups, seed)
    return Fit(model, held_back, regression.log_error(line, latency_s))


def _seen(space: NetworkSpace, genomes: Genomes) -> tuple[tuple[int, ...], ...]:
    """Return per knob the choices that occur where it counts."""
    active = space.active(genomes)
    return tuple(tuple(np.unique(column[counts]).tolist()) for column, counts in zip(genomes.T, active.T, strict=True))


def line_estimates(
    log_macs: NDArray[np.float64], latency_s: NDArray[np.float64], groups: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Return held-back estimates (n,) in s of a straight line from the logarithm of the MACs to that of the latency."""
    estimates, log_latency = np.empty(len(latency_s)), np.log(latency_s)
    design = np.column_stack([np.ones(len(log_macs)), log_macs])
    for away in regression.fifths(groups, seed):
        line = np.linalg.lstsq(design[~away], log_latency[~away], rcond=None)[0]
        estimates[away] = np.exp(design[away] @ line)
    return estimates
