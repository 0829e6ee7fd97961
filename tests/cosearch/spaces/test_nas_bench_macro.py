"""NAS-Bench-Macro: the benchmark's digits and its published counts, all of them; and that the networks run."""

from __future__ import annotations

import csv
import pickle

import numpy as np
import pytest

from cosearch.errors import SpaceError
from cosearch.spaces.nas_bench_macro import NasBenchMacro

space = NasBenchMacro()


def test_there_are_as_many_networks_as_the_benchmark_trained():
    assert space.size == 6_561
    genomes = space.sample_genomes(np.random.default_rng(0), 100)
    assert (space.canonical(genomes) == genomes).all()


def test_a_network_is_read_and_written_in_the_benchmarks_form():
    genome = space.parse("01220012")
    assert list(space.values(genome).values()) == [
        "identity", "mb3_k3", "mb6_k5", "mb6_k5", "identity", "identity", "mb3_k3", "mb6_k5"
    ]  # fmt: skip
    assert space.format(genome) == "01220012"


@pytest.mark.parametrize("text", ["", "0122001", "012200123", "01220013", "0122-012"])
def test_a_text_that_is_no_network_is_refused(text):
    with pytest.raises(SpaceError, match=f"cannot read the network '{text}'; its form is 8 digits of 0, 1, 2"):
        space.parse(text)


def test_published_counts_without_data_at_hand():
    """From the benchmark's table, github.com/xiusu/NAS-Bench-Macro."""
    for digits, macs, params in (("00000000", 7_713_280, 387_882), ("00000002", 20_910_592, 1_219_370)):
        network = space.network(space.parse(digits))
        assert (network.macs, network.params) == (macs, params)


def test_all_published_counts_are_met(shared_data):
    """Every seventh row of the table; the layers of a network repeat, so all that can differ is met many times."""
    with (shared_data / "nasbench_macro" / "nasbench_macro_cifar10.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == space.size
    for row in rows[::7]:
        network = space.network(space.parse(row["arch"]))
        assert (network.macs, network.params) == (int(row["flops"]), int(row["params"])), row["arch"]


def test_it_travels_as_nothing():
    assert pickle.loads(pickle.dumps(space)).size == space.size


@pytest.mark.parametrize("digits", ["00000000", "01220012", "22212202"])
def test_the_networks_run(digits):
    torch = pytest.importorskip("torch")
    from cosearch.supernet.network_module import NetworkModule

    network = space.network(space.parse(digits))
    module = NetworkModule(network).eval()
    assert sum(values.numel() for values in module.parameters()) == network.params
    assert module(torch.randn(2, 3, 32, 32)).shape == (2, 10)
