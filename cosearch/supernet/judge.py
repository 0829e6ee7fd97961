"""How good a network is on the images to judge by; a sub-network first gets batch-norm statistics of its own."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from cosearch.space import Genomes
from cosearch.supernet.data import WHOLE, ImageData, Share, check_fits
from cosearch.supernet.device import summed
from cosearch.supernet.network_module import NetworkModule, recalibrate
from cosearch.supernet.supernet import Supernet, extract


class Score(NamedTuple):
    """Top-1 accuracy in percent, and the average cross-entropy in nats."""

    top1_percent: float
    cross_entropy: float


def subnetwork(supernet: Supernet, genome: Genomes, data: ImageData, images: int = 2000) -> NetworkModule:
    """Return a sub-network in evaluation mode, its batch-norm statistics taken from so many training images.

    Raises
    ------
    SpaceError
        If the genome is not one of the supernet's space.
    TrainingError
        If the images do not fit it.
    """
    module = extract(supernet, genome)
    recalibrate_on(module, data, images)
    return module.eval()


def recalibrate_on(module: NetworkModule, data: ImageData, images: int = 2000) -> None:
    """Set a module's batch-norm statistics to those of so many training images, at its network's resolution.

    Raises
    ------
    TrainingError
        If the images do not fit it.
    """
    check_fits(module.network, data)
    device = next(module.parameters()).device
    batches = data.calibration_batches(module.network.input.height, images)
    recalibrate(module, (batch.to(device) for batch in batches))


@torch.no_grad()
def judge(module: NetworkModule, data: ImageData, share: Share = WHOLE) -> Score:
    """Return how good a network is at its own resolution, in evaluation mode; each process looks at its share.

    Raises
    ------
    TrainingError
        If the images do not fit it.
    """
    check_fits(module.network, data)
    device, training = next(module.parameters()).device, module.training
    right = torch.zeros(3, dtype=torch.float64, device=device)
    module.eval()
    for images, labels in data.validation_batches(module.network.input.height, share):
        logits, wanted = module(images.to(device)).double(), labels.to(device)
        right[0] += (logits.argmax(1) == wanted).sum()
        right[1] += functional.cross_entropy(logits, wanted, reduction="sum")
        right[2] += len(wanted)
    module.train(training)
    hits, entropy, count = summed(right, share).tolist()
    return Score(100 * hits / count, entropy / count)
