"""Who says how accurate a network is: one estimator per file, found through the entry points `cosearch.accuracy`."""

from __future__ import annotations

from functools import cache

from cosearch.accuracy._base import AccuracyEstimator
from cosearch.plugins import load_plugin, plugin_names

GROUP = "cosearch.accuracy"


def estimator_names() -> list[str]:
    """Names of the estimators that are installed."""
    return plugin_names(GROUP)


@cache
def estimator_for(space_name: str) -> AccuracyEstimator | None:
    """Return the estimator that knows a space's networks, or None."""
    for name in estimator_names():
        estimator: AccuracyEstimator = load_plugin(GROUP, "estimator", name)()
        if estimator.space_name == space_name:
            return estimator
    return None
