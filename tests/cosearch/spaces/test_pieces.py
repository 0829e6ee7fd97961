"""Properties of every space whose networks are put together from pieces: genes, canonical form, shared nodes."""

from __future__ import annotations

import pickle

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cosearch.space import Genomes
from cosearch.spaces.mcunet import McuNet
from cosearch.spaces.ofa_mobilenet_v3 import OfaMobileNetV3
from cosearch.spaces.ofa_proxyless import OfaProxyless
from cosearch.spaces.ofa_resnet50 import OfaResNet50
from cosearch.spaces.pieces import PiecewiseSpace

SPACES = {
    space.name: space for space in (OfaMobileNetV3(), OfaMobileNetV3(1.2), OfaProxyless(), OfaResNet50(), McuNet())
}
spaces = st.sampled_from(list(SPACES.values()))


def genomes_of(space: PiecewiseSpace) -> st.SearchStrategy[Genomes]:
    return st.tuples(*(st.integers(0, len(knob.choices) - 1) for knob in space.knobs)).map(np.array)


def inactive_genes(space: PiecewiseSpace, genome: Genomes) -> list[int]:
    """Return where the genes of blocks beyond their stage's depth are, found by name and one at a time."""
    names = [knob.name for knob in space.knobs]
    values = space.values(genome)
    inactive, first = [], 1
    for stage, choices in enumerate(space.depths, 1):
        for block in range(first + values[f"depth_{stage}"], first + choices[-1]):
            inactive += [names.index(name) for name in (f"kernel_{block}", f"expand_{block}") if name in names]
        first += choices[-1]
    return inactive


@settings(max_examples=60)
@given(spaces, st.data())
def test_inactive_genes_do_not_matter(space, data):
    genome = data.draw(genomes_of(space))
    other = data.draw(genomes_of(space))
    inactive = inactive_genes(space, genome)
    changed = genome.copy()
    changed[inactive] = other[inactive]
    both = space.canonical(np.stack([genome, changed]))
    assert both[0].tolist() == both[1].tolist()
    assert not both[0][inactive].any()
    assert space.network(genome) == space.network(changed) == space.network(both[0])


@settings(max_examples=60)
@given(spaces, st.data())
def test_an_active_gene_makes_another_network(space, data):
    genome = space.canonical(data.draw(genomes_of(space))[None])[0]
    counting = sorted(set(range(len(genome))) - set(inactive_genes(space, genome)))
    gene = data.draw(st.sampled_from([gene for gene in counting if space.choices_per_knob[gene] > 1]))
    changed = genome.copy()
    changed[gene] = (changed[gene] + 1) % space.choices_per_knob[gene]
    assert space.canonical(changed[None])[0].tolist() != genome.tolist()
    assert space.network(changed) != space.network(genome)


@settings(max_examples=100)
@given(spaces, st.data())
def test_canonical_and_named_values_are_consistent(space, data):
    genome = data.draw(genomes_of(space))
    canonical = space.canonical(genome[None])
    assert (space.canonical(canonical) == canonical).all()
    assert (space.genome(space.values(genome)) == canonical[0]).all()
    assert (space.genome(space.active_values(genome)) == canonical[0]).all()


@settings(max_examples=40)
@given(spaces, st.data())
def test_a_random_network_is_a_sound_graph_and_counts_as_its_layers_do(space, data):
    network = space.network(data.draw(genomes_of(space)))
    assert network.macs == sum(layer.macs for _, layer in network.layers)
    assert network.params == sum(node.params for node in network.nodes)
    assert nx.is_directed_acyclic_graph(network.graph)
    assert [node for node, readers in network.graph.out_degree if not readers] == ["classifier"]
    assert (network.name, bool(network.source)) == (space.name, True)


@pytest.mark.parametrize("name", SPACES)
def test_networks_share_the_nodes_of_blocks_they_share(name):
    space = SPACES[name]
    depths = {knob.name: knob.choices[-1] for knob in space.knobs if knob.name.startswith("depth_")}
    last_of_stage_4 = sum(choices[-1] for choices in space.depths[:4])
    small, large = (
        space.network(space.genome({**depths, f"expand_{last_of_stage_4}": ratio}))
        for ratio in (space.expands[0], space.expands[-1])
    )
    different = {left.name for left, right in zip(small.nodes, large.nodes, strict=True) if left is not right}
    assert different
    assert all(node.startswith(f"stage4.block{space.depths[3][-1]}.") for node in different)
    alone = type(space)(*space.arguments)  # nothing cached
    assert large == alone.network(alone.genome({**depths, f"expand_{last_of_stage_4}": space.expands[-1]}))


@pytest.mark.parametrize("name", SPACES)
def test_a_space_travels_without_what_it_has_built(name):
    space = SPACES[name]
    expected = space.sample(seed=1)
    assert len(pickle.dumps(space)) < 200
    there = pickle.loads(pickle.dumps(space))
    assert (there.name, there.size, there.sample(seed=1)) == (space.name, space.size, expected)


@pytest.mark.parametrize("name", SPACES)
def test_a_sample_depends_on_its_seed_alone(name):
    space = SPACES[name]
    assert space.sample(seed=7) == type(space)(*space.arguments).sample(seed=7)
    assert space.sample(seed=7) != space.sample(seed=8)
