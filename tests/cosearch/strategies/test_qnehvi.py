"""The strategy that needs botorch: what is said without it, and what every strategy owes the study with it."""

from __future__ import annotations

import sys

import moocore
import numpy as np
import pytest

from cosearch.errors import SearchError
from cosearch.space import Knob
from cosearch.spaces.joint import JointSpace
from cosearch.strategies import Problem, make_strategy

from .toy import SPACE, Hardware, NoNetworks, all_break_a_limit_alike, none_can_run, search, usual


def test_without_botorch_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "botorch", None)  # an import of it fails
    with pytest.raises(
        SearchError, match=r"^strategy 'qnehvi': it needs the extra botorch: pip install 'cosearch\[botorch\]'$"
    ):
        make_strategy("qnehvi", Problem(SPACE, 2, 1, 20), 0)


@pytest.fixture
def strategy():
    pytest.importorskip("botorch", reason="the extra botorch is not installed")
    return lambda space=SPACE, objectives=3, population=20, seed=0: make_strategy(
        "qnehvi", Problem(space, objectives, 1, population), seed
    )


def asked(one, tell, turns=3):
    turned = []
    for _ in range(turns):
        genomes = one.ask()
        turned.append(genomes.tolist())
        one.tell(genomes, *tell(genomes))
    return turned


@pytest.mark.parametrize("tell", [usual, all_break_a_limit_alike, none_can_run])
def test_the_same_seed_and_answers_give_the_same_proposals(strategy, tell) -> None:
    import torch

    torch.manual_seed(1)
    first = asked(strategy(), tell)
    torch.manual_seed(2)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert asked(strategy(), tell) == first
    assert (torch.get_rng_state() == state).all()
    assert torch.get_num_threads() == threads
    for turn in first:
        genomes = np.array(turn)
        assert 0 < len(genomes) <= 20
        assert ((genomes >= 0) & (genomes < SPACE.choices_per_knob)).all()
        assert (SPACE.canonical(genomes) == genomes).all()


def test_another_seed_gives_other_proposals(strategy) -> None:
    assert asked(strategy(seed=1), usual, turns=1) != asked(strategy(seed=2), usual, turns=1)


def test_a_small_space_is_searched_to_its_end(strategy) -> None:
    one = strategy(JointSpace(NoNetworks(), Hardware(Knob("size", tuple(range(12))))), objectives=2, population=4)
    seen = set()
    while len(genomes := one.ask()):
        seen.update(genomes[:, 0].tolist())
        one.tell(genomes, np.hstack([genomes, 11.0 - genomes]), np.full((len(genomes), 1), -1.0))
    assert seen == set(range(12))


def test_eighty_candidates_are_better_than_random_ones(strategy) -> None:
    def volume(run):
        good, poor = np.array([-32.0, 60.0, 200.0]), np.array([-10.0, 1500.0, 2500.0])
        return moocore.hypervolume((run.values[run.feasible] - good) / (poor - good), ref=np.ones(3))

    assert volume(search(strategy(population=40), budget=80)) > 1.1 * volume(search("random", budget=80))
