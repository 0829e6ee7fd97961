"""Sub-networks compute with the first channels of shared weights; what is extracted computes the same, at its own cost."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from accel_models.network_builder import NetworkBuilder
from accel_models.workload import Network
from cosearch.errors import SpaceError
from cosearch.space import Genomes, Knob, NetworkSpace
from cosearch.spaces import load_space
from cosearch.supernet.channels import middle_channels
from cosearch.supernet.network_module import NetworkModule, recalibrate
from cosearch.supernet.supernet import Supernet, extract
from tests.cosearch.small_space import SmallSpace, every_network

PUBLISHED = ("ofa-mobilenet-v3", "ofa-mobilenet-v3-w1.2", "ofa-proxyless", "ofa-resnet50")


def shaken(supernet: Supernet, seed: int = 0) -> Supernet:
    """The supernet with random biases, statistics and matrices, as training would leave them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in supernet.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(1 + noise.abs() / 2)
            elif tensor.dim() == 1 or "kernel_" in name:
                tensor.add_(noise / 10)
    return supernet.eval()


def images(n: int = 2, size: int = 32, seed: int = 0) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def small(**options) -> Supernet:
    torch.manual_seed(0)
    return shaken(Supernet(SmallSpace(**options)))


@pytest.fixture(scope="module", params=PUBLISHED)
def published(request) -> Supernet:
    torch.manual_seed(0)
    return shaken(Supernet(load_space(request.param)))


def test_extracted_networks_compute_the_same_at_the_cost_of_the_space(published) -> None:
    space, x = published.space, images()
    genomes = (published.largest, published.smallest, *space.sample_genomes(np.random.default_rng(1), 12))
    for number, genome in enumerate(genomes):
        module, network = extract(published, genome), space.network(genome)
        assert module.network == network
        with torch.no_grad():
            expected = published(x, genome)
            assert (module(x) - expected).abs().max() <= 1e-5 * expected.std()
        assert sum(parameter.numel() for parameter in module.parameters()) == network.params
        if number < 4:  # torch's counter takes its time; the benchmark has 200
            with torch.device("meta"), FlopCounterMode(display=False) as counter:
                NetworkModule(network).eval()(torch.empty(1, 3, network.input.height, network.input.width))
            assert counter.get_total_flops() // 2 == network.macs


def test_sorting_keeps_what_the_largest_network_computes(published) -> None:
    supernet, x = copy.deepcopy(published), images()
    with torch.no_grad():
        before, other = supernet(x), supernet(x, supernet.smallest)
        supernet.sort_channels()
        after, sorted_other = supernet(x), supernet(x, supernet.smallest)
    assert (after - before).abs().max() <= 1e-4 * before.std()
    assert (sorted_other - other).abs().max() > 1e-2 * other.std()


def test_the_important_channels_come_first(published) -> None:
    supernet = copy.deepcopy(published)
    supernet.sort_channels()
    state = supernet.state_dict()
    names = ("project", "conv2", "conv3", "se.expand")
    readers = [key for key in state if key.startswith("stage") and key.removesuffix(".weight").endswith(names)]
    assert len(readers) >= 20
    for key in readers:
        if "bn" not in key and state[key].dim() == 4:
            importance = state[key].abs().sum((0, 2, 3))
            assert (importance.diff() <= 1e-4 * importance[0]).all(), key


def test_trained_widths_keep_their_channels() -> None:
    supernet = Supernet(load_space("ofa-mobilenet-v3"))
    space, name = supernet.space, "stage2.block2"  # of 40 channels: 120, 160 or 240 in the middle
    before = supernet.state_dict()[f"{name}.project.weight"].clone().abs().sum((0, 2, 3))
    middle = space.genome(space.values(supernet.largest) | {f"expand_{number}": 4 for number in range(1, 21)})
    supernet.sort_channels(trained=[supernet.largest, middle])
    after = supernet.state_dict()[f"{name}.project.weight"].abs().sum((0, 2, 3))
    torch.testing.assert_close(after[:160], before[:160].sort(descending=True)[0])
    torch.testing.assert_close(after[160:], before[160:].sort(descending=True)[0])


