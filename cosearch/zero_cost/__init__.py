"""Scores that rank networks without training them, from one batch of images and fresh weights (zero-cost proxies).

Every one is a function of a network, images, labels and a seed, and of nothing else: weights come from a generator of their
own, torch works on one thread, and no global state changes. Higher is better. A score is no accuracy, and networks of two
spaces cannot be compared by it. How well each ranks the cells of NAS-Bench-201 is what ``python -m benchmarks.zero_cost``
prints; the number of parameters is the baseline that a proxy has to beat.

Weights are drawn as torch draws them by default (`cosearch.zero_cost.fresh`), those of Zen-score from a standard normal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from accel_models.errors import unknown_name
from accel_models.workload import Network
from cosearch.errors import CosearchError, UnknownNameError

if TYPE_CHECKING:
    from torch import Tensor

IMAGES = 32
"""Images of a batch, as in NAS-Bench-Suite-Zero."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A score: its title, for an axis, and what module of this package computes it, none of the size of a network."""

    title: str
    module: str


PROXIES = MappingProxyType({
    "fisher": Proxy("Fisher score", "gradients"),
    "grad-norm": Proxy("gradient norm", "gradients"),
    "grad-sign": Proxy("GradSign score", "gradients"),
    "jacob-cov": Proxy("Jacobian covariance score", "responses"),
    "macs": Proxy("MACs", ""),
    "naswot": Proxy("NASWOT score", "responses"),
    "params": Proxy("parameters", ""),
    "snip": Proxy("SNIP score", "gradients"),
    "synflow": Proxy("log SynFlow score", "gradients"),
    "zen": Proxy("Zen-score", "responses"),
    "zico": Proxy("ZiCo score", "gradients"),
})  # fmt: skip
"""All proxies by name."""


def check_proxy(name: str) -> None:
    """Refuse a name that is no proxy's.

    Raises
    ------
    UnknownNameError
        If it is none.
    """
    if name not in PROXIES:
        raise UnknownNameError(unknown_name("proxy", name, PROXIES))


def score(
    proxy: str, network: Network, seed: int = 0, images: Tensor | None = None, labels: Tensor | None = None
) -> float:
    """Return the score of a network.

    Parameters
    ----------
    proxy
        One of :data:`PROXIES`.
    network
        Any network that can be run.
    seed
        Of the weights, and of images and labels where none are given.
    images
        One batch (n, channels, height, width); 32 random ones with the statistics of photographs where not given
        (`cosearch.zero_cost.fresh.random_images`).
    labels
        Their classes, int64 (n,); random where not given.

    Raises
    ------
    UnknownNameError
        If no proxy is called so.
    CosearchError
        If the proxy cannot score such a network, or there are fewer than two images.
    WorkloadError
        If the network has a cost but does not say what it computes.
    """
    check_proxy(proxy)
    if not PROXIES[proxy].module:
        return float(network.params if proxy == "params" else network.macs)
    from cosearch.supernet.device import threads
    from cosearch.zero_cost.fresh import random_images, random_labels

    with threads(1):
        if images is None:
            images = random_images(network, IMAGES, seed)
        if len(images) < 2:
            raise CosearchError(f"proxy {proxy!r} compares images: it needs at least 2, not {len(images)}")
        if labels is None:
            labels = random_labels(network, len(images), seed)
        return _function(proxy)(network, images, labels, seed)


def _function(proxy: str) -> Callable[[Network, Tensor, Tensor, int], float]:
    from cosearch.zero_cost import gradients, responses

    module = {"gradients": gradients, "responses": responses}[PROXIES[proxy].module]
    found: Callable[[Network, Tensor, Tensor, int], float] = getattr(module, proxy.replace("-", "_"))
    return found
