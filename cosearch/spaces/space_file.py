"""A space of one's own, described in a YAML file.

An example, with every key that is not at its default::

    name: tiny-mbconv
    summary: "inverted bottlenecks for 64 px"
    resolutions: [48, 64]
    classes: 10
    kernels: [3, 5]              # of stages that say nothing of their own
    expands: [3, 6]
    stem: {channels: 16, stride: 2, activation: relu6}
    stages:
      - {channels: 24, depths: [1, 2], stride: 2}
      - {channels: [32, 40], depths: [2, 3], stride: 2, squeeze_excite: true, expands: [4, 6]}
    head: {channels: 128}

`block` is one of mbconv (`expands`: middle channels per input channel), bottleneck (`expands`: middle channels in per cent of
its output's; `groups` for ResNeXt), depthwise_separable, shuffle and conv. `channels` is a number or a list of choices; with
`widths_percent` there is one width for the whole network instead, which scales stem and stages. ``chosen_per: stage`` gives all
blocks of a stage one kernel and one expand ratio.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from accel_models import blocks
from accel_models.description import line_of, read_yaml, validated
from accel_models.errors import DescriptionError, WorkloadError
from accel_models.network_builder import NetworkBuilder, make_divisible
from cosearch.errors import CosearchError, SpaceError
from cosearch.spaces.elastic import FULL_WIDTH, Block
from cosearch.spaces.piece_index import PieceIndex
from cosearch.spaces.pieces import PiecewiseSpace
from cosearch.spaces.space_model import SpaceModel, StageModel
from cosearch.spaces.variant import read_variant

_WORDS = {"w50,75": "widths in %", "r64,80": "resolutions in px"}


class SpaceOfFile(PiecewiseSpace):
    """The space that a YAML text describes.

    Parameters
    ----------
    definition
        The text.
    file
        What messages call it.
    part
        A sub-space: widths and resolutions such as ``w50-r64``; None for the whole space.

    Attributes
    ----------
    definition, file
        The same; the space travels as these, so a record that keeps the text needs the file no more.

    Raises
    ------
    DescriptionError
        If the text is malformed, one line per mistake with file, line, key and value; or a block cannot be built.
    SpaceError
        If the space has no such part.
    """

    def __init__(self, definition: str, file: str = "space.yaml", part: str | None = None) -> None:
        self.definition, self.file = definition, file
        self.arguments = (definition, file, part)
        tree = read_yaml(definition, file)
        self._model = model = validated(tree, SpaceModel, file)
        wrong = [f"{file}:{line_of(tree, at)}: {'.'.join(map(str, at))}: {text}" for at, text in model.contradictions()]
        if wrong:
            raise DescriptionError("\n".join(wrong))
        self._scaled = model.widths_percent is not None
        self._chosen = any(len(stage.channels) > 1 for stage in model.stages)
        self.source = f"{file}: {model.name}"
        self.image_channels = model.image_channels
        channels = tuple(stage.channels for stage in model.stages)
        widths, resolutions = self._some(part)
        super().__init__(
            model.name if part is None else f"{model.name}@{part}",
            model.summary or f"{len(model.stages)} stages, described in {Path(file).name}",
            resolutions=resolutions,
            depths=tuple(stage.depths for stage in model.stages),
            kernels=tuple(model.kernels_of(stage) for stage in model.stages),
            expands=tuple(model.expands_of(stage) for stage in model.stages),
            widths=widths or (channels if self._chosen else (FULL_WIDTH,)),
            width_unit="channels" if self._chosen else "%",
            one_width=self._scaled,
            per_stage=model.chosen_per == "stage",
        )
        self._refuse_impossible(tree)

    def variant(self, text: str) -> SpaceOfFile:
        """Return the sub-space of some widths and resolutions, such as ``w50-r64``.

        Raises
        ------
        SpaceError
            If the text cannot be read, or names no choice of the space.
        """
        return SpaceOfFile(self.definition, self.file, text)

    def _some(self, part: str | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the widths and resolutions of a part."""
        known = {"w": self._model.widths_percent or (), "r": self._model.resolutions}
        words = {} if part is None else read_variant(self.file, part, _WORDS)
        for word, numbers in words.items():
            wrong = [number for number in numbers if number not in known[word]]
            if wrong:
                there = ", ".join(map(str, known[word])) or "none"
                raise SpaceError(f"{self.file}@{part}: {word}{wrong[0]} is no choice of the space; there are: {there}")
        chosen = {**known, **{word: tuple(sorted(set(numbers))) for word, numbers in words.items()}}
        return chosen["w"], chosen["r"]

    def add_entrance(self, net: NetworkBuilder, stem: tuple[int, ...]) -> None:
        """Add the first convolution."""
        plan = self._model.stem
        channels = self._scale(plan.channels, stem[0]) if self._scaled else plan.channels
        net.conv("stem", channels, plan.kernel, stride=plan.stride, activation=plan.activation)

    def add_block(self, net: NetworkBuilder, block: Block) -> None:
        """Add one block of its stage's kind."""
        stage = self._model.stages[block.stage - 1]
        channels = block.width if self._chosen else self._scale(stage.channels[0], block.width)
        _ADD[stage.block](net, f"stage{block.stage}.block{block.block}", stage, channels, block)

    def add_exit(self, net: NetworkBuilder) -> None:
        """Add the layer that mixes features, where there is one, global pooling and the classifier."""
        head = self._model.head
        if head and not head.after_pool:
            net.conv("head", head.channels, 1, activation=head.activation)
        net.global_pool("pool")
        if head and head.after_pool:
            net.conv("head", head.channels, 1, batch_norm=False, bias=True, activation=head.activation)
        net.linear("classifier", self._model.classes)

    def _scale(self, channels: int, percent: int) -> int:
        return channels if percent == FULL_WIDTH else make_divisible(channels * percent / 100)

    def _refuse_impossible(self, tree: Any) -> None:
        """Build every block at one resolution, so that what cannot be built is told before a search begins."""
        try:
            for _ in PieceIndex(self, self.knobs[0].choices[:1]).pieces():
                pass
        except WorkloadError as error:
            stage = re.search(r"stage(\d+)\.", str(error))
            line = line_of(tree, ("stages", int(stage[1]) - 1) if stage else ("stem",))
            raise DescriptionError(f"{self.file}:{line}: {error}") from None