@pytest.mark.parametrize("options", [{}, {"widths": (50, 100), "stem": True}])
def test_networks_of_a_small_space_extract_to_themselves(options) -> None:
    supernet, x = small(**options), images(size=16)
    genomes = every_network(supernet.space)
    genomes = genomes[:: len(genomes) // 40]
    for genome in genomes:
        with torch.no_grad():
            expected = supernet(x, genome)
            torch.testing.assert_close(extract(supernet, genome)(x), expected, rtol=1e-5, atol=1e-6)


def test_a_sub_network_takes_the_first_channels_and_the_kernels_centre() -> None:
    supernet = small()
    space = supernet.space
    genome = space.genome({"resolution": 16, "depth_1": 1, "depth_2": 1, "kernel_3": 1, "expand_3": 2})
    state, own = supernet.state_dict(), extract(supernet, genome).state_dict()
    assert torch.equal(own["2.1.expand.weight"], state["2.1.expand.weight"][:16, :8])
    assert torch.equal(own["2.1.depthwise.bn.running_var"], state["2.1.depthwise.bn.running_var"][:16])
    centre = state["2.1.depthwise.weight"][:16, :, 1:2, 1:2] * state["2.1.depthwise.kernel_3_to_1"][0, 0]
    torch.testing.assert_close(own["2.1.depthwise.weight"], centre)


def test_a_kernel_shrinks_step_by_step() -> None:
    """Facts: the centre 5x5 of the 7x7, flattened, times a matrix of 25 x 25; the centre 3x3 of that times 9 x 9."""
    supernet = shaken(Supernet(load_space("ofa-proxyless")))
    space = supernet.space
    state = supernet.state_dict()
    name = "stage1.block1.depthwise"
    seven, first, second = (state[f"{name}.{key}"] for key in ("weight", "kernel_7_to_5", "kernel_5_to_3"))
    assert first.shape == (25, 25) and second.shape == (9, 9)
    for channel in (0, 100):
        five = (first @ seven[channel, 0, 1:6, 1:6].flatten()).view(5, 5)
        three = (second @ five[1:4, 1:4].flatten()).view(3, 3)
        for kernel, expected in ((7, seven[channel, 0]), (5, five), (3, three)):
            genome = space.genome(space.values(supernet.largest) | {"kernel_1": kernel})
            made = supernet.weights(genome)[name].weight
            torch.testing.assert_close(made[channel, 0], expected)


def test_fresh_matrices_are_the_identity() -> None:
    supernet = Supernet(SmallSpace())
    matrices = {name: tensor for name, tensor in supernet.state_dict().items() if "kernel_" in name}
    assert len(matrices) == 4
    assert all(torch.equal(tensor, torch.eye(1)) for tensor in matrices.values())


def test_training_a_sub_network_moves_its_own_part_only() -> None:
    supernet = small().train()
    before = copy.deepcopy(supernet.state_dict())
    genome = supernet.smallest
    optimiser = torch.optim.SGD(supernet.parameters(), lr=0.1)
    supernet(images(8, 16), genome).square().sum().backward()
    optimiser.step()
    state = supernet.state_dict()
    assert not torch.equal(state["1.1.depthwise.weight"][:8], before["1.1.depthwise.weight"][:8])
    assert torch.equal(state["1.1.depthwise.weight"][8:], before["1.1.depthwise.weight"][8:])
    assert not torch.equal(state["1.1.depthwise.bn.running_mean"][:8], before["1.1.depthwise.bn.running_mean"][:8])
    assert torch.equal(state["1.1.depthwise.bn.running_mean"][8:], before["1.1.depthwise.bn.running_mean"][8:])
    assert torch.equal(state["1.2.project.weight"], before["1.2.project.weight"])
    assert not torch.equal(state["1.1.depthwise.kernel_3_to_1"], before["1.1.depthwise.kernel_3_to_1"])


def test_an_extracted_module_has_weights_of_its_own() -> None:
    supernet, x = small(), images(size=16)
    module = extract(supernet, supernet.smallest)
    before = module(x)
    recalibrated = copy.deepcopy(module)
    recalibrate(recalibrated, [images(16, 16)])
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.zero_()
    assert torch.equal(module(x), before) and not torch.equal(recalibrated(x), before)


def test_extraction_draws_nothing() -> None:
    supernet = small()
    state = torch.random.get_rng_state()
    extract(supernet, supernet.smallest)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_other_classes() -> None:
    torch.manual_seed(0)
    supernet = Supernet(SmallSpace(), classes=4).eval()
    assert supernet(images(3, 16)).shape == (3, 4)
    module = extract(supernet, supernet.smallest)
    assert module(images(3, 16)).shape == (3, 4)
    assert module.network == supernet.network(supernet.smallest)


def test_a_genome_outside_the_space_is_refused() -> None:
    supernet = small()
    for genome in (np.zeros(3, dtype=np.int64), np.full_like(supernet.largest, 9), supernet.largest - 2):
        with pytest.raises(SpaceError, match="space 'small'"):
            supernet(images(size=16), genome)
        with pytest.raises(SpaceError, match="space 'small'"):
            extract(supernet, genome)


class Odd(NetworkSpace):
    """Two choices whose networks the test makes."""

    name, summary = "odd", "a test"
    knobs = (Knob("which", (0, 1)),)
    size = 2

    def __init__(self, *add) -> None:
        self.add = add

    def network(self, genome: Genomes) -> Network:
        net = NetworkBuilder("odd", channels=3, height=4)
        self.add[int(genome[0])](net)
        net.conv("last", 2, 1)
        return net.build()


@pytest.mark.parametrize("name", ["nas-bench-201", "nas-bench-macro", "darts"])
def test_spaces_of_named_operations_are_no_supernets(name) -> None:
    with pytest.raises(SpaceError, match=f"space '{name}' is no supernet"):
        Supernet(load_space(name))


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (lambda n: n.conv("a", 8, 1), lambda n: n.conv("b", 8, 1), "has no node 'a'"),
        (lambda n: n.conv("a", 8, 1), lambda n: n.conv("a", 4, 1), "'a' is larger than the largest network's node"),
        (lambda n: n.conv("a", 6, 1, groups=3), lambda n: n.conv("a", 12, 1, groups=3), "changes the channels of a group"),
        (lambda n: n.conv("a", 8, 1, bias=True), lambda n: n.conv("a", 8, 1), "is no part of the largest network's node"),
        (lambda n: n.linear("a", 8), lambda n: n.conv("a", 8, 1), "is no part of the largest network's node"),
        (
            lambda n: (n.pool("p", 2), n.position_embedding("a")),
            lambda n: (n.pool("p", 1), n.position_embedding("a")),
            "'a' learns a tensor of one image size",
        ),
    ],
)  # fmt: skip
def test_a_space_whose_largest_network_does_not_contain_the_others_is_refused(first, second, said) -> None:
    with pytest.raises(SpaceError, match="'odd'") as caught:
        Supernet(Odd(first, second))
    assert said in str(caught.value)


