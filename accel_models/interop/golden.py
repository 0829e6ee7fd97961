"""Records of what Timeloop counts: layers, machines and mappings, with every count of the reference.

The form is one JSON object, ``{tool, commit, dataspaces, cases: [...]}``, plain or gzip. A case holds

``kind``, ``dims``, ``coef``
    The layer: loop bounds (those left out are 1), strides and dilations.
``arch``
    ``levels``, innermost first (entries, meshX, meshY, word_bits, block_size, read_bw, write_bw, multiple_buffering,
    energy in pJ per block access, dram, keep), and the ``mac`` array (meshX, meshY, energy). Meshes are those of the
    whole machine: a level's own fan-out is the mesh inside it divided by its own.
``mapping``
    Per level the kept dataspaces, and the loops ``T``, ``X``, ``Y``, innermost first: [dim, factor], or
    [dim, factor, residual] where the last iteration is shorter.
``link_transfers``, ``imperfect``
    Whether Timeloop could pass operands between neighbours; whether a loop has a shorter last iteration.
``out``, ``out_exact``, ``exact_same``
    Counts per level and dataspace as Timeloop reports them, and with every iteration walked, which may be the same;
    ``networks`` says which operands went over links between neighbours.

One element is one word everywhere (no precision). What this package does not model (wire energy, network hops) is not
read; level names are lower-cased, for a description's names are.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from accel_models.accelerator import Accelerator, AccessEnergy, Axis, Fanout, Mac, MemoryLevel
from accel_models.errors import AccelModelsError, DescriptionError
from accel_models.mapping import LevelMapping, Mapping
from accel_models.workload import DATASPACES, DIMS, Layer

Json = dict[str, Any]

_SIDES = {"T": "temporal", "X": "spatial_x", "Y": "spatial_y"}
_STEPS = {"Wstride": "stride_w", "Hstride": "stride_h", "Wdilation": "dilation_w", "Hdilation": "dilation_h"}
_COUNTS = ("tile", "reads", "fills", "updates")
_MAC = "mac"
# Cycles are compared, not seconds, and every energy is given: clock and node stand for nothing.
_CLOCK_MHZ, _NODE_NM = 1000.0, 45.0


@dataclass(frozen=True, slots=True)
class GoldenRow:
    """What one level does for one dataspace: counts are elements per used instance, energy (pJ) is that of all."""

    level: str
    dataspace: str
    tile: int
    reads: int
    fills: int
    updates: int
    energy_pj: float


@dataclass(frozen=True, slots=True)
class GoldenResult:
    """What the reference reports for one case; `cycles` is the latency, `level_cycles` that of each level alone."""

    rows: tuple[GoldenRow, ...]
    cycles: int
    level_cycles: tuple[tuple[str, int], ...]
    mac_energy_pj: float

    @property
    def energy_pj(self) -> float:
        """Energy of the MACs and of all rows (pJ), each of which the reference rounds to a hundredth."""
        return self.mac_energy_pj + sum(row.energy_pj for row in self.rows)


@dataclass(frozen=True, slots=True)
class Link:
    """Operands of one dataspace that went between neighbours instead of from `parent`; `child` is a level or "mac"."""

    parent: str
    child: str
    dataspace: str
    transfers: int


@dataclass(frozen=True, slots=True)
class Residual:
    """The shorter last iteration of one loop: `side` is temporal, spatial_x or spatial_y."""

    level: str
    side: str
    dim: str
    steps: int


@dataclass(frozen=True)
class GoldenCase:
    """One layer on one machine under one mapping, and what the reference counts for it.

    Attributes
    ----------
    imperfect, residuals
        Whether some loop has a shorter last iteration, and which (the factors then multiply to more than the bound).
    links
        Transfers between neighbours that the reference made use of; empty where it made none.
    result, exact
        Its report; the same with every iteration walked, where that was done.
    """

    kind: str
    layer: Layer
    accelerator: Accelerator
    mapping: Mapping
    link_transfers: bool
    imperfect: bool
    result: GoldenResult
    exact: GoldenResult | None = None
    residuals: tuple[Residual, ...] = ()
    links: tuple[Link, ...] = field(default=())


def read_golden(path: str | Path) -> list[GoldenCase]:
    """Return the cases of a file of this form, gzip or plain JSON.

    Raises
    ------
    DescriptionError
        If the file is not of this form: the message names the file, the case and what is wrong there.
    """
    path = Path(path)
    content = path.read_bytes()
    try:
        data = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
        cases = data["cases"]
    except (ValueError, OSError, EOFError, KeyError, TypeError) as error:
        raise DescriptionError(f"{path}: no golden file: one JSON object with `cases` is expected ({error})") from None
    return [_read_case(case, f"{path}: case {place}") for place, case in enumerate(cases)]


def write_golden(path: str | Path, cases: Iterable[GoldenCase], *, tool: str = "", commit: str = "") -> None:
    """Write cases to a file that :func:`read_golden` reads back equal; gzip where the name ends in ``.gz``."""
    data = {
        "tool": tool,
        "commit": commit,
        "dataspaces": [name.capitalize() for name in DATASPACES],
        "cases": [to_golden(case) for case in cases],
    }
    content = json.dumps(data).encode()
    # A fixed time stamp: the same cases make the same bytes.
    Path(path).write_bytes(gzip.compress(content, mtime=0) if str(path).endswith(".gz") else content)


def _read_case(case: Json, where: str) -> GoldenCase:
    try:
        accelerator = _accelerator(case)
        names = [level.name for level in accelerator.levels]
        return GoldenCase(
            kind=case["kind"],
            layer=_layer(case),
            accelerator=accelerator,
            mapping=_mapping(case["mapping"], names),
            link_transfers=bool(case["link_transfers"]),
            imperfect=bool(case["imperfect"]),
            result=_result(case["out"]),
            exact=_result(case["out_exact" if "out_exact" in case else "out"]) if "exact_same" in case else None,
            residuals=_residuals(case["mapping"]),
            links=_links(case["out"].get("networks", {})),
        )
    except KeyError as error:
        raise DescriptionError(f"{where}: key {error} is missing") from None
    except pydantic.ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise DescriptionError(f"{where}: {told}") from None
    except (AccelModelsError, TypeError, ValueError) as error:
        raise DescriptionError(f"{where}: {error}") from None


def _level_name(name: str) -> str:
    return re.sub(r"[^a-z0-9_]", "_", name.lower())


def _layer(case: Json) -> Layer:
    unknown = [name for name in case["coef"] if name not in _STEPS]
    if unknown:
        raise ValueError(f"coef {unknown[0]!r} is not known: {', '.join(_STEPS)}")
    steps = {_STEPS[name]: step for name, step in case["coef"].items()}
    return Layer(**case["dims"], **steps)


def _accelerator(case: Json) -> Accelerator:
    arch, levels = case["arch"], []
    below = (arch["mac"]["meshX"], arch["mac"]["meshY"])
    for level, mapped in zip(arch["levels"], case["mapping"], strict=True):
        mesh = (level["meshX"], level["meshY"])
        if below[0] % mesh[0] or below[1] % mesh[1]:
            raise ValueError(f"level {level['name']!r}: its mesh {mesh} does not divide {below}, the mesh inside it")
        levels.append(_level(level, mapped.get("keep", level["keep"]), below[0] // mesh[0], below[1] // mesh[1]))
        below = mesh
    return Accelerator(
        name=arch.get("template") or "golden", clock_mhz=_CLOCK_MHZ, node_nm=_NODE_NM,
        mac=Mac(energy_pj=arch["mac"]["energy"], area_um2=0), levels=tuple(levels),
    )  # fmt: skip


def _level(level: Json, keep: list[int], x: int, y: int) -> MemoryLevel:
    return MemoryLevel(
        name=_level_name(level["name"]),
        component="dram" if level["dram"] else "sram",
        keeps=tuple(name for name, kept in zip(DATASPACES, keep, strict=True) if kept),  # type: ignore[misc]
        entries=level["entries"],
        word_bits=level["word_bits"],
        block_words=level["block_size"],
        read_bandwidth_words_per_cycle=level["read_bw"],
        write_bandwidth_words_per_cycle=level["write_bw"],
        shared_bandwidth_words_per_cycle=level.get("shared_bw"),
        buffering=level["multiple_buffering"],
        access_energy_pj=AccessEnergy(**level["energy"]),
        area_um2=0,
        fanout=Fanout(x=Axis(size=x), y=Axis(size=y)),
    )


def _mapping(levels: list[Json], names: list[str]) -> Mapping:
    given = [_level_name(level["level"]) for level in levels]
    if given != names:
        raise ValueError(f"the mapping's levels {given} are not the machine's {names}")
    return Mapping(
        tuple(
            LevelMapping(name, *(_loops_of(level, key) for key in ("T", "X", "Y")))
            for name, level in zip(names, levels, strict=True)
        )
    )


def _loops_of(level: Json, side: str) -> Any:
    return tuple((loop[0], loop[1]) for loop in level.get(side, ()))


def _residuals(levels: list[Json]) -> tuple[Residual, ...]:
    return tuple(
        Residual(_level_name(level["level"]), side, loop[0], loop[2])
        for level in levels
        for key, side in _SIDES.items()
        for loop in level.get(key, ())
        if len(loop) > 2
    )


def _result(out: Json) -> GoldenResult:
    rows, cycles = [], []
    for name, level in out["levels"].items():
        if _level_name(name) == _MAC:
            continue
        cycles.append((_level_name(name), int(level["Cycles"])))
        for dataspace in DATASPACES:
            row = level.get(dataspace.capitalize())
            if row is not None:
                tile, reads, fills, updates = (int(row[key]) for key in _COUNTS)
                energy_pj = float(row["energy"])
                rows.append(GoldenRow(_level_name(name), dataspace, tile, reads, fills, updates, energy_pj))
    energy = float(out["levels"]["MAC"]["Energy (total)"])
    return GoldenResult(tuple(rows), int(out["summary"]["Cycles"]), tuple(cycles), energy)


def _links(networks: Json) -> tuple[Link, ...]:
    found = []
    for name, network in networks.items():
        parent, child = (_level_name(end) for end in name.split(" <==> "))
        for dataspace in DATASPACES:
            transfers = network.get(dataspace.capitalize(), {}).get("links")
            if transfers:
                found.append(Link(parent, child, dataspace, int(transfers)))
    return tuple(found)


def to_golden(case: GoldenCase) -> Json:
    """Return one case in the file's form; energies of wires and other things that are not modelled are left out."""
    layer, out = case.layer, _out(case.result)
    for link in case.links:
        network = out["networks"].setdefault(f"{link.parent} <==> {link.child}", {})
        network[link.dataspace.capitalize()] = {"links": link.transfers}
    form = {
        "kind": case.kind,
        "imperfect": case.imperfect,
        "link_transfers": case.link_transfers,
        "dims": dict(zip(DIMS, layer.dims, strict=True)),
        "coef": {name: getattr(layer, step) for name, step in _STEPS.items()},
        "arch": _arch_form(case.accelerator),
        "mapping": _mapping_form(case),
        "out": out,
    }
    if case.exact is None:
        return form
    same = case.exact == case.result
    return {**form, "exact_same": same, **({} if same else {"out_exact": _out(case.exact)})}


