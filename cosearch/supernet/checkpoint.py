"""Weights in files: supernets as Once-for-All publishes them, and our own.

The published names are those of mit-han-lab/once-for-all, for its MobileNetV3, ProxylessNAS and ResNet50 supernets; the
first checkpoints say ``mobile_inverted_conv`` where later ones say ``conv``. Files are read with ``weights_only=True``:
a file can hold nothing but tensors and plain values.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from accel_models.errors import unknown_name
from cosearch.errors import CheckpointError
from cosearch.space import NetworkSpace
from cosearch.spaces import load_space
from cosearch.spaces.elastic import ElasticSpace
from cosearch.supernet.supernet import Supernet

FORM = "cosearch supernet 1"

_FIXED_PARTS = {
    "first_conv": "stem",
    "input_stem.0": "stem.conv1",
    "input_stem.1.conv": "stem.conv2",
    "input_stem.2": "stem.conv3",
    "final_expand_layer": "final_expand",
    "feature_mix_layer": "feature_mix",
    "classifier": "classifier",
}
_PARTS = {
    "inverted_bottleneck": "expand",
    "depth_conv": "depthwise",
    "depth_conv.se.fc.reduce": "se.reduce",
    "depth_conv.se.fc.expand": "se.expand",
    "point_linear": "project",
    "conv1": "conv1",
    "conv2": "conv2",
    "conv3": "conv3",
    "downsample": "downsample",
}
_OWN = re.compile(r"(?:\.(?:conv|linear)){0,2}\.(weight|bias)")
_NORM = re.compile(r"\.bn(?:\.bn)?\.(weight|bias|running_mean|running_var)")
_MATRIX = re.compile(r"\.conv\.(\d)to(\d)_matrix")
_IGNORED = "num_batches_tracked"
_BLOCKS = {"ofa-mobilenet-v3": True, "ofa-mobilenet-v3-w1.2": True, "ofa-proxyless": True, "ofa-resnet50": False}
"""The spaces of published supernets: whether block 0 of theirs is the one that is fixed."""


def load_published(source: str | Path | Mapping[str, Any], space: NetworkSpace) -> Supernet:
    """Return the supernet of a checkpoint that Once-for-All published.

    Every tensor of the checkpoint is used once; only the counters ``num_batches_tracked`` are left out.

    Parameters
    ----------
    source
        The file, or what it holds: tensors by name, or those under "state_dict".
    space
        One of `ofa-mobilenet-v3` (or `-w1.2`), `ofa-proxyless` and `ofa-resnet50`.

    Raises
    ------
    CheckpointError
        If it cannot be read, or does not belong to this space; the message names the tensor.
    """
    where = "checkpoint" if isinstance(source, Mapping) else str(source)
    if not isinstance(space, ElasticSpace) or space.name not in _BLOCKS:
        raise CheckpointError(f"{where}: " + unknown_name("published supernet", space.name, _BLOCKS))
    found = source if isinstance(source, Mapping) else read_tensors(Path(source))
    found = found.get("state_dict", found)
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise CheckpointError(f"{where}: holds no tensors by name")
    supernet = Supernet(space)
    places = _places(space)
    renamed: dict[str, tuple[str, Any]] = {}
    for name, tensor in found.items():
        if name.endswith(_IGNORED):
            continue
        own = _own_name(name, places)
        if own is None or own in renamed:
            raise CheckpointError(
                f"{where}: tensor {name!r} is none of a supernet of {space.name!r}, or is there twice"
            )
        renamed[own] = name, tensor
    _fill(supernet, renamed, where)
    return supernet


def save_supernet(path: str | Path, supernet: Supernet) -> None:
    """Write a supernet's weights, with the name of its space and its number of classes."""
    torch.save(
        {
            "form": FORM,
            "space": supernet.space.name,
            "classes": supernet.classes,
            "state": {name: tensor.detach().cpu() for name, tensor in supernet.state_dict().items()},
        },
        path,
    )


