"""The spaces of AutoFormer: vision transformers with an embedding, a depth, and per layer a perceptron and heads.

References
----------
Chen et al., AutoFormer: Searching Transformers for Visual Recognition, ICCV 2021, table 2.
Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021 (patches, class token, layers).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_models.blocks import encoder_layer
from accel_models.errors import unknown_name
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.errors import SpaceError
from cosearch.space import Genomes, Knob, NetworkSpace


class _Plan(NamedTuple):
    """What there is to choose from in one of the spaces."""

    name: str
    embeddings: tuple[int, ...]
    ratios_percent: tuple[int, ...]
    heads: tuple[int, ...]
    depths: tuple[int, ...]


_PLANS = {
    "tiny": _Plan("autoformer", (192, 216, 240), (350, 400), (3, 4), (12, 13, 14)),
    "small": _Plan("autoformer-small", (320, 384, 448), (300, 350, 400), (5, 6, 7), (12, 13, 14)),
    "base": _Plan("autoformer-base", (528, 576, 624), (300, 350, 400), (9, 10), (14, 15, 16)),
}
_IMAGE_PX = 224
_PATCH_PX = 16
_HEAD_WIDTH = 64


class AutoFormer(NetworkSpace):
    """Sub-networks of one of AutoFormer's supernets, for images of 224 px in patches of 16.

    One embedding and one depth; per layer the perceptron's width in per cent of the embedding, and heads of 64 channels
    each. Features are averaged over the patches before the classifier, as AutoFormer's own training does.

    AutoFormer also learns relative positions in every attention (7,680 parameters a layer, and the products with them);
    these are left out, as its own count of complexity nearly does.

    Parameters
    ----------
    plan
        "tiny", "small" or "base".

    Raises
    ------
    SpaceError
        If there is no such supernet.
    """

    def __init__(self, plan: str = "tiny") -> None:
        if plan not in _PLANS:
            raise SpaceError("AutoFormer: " + unknown_name("plan", str(plan), _PLANS))
        self.plan, self._plan = plan, _PLANS[plan]
        self.name, embeddings, ratios, heads, depths = self._plan
        depth = f"{depths[0]}-{depths[-1]}"
        self.summary = f"AutoFormer {plan}: vision transformers, embedding {_span(embeddings)}, depth {depth}, 224 px"
        layers = range(1, depths[-1] + 1)
        self.knobs = (
            Knob("embedding", embeddings, "channels"),
            Knob("depth", depths),
            *(Knob(f"mlp_ratio_{layer}", ratios, "%") for layer in layers),
            *(Knob(f"heads_{layer}", heads) for layer in layers),
        )

    def __reduce__(self) -> tuple[type[AutoFormer], tuple[str]]:
        """Travel to another process as the plan's name."""
        return type(self), (self.plan,)

    @property
    def size(self) -> int:
        """Number of different networks."""
        layer = len(self._plan.ratios_percent) * len(self._plan.heads)
        return len(self._plan.embeddings) * sum(layer**depth for depth in self._plan.depths)

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Tell which genes of `genomes` (n, knobs) count: all but those of layers beyond the depth."""
        layers = np.arange(self._plan.depths[-1])
        there = layers < np.array(self._plan.depths)[genomes[:, 1:2]]
        return np.hstack([np.ones((len(genomes), 2), dtype=np.bool_), there, there])

    def network(self, genome: Genomes) -> Network:
        """Return the vision transformer that a genome (knobs,) describes.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        values = self.values(genome)
        embedding = values["embedding"]
        net = NetworkBuilder(self.name, height=_IMAGE_PX)
        net.conv("patches", embedding, _PATCH_PX, stride=_PATCH_PX, padding=0, batch_norm=False, bias=True)
        net.tokens("tokens")
        net.class_token("class_token")
        net.position_embedding("positions")
        for layer in range(1, values["depth"] + 1):
            heads, hidden = values[f"heads_{layer}"], embedding * values[f"mlp_ratio_{layer}"] // 100
            encoder_layer(net, f"layer{layer}", heads, hidden, width=_HEAD_WIDTH * heads)
        tokens = net.layer_norm("norm")
        net.crop("seen", 1, net.shapes[tokens].width - 1, top=0, left=1)
        net.global_pool("pool")
        net.linear("classifier", 1000)
        return net.build("AutoFormer, Chen et al., ICCV 2021")


def _span(choices: tuple[int, ...]) -> str:
    return "/".join(map(str, choices))


def tiny() -> AutoFormer:
    """Return the space of AutoFormer-T (entry point ``autoformer``)."""
    return AutoFormer("tiny")


def small() -> AutoFormer:
    """Return the space of AutoFormer-S (entry point ``autoformer-small``)."""
    return AutoFormer("small")


def base() -> AutoFormer:
    """Return the space of AutoFormer-B (entry point ``autoformer-base``)."""
    return AutoFormer("base")
