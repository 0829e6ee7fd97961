"""NAAS's space: one genome per machine, every machine within the resources, the known machine near by."""

from __future__ import annotations

import numpy as np
import pytest

import cosearch
from accel_models.accelerator import Accelerator
from accel_models.description import load_target, with_values
from accel_models.mapper.best import best_mapping
from accel_models.networks import load_network
from accel_models.workload import Layer
from cosearch.errors import SpaceError
from cosearch.spaces.naas_hardware import CHOSEN_IMPORTANCES, NaasHardware
from cosearch.spaces.naas_template import ARRAY_DIMS
from cosearch.study import resume

SCENARIOS = ("edge_tpu", "nvdla_1024", "nvdla_256", "eyeriss", "shidiannao")
"""The five machines of NAAS's table 2."""


@pytest.fixture(params=SCENARIOS)
def known(request) -> Accelerator:
    return load_target(request.param)


@pytest.fixture
def eyeriss() -> NaasHardware:
    return NaasHardware(load_target("eyeriss"))


def drawn(space: NaasHardware, count: int) -> np.ndarray:
    """Genomes as a strategy may ask for them: not canonical, and beyond the resources more often than not."""
    chance = np.random.default_rng(7)
    genomes = chance.integers(0, space.choices_per_knob, size=(count, len(space.knobs)))
    genomes[0] = space.choices_per_knob - 1
    genomes[1] = 0
    return genomes


@pytest.mark.parametrize("bits", [False, True])
def test_every_canonical_genome_is_a_machine_within_the_resources(known, bits) -> None:
    space = NaasHardware(known, bits=bits)
    buffer_limits = [_total(known.levels, way) for way in ("read", "write")]
    for genome in space.canonical(drawn(space, 1500)):
        machine = space.target(genome)
        assert machine.macs_per_cycle <= known.macs_per_cycle
        assert machine.on_chip_bytes <= known.on_chip_bytes
        *_, buffer, dram = machine.levels
        mine = (buffer.read_bandwidth_words_per_cycle, buffer.write_bandwidth_words_per_cycle)
        assert all(words <= limit for words, limit in zip(mine, buffer_limits, strict=True))
        assert dram.shared_bandwidth_words_per_cycle <= known.levels[-1].shared_bandwidth_words_per_cycle
        assert dram.energy_pj(machine.node_nm) == known.levels[-1].energy_pj(known.node_nm)
        assert (machine.clock_mhz, machine.node_nm, machine.vector_unit, machine.mac) == (
            known.clock_mhz, known.node_nm, known.vector_unit, known.mac,
        )  # fmt: skip


def _total(levels, way) -> float:
    """Bandwidth of all memories that are there once; their words are equally wide in every scenario."""
    fans = [level.fanout.x.size * level.fanout.y.size > 1 for level in levels]
    outside = max(place for place, fan in enumerate(fans) if fan)
    return sum(getattr(level, f"{way}_bandwidth_words_per_cycle") for level in levels[outside:-1])


def test_canonical_is_idempotent_and_leaves_its_input_alone(known) -> None:
    space = NaasHardware(known, bits=True)
    genomes = drawn(space, 2000)
    before = genomes.copy()
    once = space.canonical(genomes)
    assert (genomes == before).all()
    assert (space.canonical(once) == once).all()
    assert ((once >= 0) & (once < space.choices_per_knob)).all()
    assert (once[~space.active(once)] == 0).all()


def test_each_genome_is_made_canonical_alone(eyeriss) -> None:
    genomes = drawn(eyeriss, 60)
    assert (eyeriss.canonical(genomes) == np.concatenate([eyeriss.canonical(row[None]) for row in genomes])).all()


def test_genomes_that_differ_are_machines_that_differ(eyeriss) -> None:
    genomes = np.unique(eyeriss.canonical(drawn(eyeriss, 1500)), axis=0)
    assert len({eyeriss.target(genome).model_dump_json() for genome in genomes}) == len(genomes)


