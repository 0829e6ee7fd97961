"""Scores without training as an estimator: they rank the networks of a space and are no accuracies.

``zero-cost:PROXY`` scores every network with fresh weights on one batch of 32 random images, ``zero-cost:PROXY:DATA`` on 32
training images of ``digits`` or of a folder (`cosearch.supernet.data`), with a classifier of as many classes. PROXY is a name
of `cosearch.zero_cost.PROXIES`; of ``params`` and ``macs``, the baselines, there are no images. Every network is scored at the
resolution that it is made for. The score depends on the network alone: the seed of weights and images is always 0.

Every space has scores, if its networks can be run. How well a proxy ranks the networks of a space where all accuracies are
known, `benchmarks/zero_cost.py` says; elsewhere nothing tells, so the error is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from accel_models.workload import Network
from cosearch.accuracy.one_by_one import OneByOneEstimator
from cosearch.errors import CosearchError
from cosearch.space import Genomes, NetworkSpace
from cosearch.zero_cost import IMAGES, PROXIES, check_proxy, score

if TYPE_CHECKING:
    from cosearch.supernet.data import Batch, ImageData


def make(space: NetworkSpace, argument: str) -> OneByOneEstimator:
    """Scores networks without training them, for the objective proxy: zero-cost:synflow.

    Parameters
    ----------
    space
        Any space of networks that can be run.
    argument
        ``PROXY`` or ``PROXY:DATA``.

    Raises
    ------
    CosearchError
        If no proxy is named or none is called so, torch is not installed, or the data cannot be read.
    """
    proxy, _, source = argument.partition(":")
    if not proxy:
        raise CosearchError(
            f"estimator 'zero-cost' needs a proxy, as in zero-cost:synflow; there are {', '.join(PROXIES)}"
        )
    check_proxy(proxy)
    scored = bool(PROXIES[proxy].module)
    if source and not scored:
        raise CosearchError(f"estimator 'zero-cost': {proxy} looks at no images, so {source!r} has no use")
    if scored:
        from cosearch.supernet import require_torch

        require_torch()
    images = _Images(_data(space, source)) if source else None
    what = f"{IMAGES} images of {source}" if source else f"{IMAGES} random images"

    def judge(genome: Genomes) -> tuple[float, float]:
        return _scored(proxy, space.network(genome), images), float("nan")

    return OneByOneEstimator(
        f"zero-cost:{argument}", space, PROXIES[proxy].title, f"fresh weights, {what}" if scored else "counted",
        "proxy_score", judge, (make, (space, argument)),
    )  # fmt: skip


def _data(space: NetworkSpace, source: str) -> ImageData:
    from cosearch.supernet.data import load_data

    return load_data(source, space.sample().input.channels)


def _scored(proxy: str, network: Network, images: _Images | None) -> float:
    if images is None:
        return score(proxy, network)
    from accel_models.executable import with_classes
    from cosearch.supernet.data import check_fits

    check_fits(network, images.data)
    batch = images.at(network.input.height)
    return score(proxy, with_classes(network, images.data.classes), 0, batch.images, batch.labels)


@dataclass
class _Images:
    """The first batch of a data set, at any resolution."""

    data: ImageData
    _batches: dict[int, Batch] = field(default_factory=dict)

    def at(self, resolution: int) -> Batch:
        """Return the batch at a resolution (px).

        Raises
        ------
        CosearchError
            If the data have fewer images.
        """
        if self.data.train_images < IMAGES:
            raise CosearchError(
                f"{self.data.name}: {self.data.train_images} training images, where a proxy takes {IMAGES}"
            )
        if resolution not in self._batches:
            self._batches[resolution] = next(self.data.train_batches(IMAGES, (resolution,), 0))
        return self._batches[resolution]
