"""Elastic depth, kernel and expand ratio: small spaces, small enough to walk through every genome."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.errors import SpaceError
from cosearch.space import Genomes, Knob
from cosearch.spaces.elastic import Block, ElasticSpace


class Small(ElasticSpace):
    """Inverted bottlenecks of 8 channels at full width, as many as the genome says, after what its stem says."""

    def network(self, genome: Genomes) -> Network:
        net = NetworkBuilder(self.name, channels=8, height=self.knobs[0].choices[int(genome[0])])
        for knob, value in zip(self.stem, self.stem_values(genome), strict=True):
            net.conv(knob.name, 8, value)
        for block in self.blocks(genome):
            channels = 8 * block.width // 100
            net.mbconv(f"stage{block.stage}.block{block.block}", channels, block.kernel, block.expand)
        return net.build()


def small(**options) -> Small:
    shape = {"resolutions": (8, 12), "depths": ((1, 2), (1, 2, 3)), "kernels": (3, 5), "expands": (3,)}
    return Small("small", "a small space", **{**shape, **options})


def every_genome(space: ElasticSpace) -> Genomes:
    return np.array(list(itertools.product(*(range(len(knob.choices)) for knob in space.knobs))))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resolutions": (8,), "kernels": (3, 5, 7)},
        {"resolutions": (8,), "depths": ((1, 2), (1, 2)), "expands": (2, 3)},
        {"depths": ((2, 3), (1,))},  # a last stage of one fixed block, as OFA-ProxylessNAS has
        {"depths": ((2,),), "kernels": (3,), "expands": (2, 3, 4)},
        {"resolutions": (8,), "widths": (50, 100)},
        {"kernels": (3,), "expands": (2, 3), "stem": (Knob("first", (1, 3)), Knob("second", (1, 3, 5)))},
    ],
)
def test_the_size_is_the_number_of_different_networks(options):
    space = small(**options)
    genomes = every_genome(space)
    canonical = np.unique(space.canonical(genomes), axis=0)
    assert len(canonical) == space.size
    assert len({(network.nodes, network.input) for network in map(space.network, canonical)}) == space.size


def test_genomes_describe_one_network_exactly_where_they_are_canonically_equal():
    space = small()
    genomes = every_genome(space)
    seen: dict[tuple[int, ...], Network] = {}
    for genome, canonical in zip(genomes, space.canonical(genomes), strict=True):
        network = space.network(genome)
        assert seen.setdefault(tuple(canonical), network) == network
    assert len(seen) == space.size < len(genomes)


def test_canonical_is_what_a_loop_over_the_blocks_would_do():
    space = small()
    for genome, canonical in zip(every_genome(space), space.canonical(every_genome(space)), strict=True):
        expected = genome.copy()
        for block in range(5):  # two blocks of stage 1, three of stage 2
            stage, rank = (0, block) if block < 2 else (1, block - 2)
            if rank >= space.depths[stage][genome[1 + stage]]:
                expected[3 + block] = expected[8 + block] = 0
        assert canonical.tolist() == expected.tolist()


def test_blocks_are_the_active_ones_from_input_to_output():
    space = small(expands=(2, 3))
    values = {"depth_1": 1, "depth_2": 2, "kernel_1": 5, "kernel_2": 5, "kernel_3": 3, "kernel_4": 5, "expand_4": 3}
    assert space.blocks(space.genome(values)) == [Block(1, 1, 5, 2), Block(2, 1, 3, 2), Block(2, 2, 5, 3)]


def test_knobs_of_stem_and_widths_come_before_those_of_blocks_and_always_count():
    space = small(kernels=(3,), expands=(2, 3), widths=(50, 100), stem=(Knob("stem", (1, 3)),), expand_unit="x")
    names = ["resolution", "depth_1", "depth_2", "stem", "width_1", "width_2", *(f"expand_{b}" for b in range(1, 6))]
    assert [knob.name for knob in space.knobs] == names
    assert {knob.name: knob.unit for knob in space.knobs if knob.unit} == {
        **{"resolution": "px", "width_1": "%", "width_2": "%"},
        **{f"expand_{block}": "x" for block in range(1, 6)},
    }
    genome = space.genome({"depth_2": 2, "stem": 3, "width_2": 100, "expand_3": 3, "expand_5": 3})
    assert space.stem_values(genome) == (3,)
    assert space.blocks(genome) == [Block(1, 1, 3, 2, 50), Block(2, 1, 3, 3, 100), Block(2, 2, 3, 2, 100)]
    assert space.active(genome[None])[0].tolist() == [True] * 6 + [True, False, True, True, False]


def test_a_genome_outside_the_space_is_refused():
    with pytest.raises(SpaceError, match=r"space 'small': gene 3 of depth_2 is outside 0\.\.2"):
        small().blocks(np.array([0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
