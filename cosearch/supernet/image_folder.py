"""Images in folders, one per class, as ImageNet is kept: read with Pillow, altered as is usual there.

To train: a random part of the image (8 to 100 % of its area, 3:4 to 4:3) is scaled to the resolution and mirrored half
of the time (Szegedy et al., Going Deeper with Convolutions, CVPR 2015). To judge: the shorter side is scaled to 8/7 of
the resolution and the centre is cut out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cosearch.errors import TrainingError
from cosearch.supernet.data import WHOLE, Batch, Share, drawn_resolutions, shuffled

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Of the files that are read, in small or capital letters."""

MEAN = {1: (0.449,), 3: (0.485, 0.456, 0.406)}
DEVIATION = {1: (0.226,), 3: (0.229, 0.224, 0.225)}
"""Per channel, of pixels 0 to 1, over ImageNet's training images; the grey ones are the averages of the others."""

_SMALLEST_AREA = 0.08
_LONGEST_SIDE = 4 / 3
_TRIES = 10
_MARGIN = 8 / 7
_JUDGED_AT_ONCE = 100
_CALIBRATION_SEED = 2


class _Wanted(NamedTuple):
    """One image to be read: its number, its side in px, and the seed of its alteration, None for the centre."""

    number: int
    resolution: int
    seed: int | None


class ImageFolder:
    """The images below ``train`` and ``val`` of a folder (see `cosearch.supernet.data.ImageData`).

    Raises
    ------
    TrainingError
        If a folder or its images are missing, or the classes of its two parts differ.
    """

    def __init__(self, folder: Path, channels: int = 3, workers: int = 0) -> None:
        if not folder.is_dir():
            raise TrainingError(
                f"no data {str(folder)!r}: neither 'digits' nor a folder with the folders train and val"
            )
        self.name = str(folder)
        self.channels = channels
        self._workers = workers
        train, names = _listed(folder / "train")
        validation, others = _listed(folder / "val")
        if names != others:
            odd = sorted(set(names) ^ set(others))
            place = "train" if odd[0] in names else "val"
            raise TrainingError(
                f"{folder}: train has {len(names)} classes, val {len(others)}; {odd[0]!r} is in {place} alone"
            )
        self.class_names = tuple(names)
        self.classes = len(names)
        self.train_images, self.validation_images = len(train), len(validation)
        self._train, self._validation = _Images(train, channels), _Images(validation, channels)

    def train_batches(
        self, batch_size: int, resolutions: Sequence[int], seed: int, share: Share = WHOLE
    ) -> Iterator[Batch]:
        """Yield one epoch."""
        batches = shuffled(self.train_images, batch_size, seed, share)
        sizes = drawn_resolutions(resolutions, len(batches), seed)
        wanted = (
            [_Wanted(number, size, seed) for number in numbers.tolist()]
            for numbers, size in zip(batches, sizes, strict=True)
        )
        yield from self._read(self._train, wanted)

    def validation_batches(self, resolution: int, share: Share = WHOLE) -> Iterator[Batch]:
        """Yield the images to judge by."""
        numbers = range(share.rank, self.validation_images, share.of)
        yield from self._read(self._validation, _groups(_Wanted(number, resolution, None) for number in numbers))

    def calibration_batches(self, resolution: int, images: int) -> Iterator[Tensor]:
        """Yield training images, drawn once and for all."""
        rng = np.random.default_rng(_CALIBRATION_SEED)
        numbers = rng.permutation(self.train_images)[:images].tolist()
        wanted = _groups(_Wanted(number, resolution, _CALIBRATION_SEED) for number in numbers)
        yield from (batch.images for batch in self._read(self._train, wanted))

    def _read(self, images: _Images, wanted: Iterable[list[_Wanted]]) -> Iterator[Batch]:
        loader = DataLoader(
            images,
            batch_sampler=wanted,
            num_workers=self._workers,
            collate_fn=_joined,
            pin_memory=torch.cuda.is_available(),
        )
        yield from (Batch(*pair) for pair in loader)


class _Images(Dataset[tuple[Tensor, int]]):
    """Files with their classes, read one by one as asked for."""

    def __init__(self, files: list[tuple[Path, int]], channels: int) -> None:
        self._files = files
        self._mode = "L" if channels == 1 else "RGB"
        self._mean = torch.tensor(MEAN[channels]).view(-1, 1, 1)
        self._deviation = torch.tensor(DEVIATION[channels]).view(-1, 1, 1)

    def __getitem__(self, wanted: _Wanted) -> tuple[Tensor, int]:
        from PIL import Image, UnidentifiedImageError

        path, label = self._files[wanted.number]
        try:
            with Image.open(path) as file:
                image = file.convert(self._mode)
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
            raise TrainingError(f"{path}: cannot be read as an image ({error})") from None
        if wanted.seed is None:
            made = _centre(image, wanted.resolution)
        else:
            made = _random_part(image, wanted.resolution, np.random.default_rng([wanted.seed, wanted.number]))
        pixels = torch.from_numpy(made.reshape(wanted.resolution, wanted.resolution, -1)).permute(2, 0, 1).float() / 255
        return (pixels - self._mean) / self._deviation, label


def _random_part(image: Image, resolution: int, rng: np.random.Generator) -> np.ndarray:
    from PIL.Image import Resampling

    box = _random_box(image.width, image.height, rng)
    pixels = np.array(image.resize((resolution, resolution), Resampling.BILINEAR, box))
    return np.ascontiguousarray(pixels[:, ::-1]) if rng.random() < 0.5 else pixels


def _random_box(width: int, height: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a random part; of the largest square in the middle if none fits."""
    for _ in range(_TRIES):
        area = width * height * rng.uniform(_SMALLEST_AREA, 1)
        ratio = _LONGEST_SIDE ** rng.uniform(-1, 1)
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
            return left, top, left + wide, top + high
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _centre(image: Image, resolution: int) -> np.ndarray:
    from PIL.Image import Resampling

    side = min(image.size) / _MARGIN
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.array(image.resize((resolution, resolution), Resampling.BILINEAR, box))


def _groups(wanted: Iterable[_Wanted]) -> Iterator[list[_Wanted]]:
    rest = iter(wanted)
    while part := list(itertools.islice(rest, _JUDGED_AT_ONCE)):
        yield part


def _joined(items: Sequence[tuple[Tensor, int]]) -> Batch:
    images, labels = zip(*items, strict=True)
    return Batch(torch.stack(images).contiguous(memory_format=torch.channels_last), torch.tensor(labels))


def _listed(folder: Path) -> tuple[list[tuple[Path, int]], list[str]]:
    """Return the images below a folder with the numbers of their classes, and the classes' names, sorted."""
    if not folder.is_dir():
        raise TrainingError(f"{folder} is no folder; images are kept as {folder}/CLASS/IMAGE")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in ENDINGS and path.is_file()
    ]
    filled = {label for _, label in files}
    empty = [name for label, name in enumerate(names) if label not in filled]
    if not files or empty:
        where = folder / empty[0] if empty and files else folder
        raise TrainingError(f"{where}: no images; what ends in {', '.join(ENDINGS)} is read, as {folder}/CLASS/IMAGE")
    return files, names
