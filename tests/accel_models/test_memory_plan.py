"""When tensors live: by hand for the shapes that networks have, and equal to a slow twin that asks at every step."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel_models.errors import WorkloadError
from accel_models.memory_plan import BEFORE, Part, lifetimes, memory_plan
from accel_models.network_builder import NetworkBuilder
from accel_models.networks import load_network
from accel_models.workload import INPUT, Layer, Network, Node, TensorShape, VectorOp

# The slow twin: at every step, ask of every tensor whether it has been made and whether anything still wants it.


def sources(network: Network, name: str) -> set[str]:
    """Return the tensors behind a name, by following it back."""
    node = next((node for node in network.nodes if node.name == name), None)
    if node is None or not isinstance(node.op, VectorOp) or not node.op.fused:
        return {name}
    if node.op.kind in ("concat", "shuffle"):
        return set().union(*(sources(network, source) for source in node.inputs))
    names = [INPUT, *(node.name for node in network.nodes)]
    latest = max(node.inputs, key=names.index)
    readers = sum(reader.inputs.count(latest) for reader in network.nodes)
    whole = latest != INPUT and not is_view(network, latest)
    if whole and readers == 1 and elements(network, latest) == node.output.elements:
        return sources(network, latest)
    return {name}


def is_view(network: Network, name: str) -> bool:
    op = next(node.op for node in network.nodes if node.name == name)
    return isinstance(op, VectorOp) and op.fused and op.kind in ("concat", "shuffle")


def elements(network: Network, name: str) -> int:
    return next((node.output.elements for node in network.nodes if node.name == name), network.input.elements)


def simulated_peak(network: Network) -> int:
    names = [node.name for node in network.nodes]
    stored = [name for name in [INPUT, *names] if sources(network, name) == {name}]
    stored = [name for name in stored if name == INPUT or not is_view(network, name)]
    unread = [name for name in names if not any(name in node.inputs for node in network.nodes)]
    peak = 0
    for now in range(len(names)):
        live = 0
        for name in stored:
            made = name == INPUT or names.index(name) <= now
            wanted = name != INPUT and names.index(name) == now
            for node in network.nodes[now:]:
                reads = not is_view(network, node.name)
                wanted |= reads and any(name in sources(network, source) for source in node.inputs)
            wanted |= any(name in sources(network, last) for last in unread)
            live += elements(network, name) * (made and wanted)
        peak = max(peak, live)
    return peak


KINDS = ("layer", "activation", "fused", "fused", "fused growth", "sum", "fused sum", "concat", "concat", "crop")


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Any graph of layers and vector operations, fused and not, on tensors of a few elements."""
    sizes = {INPUT: draw(st.integers(1, 9))}
    nodes = []
    for step in range(draw(st.integers(1, 9))):
        kind = draw(st.sampled_from(KINDS))
        many = kind in ("sum", "fused sum", "concat")
        inputs = draw(st.lists(st.sampled_from(list(sizes)), min_size=1, max_size=3 if many else 1))
        read = sum(sizes[name] for name in inputs)
        size = {
            "concat": read,
            "crop": draw(st.integers(1, read)),
            "layer": draw(st.integers(1, 9)),
            "fused growth": read + 1,
        }
        made = size.get(kind, sizes[inputs[-1]])
        vector = {"concat": "concat", "crop": "concat", "sum": "add", "fused sum": "add"}.get(kind, "activation")
        fused = kind not in ("layer", "activation", "sum")
        op = Layer(K=made) if kind == "layer" else VectorOp(vector, made, read, made, fused)
        nodes.append(Node(f"n{step}", op, tuple(inputs), TensorShape(made)))
        sizes[f"n{step}"] = made
    return Network("n", tuple(nodes), TensorShape(sizes[INPUT]))


@given(networks(), st.sampled_from([1, 2, 4]))
def test_the_peak_is_that_of_asking_at_every_step(network, width) -> None:
    plan = memory_plan(network, width)
    assert plan.peak_bytes == width * simulated_peak(network)


