"""Training of one network alone, from fresh weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from cosearch.errors import TrainingError
from cosearch.supernet.data import Batch, ImageData, check_fits, steps_per_epoch
from cosearch.supernet.network_module import NetworkModule
from cosearch.supernet.optimisation import Optimisation, loss_to_labels, stream_seed
from cosearch.supernet.schedule import AloneSchedule

_WEIGHTS, _IMAGES, _DROPOUT = 0, 1, 2


def fresh_module(make: Callable[[], NetworkModule], seed: int) -> NetworkModule:
    """Return what `make` makes with weights drawn from a seed; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, _WEIGHTS))
        return make()


def train_network(
    module: NetworkModule,
    data: ImageData,
    schedule: AloneSchedule,
    *,
    device: torch.device | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> NetworkModule:
    """Train a network alone, at its own resolution; return it in evaluation mode, on the device.

    Parameters
    ----------
    module
        Trained in place. Its weights are kept as they come: draw them with :func:`fresh_module`.
    data, schedule
        What it is trained on, and how. The same seed gives the same weights, on one processor with one thread.
    device
        The processor, where not given.
    on_epoch
        Called after each epoch with its number (from 1) and its average loss.

    Raises
    ------
    TrainingError
        If the images do not fit the network or one batch, or the loss is no longer finite.
    """
    check_fits(module.network, data)
    device = device or torch.device("cpu")
    steps = steps_per_epoch(data, schedule.batch_size)
    module.to(device).train()
    module.dropout = schedule.dropout
    optimisation = Optimisation(module, schedule, device)
    resolution = module.network.input.height
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for epoch in range(schedule.epochs):
            torch.manual_seed(stream_seed(schedule.seed, epoch, _DROPOUT))
            batches = data.train_batches(schedule.batch_size, (resolution,), stream_seed(schedule.seed, epoch, _IMAGES))
            loss = 0.0
            for step, batch in enumerate(batches):
                rate = schedule.rate(epoch * steps + step, steps)
                try:
                    loss += optimisation.step(rate, [partial(_loss, module, batch, schedule, device)])
                except TrainingError as error:
                    raise TrainingError(f"network {module.network.name!r}, epoch {epoch + 1}: {error}") from None
            if on_epoch is not None:
                on_epoch(epoch + 1, loss / steps)
    return module.eval()


def _loss(module: NetworkModule, batch: Batch, schedule: AloneSchedule, device: torch.device) -> torch.Tensor:
    return loss_to_labels(module(batch.images.to(device)), batch.labels.to(device), schedule)