def _stride(stage: StageModel, block: Block) -> int:
    return stage.stride if block.block == 1 else 1


def _mbconv(net: NetworkBuilder, name: str, stage: StageModel, channels: int, block: Block) -> None:
    net.mbconv(
        name,
        channels,
        block.kernel,
        block.expand,
        stride=_stride(stage, block),
        squeeze_excite=stage.squeeze_excite,
        activation=stage.activation,
    )


def _bottleneck(net: NetworkBuilder, name: str, stage: StageModel, channels: int, block: Block) -> None:
    middle = make_divisible(round(channels * block.expand / 100))
    blocks.bottleneck(
        net, name, middle, channels, _stride(stage, block), groups=stage.groups, activation=stage.activation
    )


def _depthwise_separable(net: NetworkBuilder, name: str, stage: StageModel, channels: int, block: Block) -> None:
    blocks.depthwise_separable(net, name, channels, block.kernel, _stride(stage, block), activation=stage.activation)


def _shuffle(net: NetworkBuilder, name: str, stage: StageModel, channels: int, block: Block) -> None:
    blocks.shuffle_block(net, name, channels, _stride(stage, block), kernel=block.kernel, activation=stage.activation)


def _conv(net: NetworkBuilder, name: str, stage: StageModel, channels: int, block: Block) -> None:
    net.conv(name, channels, block.kernel, stride=_stride(stage, block), activation=stage.activation)


_ADD = {
    "mbconv": _mbconv,
    "bottleneck": _bottleneck,
    "depthwise_separable": _depthwise_separable,
    "shuffle": _shuffle,
    "conv": _conv,
}


def read_space(path: str | Path) -> SpaceOfFile:
    """Return the space that a YAML file describes.

    Raises
    ------
    SpaceError
        If there is no such file, or it cannot be read.
    DescriptionError
        As `SpaceOfFile`.
    """
    try:
        return SpaceOfFile(Path(path).read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise SpaceError(f"no file {str(path)!r} that describes a space") from None
    except OSError as error:
        raise CosearchError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise CosearchError(f"{path}: is no text in UTF-8") from None
