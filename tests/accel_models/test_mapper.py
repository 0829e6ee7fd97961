"""Mappers: what they return is legal, reproducible, never below the bound; what cannot be mapped is explained."""

from __future__ import annotations

import functools
import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from accel_models.accelerator import Accelerator
from accel_models.description import load_target, parse_target, target_names, with_values
from accel_models.errors import MappingError, UnknownNameError, WorkloadError
from accel_models.layer_cost import layer_cost
from accel_models.mapper.base import OBJECTIVES, MappingResult, touched_inputs
from accel_models.mapper.best import best_mapping
from accel_models.mapper.sampled import divisors
from accel_models.mapping import Mapping
from accel_models.workload import DIMS, Layer

sampled_mapping = functools.partial(best_mapping, mapper="random")


TARGETS = target_names()

SMALL = """
name: small
clock_mhz: 100
node_nm: 45
vector_unit: {lanes: 2}
levels:
  - {name: registers, component: register_file, keeps: [weights, inputs, outputs], entries: 16}
  - name: buffer
    component: sram
    keeps: [inputs, outputs]
    entries: 512
    fanout: {x: {size: 4, dims: [K]}, y: {size: 4, dims: [C, Q]}}
  - {name: dram, component: dram, keeps: [weights, inputs, outputs], shared_bandwidth_words_per_cycle: 2}
"""

LAYERS = st.builds(
    Layer, N=st.sampled_from((1, 1, 2)), K=st.integers(1, 96), C=st.integers(1, 96), P=st.integers(1, 30), Q=st.integers(1, 30),
    R=st.sampled_from((1, 2, 3, 5)), S=st.sampled_from((1, 3, 7)), G=st.sampled_from((1, 1, 1, 2, 32)),
    stride_w=st.integers(1, 3), stride_h=st.integers(1, 3), dilation_w=st.integers(1, 2), dilation_h=st.integers(1, 2),
)  # fmt: skip


@pytest.fixture(scope="module")
def small() -> Accelerator:
    return parse_target(SMALL, "small.yaml")


def violations(layer: Layer, target: Accelerator, mapping: Mapping) -> list[str]:
    """Every rule of docs/cost_model.md that a mapping breaks, worked out in plain Python."""
    broken = []
    extent = dict.fromkeys(DIMS, 1)
    for rows, level in zip(mapping.levels, target.levels, strict=True):
        if rows.level != level.name:
            broken.append(f"{rows.level} is not {level.name}")
        for loops, axis in ((rows.spatial_x, level.fanout.x), (rows.spatial_y, level.fanout.y)):
            if math.prod(factor for _, factor in loops) > axis.size:
                broken.append(f"{level.name}: {loops} is wider than {axis.size}")
            broken += [f"{level.name}: {dim} may not be spread" for dim, _ in loops if dim not in axis.dims]
        broken += [
            f"{level.name}: no loop over {dim} here" for dim, _ in rows.temporal if dim not in level.temporal.dims
        ]
        for dim, factor in (*rows.temporal, *rows.spatial_x, *rows.spatial_y):
            extent[dim] *= factor
        need = sum(words(layer, target, level.word_bits, name, extent) for name in level.keeps)
        if level.entries is not None and need > level.entries // level.buffering:
            broken.append(f"{level.name}: {need} words in {level.entries} / {level.buffering}")
    broken += [
        f"{dim}: {extent[dim]} of {bound}" for dim, bound in zip(DIMS, layer.dims, strict=True) if extent[dim] != bound
    ]
    return broken


def words(layer: Layer, target: Accelerator, word_bits: int, dataspace: str, extent: dict[str, int]) -> int:
    """Words that the bounding box of a tile takes."""
    e = extent
    if dataspace == "weights":
        elements = e["G"] * e["K"] * e["C"] * e["R"] * e["S"]
    elif dataspace == "outputs":
        elements = e["G"] * e["N"] * e["K"] * e["P"] * e["Q"]
    else:
        width = (e["P"] - 1) * layer.stride_w + (e["R"] - 1) * layer.dilation_w + 1
        height = (e["Q"] - 1) * layer.stride_h + (e["S"] - 1) * layer.dilation_h + 1
        elements = e["G"] * e["N"] * e["C"] * width * height
    bits = getattr(target.precision, dataspace) if target.precision else word_bits
    return math.ceil(elements * bits / word_bits)


