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


class CheckpointError(CosearchError, ValueError):
    """Weights that do not belong to the network they are meant for, or a file that holds none."""


class TrainingError(CosearchError, ValueError):
    """A training that cannot be run as asked: its images, schedule, device or folder."""


class UnknownNameError(CosearchError, LookupError):
    """A name that is not in a catalogue."""
