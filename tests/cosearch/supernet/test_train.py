"""Progressive shrinking: what a step follows, that a killed training ends as one that was not, and what is refused."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from cosearch.errors import CheckpointError, TrainingError
from cosearch.spaces import load_space
from cosearch.spaces.digits import Digits
from cosearch.supernet.checkpoint import load_supernet
from cosearch.supernet.device import find_device
from cosearch.supernet.judge import judge, subnetwork
from cosearch.supernet.optimisation import Optimisation
from cosearch.supernet.sources import open_supernet
from cosearch.supernet.supernet import Supernet
from cosearch.supernet.train import _Training, at_resolution, train_supernet, training_resolutions

from .short import few_digits, phase, short

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data():
    return few_digits()


class StoppedError(Exception):
    pass


def stopping_after(epoch: int):
    def stop(progress) -> None:
        if progress.epoch == epoch:
            raise StoppedError

    return stop


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The folder of a training that nobody stopped."""
    folder = tmp_path_factory.mktemp("training") / "whole"
    train_supernet(Digits(), data, short(), folder)
    return folder


def states(folder):
    return [torch.load(folder / name, weights_only=True) for name in ("supernet.pt", "checkpoint.pt")]


def equal(left, right) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left if key != "log")
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    return torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right


@pytest.mark.parametrize("epoch", [1, 2, 3, 5])
def test_a_stopped_training_ends_with_the_same_bytes(data, whole, tmp_path, epoch) -> None:
    """After the first epoch, at the end of the teacher's phase, and inside and between others."""
    with pytest.raises(StoppedError):
        train_supernet(Digits(), data, short(), tmp_path, on_epoch=stopping_after(epoch))
    assert not (tmp_path / "supernet.pt").exists()
    torch.manual_seed(epoch)  # torch's own generator plays no part
    train_supernet(Digits(), data, short(), tmp_path, resume=True)
    assert all(map(equal, states(tmp_path), states(whole)))
    assert [row["epoch"] for row in log(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_going_on_with_an_ended_training_changes_nothing(data, whole) -> None:
    before = states(whole)
    train_supernet(Digits(), data, short(), whole, resume=True)
    assert all(map(equal, states(whole), before))


def test_another_seed_gives_other_weights(data, whole, tmp_path) -> None:
    train_supernet(Digits(), data, short(seed=1), tmp_path)
    assert not equal(states(tmp_path)[0], states(whole)[0])


def log(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]


def test_the_log_has_every_epoch_and_judges_at_each_phases_end(data, whole) -> None:
    rows = log(whole)
    assert [row["phase"] for row in rows] == ["teacher", "teacher", "kernel", "depth", "expand", "expand"]
    assert [row["epoch"] for row in rows if "largest_top1_percent" in row] == [2, 3, 4, 6]
    supernet = open_supernet(whole)
    genome = at_resolution(supernet.space, supernet.smallest, 10)
    score = judge(subnetwork(supernet, genome, data, 200), data)
    assert score.top1_percent == rows[-1]["smallest_top1_percent"]


def test_a_step_follows_the_sum_of_all_sub_networks_gradients(data) -> None:
    """A slow twin without momentum: cross-entropy to smoothed labels, and half that to the teacher's answers."""
    schedule = short(momentum=0.0, weight_decay=0.0, dropout=0.0)
    training = _Training(Digits(), data, schedule, CPU)
    space, twin = training._space, copy.deepcopy(training.supernet)
    training._enter(2)
    batch = next(iter(data.train_batches(50, (8,), 0)))
    networks = list(space.sample_genomes(np.random.default_rng(0), 3))
    training._step(schedule.phases[2], 0.3, batch, networks)
    with torch.no_grad():
        answers = twin(batch.images).softmax(1)
    twin.load_state_dict(
        Supernet(space, 10).state_dict() | {k: v for k, v in twin.state_dict().items() if "running" not in k}
    )
    total = 0.0
    for genome in networks:
        logits = twin(batch.images, genome)
        wanted = 0.9 * functional.one_hot(batch.labels, 10) + 0.1 / 10 + 0.5 * answers
        total = total - (wanted * logits.log_softmax(1)).sum(1).mean()
    total.backward()
    moved = 0
    for (name, found), before in zip(training.supernet.named_parameters(), twin.parameters(), strict=True):
        step = 0 if before.grad is None else 0.3 * before.grad
        torch.testing.assert_close(found, before - step, rtol=1e-4, atol=1e-5, msg=name)
        moved += before.grad is not None
    assert moved > 20


def test_weight_decay_spares_biases_and_normalisations() -> None:
    supernet = Supernet(Digits())
    decayed, spared = Optimisation(supernet, short(), CPU)._optimiser.param_groups
    names = {id(value): name for name, value in supernet.named_parameters()}
    assert (decayed["weight_decay"], spared["weight_decay"]) == (3e-5, 0.0)
    assert {names[id(value)] for value in spared["params"]} == {
        name for name in names.values() if name.endswith("bias") or ".bn." in name
    }
    assert len(decayed["params"]) + len(spared["params"]) == len(names)


def test_the_sandwich_has_the_largest_and_the_smallest(data) -> None:
    training = _Training(Digits(), data, short(), CPU)
    last = training._schedule.phases[-1]
    drawn = training._networks(last, training._opened[-1], np.random.default_rng(0))
    assert len(drawn) == 3
    assert (drawn[0] == training.supernet.largest).all()
    assert training._space.numbers(drawn[-1][None])[0, 1:4].tolist() == [1, 1, 1]


def test_the_teacher_is_the_first_phases_largest_network(data, whole) -> None:
    state = torch.load(whole / "checkpoint.pt", weights_only=True)
    assert state["epoch"] == 6
    teacher, supernet = state["teacher"], state["supernet"]
    assert teacher.keys() == {name for name in supernet if "kernel_" not in name}
    assert not torch.equal(teacher["classifier.weight"], supernet["classifier.weight"])


def test_half_precision_trains_weights_of_full_precision(data, tmp_path) -> None:
    made = train_supernet(Digits(), data, short(amp=True, phases=(phase("teacher"),)), tmp_path / "half")
    plain = train_supernet(Digits(), data, short(phases=(phase("teacher"),)), tmp_path / "full")
    for half, full in zip(made.parameters(), plain.parameters(), strict=True):
        assert half.dtype == torch.float32 and half.isfinite().all()
        torch.testing.assert_close(half, full, rtol=0, atol=0.1)
    assert not torch.equal(made.classifier.weight, plain.classifier.weight)


def test_resolutions_are_the_schedules_or_all() -> None:
    assert training_resolutions(Digits(), short()) == (6, 8, 10)
    assert training_resolutions(Digits(), short(resolutions=(8,))) == (8,)
    with pytest.raises(TrainingError, match="7 px is none of space 'digits', which has 6, 8, 10"):
        training_resolutions(Digits(), short(resolutions=(7,)))


# What is refused


def test_a_taken_folder_and_an_empty_one(data, whole, tmp_path) -> None:
    with pytest.raises(TrainingError, match="already has a training; go on with --resume"):
        train_supernet(Digits(), data, short(), whole)
    with pytest.raises(TrainingError, match=r"has no training to go on with \(checkpoint.pt is missing\)"):
        train_supernet(Digits(), data, short(), tmp_path, resume=True)


def test_going_on_with_something_else(data, whole) -> None:
    with pytest.raises(TrainingError, match="another schedule: seed: 0 there, 3 asked for"):
        train_supernet(Digits(), data, short(seed=3), whole, resume=True)
    with pytest.raises(TrainingError, match="another schedule: phases"):
        train_supernet(Digits(), data, short(phases=(phase("teacher"),)), whole, resume=True)


def test_a_checkpoint_cut_short(data, whole, tmp_path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes((whole / "checkpoint.pt").read_bytes()[:3000])
    with pytest.raises(CheckpointError, match=r"checkpoint.pt: is no file of tensors"):
        train_supernet(Digits(), data, short(), tmp_path, resume=True)


def test_a_supernet_of_another_space(whole) -> None:
    with pytest.raises(CheckpointError, match="a supernet of space 'digits', not of 'ofa-proxyless'"):
        load_supernet(whole / "supernet.pt", load_space("ofa-proxyless"))
    with pytest.raises(CheckpointError, match=r"a checkpoint of a training; the supernet is supernet\.pt"):
        open_supernet(whole / "checkpoint.pt")


def test_images_that_do_not_fit(data, tmp_path) -> None:
    with pytest.raises(TrainingError, match="reads images of 3 channels, those of digits have 1"):
        train_supernet(load_space("nas-bench-201"), data, short(phases=(phase("teacher"),)), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_loss_that_explodes_is_told(data, tmp_path) -> None:
    with pytest.raises(
        TrainingError, match=r"phase 'teacher', epoch \d: the loss became (nan|inf); a smaller learning"
    ):
        train_supernet(Digits(), data, short(phases=(phase("teacher", epochs=4, learning_rate=1e25),)), tmp_path)


def test_devices(monkeypatch) -> None:
    assert find_device("cpu") == CPU
    with pytest.raises(TrainingError, match="unknown device 'gpu'"):
        find_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match=r"device 'cuda': .*use --device cpu"):
        find_device("cuda")
