"""Top-1 of sub-networks with the weights of a trained supernet.

``supernet:PATH`` reads what `cosearch train` wrote, a folder or its ``supernet.pt``, or a supernet that Once-for-All
published; ``supernet:PATH#DATA`` says which images (``digits`` or a folder) judge it. A training's folder knows that itself.

Every network is cut out, gets batch-norm statistics of its own from training images, and is judged on the validation images
at its own resolution. What is said is measured, of shared weights: a network that is trained further, or alone, has another
accuracy. The error is that of judging by a finite number of images, each taken as independent of the others: sqrt(2 p (1 - p) /
(pi n)) (`cosearch.accuracy.one_by_one.sampling_error_points`). The digits show each of 797 images four times, disturbed in
four ways; there it is a lower bound, at most by a factor of two.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosearch.accuracy.one_by_one import OneByOneEstimator, sampling_error_points
from cosearch.errors import CosearchError
from cosearch.space import Genomes, NetworkSpace

if TYPE_CHECKING:
    from cosearch.supernet.data import ImageData
    from cosearch.supernet.supernet import Supernet

_CALIBRATION_IMAGES = 2000


def make(space: NetworkSpace, argument: str) -> OneByOneEstimator:
    """Measures sub-networks with a trained supernet's weights: supernet:FOLDER.

    Parameters
    ----------
    space
        Its space.
    argument
        ``PATH`` or ``PATH#DATA``.

    Raises
    ------
    CosearchError
        If torch is not installed, the supernet cannot be read or is of another space, or the images are not known, cannot be
        read, or do not fit.
    """
    path, _, source = argument.partition("#")
    if not path:
        raise CosearchError(
            "estimator 'supernet' needs what `cosearch train` wrote: supernet:PATH or supernet:PATH#DATA"
        )
    from cosearch.supernet.sources import calibration_data, open_supernet

    supernet = open_supernet(path, space)
    training = _training_of(Path(path))
    source = source or training.get("data", "")
    if not source:
        raise CosearchError(
            f"estimator 'supernet': {path} does not say which images judge it; name them, as in supernet:{path}#FOLDER"
        )
    data = calibration_data(supernet, source)
    images = training.get("schedule", {}).get("calibration_images", _CALIBRATION_IMAGES)

    def judge(genome: Genomes) -> tuple[float, float]:
        return _judged(supernet, genome, data, images)

    return OneByOneEstimator(
        f"supernet:{argument}", space, f"{Path(data.name).name} validation top-1, shared weights",
        f"{data.validation_images:,} validation images, batch norms recalibrated, no fine-tuning", "top1_percent", judge,
        (make, (space, argument)),
    )  # fmt: skip


def _judged(supernet: Supernet, genome: Genomes, data: ImageData, images: int) -> tuple[float, float]:
    from cosearch.supernet.device import threads
    from cosearch.supernet.judge import judge, subnetwork

    with threads(1):
        top1 = judge(subnetwork(supernet, genome, data, images), data).top1_percent
    return top1, sampling_error_points(top1, data.validation_images)


def _training_of(path: Path) -> dict[str, Any]:
    """Return what a folder's training was asked for; nothing of a file."""
    from cosearch.supernet.training_files import TrainingFolder

    folder = TrainingFolder(path)
    return dict(folder.read()["training"]) if path.is_dir() and folder.started else {}
