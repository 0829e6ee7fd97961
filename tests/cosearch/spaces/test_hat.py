"""HAT's space: a published network's size, counts by a slow twin, and its attention against torch's own layers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosearch.errors import SpaceError
from cosearch.spaces import load_space
from cosearch.spaces.hat import Hat

space = Hat()
ATTENDED = {-1: 1, 1: 2, 2: 3}


def values_of(ffn: tuple, heads: tuple, decoder_ffn: tuple, decoder: tuple, cross: tuple, attended: tuple) -> dict:
    values = {"encoder_embedding": 512, "decoder_embedding": 512, "decoder_layers": len(decoder_ffn)}
    kinds = {
        "encoder_ffn": ffn, "encoder_heads": heads, "decoder_ffn": decoder_ffn, "decoder_heads": decoder,
        "cross_heads": cross, "cross_attention": attended,
    }  # fmt: skip
    return values | {f"{kind}_{layer}": value for kind, each in kinds.items() for layer, value in enumerate(each, 1)}


# HAT_wmt14ende_raspberrypi@6.9s_bleu@28.4.yml of mit-han-lab/hardware-aware-transformers
RASPBERRY_PI = values_of(
    (3072,) * 6, (8, 4, 8, 8, 8, 8), (2048, 2048, 3072, 3072, 2048), (8, 8, 8, 4, 8), (4, 8, 8, 8, 8), (-1, 1, 1, 1, -1)
)


def counts(values: dict[str, int], source: int, target: int, vocabulary: int) -> tuple[int, int]:
    """MACs and parameters by plain arithmetic; heads split the work and change neither."""
    macs = params = 0

    def attend(asking: int, width: int, attended: int, attended_width: int) -> None:
        nonlocal macs, params
        macs += asking * width * 512 * 2 + 2 * attended * attended_width * 512 + 2 * asking * attended * 512
        params += 2 * width * 512 + 512 + width + 2 * (attended_width * 512 + 512) + 2 * width

    def perceive(tokens: int, width: int, hidden: int) -> None:
        nonlocal macs, params
        macs += 2 * tokens * width * hidden
        params += 2 * width * hidden + hidden + width + 2 * width

    encoder, decoder = values["encoder_embedding"], values["decoder_embedding"]
    for layer in range(1, 7):
        attend(source, encoder, source, encoder)
        perceive(source, encoder, values[f"encoder_ffn_{layer}"])
    for layer in range(1, values["decoder_layers"] + 1):
        attend(target, decoder, target, decoder)
        attend(target, decoder, source * ATTENDED[values[f"cross_attention_{layer}"]], encoder)
        perceive(target, decoder, values[f"decoder_ffn_{layer}"])
    return macs + target * decoder * vocabulary, params + decoder * vocabulary


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(30, 30, 0), (7, 12, 100)]))
def test_counts_are_the_slow_twins(seed, lengths):
    here = Hat(*lengths)
    genome = here.sample_genomes(np.random.default_rng(seed), 1)[0]
    network = here.network(genome)
    assert (network.macs, network.params) == counts(here.values(genome), *lengths)


def test_the_published_network_for_a_raspberry_pi_has_its_published_size():
    # HAT's paper and Papers with Code: 48 M parameters at BLEU 28.4 (the tables of embeddings not counted)
    network = space.network(space.genome(RASPBERRY_PI))
    assert network.params / 1e6 == pytest.approx(48, abs=0.5)


def test_knobs_and_size_are_the_supernets():
    # space0.yml: embeddings {640, 512}, FFN {3072, 2048, 1024}, heads {8, 4}, decoder layers 1-6, attention {-1, 1, 2}
    choices = {knob.name: knob.choices for knob in space.knobs}
    assert choices["encoder_embedding"] == choices["decoder_embedding"] == (512, 640)
    assert choices["decoder_layers"] == (1, 2, 3, 4, 5, 6)
    assert choices["encoder_ffn_6"] == choices["decoder_ffn_1"] == (1024, 2048, 3072)
    assert choices["encoder_heads_1"] == choices["decoder_heads_6"] == choices["cross_heads_3"] == (4, 8)
    assert choices["cross_attention_6"] == (-1, 1, 2)
    assert space.size == 4 * 6**6 * sum(36**layers for layers in range(1, 7))


def test_genes_of_absent_decoder_layers_do_not_count():
    genome = np.ones(len(space.knobs), dtype=np.int64)  # two decoder layers
    inactive = {knob.name for knob, on in zip(space.knobs, space.active(genome[None])[0], strict=True) if not on}
    kinds = ("decoder_ffn", "decoder_heads", "cross_heads", "cross_attention")
    assert inactive == {f"{kind}_{layer}" for kind in kinds for layer in range(3, 7)}
    assert space.network(genome) == space.network(space.canonical(genome[None])[0])


def test_encoder_layers_are_joined_once_per_choice():
    names = [node.name for node in space.network(space.genome(RASPBERRY_PI)).nodes]
    assert names.count("encoded2") == 1
    assert "encoded3" not in names


def test_lengths_are_named_and_travel():
    here = load_space("hat@s20-t25-v1000")
    assert (here.name, here.arguments) == ("hat@s20-t25-v1000", (20, 25, 1000))
    assert pickle.loads(pickle.dumps(here)).sample(seed=2) == here.sample(seed=2)
    for part, said in (("x3", "cannot read 'x3'"), ("s20-s30", "cannot read 's30'"), ("s0", "0 source and 30 target")):
        with pytest.raises(SpaceError, match=said):
            load_space(f"hat@{part}")


def test_a_decoder_layer_attends_to_joined_encoder_layers_as_torchs_own_does():
    torch = pytest.importorskip("torch")
    from cosearch.supernet.network_module import NetworkModule

    here = Hat(5, 4)
    torch.manual_seed(0)
    module = NetworkModule(here.network(here.genome(RASPBERRY_PI | {"cross_attention_1": 2}))).eval()
    own = torch.nn.TransformerDecoderLayer(512, 8, 2048, batch_first=True).eval()
    own.multihead_attn.num_heads, own.multihead_attn.head_dim = 4, 128
    state = module.state_dict()

    def copy(attention, name: str) -> None:
        parts = [
            (state[f"{name}.{part}.weight"][:, :, 0, 0], state[f"{name}.{part}.bias"])
            for part in ("query", "key", "value")
        ]
        attention.in_proj_weight.copy_(torch.cat([weight for weight, _ in parts]))
        attention.in_proj_bias.copy_(torch.cat([bias for _, bias in parts]))
        linear(attention.out_proj, f"{name}.project")

    def linear(layer, name: str) -> None:
        layer.weight.copy_(state[f"{name}.weight"][:, :, 0, 0])
        layer.bias.copy_(state[f"{name}.bias"])

    with torch.no_grad():
        for name in state:  # so that every bias makes a difference
            if name.endswith("bias"):
                state[name].uniform_(-0.1, 0.1)
        copy(own.self_attn, "decoder1.attention")
        copy(own.multihead_attn, "decoder1.cross")
        linear(own.linear1, "decoder1.mlp.expand")
        linear(own.linear2, "decoder1.mlp.project")
        for number, norm in enumerate((own.norm1, own.norm2, own.norm3), 1):
            norm.load_state_dict({key: state[f"decoder1.norm{number}.{key}"] for key in ("weight", "bias")})
        tensors = module.tensors(torch.randn(2, 640, 1, 9))
        encoded = [tensors[f"encoder{layer}.norm2"].squeeze(2).transpose(1, 2) for layer in (4, 5, 6)]
        target = tensors["target.embedding"].squeeze(2).transpose(1, 2)
        causal = torch.nn.Transformer.generate_square_subsequent_mask(4)
        expected = own(target, torch.cat(encoded, dim=1), tgt_mask=causal)
        found = tensors["decoder1.norm3"].squeeze(2).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert module(torch.randn(2, 640, 1, 9)).shape == (2, 512, 1, 4)
