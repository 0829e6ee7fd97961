"""Spaces of networks by name, found through the entry-point group ``cosearch.spaces``.

A plug-in registers a callable without arguments that returns a :class:`cosearch.space.NetworkSpace`; in its
`pyproject.toml`::

    [project.entry-points."cosearch.spaces"]
    my-space = "my_package.my_module:my_space"

A space of stages of blocks needs no code: a YAML file describes it (:mod:`cosearch.spaces.space_file`). Some spaces have
sub-spaces with names of their own, such as ``mcunet@w50-r144``: those with a method ``variant``, which takes what stands
behind the @ and returns the sub-space.
"""

from __future__ import annotations

from pathlib import Path

from cosearch.errors import CosearchError, SpaceError
from cosearch.plugins import load_plugin, plugin_names
from cosearch.space import NetworkSpace

GROUP = "cosearch.spaces"


def space_names() -> list[str]:
    """Return the names of all registered spaces, sorted. Nothing is imported for it."""
    return plugin_names(GROUP)


def load_space(name: str | Path) -> NetworkSpace:
    """Return the space registered under a name, one of its sub-spaces (``mcunet@w50-r144``), or that of a YAML file.

    Raises
    ------
    UnknownNameError
        If no space is called so.
    SpaceError
        If it has no such sub-space, or there is no such file.
    DescriptionError
        If the file is malformed: one line per mistake.
    CosearchError
        If the plug-in that provides it cannot be imported, fails, or returns something else than a network space.
    """
    text, _, part = str(name).rpartition("@") if "@" in Path(name).name else (str(name), "", None)
    space = _of_file(text) if Path(text).suffix in (".yaml", ".yml") else _registered(text)
    if part is None:
        return space
    variant = getattr(space, "variant", None)
    if variant is None:
        raise SpaceError(f"space {text!r} has no sub-spaces, so there is no {str(name)!r}")
    found: NetworkSpace = variant(part)
    return found


def _of_file(path: str) -> NetworkSpace:
    from cosearch.spaces.space_file import read_space

    return read_space(path)


def _registered(name: str) -> NetworkSpace:
    if not space_names():
        raise CosearchError("no search space is registered: cosearch itself is not installed (pip install -e .)")
    make = load_plugin(GROUP, "space", name)
    try:
        space = make()
    except Exception as error:  # whatever a plug-in raises is the plug-in's mistake, and must not look like ours
        raise CosearchError(f"space {name!r}: its entry point fails: {type(error).__name__}: {error}") from error
    if not isinstance(space, NetworkSpace):
        raise CosearchError(f"space {name!r}: its entry point returns a {type(space).__name__}, not a NetworkSpace")
    return space
