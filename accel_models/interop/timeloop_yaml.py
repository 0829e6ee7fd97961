"""Write a layer, a target and a mapping as Timeloop v4 input, so that anyone can check a cost with Timeloop itself.

Five files: ``architecture.yaml`` (version 0.4: nodes, containers, components), ``problem.yaml``, ``mapping.yaml``, and
``ERT.yaml`` and ``ART.yaml`` with this package's own energies (pJ per access to a block) and areas (um2), so that
Accelergy is not asked. In the folder, with Timeloop's Python front end::

    import timeloopfe.v4 as tl

    spec = tl.Specification.from_yaml_files("architecture.yaml", "problem.yaml", "mapping.yaml")
    tl.call_model(spec, output_dir="out", extra_input_files=["ERT.yaml", "ART.yaml"])

How terms correspond (ours, then Timeloop's):

level, innermost first
    A ``!Component`` of class DRAM, SRAM or regfile; the file lists the outermost first.
``fanout.x``, ``fanout.y`` of a level
    ``spatial: {meshX, meshY}`` of a ``!Container`` named ``Below_<level>``, right inside that level's component.
temporal loops, innermost first
    ``type: temporal`` at the level. ``permutation`` names all dims, innermost first; those with factor 1 come last.
spatial loops along X and Y
    ``type: spatial`` at the container. ``permutation`` names first the dims along X, then those along Y, each innermost
    first, then the rest; ``split`` is the number of dims along X: what stands before it goes to X, what follows to Y.
kept and bypassed dataspaces
    ``type: dataspace`` with ``keep`` and ``bypass``.
``reads_back_first_update``
    ``rmw_first_update: [Outputs]``.
leakage of a level and of the MACs
    ``leak`` in the ERT, pJ per cycle and instance; that of the chip has no component.
``entries``, ``word_bits``, ``block_words``, ``buffering``
    ``entries``, ``datawidth``, ``block_size`` (``width`` = both multiplied), ``multiple_buffering``.
``read_``, ``write_``, ``shared_bandwidth_words_per_cycle``
    ``read_``, ``write_``, ``shared_bandwidth``: words per cycle and instance; left out where unlimited.
stride, dilation
    Coefficients ``Wstride``, ``Hstride``, ``Wdilation``, ``Hdilation`` of the inputs' projection; groups are a dim ``G``
    of all dataspaces.

What Timeloop does otherwise, or has no word for:

* It passes operands between neighbours unless told not to: every spatial directive says ``no_link_transfer``.
* Wires: ``energy_per_hop: 0``. Its total still holds adders of spatial reductions: compare level by level.
* A dim that a mapping spreads over both X and Y of one mesh gets two containers, ``Below_<level>_Y`` around
  ``Below_<level>_X``, for Timeloop knows one spatial factor per dim and mesh. Where the two meshes slide windows that
  coincide, we share them and Timeloop does not.
* One element is one word. Where an element's bits and ``word_bits`` differ, capacity, traffic and energy are not comparable; a
  comment in ``architecture.yaml`` names those levels.
* Which dims a mesh allows is not written: a mapping that stands needs no constraint.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from accel_models import technology
from accel_models.accelerator import Accelerator, MemoryLevel, Precision
from accel_models.errors import MappingError
from accel_models.mapping import LevelMapping, Loops, Mapping
from accel_models.plan import MACHINE_COLUMNS, make_plan
from accel_models.workload import DATASPACES, DIMS, Layer

_TENSORS = {name: name.capitalize() for name in DATASPACES}
_CLASSES = {"dram": "DRAM", "sram": "SRAM", "register_file": "regfile"}

_WIDTHS = MACHINE_COLUMNS.index("words_per_weight")

# Names with a capital: a description's levels never have one, so none can clash.
_TOP, _MAC = "System", "MAC"

_COEFFICIENTS = {"Wstride": "stride_w", "Hstride": "stride_h", "Wdilation": "dilation_w", "Hdilation": "dilation_h"}
_SHAPE = """\
problem:
  version: 0.4
  shape:
    name: Grouped_Convolution
    dimensions: [N, K, C, P, Q, R, S, G]
    coefficients:
    - {name: Wstride, default: 1}
    - {name: Hstride, default: 1}
    - {name: Wdilation, default: 1}
    - {name: Hdilation, default: 1}
    data_spaces:
    - name: Weights
      projection:
      - [[G]]
      - [[K]]
      - [[C]]
      - [[R]]
      - [[S]]
    - name: Inputs
      projection:
      - [[G]]
      - [[N]]
      - [[C]]
      - [[P, Wstride], [R, Wdilation]]
      - [[Q, Hstride], [S, Hdilation]]
    - name: Outputs
      projection:
      - [[G]]
      - [[N]]
      - [[K]]
      - [[P]]
      - [[Q]]
      read_write: true
  instance:
