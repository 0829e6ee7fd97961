"""Read published latencies of whole networks on real devices (or a benchmark's own simulator), as columns of one table."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_models.networks.ofa_config import network_from_config
from accel_models.workload import Network
from cosearch.errors import CosearchError
from cosearch.space import Genomes, NetworkSpace
from cosearch.spaces import load_space

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """Networks of a space and their latencies: genomes (n, knobs), and per device s (n,)."""

    space: NetworkSpace
    genomes: Genomes
    latency_s: dict[str, Floats]


@dataclass(frozen=True)
class Described:
    """Networks of which a file tells numbers only: values (n, columns), and per quantity what was measured (n,)."""

    values: Floats
    measured: dict[str, Floats]


def _frame(path: Path) -> Any:
    import pandas as pd

    try:
        return pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise CosearchError(f"{path}: cannot be read as CSV: {error}") from error


def _latencies(frame: Any, path: Path) -> dict[str, Floats]:
    columns = [name for name in frame.columns if name.endswith("_latency_ms")]
    if not columns:
        raise CosearchError(f"{path}: no column NAME_latency_ms")
    return {name.removesuffix("_latency_ms"): frame[name].to_numpy(float) * 1e-3 for name in columns}


def read_nas_bench_201(path: Path) -> Measured:
    """Read cells under ``arch``, as the benchmark writes them, with columns ``DEVICE_latency_ms``."""
    space, frame = load_space("nas-bench-201"), _frame(path)
    if "arch" not in frame.columns:
        raise CosearchError(f"{path}: no column 'arch'")
    try:
        genomes = [
            [knob.index(word) for knob, word in zip(space.knobs, re.findall(r"(\w+)~\d", text), strict=True)]
            for text in frame["arch"]
        ]
    except ValueError as error:
        raise CosearchError(f"{path}: arch: {error}") from error
    return Measured(space, space.canonical(np.array(genomes, dtype=np.int64)), _latencies(frame, path))


def read_fbnet(path: Path) -> Measured:
    """Read networks under ``op0`` to ``op21``, HW-NAS-Bench's numbers, with columns ``DEVICE_latency_ms``."""
    space, frame = load_space("fbnet-cifar100"), _frame(path)
    columns = [f"op{layer}" for layer in range(len(space.knobs))]
    if not set(columns) <= set(frame.columns):
        raise CosearchError(f"{path}: no columns op0 to op{len(columns) - 1}")
    genomes = frame[columns].to_numpy(np.int64)
    for genome in genomes:
        space.check(genome)
    return Measured(space, space.canonical(genomes), _latencies(frame, path))


def read_hat(path: Path) -> Described:
    """Read a file of HAT's: ten features of a transformer, and the mean latencies of encoder and decoder in ms."""
    frame = _frame(path)
    targets = [name for name in frame.columns if name.startswith("latency_mean_")]
    features = [name for name in frame.columns if not name.startswith("latency_")]
    if not targets or not features:
        raise CosearchError(f"{path}: no columns latency_mean_encoder, latency_mean_decoder and features")
    measured = {name.removeprefix("latency_mean_"): frame[name].to_numpy(float) * 1e-3 for name in targets}
    return Described(frame[features].to_numpy(float), measured)


def read_accel_nasbench(path: Path) -> Described:
    """Read Accel-NASBench: a flag per choice (but the first) of ``b0_e`` to ``b6_se``; latencies, and 1 / throughputs.

    ``macs_M`` becomes the last column but is no feature of the fits; see :func:`benchmarks.efficiency.described`.
    """
    frame = _frame(path)
    knobs = [name for name in frame.columns if re.fullmatch(r"b\d_(e|k|l|se)", name)]
    if not knobs or "macs_M" not in frame.columns:
        raise CosearchError(f"{path}: no columns b0_e to b6_se and macs_M")
    flags = [
        (frame[name] == choice).to_numpy(float) for name in knobs for choice in np.unique(frame[name].to_numpy())[1:]
    ]
    measured = {}
    for name in frame.columns:
        values = frame[name].to_numpy()
        if name.startswith("latency_"):
            measured[name] = values.astype(float) * 1e-3
        elif name.startswith("throughput_"):
            measured[name] = 1 / values.astype(float)
    return Described(np.column_stack([*flags, frame["macs_M"].to_numpy(float)]), measured)


def read_published(path: Path, device: str) -> list[tuple[Network, float]]:
    """Read the networks that were published for a device with their latency in s, in OFA's form (a list, ``unit`` ms)."""
    try:
        networks = json.loads(path.read_text(encoding="utf-8"))
        chosen = [one for one in networks if one["device"] == device and one["unit"] == "ms"]
        return [(network_from_config(one, name=str(one["id"])), float(one["constraint"]) * 1e-3) for one in chosen]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CosearchError(f"{path}: not a list of published networks: {error!r}") from error
