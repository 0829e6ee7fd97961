"""AttentiveNAS's space: the published networks' multiply-accumulates, and its networks in torch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from accel_models.description import plain, read_yaml
from accel_models.workload import Layer
from cosearch.space import Genomes
from cosearch.spaces.attentive_nas import AttentiveNas

space = AttentiveNas()

# AttentiveNAS's README: A0 to A6, M MACs
PUBLISHED = {"a0": 203, "a1": 279, "a2": 317, "a3": 357, "a4": 444, "a5": 491, "a6": 709}


def genome_of(config: dict) -> Genomes:
    values = {"resolution": config["resolution"], "stem_width": config["width"][0], "kernel_8": 1, "expand_8": 6}
    values |= {f"width_{stage}": width for stage, width in enumerate(config["width"][1:], 1)}
    for name, key in (("kernel", "kernel_size"), ("expand", "expand_ratio"), ("depth", "depth")):
        values |= {f"{name}_{stage}": value for stage, value in enumerate(config[key], 1)}
    return space.genome(values)


def test_published_networks_have_their_published_macs(shared_data):
    file = shared_data / "attentivenas_alphanet" / "eval_attentive_nas_models.yml"
    configs = plain(read_yaml(file.read_bytes(), file.name))["pareto_models"]
    found = {name: space.network(genome_of(configs[name])).macs / 1e6 for name in PUBLISHED}
    for name, published in PUBLISHED.items():
        assert found[name] == pytest.approx(published, abs=0.51), name  # printed as whole millions


def test_what_there_is_to_choose_is_the_published_supernets(shared_data):
    file = shared_data / "attentivenas_alphanet" / "eval_attentive_nas_models.yml"
    config = plain(read_yaml(file.read_bytes(), file.name))["supernet_config"]
    choices = {knob.name: knob.choices for knob in space.knobs}
    assert choices["resolution"] == tuple(config["resolutions"])
    assert choices["stem_width"] == tuple(config["first_conv"]["c"])
    assert choices["width_8"] == tuple(config["last_conv"]["c"])
    for stage in range(1, 8):
        told = config[f"mb{stage}"]
        named = (choices[f"{kind}_{stage}"] for kind in ("width", "depth", "kernel", "expand"))
        assert list(named) == [tuple(told[key]) for key in "cdkt"]


def test_every_gene_counts_and_the_size_is_their_product():
    genomes = space.sample_genomes(np.random.default_rng(0), 20)
    assert space.active(genomes).all()
    assert space.size == int(np.prod(space.choices_per_knob))


def test_the_smallest_network_layer_by_layer():
    network = space.network(np.zeros(len(space.knobs), dtype=np.int64))
    layers = dict(network.layers)
    assert layers["stem"] == Layer(K=16, C=3, P=96, Q=96, R=3, S=3, stride_w=2, stride_h=2)
    assert layers["mb3.block1.depthwise"] == Layer(G=96, P=24, Q=24, R=3, S=3, stride_w=2, stride_h=2)
    assert layers["mb3.block1.se.reduce"] == Layer(K=24, C=96)
    assert layers["mb3.block1.shortcut.conv"] == Layer(K=32, C=24, P=24, Q=24)  # after an average pool
    assert layers["head.expand"] == Layer(K=1296, C=216, P=6, Q=6)
    assert layers["head.mix"] == Layer(K=1792, C=1296)
    names = {node.name for node in network.nodes}
    assert "mb3.block1.shortcut.pool" in names
    assert "mb1.block1.shortcut.conv" not in names  # 16 channels in and out: passed on as they are
    assert {f"mb{stage}.block1.add" for stage in range(1, 8)} <= names


def test_it_travels():
    assert pickle.loads(pickle.dumps(space)).sample(seed=2) == space.sample(seed=2)


def test_its_networks_run_in_torch():
    torch = pytest.importorskip("torch")
    from cosearch.supernet.network_module import NetworkModule

    network = space.network(np.zeros(len(space.knobs), dtype=np.int64))
    module = NetworkModule(network).eval()
    with torch.no_grad():
        assert module(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    assert sum(tensor.numel() for tensor in module.parameters()) == network.params
