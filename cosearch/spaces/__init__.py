"""Spaces of networks by name, found through the entry-point group ``cosearch.spaces``.

A plug-in registers a callable without arguments that returns a :class:`cosearch.space.NetworkSpace`; in its
`pyproject.toml`::

    [project.entry-points."cosearch.spaces"]
    my-space = "my_package.my_module:my_space"
"""

from __future__ import annotations

from cosearch.errors import CosearchError
from cosearch.plugins import load_plugin, plugin_names
from cosearch.space import NetworkSpace

GROUP = "cosearch.spaces"


def space_names() -> list[str]:
    """Return the names of all registered spaces, sorted. Nothing is imported for it."""
    return plugin_names(GROUP)


def load_space(name: str) -> NetworkSpace:
    """Return the space registered under a name.

    Raises
    ------
    UnknownNameError
        If no space is called so.
    CosearchError
        If the plug-in that provides it cannot be imported, fails, or returns something else than a network space.
    """
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
