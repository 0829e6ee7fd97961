"""One step of stochastic gradient descent, as a schedule's recipe says it; for a network alone and for a supernet alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from cosearch.errors import TrainingError
from cosearch.supernet.data import WHOLE, Share
from cosearch.supernet.device import average_gradients
from cosearch.supernet.schedule import Recipe


class Optimisation:
    """The optimiser of a module's parameters, and the scaler of its losses where it computes in half precision."""

    def __init__(self, module: nn.Module, recipe: Recipe, device: torch.device, share: Share = WHOLE) -> None:
        named = list(module.named_parameters())
        spared = [value for name, value in named if name.endswith("bias") or ".bn." in name]
        decayed = [value for name, value in named if not (name.endswith("bias") or ".bn." in name)]
        groups = [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": spared, "weight_decay": 0.0},
        ]
        self._parameters = [value for _, value in named]
        self._optimiser = torch.optim.SGD(
            groups, lr=0.0, momentum=recipe.momentum, nesterov=recipe.nesterov and recipe.momentum > 0
        )
        self._amp, self._device, self._share = recipe.amp, device, share
        self._half = torch.float16 if device.type == "cuda" else torch.bfloat16
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.amp and device.type == "cuda")

    def step(self, learning_rate: float, losses: Iterable[Callable[[], Tensor]]) -> float:
        """Follow the sum of the gradients of some losses, each computed when its turn comes; return their average.

        Raises
        ------
        TrainingError
            If a loss is not finite.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        self._optimiser.zero_grad()
        values = []
        for compute in losses:
            with self.autocast():
                loss = compute()
            self._scaler.scale(loss).backward()
            values.append(loss.detach())
        average = float(torch.stack(values).mean())
        if not math.isfinite(average):
            raise TrainingError(f"the loss became {average}; a smaller learning rate than {learning_rate:g} may help")
        self._scaler.unscale_(self._optimiser)
        average_gradients(self._parameters, self._share)
        self._scaler.step(self._optimiser)
        self._scaler.update()
        return average

    def autocast(self) -> torch.autocast:
        """Return the context in which the recipe computes."""
        return torch.autocast(self._device.type, self._half, enabled=self._amp)

    def state(self) -> dict[str, Any]:
        """Return what a later process needs to go on."""
        return {"optimiser": self._optimiser.state_dict(), "scaler": self._scaler.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._optimiser.load_state_dict(state["optimiser"])
        if self._scaler.is_enabled():
            self._scaler.load_state_dict(state["scaler"])


def loss_to_labels(logits: Tensor, labels: Tensor, recipe: Recipe) -> Tensor:
    """Return the cross-entropy to smoothed labels."""
    return functional.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)


def stream_seed(*place: int) -> int:
    """Return the seed of one random stream: of a training's seed, a phase, an epoch, a purpose. All streams start anew with
    every epoch, so a training that goes on from one needs no state of a generator."""
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> np.uint64(1))
