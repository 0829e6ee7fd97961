"""Who says what of networks alone: how a search takes it, records it and refuses what nobody says."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from accel_models import load_target
from cosearch import accuracy
from cosearch.accuracy._base import AccuracyEstimate, AccuracyEstimator
from cosearch.accuracy.quantisation import INT8
from cosearch.efficiency import EfficiencyEstimate
from cosearch.errors import CosearchError, RunError, SearchError, UnknownNameError
from cosearch.estimates import NOTHING, Estimators
from cosearch.results import Study
from cosearch.spaces import load_space
from cosearch.study import resume, search
from tests.cosearch.small_space import SmallSpace

SPACE = SmallSpace()
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "space.yaml"


@dataclass(frozen=True)
class Counting:
    """Likes what a number of the genome says, times a factor."""

    quantity: str = "proxy_score"
    factor: float = 1.0
    scale: str = "sum of the choices"
    error: float = math.nan
    name = "counting"
    space_name = "small"
    note = "a test"

    def estimate(self, values: np.ndarray) -> AccuracyEstimate:
        n = len(values)
        return AccuracyEstimate(
            self.factor * values.sum(axis=1), np.full(n, self.error), np.asarray(values[:, 0] > 16, dtype=bool)
        )


@dataclass(frozen=True)
class Device:
    """A microsecond per pixel of width."""

    name = "a device"
    space_name = "small"
    device = "a device"

    def estimate(self, values: np.ndarray) -> EfficiencyEstimate:
        latency_s = values[:, 0] * 1e-6
        return EfficiencyEstimate(latency_s, latency_s / 10, np.zeros(len(values), dtype=bool))


@pytest.fixture(scope="module")
def machine():
    return load_target("eyeriss")


def run(machine, objectives, out=None, budget=30, **options) -> Study:
    return search(SPACE, machine, objectives, budget=budget, population=10, fix_hardware=True, out=out, **options)


def test_nobody_says_nothing() -> None:
    assert Estimators().judge(np.zeros((2, 3), dtype=np.int64)) == [NOTHING, NOTHING]
    assert Estimators().judge(np.zeros((0, 3), dtype=np.int64)) == []
    assert Estimators(Counting()).judge(np.zeros((0, 3), dtype=np.int64)) == []


def test_a_score_is_recorded_as_a_score(machine) -> None:
    study = run(machine, ("proxy", "latency"), estimator=Counting())
    pairs = study.archive.pairs()
    for pair in pairs:
        values = SPACE.numbers(np.array([pair.genome]))
        assert pair.metrics["proxy_score"] == values.sum()
        assert math.isnan(pair.metrics["top1_percent"])
        assert pair.extrapolated == (values[0, 0] > 16)
    best = max(pairs, key=lambda pair: pair.metrics["proxy_score"])
    assert study.front_pairs()[0].metrics["proxy_score"] == best.metrics["proxy_score"]
    assert study.objectives[0].label == "sum of the choices"


def test_an_accuracy_pays_for_its_bits_and_a_score_does_not() -> None:
    values = np.full((1, 3), 20)
    error = 0.25
    known = Estimators(Counting("top1_percent", error=error), Device()).judge(values)[0]
    assert known.on(16) == known.metrics
    on_8 = known.on(8)
    assert on_8["top1_percent"] == pytest.approx(60 - INT8.points)
    assert on_8["top1_error_points"] == pytest.approx(error + INT8.error_points)
    assert on_8["device_latency_s"] == pytest.approx(20e-6)
    assert Estimators(Counting()).judge(values)[0].on(8)["proxy_score"] == 60


def test_a_measured_device_is_an_objective_and_a_limit(machine) -> None:
    study = run(machine, ("device-latency", "macs"), device=Device(), limits=("device_latency_ms<=0.02",))
    assert {pair.metrics["device_latency_s"] for pair in study.front_pairs()} == {16e-6}
    assert any(not pair.feasible for pair in study.archive.pairs())


@pytest.mark.parametrize(
    ("objectives", "options", "message"),
    [
        (("top1", "latency"), {}, "nothing measured says how accurate"),
        (("top1", "latency"), {"estimator": Counting()}, "nothing measured says how accurate"),
        (("proxy", "latency"), {"estimator": Counting("top1_percent")}, "name who gives it"),
        (("device-latency", "latency"), {}, "name its table"),
        (("latency",), {"limits": ("top1>=70",)}, "nothing measured says how accurate"),
    ],
)
def test_what_nobody_says_is_refused_before_anything_is_written(
    machine, tmp_path, objectives, options, message
) -> None:
    with pytest.raises(SearchError, match=message):
        run(machine, objectives, out=tmp_path / "run", **options)
    assert not list(tmp_path.iterdir())


def test_published_accuracies_stand_beside_their_own_kind_only(machine) -> None:
    assert not run(machine, ("top1", "macs"), estimator=Counting("top1_percent")).archive.references()
    imagenet = Counting("top1_percent", scale="estimated ImageNet top-1")
    assert run(machine, ("top1", "macs"), estimator=imagenet).archive.references()


def test_a_search_goes_on_with_the_same_estimator_only(machine, tmp_path) -> None:
    whole = run(machine, ("proxy", "latency"), tmp_path / "whole", 40, estimator=Counting())
    run(machine, ("proxy", "latency"), tmp_path / "part", 20, estimator=Counting())
    space = {"space": SPACE, "budget": 40}
    with pytest.raises(RunError, match="recorded with another estimator"):
        resume(tmp_path / "part", estimator=Counting(factor=2.0), **space)
    resumed = resume(tmp_path / "part", estimator=Counting(), **space)
    assert str(resumed.archive.pairs()) == str(whole.archive.pairs())  # NaN is not equal to itself, its text is


def test_a_described_space_is_in_the_record(machine, tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    shutil.copy(EXAMPLE, file)
    search(str(file), machine, ("latency", "macs"), budget=4, population=4, fix_hardware=True, out=tmp_path / "part")
    whole = search(
        str(file), machine, ("latency", "macs"), budget=8, population=4, fix_hardware=True, out=tmp_path / "whole"
    )
    file.unlink()
    resumed = resume(tmp_path / "part", budget=8)
    assert str(resumed.archive.pairs()) == str(whole.archive.pairs())


def test_estimators_by_name() -> None:
    ofa, other = load_space("ofa-mobilenet-v3"), load_space("ofa-proxyless")
    default = accuracy.estimator_for(ofa)
    assert isinstance(default, AccuracyEstimator)
    assert default.name == accuracy.make_estimator("predictor", ofa).name == "predictor"
    assert accuracy.estimator_for(other) is None
    with pytest.raises(CosearchError, match="knows the space 'ofa-mobilenet-v3' only"):
        accuracy.make_estimator("predictor", other)
    with pytest.raises(CosearchError, match="takes no argument"):
        accuracy.make_estimator("predictor:file", ofa)
    with pytest.raises(UnknownNameError, match="predictor"):
        accuracy.make_estimator("predicter", ofa)
