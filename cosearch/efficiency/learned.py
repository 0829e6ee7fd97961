"""Latency by a model that was fitted to measured networks; `cosearch.efficiency.fit` writes its file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosearch.efficiency._base import EfficiencyEstimate
from cosearch.efficiency.features import SpaceFeatures
from cosearch.efficiency.regression import Errors, Regression
from cosearch.errors import CosearchError
from cosearch.space import NetworkSpace
from cosearch.values import genomes_of

FORMAT = 1


@dataclass(frozen=True)
class LearnedModel:
    """What a file holds.

    Attributes
    ----------
    space_name
        Space whose networks were measured.
    device
        One line: what was measured.
    rows
        Measured networks behind it.
    counts
        Whether MACs and parameters are among the features.
    regression
        From features to latency.
    errors
        How far off it is on rows that were held back.
    seen
        Per knob, the indices of the choices that any measured network has where the knob counts.
    """

    space_name: str
    device: str
    rows: int
    counts: bool
    regression: Regression
    errors: Errors
    seen: tuple[tuple[int, ...], ...]

    def write(self, path: str | Path) -> None:
        """Write the file; the same model gives the same bytes."""
        contents = {
            "format": FORMAT, "space": self.space_name, "device": self.device, "rows": self.rows, "counts": self.counts,
            "errors": asdict(self.errors), "seen": self.seen, "regression": self.regression.to_json(),
        }  # fmt: skip
        Path(path).write_text(json.dumps(contents) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> LearnedModel:
        """Return the model in a file.

        Raises
        ------
        CosearchError
            If it cannot be read, or is no file of this kind.
        """
        try:
            contents: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise CosearchError(f"{path}: cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise CosearchError(f"{path}: is not JSON: {error}") from None
        try:
            if contents["format"] != FORMAT:
                raise CosearchError(f"{path}: has format {contents['format']!r}; this version reads {FORMAT}")
            return cls(
                str(contents["space"]), str(contents["device"]), int(contents["rows"]), bool(contents["counts"]),
                Regression.from_json(contents["regression"]), Errors(**contents["errors"]),
                tuple(tuple(map(int, choices)) for choices in contents["seen"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, CosearchError):
                raise
            wanted = "`cosearch device-latency fit` writes such files"
            raise CosearchError(f"{path}: is no fitted model of a device's latency ({error!r}); {wanted}") from None


class LearnedEstimator:
    """Latency by a fitted model.

    An estimate's error is the mean error on held-back networks. One outside the range of the measured latencies, or of a
    network with a choice that no measured network has, is flagged as extrapolated, and its error is that which was found
    when the fastest or slowest fifth of the measured networks was held back.

    Parameters
    ----------
    space
        Whose networks are estimated.
    model
        What was fitted.
    name
        What the estimator was called by.

    Raises
    ------
    CosearchError
        If the model is one of another space.
    """

    def __init__(self, space: NetworkSpace, model: LearnedModel, name: str) -> None:
        if model.space_name != space.name:
            raise CosearchError(f"{name}: was fitted to networks of {model.space_name!r}, not of {space.name!r}")
        self.name, self.space_name, self.device = name, space.name, model.device
        self.space, self.model = space, model
        self._features = SpaceFeatures(space, counts=model.counts)
        self._seen = np.zeros((len(space.knobs), int(space.choices_per_knob.max())), dtype=np.bool_)
        width = self._features.matrix(np.zeros((1, len(space.knobs)), dtype=np.int64)).shape[1]
        known = zip(space.choices_per_knob, model.seen, strict=False)
        if (
            width != len(model.regression.centre)
            or len(model.seen) != len(space.knobs)
            or any(not 0 <= choice < count for count, choices in known for choice in choices)
        ):
            raise CosearchError(f"{name}: was fitted to another version of the space {space.name!r}; fit it again")
        for row, choices in zip(self._seen, model.seen, strict=True):
            row[list(choices)] = True

    @classmethod
    def read(cls, space: NetworkSpace, path: str) -> LearnedEstimator:
        """Return the estimator in a file.

        Raises
        ------
        CosearchError
            If the file cannot be read, or is one of another space.
        """
        return cls(space, LearnedModel.read(path), f"learned:{path}")

    def estimate(self, values: NDArray[np.integer]) -> EfficiencyEstimate:
        """Estimate the latency of n networks by the values (n, knobs) of their knobs.

        Raises
        ------
        CosearchError
            If values name no network of the space.
        """
        genomes = self.space.canonical(genomes_of(self.space, values))
        if not len(genomes):
            return EfficiencyEstimate(np.empty(0), np.empty(0), np.empty(0, dtype=np.bool_))
        regression, errors = self.model.regression, self.model.errors
        latency = regression.latency_s(self._features.matrix(genomes))
        known = self._seen[np.arange(genomes.shape[1]), genomes] | ~self.space.active(genomes)
        extrapolated = regression.outside(latency) | ~known.all(axis=1)
        error = latency * np.where(extrapolated, max(errors.beyond, errors.held_back), errors.held_back)
        return EfficiencyEstimate(latency, error, extrapolated)
