"""NAS-Bench-201: the benchmark's strings and published counts, which edges are built, and the cell against a slow twin."""

from __future__ import annotations

import ast
import csv
import itertools
import json
import pickle

import numpy as np
import pytest

from cosearch.errors import SpaceError
from cosearch.spaces.nas_bench_201 import EDGES, OPERATIONS, NasBench201, cifar10, contributing

space = cifar10()

BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|"
"""The best cell on CIFAR-10 of NATS-Bench's table."""

# The skeleton's MACs (stem, two reduction blocks, classifier) and parameters, by hand from the paper's section 2.1
STEM_MACS = 3 * 16 * 9 * 32 * 32
REDUCTION_MACS = 2 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32) * 16 * 16
SKELETON_MACS = STEM_MACS + REDUCTION_MACS + 64 * 10
SKELETON_PARAMS = 73_306

# One edge over 15 cells: facts of the benchmark (35.39 M and 3.93 M MACs); parameters with two per channel of a norm
EDGE_MACS = {"nor_conv_3x3": 35_389_440, "nor_conv_1x1": 3_932_160}
EDGE_PARAMS = {"nor_conv_3x3": 243_040, "nor_conv_1x1": 28_000}


def on_a_path(operations: dict[tuple[int, int], str]) -> set[tuple[int, int]]:
    """Slow twin of `contributing`: every path from node 0 to node 3, one by one."""
    found: set[tuple[int, int]] = set()
    for middle in ((), (1,), (2,), (1, 2)):
        path = [(made, read) for read, made in itertools.pairwise((0, *middle, 3))]
        if all(operations[edge] != "none" for edge in path):
            found.update(path)
    return found


def operations_of(genome) -> dict[tuple[int, int], str]:
    return dict(zip(EDGES, space.values(genome).values(), strict=True))


def with_edges(**operations: str):
    return space.genome(operations)


def test_there_are_as_many_networks_as_the_benchmark_trained():
    assert space.size == 15_625
    assert [knob.name for knob in space.knobs] == [
        "edge_1_0",
        "edge_2_0",
        "edge_2_1",
        "edge_3_0",
        "edge_3_1",
        "edge_3_2",
    ]


def test_no_two_genomes_are_one_network():
    genomes = space.sample_genomes(np.random.default_rng(0), 200)
    assert (space.canonical(genomes) == genomes).all()


def test_a_cell_is_read_and_written_in_the_benchmarks_form():
    genome = space.parse(BEST)
    assert space.values(genome) == {
        "edge_1_0": "nor_conv_3x3", "edge_2_0": "nor_conv_3x3", "edge_2_1": "nor_conv_3x3",
        "edge_3_0": "skip_connect", "edge_3_1": "nor_conv_1x1", "edge_3_2": "nor_conv_3x3",
    }  # fmt: skip
    for genome in space.sample_genomes(np.random.default_rng(1), 50):
        assert (space.parse(space.format(genome)) == genome).all()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"cannot read the cell ''; its form is \|op~0\|"),
        (BEST[:-1], "cannot read the cell"),
        (BEST.replace("~1", "~2"), "cannot read the cell"),
        (BEST + BEST, "cannot read the cell"),
        (BEST.replace("nor_conv_1x1", "conv_1x1"), "unknown operation 'conv_1x1': did you mean 'nor_conv_1x1'"),
    ],
)
def test_a_text_that_is_no_cell_is_refused(text, said):
    with pytest.raises(SpaceError, match=said):
        space.parse(text)


def test_an_unknown_data_set_is_refused():
    with pytest.raises(SpaceError, match="unknown data set 'cifar1': did you mean 'cifar10'"):
        NasBench201("cifar1")


def test_the_edges_that_count_are_those_on_a_path():
    for operations in itertools.product(("none", "nor_conv_3x3"), repeat=len(EDGES)):
        cell = dict(zip(EDGES, operations, strict=True))
        assert set(contributing(cell)) == on_a_path(cell)


