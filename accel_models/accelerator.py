"""An accelerator's description: processing elements, memory levels, how they connect, and what may vary in a search.

A description is data: validated once, frozen, comparable. Levels are listed innermost first (next to the MACs), the
outermost is DRAM. Every quantity carries its unit in its name. What the kernels see of it is made in `plan.py`.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from accel_models import technology
from accel_models.workload import DATASPACES, DIMS

if TYPE_CHECKING:
    from accel_models.targets.cost import NetworkCost
    from accel_models.workload import Network

PositiveInt = Annotated[int, Field(gt=0, le=2**53, strict=True)]
PositiveFloat = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
Dataspace = Literal["weights", "inputs", "outputs"]
Dim = Literal["N", "K", "C", "P", "Q", "R", "S", "G"]

Bypasses = tuple[tuple[Dataspace, ...], ...]
"""Dataspaces that each level lets pass, innermost first."""

MOST_CHOICES = 100_000
"""Most choices of one knob of a search section."""


class Frozen(BaseModel):
    """A validated value that never changes and knows no keys beside its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Precision(Frozen):
    """Bits of one element of each dataspace, where a layer does not say otherwise."""

    weights: PositiveInt = 8
    inputs: PositiveInt = 8
    outputs: PositiveInt = 8


class LoopRules(Frozen):
    """Which loops a mapping may place somewhere: only over `dims`, with given or bounded factors.

    A dim in `factors` has exactly that factor (1 where the layer's bound is 1); `max_factors` are upper bounds.
    """

    dims: tuple[Dim, ...] = DIMS  # type: ignore[assignment]
    factors: dict[Dim, PositiveInt] = {}
    max_factors: dict[Dim, PositiveInt] = {}

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.dims)) != len(self.dims):
            raise ValueError(f"dims {list(self.dims)} names a dim twice")
        for dim, factor in self.factors.items():
            if factor > 1 and dim not in self.dims:
                raise ValueError(f"factors gives {dim} = {factor}, but dims does not name {dim}")
            if dim in self.max_factors:
                raise ValueError(f"{dim} has both a fixed and a largest factor; keep one")
        return self

    def __hash__(self) -> int:
        return hash((self.dims, tuple(self.factors.items()), tuple(self.max_factors.items())))


class TemporalRules(LoopRules):
    """Rules for a level's temporal loops; the dims in `order` are its innermost loops, innermost first."""

    order: tuple[Dim, ...] = ()

    @model_validator(mode="after")
    def _order_is_a_list_of_dims(self) -> Self:
        if len(set(self.order)) != len(self.order):
            raise ValueError(f"order {list(self.order)} names a dim twice")
        return self

    __hash__ = LoopRules.__hash__


class Axis(LoopRules):
    """One side of a mesh of children: its length, and the loops that may be spread along it."""

    size: PositiveInt = 1

    def __hash__(self) -> int:
        return hash((self.size, super().__hash__()))


class Fanout(Frozen):
    """The mesh of children (next level inward, or MACs) that each instance of a level feeds.

    With `uneven`, mappers may spread a dim over it in factors that do not divide: the last round is then shorter.
    """

    x: Axis = Axis()
    y: Axis = Axis()
    uneven: bool = False


class AccessEnergy(Frozen):
    """Energy of one access to one block, in pJ. Updates are writes of partial sums."""

    read: NonNegativeFloat
    write: NonNegativeFloat
    update: NonNegativeFloat


