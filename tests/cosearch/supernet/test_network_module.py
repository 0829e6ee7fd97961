"""A network as a module: its parameters and multiply-accumulates are those of the cost model, counted by torch."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from accel_models.errors import WorkloadError
from accel_models.network_builder import NetworkBuilder
from accel_models.networks import NETWORKS, load_network
from accel_models.workload import Network
from cosearch.supernet import blocks
from cosearch.supernet.network_module import NetworkModule, recalibrate


def small() -> Network:
    net = NetworkBuilder("small", height=12)
    net.conv("stem", 8, 3, stride=2, activation="relu6")
    net.mbconv("block", 8, 3, 2, squeeze_excite=True)
    net.global_pool("pool")
    net.linear("classifier", 5)
    return net.build()


def counted_macs(network: Network) -> int:
    """Multiply-accumulates as torch counts them, without computing: a device that knows shapes only."""
    shape = network.input
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        NetworkModule(network).eval()(torch.empty(1, shape.channels, shape.height, shape.width))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", NETWORKS)
def test_every_shipped_network_runs_with_its_counts_and_shapes(name) -> None:
    network = load_network(name)
    with torch.device("meta"):
        module = NetworkModule(network).eval()
        x = torch.empty(2, network.input.channels, network.input.height, network.input.width)
    assert sum(parameter.numel() for parameter in module.parameters()) == network.params
    assert counted_macs(network) == network.macs
    tensors = module.tensors(x)
    for node in network.nodes:
        assert tensors[node.name].shape[1:].numel() == node.output.elements, node.name
    assert module(x).shape[0] == 2


def test_the_state_has_the_nodes_names() -> None:
    assert set(NetworkModule(small()).state_dict()) == {
        "classifier.weight",
        "classifier.bias",
        *(f"block.se.{part}.{key}" for part in ("reduce", "expand") for key in ("weight", "bias")),
        *(
            f"{name}.{key}"
            for name in ("stem", "block.expand", "block.depthwise", "block.project")
            for key in ("weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
        ),
    }


def test_it_runs_at_any_image_size_and_batch() -> None:
    module = NetworkModule(small()).eval()
    for n, height, width in ((1, 12, 12), (3, 17, 9), (2, 1, 1)):
        assert module(torch.randn(n, 3, height, width)).shape == (n, 5)


def test_the_same_seed_draws_the_same_weights() -> None:
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(NetworkModule(small()).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["stem.weight"], states[2]["stem.weight"])


def test_fresh_weights_have_the_spread_that_is_said() -> None:
    net = NetworkBuilder("n", channels=64, height=4)
    net.conv("dense", 128, 3)
    net.conv("depthwise", 128, 5, groups=128)
    net.conv("classify", 10, 1, batch_norm=False, bias=True)
    net.linear("linear", 400)
    torch.manual_seed(0)
    state = NetworkModule(net.build()).state_dict()
    assert state["dense.weight"].std().item() == pytest.approx(math.sqrt(2 / (128 * 9)), rel=0.02)
    assert state["depthwise.weight"].std().item() == pytest.approx(math.sqrt(2 / 25), rel=0.05)
    assert not state["classify.bias"].any()
    assert state["linear.weight"].abs().max().item() == pytest.approx(1 / math.sqrt(160), rel=0.01)
    assert 0 < state["linear.bias"].abs().max().item() <= 1 / math.sqrt(160)


def test_copies_and_pickles_have_weights_of_their_own() -> None:
    module, x = NetworkModule(small()).eval(), torch.randn(2, 3, 12, 12)
    expected = module(x)
    others = (copy.deepcopy(module), pickle.loads(pickle.dumps(module)))
    with torch.no_grad():
        module.get_parameter("stem.weight").zero_()
    for other in others:
        assert torch.equal(other(x), expected)


def test_training_changes_statistics_and_all_weights_get_gradients() -> None:
    module = NetworkModule(small()).train()
    module(torch.randn(8, 3, 12, 12)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert module.get_buffer("stem.bn.running_mean").any()
    before = module.get_buffer("stem.bn.running_mean").clone()
    module.eval()(torch.randn(8, 3, 12, 12))
    assert torch.equal(module.get_buffer("stem.bn.running_mean"), before)


def test_recalibration_is_the_average_over_all_images() -> None:
    net = NetworkBuilder("n", height=4)
    net.conv("conv", 5, 3)
    module = NetworkModule(net.build()).eval()
    with torch.no_grad():
        for buffer in module.buffers():
            buffer.fill_(7.0)
    batches = [torch.randn(n, 3, 4, 4) for n in (4, 2, 6)]
    recalibrate(module, batches)
    weight = module.get_parameter("conv.weight").detach()
    made = [nn.functional.conv2d(batch, weight, padding=1).transpose(0, 1).flatten(1) for batch in batches]
    for name, statistic in (("mean", [x.mean(1) for x in made]), ("var", [x.var(1) for x in made])):
        expected = (4 * statistic[0] + 2 * statistic[1] + 6 * statistic[2]) / 12
        torch.testing.assert_close(module.get_buffer(f"conv.bn.running_{name}"), expected)
    assert not module.training and module.momentum == 0.1
    with pytest.raises(ValueError, match="no training images"):
        recalibrate(module, [])


@pytest.mark.parametrize("name", ["train", "network", "first.forward", "momentum.conv"])
def test_a_node_with_a_name_of_torchs_is_refused(name) -> None:
    net = NetworkBuilder("n", height=4)
    net.conv(name, 4, 1)
    with pytest.raises(WorkloadError, match=f"network 'n': node '{name}' needs another name"):
        NetworkModule(net.build())


def test_a_nodes_name_may_begin_anothers() -> None:
    net = NetworkBuilder("n", height=4)
    net.conv("a.b.c", 4, 1)
    net.conv("a.b", 4, 1, bias=True)
    net.conv("a", 4, 1)
    network = net.build()
    module = NetworkModule(network)
    assert sum(parameter.numel() for parameter in module.parameters()) == network.params
    assert {"a.weight", "a.b.weight", "a.b.bias", "a.b.c.weight"} <= set(module.state_dict())


BLOCKS = {
    "bottleneck": (lambda: blocks.Bottleneck(8, 4, 16, 2), (16, 5, 6)),
    "resnext": (lambda: blocks.ResNeXtBottleneck(8, 8, 16, groups=4), (16, 9, 11)),
    "separable": (lambda: blocks.DepthwiseSeparable(8, 12, 5, 2), (12, 5, 6)),
    "inverted": (lambda: blocks.InvertedBottleneck(8, 8, squeeze_excite=True), (8, 9, 11)),
    "shuffle": (lambda: blocks.ShuffleBlock(8), (8, 9, 11)),
    "shuffle2": (lambda: blocks.ShuffleBlock(8, 12, 2), (12, 5, 6)),
    "attention": (lambda: blocks.SelfAttention(8, 2), (8, 9, 11)),
    "squeeze": (lambda: blocks.SqueezeExcite(8, 4), (8, 9, 11)),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_modules_with_the_cost_of_their_networks(name) -> None:
    make, shape = BLOCKS[name]
    module = make().eval()
    assert module(torch.randn(2, 8, 9, 11)).shape[1:] == shape
    assert sum(parameter.numel() for parameter in module.parameters()) == module.network.params
    assert counted_macs(module.network) == module.network.macs


def test_without_torch_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None\nimport cosearch.supernet"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "CosearchError: running and training networks needs torch: pip install 'cosearch[torch]'" in done.stderr


def test_cosearch_itself_does_not_import_torch() -> None:
    code = "import sys, cosearch, cosearch.cli, accel_models.blocks, accel_models.executable; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
