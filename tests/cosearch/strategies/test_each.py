"""What is particular to one strategy."""

from __future__ import annotations

from itertools import product
from math import comb

import numpy as np
import pytest
from pymoo.core.population import Population

from cosearch.errors import SearchError
from cosearch.space import Knob, Space
from cosearch.spaces.joint import JointSpace
from cosearch.strategies import Problem, make_strategy
from cosearch.strategies._scalar import lattice_divisions, places, scaled, simplex_lattice, tchebycheff
from cosearch.strategies.grid import scale_axes
from cosearch.strategies.nsga2 import _Survival
from cosearch.strategies.nsga3 import plane_intercepts, reference_directions
from cosearch.strategies.sms_emoa import _most_volume

from .toy import SPACE, Hardware, NoNetworks, cost, search


def space_of(*knobs: Knob) -> Space:
    class Some(Space):
        name = summary = "some"

    found = Some()
    found.knobs = knobs
    return found


# weights and order


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("divisions", [1, 2, 5])
def test_the_lattice_has_every_weighting_once(objectives, divisions) -> None:
    steps = [row for row in product(range(divisions + 1), repeat=objectives) if sum(row) == divisions]
    lattice = simplex_lattice(objectives, divisions)
    assert len(lattice) == comb(divisions + objectives - 1, objectives - 1)
    assert sorted(map(tuple, np.rint(lattice * divisions).astype(int))) == sorted(steps)


@pytest.mark.parametrize("most", [5, 20, 100])
@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
def test_the_finest_lattice_that_fits(objectives, most) -> None:
    divisions = lattice_divisions(objectives, most)
    assert len(simplex_lattice(objectives, divisions)) <= most < len(simplex_lattice(objectives, divisions + 1))


def test_limits_come_before_values_and_ties_stay_in_order() -> None:
    values = np.array([5.0, 1.0, 1.0, 0.0, 9.0])
    violation = np.array([0.0, 0.0, 0.0, 2.0, 2.0])
    assert places(values, violation).tolist() == [2, 0, 1, 3, 4]


def test_scaled_objectives_and_their_tchebycheff_value() -> None:
    values = np.array([[1.0, 30.0], [3.0, 10.0], [2.0, 20.0]])
    unit = scaled(values, values[:2])
    assert unit.tolist() == [[0, 1], [1, 0], [0.5, 0.5]]
    assert tchebycheff(unit, np.array([0.5, 0.5])).argmin() == 2
    assert tchebycheff(unit, np.array([1.0, 0.0])).argmin() == 0
    assert tchebycheff(np.array([[0.0, 2.0], [0.0, 1.0]]), np.array([1.0, 0.0])).argmin() == 1, "nothing weighs nothing"


# NSGA-III, SMS-EMOA


@pytest.mark.parametrize("population", [5, 20, 100, 300])
@pytest.mark.parametrize("objectives", [2, 3, 4, 5])
def test_reference_directions_fit_the_population(objectives, population) -> None:
    directions = reference_directions(objectives, population)
    assert len(directions) <= population
    assert len(np.unique(directions.round(9), axis=0)) == len(directions)
    assert directions.sum(axis=1) == pytest.approx(1)
    assert (directions >= 0).all()
    assert set(map(tuple, np.eye(objectives))) <= set(map(tuple, directions.tolist()))


def test_five_objectives_have_directions_inside_as_well() -> None:
    assert [len(reference_directions(objectives, 100)) for objectives in (2, 3, 4, 5)] == [100, 91, 84, 85]
    assert (reference_directions(5, 100).min(axis=1) > 0).sum() == 15


def test_who_adds_least_to_the_hypervolume_goes_first() -> None:
    points = np.array([[0.0, 1.0], [0.4, 0.6], [0.45, 0.55], [1.0, 0.0]])
    assert set(_most_volume(points, 3)) in ({0, 1, 3}, {0, 2, 3})
    assert set(_most_volume(points, 2)) == {0, 3}


# regularized evolution


