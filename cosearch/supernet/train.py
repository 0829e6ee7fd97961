"""Progressive shrinking: a supernet trained phase by phase, the largest network first, from and to files that survive.

After every epoch a checkpoint is written. All random streams start anew with every epoch, from the schedule's seed, so a
training that was killed goes on from its last epoch and, on a processor, ends with the same bytes.

References
----------
Cai et al., Once-for-All: Train One Network and Specialize it for Efficient Deployment, ICLR 2020, section 3.3.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cosearch.errors import TrainingError
from cosearch.space import Genomes, NetworkSpace
from cosearch.supernet.data import WHOLE, Batch, ImageData, Share, check_fits, steps_per_epoch
from cosearch.supernet.device import joined, threads
from cosearch.supernet.judge import judge, subnetwork
from cosearch.supernet.network_module import NetworkModule
from cosearch.supernet.optimisation import Optimisation, loss_to_labels, stream_seed
from cosearch.supernet.schedule import (
    RESOLUTION,
    Phase,
    Schedule,
    draw_open,
    open_choices,
    smallest_open,
    trained_sizes,
)
from cosearch.supernet.supernet import Supernet, extract
from cosearch.supernet.training_files import TrainingFolder

_WEIGHTS, _IMAGES, _DROPOUT, _NETWORKS = 0, 1, 2, 3
"""Purposes of random streams."""


@dataclass(frozen=True)
class Progress:
    """What there is to say after an epoch; `epoch` counts from 1 over all phases. Top-1 (in percent) where it was judged."""

    epoch: int
    epochs: int
    phase: str
    loss: float
    seconds: float
    largest_top1_percent: float | None = None
    smallest_top1_percent: float | None = None


def train_supernet(
    space: NetworkSpace,
    data: ImageData,
    schedule: Schedule,
    out: str | Path,
    *,
    device: torch.device | None = None,
    cpu_threads: int = 1,
    resume: bool = False,
    on_epoch: Callable[[Progress], None] | None = None,
) -> Supernet:
    """Train the supernet of a space; the record and the result go to a folder.

    Where ``torchrun`` started several processes, each takes its share of every batch, which has that many times the images;
    so the learning rate is that many times as large.

    Parameters
    ----------
    space, data, schedule
        What is trained, on what, and how.
    out
        The folder: ``checkpoint.pt``, ``epochs.jsonl`` (one line per epoch), ``schedule.yaml``, and at the end
        ``supernet.pt``.
    device
        The processor, where not given.
    cpu_threads
        Of the processor. Small networks are fastest on one; the same number gives the same bytes.
    resume
        Go on from the folder's checkpoint.
    on_epoch
        Called after each epoch, when its checkpoint is written.

    Raises
    ------
    TrainingError
        If the images do not fit the space, the schedule opens what the space does not have, the folder has a training
        already or, with `resume`, none or that of something else, or the loss is no longer finite.
    CheckpointError
        If the folder's checkpoint cannot be read.
    SpaceError
        If the space is no supernet.
    """
    folder = TrainingFolder(Path(out))
    device = device or torch.device("cpu")
    with (
        joined(device) as share,
        threads(cpu_threads),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
    ):
        training = _Training(space, data, schedule, device, share)
        if resume:
            training.restore(folder.read(), folder.path)
        elif share.rank == 0:
            folder.begin(schedule.to_yaml())
            folder.write(training.state(), training.log)
        while training.epoch < schedule.epochs:
            progress = training.run_epoch()
            if share.rank == 0:
                folder.write(training.state(), training.log)
                if on_epoch is not None:
                    on_epoch(progress)
        if share.rank == 0:
            folder.finish(training.supernet)
    return training.supernet.eval()


class _Training:
    """A supernet and all that its next epoch depends on."""

    def __init__(
        self, space: NetworkSpace, data: ImageData, schedule: Schedule, device: torch.device, share: Share = WHOLE
    ) -> None:
        check_fits(space.network(space.canonical((space.choices_per_knob - 1)[None])[0]), data)
        self._space, self._data, self._schedule = space, data, schedule
        self._device, self._share = device, share
        self._steps = steps_per_epoch(data, schedule.batch_size, share)
        self._opened = [open_choices(space, phase) for phase in schedule.phases]
        self._ends = np.cumsum([phase.epochs for phase in schedule.phases])
        self._resolutions = training_resolutions(space, schedule)
        torch.manual_seed(stream_seed(schedule.seed, _WEIGHTS))
        self.supernet = Supernet(space, data.classes)
        self.supernet.to(device).train()
        self.supernet.dropout = schedule.dropout
        self._teacher: NetworkModule | None = None
        self._optimisation = Optimisation(self.supernet, schedule, device, share)
        self.epoch = 0
        self.log: list[dict[str, Any]] = []

    def run_epoch(self) -> Progress:
        """Train for one epoch."""
        start, schedule = time.perf_counter(), self._schedule
        place = int(np.searchsorted(self._ends, self.epoch, side="right"))
        phase, opened = schedule.phases[place], self._opened[place]
        first = int(self._ends[place]) - phase.epochs
        if self.epoch == first and place > 0:
            self._enter(place)
        torch.manual_seed(stream_seed(schedule.seed, self.epoch, _DROPOUT, self._share.rank))
        rng = np.random.default_rng(stream_seed(schedule.seed, self.epoch, _NETWORKS))
        batches = self._data.train_batches(
            schedule.batch_size, self._resolutions, stream_seed(schedule.seed, self.epoch, _IMAGES), self._share
        )
        loss = 0.0
        for step, batch in enumerate(batches, (self.epoch - first) * self._steps):
            try:
                rate = phase.rate(step, self._steps) * self._share.of
                loss += self._step(phase, rate, batch, self._networks(phase, opened, rng))
            except TrainingError as error:
                raise TrainingError(f"phase {phase.name!r}, epoch {self.epoch - first + 1}: {error}") from None
        self.epoch += 1
        due = self.epoch == self._ends[place] or (schedule.judge_every and self.epoch % schedule.judge_every == 0)
        judged = self._judge(opened) if due else (None, None)
        seconds = round(time.perf_counter() - start, 3)
        progress = Progress(self.epoch, schedule.epochs, phase.name, loss / self._steps, seconds, *judged)
        self.log.append({name: value for name, value in vars(progress).items() if value is not None})
        return progress

    def state(self) -> dict[str, Any]:
        """Return all that there is to be kept."""
        return {
            "training": self._asked(),
            "epoch": self.epoch,
            "supernet": self.supernet.state_dict(),
            "teacher": None if self._teacher is None else self._teacher.state_dict(),
            "optimisation": self._optimisation.state(),
            "log": self.log,
        }

    def restore(self, state: Mapping[str, Any], path: Path) -> None:
        """Go on from a state.

        Raises
        ------
        TrainingError
            If it is that of another training.
        """
        kept, asked = state["training"], self._asked()
        for name, value in asked.items():
            if kept.get(name) != value:
                raise TrainingError(f"{path}: its training has another {name}: {_difference(kept.get(name), value)}")
        self.epoch, self.log = state["epoch"], list(state["log"])
        self.supernet.load_state_dict(state["supernet"])
        if state["teacher"] is not None:
            self._teacher = self._new_teacher()
            self._teacher.load_state_dict(state["teacher"])
        self._optimisation.restore(state["optimisation"])

    def _asked(self) -> dict[str, Any]:
        data = self._data
        return {
            "space": self._space.name,
            "data": data.name,
            "images": [data.classes, data.channels, data.train_images, data.validation_images],
            "schedule": self._schedule.model_dump(mode="json"),
            "processes": self._share.of,
        }

    def _enter(self, place: int) -> None:
        """Make ready for a phase after the first."""
        phase = self._schedule.phases[place]
        if self._teacher is None:
            self._teacher = self._new_teacher()
        if phase.sort_channels:
            self.supernet.sort_channels(trained_sizes(self._space, self._opened[place - 1]))
        self._optimisation = Optimisation(self.supernet, self._schedule, self._device, self._share)

    def _new_teacher(self) -> NetworkModule:
        """Return the largest network as it is now. It normalises with each batch's own statistics, as the students do."""
        teacher = extract(self.supernet, self.supernet.largest).train()
        teacher.momentum = 0.0
        return teacher.requires_grad_(False)

    def _networks(self, phase: Phase, opened: Genomes, rng: np.random.Generator) -> list[Genomes]:
        drawn = list(draw_open(self._space, opened, rng, phase.networks_per_step))
        if phase.sandwich:
            drawn[0], drawn[-1] = self.supernet.largest, smallest_open(self._space, opened)
        return drawn

    def _step(self, phase: Phase, rate: float, batch: Batch, networks: list[Genomes]) -> float:
        images, labels = batch.images.to(self._device), batch.labels.to(self._device)
        answers: Tensor | None = None
        if phase.distillation and self._teacher is not None:
            with torch.no_grad(), self._optimisation.autocast():
                answers = self._teacher(images).softmax(1)

        def loss(genome: Genomes) -> Tensor:
            logits = self.supernet(images, genome)
            to_labels = loss_to_labels(logits, labels, self._schedule)
            if answers is None:
                return to_labels
            return to_labels + phase.distillation * functional.cross_entropy(logits, answers)

        return self._optimisation.step(rate, [partial(loss, genome) for genome in networks])

    def _judge(self, opened: Genomes) -> tuple[float, float]:
        """Return top-1 in percent of the largest and the smallest network of a phase, at the largest resolution."""
        top1 = []
        for genome in (self.supernet.largest, smallest_open(self._space, opened)):
            chosen = at_resolution(self._space, genome, max(self._resolutions))
            module = subnetwork(self.supernet, chosen, self._data, self._schedule.calibration_images)
            top1.append(judge(module, self._data, self._share).top1_percent)
        return top1[0], top1[1]


