"""The space of MCUNet for microcontrollers: ProxylessNAS's stages under one width multiplier, at small resolutions.

The base widths, the stages and what a width multiplier scales are those of the public supernet (mit-han-lab/mcunet,
``OFAProxylessNASNets``): every layer but the feature mix, which stays 1280 channels wide below full width. At 1 MB of flash
there is no room for that layer, so it is left out unless asked for. The multipliers and resolutions are those that MCUNet
chooses among, .2 to 1.0 and 48 to 224 px.

References
----------
Lin et al., MCUNet: Tiny Deep Learning on IoT Devices, NeurIPS 2020, section 3.1.
Cai et al., ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware, ICLR 2019 (the widths).
"""

from __future__ import annotations

from collections.abc import Sequence

from accel_models.network_builder import NetworkBuilder, make_divisible
from cosearch.errors import SpaceError
from cosearch.spaces.elastic import Block
from cosearch.spaces.pieces import PiecewiseSpace
from cosearch.spaces.variant import read_variant

WIDTHS_PERCENT = tuple(range(20, 101, 10))
RESOLUTIONS_PX = tuple(range(48, 225, 16))

_WORDS = {
    "w40,50": "widths in %", "r128,144": "resolutions in px", "c10": "classes", "mix": "with feature mix",
}  # fmt: skip

_STEM, _FIRST = 32, 16
_STAGES = (24, 40, 80, 96, 192, 320)
_STRIDES = (2, 2, 2, 1, 2, 1)
_FEATURE_MIX = 1280


class McuNet(PiecewiseSpace):
    """Sub-networks of MCUNet's supernet.

    One width for the whole network, 20 to 100 %; per block a kernel of 3, 5 or 7 and an expand ratio of 3, 4 or 6; stages
    1 to 5 have a depth of 2, 3 or 4, stage 6 is one block: 2.0e20 networks per width and resolution.

    Parameters
    ----------
    widths_percent, resolutions_px
        Those to choose from; one of each makes the sub-space that TinyNAS selects.
    mix
        Whether there is a layer that mixes features before global pooling.
    classes
        Outputs of the classifier.

    Raises
    ------
    SpaceError
        If a width or resolution is not one of MCUNet's, or none is given.
    """

    source = "MCUNet, Lin et al., NeurIPS 2020; widths of mit-han-lab/mcunet"
    batch_norm_eps = 1e-3

    def __init__(
        self,
        widths_percent: Sequence[int] = WIDTHS_PERCENT,
        resolutions_px: Sequence[int] = RESOLUTIONS_PX,
        mix: bool = False,
        classes: int = 1000,
    ) -> None:
        widths = _some("width", "%", widths_percent, WIDTHS_PERCENT)
        resolutions = _some("resolution", "px", resolutions_px, RESOLUTIONS_PX)
        if classes < 1:
            raise SpaceError(f"mcunet: {classes} classes: there must be one at least")
        self.arguments = (widths, resolutions, mix, classes)
        self._mix, self._classes = mix, classes
        super().__init__(
            _name(widths, resolutions, mix, classes),
            f"MCUNet: width {_span(widths)} %, depth 2-4, kernel 3/5/7, expand 3/4/6, {_span(resolutions)} px"
            + (", with feature mix" if mix else ""),
            resolutions=resolutions,
            depths=(*((2, 3, 4),) * 5, (1,)),
            kernels=(3, 5, 7),
            expands=(3, 4, 6),
            widths=widths,
            one_width=True,
        )

    def variant(self, text: str) -> McuNet:
        """Return the sub-space that a text such as ``w50-r144`` names.

        Words, joined by ``-``: ``w`` with a width in per cent, ``r`` with a resolution in px (or several, as in
        ``w40,50``), ``c`` with a number of classes, ``mix``.

        Raises
        ------
        SpaceError
            If a word is none of these, stands twice, or names no choice of the space.
        """
        widths, resolutions, mix, classes = self.arguments
        words = read_variant("mcunet", text, _WORDS)
        return McuNet(
            words.get("w", widths), words.get("r", resolutions), mix or "mix" in words, *words.get("c", (classes,))
        )

    def add_entrance(self, net: NetworkBuilder, stem: tuple[int, ...]) -> None:
        """Add the first convolution and the one block that is fixed."""
        (width,) = stem
        # at 20 % the first block has as many channels as it reads, and the supernet gives it no residual all the same
        net.conv("stem", _channels(_STEM, width), 3, stride=2, activation="relu6")
        net.mbconv("first", _channels(_FIRST, width), 3, residual=False)

    def add_block(self, net: NetworkBuilder, block: Block) -> None:
        """Add one inverted bottleneck."""
        net.mbconv(
            f"stage{block.stage}.block{block.block}",
            _channels(_STAGES[block.stage - 1], block.width),
            block.kernel,
            block.expand,
            stride=_STRIDES[block.stage - 1] if block.block == 1 else 1,
        )

    def add_exit(self, net: NetworkBuilder) -> None:
        """Add the layer that mixes features, where there is one, global pooling and the classifier."""
        if self._mix:
            net.conv("feature_mix", _FEATURE_MIX, 1, activation="relu6")
        net.global_pool("pool")
        net.linear("classifier", self._classes)


def _channels(full: int, percent: int) -> int:
    return make_divisible(full * percent / 100)


def _some(what: str, unit: str, given: Sequence[int], known: tuple[int, ...]) -> tuple[int, ...]:
    """Return the choices given, ascending, if the space has them."""
    wrong = [value for value in given if value not in known]
    if wrong or not given:
        said = f"{what} {wrong[0]} {unit}" if wrong else f"no {what}"
        raise SpaceError(f"mcunet: {said}: choose among {', '.join(map(str, known))} {unit}")
    return tuple(sorted(set(given)))


def _span(values: tuple[int, ...]) -> str:
    return f"{values[0]}-{values[-1]}" if len(values) > 1 else str(values[0])


def _name(widths: tuple[int, ...], resolutions: tuple[int, ...], mix: bool, classes: int) -> str:
    """Return the name under which `load_space` finds the space again."""
    words = [f"w{','.join(map(str, widths))}"] if widths != WIDTHS_PERCENT else []
    words += [f"r{','.join(map(str, resolutions))}"] if resolutions != RESOLUTIONS_PX else []
    words += ["mix"] if mix else []
    words += [f"c{classes}"] if classes != 1000 else []
    return "@".join(["mcunet", "-".join(words)] if words else ["mcunet"])
