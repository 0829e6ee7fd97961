"""The errors a user of `accel_models` can cause, under one base class."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AccelModelsError(Exception):
    """Base of every error that a user's input can cause in this package."""


class WorkloadError(AccelModelsError, ValueError):
    """A layer or network whose shape is impossible."""


class DescriptionError(AccelModelsError, ValueError):
    """A target description that is malformed or contradicts itself."""


class MappingError(AccelModelsError, ValueError):
    """A mapping that the hardware cannot hold, or a layer that cannot be mapped at all."""


class UnknownNameError(AccelModelsError, LookupError):
    """A name that is not in a catalogue."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for a name that is not known, with the nearest one that is.

    Parameters
    ----------
    kind
        What was looked for, in the user's words ("target", "space", ...).
    name
        What was typed.
    known
        The valid names.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)
    return f"unknown {kind} {name!r}: {hint}"