@pytest.mark.parametrize("operation", ["nor_conv_3x3", "nor_conv_1x1"])
def test_one_edge_costs_what_the_benchmark_says(operation):
    network = space.network(with_edges(edge_3_0=operation))
    assert network.macs == SKELETON_MACS + EDGE_MACS[operation]
    assert network.params == SKELETON_PARAMS + EDGE_PARAMS[operation]


def test_a_cell_without_a_path_leaves_the_skeleton():
    for cell in ({}, {"edge_1_0": "nor_conv_3x3", "edge_3_2": "nor_conv_3x3"}):
        network = space.network(with_edges(**cell))
        assert (network.macs, network.params) == (SKELETON_MACS, SKELETON_PARAMS)


def test_a_published_count_is_met_on_every_data_set():
    """The benchmark's FLOPs of cell 0 count convolutions, the classifier and its bias (NATS-Bench, issue 24)."""
    cell = "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    published = {"cifar10": 15_647_370, "cifar100": 15_653_220, "imagenet16_120": 3_919_480}
    for data_set, flops in published.items():
        one = NasBench201(data_set)
        classifier = one.network(one.parse(cell)).nodes[-1]
        assert one.network(one.parse(cell)).macs + classifier.extra_params == flops


def test_params_and_flops_agree_with_published_ones_of_all_cells_at_hand(shared_data):
    """NAS-Bench-Suite-Zero's `params` and `flops` of about 725 cells per data set.

    They build every edge, those too that nothing depends on; FLOPs count three operations per element of a convolution
    (normalisation and ReLU) and nine of a pool, and a constant of the skeleton.
    """
    names = ("skip_connect", "none", "nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3")  # NASLib's order
    edges = ((1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (3, 2))
    published = json.loads((shared_data / "naslib_zero_cost" / "zc_nasbench201.json").read_text())
    for title, cells in published.items():
        one = NasBench201(title.lower().replace("-", "_"))
        scale = 1 / 4 if title == "ImageNet16-120" else 1  # of 16 px instead of 32
        elements = 5 * (16 * 32 * 32 + 32 * 16 * 16 + 64 * 8 * 8) * scale
        constants, whole = set(), 0
        for text, scores in cells.items():
            cell = dict(zip(edges, (names[op] for op in ast.literal_eval(text)), strict=True))
            network = one.network(one.genome({f"edge_{made}_{read}": op for (made, read), op in cell.items()}))
            unused = [operation for edge, operation in cell.items() if edge not in on_a_path(cell)]
            params = network.params + sum(EDGE_PARAMS.get(operation, 0) for operation in unused)
            assert params == round(1e6 * scores["params"]["score"])
            whole += params == network.params
            macs = network.macs + sum(EDGE_MACS.get(operation, 0) for operation in unused) * scale
            convolutions = sum(operation in EDGE_MACS for operation in cell.values())
            pools = sum(operation == "avg_pool_3x3" for operation in cell.values())
            constants.add(
                round(1e6 * scores["flops"]["score"] - macs - (3 * convolutions + 9 * pools) * elements)
            )  # fmt: skip
        assert len(constants) == 1
        assert whole / len(cells) > 0.7


def test_macs_agree_with_a_table_of_all_cells(shared_data):
    """`macs_cifar10` counts stem and edges, those too that nothing depends on."""
    with (shared_data / "nasbench201" / "nasbench201.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for place, row in enumerate(rows):
        genome = space.parse(row["arch"])
        cell = operations_of(genome)
        unused = sum(EDGE_MACS.get(cell[edge], 0) for edge in set(EDGES) - on_a_path(cell))
        if place % 97 == 0:
            network = space.network(genome)
            assert network.macs + unused - (SKELETON_MACS - STEM_MACS) == int(row["macs_cifar10"])
        assert STEM_MACS + sum(EDGE_MACS.get(name, 0) for name in cell.values()) == int(row["macs_cifar10"])


def test_it_travels_as_the_name_of_its_data_set():
    for data_set in ("cifar10", "cifar100", "imagenet16_120"):
        copy = pickle.loads(pickle.dumps(NasBench201(data_set)))
        assert (copy.name, copy.data_set) == (NasBench201(data_set).name, data_set)


# The networks run: against the benchmark's cell, edge by edge, those too that nothing depends on.


def benchmark_output(state, genome, image):
    """Slow twin of a network, in evaluation mode: every edge is built, and an edge without operation is a zero tensor.

    Weights of edges that the network leaves out are drawn; their normalisations are as they start.
    """
    import torch
    from torch.nn import functional

    def normalised(x, name):
        if f"{name}.bn.weight" not in state:
            return x / (1 + 1e-5) ** 0.5
        mean, variance = state[f"{name}.bn.running_mean"], state[f"{name}.bn.running_var"]
        return functional.batch_norm(x, mean, variance, state[f"{name}.bn.weight"], state[f"{name}.bn.bias"])

    def convolved(x, name, kernel, stride=1):
        weight = state.get(f"{name}.weight", torch.randn(x.shape[1], x.shape[1], kernel, kernel))
        return functional.conv2d(x, weight, stride=stride, padding=kernel // 2)

    def edge(x, operation, name):
        if operation == "none":
            return torch.zeros_like(x)
        if operation == "skip_connect":
            return x
        if operation == "avg_pool_3x3":
            return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return normalised(convolved(torch.relu(x), name, int(operation[-1])), name)

    x = normalised(convolved(image, "stem", 3), "stem")
    for stage in (1, 2, 3):
        if stage > 1:
            name = f"stage{stage}.reduction"
            made = normalised(convolved(torch.relu(x), f"{name}.conv1", 3, 2), f"{name}.conv1")
            made = normalised(convolved(torch.relu(made), f"{name}.conv2", 3), f"{name}.conv2")
            x = made + convolved(functional.avg_pool2d(x, 2), f"{name}.shortcut", 1)
        for cell in range(1, 6):
            nodes = [x]
            for node in (1, 2, 3):
                nodes.append(
                    sum(
                        edge(nodes[read], operation, f"stage{stage}.cell{cell}.edge_{made}_{read}")
                        for (made, read), operation in operations_of(genome).items()
                        if made == node
                    )
                )
            x = nodes[3]
    x = torch.relu(normalised(x, "head.norm")).mean((2, 3))
    return functional.linear(x, state["head.classifier.weight"], state["head.classifier.bias"])


def running(genome, seed: int = 0):
    torch = pytest.importorskip("torch")
    from cosearch.supernet.network_module import NetworkModule

    torch.manual_seed(seed)
    module = NetworkModule(space.network(genome)).eval()
    for name, values in module.state_dict().items():
        if name.endswith(("running_mean", "bn.bias")):
            values.copy_(torch.randn_like(values) / 4)
        elif name.endswith("running_var"):
            values.copy_(torch.rand_like(values) + 0.5)
    return module, torch.randn(2, 3, 32, 32)


UNUSED = "|nor_conv_3x3~0|+|none~0|none~1|+|nor_conv_1x1~0|none~1|avg_pool_3x3~2|"
ZERO_NODE = "|none~0|+|skip_connect~0|nor_conv_3x3~1|+|none~0|nor_conv_1x1~1|nor_conv_3x3~2|"
ALL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_3x3~1|nor_conv_1x1~2|"


@pytest.mark.parametrize("cell", [BEST, UNUSED, ZERO_NODE, ALL])
def test_a_network_computes_what_the_benchmarks_cell_does(cell):
    module, image = running(space.parse(cell))
    output = module(image)
    assert output.shape == (2, 10)
    expected = benchmark_output(module.state_dict(), space.parse(cell), image)
    np.testing.assert_allclose(output.detach().numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_modules_have_the_parameters_of_their_networks():
    for genome in space.sample_genomes(np.random.default_rng(3), 5):
        module, _ = running(genome)
        assert sum(values.numel() for values in module.parameters()) == space.network(genome).params


def test_without_a_path_the_output_does_not_depend_on_the_image():
    module, image = running(with_edges(edge_1_0=OPERATIONS[3]))
    output = module(image)
    assert (output[0] == output[1]).all()
    assert (module(-image) == output).all()