class MemoryLevel(Frozen):
    """One level of the memory hierarchy; all numbers are per instance.

    A mapping keeps every dataspace in `keeps`, but those in `may_bypass` only if it pays.
    `partial_sum_bits` is the width of an output in an accumulator, where it differs from that of a finished one.

    A quantity left out (energy, area) is estimated by `technology.py` from the component, its size, width and node.
    Leakage counts only where it is given. With `holds_tensors`, tensors that fit stay here between the operation that
    makes them and those that read them (docs/cost_model.md, "Tensors that stay on chip").
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    component: Literal["register_file", "sram", "dram"]
    keeps: tuple[Dataspace, ...]
    may_bypass: tuple[Dataspace, ...] = ()
    entries: PositiveInt | None = None
    word_bits: PositiveInt = 16
    partial_sum_bits: PositiveInt | None = None
    block_words: PositiveInt = 1
    read_bandwidth_words_per_cycle: PositiveFloat | None = None
    write_bandwidth_words_per_cycle: PositiveFloat | None = None
    shared_bandwidth_words_per_cycle: PositiveFloat | None = None
    buffering: Annotated[float, Field(ge=1, strict=True, allow_inf_nan=False)] = 1
    reads_back_first_update: bool = False
    access_energy_pj: AccessEnergy | None = None
    area_um2: NonNegativeFloat | None = None
    leakage_mw: NonNegativeFloat | None = None
    holds_tensors: bool = False
    dram_type: Literal["ddr3", "lpddr4", "hbm2"] = "lpddr4"
    temporal: TemporalRules = TemporalRules()
    fanout: Fanout = Fanout()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.keeps or len(set(self.keeps)) != len(self.keeps):
            raise ValueError(f"keeps {list(self.keeps)} must name one or more of {list(DATASPACES)}, each once")
        if len(set(self.may_bypass)) != len(self.may_bypass) or not set(self.may_bypass) <= set(self.keeps):
            raise ValueError(
                f"may_bypass {list(self.may_bypass)} must name dataspaces of keeps, {list(self.keeps)}, each once"
            )
        if self.may_bypass and self.component == "dram":
            raise ValueError("may_bypass: dram keeps every dataspace")
        if (self.entries is None) != (self.component == "dram"):
            raise ValueError(
                "entries must be left out for dram (unlimited)"
                if self.entries
                else f"entries missing for {self.component}"
            )
        return self

    @property
    def size_bytes(self) -> float:
        """Capacity of one instance in bytes (infinite for DRAM)."""
        return float("inf") if self.entries is None else self.entries * self.word_bits / 8

    def energy_pj(self, node_nm: float) -> AccessEnergy:
        """Energy of one block access: as given, else estimated for the node."""
        if self.access_energy_pj is not None:
            return self.access_energy_pj
        width_bits = self.word_bits * self.block_words
        if self.component == "dram":
            each = technology.dram_access_pj(width_bits, self.dram_type)
            return AccessEnergy(read=each, write=each, update=each)
        estimate = technology.register_file if self.component == "register_file" else technology.sram
        memory = estimate(self.size_bytes, width_bits, node_nm)
        return AccessEnergy(read=memory.read_pj, write=memory.write_pj, update=memory.write_pj)

    def instance_area_um2(self, node_nm: float) -> float:
        """Area of one instance: as given, else estimated for the node. DRAM lies outside the chip."""
        if self.area_um2 is not None:
            return self.area_um2
        if self.component == "dram":
            return 0.0
        estimate = technology.register_file if self.component == "register_file" else technology.sram
        return estimate(self.size_bytes, self.word_bits * self.block_words, node_nm).area_um2


class Mac(Frozen):
    """One multiply-accumulate unit. Left out, energy and area are estimated from the operand widths and the node."""

    energy_pj: NonNegativeFloat | None = None
    area_um2: NonNegativeFloat | None = None
    leakage_mw: NonNegativeFloat | None = None


class VectorUnit(Frozen):
    """The unit that pools, adds, multiplies and activates, one scalar operation per lane and cycle."""

    lanes: PositiveInt = 16
    energy_pj: NonNegativeFloat | None = None


class SearchKnob(Frozen):
    """One choice of a hardware space: every key of `sets` takes the chosen value.

    `sets` holds dotted paths into the description, levels by name: ``global_buffer.entries``,
    ``global_buffer.fanout.x.size``, ``precision.weights``, ``clock_mhz``.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    sets: Annotated[tuple[str, ...], Field(min_length=1)]
    choices: tuple[Any, ...] | None = None
    minimum: PositiveInt | None = None
    maximum: PositiveInt | None = None
    step: PositiveInt | None = None
    unit: str = ""

    @field_validator("choices")
    @classmethod
    def _scalars_or_lists_of_them(cls, choices: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
        made = choices and tuple(tuple(choice) if isinstance(choice, list) else choice for choice in choices)
        for choice in made or ():
            for item in choice if isinstance(choice, tuple) else (choice,):
                if not isinstance(item, (bool, int, float, str, type(None))):
                    raise ValueError(f"choice {choice!r} must be a number, a text or a list of them")
        return made

    @model_validator(mode="after")
    def _one_way_to_say_it(self) -> Self:
        span = (self.minimum, self.maximum, self.step)
        if (self.choices is None) == (span == (None, None, None)):
            raise ValueError("give either choices, or minimum, maximum and step")
        if self.choices is None and (None in span or self.minimum > self.maximum):  # type: ignore[operator]
            raise ValueError(f"minimum, maximum, step = {span} is no range")
        if self.choices is None and (self.maximum - self.minimum) // self.step >= MOST_CHOICES:  # type: ignore[operator]
            raise ValueError(f"minimum, maximum, step = {span} are more than {MOST_CHOICES} choices")
        if not self.values():
            raise ValueError("choices is empty")
        if len(set(self.values())) != len(self.values()):
            raise ValueError("choices lists a value twice")
        return self

    def values(self) -> tuple[Any, ...]:
        """Return the choices."""
        if self.choices is not None:
            return self.choices
        return tuple(range(self.minimum, self.maximum + 1, self.step))  # type: ignore[operator, arg-type]


class Accelerator(Frozen):
    """A spatial accelerator: an array of MACs under a hierarchy of memories, innermost level first.

    `leakage_mw` is that of all that has no figure of its own: of the whole chip, where no level and no MAC has one.

    Raises
    ------
    pydantic.ValidationError
        For any contradiction; :func:`accel_models.load_target` turns it into a message with file and line.
    """

    kind: Literal["accelerator"] = "accelerator"
    name: Annotated[str, Field(min_length=1)]
    summary: str = ""
    sources: tuple[str, ...] = ()
    clock_mhz: PositiveFloat
    node_nm: Annotated[float, Field(ge=7, le=180, strict=True)]
    precision: Precision | None = None
    mac: Mac = Mac()
    vector_unit: VectorUnit = VectorUnit()
    leakage_mw: NonNegativeFloat | None = None
    levels: Annotated[tuple[MemoryLevel, ...], Field(min_length=1)]
    search: tuple[SearchKnob, ...] = ()

    @field_validator("levels")
    @classmethod
    def _hierarchy(cls, levels: tuple[MemoryLevel, ...]) -> tuple[MemoryLevel, ...]:
        names = [level.name for level in levels]
        if len(set(names)) != len(names):
            raise ValueError(f"two levels share a name: {', '.join(names)}")
        outer = levels[-1]
        if outer.component != "dram" or len(outer.keeps) != len(DATASPACES):
            raise ValueError(f"the last (outermost) level, {outer.name!r}, must be dram and keep every dataspace")
        if any(level.component == "dram" for level in levels[:-1]):
            raise ValueError("only the outermost level can be dram")
        _check_tensor_level(levels)
        return levels

    @field_validator("search")
    @classmethod
    def _each_value_set_once(cls, search: tuple[SearchKnob, ...]) -> tuple[SearchKnob, ...]:
        for kind, names in (
            ("name", [knob.name for knob in search]),
            ("path", [path for knob in search for path in knob.sets]),
        ):
            twice = [name for name, times in Counter(names).items() if times > 1]
            if twice:
                raise ValueError(f"{kind} {twice[0]!r} stands twice; each knob has a name, and sets values, of its own")
        return search

    @functools.cached_property
    def instances(self) -> tuple[int, ...]:
        """Number of instances of each level, innermost first."""
        counts, above = [], 1
        for level in reversed(self.levels):
            counts.append(above)
            above *= level.fanout.x.size * level.fanout.y.size
        return tuple(reversed(counts))

    @functools.cached_property
    def macs_per_cycle(self) -> int:
        """Number of MAC units."""
        innermost = self.levels[0].fanout
        return self.instances[0] * innermost.x.size * innermost.y.size

    @functools.cached_property
    def tensor_level(self) -> int | None:
        """Place of the level that holds tensors between operations (0 is innermost); None where none does."""
        return next((place for place, level in enumerate(self.levels) if level.holds_tensors), None)

    @functools.cached_property
    def bypass_choices(self) -> tuple[Bypasses, ...]:
        """Everything that a mapping may bypass: per choice the bypassed dataspaces of each level; first, nothing."""
        per_level = [
            [
                combination
                for size in range(len(level.may_bypass) + 1)
                for combination in _in_order(level.may_bypass, size)
            ]
            for level in self.levels
        ]
        return tuple(itertools.product(*per_level))

    def bypassing(self, bypasses: Bypasses) -> Accelerator:
        """Return this machine with these dataspaces not kept (per level, innermost first) and no choice left.

        Raises
        ------
        ValueError
            If a level may not bypass one of them.
        """
        if not any(level.may_bypass for level in self.levels) and not any(bypasses):
            return self  # as almost always
        levels = []
        for level, gone in zip(self.levels, bypasses, strict=True):
            for name in gone:
                if name not in level.may_bypass:
                    raise ValueError(f"level {level.name!r} may not bypass {name}; it may: {list(level.may_bypass)}")
            keeps = tuple(name for name in level.keeps if name not in gone)
            levels.append(level.model_copy(update={"keeps": keeps, "may_bypass": ()}))
        return self.model_copy(update={"levels": tuple(levels)})

    @functools.cached_property
    def leakage_breakdown_mw(self) -> tuple[tuple[str, float], ...]:
        """Leakage of all instances of each level, of the MACs, and of the rest of the chip: what is given, by name."""
        parts = [
            *((level.name, level.leakage_mw, count) for level, count in zip(self.levels, self.instances, strict=True)),
            ("mac", self.mac.leakage_mw, self.macs_per_cycle),
            ("chip", self.leakage_mw, 1),
        ]
        return tuple((name, each * count) for name, each, count in parts if each is not None)

    @property
    def on_chip_bytes(self) -> float:
        """Capacity of all on-chip memories together."""
        return sum(
            level.size_bytes * count
            for level, count in zip(self.levels, self.instances, strict=True)
            if level.component != "dram"
        )

    @functools.cached_property
    def area_breakdown_mm2(self) -> dict[str, float]:
        """Area of all instances of each level, of the MACs and of the vector unit."""
        bits = self.precision or Precision(weights=16, inputs=16, outputs=16)
        mac = self.mac.area_um2
        if mac is None:
            mac = technology.mac(bits.weights, bits.inputs, self.node_nm).area_um2
        lane = technology.vector_lane(bits.outputs, self.node_nm).area_um2
        parts = {
            level.name: level.instance_area_um2(self.node_nm) * count * 1e-6
            for level, count in zip(self.levels, self.instances, strict=True)
            if level.component != "dram"
        }
        parts["mac"] = mac * self.macs_per_cycle * 1e-6
        parts["vector_unit"] = lane * self.vector_unit.lanes * 1e-6
        return parts

    @property
    def area_mm2(self) -> float:
        """Area of memories, MACs and vector unit (no wiring, no control, no pads)."""
        return sum(self.area_breakdown_mm2.values())

    def evaluate(self, network: Network, **options: Any) -> NetworkCost:
        """Return what one pass of `network` (batch 1) costs here; options as of `targets.asic.evaluate`."""
        from accel_models.targets.asic import evaluate

        return evaluate(network, self, **options)


def _in_order(names: tuple[Dataspace, ...], size: int) -> Iterable[tuple[Dataspace, ...]]:
    return itertools.combinations([name for name in DATASPACES if name in names], size)


def _check_tensor_level(levels: tuple[MemoryLevel, ...]) -> None:
    """Refuse a level that cannot hold tensors between operations: all of their traffic with DRAM must pass through it."""
    holders = [place for place, level in enumerate(levels) if level.holds_tensors]
    if len(holders) > 1:
        names = ", ".join(repr(levels[place].name) for place in holders)
        raise ValueError(f"holds_tensors is true for {names}; one level can hold tensors")
    if holders and any(level.may_bypass for level in levels):
        raise ValueError("holds_tensors and may_bypass cannot be used together")
    for place in holders:
        level, outside = levels[place], levels[place + 1 :]
        said = f"holds_tensors: level {level.name!r}"
        missing = [name for name in ("inputs", "outputs") if name not in level.keeps]
        if level.component == "dram":
            raise ValueError(f"{said} is dram, where tensors are anyway; it is meant for a level on the chip")
        if missing:
            raise ValueError(f"{said} must keep inputs and outputs, it does not keep {' and '.join(missing)}")
        for other in outside:
            if other.fanout.x.size * other.fanout.y.size > 1:
                raise ValueError(f"{said} must be one instance, {other.name!r} outside fans out to several")
            if other is not levels[-1] and {"inputs", "outputs"} & set(other.keeps):
                raise ValueError(f"{said} must be next to dram, {other.name!r} in between keeps inputs or outputs")
