"""A search's record as a value to look at: its front, its settings, what its pairs are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel_models.network_file import network_from_json
from cosearch.archive import FILE_NAME, Archive, Pair
from cosearch.errors import RunError
from cosearch.evaluate import MappingOptions, Specification
from cosearch.objective import Objective, parse_objectives, to_minimise
from cosearch.space import NetworkSpace
from cosearch.spaces.joint import FixedNetwork

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SearchConfig:
    """What was asked of a search. It is stored in the archive, the number of workers is not.

    `fixed` is ``"network"`` where a single network was given; `hardware` is one of `HARDWARE_KINDS`. `estimator` and
    `device` are as they were written, empty where there is none.
    """

    space: str
    target: str
    fixed: str
    hardware: str
    objectives: tuple[str, ...]
    limits: tuple[str, ...]
    strategy: str
    population: int
    seed: int
    mapping: MappingOptions
    estimator: str
    device: str


class Study:
    """A finished, stopped or running search and its record."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.config: dict[str, Any] = archive.get("config", {})
        try:
            self.objectives = parse_objectives(self.config["objectives"], archive.get("titles"))
        except (KeyError, TypeError) as error:
            raise RunError(f"{archive.path}: what was asked of the search cannot be read ({error!r})") from None

    @classmethod
    def open(cls, folder: str | Path) -> Study:
        """Open the run in a folder.

        Raises
        ------
        RunError
            If there is none.
        """
        archive = Archive(Path(folder) / FILE_NAME)
        if archive.get("config") is None:
            raise RunError(f"{folder}: the run was stopped before anything was recorded; remove it and start anew")
        return cls(archive)

    def front_pairs(self) -> list[Pair]:
        """Return the non-dominated pairs that keep every limit, best first objective first."""
        pairs = self.archive.pairs("feasible = 1")
        if not pairs:
            return []
        values = to_minimise(self.objectives, [pair.metrics for pair in pairs])
        kept = nondominated(values)
        order = np.lexsort((np.arange(len(kept)), values[kept, 0]))
        return [pairs[place] for place in kept[order]]

    def front(self) -> pd.DataFrame:
        """Return the front as a table: id, the objectives in display units, the error of top-1, the choices."""
        import pandas as pd

        knobs = self.archive.knobs()
        rows = [front_row(pair, self.objectives, knobs) for pair in self.front_pairs()]
        return pd.DataFrame(rows, columns=front_columns(self.objectives, knobs))

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw the front (see :func:`cosearch.report.front.plot_front`); write it to `path` where given."""
        from cosearch.report.front import plot_front

        return plot_front([self], path)


def front_columns(objectives: Sequence[Objective], knobs: Sequence[Any]) -> list[str]:
    """Return the columns of a front's table, in order."""
    columns = ["id"]
    for objective in objectives:
        columns.append(column_name(objective))
        if objective.name == "top1":
            columns += ["top1_error_points", "extrapolated"]
    return [*columns, *(knob.name for knob in knobs)]


def front_row(pair: Pair, objectives: Sequence[Objective], knobs: Sequence[Any]) -> dict[str, Any]:
    """Return one pair as a flat table row with units in the column names."""
    row: dict[str, Any] = {"id": pair.id}
    for objective in objectives:
        row[column_name(objective)] = pair.metrics[objective.metric] * objective.scale
        if objective.name == "top1":
            row["top1_error_points"] = pair.metrics["top1_error_points"]
            row["extrapolated"] = pair.extrapolated
    for knob, gene in zip(knobs, pair.genome, strict=True):
        row[knob.name] = knob.choices[gene]
    return row


def column_name(objective: Objective) -> str:
    """Return the column of an objective in tables, with its unit."""
    unit = {"%": "percent", "mm²": "mm2", "mJ ms": "mj_ms", "M": "millions"}.get(objective.unit, objective.unit)
    return f"{objective.name}_{unit}".rstrip("_").replace("-", "_").lower()


def nondominated(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows of `values` (n, objectives; to be minimised) that no other row dominates; one of equal rows."""
    import moocore

    return np.flatnonzero(moocore.is_nondominated(values, keep_weakly=False))


def config_of(study: Study) -> SearchConfig:
    """Return what was asked of a recorded search.

    Raises
    ------
    RunError
        If another program recorded it.
    """
    stored: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in study.config.items()
    }
    try:
        return SearchConfig(**{**stored, "mapping": MappingOptions(**study.config["mapping"])})
    except (KeyError, TypeError) as error:
        raise RunError(f"{study.archive.path}: recorded by another version of this program ({error})") from None


def specification_of(study: Study, space: NetworkSpace | None = None) -> Specification:
    """Return what the evaluations of a recorded search depend on.

    Parameters
    ----------
    space
        The network space that was searched, where it is not installed by name.

    Raises
    ------
    UnknownNameError
        If the search's space is not installed here, nor given.
    RunError
        If another program recorded it, or another space was searched.
    """
    from accel_models.accelerator import Accelerator
    from cosearch.spaces import load_space
    from cosearch.spaces.space_file import SpaceOfFile

    config = config_of(study)
    stored = study.archive.get("network")
    if stored is not None:
        space = FixedNetwork(network_from_json(stored))
    if space is None:
        described = study.archive.get("space")
        space = SpaceOfFile(*described) if described else load_space(config.space)
    if space.name != config.space:
        raise RunError(f"{study.archive.path}: space {config.space!r} was searched, not {space.name!r}")
    try:
        target = Accelerator.model_validate_json(config.target)
    except ValueError as error:
        told = str(error).splitlines()[0]
        raise RunError(f"{study.archive.path}: recorded by another version of this program ({told})") from None
    return Specification(space, target, config.hardware, config.mapping)
