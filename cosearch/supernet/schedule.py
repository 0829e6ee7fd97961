"""How networks are trained: one alone, or a supernet phase by phase (progressive shrinking). Data, validated and frozen.

References
----------
Cai et al., Once-for-All: Train One Network and Specialize it for Efficient Deployment, ICLR 2020, sections 3.3 and 4.1.
Yu et al., BigNAS: Scaling up Neural Architecture Search with Big Single-Stage Models, ECCV 2020 (the sandwich rule).
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from accel_models.accelerator import Frozen, NonNegativeFloat, PositiveFloat, PositiveInt
from accel_models.description import read_yaml, to_yaml, validated
from accel_models.errors import DescriptionError, unknown_name
from cosearch.errors import TrainingError, UnknownNameError
from cosearch.space import Genomes, Space

Share = Annotated[float, Field(ge=0, lt=1, strict=True)]
NonNegativeInt = Annotated[int, Field(ge=0, le=2**53, strict=True)]
RESOLUTION = "resolution"


class Recipe(Frozen):
    """What every training needs: stochastic gradient descent on cross-entropy.

    `batch_size` is that of one process; learning rates belong to it and grow with the number of processes. Weight decay
    spares biases and batch normalisations. `dropout` is the share of the classifier's inputs left out. `amp` computes in
    half precision where that is safe: float16 with scaled losses on a CUDA device, bfloat16 on a processor. Batch-norm
    statistics are taken from `calibration_images` training images before a network is judged.
    """

    batch_size: PositiveInt = 64
    momentum: Share = 0.9
    nesterov: bool = True
    weight_decay: NonNegativeFloat = 3e-5
    label_smoothing: Share = 0.1
    dropout: Share = 0.1
    amp: bool = False
    calibration_images: PositiveInt = 2000
    seed: NonNegativeInt = 0


class Course(Frozen):
    """Epochs, and the learning rate: rising evenly from 0 for the warm-up, then falling along a cosine to 0."""

    epochs: PositiveInt
    learning_rate: PositiveFloat
    warmup_epochs: NonNegativeInt = 0

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Self:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} must be fewer than the {self.epochs} epochs")
        return self

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate of a step (from 0)."""
        warm, whole = self.warmup_epochs * steps_per_epoch, self.epochs * steps_per_epoch
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        return float(self.learning_rate * (1 + np.cos(np.pi * (step - warm) / (whole - warm))) / 2)


class AloneSchedule(Recipe, Course):
    """How one network is trained alone, at its own resolution."""


class Phase(Course):
    """One phase of progressive shrinking.

    Parameters
    ----------
    name
        What it is called in the log.
    opens
        Kind of knob (its name without the number: ``kernel``, ``depth``, ``expand``, ``width``) -> how many of its choices
        are open, counted from the largest; ``"all"`` for all of them. Of other kinds only the largest.
    networks_per_step
        Sub-networks whose gradients are summed before a step.
    sandwich
        The smallest and the largest network of the phase are among these at every step; else all are random.
    distillation
        Weight of the cross-entropy to the teacher's answers, beside that to the labels. The teacher is the largest
        network as the first phase leaves it.
    sort_channels
        Whether the channels inside the blocks are sorted by importance before the phase; where smaller widths were
        trained before, within these.
    """

    name: Annotated[str, Field(min_length=1)]
    opens: dict[str, PositiveInt | Literal["all"]] = Field(default_factory=dict)
    networks_per_step: PositiveInt = 1
    sandwich: bool = False
    distillation: NonNegativeFloat = 0.0
    sort_channels: bool = False

    @model_validator(mode="after")
    def _sandwich_has_a_filling(self) -> Self:
        if self.sandwich and self.networks_per_step < 3:
            raise ValueError(
                "sandwich takes networks_per_step of 3 or more: the smallest, the largest, and random ones"
            )
        return self