def load_supernet(path: str | Path, space: NetworkSpace | None = None) -> Supernet:
    """Return a supernet that :func:`save_supernet` wrote.

    Parameters
    ----------
    path
        The file.
    space
        Its space; None for the registered one of the name in the file.

    Raises
    ------
    CheckpointError
        If the file is none of ours, or is of another space.
    """
    whole = read_tensors(Path(path))
    if whole.get("form") != FORM or not isinstance(whole.get("state"), Mapping):
        raise CheckpointError(f"{path}: no supernet of form {FORM!r}")
    if space is None:
        space = load_space(str(whole.get("space")))
    if whole.get("space") != space.name:
        raise CheckpointError(f"{path}: a supernet of space {whole.get('space')!r}, not of {space.name!r}")
    classes = whole.get("classes")
    if classes is not None and (type(classes) is not int or classes < 1):
        raise CheckpointError(f"{path}: classes = {classes!r} is no number of classes")
    supernet = Supernet(space, classes)
    _fill(supernet, {name: (name, tensor) for name, tensor in whole["state"].items()}, str(path))
    return supernet


def read_tensors(path: Path) -> Mapping[str, Any]:
    """Return what a file that torch wrote holds by name; nothing but tensors and plain values is read.

    Raises
    ------
    CheckpointError
        If the file cannot be read, or holds something else.
    """
    try:
        whole = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        first = str(error).strip().split("\n")[0]
        raise CheckpointError(f"{path}: is no file of tensors that torch wrote ({first})") from None
    if not isinstance(whole, Mapping):
        raise CheckpointError(f"{path}: holds a {type(whole).__name__} where tensors by name are expected")
    return whole


def _places(space: ElasticSpace) -> dict[str, str]:
    """Return what the parts of a published supernet are called here; the longer name comes first where one begins another."""
    places, blocks = dict(_FIXED_PARTS), ["first"] if _BLOCKS[space.name] else []
    blocks += [f"stage{s + 1}.block{b + 1}" for s, b in zip(space.stage_of_block, space.rank_of_block, strict=True)]
    for number, block in enumerate(blocks):
        prefix = f"blocks.{number}.conv" if _BLOCKS[space.name] else f"blocks.{number}"
        places |= {f"{prefix}.{part}": f"{block}.{own}" for part, own in _PARTS.items()}
    return dict(sorted(places.items(), key=lambda item: -len(item[0])))


def _own_name(name: str, places: Mapping[str, str]) -> str | None:
    """Return what a published tensor is called here, None if it is none of this supernet."""
    name = name.removeprefix("module.").replace(".mobile_inverted_conv.", ".conv.")
    part = next((part for part in places if name.startswith(part + ".")), None)
    if part is None:
        return None
    rest, own = name[len(part) :], places[part]
    if match := _NORM.fullmatch(rest):
        return f"{own}.bn.{match[1]}"
    if match := _MATRIX.fullmatch(rest):
        return f"{own}.kernel_{match[1]}_to_{match[2]}"
    if match := _OWN.fullmatch(rest):
        return f"{own}.{match[1]}"
    return None


@torch.no_grad()
def _fill(supernet: Supernet, found: Mapping[str, tuple[str, Any]], where: str) -> None:
    """Copy tensors into a supernet, by its own names; each comes with the name that it has in the file."""
    wanted, space = supernet.state_dict(), supernet.space.name
    for own, (name, tensor) in found.items():
        if own not in wanted:
            raise CheckpointError(f"{where}: tensor {name!r} is none of a supernet of {space!r}")
        if not isinstance(tensor, Tensor):
            raise CheckpointError(f"{where}: {name!r} is a {type(tensor).__name__}, not a tensor")
        if tensor.shape != wanted[own].shape:
            raise CheckpointError(
                f"{where}: tensor {name!r} has shape {tuple(tensor.shape)}, a supernet of {space!r} wants "
                f"{tuple(wanted[own].shape)} ({own})"
            )
    missing = [own for own in wanted if own not in found]
    if missing:
        raise CheckpointError(
            f"{where}: {len(missing)} tensors of a supernet of {space!r} are missing; the first is {missing[0]!r} of "
            f"shape {tuple(wanted[missing[0]].shape)}"
        )
    for own, (_, tensor) in found.items():
        wanted[own].copy_(tensor)
