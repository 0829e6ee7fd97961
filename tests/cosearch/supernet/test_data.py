"""Images: the digits, and folders of images; what is drawn from a seed, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from accel_models.network_builder import NetworkBuilder
from cosearch.errors import TrainingError
from cosearch.supernet.data import Share, check_fits, load_data, steps_per_epoch
from cosearch.supernet.digits import disturbed
from cosearch.supernet.image_folder import MEAN, ImageFolder, _random_box


@pytest.fixture(scope="module")
def digits():
    return load_data("digits", 1)


def same(left, right) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a, b) for one, other in zip(left, right, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_digits_are_scikit_learns_split_in_two(digits) -> None:
    """Alpaydin and Kaynak's 1,797 images; the first 1,000 are for training."""
    assert (digits.train_images, digits.validation_images, digits.classes) == (1000, 4 * 797, 10)
    labels = torch.cat([batch.labels for batch in digits.validation_batches(8)])
    from sklearn.datasets import load_digits

    assert labels.tolist() == load_digits().target[1000:].tolist() * 4


def test_an_epoch_is_its_seeds_and_sees_every_image_once(digits) -> None:
    first = list(digits.train_batches(100, (6, 10), 5))
    assert same(first, list(digits.train_batches(100, (6, 10), 5)))
    assert not same(first, list(digits.train_batches(100, (6, 10), 6)))
    assert {batch.images.shape for batch in first} == {(100, 1, 6, 6), (100, 1, 10, 10)}
    counts = torch.bincount(torch.cat([batch.labels for batch in first]))
    assert torch.equal(counts, torch.bincount(digits._train.labels))
    assert len(list(digits.train_batches(300, (6,), 5))) == steps_per_epoch(digits, 300) == 3


