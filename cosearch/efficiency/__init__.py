"""Latency on a device that was measured: look-up tables and fitted models, beside the analytical model of machines.

lookup:PATH            a table of measured times of parts (or of choices): a file or a folder
lookup-nearest:PATH    the same; what was not measured is scaled from the nearest entry, and flagged as extrapolated
learned:FILE.json      a model fitted to measured networks by `cosearch device-latency fit`
"""

from __future__ import annotations

from accel_models.errors import unknown_name
from cosearch.efficiency._base import EfficiencyEstimate, EfficiencyEstimator
from cosearch.errors import CosearchError, UnknownNameError
from cosearch.space import NetworkSpace

__all__ = ["KINDS", "EfficiencyEstimate", "EfficiencyEstimator", "make_efficiency"]

KINDS = ("lookup", "lookup-nearest", "learned")


def make_efficiency(spec: str, space: NetworkSpace) -> EfficiencyEstimator:
    """Return the estimator that a user names.

    Parameters
    ----------
    spec
        ``KIND:PATH``, such as ``"lookup:note10/"`` or ``"learned:pixel3.json"``.
    space
        The space whose networks are to be estimated.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    CosearchError
        If there is no path, what it names cannot be read, or knows another space.
    """
    kind, colon, path = spec.partition(":")
    if kind not in KINDS:
        raise UnknownNameError(unknown_name("way to estimate a device's latency", kind, KINDS))
    if not colon or not path:
        raise CosearchError(f"device {spec!r}: name what was measured, such as {kind}:PATH")
    if kind == "learned":
        from cosearch.efficiency.learned import LearnedEstimator

        return LearnedEstimator.read(space, path)
    from cosearch.efficiency.lookup import LookupEstimator

    return LookupEstimator.read(space, path, nearest=kind == "lookup-nearest")