class Schedule(Recipe):
    """Progressive shrinking: the largest network first, then smaller ones with it, phase by phase.

    `resolutions` (px) are drawn from in every step; none stands for all of the space's. The smallest and the largest
    network are judged every `judge_every` epochs (0: never) and at the end of each phase.
    """

    summary: str = ""
    resolutions: tuple[PositiveInt, ...] = ()
    judge_every: NonNegativeInt = 0
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _teacher_comes_first(self) -> Self:
        first = self.phases[0]
        if first.opens or first.distillation or first.networks_per_step > 1:
            raise ValueError(
                f"the first phase, {first.name!r}, trains the largest network alone: no opens, no distillation, one network per "
                "step"
            )
        names = [phase.name for phase in self.phases]
        if len(set(names)) != len(names):
            raise ValueError(f"two phases share a name: {', '.join(names)}")
        return self

    @property
    def epochs(self) -> int:
        """Those of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def to_yaml(self) -> str:
        """Return the schedule as YAML that :func:`load_schedule` reads."""
        return to_yaml(self)


def schedule_names() -> list[str]:
    """Return the names of the schedules that ship."""
    folder = resources.files("cosearch.supernet") / "schedules"
    return sorted(item.name.removesuffix(".yaml") for item in folder.iterdir() if item.name.endswith(".yaml"))


def load_schedule(name_or_path: str | Path) -> Schedule:
    """Return the schedule of a shipped name or of a YAML file.

    Raises
    ------
    UnknownNameError
        If it is neither.
    DescriptionError
        If the file is malformed: one line per mistake with file, line, key, value and what would be right.
    """
    text = str(name_or_path)
    if text in schedule_names():
        file = resources.files("cosearch.supernet") / "schedules" / f"{text}.yaml"
        return validated(read_yaml(file.read_bytes(), f"{text}.yaml"), Schedule, f"{text}.yaml")
    if Path(text).suffix not in (".yaml", ".yml") and not Path(text).is_file():
        raise UnknownNameError(unknown_name("schedule", text, schedule_names()) + "; or name a YAML file")
    try:
        content = Path(text).read_bytes()
    except OSError as error:
        raise DescriptionError(f"{text}: cannot be read: {error.strerror}") from None
    return validated(read_yaml(content, text), Schedule, text)


def kind_of(knob: str) -> str:
    """Return the kind of a knob, its name without the number: ``kernel_3`` is one of kind ``kernel``."""
    return re.sub(r"_?\d+$", "", knob)


def open_choices(space: Space, phase: Phase) -> Genomes:
    """Return how many choices of each knob a phase opens, int64 (knobs,), counted from the last. The resolution has one.

    Raises
    ------
    TrainingError
        If the phase opens a kind of knob that the space does not have, or more choices than there are.
    """
    kinds = [kind_of(knob.name) for knob in space.knobs]
    known = [kind for kind in dict.fromkeys(kinds) if kind != RESOLUTION]
    for kind, wanted in phase.opens.items():
        where = f"phase {phase.name!r} and space {space.name!r}"
        if kind not in known:
            raise TrainingError(f"{where}: opens: {unknown_name('kind of knob', kind, known)}")
        most = max(len(knob.choices) for knob, own in zip(space.knobs, kinds, strict=True) if own == kind)
        if wanted != "all" and wanted > most:
            raise TrainingError(f"{where}: opens {wanted} choices of {kind!r}, of which there are {most}")
    counts = space.choices_per_knob
    opened = [phase.opens.get(kind, 1) for kind in kinds]
    return np.array(
        [count if own == "all" else min(own, count) for own, count in zip(opened, counts.tolist(), strict=True)]
    )


def smallest_open(space: Space, opened: Genomes) -> Genomes:
    """Return the genome (knobs,) of the smallest network of a phase; `opened` is what :func:`open_choices` says."""
    return space.canonical((space.choices_per_knob - opened)[None])[0]


def draw_open(space: Space, opened: Genomes, rng: np.random.Generator, count: int) -> Genomes:
    """Return genomes (count, knobs) of random networks of a phase, each knob uniform over its open choices."""
    low = space.choices_per_knob - opened
    return space.canonical(rng.integers(low, space.choices_per_knob, size=(count, len(low)), dtype=np.int64))


def trained_sizes(space: Space, before: Genomes) -> list[Genomes]:
    """Return genomes (knobs,) that between them have every size that was trained; `before` is what was open then.

    In each, the knobs of one kind are at one of their open choices, and the others at their largest.
    """
    kinds = np.array([kind_of(knob.name) for knob in space.knobs])
    last = space.choices_per_knob - 1
    made = [
        np.where(kinds == kind, last - np.minimum(less, before - 1), last)
        for kind in dict.fromkeys(kinds.tolist())
        for less in range(1, int(before[kinds == kind].max()))
    ]
    return list(space.canonical(np.array(made, dtype=np.int64).reshape(-1, len(last))))
