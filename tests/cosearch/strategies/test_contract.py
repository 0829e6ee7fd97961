"""What every strategy owes the study, whichever it is."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import moocore
import numpy as np
import pytest

from cosearch.errors import SearchError
from cosearch.space import Knob, Space
from cosearch.spaces.joint import JointSpace
from cosearch.strategies import Problem, make_strategy, strategy_names

from .toy import SPACE, Hardware, Line, NoNetworks, all_break_a_limit_alike, cost, none_can_run, search, usual

NAMES = sorted(set(strategy_names()) - {"exact", "qnehvi"})
"""All but those whose questions are others, or that need an extra: they have tests of their own."""

LEARNING = sorted(set(NAMES) - {"random", "grid"})
ANY_NUMBER = sorted(set(NAMES) - {"nsga3", "sms-emoa"})


def asked(name, tell, *, objectives=3, seed=0, turns=6, space=SPACE, population=20):
    """Return what a fresh strategy asks in `turns` turns when answered by `tell`."""
    strategy = make_strategy(name, Problem(space, objectives, 1, population), seed)
    turned = []
    for _ in range(turns):
        genomes = strategy.ask()
        turned.append(genomes.tolist())
        strategy.tell(genomes, *tell(genomes))
    return turned


def two_classes(genomes):
    """Half of the candidates break a limit, all by the same; the objectives tie in threes."""
    values = np.repeat(genomes[:, -5:-4] // 3, 3, axis=1).astype(np.float64)
    return values * [1, -1, 2], np.where(genomes[:, -1:] > 0, 0.25, -1.0)


@pytest.mark.parametrize("tell", [usual, all_break_a_limit_alike, none_can_run, two_classes])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_and_answers_give_the_same_proposals(name, tell) -> None:
    np.random.seed(1)  # noqa: NPY002  (nobody may draw from the stream of the process)
    first = asked(name, tell)
    np.random.seed(2)  # noqa: NPY002
    state = str(np.random.get_state())  # noqa: NPY002
    assert asked(name, tell) == first
    assert str(np.random.get_state()) == state  # noqa: NPY002


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"grid"}))
def test_another_seed_gives_other_proposals(name) -> None:
    assert asked(name, usual, seed=1) != asked(name, usual, seed=2)


TIES = """
from tests.cosearch.strategies.test_contract import NAMES, all_break_a_limit_alike, asked, two_classes, usual
print([asked(name, tell, turns=5) for name in NAMES for tell in (usual, two_classes, all_break_a_limit_alike)])
"""


def test_results_do_not_depend_on_the_processor() -> None:
    """numpy sorts with other instructions on other processors, and leaves ties in another order; LAPACK's digits differ."""
    found = set()
    for features, core in (("", ""), ("X86_V4 X86_V3 AVX512F AVX512_SKX AVX2", "Prescott")):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", TIES], text=True, capture_output=True, check=True,
            env={**os.environ, "NPY_DISABLE_CPU_FEATURES": features, "OPENBLAS_CORETYPE": core},
        )  # fmt: skip
        found.add(done.stdout)
    assert len(found) == 1


@pytest.mark.parametrize("name", NAMES)
def test_proposals_are_canonical_candidates_and_no_more_than_the_population(name) -> None:
    for turn in asked(name, usual):
        genomes = np.array(turn)
        assert 0 < len(genomes) <= 20
        assert ((genomes >= 0) & (genomes < SPACE.choices_per_knob)).all()
        assert (SPACE.canonical(genomes) == genomes).all()


@pytest.mark.parametrize("name", NAMES)
def test_units_do_not_matter(name) -> None:
    def in_other_units(genomes):
        values, excess = usual(genomes)
        return values * [2.0**-20, 2.0**9, 2.0**-12], excess

    assert asked(name, in_other_units) == asked(name, usual)


@pytest.mark.parametrize("name", NAMES)
def test_the_front_is_no_worse_than_that_of_random_candidates(name) -> None:
    volumes = {one: [_hypervolume(search(one, seed=seed)) for seed in range(3)] for one in {name, "random"}}
    assert np.median(volumes[name]) >= np.median(volumes["random"])


