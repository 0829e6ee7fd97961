"""The space of HAT: transformers that translate, with an encoder of six layers and a decoder of one to six.

What is elastic is that of the public supernet for WMT (mit-han-lab/hardware-aware-transformers, ``space0``).

References
----------
Wang et al., HAT: Hardware-Aware Transformers for Efficient Natural Language Processing, ACL 2020, section 3.
Vaswani et al., Attention Is All You Need, NeurIPS 2017 (layers, normalised after each sum).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_models.blocks import decoder_layer, encoder_layer
from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.errors import SpaceError
from cosearch.space import Genomes, Knob, NetworkSpace
from cosearch.spaces.variant import read_variant

_LAYERS = 6
_EMBEDDINGS = (512, 640)
_FFN = (1024, 2048, 3072)
_HEADS = (4, 8)
_QKV = 512
_ATTENDED = {-1: 1, 1: 2, 2: 3}
"""How many of the last encoder layers are attended to, by HAT's name for the choice."""

_PER_DECODER_LAYER = ("decoder_ffn", "decoder_heads", "cross_heads", "cross_attention")


class Hat(NetworkSpace):
    """Sub-networks of HAT's supernet for WMT.

    Embeddings of 512 or 640 channels in encoder and decoder; per layer a perceptron of 1024, 2048 or 3072 and 4 or 8 heads;
    per decoder layer the heads of the attention to the encoder, and whether that reads the encoder's last layer (-1), its
    last two (1) or three (2), joined along the length. Queries, keys and values have 512 channels. 4.2e14 networks.

    A network reads one row of embedded tokens, the source's first and the target's behind them, of which it takes as many
    channels as its embedding has, and makes a row of target tokens: one pass with all of them known, as in training, so
    decoding word by word has these multiplications, spread over the steps. As in HAT's own counts of sizes, the table of
    embeddings is left out, and so is the output layer, which is the same table, unless a vocabulary is given.

    Parameters
    ----------
    source_length, target_length
        Tokens; HAT's counts are for 30 of each.
    vocabulary
        Outputs per target token; 0 for no output layer. WMT'14 En-De has 32,768.

    Raises
    ------
    SpaceError
        If a length is less than 1 or the vocabulary negative.
    """

    def __init__(self, source_length: int = 30, target_length: int = 30, vocabulary: int = 0) -> None:
        if min(source_length, target_length) < 1 or vocabulary < 0:
            raise SpaceError(
                f"hat: {source_length} source and {target_length} target tokens, vocabulary {vocabulary}: lengths are at least "
                "1, a vocabulary at least 0"
            )
        self.arguments = (source_length, target_length, vocabulary)
        self._source, self._target, self._vocabulary = self.arguments
        words = [f"s{source_length}", f"t{target_length}"] if (source_length, target_length) != (30, 30) else []
        words += [f"v{vocabulary}"] if vocabulary else []
        self.name = "@".join(["hat", "-".join(words)] if words else ["hat"])
        self.summary = (
            f"HAT (WMT): 6 encoder, 1-6 decoder layers, embedding 512/640, {source_length} and {target_length} tokens"
        )
        kinds = {
            "encoder_ffn": _FFN, "encoder_heads": _HEADS, "decoder_ffn": _FFN, "decoder_heads": _HEADS,
            "cross_heads": _HEADS, "cross_attention": tuple(_ATTENDED),
        }  # fmt: skip
        self.knobs = (
            Knob("encoder_embedding", _EMBEDDINGS, "channels"),
            Knob("decoder_embedding", _EMBEDDINGS, "channels"),
            Knob("decoder_layers", tuple(range(1, _LAYERS + 1))),
            *(Knob(f"{kind}_{layer}", kinds[kind]) for kind in kinds for layer in range(1, _LAYERS + 1)),
        )

    def __reduce__(self) -> tuple[type[Hat], tuple[Any, ...]]:
        """Travel to another process as the arguments."""
        return type(self), self.arguments

    def variant(self, text: str) -> Hat:
        """Return the space at other lengths: ``s`` and ``t`` with source and target tokens, ``v`` with a vocabulary.

        Raises
        ------
        SpaceError
            If a word is none of these or stands twice.
        """
        words = read_variant("hat", text, {"s30": "source tokens", "t30": "target tokens", "v32768": "vocabulary"})
        return Hat(*(words.get(word, (number,))[0] for word, number in zip("stv", self.arguments, strict=True)))

    @property
    def size(self) -> int:
        """Number of different networks."""
        encoders = len(_EMBEDDINGS) ** 2 * (len(_FFN) * len(_HEADS)) ** _LAYERS
        layer = len(_FFN) * len(_HEADS) ** 2 * len(_ATTENDED)
        return encoders * sum(layer**layers for layers in range(1, _LAYERS + 1))

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Tell which genes of `genomes` (n, knobs) count: all but those of decoder layers that are not there."""
        layer = np.array([
            int(knob.name.rpartition("_")[2]) if knob.name.startswith(_PER_DECODER_LAYER) else 0 for knob in self.knobs
        ])  # fmt: skip
        return layer <= genomes[:, 2:3] + 1

    def network(self, genome: Genomes) -> Network:
        """Return the transformer that a genome (knobs,) describes.

        Raises
        ------
        SpaceError
            If the genome is not one of this space.
        """
        values = self.values(genome)
        net = NetworkBuilder(self.name, max(_EMBEDDINGS), 1, self._source + self._target)
        self._tokens(net, "source", 0, self._source, values["encoder_embedding"])
        made = []
        for layer in range(1, _LAYERS + 1):
            heads, ffn = values[f"encoder_heads_{layer}"], values[f"encoder_ffn_{layer}"]
            name = f"encoder{layer}"
            made.append(encoder_layer(net, name, heads, ffn, width=_QKV, norm_first=False, activation="relu"))
        read: dict[int, str] = {1: made[-1]}
        for layer in range(1, values["decoder_layers"] + 1):
            count = _ATTENDED[values[f"cross_attention_{layer}"]]
            if count not in read:
                read[count] = net.concat(f"encoded{count}", *made[-count:], along="width")
        self._tokens(net, "target", self._source, self._target, values["decoder_embedding"])
        for layer in range(1, values["decoder_layers"] + 1):
            decoder_layer(
                net,
                f"decoder{layer}",
                values[f"decoder_heads_{layer}"],
                values[f"decoder_ffn_{layer}"],
                read[_ATTENDED[values[f"cross_attention_{layer}"]]],
                memory_heads=values[f"cross_heads_{layer}"],
                width=_QKV,
                activation="relu",
            )
        if self._vocabulary:
            net.conv("words", self._vocabulary, 1, batch_norm=False)
        return net.build("HAT, Wang et al., ACL 2020")

    def _tokens(self, net: NetworkBuilder, name: str, first: int, length: int, channels: int) -> None:
        """Take the tokens of the source or the target, as wide as their embedding."""
        made = net.crop(f"{name}.tokens", 1, length, x="input", top=0, left=first)
        if channels < max(_EMBEDDINGS):
            net.slice_channels(f"{name}.embedding", 0, channels, x=made)
