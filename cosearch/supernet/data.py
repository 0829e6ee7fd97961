"""Images to train and judge networks with: what a source of images promises, and the two that there are.

Batches are drawn from a seed and nothing else, so that they are the same for any number of loading processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from torch import Tensor

from accel_models.workload import Network
from cosearch.errors import TrainingError

DIGITS = "digits"


class Batch(NamedTuple):
    """Images float32 (n, channels, height, width), and their classes int64 (n,)."""

    images: Tensor
    labels: Tensor


class Share(NamedTuple):
    """Which part of all images a process takes: every `of`-th one, from number `rank` on."""

    rank: int = 0
    of: int = 1


WHOLE = Share()


class ImageData(Protocol):
    """A source of square images in two parts, one to train on and one to judge by.

    Attributes
    ----------
    name
        What was asked for: ``"digits"``, or the folder.
    classes, channels
        How many classes there are, and channels of an image.
    train_images, validation_images
        How many there are of each part.
    """

    name: str
    classes: int
    channels: int
    train_images: int
    validation_images: int

    def train_batches(
        self, batch_size: int, resolutions: Sequence[int], seed: int, share: Share = WHOLE
    ) -> Iterator[Batch]:
        """Yield one epoch in random order, altered at random, each batch at one of the `resolutions` (px) at random.

        `batch_size` is that of one share. Images that do not fill a last batch are left out.
        """
        ...

    def validation_batches(self, resolution: int, share: Share = WHOLE) -> Iterator[Batch]:
        """Yield the images to judge by; always the same."""
        ...

    def calibration_batches(self, resolution: int, images: int) -> Iterator[Tensor]:
        """Yield so many training images, altered as in training; always the same."""
        ...


def load_data(source: str | Path, channels: int = 3, workers: int = 0) -> ImageData:
    """Return the images of a name or of a folder.

    Parameters
    ----------
    source
        ``"digits"``: scikit-learn's handwritten digits, disturbed. Else a folder with the folders ``train`` and ``val``,
        and in each of these one folder of images per class, as ImageNet is kept.
    channels
        Of the images that are handed out: 3 (RGB) or 1 (grey).
    workers
        Processes that read and alter images; 0 does it in this one. Digits need none.

    Raises
    ------
    TrainingError
        If a folder or its images are missing, or the classes of its two parts differ.
    """
    if channels not in (1, 3):
        raise TrainingError(
            f"images have 3 channels (RGB) or 1 (grey), a network that reads {channels} has no data here"
        )
    if str(source) == DIGITS:
        from cosearch.supernet.digits import Digits

        return Digits(channels)
    from cosearch.supernet.image_folder import ImageFolder

    return ImageFolder(Path(source), channels, workers)


def steps_per_epoch(data: ImageData, batch_size: int, share: Share = WHOLE) -> int:
    """Return how many batches an epoch has.

    Raises
    ------
    TrainingError
        If there are too few images for one.
    """
    steps = data.train_images // (batch_size * share.of)
    if steps == 0:
        raise TrainingError(
            f"{data.name}: {data.train_images} training images do not fill one batch of {batch_size * share.of}"
        )
    return steps


def check_fits(network: Network, data: ImageData) -> None:
    """Refuse data that a network cannot read.

    Raises
    ------
    TrainingError
        If the images' channels differ.
    """
    if network.input.channels != data.channels:
        raise TrainingError(
            f"network {network.name!r} reads images of {network.input.channels} channels, those of {data.name} have "
            f"{data.channels}"
        )


def shuffled(count: int, batch_size: int, seed: int, share: Share) -> list[np.ndarray]:
    """Return one share's batches of an epoch: numbers below `count` in random order, int64 (batch_size,) each."""
    order = np.random.default_rng(seed).permutation(count)
    whole = batch_size * share.of
    return [
        order[begin + share.rank : begin + whole : share.of] for begin in range(0, count - whole + 1, whole)
    ]  # fmt: skip


def drawn_resolutions(resolutions: Sequence[int], batches: int, seed: int) -> list[int]:
    """Return one of the resolutions for each batch, the same for all shares."""
    drawn: list[int] = np.random.default_rng([seed, 1]).choice(np.array(resolutions), batches).tolist()
    return drawn