@given(networks())
def test_the_bytes_of_each_step_are_those_of_its_live_tensors(network) -> None:
    plan = memory_plan(network)
    size = dict(zip(plan.tensors, plan.tensor_bytes, strict=True))
    assert plan.live_bytes == tuple(sum(map(size.__getitem__, plan.live(step))) for step in range(len(plan.steps)))
    assert plan.live_bytes[plan.peak_step] == plan.peak_bytes == max(plan.live_bytes)


@given(networks())
def test_what_a_node_makes_lies_in_tensors_that_live_as_long_as_it_is_read(network) -> None:
    alive = lifetimes(network)
    tensors = {tensor.name: tensor for tensor in alive.tensors}
    for step, node in enumerate(network.nodes):
        assert {part.tensor for part in alive.parts[node.name]} == sources(network, node.name)
        for part in alive.parts[node.name]:
            assert tensors[part.tensor].maker <= step <= tensors[part.tensor].last
        for source in node.inputs:
            assert all(
                tensors[part.tensor].last >= step for part in alive.parts[source] if not is_view(network, node.name)
            )


def lives(network: Network) -> dict[str, tuple[int, int]]:
    return {tensor.name: (tensor.first, tensor.last) for tensor in lifetimes(network).tensors}


def test_in_a_chain_two_tensors_live_at_a_time() -> None:
    net = NetworkBuilder("chain", channels=2, height=4)  # 32 elements
    net.conv("a", 4, 1)  # 64
    net.conv("b", 8, 1, activation="relu")  # 128, changed in place
    net.conv("c", 1, 1)  # 16: the result
    plan = memory_plan(net.build())
    assert lives(net.build()) == {INPUT: (0, 0), "a": (0, 1), "b": (1, 3), "c": (3, 3)}
    assert plan.steps == ("a", "b", "b.relu", "c")
    assert plan.live_bytes == (32 + 64, 64 + 128, 128, 128 + 16)
    assert (plan.peak_bytes, plan.peak_step) == (192, 1)
    assert [tensor.name for tensor in plan.live(1)] == ["a", "b"]


def test_a_residual_lives_through_its_branch_and_counts_once() -> None:
    net = NetworkBuilder("residual", channels=2, height=4)
    first = net.conv("first", 2, 1)  # 32
    net.conv("wide", 6, 1)  # 96
    last = net.conv("narrow", 2, 1)  # 32
    net.add("sum", first, last)  # 32
    plan = memory_plan(net.build())
    assert lives(net.build()) == {INPUT: (0, 0), "first": (0, 3), "wide": (1, 2), "narrow": (2, 3), "sum": (3, 3)}
    assert plan.live_bytes == (64, 32 + 96, 32 + 96 + 32, 32 + 32 + 32)


def test_squeeze_and_excite_keeps_its_image_until_it_is_scaled() -> None:
    net = NetworkBuilder("se", channels=1, height=4)
    net.conv("image", 8, 1)  # 8 x 16 = 128 elements
    net.squeeze_excite("se", 2)
    alive = lives(net.build())
    # image, pool, reduce, its relu, expand, its gate, scale
    assert alive == {INPUT: (0, 0), "image": (0, 6), "se.pool": (1, 2), "se.reduce": (2, 4), "se.expand": (4, 6),
                     "se.scale": (6, 6)}  # fmt: skip
    assert memory_plan(net.build()).live_bytes == (16 + 128, 136, 128 + 8 + 2, 130, 128 + 2 + 8, 136, 128 + 8 + 128)