def _arch_form(accelerator: Accelerator) -> Json:
    levels, meshes = [], [(1, 1)]
    for level in reversed(accelerator.levels):
        x, y = meshes[0]
        meshes.insert(0, (x * level.fanout.x.size, y * level.fanout.y.size))
    for level, (x, y) in zip(accelerator.levels, meshes[1:], strict=True):
        levels.append(
            {
                "name": level.name, "entries": level.entries, "meshX": x, "meshY": y, "instances": x * y,
                "word_bits": level.word_bits, "block_size": level.block_words,
                "read_bw": level.read_bandwidth_words_per_cycle, "write_bw": level.write_bandwidth_words_per_cycle,
                "shared_bw": level.shared_bandwidth_words_per_cycle, "multiple_buffering": level.buffering,
                "energy": level.energy_pj(accelerator.node_nm).model_dump(), "dram": level.component == "dram",
                "keep": [int(name in level.keeps) for name in DATASPACES],
            }
        )  # fmt: skip
    x, y = meshes[0]
    mac = {"meshX": x, "meshY": y, "instances": x * y, "energy": accelerator.mac.energy_pj}
    return {"template": accelerator.name, "levels": levels, "mac": mac}


def _mapping_form(case: GoldenCase) -> list[Json]:
    shorter = {(found.level, found.side, found.dim): found.steps for found in case.residuals}
    form = []
    for level, memory in zip(case.mapping.levels, case.accelerator.levels, strict=True):
        loops = {
            key: [
                [dim, factor, *([shorter[place]] if (place := (level.level, side, dim)) in shorter else [])]
                for dim, factor in getattr(level, side)
            ]
            for key, side in _SIDES.items()
        }
        form.append({"level": level.level, "keep": [int(name in memory.keeps) for name in DATASPACES], **loops})
    return form


def _out(result: GoldenResult) -> Json:
    levels: dict[str, Json] = {name: {"Cycles": cycles} for name, cycles in result.level_cycles}
    for row in result.rows:
        counts = {key: getattr(row, key) for key in _COUNTS}
        levels.setdefault(row.level, {})[row.dataspace.capitalize()] = {**counts, "energy": row.energy_pj}
    levels["MAC"] = {"Energy (total)": result.mac_energy_pj}
    return {"levels": levels, "networks": {}, "summary": {"Cycles": str(result.cycles)}}
