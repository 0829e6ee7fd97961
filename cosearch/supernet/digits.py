"""Scikit-learn's handwritten digits, disturbed so that networks have something to do: the data set that ships.

There are 1,797 grey images of 8 x 8 px (Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998; the
part that scikit-learn contains). The first 1,000 are for training, the other 797 to judge by. As they are, a few
hundred weights tell them apart. So each image gets noise, is turned, scaled and shifted, and a square of it is covered:
drawn anew for every training batch, and once and for all, four times per image, for the images to judge by.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from cosearch.supernet.data import DIGITS, WHOLE, Batch, Share, drawn_resolutions, shuffled

_TRAIN_IMAGES = 1000
_COPIES = 4
_NATIVE_PX = 8
_NOISE = 0.2
"""Standard deviation of what is added to every pixel; these are 0 to 1."""
_TURN = math.radians(25)
_SCALE = 0.2
_SHIFT = 0.15
"""Of the image's width."""
_COVER_PX = 3
_MEAN, _DEVIATION = 0.3, 0.35
_VALIDATION_SEED, _CALIBRATION_SEED = 1, 2
_BATCH = 500


class Digits:
    """The digits as images of `channels` equal channels (see `cosearch.supernet.data.ImageData`), at any resolution."""

    def __init__(self, channels: int = 1) -> None:
        self.name = DIGITS
        self.classes = 10
        self.channels = channels
        images, labels = _read()
        self._train = Batch(images[:_TRAIN_IMAGES], labels[:_TRAIN_IMAGES])
        self._validation = Batch(
            images[_TRAIN_IMAGES:].repeat(_COPIES, 1, 1, 1), labels[_TRAIN_IMAGES:].repeat(_COPIES)
        )
        self.train_images = len(self._train.labels)
        self.validation_images = len(self._validation.labels)
        self._disturbed: dict[int, Tensor] = {}

    def train_batches(
        self, batch_size: int, resolutions: Sequence[int], seed: int, share: Share = WHOLE
    ) -> Iterator[Batch]:
        """Yield one epoch."""
        batches = shuffled(self.train_images, batch_size, seed, share)
        generator = torch.Generator().manual_seed(seed + share.rank)
        for numbers, resolution in zip(batches, drawn_resolutions(resolutions, len(batches), seed), strict=True):
            chosen = torch.from_numpy(numbers)
            yield Batch(self._made(self._train.images[chosen], resolution, generator), self._train.labels[chosen])

    def validation_batches(self, resolution: int, share: Share = WHOLE) -> Iterator[Batch]:
        """Yield the images to judge by."""
        if resolution not in self._disturbed:
            generator = torch.Generator().manual_seed(_VALIDATION_SEED)
            self._disturbed[resolution] = self._made(self._validation.images, resolution, generator)
        images, labels = (
            self._disturbed[resolution][share.rank :: share.of],
            self._validation.labels[share.rank :: share.of],
        )
        yield from (Batch(*pair) for pair in zip(images.split(_BATCH), labels.split(_BATCH), strict=True))

    def calibration_batches(self, resolution: int, images: int) -> Iterator[Tensor]:
        """Yield training images; beyond the thousandth, disturbed in another way."""
        generator = torch.Generator().manual_seed(_CALIBRATION_SEED)
        chosen = torch.arange(images) % self.train_images
        for part in chosen.split(_BATCH):
            yield self._made(self._train.images[part], resolution, generator)

    def _made(self, images: Tensor, resolution: int, generator: torch.Generator) -> Tensor:
        made = (disturbed(images, resolution, generator) - _MEAN) / _DEVIATION
        return made.expand(-1, self.channels, -1, -1).contiguous(memory_format=torch.channels_last)


@cache
def _read() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.images / 16, dtype=torch.float32)[:, None], torch.tensor(found.target, dtype=torch.int64)


def disturbed(images: Tensor, resolution: int, generator: torch.Generator) -> Tensor:
    """Return images (n, 1, 8, 8) of 0 to 1 at another resolution (px), each with noise, moved, and partly covered by grey."""
    n = len(images)

    def around_zero(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * 2 - 1

    noisy = images + _NOISE * torch.randn(images.shape, generator=generator)
    angle, scale, shift = _TURN * around_zero(n), 1 + _SCALE * around_zero(n), 2 * _SHIFT * around_zero(n, 2)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    moves = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], dim=1).view(n, 2, 3)
    grid = functional.affine_grid(moves, [n, 1, resolution, resolution], align_corners=False)
    moved = functional.grid_sample(noisy, grid, align_corners=False)
    middle = (around_zero(n, 2, 1) + 1) / 2 * _NATIVE_PX
    pixel = (torch.arange(resolution) + 0.5) * (_NATIVE_PX / resolution)
    covered = (pixel - middle).abs() < _COVER_PX / 2
    return moved.masked_fill((covered[:, 0, :, None] & covered[:, 1, None, :])[:, None], 0.5)