"""


def to_timeloop(layer: Layer, accelerator: Accelerator, mapping: Mapping) -> dict[str, str]:
    """Return Timeloop v4's input for one mapped layer: file name -> YAML text.

    Raises
    ------
    MappingError
        If the mapping's levels are not the accelerator's.
    """
    names = [level.name for level in accelerator.levels]
    given = [level.level for level in mapping.levels]
    if given != names:
        raise MappingError(f"mapping has levels {given}, {accelerator.name} has {names} (innermost first)")
    accelerator = accelerator.bypassing(mapping.bypasses)
    head = f"# {layer} on {accelerator.name}; energies in ERT.yaml, areas in ART.yaml\n"
    return {
        "architecture.yaml": head + _architecture(layer, accelerator, mapping),
        "problem.yaml": _problem(layer),
        "mapping.yaml": _mapping(accelerator, mapping),
        "ERT.yaml": _energies(layer, accelerator),
        "ART.yaml": _areas(accelerator),
    }


def write_timeloop(folder: str | Path, layer: Layer, accelerator: Accelerator, mapping: Mapping) -> list[Path]:
    """Write the files of :func:`to_timeloop` to a folder, made if absent, and return their paths.

    Raises
    ------
    MappingError
        If the mapping's levels are not the accelerator's.
    """
    texts = to_timeloop(layer, accelerator, mapping)
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = [Path(folder) / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def _number(value: float) -> str:
    """Write a number so that reading it gives the same: integers without a point."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _names(dataspaces: Iterable[str]) -> str:
    return f"[{', '.join(_TENSORS[name] for name in dataspaces)}]"


def _architecture(layer: Layer, accelerator: Accelerator, mapping: Mapping) -> str:
    lines = [
        *_width_notes(layer, accelerator),
        "architecture:",
        "  version: 0.4",
        "  nodes:  # outermost first",
        "  - !Container",
        f"    name: {_TOP}",
        "    attributes:",
        f'      technology: "{_number(accelerator.node_nm)}nm"',
        f"      global_cycle_seconds: {1 / (accelerator.clock_mhz * 1e6)!r}",
    ]
    for level, mapped in reversed(list(zip(accelerator.levels, mapping.levels, strict=True))):
        lines += _component(level)
        for name, x, y, _, _ in _meshes(level, mapped):
            lines += ["  - !Container", f"    name: {name}", f"    spatial: {{meshX: {x}, meshY: {y}}}"]
    word_bits = accelerator.levels[0].word_bits
    lines += ["  - !Component", f"    name: {_MAC}", "    class: intmac", "    attributes:"]
    lines += [f"      datawidth: {word_bits}"]
    return "\n".join(lines) + "\n"


def _component(level: MemoryLevel) -> list[str]:
    given = {
        "datawidth": level.word_bits,
        "block_size": level.block_words,
        "width": level.word_bits * level.block_words,
        "entries": level.entries,
        "multiple_buffering": level.buffering,
        "read_bandwidth": level.read_bandwidth_words_per_cycle,
        "write_bandwidth": level.write_bandwidth_words_per_cycle,
        "shared_bandwidth": level.shared_bandwidth_words_per_cycle,
        "energy_per_hop": 0,
    }
    lines = ["  - !Component", f"    name: {level.name}", f"    class: {_CLASSES[level.component]}", "    attributes:"]
    return lines + [f"      {key}: {_number(value)}" for key, value in given.items() if value is not None]


def _meshes(level: MemoryLevel, mapped: LevelMapping) -> list[tuple[str, int, int, Loops, Loops]]:
    """Return the containers right inside a level, outermost first: name, meshX, meshY, loops along X and along Y."""
    x, y, name = level.fanout.x.size, level.fanout.y.size, f"Below_{level.name}"
    if x * y == 1:
        return []
    if {dim for dim, _ in mapped.spatial_x} & {dim for dim, _ in mapped.spatial_y}:
        return [(f"{name}_Y", 1, y, (), mapped.spatial_y), (f"{name}_X", x, 1, mapped.spatial_x, ())]
    return [(name, x, y, mapped.spatial_x, mapped.spatial_y)]