def test_children_differ_in_one_gene_from_one_of_the_youngest() -> None:
    space = space_of(*(Knob(f"knob_{number}", tuple(range(9))) for number in range(8)))
    strategy = make_strategy("regularized-evolution", Problem(space, 1, 0, population=20), 0)
    told, single = np.empty((0, 8), dtype=np.int64), 0
    for _ in range(30):
        genomes = strategy.ask()
        if len(told):
            changes = (genomes[:, None] != told[-20:]).sum(axis=2).min(axis=1)
            assert changes.max() <= 3, "a child that was seen before is changed once more"
            single += np.count_nonzero(changes == 1)
        told = np.concatenate([told, genomes])
        age = np.arange(len(told) - len(genomes), len(told), dtype=np.float64)[:, None]
        strategy.tell(genomes, age, -np.ones_like(age))  # the oldest are the best: only their age rids of them
    assert len(told) == 20 + 29 * 2
    assert single > 0.8 * 29 * 2


# NSGA-III: the plane through the extreme points


def test_where_a_plane_cuts_the_axes() -> None:
    rng = np.random.default_rng(0)
    for size in (2, 3, 4, 5):
        points = rng.random((size, size)) * 0.2 + np.eye(size)
        assert plane_intercepts(points) == pytest.approx(1 / np.linalg.solve(points, np.ones(size)))
    assert plane_intercepts(np.array([[1.0, 1.0], [1.0, 1.0]])) is None, "no plane"
    assert plane_intercepts(np.array([[1.0, 1.0], [3.0, 2.0]])) is None, "cuts an axis below 0"
    assert plane_intercepts(np.array([[0.0, 2.0], [1.0, 2.0]])).tolist() == [np.inf, 2.0]


# NSGA-II


def test_the_least_crowded_of_a_front_stay() -> None:
    strategy = make_strategy("nsga2", Problem(space_of(Knob("x", tuple(range(9)))), 2, 0, population=4), 0)
    told = np.array([[0], [4], [8], [5]])
    strategy.ask()
    pop = Population.new(X=told, F=np.hstack([told, 8.0 - told]), G=-np.ones((4, 1)))
    kept = _Survival().do(None, pop, n_survive=3, random_state=np.random.default_rng(0))
    assert sorted(kept.get("X")[:, 0]) in ([0, 4, 8], [0, 5, 8])


# nested, one after the other, sizes alone


def test_sizes_alone_vary() -> None:
    genomes = search("sizing-only", budget=400).genomes
    assert set(genomes[:, -1]) == {1}, "the dataflow is no size"
    assert all(len(set(column)) > 1 for column in genomes.T[:-1])


def test_sizes_alone_need_something_that_varies() -> None:
    space = JointSpace(NoNetworks(), Hardware(Knob("dataflow", (("K",), ("C",)))))
    with pytest.raises(SearchError, match="strategy 'sizing-only': it varies networks and sizes, and here"):
        make_strategy("sizing-only", Problem(space, 2, 0), 0)


def test_sequential_takes_turns_and_hardware_is_for_networks_found() -> None:
    strategy = make_strategy("sequential", Problem(SPACE, 2, 1, population=20), 0)
    cut, default = len(SPACE.networks.knobs), SPACE.hardware.default
    first, tried = [], set()
    for _ in range(12):
        genomes = strategy.ask()
        values, excess = cost(genomes)
        strategy.tell(genomes, values[:, 1:3], excess)
        as_described = bool((genomes[:, cut:] == default).all())
        networks = set(map(tuple, genomes[:, :cut].tolist()))
        if as_described:
            tried |= networks
        else:
            assert networks <= tried
        first.append(as_described)
    assert first == [True, False, True, True, False, False, True, True, True, False, False, False]


def test_naas_tries_several_networks_on_every_machine() -> None:
    strategy = make_strategy("naas", Problem(SPACE, 1, 0, population=40), 0)
    cut = len(SPACE.networks.knobs)
    for turn in range(6):
        genomes = strategy.ask()
        machines, counts = np.unique(genomes[:, cut:], axis=0, return_counts=True)
        if turn:
            assert len(machines) <= 8  # 4 + 3 ln(5 knobs)
            assert counts.min() >= 4
        values, excess = cost(genomes)
        strategy.tell(genomes, values[:, 2:3], excess)


