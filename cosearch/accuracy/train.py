"""Top-1 of networks that are trained from scratch, each alone, on a short schedule.

``train:DATA`` trains on ``digits`` or a folder of images, ``train:DATA#epochs=30,repeats=3`` with other figures than the 20
epochs of one training: stochastic gradient descent on 64 images, learning rate 0.05 after two epochs of warm-up, then falling
along a cosine. The seeds are 0, 1 and so on, the value is the mean over the trainings, on the validation images.

How far a training with another seed is off, one training does not tell, so then the error is NaN. With ``repeats`` it is the
mean absolute difference to be expected to one further training, judged by as many other images: sqrt(2 / pi) times the square
root of s^2 (1 + 1 / repeats) + p (1 - p) / images, where s is the trainings' standard deviation. Of two or three it is known
roughly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from accel_models.errors import unknown_name
from accel_models.workload import Network
from cosearch.accuracy.one_by_one import OneByOneEstimator, sampling_error_points
from cosearch.errors import CosearchError
from cosearch.space import Genomes, NetworkSpace

if TYPE_CHECKING:
    from cosearch.supernet.data import ImageData

_RATE, _WARM_UP, _BATCH, _DECAY = 0.05, 2, 64, 1e-4


@dataclass(frozen=True, slots=True)
class Effort:
    """How long each network is trained, and how often."""

    epochs: int = 20
    repeats: int = 1


def make(space: NetworkSpace, argument: str) -> OneByOneEstimator:
    """Trains each network alone, on a short schedule: train:digits.

    Parameters
    ----------
    space
        Any space of networks that can be run.
    argument
        ``DATA`` or ``DATA#epochs=NUMBER,repeats=NUMBER``.

    Raises
    ------
    CosearchError
        If torch is not installed, no images are named, they cannot be read, or an option is unknown or no positive number.
    """
    source, _, options = argument.partition("#")
    if not source:
        raise CosearchError(
            "estimator 'train' needs images: train:digits or train:FOLDER, then #epochs=NUMBER,repeats=NUMBER"
        )
    effort = parse_effort(options)
    from cosearch.supernet.data import load_data

    data = load_data(source, space.sample().input.channels)

    def judge(genome: Genomes) -> tuple[float, float]:
        return summary(trained(space.network(genome), data, effort), data.validation_images)

    return OneByOneEstimator(
        f"train:{argument}", space, f"{Path(source).name} validation top-1, {effort.epochs} epochs",
        f"trained from scratch, {effort.repeats} training{'s' if effort.repeats > 1 else ''} each, "
        f"{data.validation_images:,} validation images",
        "top1_percent", judge, (make, (space, argument)),
    )  # fmt: skip


def parse_effort(text: str) -> Effort:
    """Return what ``epochs=30,repeats=3`` means; what is not named keeps its default.

    Raises
    ------
    CosearchError
        If an option is unknown, named twice, or no positive whole number.
    """
    found: dict[str, int] = {}
    for part in filter(None, text.split(",")):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if name not in Effort.__dataclass_fields__:
            raise CosearchError("estimator 'train': " + unknown_name("option", name, Effort.__dataclass_fields__))
        if name in found or not value.isdecimal() or int(value) < 1:
            raise CosearchError(f"estimator 'train': {part.strip()!r}: {name} is a positive whole number, named once")
        found[name] = int(value)
    return Effort(**found)


def trained(network: Network, data: ImageData, effort: Effort) -> list[float]:
    """Return top-1 in percent after each training of a network, on the validation images.

    Raises
    ------
    TrainingError
        If the images do not fit the network or one batch, or a training fails.
    """
    from accel_models.executable import with_classes
    from cosearch.supernet.device import threads
    from cosearch.supernet.judge import judge
    from cosearch.supernet.network_module import NetworkModule
    from cosearch.supernet.schedule import AloneSchedule
    from cosearch.supernet.train_network import fresh_module, train_network

    network = with_classes(network, data.classes)
    top1 = []
    with threads(1):
        for seed in range(effort.repeats):
            schedule = AloneSchedule(
                epochs=effort.epochs, learning_rate=_RATE, warmup_epochs=min(_WARM_UP, effort.epochs - 1), batch_size=_BATCH,
                weight_decay=_DECAY, dropout=0.0, seed=seed,
            )  # fmt: skip
            module = train_network(fresh_module(lambda: NetworkModule(network), seed), data, schedule)
            top1.append(judge(module, data).top1_percent)
    return top1


def summary(top1_percent: list[float], images: int) -> tuple[float, float]:
    """Return the mean of some trainings' top-1, and its expected absolute error, NaN of a single one."""
    mean, repeats = fmean(top1_percent), len(top1_percent)
    if repeats == 1:
        return mean, math.nan
    between = stdev(top1_percent) * math.sqrt(2 / math.pi * (1 + 1 / repeats))
    return mean, math.hypot(between, sampling_error_points(mean, images))
