"""Sub-networks of a trained supernet as an estimator: each is cut out, recalibrated and judged."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from cosearch.accuracy import AccuracyEstimator, make_estimator
from cosearch.accuracy.one_by_one import sampling_error_points
from cosearch.accuracy.supernet import make
from cosearch.errors import CosearchError
from cosearch.spaces import load_space

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from cosearch.supernet.data import load_data  # noqa: E402
from cosearch.supernet.device import threads  # noqa: E402
from cosearch.supernet.judge import judge, subnetwork  # noqa: E402
from cosearch.supernet.schedule import Phase, Schedule  # noqa: E402
from cosearch.supernet.sources import open_supernet  # noqa: E402
from cosearch.supernet.train import train_supernet  # noqa: E402

SPACE = load_space("digits")
SCHEDULE = Schedule(
    batch_size=200, calibration_images=300, phases=(Phase(name="teacher", epochs=4, learning_rate=0.05),)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A supernet whose largest network was trained for twenty steps."""
    out = tmp_path_factory.mktemp("supernet") / "training"
    with threads(1):
        train_supernet(SPACE, load_data("digits", 1), SCHEDULE, out)
    return out


def test_it_is_the_accuracy_of_the_network_that_is_cut_out(folder) -> None:
    estimator = make_estimator(f"supernet:{folder}", SPACE)
    assert isinstance(estimator, AccuracyEstimator)
    assert (estimator.quantity, estimator.scale) == ("top1_percent", "digits validation top-1, shared weights")
    assert estimator.note == "3,188 validation images, batch norms recalibrated, no fine-tuning"
    genomes = SPACE.sample_genomes(np.random.default_rng(0), 2)
    found = estimator.estimate(SPACE.numbers(genomes))
    data, supernet = load_data("digits", 1), open_supernet(folder, SPACE)
    with threads(1):
        expected = [judge(subnetwork(supernet, genome, data, 300), data).top1_percent for genome in genomes]
    assert found.value.tolist() == expected
    assert found.error_points.tolist() == [sampling_error_points(value, 3188) for value in expected]
    assert not found.extrapolated.any()


def test_it_travels_and_changes_no_global_state(folder) -> None:
    values = SPACE.numbers(SPACE.sample_genomes(np.random.default_rng(1), 1))
    estimator = pickle.loads(pickle.dumps(make(SPACE, str(folder))))
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    first = estimator.estimate(values)
    assert (torch.get_rng_state() == state).all()
    assert torch.get_num_threads() == threads
    assert make(SPACE, f"{folder}/supernet.pt#digits").name == f"supernet:{folder}/supernet.pt#digits"
    assert make(SPACE, str(folder)).estimate(values).value == first.value


def test_the_sampling_error_is_a_binomial_mean_deviation() -> None:
    hits = np.random.default_rng(0).binomial(200, 0.7, 200_000) / 2
    assert sampling_error_points(70.0, 200) == pytest.approx(np.abs(hits - 70).mean(), rel=0.02)
    assert sampling_error_points(100.0, 200) == 0
    assert sampling_error_points(50.0, 100) == pytest.approx(5 * math.sqrt(2 / math.pi))


def test_mistakes(folder, tmp_path) -> None:
    cases = {
        "": "^estimator 'supernet' needs what `cosearch train` wrote: supernet:PATH",
        f"{tmp_path}/none.pt": "none.pt: cannot be read: No such file",
        f"{folder}/supernet.pt": "supernet.pt does not say which images judge it; name them, as in supernet:",
        f"{folder}#{tmp_path}/none": "^no data ",
        f"{folder}/checkpoint.pt": "a checkpoint of a training",
    }
    for argument, message in cases.items():
        with pytest.raises(CosearchError, match=message):
            make(SPACE, argument)
    with pytest.raises(CosearchError, match="a supernet of space 'digits', not of 'nas-bench-macro'"):
        make(load_space("nas-bench-macro"), str(folder))
