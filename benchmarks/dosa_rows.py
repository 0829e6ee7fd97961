"""The files of DOSA (github.com/ucb-bar/dosa, BSD-2) as the kernels' arrays: one layer, machine and mapping per row.

The machine is DOSA's Gemmini: L0 registers keep weights, one per element; L1 accumulators keep outputs, one per column;
L2 scratchpad keeps weights and inputs; L3 is DRAM. A mapping is a text, loops outermost first, X where spatial:
``L3[WIO] P28 R7 Q56 K8 - L2[WI] N1 K4X - L1[O] K2 S7 Q2 P2 C3X - L0[W] P2``.
"""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from accel_models import technology
from accel_models.errors import AccelModelsError, unknown_name
from accel_models.loopnest import counts as kernels
from accel_models.loopnest.evaluate_rows import evaluate_rows
from accel_models.workload import DIMS

REGISTERS, ACCUMULATOR, SCRATCHPAD, DRAM = range(4)
LEVELS = ("L0[W]", "L1[O]", "L2[WI]", "L3[WIO]")
KEEPS = ((1, 0, 0), (0, 0, 1), (1, 1, 0), (1, 1, 1))
"""Level -> whether it keeps weights, inputs, outputs."""

NODE_NM = 40
"""Accelergy's node for this data: the folder's README."""

MAC_BITS, ACCUMULATOR_BITS, DRAM_WORD_BITS = 8, 32, 8
"""Words of weights and inputs, and of the accumulator (columns ``word-bits``); DRAM's are taken as 8 bits."""

DRAM_TYPE: technology.DramType = "lpddr4"
"""As `descriptions/gemmini.yaml` has it; all three types give ranks above .99."""

DRAM_WORDS_PER_CYCLE = 8
"""Reads and writes together: the folder's README, and ``dram_shared_bw`` in DOSA's gemmini_config.py."""

FIRST_FILLS = np.array([level == ACCUMULATOR for level in range(4)])
"""This data's Timeloop fills a tile of the accumulator on its first visit too, and does not read back a word's first
update. The folder's README puts it the other way round; the sum is the same, but only this reading meets the rounding
of all 32,870 rows of the large file that are bound by the accumulator."""

_MACHINE = ("arch.meshX", "arch.mem1_entries", "arch.mem2_entries")
_SHARED = ("arch.mem1_shared_bandwidth", "arch.mem2_shared_bandwidth")
_SEPARATE = tuple(f"arch.mem{level}_{way}_bandwidth" for level in (1, 2) for way in ("read", "write"))
_LAYER = (*(f"prob.{dim}" for dim in "NKCPQRS"), "prob.Wstride", "prob.Hstride", "prob.Wdilation", "prob.Hdilation")
_TARGET = ("target.cycle", "target.energy", "target.edp")
_MAPPING = "mapping.mapping"
_LOOP = re.compile(r"([NKCPQRS])([1-9][0-9]{0,8})(X?)")
_SPATIAL_ROW = {ACCUMULATOR: kernels.SPATIAL_Y, SCRATCHPAD: kernels.SPATIAL_X}
"""Columns of the array lie along X, below the scratchpad; rows along Y, below an accumulator."""


