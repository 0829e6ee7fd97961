"""The benchmark of progressive shrinking: its figures on made-up accuracies, and one run of a minute."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from benchmarks.digits import all_alone, lines, ranking, sampled, shared_top1, shrink
from cosearch.spaces.digits import Digits


def test_the_sample_has_both_ends_and_no_network_twice() -> None:
    genomes = sampled(34, 0)
    values = Digits().numbers(genomes)
    assert values[0, :4].tolist() == [10, 3, 3, 3]
    assert values[1, :4].tolist() == [6, 1, 1, 1]
    assert len(np.unique(genomes, axis=0)) == 34
    assert (genomes == sampled(34, 0)).all()


def test_the_ranking_is_spearmans_with_an_interval_around_it() -> None:
    rng = np.random.default_rng(1)
    true = rng.uniform(50, 80, 40)
    alone = true[:, None] + rng.normal(0, 1, (40, 4))
    shared = (true + rng.normal(0, 3, 40)).round()  # with some equal ones
    told = ranking(shared, alone, np.repeat([6.0, 10.0], 20), true**2)
    assert told["macs_spearman"] > 0.95
    low, high = told["interval_95"]
    assert 0.7 < low < told["spearman"] < high < 1
    assert told["spearman"] == pytest.approx(spearmanr(shared, alone.mean(axis=1)).statistic)
    assert told["alone_deviation_between_seeds"] == pytest.approx(1, abs=0.2)
    assert told["reliability"] > 0.95
    assert told["by_resolution"].keys() == {"6", "10"}
    nothing = ranking(rng.permutation(true), alone, np.full(40, 6.0), true)
    assert nothing["interval_95"][0] < 0 < nothing["interval_95"][1]
    assert ranking(-true, alone[:, :1], np.full(40, 6.0), true)["spearman"] < -0.95


@pytest.mark.slow
def test_progressive_shrinking_in_a_minute(tmp_path) -> None:
    """All phases: every sub-network is far above the 10 % of chance, the largest above the smallest."""
    told: list[str] = []
    shrunk = shrink("digits-minute", 0, tmp_path, told.append)
    assert len(told) == len(shrunk["phases"]) == 6
    genomes = sampled(10, 0)
    shared = shared_top1(tmp_path, genomes)
    assert shared.min() > 25
    assert shared[0] > shared[1] + 5
    alone = np.full((10, 1), np.nan)
    for network, seed, top1 in all_alone(genomes[:2], [0], 3, workers=1):
        alone[network, seed] = top1
    assert np.isfinite(alone[:2]).all() and np.isnan(alone[2:]).all()
    large = {
        "teacher_top1": 1.0,
        "supernet_top1": 2.0,
        "alone_top1": 3.0,
        "cost_points": 1.0,
        "cost_points_teacher": -1.0,
    }
    ranked = ranking(shared, shared[:, None] + np.arange(2), Digits().numbers(genomes)[:, 0].astype(float), shared)
    text = "\n".join(lines({"shrinking": shrunk, "largest": large, "ranking": ranked}))
    assert "Spearman 1.000 (95 %: 1.000 .. 1.000)" in text
