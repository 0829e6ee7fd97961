"""The exact strategy inside a search: fronts of machines are recorded, resumed, cut by the budget; what is left is the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accel_models.accelerator import Accelerator
from accel_models.description import load_target, parse_target
from cosearch import answers, machine_front, study
from cosearch.accuracy import estimator_for
from cosearch.archive import Archive
from cosearch.errors import RunError, SearchError
from cosearch.estimates import Estimators
from cosearch.evaluate import Evaluator, Specification
from cosearch.machine_front import spread
from cosearch.objective import to_minimise
from cosearch.results import Study, nondominated
from cosearch.strategies.exact import every_machine
from cosearch.study import resume, search

from .conftest import TARGET
from .small_space import SmallSpace, Stagewise, every_network

SMALLER = (
    TARGET.split("search:")[0]
    + """
search:
  - {name: array_x, sets: [buffer.fanout.x.size], choices: [4, 8], unit: PEs}
  - {name: buffer, sets: [buffer.entries], choices: [1, 1024, 4096], unit: words}
"""
)


@pytest.fixture(scope="module")
def few() -> Accelerator:
    """Six machines, two of which cannot run anything."""
    return parse_target(SMALLER, "few.yaml")


SPACE = SmallSpace()
SOMEBODY = Stagewise(SPACE, 3)
OBJECTIVES = ("top1", "latency", "energy")


@pytest.fixture(autouse=True)
def estimator(monkeypatch) -> None:
    monkeypatch.setattr(
        study, "estimator_for", lambda space: SOMEBODY if space.name == SPACE.name else estimator_for(space)
    )


def run(target: Accelerator, budget: int, out=None, **changes) -> Study:
    options = {"budget": budget, "population": 20, "seed": 1, "strategy": "exact", "out": out, **changes}
    return search(SPACE, target, options.pop("objectives", OBJECTIVES), **options)


def front_of(found: Study) -> np.ndarray:
    """Values of the recorded front, to be minimised, sorted."""
    values = to_minimise(found.objectives, [pair.metrics for pair in found.front_pairs()])
    return values[np.lexsort(values.T[::-1])]


@pytest.fixture(scope="module")
def every_pair(few) -> dict[str, np.ndarray]:
    """What all pairs cost, evaluated one by one: objectives (pairs, 3), to be minimised, and area (pairs,)."""
    evaluate = Evaluator(Specification(SPACE, few, "described", study.MappingOptions()))
    networks = every_network(SPACE)
    top1 = SOMEBODY.estimate(SPACE.numbers(networks)).value
    rows = []
    for machine in every_machine(evaluate.space.hardware):
        outcomes = [evaluate(np.concatenate([network, machine])) for network in networks]
        rows += [
            (-accuracy, one.latency_s * 1e3, one.energy_j * 1e3, one.area_mm2)
            for accuracy, one in zip(top1, outcomes, strict=True)
            if not one.reason
        ]
    every = np.array(rows)
    return {"values": every[:, :3], "area": every[:, 3]}


def true_front(values: np.ndarray) -> np.ndarray:
    values = values[nondominated(values)]
    return values[np.lexsort(values.T[::-1])]


def test_what_is_left_is_the_true_front(few, every_pair) -> None:
    found = run(few, 100_000)
    np.testing.assert_allclose(front_of(found), true_front(every_pair["values"]), rtol=1e-12)
    assert len({answer.machine for answer in found.archive.fronts()}) == 6
    assert sum(bool(pair.reason) for pair in found.archive.pairs()) >= 2


@pytest.mark.parametrize("most", [1, 3])
def test_answers_that_are_cut_short_hide_nothing_in_the_end(few, every_pair, monkeypatch, most) -> None:
    monkeypatch.setattr("cosearch.strategies.exact.PAIRS_PER_FRONT", most)
    found = run(few, 100_000)
    np.testing.assert_allclose(front_of(found), true_front(every_pair["values"]), rtol=1e-12)
    cut = {one.machine for one in found.archive.fronts() if one.most is not None and len(one.pairs) >= one.most}
    assert cut == {one.machine for one in found.archive.fronts() if one.most is None} != set()


def test_limits_are_kept_and_the_front_is_the_true_one_within_them(few, every_pair) -> None:
    area, latency = np.median(every_pair["area"]), np.median(every_pair["values"][:, 1])
    found = run(few, 100_000, limits=[f"area_mm2<={area}", f"latency_ms<={latency}"])
    keeps = (every_pair["area"] <= float(f"{area:g}")) & (every_pair["values"][:, 1] <= float(f"{latency:g}"))
    np.testing.assert_allclose(front_of(found), true_front(every_pair["values"][keeps]), rtol=1e-12)


@pytest.mark.parametrize(
    "limits", [[], ["area_mm2<=1e-6"], ["latency_ms<=1e-6"]], ids=["free", "too small", "too fast"]
)
@pytest.mark.parametrize("budget", [1, 5, 11, 30, 43, 52])
def test_a_run_cut_anywhere_resumes_to_what_it_would_have_been(few, tmp_path, limits, budget) -> None:
    whole = tmp_path / "whole"
    cut = tmp_path / "cut"
    for folder, first in ((whole, 120), (cut, budget)):
        try:
            run(few, first, folder, limits=limits).archive.close()
        except SearchError as error:
            assert "keeps the limits" in str(error) and limits, error
    try:
        resume(cut, budget=120, space=SPACE).archive.close()
    except SearchError as error:
        assert "keeps the limits" in str(error) and limits, error
    one, two = (Archive(folder / "archive.sqlite") for folder in (whole, cut))
    assert list(map(str, one.pairs())) == list(map(str, two.pairs()))
    assert one.fronts() == two.fronts()


def test_one_and_two_workers_write_the_same_bytes(few, tmp_path) -> None:
    for workers in (1, 2):
        run(few, 50, tmp_path / str(workers), workers=workers).archive.close()
    one, two = (tmp_path / name / "archive.sqlite" for name in "12")
    assert one.read_bytes() == two.read_bytes()


def test_an_answer_that_does_not_fit_its_record_is_not_continued(few, tmp_path) -> None:
    run(few, 20, tmp_path / "run").archive.close()
    archive = Archive(tmp_path / "run" / "archive.sqlite")
    assert [answer.complete for answer in archive.answers()] == [True, False]
    archive.set("config", {**archive.get("config"), "seed": 9})
    archive.close()
    with pytest.raises(RunError, match="not what this program would have recorded"):
        resume(tmp_path / "run", budget=120, space=SPACE)


def test_a_fixed_machine_is_known_in_full(few) -> None:
    found = run(few, 10_000, fix_hardware=True)
    assert [(front.most, front.complete) for front in found.archive.fronts()] == [(50, True)]  # 11 pairs are all
    assert len(found.front_pairs()) == len(found.archive.pairs())


def test_a_fixed_network_asks_no_fronts(few) -> None:
    network = replace(SPACE.sample(0), name="one")
    found = search(network, few, ("latency", "energy"), strategy="exact", budget=100, population=8)
    every = search(network, few, ("latency", "energy"), strategy="grid", budget=100, population=8)
    assert not found.archive.fronts()
    assert len(found.archive.pairs()) <= len(every.archive.pairs()) == 6
    np.testing.assert_array_equal(front_of(found), front_of(every))


def test_what_has_no_exact_front_is_refused_before_anything_is_written(few, tmp_path) -> None:
    with pytest.raises(SearchError, match="one to 3 of top1"):
        objectives = ("top1", "latency", "energy", "macs")
        search("ofa-mobilenet-v3", few, objectives, strategy="exact", budget=10, out=tmp_path / "a")
    described = load_target("edge_tpu").model_dump()
    described["levels"][-2]["holds_tensors"] = True
    held = Accelerator.model_validate(described)
    with pytest.raises(SearchError, match="keeps tensors between operations"):
        search("ofa-mobilenet-v3", held, ("latency",), strategy="exact", budget=10, out=tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_every_beginning_is_spread() -> None:
    values = np.random.default_rng(0).random((200, 2))
    order = spread(values, 30)
    assert order[:10].tolist() == spread(values, 10).tolist()
    assert len(set(order.tolist())) == 30
    assert spread(values, None).tolist() == list(range(200))
    assert spread(values[:3], 30).tolist()[0] == 0
    apart = [
        np.linalg.norm(values[order[:k], None] - values[order[:k]], axis=-1)[np.triu_indices(k, 1)].min()
        for k in (5, 20)
    ]
    random_apart = np.linalg.norm(values[:20, None] - values[:20], axis=-1)[np.triu_indices(20, 1)].min()
    assert apart[0] >= apart[1] > random_apart


def test_a_worker_answers_as_this_process_does(few) -> None:
    task = machine_front.FrontTask(
        Specification(SPACE, few, "described", study.MappingOptions()),
        ("latency_s", "energy_j", "top1_percent"),
        (),
        Estimators(SOMEBODY),
    )
    machines = every_machine(task.specification.space().hardware)
    here = list(machine_front.machine_fronts(task, machines, None, 1))
    with answers_pool() as pool:
        there = list(machine_front.machine_fronts(task, machines, pool, 2))
    assert [str(one.outcomes()) for one in here] == [str(one.outcomes()) for one in there]


def answers_pool():
    from cosearch.evaluate import open_pool

    return open_pool(2)


def test_the_pairs_of_a_front_cost_what_an_evaluation_says(few) -> None:
    found = run(few, 40)
    evaluate = Evaluator(Specification(SPACE, few, "described", study.MappingOptions()))
    for pair in found.archive.pairs():
        outcome = evaluate(np.array(pair.genome))
        assert bool(outcome.reason) == bool(pair.reason)
        if not pair.reason:
            estimate = Estimators(SOMEBODY).judge(SPACE.numbers(np.array([pair.genome[: len(SPACE.knobs)]])))[0]
            expected = answers.figures(outcome, estimate)
            for name, value in expected.items():
                assert pair.metrics[name] == pytest.approx(value, rel=1e-12, nan_ok=True), name
