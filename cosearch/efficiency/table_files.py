"""Read tables of times that were measured on a device: of parts of networks, or of the choices of a space's knobs.

A *part table* has one row per part (:mod:`cosearch.efficiency.parts`). As a CSV file it has the columns of
:data:`PART_COLUMNS`: ``kind``; ``input`` and ``output`` as HEIGHTxWIDTHxCHANNELS; ``kernel``, ``stride``, ``groups``,
``middle``, ``squeeze_excite`` and ``residual`` (0 or 1) and ``activation``, each of which may be left out or empty ("relu"
stands for relu6 as well); then ``latency_ms`` and, optionally, ``std_ms`` (of single runs) and ``count`` (of runs). The
command `cosearch device-latency parts` writes such a file for a space, with ``latency_ms`` left to be filled in.

Two published forms of YAML are read too: that of ProxylessNAS (mobile_trim) and that of Once-for-All (Note10), whose keys are
such as ``expanded_conv-input:10x10x136-output:10x10x136-expand:408-kernel:3-stride:1-idskip:1-se:1-hs:1``, each with
``mean`` (ms), ``std`` or ``var``, ``count``. A part that is measured in several files (or rows) gets the mean over all runs.

A *knob table* suits a space whose latency is a sum of one term per knob: a CSV file with the columns ``knob``, ``choice``,
``latency_ms`` (and ``std_ms``); a row without knob and choice is the part that all networks have.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accel_models.workload import TensorShape
from cosearch.efficiency.parts import BLOCK, LAYER, POOLED_LAYER, Part, plain_activation, size_text
from cosearch.efficiency.tables import KINDS, KnobTable, PartTable, Timing
from cosearch.errors import CosearchError

PART_COLUMNS = (
    "kind", "input", "output", "kernel", "stride", "groups", "middle", "squeeze_excite", "residual", "activation",
    "latency_ms", "std_ms", "count",
)  # fmt: skip

_SHAPE = re.compile(r"(?:(\d+)x(\d+)x)?(\d+)")
_PUBLISHED_KINDS = {"Conv": LAYER, "Logits": LAYER, "expanded_conv": BLOCK, "AvgPool2D": "global_pool"}


def read_table(path: str | Path) -> PartTable | KnobTable:
    """Return the table in a file (.yaml, .yml, .csv) or in all such files of a folder.

    Raises
    ------
    CosearchError
        If there is none, one cannot be read, or the files hold tables of both sorts; the message says where.
    """
    path = Path(path)
    files = [path] if not path.is_dir() else sorted(file for file in path.iterdir() if file.suffix in _READERS)
    if not files:
        raise CosearchError(f"{path}: the folder holds no look-up table (.yaml, .yml or .csv)")
    rows: dict[Any, list[Timing]] = {}
    for file in files:
        if file.suffix not in _READERS:
            raise CosearchError(f"{file}: a look-up table is a .yaml, .yml or .csv file, or a folder of them")
        try:
            found = list(_READERS[file.suffix](file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise CosearchError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if not found:
            raise CosearchError(f"{file}: holds no measured time")
        for key, timing in found:
            rows.setdefault(key, []).append(timing)
    sorts = {isinstance(key, Part) for key in rows}
    if len(sorts) > 1:
        raise CosearchError(f"{path}: some files are tables of parts, others of knobs; one table is of one sort")
    timings = {key: _pooled(several) for key, several in rows.items()}
    source = f"{path.name}: {len(timings)} measured {'parts' if sorts == {True} else 'choices'}"
    return PartTable(source, timings) if sorts == {True} else KnobTable(source, timings)


def _pooled(several: Sequence[Timing]) -> Timing:
    """Return mean and standard deviation over the runs of several measurements of one thing."""
    if len(several) == 1:
        return several[0]
    count = sum(one.count for one in several)
    mean = sum(one.count * one.mean_s for one in several) / count
    within = sum(one.count * (0.0 if math.isnan(one.spread_s) else one.spread_s) ** 2 for one in several)
    between = sum(one.count * (one.mean_s - mean) ** 2 for one in several)
    return Timing(mean, math.sqrt((within + between) / count), count)


def _read_yaml(file: Path) -> Iterator[tuple[Part, Timing]]:
    """Yield the rows of a published table."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        rows = YAML(typ="safe").load(file)
    except YAMLError as error:
        raise CosearchError(f"{file}: is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(rows, dict):
        raise CosearchError(f"{file}: holds no table: one key per part, with its mean in ms, is expected")
    for key, row in rows.items():
        if not isinstance(row, dict) or "mean" not in row:
            raise CosearchError(f"{file}, {key!r}: has no 'mean' (in ms)")
        spread = row.get("std", math.sqrt(row["var"]) if _positive(row.get("var")) else None)
        yield _published_part(file, str(key)), _timing(f"{file}, {key!r}", row["mean"], spread, row.get("count"))


def _published_part(file: Path, key: str) -> Part:
    """Return the part that a published table's key means.

    Once-for-All's keys have the middle channels under ``expand``, and say whether there is squeeze-and-excite (``se``) and
    h-swish (``hs``); ProxylessNAS's have the expand ratio there, and all their blocks relu6.
    """
    name, *words = key.split("-")
    values = dict(word.partition(":")[::2] for word in words)
    kind = _PUBLISHED_KINDS.get(re.sub(r"_\d+$", "", name))
    shapes = [_shape(values.get(end, "")) for end in ("input", "output")]
    needed = ("expand", "kernel", "stride", "idskip") if kind == BLOCK else ()
    numbers = {word: values.get(word, "") for word in (*needed, *(word for word in ("se", "hs") if word in values))}
    if kind is None or None in shapes or not all(number.isdecimal() for number in numbers.values()):
        wanted = "expanded_conv-input:HxWxC-output:HxWxC-expand:E-kernel:K-stride:S-idskip:0, Conv-..., Logits-..."
        raise CosearchError(f"{file}: cannot read the key {key!r}; wanted are keys such as {wanted}")
    reads, makes = shapes
    assert reads is not None and makes is not None
    if kind != BLOCK:
        pooled = name == "Logits" and reads.height * reads.width > 1
        return Part(POOLED_LAYER if pooled else kind, reads, makes)
    flags = {word: int(number) for word, number in numbers.items()}
    middle = flags["expand"] * (1 if "se" in flags else reads.channels)
    return Part(
        BLOCK, reads, makes, flags["kernel"], flags["stride"], 1, middle, bool(flags.get("se")), bool(flags["idskip"]),
        "h_swish" if flags.get("hs") else "relu",
    )  # fmt: skip


def _read_csv(file: Path) -> Iterator[tuple[Part | tuple[str, str], Timing]]:
    """Yield the rows of a table of one's own."""
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        header = set(reader.fieldnames or ())
        knobs = "knob" in header
        sort = f"a table of {'knobs' if knobs else 'parts'}"
        needed = ("knob", "choice", "latency_ms") if knobs else ("kind", "input", "output", "latency_ms")
        for name in needed:
            if name not in header:
                raise CosearchError(f"{file}: no column {name!r}; {sort} has: {', '.join(needed)}")
        for row in reader:
            where = f"{file}, line {reader.line_num}"
            key = ((row["knob"] or "").strip(), (row["choice"] or "").strip()) if knobs else _part_of_row(where, row)
            yield (
                key,
                _timing(
                    where, row["latency_ms"], row.get("std_ms"), row.get("count"), at_least=-math.inf if knobs else 0
                ),
            )


def _part_of_row(where: str, row: Mapping[str, str | None]) -> Part:
    """Return the part of a CSV row."""
    cells = {name: (row.get(name) or "").strip() for name in PART_COLUMNS}
    if cells["kind"] not in KINDS:
        raise CosearchError(f"{where}: kind = {cells['kind']!r} is none of {', '.join(KINDS)}")
    shapes = [_shape(cells[end]) for end in ("input", "output")]
    for end, shape in zip(("input", "output"), shapes, strict=True):
        if shape is None:
            raise CosearchError(f"{where}: {end} = {cells[end]!r} is no HEIGHTxWIDTHxCHANNELS, such as 112x112x24")
    numbers = {name: cells[name] for name in ("kernel", "stride", "groups", "middle", "squeeze_excite", "residual")}
    for name, text in numbers.items():
        if text and not text.isdecimal():
            raise CosearchError(f"{where}: {name} = {text!r} is no whole number")
    kernel, stride, groups, middle, gate, residual = (int(text) if text else None for text in numbers.values())
    given = cells["kind"] in (BLOCK, LAYER) and (cells["activation"] or kernel is not None)
    activation = plain_activation(cells["activation"]) if given else None
    assert shapes[0] is not None and shapes[1] is not None
    return Part(
        cells["kind"],
        shapes[0],
        shapes[1],
        kernel,
        stride,
        groups or 1,
        middle or 0,
        bool(gate),
        bool(residual),
        activation,
    )


_READERS = {".yaml": _read_yaml, ".yml": _read_yaml, ".csv": _read_csv}


def part_cells(part: Part) -> dict[str, object]:
    """Return the columns of a CSV row that say which part it is."""
    blank = ["" if value is None else value for value in (part.kernel, part.stride)]
    cells = (
        part.kind, size_text(part.input), size_text(part.output), *blank, part.groups, part.middle,
        int(part.squeeze_excite), int(part.residual), part.activation or "",
    )  # fmt: skip
    return dict(zip(PART_COLUMNS, cells, strict=False))


def _timing(where: str, mean_ms: Any, spread_ms: Any, count: Any, at_least: float = 0.0) -> Timing:
    """Return a timing from what a file says, in ms."""
    found = [_number(value) for value in (mean_ms, spread_ms, count)]
    if not math.isfinite(found[0]) or found[0] < at_least:
        raise CosearchError(f"{where}: a time of {mean_ms!r} ms; wanted is a number, not below 0")
    if found[1] < 0 or found[2] < 1:
        raise CosearchError(
            f"{where}: std = {spread_ms!r} and count = {count!r}; a std is at least 0, a count at least 1"
        )
    return Timing(found[0] * 1e-3, found[1] * 1e-3, 1 if math.isnan(found[2]) else int(found[2]))


def _number(value: Any) -> float:
    try:
        return float(value) if value not in (None, "") else math.nan
    except (TypeError, ValueError):
        return math.nan


def _positive(value: Any) -> bool:
    return _number(value) >= 0


def _shape(text: str) -> TensorShape | None:
    found = _SHAPE.fullmatch(text)
    if not found or "0" in found.groups(default="1"):
        return None
    return TensorShape(int(found[3]), int(found[1] or 1), int(found[2] or 1))
