"""Who says how accurate a network is: one estimator per file, found through the entry points `cosearch.accuracy`.

A plug-in registers a callable ``make(space, argument)`` that returns an :class:`AccuracyEstimator` of the space's networks;
the argument is what a user writes behind the colon of ``--estimator NAME:ARGUMENT``, empty without. It raises
:class:`cosearch.errors.CosearchError` where it does not know the space or needs another argument, and its module imports
nothing heavy. An entry point of the group ``cosearch.default_accuracy``, named as a space, names who judges its networks where
the user names nobody.
"""

from __future__ import annotations

from cosearch.accuracy._base import AccuracyEstimator
from cosearch.errors import CosearchError
from cosearch.plugins import load_plugin, plugin_names
from cosearch.space import NetworkSpace

GROUP = "cosearch.accuracy"
DEFAULTS = "cosearch.default_accuracy"


def estimator_names() -> list[str]:
    """Names of the estimators that are installed."""
    return plugin_names(GROUP)


def estimator_for(space: NetworkSpace) -> AccuracyEstimator | None:
    """Return the estimator that judges a space's networks where none is named, if there is one."""
    if space.name not in plugin_names(DEFAULTS):
        return None
    estimator: AccuracyEstimator = load_plugin(DEFAULTS, "estimator", space.name)(space, "")
    return estimator


def make_estimator(wanted: str, space: NetworkSpace) -> AccuracyEstimator:
    """Return an estimator of a space's networks.

    Parameters
    ----------
    wanted
        ``NAME`` or ``NAME:ARGUMENT``, such as ``"predictor"`` or ``"tabular:nasbench201.csv"``.
    space
        The space whose networks are to be judged.

    Raises
    ------
    UnknownNameError
        If no estimator is called so.
    CosearchError
        If the estimator does not know the space, needs another argument, or cannot read what the argument names.
    """
    name, _, argument = wanted.partition(":")
    estimator: AccuracyEstimator = load_plugin(GROUP, "estimator", name)(space, argument)
    if estimator.space_name != space.name:
        raise CosearchError(f"estimator {wanted!r} knows networks of {estimator.space_name!r}, not of {space.name!r}")
    return estimator
