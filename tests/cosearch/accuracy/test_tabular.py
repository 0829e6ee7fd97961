"""Accuracies looked up: what a table says is what comes back, and a table that is none is refused with file and line."""

from __future__ import annotations

import csv
import itertools
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cosearch.accuracy import make_estimator
from cosearch.accuracy._base import AccuracyEstimator
from cosearch.accuracy.tabular import make
from cosearch.errors import CosearchError
from cosearch.spaces import load_space
from cosearch.spaces.nas_bench_201 import OPERATIONS, NasBench201, cifar10
from cosearch.spaces.nas_bench_macro import NasBenchMacro

CELL = "|none~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
OTHER = "|none~0|+|nor_conv_3x3~0|none~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"


def written(folder: Path, *lines: str) -> str:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def numbers(space, *texts: str):
    return space.numbers(np.stack([space.parse(text) for text in texts]))


def every_cell(folder: Path, seed: int = 0) -> tuple[str, np.ndarray]:
    """A file of all cells in an order of its own, and their accuracies in the order of genomes as digits."""
    accuracy = np.random.default_rng(seed).uniform(10, 95, 15_625).round(4)
    cells = [cifar10().format(np.array(genome)) for genome in itertools.product(range(5), repeat=6)]
    order = np.random.default_rng(seed + 1).permutation(len(cells))
    path = folder / "all.csv"
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["index", "cifar10_test", "arch"])
        out.writerows([place, accuracy[cell], cells[cell]] for place, cell in enumerate(order))
    return str(path), accuracy


def test_every_network_gets_its_own_row(tmp_path):
    path, accuracy = every_cell(tmp_path)
    estimate = make(cifar10(), path).estimate(np.array(list(itertools.product(range(5), repeat=6))))
    assert (estimate.value == accuracy).all()
    assert not estimate.extrapolated.any()


def test_how_far_single_trainings_are_from_their_mean(tmp_path):
    path = written(tmp_path, "arch,acc1,acc2,acc3,mean_acc,std", "00000000,90,91,92,91,1", "11111111,80,80,83,81,2")
    space = NasBenchMacro()
    estimate = make(space, path).estimate(numbers(space, "11111111", "00000000"))
    assert estimate.value.tolist() == [81, 91]
    assert estimate.error_points == pytest.approx([(1 + 1 + 2) / 3, (1 + 0 + 1) / 3])


@pytest.mark.parametrize("header", ["arch,mean_acc", "arch,mean_acc,acc1"])
def test_without_single_trainings_the_error_is_unknown(tmp_path, header):
    path = written(tmp_path, header, "00000000" + ",90" * header.count(","))
    estimate = make(NasBenchMacro(), path).estimate(numbers(NasBenchMacro(), "00000000"))
    assert np.isnan(estimate.error_points).all()


def test_the_space_names_the_column_unless_the_user_does(tmp_path):
    path = written(tmp_path, "arch,cifar10_test,cifar100_test,imagenet16_120_test,cifar10_valid", f"{CELL},94,73,47,90")
    for data_set, accuracy, title in (
        ("cifar10", 94, "CIFAR-10"),
        ("cifar100", 73, "CIFAR-100"),
        ("imagenet16_120", 47, "ImageNet16-120"),
    ):
        space = NasBench201(data_set)
        estimator = make(space, path)
        assert estimator.estimate(numbers(space, CELL)).value == accuracy
        assert estimator.scale == f"{title} test accuracy, measured"
    estimator = make(cifar10(), f"{path}#cifar10_valid")
    assert estimator.estimate(numbers(cifar10(), CELL)).value == 90
    assert estimator.scale == "CIFAR-10 cifar10_valid, measured"
    assert "1 of 15,625 networks" in estimator.note


def test_it_is_found_by_name_and_comes_back_under_its_own(tmp_path):
    path = written(tmp_path, "arch,cifar100_test", f"{CELL},73")
    space = load_space("nas-bench-201-cifar100")
    estimator = make_estimator(f"tabular:{path}", space)
    assert isinstance(estimator, AccuracyEstimator)
    assert (estimator.name, estimator.space_name, estimator.quantity) == (f"tabular:{path}", space.name, "top1_percent")
    assert make_estimator(estimator.name, space).estimate(numbers(space, CELL)).value == 73


def test_one_network_alone_and_among_others(tmp_path):
    estimator = make(cifar10(), every_cell(tmp_path)[0])
    values = np.random.default_rng(0).integers(0, 5, (40, 6))
    together = estimator.estimate(values).value
    assert [estimator.estimate(row[None]).value[0] for row in values] == together.tolist()
    assert len(estimator.estimate(values[:0]).value) == 0


def test_it_travels_to_another_process_without_the_file(tmp_path):
    path, accuracy = every_cell(tmp_path)
    copy = pickle.dumps(make(cifar10(), path))
    Path(path).unlink()
    assert pickle.loads(copy).estimate(np.zeros((1, 6), dtype=np.int64)).value == accuracy[0]


