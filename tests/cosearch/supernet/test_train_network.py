"""One network trained alone, and how it is judged."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from cosearch.errors import TrainingError
from cosearch.spaces.digits import Digits
from cosearch.supernet.judge import judge, recalibrate_on
from cosearch.supernet.network_module import NetworkModule
from cosearch.supernet.schedule import AloneSchedule
from cosearch.supernet.train_network import fresh_module, train_network

from .short import few_digits

SPACE = Digits()
SMALL = SPACE.network(SPACE.genome({"resolution": 8}))


@pytest.fixture(scope="module")
def data():
    return few_digits()


def made(seed: int) -> NetworkModule:
    return fresh_module(lambda: NetworkModule(SMALL), seed)


def test_training_lowers_the_loss_and_depends_on_its_seed_alone(data) -> None:
    schedule = AloneSchedule(epochs=6, learning_rate=0.1, dropout=0.1, seed=4)
    losses: list[float] = []
    first = train_network(made(4), data, schedule, on_epoch=lambda epoch, loss: losses.append(loss))
    torch.manual_seed(99)
    second = train_network(made(4), data, schedule)
    assert len(losses) == 6 and losses[-1] < losses[0] - 0.1
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    assert not first.training
    assert judge(first, data).top1_percent > 20  # of ten classes


def test_fresh_weights_are_the_seeds_and_leave_torchs_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, same, other = made(0), made(0), made(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


def test_judging_counts_what_is_right(data) -> None:
    module = made(0)
    recalibrate_on(module, data, 300)
    score = judge(module, data)
    assert module.training
    module.eval()
    batch = next(iter(data.validation_batches(8)))
    logits = module(batch.images)
    assert score.top1_percent == pytest.approx(100 * (logits.argmax(1) == batch.labels).double().mean().item())
    assert score.cross_entropy == pytest.approx(functional.cross_entropy(logits, batch.labels).item(), rel=1e-5)


def test_a_loss_that_explodes_is_told(data) -> None:
    with pytest.raises(TrainingError, match=r"network 'digits', epoch \d+: the loss became (nan|inf)"):
        train_network(made(0), data, AloneSchedule(epochs=4, learning_rate=1e25))