def _width_notes(layer: Layer, accelerator: Accelerator) -> list[str]:
    """Return a comment per level whose words are not one element each."""
    machine, notes = make_plan(layer, accelerator).machine, []
    for level, row in zip(accelerator.levels, machine, strict=True):
        bits = {name: float(row[_WIDTHS + place]) * level.word_bits for place, name in enumerate(DATASPACES)}
        unlike = [name for name in DATASPACES if name in level.keeps and bits[name] != level.word_bits]
        if unlike:
            kept = ", ".join(f"{name} of {_number(bits[name])} bits" for name in unlike)
            notes.append(f"# Not comparable: level {level.name} has words of {level.word_bits} bits and keeps {kept}")
    return notes


def _problem(layer: Layer) -> str:
    bounds = [f"    {dim}: {bound}" for dim, bound in zip(DIMS, layer.dims, strict=True)]
    steps = [f"    {name}: {getattr(layer, step)}" for name, step in _COEFFICIENTS.items()]
    return _SHAPE + "\n".join(bounds + steps) + "\n"


def _mapping(accelerator: Accelerator, mapping: Mapping) -> str:
    lines = ["mapping:  # permutations innermost first; the first `split` dims go to X"]
    for level, mapped in reversed(list(zip(accelerator.levels, mapping.levels, strict=True))):
        lines += ["", *_loops(level.name, "temporal", mapped.temporal)]
        if level.reads_back_first_update and "outputs" in level.keeps:
            lines.append("  rmw_first_update: [Outputs]")
        lines += [
            f"- target: {level.name}",
            "  type: dataspace",
            f"  keep: {_names(level.keeps)}",
            f"  bypass: {_names(name for name in DATASPACES if name not in level.keeps)}",
        ]
        for name, _, _, across, down in _meshes(level, mapped):
            lines += _loops(name, "spatial", across + down)
            lines += [f"  split: {len(across)}", f"  no_link_transfer: {_names(DATASPACES)}"]
    return "\n".join(lines) + "\n"


def _loops(target: str, kind: str, loops: Loops) -> list[str]:
    factors = dict(loops)
    order = [*factors, *(dim for dim in DIMS if dim not in factors)]
    return [
        f"- target: {target}",
        f"  type: {kind}",
        f"  factors: [{', '.join(f'{dim}={factors.get(dim, 1)}' for dim in DIMS)}]",
        f"  permutation: [{', '.join(order)}]",
    ]


def _energies(layer: Layer, accelerator: Accelerator) -> str:
    lines = [
        "ERT:",
        "  version: 0.4",
        "  tables:  # pJ per access to one block, per multiply-accumulate, per cycle (leak)",
    ]
    for level, count in zip(accelerator.levels, accelerator.instances, strict=True):
        energy = level.energy_pj(accelerator.node_nm)
        leak = _leakage_pj(level.leakage_mw, accelerator)
        actions = {"read": energy.read, "write": energy.write, "update": energy.update, "leak": leak}
        lines += _table(level.name, count, actions)
    mac = {
        "compute": make_plan(layer, accelerator).mac_energy_pj,
        "leak": _leakage_pj(accelerator.mac.leakage_mw, accelerator),
    }
    lines += _table(_MAC, accelerator.macs_per_cycle, mac)
    return "\n".join(lines) + "\n"


def _leakage_pj(leakage_mw: float | None, accelerator: Accelerator) -> float:
    """Energy that one instance leaks in one cycle."""
    return (leakage_mw or 0.0) * 1e3 / accelerator.clock_mhz


def _table(name: str, instances: int, actions: dict[str, float]) -> list[str]:
    rows = [
        f"    - {{name: {action}, arguments: {{}}, energy: {_number(energy)}}}" for action, energy in actions.items()
    ]
    return [f"  - name: {_path(name, instances)}", "    actions:", *rows]


def _areas(accelerator: Accelerator) -> str:
    bits = accelerator.precision or Precision(weights=16, inputs=16, outputs=16)
    mac = accelerator.mac.area_um2
    if mac is None:
        mac = technology.mac(bits.weights, bits.inputs, accelerator.node_nm).area_um2
    lines = ["ART:", "  version: 0.4", "  tables:  # um2 per instance"]
    for level, count in zip(accelerator.levels, accelerator.instances, strict=True):
        area = level.instance_area_um2(accelerator.node_nm)
        lines += [f"  - {{name: '{_path(level.name, count)}', area: {_number(area)}}}"]
    lines += [f"  - {{name: '{_path(_MAC, accelerator.macs_per_cycle)}', area: {_number(mac)}}}"]
    return "\n".join(lines) + "\n"


def _path(name: str, instances: int) -> str:
    return f"{_TOP}_top_level.{name}[1..{instances}]"
