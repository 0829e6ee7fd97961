"""Training each network as an estimator: the same again, with an error only where several trainings tell one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cosearch.accuracy import AccuracyEstimator, make_estimator
from cosearch.accuracy.one_by_one import sampling_error_points
from cosearch.accuracy.train import Effort, make, parse_effort, summary
from cosearch.errors import CosearchError
from cosearch.spaces import load_space

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

SPACE = load_space("digits")


def test_two_trainings_are_the_same_again_and_leave_the_global_state() -> None:
    values = SPACE.numbers(SPACE.sample_genomes(np.random.default_rng(0), 1))
    estimator = make_estimator("train:digits#epochs=2,repeats=2", SPACE)
    assert isinstance(estimator, AccuracyEstimator)
    assert (estimator.quantity, estimator.scale) == ("top1_percent", "digits validation top-1, 2 epochs")
    assert estimator.note == "trained from scratch, 2 trainings each, 3,188 validation images"
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    found = estimator.estimate(values)
    assert (torch.get_rng_state() == state).all()
    assert torch.get_num_threads() == threads
    torch.manual_seed(99)
    again = make(SPACE, "digits#repeats=2,epochs=2").estimate(values)
    assert (found.value, found.error_points) == (again.value, again.error_points)
    one = make(SPACE, "digits#epochs=2").estimate(values)
    assert math.isnan(one.error_points[0])
    assert abs(one.value - found.value) > 0, "the second seed trains other weights"


def test_training_helps() -> None:
    values = SPACE.numbers((SPACE.choices_per_knob - 1)[None])
    short, longer = (make(SPACE, f"digits#epochs={epochs}").estimate(values).value[0] for epochs in (1, 10))
    assert longer > short + 5


def test_the_error_is_the_difference_to_be_expected_to_one_more_training() -> None:
    """Trainings of deviation 2 points, each judged by 1,000 images: three of them against a fourth, many times over."""
    rng = np.random.default_rng(0)
    truth = 80 + 2 * rng.standard_normal((20_000, 4))
    seen = 100 * rng.binomial(1000, truth / 100) / 1000
    off = np.abs(seen[:, :3].mean(1) - seen[:, 3]).mean()
    errors = [summary(list(row), 1000)[1] for row in seen[:, :3]]
    assert summary(list(seen[0, :3]), 1000)[0] == pytest.approx(seen[0, :3].mean())
    assert np.mean(errors) == pytest.approx(
        off, rel=0.2
    )  # the deviation of three is biased low, its images counted twice
    assert summary([70.0, 70.0], 1000)[1] == sampling_error_points(70.0, 1000)


def test_options() -> None:
    assert parse_effort("") == Effort(20, 1)
    assert parse_effort("repeats=3, epochs=5") == Effort(5, 3)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("", "^estimator 'train' needs images: train:digits or train:FOLDER"),
        ("#epochs=2", "^estimator 'train' needs images"),
        ("digits#epoch=2", "^estimator 'train': unknown option 'epoch': did you mean 'epochs'"),
        ("digits#epochs=0", "^estimator 'train': 'epochs=0': epochs is a positive whole number, named once"),
        ("digits#epochs", "^estimator 'train': 'epochs': epochs is a positive whole number"),
        ("digits#epochs=1,epochs=2", "^estimator 'train': 'epochs=2': epochs is a positive whole number, named once"),
        ("/no/such/folder", "^no data '/no/such/folder'"),
    ],
)
def test_mistakes(argument, message) -> None:
    with pytest.raises(CosearchError, match=message):
        make(SPACE, argument)