def test_a_concatenation_is_where_its_parts_are() -> None:
    net = NetworkBuilder("concat", channels=1, height=4)
    left = net.conv("left", 2, 1, x=INPUT)  # 32
    right = net.conv("right", 3, 1, x=INPUT)  # 48
    joined = net.concat("joined", left, right)
    net.conv("next", 1, 1)
    net.conv("again", 1, 1, x=joined)
    alive = lifetimes(net.build())
    assert alive.parts["joined"] == (Part("left", 32), Part("right", 48))
    assert lives(net.build()) == {INPUT: (0, 1), "left": (0, 4), "right": (1, 4), "next": (3, 4), "again": (4, 4)}
    assert memory_plan(net.build()).live_bytes == (16 + 32, 16 + 80, 80, 80 + 16, 80 + 16 + 16)


def test_a_crop_reads_less_of_a_tensor_that_lives_whole() -> None:
    net = NetworkBuilder("crop", channels=1, height=6)
    net.conv("image", 2, 1)  # 72
    net.conv("small", 2, 3, padding=0)  # 2 x 16
    cut = net.crop("cut", 4, 4, x="image")
    net.concat("joined", cut, "small")
    net.crop("again", 2, 2)
    net.conv("next", 1, 1)
    alive = lifetimes(net.build())
    assert alive.parts["joined"] == (Part("image", 32), Part("small", 32))
    assert alive.parts["again"] == (Part("image", 8), Part("small", 8))
    assert lives(net.build()) == {INPUT: (0, 0), "image": (0, 5), "small": (1, 5), "next": (5, 5)}


def test_an_activation_is_a_second_tensor_where_the_first_is_read_as_well() -> None:
    net = NetworkBuilder("both", channels=1, height=4)
    made = net.conv("made", 1, 1, activation="relu")
    net.add("sum", "made", made)
    assert lives(net.build()) == {INPUT: (0, 0), "made": (0, 2), "made.relu": (1, 2), "sum": (2, 2)}


def test_results_live_to_the_end() -> None:
    net = NetworkBuilder("heads", channels=1, height=4)
    trunk = net.conv("trunk", 2, 1)
    net.conv("head", 1, 1)
    net.conv("deep", 1, 1, x=trunk)
    tensors = {tensor.name: tensor for tensor in lifetimes(net.build()).tensors}
    assert {name: tensor.last for name, tensor in tensors.items()} == {INPUT: 0, "trunk": 2, "head": 2, "deep": 2}
    assert {name for name, tensor in tensors.items() if tensor.is_result} == {"head", "deep"}
    assert (tensors[INPUT].maker, tensors["trunk"].readers) == (BEFORE, (1, 2))


def test_tensors_of_half_bytes_are_rounded_up_each() -> None:
    net = NetworkBuilder("small", channels=3, height=1)
    net.conv("odd", 5, 1)
    assert memory_plan(net.build(), 0.5).tensor_bytes == (2, 3)


@pytest.mark.parametrize("width", [0, -1, math.nan, math.inf])
def test_a_width_that_is_none_is_refused(width) -> None:
    net = NetworkBuilder("n", channels=3, height=1)
    net.conv("a", 5, 1)
    with pytest.raises(WorkloadError, match=r"network 'n': element_bytes = .* must be a positive number"):
        memory_plan(net.build(), width)


def test_mobilenet_v2_needs_what_mcunet_v2_says() -> None:
    # MCUNetV2 (Lin et al., NeurIPS 2021) gives 1,372 KiB for MobileNetV2 at 224 px, int8: the first expansion to 96
    # channels. Its depth-wise layers work in place; here the one behind that expansion has an output of its own.
    network = load_network("mobilenet-v2")
    plan = memory_plan(network)
    ops = [node.op for node in network.nodes]
    assert plan.live_bytes[ops.index(Layer(K=96, C=16, P=112, Q=112))] == 1372 * 1024
    depthwise = Layer(G=96, P=56, Q=56, R=3, S=3, stride_w=2, stride_h=2)
    assert (plan.peak_step, plan.peak_bytes) == (ops.index(depthwise), 96 * (112 * 112 + 56 * 56))