def test_naas_with_a_fixed_network_is_cma_es() -> None:
    space = JointSpace(NoNetworks(), SPACE.hardware)
    one, other = (make_strategy(name, Problem(space, 2, 0, population=20), 0) for name in ("naas", "cma-es"))
    for _ in range(5):
        genomes = one.ask()
        assert (genomes == other.ask()).all()
        for strategy in (one, other):
            strategy.tell(
                genomes,
                np.hstack([genomes[:, :1], 20.0 - genomes[:, :2].sum(axis=1)[:, None]]),
                -np.ones((20, 1))[: len(genomes)],
            )


# grid


def test_knobs_of_one_kind_scale_together() -> None:
    names = [[SPACE.knobs[position].name for position in axis] for axis in scale_axes(SPACE.knobs)]
    assert names[0] == ["depth"]
    assert names[1] == [f"kernel_{block}" for block in range(10)]
    assert names[2] == [f"expand_{block}" for block in range(10)]
    assert names[3:] == [["hardware.rows", "hardware.columns"], ["hardware.buffer"], ["hardware.bandwidth"]]


def test_the_grid_is_refined_level_by_level() -> None:
    space = space_of(Knob("a", tuple(range(9)), "x"), Knob("b", tuple(range(5)), "x"), Knob("c", (1, 2, 3), "y"))
    strategy = make_strategy("grid", Problem(space, 1, 0, population=4), 0)
    turns = []
    while len(genomes := strategy.ask()):
        turns += map(tuple, genomes.tolist())
    assert set(turns[:4]) == {(0, 0, 0), (8, 4, 0), (0, 0, 2), (8, 4, 2)}
    assert set(turns[:9]) == {(a, a // 2, c) for a in (0, 4, 8) for c in (0, 1, 2)}
    assert set(turns[:15]) == {(a, a // 2, c) for a in (0, 2, 4, 6, 8) for c in (0, 1, 2)}
    assert len(turns) == len(set(turns)) == 27
    assert not len(strategy.ask()), "nothing comes after the end"


def test_any_beginning_of_a_level_is_spread_over_the_axes() -> None:
    run = search("grid", budget=64 + 120)
    fresh = run.genomes[64:]  # the first level has two places on each of six axes
    for axis in scale_axes(SPACE.knobs):
        _, counts = np.unique(fresh[:, axis[0]], return_counts=True)
        assert len(counts) == 3
        assert counts.min() > 0.15 * len(fresh)


def test_what_has_no_size_keeps_its_first_choice() -> None:
    assert not search("grid", budget=200).genomes[:, -1].any()


def test_where_networks_have_names_only_the_grid_goes_through_them() -> None:
    space = space_of(Knob("first", ("none", "skip", "conv")), Knob("only", (4,)), Knob("second", ("none", "conv")))
    strategy = make_strategy("grid", Problem(space, 1, 0, population=4), 0)
    points = [*map(tuple, strategy.ask().tolist()), *map(tuple, strategy.ask().tolist())]
    assert sorted(points) == [(a, 0, b) for a in range(3) for b in range(2)]
    assert not len(strategy.ask())


def test_a_grid_needs_something_to_vary() -> None:
    with pytest.raises(SearchError, match="strategy 'grid': there is nothing to vary"):
        make_strategy("grid", Problem(space_of(Knob("size", (4,))), 1, 0), 0)


# CMA-ES


def test_every_choice_of_a_knob_can_be_proposed() -> None:
    genomes = search("cma-es", budget=1500).genomes
    for gene, choices in zip(genomes.T, SPACE.choices_per_knob, strict=True):
        assert set(gene) == set(range(choices))


def test_what_all_want_alike_is_found() -> None:
    """One optimum, whatever the weights: all genes 0."""
    space = space_of(*(Knob(f"knob_{number}", tuple(range(6))) for number in range(10)))
    strategy = make_strategy("cma-es", Problem(space, 2, 0, population=40), 0)
    best = np.inf
    for _ in range(25):
        genomes = strategy.ask()
        far = (genomes**2).sum(axis=1)
        best = min(best, far.min())
        strategy.tell(genomes, np.column_stack([far, 3.0 * far]), -np.ones((len(genomes), 1)))
    assert best == 0


def test_the_toy_has_candidates_of_all_sorts() -> None:
    values, excess = cost(SPACE.sample_genomes(np.random.default_rng(0), 400))
    assert 0.2 < (excess <= 0).mean() < 0.8
    assert (excess >= 1e9).any()
    assert (values[excess[:, 0] >= 1e9] == 1e30).all()
