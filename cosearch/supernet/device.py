"""Where a training runs: a processor or a CUDA device, alone or as one of several processes that ``torchrun`` started."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

from accel_models.errors import unknown_name
from cosearch.errors import TrainingError
from cosearch.supernet.data import WHOLE, Share

DEVICES = ("cpu", "cuda")


def find_device(name: str) -> torch.device:
    """Return the device of a name, ``cpu`` or ``cuda``; of several CUDA devices this process's own.

    Raises
    ------
    TrainingError
        If it is none of these, or CUDA is asked for where there is none.
    """
    if name not in DEVICES:
        raise TrainingError(unknown_name("device", name, DEVICES))
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        built = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        raise TrainingError(f"device 'cuda': {built}; use --device cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local >= torch.cuda.device_count():
        raise TrainingError(
            f"device 'cuda': process {local} of this machine, which has {torch.cuda.device_count()} devices"
        )
    return torch.device("cuda", local)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch work on so many threads of the processor, so that sums are always added in the same order; then as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def joined(device: torch.device) -> Iterator[Share]:
    """Join the other processes, where ``torchrun`` started several (``WORLD_SIZE``); yield this one's share of the work."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield WHOLE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Share(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def average_gradients(parameters: Iterable[Tensor], share: Share) -> None:
    """Replace every gradient by its average over all processes.

    All processes run the same sub-networks, so the same parameters have one. (`DistributedDataParallel` expects every
    parameter to be used in the last of several backward passes, which no sub-network does.)
    """
    if share.of == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= share.of
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def summed(values: Tensor, share: Share) -> Tensor:
    """Return the sum of a tensor over all processes."""
    if share.of > 1:
        distributed.all_reduce(values)
    return values