def training_resolutions(space: NetworkSpace, schedule: Schedule) -> tuple[int, ...]:
    """Return the resolutions (px) that a schedule trains a space at.

    Raises
    ------
    TrainingError
        If the schedule names one that the space does not have.
    """
    knob = next((knob for knob in space.knobs if knob.name == RESOLUTION), None)
    largest = space.network(space.canonical((space.choices_per_knob - 1)[None])[0]).input.height
    known = (largest,) if knob is None else knob.choices
    for resolution in schedule.resolutions:
        if resolution not in known:
            raise TrainingError(
                f"resolutions: {resolution} px is none of space {space.name!r}, which has {', '.join(map(str, known))}"
            )
    return schedule.resolutions or known


def at_resolution(space: NetworkSpace, genome: Genomes, resolution: int) -> Genomes:
    """Return a genome (knobs,) with the gene of its resolution changed, where the space has one."""
    changed = genome.copy()
    for place, knob in enumerate(space.knobs):
        if knob.name == RESOLUTION:
            changed[place] = knob.index(resolution)
    return changed


def _difference(kept: Any, asked: Any) -> str:
    """Return what differs between two values, of mappings the first key."""
    if isinstance(kept, dict) and isinstance(asked, dict):
        for key in asked:
            if kept.get(key) != asked[key]:
                return f"{key}: {_difference(kept.get(key), asked[key])}"
    return f"{kept!r} there, {asked!r} asked for"
