"""The truth of a small sub-space: against enumeration, whole evaluations and plain cost tables; stopped and continued."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import ground_truth, known_machines, known_space
from benchmarks.known_space import KnownSpace, Question, machines_of
from cosearch.accuracy._base import AccuracyEstimate
from cosearch.cost_table import make_cost_table
from cosearch.errors import CosearchError, RunError
from cosearch.evaluate import Evaluator, Specification
from cosearch.results import nondominated
from cosearch.spaces.ofa_mobilenet_v3 import OfaMobileNetV3
from cosearch.spaces.pieces import PiecewiseSpace

EIGHT = ground_truth.fewer(known_space.CHOICES, 10)
ALL = (("top1", "latency"), ("top1", "energy"), ("top1", "latency", "energy"))


class Tiny(OfaMobileNetV3):
    """1,024 networks per resolution: two blocks per stage, each with one of two expand ratios."""

    def __init__(self, resolutions: tuple[int, ...]) -> None:
        super().__init__(1.0)
        PiecewiseSpace.__init__(
            self, "tiny", "", resolutions=resolutions, depths=((2,),) * 5, kernels=(3,), expands=(3, 6)
        )  # fmt: skip


class Scores:
    """Estimates top-1 by the sum of a random score per option of each stage, that saturates; resolution counts too."""

    name = space_name = "tiny"
    scale, note, quantity = "random top-1", "a test", "top1_percent"

    def __init__(self) -> None:
        self.stage_scores = list(np.random.default_rng(3).random((5, 4)))

    def top1_of_score(self, score: NDArray[np.float64], resolution_px: NDArray[np.float64]) -> NDArray[np.float64]:
        return 70 * -np.expm1(-score) + resolution_px / 50

    def score_for_top1(self, top1_percent: float, resolution_px: int) -> float:
        raise AssertionError("no limits here")

    def estimate(self, values: NDArray[np.integer]) -> AccuracyEstimate:
        large = values[:, 6:].reshape(-1, 5, 2) == 6
        option = large[:, :, 0] + 2 * large[:, :, 1]
        score = sum(self.stage_scores[stage][option[:, stage]] for stage in range(5))
        return AccuracyEstimate(
            self.top1_of_score(score, values[:, 0].astype(float)),
            np.zeros(len(values)),
            np.zeros(len(values), dtype=bool),
        )


def test_the_stored_fronts_are_those_of_every_pair_of_a_tiny_space(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scores = Scores()
    for module in (known_space, known_machines):
        monkeypatch.setattr(module, "estimator_for", lambda name: scores)
    monkeypatch.setattr(known_space, "FewResolutions", Tiny)
    known_machines._question.cache_clear()
    file = tmp_path / "tiny.npz"
    machines = EIGHT | {"word_bits": (8, 16), "array_x": (16, 64), "dataflow_x": (("C",), ("P",), ("C", "R"))}
    ground_truth.make(Question(machines_of(machines), (128, 160)), ALL, file, 1)
    truth = KnownSpace.load(file)
    known_machines._question.cache_clear()
    every = np.array(list(itertools.product(*(range(count) for count in truth.space.choices_per_knob))))
    assert len(every) == 2 * 1024 * 48
    for objectives in ALL:
        front = truth.fronts[objectives]
        values = truth.values(every, objectives)
        expected = values[nondominated(values)]
        expected = expected[np.lexsort(expected.T[::-1])]
        assert len(front.values) == len(expected) > 20
        np.testing.assert_allclose(front.values, expected, rtol=1e-12)
        np.testing.assert_allclose(truth.values(front.genomes, objectives), front.values, rtol=1e-12)
    assert len(np.unique(truth.fronts[ALL[2]].machines)) > 2


def test_a_look_up_is_an_evaluation(small: KnownSpace) -> None:
    evaluator = Evaluator(
        Specification(small.space.networks, small.question.machines, "described", small.question.mapping)
    )
    genomes = small.space.sample_genomes(np.random.default_rng(0), 8)
    metrics = small.metrics(genomes)
    for place, genome in enumerate(genomes):
        outcome = evaluator(genome)
        assert metrics["latency_s"][place] == pytest.approx(outcome.latency_s, rel=1e-12)
        assert metrics["energy_j"][place] == pytest.approx(outcome.energy_j, rel=1e-12)
        machine = small.question.machine_numbers(small.space.split(genome[None])[1])[0]
        assert small.costs["area_mm2"][machine] == outcome.area_mm2
        assert small.question.word_bits[machine] == outcome.bits


def test_no_random_pair_is_better_than_the_true_front(small: KnownSpace) -> None:
    genomes = small.space.sample_genomes(np.random.default_rng(1), 3000)
    for objectives, front in small.fronts.items():
        both = np.concatenate([front.values, small.values(genomes, objectives)])
        assert np.array_equal(nondominated(both), np.arange(len(front.values)))


def test_sharing_mappings_among_machines_changes_no_cost() -> None:
    choices = EIGHT | {"array_x": (16, 64), "dataflow_x": (("C",), ("C", "R"), ("C", "G"))}
    question = Question(machines_of(choices), (128,))
    machines = range(question.count - 8, question.count)
    shared = ground_truth.machine_costs(question.to_json(), machines)
    for row, genome in enumerate(question.hardware_genomes(np.array(machines))):
        table = make_cost_table(question.space.networks, question.space.hardware.target(genome))
        np.testing.assert_array_equal(shared["cycles"][row], table.cycles)
        np.testing.assert_array_equal(shared["energy_j"][row], table.energy_j)


def test_machines_that_cost_more_in_every_piece_are_left_out() -> None:
    costs = np.array([[3.0, 3.0], [1.0, 2.0], [2.0, 1.0], [1.0, 2.0], [np.nan, np.nan], [3.0, 3.0]])
    bits = np.array([8, 8, 8, 8, 16, 16])
    assert ground_truth.useful_machines(costs, bits).tolist() == [1, 2, 5]


def test_stopped_and_continued_is_the_same_file(
    small_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    question, fronts = KnownSpace.load(small_file).question, ALL[:2]
    monkeypatch.setattr(ground_truth, "MACHINES_PER_PART", 3)
    costs, asked = ground_truth.machine_costs, []

    def until(stop: int) -> Callable[[str, range], known_machines.Arrays]:
        def work(text: str, machines: range) -> known_machines.Arrays:
            asked.append(machines.start)
            if machines.start == stop:
                raise KeyboardInterrupt
            return costs(text, machines)

        return work

    file = tmp_path / "again.npz"
    monkeypatch.setattr(ground_truth, "machine_costs", until(6))
    with pytest.raises(KeyboardInterrupt):
        ground_truth.make(question, fronts, file, 1)
    assert not file.exists()
    other = Question(machines_of(EIGHT), (160,))
    with pytest.raises(RunError, match="parts are of another sub-space"):
        ground_truth.make(other, fronts, file, 1)
    monkeypatch.setattr(ground_truth, "machine_costs", until(-1))
    ground_truth.make(question, fronts, file, 1)
    assert asked == [0, 3, 6, 6]
    assert file.read_bytes() == small_file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again.npz"]


def test_the_number_of_processes_changes_nothing(small_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "two.npz"
    ground_truth.make(KnownSpace.load(small_file).question, ALL[:2], file, 2)
    assert file.read_bytes() == small_file.read_bytes()


def test_fewer_machines_are_a_product_of_first_choices() -> None:
    assert {name: len(values) for name, values in EIGHT.items() if len(values) > 1} == {
        "array_y": 2, "dataflow_x": 2, "dataflow_y": 2,
    }  # fmt: skip
    assert all(values == known_space.CHOICES[name][: len(values)] for name, values in EIGHT.items())
    assert ground_truth.fewer(known_space.CHOICES, 10_368) == known_space.CHOICES


def test_the_target_itself_is_one_of_the_machines() -> None:
    question = Question(machines_of(), (128,))
    assert question.count == 10_368
    hardware = question.space.hardware
    base = hardware.target(hardware.default)
    assert base == known_space.load_target(known_space.TARGET).model_copy(update={"search": ()})


def test_the_command_says_what_there_is(small_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ground_truth.main(small_file, 10, "128", "top1,latency;top1,energy", 1)
    said = capsys.readouterr().out
    assert "8 machines, 8 of them run the networks" in said
    assert "true front of top1, energy: " in said
    for arguments, message in (
        ((small_file, 10, "160", "top1,energy", 1), "there is another truth"),
        ((small_file, 10, "128", "top1,area", 1), "only top1, latency and energy"),
        ((small_file, 10, "128px", "top1,energy", 1), "no number of pixels"),
        ((small_file.with_name("absent.npz"), 10, "130", "top1,energy", 1), "resolution = 130"),
    ):
        with pytest.raises(CosearchError, match=message):
            ground_truth.main(*arguments)
    with pytest.raises(RunError, match="makes it"):
        KnownSpace.load(small_file.with_name("absent.npz"))
    with pytest.raises(RunError, match="no archive of arrays"):
        KnownSpace.load(Path(__file__))