@pytest.mark.parametrize(
    ("importances", "dims", "spread"),
    [
        ({"K": 3, "C": 2, "P": 1}, 1, ["K"]),
        ({"K": 1, "C": 2, "P": 7}, 2, ["P", "C"]),
        ({"S": 5, "Q": 4, "R": 1}, 3, ["S", "Q", "R"]),
        ({}, 3, ["K", "C", "P"]),  # of equal importance: in the order of the dims
        ({"S": 7, "R": 7}, 2, ["R", "S"]),
    ],
)
def test_the_most_important_dims_are_spread(eyeriss, importances, dims, spread) -> None:
    asked = {f"importance_{dim}": value for dim, value in importances.items()}
    genome = eyeriss.genome({"array_dims": dims, "size_1": 6, "size_2": 4, "size_3": 2, **asked})
    written = {dim: value for dim in ARRAY_DIMS if (value := eyeriss.values(genome)[f"importance_{dim}"])}
    assert written == dict(zip(spread, CHOSEN_IMPORTANCES, strict=False))
    buffer = eyeriss.target(genome).levels[-2]
    ways = [dim for axis in (buffer.fanout.x, buffer.fanout.y) if axis.size > 1 for dim in axis.dims if dim != "G"]
    assert ways == spread


def test_every_dim_can_come_to_every_axis_by_one_importance(eyeriss) -> None:
    """What a strategy relies on that changes one gene at a time."""
    genome = eyeriss.genome({"array_dims": 2, "importance_K": 6, "importance_C": 4})
    assert eyeriss.active(genome[None])[0, [knob.name.startswith("importance") for knob in eyeriss.knobs]].all()
    values = eyeriss.values(genome)
    for dim in ("P", "Q", "R", "S"):
        for importance, spread in ((7, (dim, "K")), (5, ("K", dim))):
            made = eyeriss.values(eyeriss.genome({**values, f"importance_{dim}": importance}))
            assert [made[f"importance_{name}"] for name in spread] == [6, 4]


def test_importances_of_one_order_are_one_genome(eyeriss) -> None:
    chance = np.random.default_rng(0)
    genome = eyeriss.default
    places = [knob.name.startswith("importance") for knob in eyeriss.knobs]
    others = np.tile(genome, (40, 1))
    for row in others:  # K before C before the rest, in any distances
        least, second, most = np.sort(chance.choice(8, 3, replace=False))
        values = dict.fromkeys(ARRAY_DIMS, least) | {"K": most, "C": second}
        row[places] = [values[dim] for dim in ARRAY_DIMS]
    assert (eyeriss.canonical(others) == genome).all()


def test_what_is_too_much_keeps_its_proportions(eyeriss) -> None:
    """168 MACs: 64 x 16 becomes an array of about the same shape, and no larger one of the steps between would fit."""
    values = eyeriss.values(eyeriss.genome({"array_dims": 2, "size_1": 64, "size_2": 16, "pe_outputs": 1}))
    assert values["size_1"] * values["size_2"] <= 168
    assert 64 / 16 / 2 < values["size_1"] / values["size_2"] < 64 / 16 * 2
    much = eyeriss.values(
        eyeriss.genome({"array_dims": 2, "size_1": 14, "size_2": 12, "pe_weights": 2048, "pe_inputs": 256, "pe_outputs": 256,
                        "global_buffer": 110592})
    )  # fmt: skip
    assert (much["size_1"], much["size_2"]) == (14, 12), "memories give way to the array"
    parts = [
        much["pe_weights"] / 2048,
        much["pe_inputs"] / 256,
        much["pe_outputs"] / 256,
        much["global_buffer"] / 110592,
    ]
    assert max(parts) <= 2 * min(parts) and max(parts) < 1


def test_what_fits_is_left_as_it_is(known) -> None:
    space = NaasHardware(known)
    values = {"array_dims": 2, "size_1": 6, "size_2": 10, "pe_weights": 16, "pe_inputs": 8, "pe_outputs": 4}
    assert values.items() <= space.values(space.genome(values)).items()


