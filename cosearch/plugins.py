"""Built-in and foreign rooms of one kind alike are found through entry points."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from accel_models.errors import unknown_name
from cosearch.errors import CosearchError, UnknownNameError


def plugin_names(group: str) -> list[str]:
    """Return the names registered under an entry-point group."""
    return sorted(entry_points(group=group).names)


def load_plugin(group: str, kind: str, name: str) -> Any:
    """Return what an entry point names.

    Raises
    ------
    UnknownNameError
        If no entry point has the name; the message has the nearest one.
    CosearchError
        If a plug-in cannot be imported.
    """
    found = entry_points(group=group)
    if name not in found.names:
        raise UnknownNameError(unknown_name(kind, name, found.names))
    entry = found[name]
    try:
        return entry.load()
    except Exception as error:  # a plug-in may fail in any way; the user must learn which one
        raise CosearchError(f"{kind} {name!r}: entry point {entry.value!r} cannot be loaded: {error}") from error
