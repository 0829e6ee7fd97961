"""What a file that describes a space may hold: the pydantic models, and what makes no sense together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from accel_models.accelerator import Frozen, PositiveInt
from accel_models.detail import ACTIVATIONS
from accel_models.errors import unknown_name

KINDS = ("mbconv", "bottleneck", "depthwise_separable", "shuffle", "conv")
"""Kinds of blocks."""

MOST_BLOCKS = 64
"""Most blocks of a stage."""

_EXPANDING = {"mbconv": "middle channels per input channel", "bottleneck": "middle channels in % of its output's"}
_OWN_KERNEL = ("bottleneck",)


def _not_empty(value: Any) -> Any:
    if isinstance(value, (list, tuple)) and not value:
        raise ValueError("the list is empty: it should have at least one item")
    return value


def _one_or_several(value: Any) -> Any:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


def _ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError(f"{list(values)} is wrong: choices should ascend, none twice: {sorted(set(values))}")
    return values


def _odd(values: tuple[int, ...]) -> tuple[int, ...]:
    even = [value for value in values if value % 2 == 0]
    if even:
        raise ValueError(f"{list(values)} is wrong: a kernel should be odd, as {even[0]} has no centre")
    return values


def _at_most(limit: int) -> Callable[[tuple[int, ...]], tuple[int, ...]]:
    def check(values: tuple[int, ...]) -> tuple[int, ...]:
        if values and values[-1] > limit:
            raise ValueError(f"{list(values)} is wrong: a stage has at most {limit} blocks")
        return values

    return check


def _activation(name: Any) -> Any:
    if name not in ACTIVATIONS:
        raise ValueError(unknown_name("activation", str(name), ACTIVATIONS))
    return name


def _name(name: Any) -> Any:
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_.-]*", name):
        raise ValueError(f"{name!r} is wrong: a name should be lower-case letters, digits, _, - and ., a letter first")
    return name


def _kind(name: Any) -> Any:
    if name not in KINDS:
        raise ValueError(unknown_name("kind of block", str(name), KINDS))
    return name


Choices = Annotated[
    tuple[PositiveInt, ...], BeforeValidator(_one_or_several), BeforeValidator(_not_empty), AfterValidator(_ascending)
]
Depths = Annotated[Choices, AfterValidator(_at_most(MOST_BLOCKS))]
Kernels = Annotated[Choices, AfterValidator(_odd)]
Activation = Annotated[str, BeforeValidator(_activation)]


class StemModel(Frozen):
    """The first convolution."""

    channels: PositiveInt
    kernel: Annotated[int, Field(gt=0, strict=True)] = 3
    stride: PositiveInt = 2
    activation: Activation = "relu6"


class StageModel(Frozen):
    """One stage: blocks of one kind and one width."""

    block: Annotated[str, BeforeValidator(_kind)] = "mbconv"
    channels: Choices
    depths: Depths
    stride: PositiveInt = 1
    kernels: Kernels | None = None
    expands: Choices | None = None
    activation: Activation = "relu6"
    squeeze_excite: Annotated[bool, Field(strict=True)] = False
    groups: PositiveInt = 1


class HeadModel(Frozen):
    """A 1x1 convolution that mixes features before global pooling, or after it."""

    channels: PositiveInt
    activation: Activation = "relu6"
    after_pool: Annotated[bool, Field(strict=True)] = False


class SpaceModel(Frozen):
    """A space of one's own: a stem, stages of blocks, a head, a classifier."""

    name: Annotated[str, BeforeValidator(_name)]
    summary: str = ""
    image_channels: PositiveInt = 3
    resolutions: Choices
    classes: PositiveInt = 1000
    widths_percent: Choices | None = None
    chosen_per: Literal["block", "stage"] = "block"
    kernels: Kernels | None = None
    expands: Choices | None = None
    stem: StemModel
    stages: Annotated[tuple[StageModel, ...], BeforeValidator(_not_empty)]
    head: HeadModel | None = None

    def kernels_of(self, stage: StageModel) -> tuple[int, ...]:
        """Return the choices of a stage; 1 choice where its kind of block has its own."""
        return (3,) if stage.block in _OWN_KERNEL else stage.kernels or self.kernels or (3,)

    def expands_of(self, stage: StageModel) -> tuple[int, ...]:
        """Return the choices of a stage; 1 where its kind of block has no middle channels to choose."""
        return (stage.expands or self.expands or (1,)) if stage.block in _EXPANDING else (1,)

    def contradictions(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Yield what makes no sense together: the place in the file, and what is wrong there."""
        for number, stage in enumerate(self.stages):
            place: tuple[str | int, ...] = ("stages", number)
            if stage.block in _EXPANDING and stage.expands is None and self.expands is None:
                yield (*place, "expands"), f"is missing, here or for all stages: {_EXPANDING[stage.block]}"
            if self.widths_percent is not None and len(stage.channels) > 1:
                yield (
                    (*place, "channels"),
                    f"{list(stage.channels)} and widths_percent exclude each other: a width scales every stage, so give one number",
                )
            for key, text in _not_for(stage):
                yield (*place, key), text


def _not_for(stage: StageModel) -> Iterator[tuple[str, str]]:
    """Yield the keys of a stage that its kind of block does not have."""
    if stage.kernels is not None and stage.block in _OWN_KERNEL:
        yield "kernels", f"a {stage.block} block has a 3x3 layer; leave this key out"
    if stage.expands is not None and stage.block not in _EXPANDING:
        yield "expands", f"a {stage.block} block has no middle channels to choose; leave this key out"
    if stage.squeeze_excite and stage.block != "mbconv":
        yield "squeeze_excite", f"a {stage.block} block has none (mbconv may); leave this key out"
    if stage.groups > 1 and stage.block != "bottleneck":
        yield "groups", f"a {stage.block} block has none (bottleneck may); leave this key out"
