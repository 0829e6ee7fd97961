"""Who proposes the next candidates: one file per strategy, found through the entry points `cosearch.strategies`."""

from __future__ import annotations

from cosearch.errors import SearchError
from cosearch.plugins import load_plugin, plugin_names
from cosearch.strategies._base import Fronts, Problem, Question, Strategy, Trials

__all__ = ["Fronts", "Problem", "Question", "Strategy", "Trials", "make_strategy", "strategy_names"]

GROUP = "cosearch.strategies"


def strategy_names() -> list[str]:
    """Names of the strategies that are installed."""
    return plugin_names(GROUP)


def make_strategy(name: str, problem: Problem, seed: int) -> Strategy:
    """Return a fresh strategy.

    Raises
    ------
    UnknownNameError
        For an unknown name, with the nearest one.
    SearchError
        If the strategy cannot take the problem.
    """
    kind = load_plugin(GROUP, "strategy", name)
    try:
        strategy: Strategy = kind(problem, seed)
    except SearchError as error:
        raise SearchError(f"strategy {name!r}: {error}") from None
    return strategy