def test_a_network_that_the_file_lacks_is_named(tmp_path):
    estimator = make(cifar10(), written(tmp_path, "arch,cifar10_test", f"{CELL},94"))
    with pytest.raises(CosearchError, match=r"has no accuracy of the network with edge_1_0 = none, .*avg_pool_3x3$"):
        estimator.estimate(numbers(cifar10(), CELL, OTHER))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros((1, 5), dtype=int), r"shape \(n, 6\), not \(1, 5\)"),
        (np.zeros(6, dtype=int), r"shape \(n, 6\), not \(6,\)"),
        (np.zeros((1, 6)), "of float64"),
        (np.full((1, 6), 5), "5 is no value of edge_1_0"),
        (np.array([[0, 0, 0, 0, 0, -1]]), "-1 is no value of edge_3_2"),
    ],
)
def test_values_that_name_no_network_are_refused(tmp_path, values, said):
    estimator = make(cifar10(), written(tmp_path, "arch,cifar10_test", f"{CELL},94"))
    with pytest.raises(CosearchError, match=said):
        estimator.estimate(values)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([""], "table.csv:1: unknown column 'arch'"),
        (["arch,cifar10"], "table.csv:1: unknown column 'cifar10_test': did you mean 'cifar10'"),
        (["network,cifar10_test", f"{CELL},9"], "table.csv:1: unknown column 'arch'"),
        (["arch,cifar10_test"], "table.csv: there is a header, and no networks"),
        (["arch,cifar10_test", f"{CELL},94", f"{OTHER},93", f"{CELL},94"], "table.csv:4: the network of line 2 again"),
        (["arch,cifar10_test", f"{CELL},94", f"{OTHER}"], "table.csv:3: 1 fields, where the header has 2"),
        (["arch,cifar10_test", f"{CELL},abc"], "table.csv:2: cifar10_test = 'abc' is no accuracy in percent"),
        (["arch,cifar10_test", f"{CELL},nan"], "table.csv:2: cifar10_test = 'nan' is no accuracy"),
        (["arch,cifar10_test", f"{CELL},101"], "table.csv:2: cifar10_test = '101' is no accuracy"),
        (["arch,cifar10_test", f"{CELL.replace('3x3', '5x5')},94"], "table.csv:2: .*unknown operation 'nor_conv_5x5'"),
        (["arch,cifar10_test", "00000000,94"], "table.csv:2: .*cannot read the cell '00000000'"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_its_line(tmp_path, lines, said):
    with pytest.raises(CosearchError, match=said):
        make(cifar10(), written(tmp_path, *lines))


def test_no_file_and_no_table_are_refused(tmp_path):
    for argument, said in (
        ("", "needs the file with the accuracies: tabular:FILE"),
        (str(tmp_path / "absent.csv"), "absent.csv: cannot read the accuracies: .*No such file"),
        (str(tmp_path), "cannot read the accuracies"),
    ):
        with pytest.raises(CosearchError, match=said):
            make(cifar10(), argument)
    (tmp_path / "binary.csv").write_bytes(b"arch,cifar10_test\n\xff\xfe,1\n")
    with pytest.raises(CosearchError, match=r"binary.csv: cannot read the accuracies"):
        make(cifar10(), str(tmp_path / "binary.csv"))


@pytest.mark.parametrize("name", ["ofa-mobilenet-v3", "darts", "fbnet"])
def test_a_space_that_nobody_can_tabulate_is_refused(name):
    with pytest.raises(CosearchError, match=f"has no form for space '{name}'"):
        make(load_space(name), "table.csv")


def test_the_best_networks_are_the_published_ones(shared_data):
    """94.37, 73.51 and 47.31 %: NATS-Bench; 93.13 %: NAS-Bench-Macro, whose best is 22212202."""
    table = str(shared_data / "nasbench201" / "nasbench201.csv")
    every = np.array(list(itertools.product(range(len(OPERATIONS)), repeat=6)))
    for data_set, best in (("cifar10", 94.37), ("cifar100", 73.51), ("imagenet16_120", 47.31)):
        assert make(NasBench201(data_set), table).estimate(every).value.max() == pytest.approx(best, abs=0.005)
    space = NasBenchMacro()
    estimator = make(space, str(shared_data / "nasbench_macro" / "nasbench_macro_cifar10.csv"))
    estimate = estimator.estimate(np.array(list(itertools.product(range(3), repeat=8))))
    assert estimate.value.max() == estimator.estimate(numbers(space, "22212202")).value
    assert estimate.value.max() == pytest.approx(93.13, abs=0.005)
    assert np.isfinite(estimate.error_points).all()


def test_it_imports_neither_pandas_nor_torch():
    script = (
        "import sys, cosearch.accuracy.tabular; sys.exit(', '.join({'pandas', 'torch', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
