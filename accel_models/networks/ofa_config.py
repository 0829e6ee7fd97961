"""Read a network from the JSON that Once-for-All publishes for its specialised networks.

Two spellings are understood: OFA's own ``net.config``, whose blocks hold ``mobile_inverted_conv`` (or ``conv``) and
``shortcut``, and the flat one, whose blocks hold the layer's values themselves. The families are ``MobileNetV3``
(features are mixed after global pooling) and ``ProxylessNASNets`` (before it; MCUNet publishes this one too).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accel_models.errors import WorkloadError, unknown_name
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network

FAMILIES = ("MobileNetV3", "ProxylessNASNets")
ACTIVATIONS = ("relu", "relu6", "h_swish", "swish", "sigmoid", "h_sigmoid", "tanh")
_NAMES = {"h_sigmoid": "hard_sigmoid"}


def read_config(path: str | Path, resolution: int | None = None) -> Network:
    """Return the network that a JSON file describes.

    Parameters
    ----------
    path
        The file.
    resolution
        Size of the square input image in pixels; None takes the file's ``image_size``.

    Raises
    ------
    WorkloadError
        If the file cannot be read or is malformed; the message names the file, the key and the value.
    """
    path = Path(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise WorkloadError(f"{path}: is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise WorkloadError(f"{path}: holds a {type(config).__name__} where one network (an object) is expected")
    try:
        return network_from_config(config, resolution, name=str(config.get("id", path.stem)))
    except WorkloadError as error:
        raise WorkloadError(f"{path}: {error}") from None


def network_from_config(config: Mapping[str, Any], resolution: int | None = None, *, name: str = "network") -> Network:
    """Return the network that a parsed configuration describes.

    Parameters
    ----------
    config
        Family under ``net`` or ``name``, ``first_conv``, ``blocks``, ``final_expand_layer`` and ``feature_mix_layer``
        (each may be null), ``classifier``, ``bn`` where it is given, and ``image_size`` unless `resolution` is given.
    resolution
        Size of the square input image in pixels.
    name
        Name of the network.

    Raises
    ------
    WorkloadError
        If a key is missing or its value impossible, or channels of two layers do not agree.
    """
    top = _Entry(config, "")
    family = config.get("net", config.get("name"))
    if family not in FAMILIES:
        raise WorkloadError(unknown_name("network family", str(family), FAMILIES))
    size = top.integer("image_size") if resolution is None else resolution
    net = NetworkBuilder(name, height=size, batch_norm_eps=_batch_norm_eps(top, family))
    _conv(net, top.entry("first_conv"), "stem")
    for position, block in enumerate(top.entries("blocks"), 1):
        _block(net, block, f"block{position}")
    if config.get("final_expand_layer") is not None:
        _conv(net, top.entry("final_expand_layer"), "final_expand")
    mixes = config.get("feature_mix_layer") is not None
    if mixes and family == "ProxylessNASNets":
        _conv(net, top.entry("feature_mix_layer"), "feature_mix")
    net.global_pool("pool")
    if mixes and family == "MobileNetV3":
        _conv(net, top.entry("feature_mix_layer"), "feature_mix", batch_norm=False)
    classifier = top.entry("classifier")
    classifier.meets("in_features", net.shapes[net.last].channels)
    net.linear("classifier", classifier.integer("out_features"), bias=classifier.flag("bias", True))
    return net.build("Once-for-All configuration")


def _batch_norm_eps(top: _Entry, family: str) -> float:
    """Return what ``bn.eps`` says; in files without it, what the family's supernet has."""
    if top.values.get("bn") is None:
        return 1e-3 if family == "ProxylessNASNets" else 1e-5
    value = top.entry("bn").values.get("eps")
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise WorkloadError(f"bn.eps = {value!r} must be a positive number")
    return float(value)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One object of the file and where it stands, so that an error can say so."""

    values: Mapping[str, Any]
    path: str

    def at(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a positive integer."""
        value = self.values.get(key, default)
        if value is None and key not in self.values:
            raise WorkloadError(f"{self.at(key)} is missing")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise WorkloadError(f"{self.at(key)} = {value!r} must be a positive integer")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise WorkloadError(f"{self.at(key)} = {value!r} must be true or false")
        return value

    def activation(self) -> str | None:
        value = self.values.get("act_func")
        if value is not None and value not in ACTIVATIONS:
            raise WorkloadError(f"{self.at('act_func')}: " + unknown_name("activation", str(value), ACTIVATIONS))
        return None if value is None else _NAMES.get(value, value)

    def entry(self, key: str) -> _Entry:
        if key not in self.values:
            raise WorkloadError(f"{self.at(key)} is missing")
        return _entry(self.values[key], self.at(key))

    def entries(self, key: str) -> list[_Entry]:
        value = self.values.get(key)
        if not isinstance(value, list):
            raise WorkloadError(f"{self.at(key)} must be a list of blocks")
        return [_entry(item, f"{self.at(key)}[{index}]") for index, item in enumerate(value)]

    def meets(self, key: str, channels: int) -> None:
        """Refuse a layer that expects another number of channels than the one before it makes."""
        if self.integer(key, channels) != channels:
            raise WorkloadError(f"{self.at(key)} = {self.values[key]}, but the layer before makes {channels} channels")


def _entry(value: Any, path: str) -> _Entry:
    if not isinstance(value, dict):
        raise WorkloadError(f"{path} = {value!r} must be an object")
    return _Entry(value, path)


def _conv(net: NetworkBuilder, entry: _Entry, name: str, *, batch_norm: bool = True) -> None:
    entry.meets("in_channels", net.shapes[net.last].channels)
    net.conv(
        name,
        entry.integer("out_channels"),
        entry.integer("kernel_size", 1),
        stride=entry.integer("stride", 1),
        groups=entry.integer("groups", 1),
        dilation=entry.integer("dilation", 1),
        batch_norm=entry.flag("use_bn", batch_norm),
        bias=entry.flag("bias", False),
        activation=entry.activation(),
    )


def _block(net: NetworkBuilder, block: _Entry, name: str) -> None:
    """Add one inverted bottleneck; a block whose layer is null (or OFA's ``ZeroLayer``) passes its input on."""
    key = next((key for key in ("mobile_inverted_conv", "conv") if key in block.values), None)
    shortcut = block.values.get("shortcut") is not None if key else True
    if key and (block.values[key] is None or block.entry(key).values.get("name") == "ZeroLayer"):
        return
    layer = block.entry(key) if key else block
    in_channels = net.shapes[net.last].channels
    layer.meets("in_channels", in_channels)
    net.mbconv(
        name,
        layer.integer("out_channels"),
        layer.integer("kernel_size"),
        middle=_middle_channels(layer, in_channels),
        stride=layer.integer("stride", 1),
        squeeze_excite=layer.flag("use_se", False),
        activation=layer.activation(),
        residual=shortcut,
    )


def _middle_channels(layer: _Entry, in_channels: int) -> int:
    if layer.values.get("mid_channels") is not None:
        return layer.integer("mid_channels")
    ratio = layer.values.get("expand_ratio")
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or ratio <= 0:
        raise WorkloadError(f"{layer.at('expand_ratio')} = {ratio!r} must be a positive number (or give mid_channels)")
    return round(in_channels * ratio)
