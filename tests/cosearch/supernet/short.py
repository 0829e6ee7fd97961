"""A training of seconds: every phase of progressive shrinking for an epoch or two of a few steps."""

from __future__ import annotations

from typing import Any

from cosearch.supernet.data import Batch
from cosearch.supernet.digits import Digits
from cosearch.supernet.schedule import Phase, Schedule


def few_digits() -> Digits:
    """The digits with 200 images to judge by."""
    data = Digits(1)
    data._validation = Batch(*(part[:200] for part in data._validation))
    data.validation_images = 200
    return data


def phase(name: str, **other: Any) -> Phase:
    return Phase(**{"name": name, "epochs": 1, "learning_rate": 0.05, **other})


def short(**other: Any) -> Schedule:
    """Six epochs of three steps; dropout, so that every random stream matters."""
    phases = (
        phase("teacher", epochs=2),
        phase("kernel", opens={"kernel": "all"}, distillation=1.0),
        phase("depth", opens={"kernel": "all", "depth": "all"}, networks_per_step=2, distillation=0.5),
        phase(
            "expand", epochs=2, opens={"kernel": "all", "depth": "all", "expand": "all"}, networks_per_step=3, sandwich=True,
            distillation=1.0, sort_channels=True,
        ),
    )  # fmt: skip
    return Schedule(**{"batch_size": 300, "calibration_images": 200, "phases": phases, **other})
