"""The table of costs against whole networks; its layout, read by hand; what it refuses and why."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest

from accel_models.accelerator import Accelerator
from accel_models.description import load_target, with_values
from accel_models.errors import MappingError
from accel_models.network_builder import NetworkBuilder
from accel_models.targets import asic
from accel_models.workload import Network, Node, VectorOp
from cosearch.cost_table import CostTable, make_cost_table
from cosearch.errors import SearchError, SpaceError
from cosearch.evaluate import MappingOptions
from cosearch.space import Genomes, Knob
from cosearch.spaces.elastic import Block
from cosearch.spaces.joint import FixedNetwork
from cosearch.spaces.ofa_mobilenet_v3 import OfaMobileNetV3
from cosearch.spaces.ofa_proxyless import OfaProxyless
from cosearch.spaces.ofa_resnet50 import OfaResNet50
from cosearch.spaces.piece_index import PieceIndex
from cosearch.spaces.pieces import PiecewiseSpace

RESOLUTIONS = {"ofa-mobilenet-v3": (160, 128), "ofa-proxyless": (128,), "ofa-resnet50": (128,)}

Build = Callable[[NetworkBuilder, Block], None]


@pytest.fixture(scope="module")
def nvdla() -> Accelerator:
    return load_target("nvdla_256")


@pytest.fixture(scope="module", params=[OfaMobileNetV3, OfaProxyless, OfaResNet50], ids=lambda each: each.__name__)
def table(request, nvdla) -> CostTable:
    space = request.param()
    return make_cost_table(space, nvdla, resolutions=RESOLUTIONS[space.name])


class Small(PiecewiseSpace):
    """Two stages of one or two blocks, each built by a function that a test gives."""

    source = "a test"

    def __init__(self, block: Build, *, widths: tuple[int, ...] = (100,), exit_too: bool = True) -> None:
        self._build, self._exit_too = block, exit_too
        super().__init__(
            "small",
            "a small space",
            resolutions=(8, 12),
            depths=((1, 2), (1, 2)),
            kernels=(1, 3),
            expands=(1, 2),
            widths=widths,
            stem=(Knob("stem_width", (8, 16)), Knob("stem_kernel", (1, 3))),
        )

    def add_entrance(self, net: NetworkBuilder, stem: tuple[int, ...]) -> None:
        net.conv("stem", stem[0], stem[1], stride=2, activation="relu")

    def add_block(self, net: NetworkBuilder, block: Block) -> None:
        self._build(net, block)

    def add_exit(self, net: NetworkBuilder) -> None:
        if self._exit_too:
            net.global_pool("pool")
            net.linear("classifier", 10)


def plain(net: NetworkBuilder, block: Block) -> None:
    """A bottleneck whose width is in units of 4 channels per 100 %, and whose first block shrinks the image."""
    name, stride = f"{block.stage}.{block.block}", 2 if block.block == 1 else 1
    net.mbconv(name, 4 * block.stage * block.width // 100, block.kernel, block.expand, stride=stride)


def some(space: PiecewiseSpace, resolutions: tuple[int, ...], count: int) -> Genomes:
    """Genomes of some resolutions: random ones, the first and the last choice of every knob, the shallow and the deep."""
    rng = np.random.default_rng(7)
    genomes = rng.integers(0, space.choices_per_knob, size=(count + 4, len(space.knobs)))
    genomes[0], genomes[1] = 0, space.choices_per_knob - 1
    depth = space.columns.depth
    genomes[2, depth], genomes[3, depth] = 0, space.choices_per_knob[depth] - 1
    genomes[:, 0] = np.resize([space.knobs[0].index(resolution) for resolution in resolutions], len(genomes))
    return genomes


def check(table: CostTable, genomes: Genomes, machine: Accelerator) -> None:
    """Compare with networks evaluated one by one: cycles and sizes exactly, energies to 1e-12."""
    latency_s, energy_j = table.costs(genomes)
    macs, params = table.sizes(genomes)
    cache: asic.Cache = {}
    for row, genome in enumerate(genomes):
        network = table.index.space.network(genome)
        asic.find_mappings(network.distinct_layers, machine, cache, "edp", "exact", 1, 0)
        latency, energy = asic.totals(network, machine, cache)
        assert latency_s[row] == latency
        assert energy_j[row] == pytest.approx(energy, rel=1e-12, abs=0)
        assert (macs[row], params[row]) == (network.macs, network.params)


def test_networks_cost_what_they_cost_one_by_one(table, nvdla) -> None:
    check(table, some(table.index.space, table.index.resolutions, 30), nvdla)


def test_genes_that_do_not_count_do_not_count(table) -> None:
    space = table.index.space
    genomes = some(space, table.index.resolutions, 200)
    for one, other in zip(table.costs(genomes), table.costs(space.canonical(genomes)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_larger_than_a_chunk_is_the_same_networks(table) -> None:
    genomes = some(table.index.space, table.index.resolutions, 9000)
    whole = table.costs(genomes)
    for part in (slice(0, 5), slice(4090, 4100), slice(8999, 9004)):
        for one, other in zip(table.costs(genomes[part]), whole, strict=True):
            np.testing.assert_array_equal(one, other[part])
    assert [len(each) for each in table.costs(genomes[:0])] == [0, 0]


def test_the_layout_read_block_by_block_as_a_program_over_stages_reads_it(table) -> None:
    index, space = table.index, table.index.space
    energy = index.parts(table.energy_j)
    genomes = some(space, index.resolutions, 20)
    for genome, expected in zip(genomes, table.costs(genomes)[1], strict=True):
        row = index.resolutions.index(space.knobs[0].choices[genome[0]])
        stems = [len(knob.choices) for knob in space.stem]
        stem = int(np.ravel_multi_index(tuple(genome[space.columns.stem]), stems)) if stems else 0
        total, incoming, last = energy.entrance[row, stem], int(index.tensor_of_stem[stem]), 0
        for block in space.blocks(genome):
            at = np.flatnonzero((space.stage_of_block == block.stage - 1) & (space.rank_of_block == block.block - 1))[0]
            width, kernel = space.widths.index(block.width), space.kernels.index(block.kernel)
            total += energy.blocks[row, at, incoming, width, kernel, space.expands.index(block.expand)]
            incoming = last = width
        total += energy.exit[row, last]
        assert total == pytest.approx(expected, rel=1e-13)


def test_there_is_an_entry_for_every_piece_that_a_network_can_have_and_no_other(table) -> None:
    index, space = table.index, table.index.space
    cycles = index.parts(table.cycles)
    assert not np.isnan(cycles.entrance).any()
    assert not np.isnan(cycles.exit).any()
    incoming, width = np.indices(cycles.blocks.shape[2:4])
    for block, rank in enumerate(space.rank_of_block):
        tensors = index.tensor_of_stem.max() + 1 if block == 0 else len(space.widths)
        possible = incoming == width if rank else incoming < tensors
        there = ~np.isnan(cycles.blocks[:, block])
        assert (there == possible[None, :, :, None, None]).all()
    assert table.cycles[-1] == table.energy_j[-1] == table.macs[-1] == table.params[-1] == 0
    for values in (table.cycles, table.macs, table.params):
        whole = values[~np.isnan(values)]
        assert (whole == np.round(whole)).all()
    assert (np.isnan(table.cycles) == np.isnan(table.energy_j)).all()


def test_resnets_stems_share_a_tensor_by_their_last_width(nvdla) -> None:
    # depth 2 or 3, inner width 65 or 100 %: only the width that is handed on (65, 80, 100 %) makes a difference
    index = PieceIndex(OfaResNet50(), [128, 144])
    assert index.tensor_of_stem.tolist() == [0, 1, 2] * 4
    assert index.parts(np.zeros(index.entries)).blocks.shape == (2, 18, 3, 3, 1, 3)
    assert PieceIndex(OfaMobileNetV3()).parts(np.zeros(4551)).blocks.shape == (25, 20, 1, 1, 3, 3)


def test_threads_change_nothing(nvdla) -> None:
    one, two = (make_cost_table(OfaMobileNetV3(), nvdla, resolutions=[128], threads=threads) for threads in (1, 2))
    for name in ("cycles", "energy_j", "macs", "params"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert one.distinct_layers == two.distinct_layers > 100


def test_leakage_and_a_vector_unit_slower_than_the_array(tiny) -> None:
    machine = with_values(
        tiny,
        {"vector_unit.lanes": 1, "leakage_mw": 40, "buffer.leakage_mw": 3, "dram.shared_bandwidth_words_per_cycle": 64},
    )
    space = Small(plain, widths=(100, 200))
    table = make_cost_table(space, machine)
    genomes = some(space, (8, 12), 40)
    check(table, genomes, machine)
    # it does wait for the vector unit: with more lanes the same networks are faster
    faster = make_cost_table(space, with_values(machine, {"vector_unit.lanes": 64}))
    assert (faster.costs(genomes)[0] < table.costs(genomes)[0]).all()


def test_mappings_are_looked_for_as_asked(tiny) -> None:
    space = Small(plain)
    by = {objective: make_cost_table(space, tiny, MappingOptions(objective)) for objective in ("energy", "latency")}
    genomes = some(space, (8, 12), 10)
    (fast, dear), (slow, cheap) = by["latency"].costs(genomes), by["energy"].costs(genomes)
    assert (fast <= slow).all()
    assert (cheap <= dear).all()
    sampled = make_cost_table(space, tiny, MappingOptions("latency", mapper="random", effort=5, seed=1))
    assert (sampled.costs(genomes)[0] >= fast).all()
    assert (sampled.costs(genomes)[0] > fast).any()


def test_a_piece_may_be_empty(tiny) -> None:
    space = Small(plain, exit_too=False)
    check(make_cost_table(space, tiny), some(space, (8, 12), 10), tiny)


def test_a_table_travels(nvdla, tiny) -> None:
    table = make_cost_table(OfaMobileNetV3(), nvdla, resolutions=[128])
    genomes = some(table.index.space, (128,), 5)
    for one, other in zip(pickle.loads(pickle.dumps(table)).costs(genomes), table.costs(genomes), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_order_of_resolutions_is_the_callers(tiny) -> None:
    space = Small(plain)
    both, back = make_cost_table(space, tiny), make_cost_table(space, tiny, resolutions=[12, 8, 12])
    assert (both.index.resolutions, back.index.resolutions) == ((8, 12), (12, 8))
    genomes = some(space, (8, 12), 20)
    for one, other in zip(both.costs(genomes), back.costs(genomes), strict=True):
        np.testing.assert_array_equal(one, other)


def test_genomes_that_are_not_in_the_table(tiny) -> None:
    table = make_cost_table(Small(plain), tiny, resolutions=[12])
    genome = np.zeros(len(table.index.space.knobs), dtype=np.int64)
    with pytest.raises(SpaceError, match="resolution 8 px was left out; there are: 12"):
        table.costs(genome[None])
    for wrong in (genome, genome[None, :-1]):
        with pytest.raises(SpaceError, match=r"space 'small': genomes are \(n, "):
            table.costs(wrong)
    genome[0], genome[-1] = 1, 2
    with pytest.raises(SpaceError, match=r"gene 2 of expand_4 is outside 0\.\.1"):
        table.sizes(genome[None])
    with pytest.raises(SpaceError, match="resolution = 10 is not one of"):
        make_cost_table(Small(plain), tiny, resolutions=[8, 10])


def test_a_machine_that_holds_tensors_is_refused(tiny) -> None:
    holding = with_values(tiny, {"buffer.holds_tensors": True})
    with pytest.raises(
        SearchError, match=r"target 'tiny' .*level 'buffer' holds tensors .* depends on the whole network"
    ):
        make_cost_table(Small(plain), holding)


def test_a_space_without_pieces_is_refused(tiny) -> None:
    net = NetworkBuilder("alone", height=8)
    net.conv("only", 8, 3)
    with pytest.raises(SearchError, match="space 'alone' has no table of costs: its networks are not put together"):
        make_cost_table(FixedNetwork(net.build()), tiny)


def test_a_layer_that_cannot_be_mapped_is_told(tiny) -> None:
    with pytest.raises(MappingError, match=r"tiny: layer .* cannot be mapped: level 'registers' has room for 2 words"):
        make_cost_table(Small(plain), with_values(tiny, {"registers.entries": 2}), threads=2)


def test_what_a_block_makes_must_not_depend_on_its_expand_ratio(tiny) -> None:
    def wide(net: NetworkBuilder, block: Block) -> None:
        net.conv(f"{block.stage}.{block.block}", 8 * block.expand, block.kernel)

    with pytest.raises(SpaceError, match=r"space 'small': 1\.1 makes 8 x .* 1\.1 makes 16 x .* cost for every history"):
        make_cost_table(Small(wide), tiny)


def test_what_a_stage_makes_must_not_depend_on_its_depth(tiny) -> None:
    def late(net: NetworkBuilder, block: Block) -> None:
        net.mbconv(f"{block.stage}.{block.block}", 8, block.kernel, block.expand, stride=block.block)

    with pytest.raises(SpaceError, match=r"1\.1\.add makes 8 x 4 x 4 .*, 1\.2\.project makes 8 x 2 x 2 elements: "):
        make_cost_table(Small(late), tiny)


def fused_first(operations: int) -> Build:
    """Blocks that begin with an operation fused with what is before them."""

    def build(net: NetworkBuilder, block: Block) -> None:
        source, shape = net.last, net.shapes[net.last]
        op = VectorOp("activation", operations, 0, 0, fused=True)
        net._add(Node(f"{block.stage}.{block.block}.first", op, (source,), shape))
        plain(net, block)

    return build


def test_a_piece_that_runs_beside_the_one_before_it_is_refused(tiny) -> None:
    with pytest.raises(SpaceError, match=r"1.1.first is fused with the operation before it, which is in another piece"):
        make_cost_table(Small(fused_first(10)), tiny)
    # one without work (a concatenation, a crop) depends on nothing
    space = Small(fused_first(0))
    check(make_cost_table(space, tiny), some(space, (8, 12), 10), tiny)


def test_no_piece_of_a_shipped_space_begins_with_a_fused_operation() -> None:
    for space in (OfaMobileNetV3(1.2), OfaProxyless(), OfaResNet50()):
        for _, piece in PieceIndex(space, [space.knobs[0].choices[0]]).pieces():
            first: Node = piece.nodes[0]
            assert not (isinstance(first.op, VectorOp) and first.op.fused)


def test_networks_of_the_small_space_are_networks() -> None:
    space = Small(plain)
    assert isinstance(space.network(space.sample_genomes(np.random.default_rng(0), 1)[0]), Network)