def test_shares_take_the_batches_apart(digits) -> None:
    whole = list(digits.train_batches(100, (6, 10), 5))
    shares = [list(digits.train_batches(50, (6, 10), 5, Share(rank, 2))) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert {part.images.shape[2] for part in parts} == {batch.images.shape[2]}
        assert torch.equal(torch.stack([part.labels for part in parts], dim=1).flatten(), batch.labels)
    judged = [torch.cat([b.labels for b in digits.validation_batches(6, Share(rank, 2))]) for rank in (0, 1)]
    assert sum(map(len, judged)) == digits.validation_images


def test_what_is_judged_by_and_calibrated_with_never_changes(digits) -> None:
    again = load_data("digits", 1)
    assert same(list(digits.validation_batches(10)), list(again.validation_batches(10)))
    calibration = list(digits.calibration_batches(10, 1200))
    assert sum(map(len, calibration)) == 1200
    assert all(map(torch.equal, calibration, again.calibration_batches(10, 1200)))


def test_digits_for_an_rgb_network_are_grey(digits) -> None:
    grey = next(iter(digits.validation_batches(8))).images
    colour = next(iter(load_data("digits", 3).validation_batches(8))).images
    assert torch.equal(colour, grey.expand(-1, 3, -1, -1))


def test_disturbing_moves_covers_and_adds_noise() -> None:
    """A white image: noise of deviation .2 where it is white; a square of 3 of 8 px is grey, where it lies inside."""
    white = torch.ones(400, 1, 8, 8)
    made = disturbed(white, 8, torch.Generator().manual_seed(0))
    covered = (made == 0.5).double().mean((1, 2, 3))
    assert 0.02 < covered.mean() < 9 / 64 and covered.max() <= 9 / 64
    middle = made[:, 0, 3:5, 3:5].flatten()
    assert middle[middle != 0.5].mean() == pytest.approx(1.0, abs=0.03)
    corners = made[:, 0, 0, 0]
    assert corners[corners != 0.5].mean() < 0.9  # turned and shifted, the image's edge comes into view


def test_too_large_a_batch_and_other_channels_are_refused(digits) -> None:
    with pytest.raises(TrainingError, match="1000 training images do not fill one batch of 1001"):
        steps_per_epoch(digits, 1001)
    with pytest.raises(TrainingError, match="2 has no data here"):
        load_data("digits", 2)
    net = NetworkBuilder("rgb", 3, 8)
    net.conv("c", 4, 3)
    with pytest.raises(TrainingError, match="'rgb' reads images of 3 channels, those of digits have 1"):
        check_fits(net.build(), digits)


@pytest.fixture
def folder(tmp_path):
    """Two classes of plain images, dark and bright; one of another shape and ending."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 3)):
        for name, level in (("bright", 200), ("dark", 40)):
            place = tmp_path / part / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(level - 20, level + 20, (20, 24, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.{'JPG' if number else 'png'}")
    (tmp_path / "train" / "dark" / "notes.txt").write_text("no image")
    return tmp_path


def test_a_folder_is_read_with_any_number_of_processes(folder) -> None:
    alone, helped = ImageFolder(folder), ImageFolder(folder, workers=2)
    assert (alone.classes, alone.class_names, alone.train_images, alone.validation_images) == (
        2,
        ("bright", "dark"),
        12,
        6,
    )
    batches = list(alone.train_batches(4, (8, 16), 3))
    assert same(batches, list(helped.train_batches(4, (8, 16), 3)))
    assert all(len(batch.labels) == 4 and batch.images.shape[2] in (8, 16) for batch in batches)
    for images, labels in batches:
        assert torch.equal(images.mean((1, 2, 3)) < 0, labels == 1)


def test_the_centre_of_an_image_is_scaled_and_normalised(folder) -> None:
    """The shorter side of 20 px is 8/7 of what is kept: the middle 17.5 x 17.5 px."""
    file = folder / "val" / "bright" / "0.png"
    pixels = np.zeros((20, 24, 3), np.uint8)
    pixels[2:-2, 4:-4] = 255
    Image.fromarray(pixels).save(file)
    image = next(iter(ImageFolder(folder).validation_batches(7))).images[0]
    assert image[:, 3, 3].tolist() == pytest.approx(
        [(1 - m) / s for m, s in zip(MEAN[3], (0.229, 0.224, 0.225), strict=True)]
    )
    assert image[0, 0, 0] < image[0, 3, 3]
    assert next(iter(load_data(folder, 1).validation_batches(7))).images.shape == (6, 1, 7, 7)


def test_a_random_part_lies_inside_and_covers_what_is_asked() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = _random_box(30, 20, rng)
        assert 0 <= left < right <= 30 and 0 <= top < bottom <= 20
        assert (right - left) * (bottom - top) > 0.06 * 600
        assert 0.6 < (right - left) / (bottom - top) < 1.7
    assert _random_box(1, 1000, np.random.default_rng(1)) == (0, 499, 1, 500)


def test_a_folder_without_images_is_refused(folder, tmp_path) -> None:
    with pytest.raises(TrainingError, match="no data 'nowhere': neither 'digits' nor a folder"):
        load_data("nowhere")
    (folder / "train" / "empty").mkdir()
    with pytest.raises(TrainingError, match=r"empty: no images; what ends in \.bmp, \.jpeg, .* is read"):
        load_data(folder)
    (folder / "train" / "empty").rmdir()
    (folder / "val" / "dark").rename(folder / "val" / "grey")
    with pytest.raises(TrainingError, match="train has 2 classes, val 2; 'dark' is in train alone"):
        load_data(folder)
    (folder / "val").rename(folder / "validation")
    with pytest.raises(TrainingError, match="val is no folder"):
        load_data(folder)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(folder, workers) -> None:
    (folder / "train" / "dark" / "0.png").write_bytes(b"no image at all")
    with pytest.raises(TrainingError, match=r"dark.0\.png: cannot be read as an image"):
        list(ImageFolder(folder, workers=workers).train_batches(12, (8,), 0))
