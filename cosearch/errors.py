"""The errors a user of `cosearch` can cause, under one base class."""

from __future__ import annotations


class CosearchError(Exception):
    """Base of every error that a user's input can cause in this package."""


class SpaceError(CosearchError, ValueError):
    """A value outside a search space, or a malformed space."""


class SearchError(CosearchError, ValueError):
    """A search that cannot be set up as asked: objective, limit, strategy, budget."""


class RunError(CosearchError):
    """A run folder or archive that cannot be used as asked."""


class UnknownNameError(CosearchError, LookupError):
    """A name that is not in a catalogue."""