def test_the_default_has_the_array_and_the_memories_of_the_known_machine(known) -> None:
    space = NaasHardware(known)
    machine = space.target(space.default)
    assert machine.macs_per_cycle == known.macs_per_cycle
    assert machine.on_chip_bytes == known.on_chip_bytes
    assert machine.levels[-1] == known.levels[-1]
    inside, described = _scratchpads(machine), _scratchpads(known)
    assert inside == described
    assert set(machine.levels[-2].keeps) == {
        name
        for level, count in zip(known.levels[:-1], known.instances, strict=False)
        if count == 1
        for name in level.keeps
    }


def _scratchpads(machine: Accelerator) -> dict[tuple[str, ...], tuple[object, ...]]:
    """What memories inside the array are like, by what they keep."""
    return {
        level.keeps: (count, level.component, level.entries, level.word_bits, level.partial_sum_bits, level.buffering)
        for level, count in zip(machine.levels, machine.instances, strict=True)
        if count > 1
    }


@pytest.mark.parametrize("name", ["eyeriss", "nvdla_256", "nvdla_1024", "edge_tpu"])
def test_the_default_costs_what_the_known_machine_does(name) -> None:
    """A layer that both spread alike: K and C in multiples of the array, on the same scratchpads and the same buffer."""
    known = load_target(name)
    space = NaasHardware(known)
    layer = Layer.parse("K128 C192 P7 Q7" if name != "eyeriss" else "K140 C120 P7 Q7")
    native, mine = (best_mapping(layer, machine) for machine in (known, space.target(space.default)))
    assert mine.latency_cycles == native.latency_cycles
    assert mine.energy_pj == pytest.approx(native.energy_pj, rel=0.02)


def test_each_of_three_axes_keeps_its_own_size(eyeriss) -> None:
    """Second and third axis lie along one side: a layer long in K alone fills the third axis no further than its size."""
    asked = {"importance_C": 7, "importance_K": 6, "importance_P": 5, "pe_outputs": 16}
    genome = eyeriss.genome({"array_dims": 3, "size_1": 4, "size_2": 8, "size_3": 4, "global_buffer": 65536, **asked})
    machine = eyeriss.target(genome)
    assert machine.macs_per_cycle == 4 * 8 * 4
    assert best_mapping(Layer.parse("K64"), machine, "latency").latency_cycles >= 64 / 8
    full = best_mapping(Layer.parse("K64 C64 P16"), machine, "latency")
    spread = dict(full.mapping.levels[-2].spatial_x), dict(full.mapping.levels[-2].spatial_y)
    assert spread == ({"C": 4}, {"K": 8, "P": 4})


def test_a_tree_is_there_only_where_the_first_axis_sums_and_shares_its_accumulator(eyeriss) -> None:
    array = {"array_dims": 2, "size_1": 6, "size_2": 8, "tree": 1}
    summed = eyeriss.target(eyeriss.genome({**array, "importance_C": 7, "importance_K": 5}))
    assert dict(zip((level.name for level in summed.levels), summed.instances, strict=True))["pe_outputs"] == 8
    assert next(level for level in summed.levels if level.name == "pe_outputs").fanout.x.dims == ("C",)
    apart = eyeriss.genome({**array, "importance_K": 7, "importance_C": 5})
    assert eyeriss.values(apart)["tree"] == 0
    assert eyeriss.target(apart).instances[0] == 48


def test_groups_fill_the_axes_of_channels_but_no_tree() -> None:
    space = NaasHardware(load_target("nvdla_256"))
    depthwise = Layer.parse("G96 P8 Q8 R3 S3")
    array = {"array_dims": 2, "size_1": 12, "size_2": 8, "importance_C": 7, "importance_K": 6}
    rest = {"pe_outputs": 16, "global_buffer": 65536, "buffer_bandwidth": 100, "dram_bandwidth": 100}
    mesh, tree = (space.target(space.genome({**array, **rest, "tree": tree})) for tree in (0, 1))
    assert best_mapping(depthwise, mesh, "latency").latency_cycles < depthwise.macs / 8
    assert best_mapping(depthwise, tree, "latency").latency_cycles >= depthwise.macs / 8


