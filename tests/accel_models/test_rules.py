"""Rules of a description for its mappings: every mapping that the sampler draws keeps them; impossible ones are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel_models.accelerator import Accelerator
from accel_models.description import load_target, parse_target, with_values
from accel_models.errors import DescriptionError, MappingError
from accel_models.mapper.best import best_mapping
from accel_models.mapping import Mapping
from accel_models.workload import DIMS, Layer

from .cases import machine

LAYER = Layer(K=32, C=16, P=8, Q=8, R=3, S=3)


def broken_rules(mapping: Mapping, accelerator: Accelerator, layer: Layer) -> list[str]:
    """Every rule that a mapping breaks, in words; written against the description, not against the plan."""
    bounds = dict(zip(DIMS, layer.dims, strict=True))
    broken = []
    for level, loops in zip(accelerator.levels, mapping.levels, strict=True):
        for side, rules in (
            (loops.temporal, level.temporal),
            (loops.spatial_x, level.fanout.x),
            (loops.spatial_y, level.fanout.y),
        ):
            factors = dict(side)
            broken += [f"{level.name}: {dim} is not allowed" for dim in factors if dim not in rules.dims]
            for dim, fixed in rules.factors.items():
                if bounds[dim] > 1 and factors.get(dim, 1) != fixed:
                    broken.append(f"{level.name}: {dim} must be {fixed}")
            broken += [
                f"{level.name}: {dim} is at most {most}"
                for dim, most in rules.max_factors.items()
                if factors.get(dim, 1) > most
            ]
        order = [dim for dim, _ in loops.temporal]
        named = [dim for dim in level.temporal.order if dim in order]
        if order[: len(named)] != named:
            broken.append(f"{level.name}: order {order} does not begin with {named}")
    return broken


def test_row_stationary_eyeriss_keeps_its_rules() -> None:
    target = load_target("eyeriss_rs")
    for seed in range(5):
        assert not broken_rules(best_mapping(LAYER, target, seed=seed, effort=50).mapping, target, LAYER)


def test_the_free_machine_breaks_the_rules_that_the_other_keeps() -> None:
    free = best_mapping(LAYER, load_target("eyeriss"), "energy", effort=500)
    assert broken_rules(free.mapping, load_target("eyeriss_rs"), LAYER)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_rules_are_kept(data: st.DataObject) -> None:
    target = machine(4, 4)
    values = {}
    for level in ("registers", "buffer"):
        dims = data.draw(st.lists(st.sampled_from(DIMS), unique=True))
        order = data.draw(st.lists(st.sampled_from(dims), unique=True)) if dims else []
        values[f"{level}.temporal.dims"] = dims
        values[f"{level}.temporal.order"] = order
        fixed = {dim: 2 for dim in dims if dim in "KC" and data.draw(st.booleans())}
        values[f"{level}.temporal.factors"] = fixed
        values[f"{level}.temporal.max_factors"] = {
            dim: data.draw(st.integers(1, 4)) for dim in dims if dim not in fixed and data.draw(st.booleans())
        }
    values["buffer.fanout.x.dims"] = data.draw(st.lists(st.sampled_from(DIMS), unique=True))
    target = with_values(target, values)
    found = best_mapping(LAYER, target, effort=20, seed=data.draw(st.integers(0, 99)))
    assert not broken_rules(found.mapping, target, LAYER)


def test_a_fixed_factor_that_does_not_divide_the_layer_cannot_be_mapped() -> None:
    target = with_values(machine(1, 1), {"registers.temporal.factors": {"K": 5}})
    with pytest.raises(
        MappingError, match=r"registers\.temporal\.factors K = 5: together 5, which does not divide K ="
    ):
        best_mapping(LAYER, target, effort=20)


def test_a_fixed_factor_of_a_dim_that_the_layer_lacks_counts_as_one() -> None:
    target = with_values(machine(1, 1), {"registers.temporal.factors": {"N": 5}})
    assert best_mapping(LAYER, target, effort=20).energy_pj > 0


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("{dims: [K, K]}", "names a dim twice"),
        ("{dims: [K], factors: {C: 2}}", "dims does not name C"),
        ("{factors: {C: 2}, max_factors: {C: 4}}", "both a fixed and a largest factor"),
        ("{order: [K, K]}", "names a dim twice"),
        ("{max_factors: {C: 0}}", "greater than 0"),
        ("{factor: {C: 2}}", "did you mean 'factors'"),
    ],
)
def test_contradicting_rules_are_refused_with_their_line(rules: str, message: str) -> None:
    text = f"""
name: ruled
clock_mhz: 1
node_nm: 45
levels:
  - {{name: buffer, component: sram, keeps: [weights, inputs, outputs], entries: 64,
     temporal: {rules}}}
  - {{name: dram, component: dram, keeps: [weights, inputs, outputs]}}
"""
    with pytest.raises(DescriptionError, match=rf"ruled\.yaml:\d+: levels\.buffer\.temporal.*{message}"):
        parse_target(text, "ruled.yaml")