def sampled(layer: Layer, target: Accelerator, objective: str, **options: int) -> MappingResult:
    """Return what sampling finds; a layer of which it finds nothing is no example."""
    try:
        return sampled_mapping(layer, target, objective, **options)
    except MappingError:
        assume(False)
        raise


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=25, deadline=None)
@given(layer=LAYERS, seed=st.integers(0, 10**12), objective=st.sampled_from(OBJECTIVES))
def test_a_sampled_mapping_is_legal_and_costs_what_it_says(name, layer, seed, objective) -> None:
    target = load_target(name)
    found = sampled(layer, target, objective, effort=1, seed=seed)
    assert violations(layer, target, found.mapping) == []
    cost = layer_cost(layer, target, found.mapping)
    assert (cost.energy_pj, cost.latency_cycles) == (found.energy_pj, found.latency_cycles)
    assert found.evaluated == 1


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=25, deadline=None)
@given(layer=LAYERS, objective=st.sampled_from(OBJECTIVES))
def test_no_mapping_is_below_the_bound(name, layer, objective) -> None:
    found = sampled(layer, load_target(name), objective, effort=60)
    assert 0 < found.lower_bound <= found.objective_value * (1 + 1e-12)
    assert found.optimal is (found.objective_value <= found.lower_bound)


def test_the_checker_sees_what_is_illegal(small) -> None:
    """The independent check is a check: break a legal mapping in each way."""
    layer = Layer(K=8, C=8, P=4, Q=4)
    legal = sampled_mapping(layer, small).mapping
    rows = {level.level: level for level in legal.levels}

    def with_level(**changes: object) -> Mapping:
        made = [type(level)(**{**{name: getattr(level, name) for name in level.__slots__}, **changes}) if level.level == "buffer"
                else level for level in rows.values()]  # fmt: skip
        return Mapping(tuple(made))

    assert violations(layer, small, legal) == []
    for changes, said in (
        ({"spatial_x": (("K", 8),)}, "wider"),
        ({"temporal": (("K", 8), ("P", 4), ("Q", 4), ("C", 8))}, "words in 512"),
        ({"temporal": (("R", 2),)}, "R: 2 of 1"),
    ):
        broken = with_level(**changes)
        assert any(said in text for text in violations(layer, small, broken))
        with pytest.raises(MappingError):
            layer_cost(layer, small, broken)
    assert any("may not be spread" in text for text in violations(layer, small, with_level(spatial_x=(("P", 2),))))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_same_seed_gives_the_same_mapping(small, objective) -> None:
    layer = Layer(K=24, C=36, P=14, Q=14, R=3, S=3)
    first, second = (sampled_mapping(layer, small, objective, effort=300, seed=7) for _ in range(2))
    assert (first.mapping, first.energy_pj, first.latency_cycles) == (
        second.mapping,
        second.energy_pj,
        second.latency_cycles,
    )
    others = {sampled_mapping(layer, small, objective, effort=1, seed=seed).mapping for seed in range(20)}
    assert len(others) > 10, "seeds hardly matter"


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_more_effort_is_never_worse(name, objective) -> None:
    """Efforts on both sides of a batch (256)."""
    target = load_target(name)
    for layer in (
        Layer(K=64, C=64, P=14, Q=14, R=3, S=3),
        Layer(G=96, P=28, Q=28, R=3, S=3, stride_w=2),
        Layer(K=1000, C=512),
    ):
        results = [
            sampled_mapping(layer, target, objective, effort=effort, seed=3) for effort in (5, 255, 256, 257, 700)
        ]
        values = [found.objective_value for found in results]
        assert values == sorted(values, reverse=True)
        assert [found.evaluated for found in results] == [5, 255, 256, 257, 700]


def test_effort_pays() -> None:
    layer = Layer(K=64, C=64, P=14, Q=14, R=3, S=3)
    few, many = (sampled_mapping(layer, load_target("eyeriss"), effort=effort) for effort in (5, 700))
    assert many.edp < few.edp / 2


def test_the_objective_is_what_gets_smaller(small) -> None:
    layer = Layer(K=64, C=64, P=16, Q=16, R=3, S=3)
    best = {objective: sampled_mapping(layer, small, objective, effort=2000) for objective in OBJECTIVES}
    for objective, figure in (("energy", "energy_pj"), ("latency", "latency_cycles"), ("edp", "edp")):
        values = {name: getattr(found, figure) for name, found in best.items()}
        assert values[objective] == min(values.values())
        assert best[objective].objective_value == values[objective]