def test_tokens_and_norms_are_elastic_too() -> None:
    def encoder(width: int):
        def add(net: NetworkBuilder) -> None:
            net.conv("patch", width, 2, stride=2, padding=0, batch_norm=False, bias=True)
            net.tokens("tokens")
            net.class_token("token")
            net.position_embedding("positions")
            net.layer_norm("norm")
            net.attention("attention", width // 4)

        return add

    supernet = shaken(Supernet(Odd(encoder(8), encoder(16))))
    for genome in (supernet.smallest, supernet.largest):
        module = extract(supernet, genome)
        assert sum(parameter.numel() for parameter in module.parameters()) == supernet.network(genome).params
        with torch.no_grad():
            torch.testing.assert_close(module(images(size=4)), supernet(images(size=4), genome))


def sets_of(add) -> list[tuple]:
    net = NetworkBuilder("n", channels=8, height=8)
    add(net)
    net.linear("classifier", 3, x=net.global_pool("pool"))
    return [(c.makers, c.readers, c.gates) for c in middle_channels(net.build())]


def test_the_channels_inside_a_block_are_found() -> None:
    found = sets_of(lambda net: net.mbconv("b", 8, 3, 4, squeeze_excite=True))
    assert (["b.expand", "b.depthwise", "b.se.expand"], ["b.project"], ["b.se.reduce"]) in found
    assert (["b.se.reduce"], ["b.se.expand"], []) in found
    assert len(found) == 2  # the block's outputs are summed: their order is fixed


@pytest.mark.parametrize(
    "add",
    [
        lambda net: net.add("sum", net.conv("a", 8, 1), "input"),
        lambda net: net.concat("join", net.conv("a", 8, 1), "input"),
        lambda net: net.channel_shuffle("mix", 2, x=net.conv("a", 8, 1)),
        lambda net: net.layer_norm("norm", x=net.conv("a", 8, 1)),
        lambda net: net.conv("grouped", 8, 1, groups=2, x=net.conv("a", 8, 1)),
        lambda net: net.linear("flat", 8, x=net.conv("a", 8, 1)),
        lambda net: (net.conv("a", 8, 1), net.conv("left", 4, 1), net.concat("c", "left", net.conv("b", 4, 1, x="a"))),
    ],
)
def test_channels_that_something_else_depends_on_stay(add) -> None:
    net_sets = sets_of(lambda net: (add(net), net.conv("after", 8, 1)))
    assert not any("a" in makers for makers, _, _ in net_sets)