def _hypervolume(run) -> float:
    """Share of the box from a good point to a poor one, of what keeps the limit."""
    good, poor = np.array([-32.0, 60.0, 200.0]), np.array([-10.0, 1500.0, 2500.0])
    scaled = (run.values[run.feasible] - good) / (poor - good)
    return float(moocore.hypervolume(scaled, ref=np.ones(3)))


@pytest.mark.parametrize("name", ANY_NUMBER)
def test_one_objective(name) -> None:
    def best(one, seed):
        run = search(one, objectives=(2,), seed=seed)
        return run.values[run.feasible].min()

    own, others = ([best(one, seed) for seed in range(3)] for one in (name, "random"))
    assert np.median(own) <= np.median(others)


@pytest.mark.parametrize("name", LEARNING)
def test_limits_are_learnt(name) -> None:
    run, others = search(name), search("random")
    assert run.feasible[-200:].mean() > 1.3 * others.feasible.mean()


@pytest.mark.parametrize(
    "space", [JointSpace(NoNetworks(), Hardware(Knob("size", tuple(range(12))))), JointSpace(Line(), Hardware())]
)
@pytest.mark.parametrize("name", NAMES)
def test_a_space_of_one_knob_is_searched_to_its_end(name, space) -> None:
    strategy = make_strategy(name, Problem(space, 2, 0, population=6), 0)
    seen = set()
    for _ in range(60):
        genomes = strategy.ask()
        if not len(genomes):
            break
        seen.update(genomes[:, 0].tolist())
        strategy.tell(genomes, np.hstack([genomes, 11.0 - genomes]), np.full((len(genomes), 1), -1.0))
    assert seen == set(range(12))


@pytest.mark.parametrize("name", NAMES)
def test_warnings_stay_as_they_were(name) -> None:
    before = list(warnings.filters)
    asked(name, usual)
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("name", "objectives", "population", "message"),
    [
        ("nsga3", 1, 20, "strategy 'nsga3': it takes 2 to 5 objectives, not 1"),
        ("nsga3", 6, 20, "strategy 'nsga3': it takes 2 to 5 objectives, not 6"),
        ("nsga3", 5, 4, "strategy 'nsga3': 5 objectives need a population of at least 5, not 4"),
        ("sms-emoa", 1, 20, "strategy 'sms-emoa': it takes 2 to 4 objectives, not 1"),
        ("sms-emoa", 5, 20, "strategy 'sms-emoa': it takes 2 to 4 objectives, not 5"),
        ("cma-es", 2, 3, "strategy 'cma-es': it takes a population of 4 or more, not 3"),
        ("naas", 2, 3, "strategy 'naas': it takes a population of 4 or more, not 3"),
        ("qnehvi", 1, 20, "strategy 'qnehvi': it takes 2 to 3 objectives, not 1"),
        ("qnehvi", 4, 20, "strategy 'qnehvi': it takes 2 to 3 objectives, not 4"),
    ],
)
def test_what_a_strategy_cannot_take(name, objectives, population, message) -> None:
    with pytest.raises(SearchError, match=f"^{message}$"):
        make_strategy(name, Problem(SPACE, objectives, 0, population), 0)


@pytest.mark.parametrize("name", ["naas", "sequential", "sizing-only"])
def test_some_need_both_halves(name) -> None:
    class Plain(Space):
        name, summary, knobs = "plain", "one knob", (Knob("size", (1, 2)),)

    message = f"^strategy '{name}': it searches pairs of network and hardware, and space 'plain' has no such halves$"
    with pytest.raises(SearchError, match=message):
        make_strategy(name, Problem(Plain(), 2, 0, 20), 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_smallest_population(name, objectives) -> None:
    def tell(genomes):
        values, excess = cost(genomes)
        return values[:, :objectives], excess

    assert len(asked(name, tell, objectives=objectives, population=4)) == 6