def test_one_word_too_little_cannot_be_mapped_and_the_exact_fit_can(small) -> None:
    layer = Layer(K=3, C=5, P=7)
    for level, least, kept in (("registers", 3, "weights, inputs, outputs"), ("buffer", 2, "inputs, outputs")):
        tight = with_values(small, {f"{level}.entries": least, "buffer.fanout.x.size": 1, "buffer.fanout.y.size": 1})
        assert violations(layer, tight, sampled_mapping(layer, tight).mapping) == []
        with pytest.raises(MappingError) as caught:
            sampled_mapping(layer, with_values(tight, {f"{level}.entries": least - 1}))
        assert str(caught.value) == (
            f"small: layer {layer} cannot be mapped: level '{level}' has room for {least - 1} words, one element of each kept "
            f"dataspace ({kept}) needs {least}"
        )


def test_double_buffering_halves_the_room(small) -> None:
    layer = Layer(K=3, C=5)
    meshless = with_values(small, {"buffer.fanout.x.size": 1, "buffer.fanout.y.size": 1, "registers.buffering": 2.0})
    assert sampled_mapping(layer, with_values(meshless, {"registers.entries": 6})).energy_pj > 0
    with pytest.raises(MappingError, match=r"room for 2 words, .* needs 3"):
        sampled_mapping(layer, with_values(meshless, {"registers.entries": 5}))


def test_wider_elements_need_more_words(small) -> None:
    tight = with_values(small, {"registers.entries": 5, "buffer.fanout.x.size": 1, "buffer.fanout.y.size": 1})
    layer = Layer(K=3, C=5)
    assert sampled_mapping(layer.with_bits(16, 32, 32), tight).energy_pj > 0
    with pytest.raises(MappingError, match=r"room for 5 words, .* needs 6"):
        sampled_mapping(layer.with_bits(32, 32, 32), tight)


def test_where_sampling_finds_nothing_the_layer_is_named(small) -> None:
    with pytest.raises(
        MappingError, match=r"^small: layer K64 C64 Q64 cannot be mapped: no legal mapping was found by sampling"
    ):
        sampled_mapping(Layer(K=64, C=64, Q=64), with_values(small, {"buffer.entries": 2}), effort=1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"objective": "enrgy"}, "unknown objective 'enrgy': did you mean 'energy'?"),
        ({"objective": "edpp"}, "unknown objective 'edpp': did you mean 'edp'?"),
        ({"mapper": "randon"}, "unknown mapper 'randon': did you mean 'random'?"),
        ({"mapper": "zzz"}, "unknown mapper 'zzz': known: "),
    ],
)
def test_unknown_names(small, options, said) -> None:
    with pytest.raises(UnknownNameError) as caught:
        best_mapping(Layer(K=2), small, **options)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize("text", ["K4000000000 C4000000000", "P3 stride=99999999999999999", "K999999999999999999"])
def test_a_layer_too_large_to_be_counted_is_refused(small, text) -> None:
    with pytest.raises(WorkloadError, match=r"is too large: more than 2\*\*53"):
        sampled_mapping(Layer.parse(text), small)


def test_a_large_bound_takes_no_time_and_too_many_divisors_are_refused(small) -> None:
    assert (
        sampled_mapping(Layer(P=2**31 - 1), small, effort=5).latency_cycles >= 2**31 - 1
    )  # a prime: no factor, no list of its size
    for mapper in ("exact", "random", "naas"):
        with pytest.raises(MappingError, match="a loop bound of 735134400 has 1344 divisors"):
            best_mapping(Layer(K=735134400, C=7), small, mapper=mapper, effort=5)


@given(st.lists(st.integers(1, 400), min_size=8, max_size=8))
@settings(max_examples=50, deadline=None)
def test_divisors(bounds) -> None:
    table = divisors(tuple(bounds)).tolist()
    for row, bound in zip(table, bounds, strict=True):
        assert [number for number in row if number] == [number for number in range(1, bound + 1) if bound % number == 0]
        assert sorted(row, key=lambda number: number == 0) == row, "zeros stand behind the divisors"


@given(LAYERS)
@settings(max_examples=150, deadline=None)
def test_touched_inputs_are_those_that_some_mac_reads(layer) -> None:
    columns = {p * layer.stride_w + r * layer.dilation_w for p in range(layer.P) for r in range(layer.R)}
    rows = {q * layer.stride_h + s * layer.dilation_h for q in range(layer.Q) for s in range(layer.S)}
    assert touched_inputs(layer) == layer.G * layer.N * layer.C * len(columns) * len(rows)
