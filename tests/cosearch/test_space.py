"""Knobs, genomes and the codec between them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.errors import CosearchError, SpaceError
from cosearch.space import Genomes, Knob, NetworkSpace, Space


class Toy(NetworkSpace):
    """Two layers at most: the width of the second does not count where there is only one."""

    name = "toy"
    summary = "one or two layers"
    knobs = (Knob("layers", (1, 2)), Knob("first", (8, 16, 24), "channels"), Knob("second", (8, 16), "channels"))

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        counts = np.ones(genomes.shape, dtype=np.bool_)
        counts[:, 2] = genomes[:, 0] == 1
        return counts

    def network(self, genome: Genomes) -> Network:
        values = self.values(genome)
        net = NetworkBuilder("toy", height=8)
        net.conv("first", values["first"], 3)
        if values["layers"] == 2:
            net.conv("second", values["second"], 3)
        return net.build()

    @property
    def size(self) -> int:
        return 3 * 1 + 3 * 2


class Named(Space):
    """A space whose choices are names, and whose genes all count."""

    name = "named"
    summary = "a dataflow"
    knobs = (Knob("dataflow", ("weight_stationary", "output_stationary")), Knob("double_buffering", (False, True)))


toy = Toy()
toy_genomes = st.tuples(*(st.integers(0, len(knob.choices) - 1) for knob in toy.knobs)).map(np.array)


@given(toy_genomes)
def test_canonical_is_idempotent_and_leaves_its_input_alone(genome):
    before = genome.copy()
    once = toy.canonical(genome[None])
    assert (genome == before).all()
    assert (toy.canonical(once) == once).all()


@given(toy_genomes)
def test_canonical_sets_what_does_not_count_to_0_and_nothing_else(genome):
    active = toy.active(genome[None])[0]
    assert toy.canonical(genome[None])[0].tolist() == [
        gene if counts else 0 for gene, counts in zip(genome, active, strict=True)
    ]
    assert toy.active_values(genome) == {
        name: value for name, value in toy.values(genome).items() if name != "second" or genome[0] == 1
    }


@given(toy_genomes)
def test_named_values_and_genomes_are_two_spellings(genome):
    canonical = toy.canonical(genome[None])[0]
    values = toy.values(genome)
    assert list(values) == ["layers", "first", "second"]
    assert (toy.genome(values) == canonical).all()


@given(toy_genomes)
def test_numbers_are_the_chosen_values(genome):
    assert toy.numbers(genome[None])[0].tolist() == list(toy.values(genome).values())


def test_knobs_that_are_not_named_take_their_first_choice():
    assert toy.genome({"layers": 2, "second": 16}).tolist() == [1, 0, 1]
    assert toy.genome({"second": 16}).tolist() == [0, 0, 0]  # one layer: the second does not count
    assert Named().genome({"double_buffering": True}).tolist() == [0, 1]


def test_a_sample_depends_on_its_seed_alone():
    assert toy.sample(seed=3) == toy.sample(seed=3)
    assert len({toy.sample(seed).params for seed in range(40)}) > 3
    first = toy.sample_genomes(np.random.default_rng(1), 50)
    assert (first == toy.sample_genomes(np.random.default_rng(1), 50)).all()
    assert first.shape == (50, 3)
    assert first.dtype == np.int64


def test_a_sample_is_canonical_and_reaches_every_network():
    drawn = toy.sample_genomes(np.random.default_rng(0), 500)
    assert (toy.canonical(drawn) == drawn).all()
    assert len(np.unique(drawn, axis=0)) == toy.size == 9


def test_an_ordinary_space_has_no_genes_that_do_not_count():
    genomes = Named().sample_genomes(np.random.default_rng(0), 20)
    assert (Named().canonical(genomes) == genomes).all()
    assert Named().values(np.array([1, 1])) == {"dataflow": "output_stationary", "double_buffering": True}


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: Knob("width", ()), "knob 'width' has no choices"),
        (lambda: Knob("width", (8, 16, 8)), "knob 'width' lists a choice twice"),
        (lambda: toy.knobs[1].index(12), r"first = 12 is not one of \[8, 16, 24\]"),
        (lambda: toy.genome({"first": 12}), r"first = 12 is not one of \[8, 16, 24\]"),
        (lambda: toy.genome({"frist": 8}), "space 'toy': unknown knob 'frist': did you mean 'first'"),
        (lambda: toy.values(np.array([0, 0])), "space 'toy': a genome has 3 genes, not 2"),
        (lambda: toy.network(np.array([0, 0, 0, 0])), "a genome has 3 genes, not 4"),
        (lambda: toy.check(np.array([[0, 0, 0]])), "a genome has 3 genes"),
        (lambda: toy.values(np.array([0, 3, 0])), r"space 'toy': gene 3 of first is outside 0\.\.2"),
        (lambda: toy.values(np.array([-1, 0, 0])), r"space 'toy': gene -1 of layers is outside 0\.\.1"),
    ],
)
def test_what_a_space_does_not_hold_is_refused_with_the_reason(act, said):
    with pytest.raises(SpaceError, match=said):
        act()


def test_one_base_class_catches_every_error():
    assert issubclass(SpaceError, CosearchError)
    assert issubclass(SpaceError, ValueError)