def test_a_scratchpad_of_no_words_is_not_there(eyeriss) -> None:
    genome = eyeriss.genome({"pe_weights": 0, "pe_inputs": 12, "pe_outputs": 16})
    assert [level.name for level in eyeriss.target(genome).levels] == [
        "pe_inputs",
        "pe_outputs",
        "global_buffer",
        "dram",
    ]


def test_bits_are_those_of_elements_and_change_no_port(known) -> None:
    space = NaasHardware(known, bits=True)
    bits = {"weight_bits": 8, "activation_bits": 16}
    machine = space.target(space.genome({"array_dims": 2, "pe_weights": 4, "pe_inputs": 4, "pe_outputs": 4, **bits}))
    assert machine.precision is not None
    assert (machine.precision.weights, machine.precision.inputs, machine.precision.outputs) == (8, 16, 16)
    words = {level.name: level.word_bits for level in machine.levels}
    assert (words["pe_weights"], words["pe_inputs"]) == (8, 16)
    assert words["dram"] == known.levels[-1].word_bits


def test_less_bandwidth_is_never_faster(eyeriss) -> None:
    layer = Layer.parse("K64 C32 P14 Q14 R3 S3")
    base = {**eyeriss.values(eyeriss.default), "pe_weights": 64}
    cycles = [
        best_mapping(layer, eyeriss.target(eyeriss.genome({**base, knob: percent})), "latency").latency_cycles
        for knob in ("buffer_bandwidth", "dram_bandwidth") for percent in (100, 25)
    ]  # fmt: skip
    assert cycles[0] <= cycles[1] and cycles[2] <= cycles[3]
    assert cycles[0] < max(cycles)


def test_a_machine_with_nothing_to_share_out_is_refused(tiny) -> None:
    alone = with_values(tiny, {"buffer.fanout.x.size": 1, "buffer.fanout.y.size": 1})
    with pytest.raises(SpaceError, match="'tiny' has 2 memories on chip and 1 MACs"):
        NaasHardware(alone)
    bare = tiny.model_copy(update={"levels": (tiny.levels[-1].model_copy(update={"fanout": tiny.levels[1].fanout}),)})
    with pytest.raises(SpaceError, match="0 memories on chip and 64 MACs"):
        NaasHardware(bare)


@pytest.mark.parametrize("changes", [
    {"buffer.fanout.x.size": 2, "buffer.fanout.y.size": 1},
    {"registers.entries": 3, "buffer.entries": 1},
    {"buffer.fanout.uneven": True},
    {"buffer.word_bits": 64, "buffer.entries": 2, "registers.entries": 3},
])  # fmt: skip
def test_small_and_odd_machines_span_a_space_too(tiny, changes) -> None:
    known = with_values(tiny, changes)
    space = NaasHardware(known)
    for genome in space.canonical(drawn(space, 200)):
        machine = space.target(genome)
        assert machine.macs_per_cycle <= known.macs_per_cycle
        assert machine.on_chip_bytes <= known.on_chip_bytes
        assert machine.levels[-2].fanout.uneven == any(level.fanout.uneven for level in known.levels)


def test_a_search_depends_on_its_seed_alone_and_can_be_resumed(tmp_path) -> None:
    options = {"hardware": "naas", "population": 6, "seed": 5}
    network, objectives = load_network("squeezenet", 64), ("latency", "energy")
    whole = cosearch.search(network, "nvdla_256", objectives, budget=18, **options)
    assert all(not pair.reason for pair in whole.archive.pairs())
    cosearch.search(
        network, "nvdla_256", objectives, budget=9, workers=2, out=tmp_path / "run", **options
    ).archive.close()
    resumed = resume(tmp_path / "run", budget=18)
    assert list(map(str, resumed.archive.pairs())) == list(map(str, whole.archive.pairs()))
    assert resumed.config["hardware"] == "naas"
