"""The agreement benchmark: recorded configurations become the right genomes, and a few of them their logits."""

from __future__ import annotations

import gzip
import json
import zlib

import numpy as np
import pytest
import torch

from benchmarks.supernet_agreement import (
    SPACES,
    agrees,
    compare_case,
    compare_extracted,
    counted_macs,
    formula_weights,
    recorded_genome,
)
from cosearch.errors import SpaceError
from cosearch.spaces import load_space
from cosearch.supernet.checkpoint import load_published
from cosearch.supernet.supernet import Supernet, extract
from tests.cosearch.small_space import SmallSpace


def test_a_resnets_configuration_becomes_a_genome() -> None:
    space = load_space("ofa-resnet50")
    case = {"d": [2, 0, 2, 1, 0], "e": [0.35, 0.25, *[0.2] * 16], "w": [1, 1, 2, 2, 0, 1]}
    values = space.active_values(recorded_genome(space, case))
    expected = {"stem_depth": 3, "stem_mid_width": 65, "stem_width": 80, "width_1": 100, "width_3": 65, "width_4": 80}
    expected |= {"depth_1": 2, "depth_2": 4, "depth_3": 5, "depth_4": 2, "expand_1": 35, "expand_2": 25, "expand_5": 20}
    assert {name: values[name] for name in expected} == expected
    assert recorded_genome(space, case | {"d": [0, 0, 2, 1, 0]})[space.columns.stem][0] == 0  # one convolution less


def test_a_mobile_configuration_becomes_a_genome() -> None:
    space = load_space("ofa-proxyless")
    case = {"ks": [7, 5, *[3] * 19], "e": [6, 4, *[3] * 19], "d": [2, 3, 4, 2, 3, 1]}
    values = space.active_values(recorded_genome(space, case))
    expected = {"depth_2": 3, "depth_6": 1, "kernel_1": 7, "kernel_2": 5, "expand_1": 6, "expand_2": 4, "expand_21": 3}
    assert {name: values[name] for name in expected} == expected
    assert np.array_equal(recorded_genome(space, case | {"d": [2, 3, 4, 2, 3]}), recorded_genome(space, case))
    with pytest.raises(SpaceError, match="kernel_1 = 9"):
        recorded_genome(space, case | {"ks": [9] * 21})


def test_the_weights_follow_the_formula() -> None:
    # "how" of the recording, written out for single numbers
    weights = formula_weights({"a.weight": [2, 8], "a.bn.running_var": [3], "a.5to3_matrix": [9, 9], "a.bias": [2]})
    draws = np.random.RandomState(zlib.crc32(b"a.weight")).standard_normal((2, 8))
    assert weights["a.weight"][1, 3].item() == pytest.approx(draws[1, 3] * 0.5, rel=1e-6)
    assert (weights["a.bn.running_var"] >= 1).all()
    assert (weights["a.5to3_matrix"] - torch.eye(9)).abs().max() < 0.25
    assert all(tensor.dtype == torch.float32 for tensor in weights.values())


def test_extracted_networks_are_counted() -> None:
    torch.manual_seed(0)
    supernet = Supernet(SmallSpace()).eval()
    found = compare_extracted(supernet, 6)
    assert (found["equal_logits"], found["equal_macs"], found["equal_params"]) == (6, 6, 6)
    module = extract(supernet, supernet.smallest)
    assert counted_macs(module) == supernet.space.network(supernet.smallest).macs


def test_a_recorded_configuration_of_each_supernet_is_met(shared_data) -> None:
    folder = shared_data / "ofa_reference"
    shapes = json.loads(gzip.decompress((folder / "state_dict_names.json.gz").read_bytes()))
    cases = json.loads((folder / "logits.json").read_text(encoding="utf-8"))["cases"]
    for name in {case["supernet"] for case in cases}:
        supernet = load_published(formula_weights(shapes[name]), load_space(SPACES[name])).eval()
        case = next(case for case in cases if case["supernet"] == name and case["resolution"] == 96)
        row = compare_case(supernet, case)
        assert agrees(row), row
        with torch.no_grad():
            supernet.get_parameter("classifier.bias").add_(0.01 * case["std"])
        assert not agrees(compare_case(supernet, case))