class RecordedDataError(AccelModelsError, ValueError):
    """A file of recorded results that cannot be read as such."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of one file.

    Attributes
    ----------
    layers
        int64 (rows, 12), see `accel_models.loopnest.counts`.
    machines, machine_of
        float64 (machines, 4, MACHINE_COLUMNS), the distinct machines; int64 (rows,), which one a row has.
    mappings
        int64 (rows, 4, 4, 8).
    table
        The numeric columns of the file: what was recorded.
    """

    layers: NDArray[np.int64]
    machines: NDArray[np.float64]
    machine_of: NDArray[np.int64]
    mappings: NDArray[np.int32]
    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.layers)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What the kernel says of each row: `loopnest.evaluate_rows` names shapes and units."""

    counts: NDArray[np.float64]
    used: NDArray[np.float64]
    compute_cycles: NDArray[np.float64]
    energies_pj: NDArray[np.float64]
    cycles: NDArray[np.float64]


def parse_mapping(text: str) -> NDArray[np.int32]:
    """Return a mapping as the kernels' array (4, 4, 8).

    Raises
    ------
    RecordedDataError
        If the text has other levels, a loop that is none, or two loops of one kind over one dim in one level.
    """
    parts = text.split(" - ")
    if len(parts) != len(LEVELS):
        raise RecordedDataError(f"mapping {text!r}: {len(parts)} levels, expected {' - '.join(LEVELS[::-1])}")
    mapping = np.ones((len(LEVELS), 4, len(DIMS)), dtype=np.int32)
    for level, part in zip(reversed(range(len(LEVELS))), parts, strict=True):
        head, *loops = part.split()
        if head != LEVELS[level]:
            raise RecordedDataError(f"mapping {text!r}: level {head!r}, expected {LEVELS[level]!r}")
        _put_loops(mapping[level], level, loops, text)
    return mapping


def _put_loops(rows: NDArray[np.int32], level: int, loops: list[str], text: str) -> None:
    order: list[int] = []
    spread: set[int] = set()
    for loop in loops:
        match = _LOOP.fullmatch(loop)
        if match is None:
            raise RecordedDataError(
                f"mapping {text!r}: {loop!r} is no loop: expected one of NKCPQRS, a factor, X or not"
            )
        dim, factor, spatial = DIMS.index(match[1]), int(match[2]), bool(match[3])
        if spatial and level not in _SPATIAL_ROW:
            raise RecordedDataError(f"mapping {text!r}: {loop!r}: nothing is spread below {LEVELS[level]}")
        if dim in (spread if spatial else order):
            raise RecordedDataError(f"mapping {text!r}: two loops over {match[1]} in {LEVELS[level]}")
        if spatial:
            rows[_SPATIAL_ROW[level], dim] = factor
            spread.add(dim)
        else:
            rows[kernels.TEMPORAL, dim] = factor
            order.insert(0, dim)
    rows[kernels.ORDER] = order + [dim for dim in range(len(DIMS)) if dim not in order]


def format_mapping(mapping: NDArray[np.int32]) -> str:
    """Return the text of an array (4, 4, 8): the inverse of `parse_mapping` but for further loops of one step."""
    parts = []
    for level in reversed(range(len(LEVELS))):
        rows = mapping[level]
        order = [dim for dim in rows[kernels.ORDER][::-1] if rows[kernels.TEMPORAL, dim] > 1]
        loops = [f"{DIMS[dim]}{rows[kernels.TEMPORAL, dim]}" for dim in order] or ["N1"]
        spread = rows[_SPATIAL_ROW[level]] if level in _SPATIAL_ROW else ()
        loops += [f"{DIMS[dim]}{factor}X" for dim, factor in enumerate(spread) if factor > 1]
        parts.append(" ".join([LEVELS[level], *loops]))
    return " - ".join(parts)


def read_rows(path: Path, further_columns: tuple[str, ...] = ()) -> Rows:
    """Read a file of DOSA's. `further_columns` must be there too.

    Raises
    ------
    RecordedDataError
        If the file is no such table, a column is missing, or a line is malformed: the message names file and line.
    OSError
        If the file cannot be read.
    """
    table = _read_table(path)
    bandwidths = _SHARED if set(_SHARED) <= set(table.columns) else _SEPARATE
    numbers = (*_TARGET, *_MACHINE, *bandwidths, *_LAYER, *further_columns)
    for name in (_MAPPING, *numbers):
        if name not in table.columns:
            raise RecordedDataError(f"{path}: {unknown_name('column', name, table.columns)}")
    for name in numbers:
        table[name] = _positive_numbers(path, table[name], whole=name in _LAYER)
    rows, machine_of = np.unique(table[[*_MACHINE, *bandwidths]].to_numpy(np.float64), axis=0, return_inverse=True)
    layers = np.ones((len(table), kernels.LAYER_SIZE), dtype=np.int64)
    layers[:, [*range(7), *range(8, 12)]] = table[list(_LAYER)].to_numpy()  # 7: groups, always one
    machines = np.array([_machine(*row) for row in rows])
    return Rows(layers, machines, machine_of.ravel(), _mappings(path, table[_MAPPING]), table.drop(columns=_MAPPING))


def _read_table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, keep_default_na=False)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:  # ValueError: parser errors, undecodable text
        raise RecordedDataError(f"{path}: no table of comma-separated values: {error}") from error
    if len(table) < 2:
        raise RecordedDataError(f"{path}: {len(table)} rows: to compare ranks takes two or more")
    return table


def _positive_numbers(path: Path, column: pd.Series, whole: bool) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce")
    right = np.isfinite(values) & (values > 0) & (values % 1 == 0 if whole else True)
    if not right.all():
        place = int(right.argmin())
        kind = "a positive whole number" if whole else "a positive number"
        raise RecordedDataError(f"{path}, line {place + 2}: {column.name} is {column.iloc[place]!r}, expected {kind}")
    return values


def _mappings(path: Path, texts: pd.Series) -> NDArray[np.int32]:
    distinct, first, which = np.unique(texts.to_numpy(dtype=str), return_index=True, return_inverse=True)
    parsed = np.empty((len(distinct), len(LEVELS), 4, len(DIMS)), dtype=np.int32)
    for place in np.argsort(first):  # in the order of the file, so that the first wrong line is named
        try:
            parsed[place] = parse_mapping(str(distinct[place]))
        except RecordedDataError as error:
            raise RecordedDataError(f"{path}, line {first[place] + 2}: {error}") from None
    return parsed[which]


def _machine(mesh: float, accumulator: float, scratchpad: float, *bandwidths: float) -> NDArray[np.float64]:
    """Return the rows of one machine, levels by `plan.MACHINE_COLUMNS`; energies from `technology`, nothing fitted.

    `bandwidths` in words per cycle and instance: shared ones of L1 and L2, or reads and writes of L1, then of L2.
    """
    per_block = (
        technology.register_file(MAC_BITS / 8, MAC_BITS, NODE_NM),
        technology.sram(accumulator * ACCUMULATOR_BITS / 8, ACCUMULATOR_BITS, NODE_NM),
        technology.sram(scratchpad * MAC_BITS / 8, MAC_BITS * mesh, NODE_NM),
    )
    machine = np.ones((len(LEVELS), kernels.MACHINE_COLUMNS))
    machine[:, kernels.CAPACITY] = np.inf, accumulator, scratchpad, np.inf
    machine[:, [kernels.READ_BW, kernels.WRITE_BW, kernels.SHARED_BW]] = np.inf
    if len(bandwidths) == len(_SHARED):
        machine[[ACCUMULATOR, SCRATCHPAD], kernels.SHARED_BW] = bandwidths
    else:
        machine[ACCUMULATOR, [kernels.READ_BW, kernels.WRITE_BW]] = bandwidths[:2]
        machine[SCRATCHPAD, [kernels.READ_BW, kernels.WRITE_BW]] = bandwidths[2:]
    machine[DRAM, kernels.SHARED_BW] = DRAM_WORDS_PER_CYCLE
    energies = [[memory.read_pj, memory.write_pj, memory.write_pj] for memory in per_block]
    dram = technology.dram_access_pj(DRAM_WORD_BITS, DRAM_TYPE)
    machine[:, kernels.E_READ : kernels.E_UPDATE + 1] = [*energies, [dram] * 3]
    machine[SCRATCHPAD, [kernels.BLOCK, kernels.FAN_X]] = mesh
    machine[ACCUMULATOR, kernels.FAN_Y] = mesh
    machine[:, kernels.READS_BACK] = 0.0
    machine[:, kernels.KEEP : kernels.KEEP + 3] = KEEPS
    return machine


def spearman(estimate: NDArray[np.float64], recorded: NDArray[np.float64]) -> float:
    """Return the rank correlation of two columns (rows,)."""
    if np.ptp(estimate) == 0 or np.ptp(recorded) == 0:
        raise RecordedDataError("one value for all rows: there are no ranks to compare")
    return float(spearmanr(estimate, recorded).statistic)


def evaluate(rows: Rows, path: Path) -> Evaluated:
    """Evaluate every row.

    Raises
    ------
    RecordedDataError
        If the kernel refuses a mapping: too wide, too large, or factors that do not multiply to the layer.
    """
    count, levels = len(rows), len(LEVELS)
    bounds = np.zeros((levels, kernels.BOUND_COLUMNS), dtype=np.int64)
    sums = np.zeros((levels, kernels.SUM_COLUMNS))
    counts = np.zeros((count, levels, 3, kernels.COUNT_COLUMNS))
    used = np.zeros((count, levels))
    compute_cycles, energies_pj, cycles = np.zeros((3, count))
    codes = np.zeros(count, dtype=np.int64)
    evaluate_rows(
        rows.layers, rows.machines, rows.machine_of, FIRST_FILLS, technology.mac(MAC_BITS, MAC_BITS, NODE_NM).energy_pj,
        rows.mappings, bounds, sums, counts, used, compute_cycles, energies_pj, cycles, codes,
    )  # fmt: skip
    if codes.any():
        place = int((codes != kernels.OK).argmax())
        why = {
            kernels.BAD_PRODUCT: "its factors do not multiply to the layer's bounds",
            kernels.TOO_LARGE: "its tiles do not fit",
        }.get(int(codes[place]), "it spreads over more elements than the array has")
        raise RecordedDataError(f"{path}, line {place + 2}: mapping {format_mapping(rows.mappings[place])!r}: {why}")
    return Evaluated(counts, used, compute_cycles, energies_pj, cycles)
