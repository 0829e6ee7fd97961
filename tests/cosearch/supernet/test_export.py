"""Networks in files: what is written reads back, and what other programs compute equals what torch does."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from accel_models.errors import WorkloadError
from cosearch.errors import CheckpointError
from cosearch.spaces import load_space
from cosearch.supernet.export import example, load_module, onnx_difference, save_module, to_onnx, to_torch
from cosearch.supernet.supernet import Supernet, extract


def network(name: str, resolution: int, seed: int = 0):
    """A random sub-network of a fresh supernet, with batch-norm statistics other than the first ones."""
    space = load_space(name)
    genome = space.sample_genomes(np.random.default_rng(seed), 1)[0]
    genome[0] = space.knobs[0].index(resolution)
    torch.manual_seed(seed)
    module = extract(Supernet(space, 10), genome).eval()
    for statistics, tensor in module.named_buffers():
        tensor.uniform_(*((-0.2, 0.2) if statistics.endswith("mean") else (0.5, 1.5)))
    return module


@pytest.fixture(scope="module")
def digits():
    return network("digits", 8)


@pytest.mark.parametrize(
    ("name", "resolution"), [("digits", 6), ("ofa-mobilenet-v3", 128), ("ofa-proxyless", 128), ("ofa-resnet50", 128)]
)
def test_onnxruntime_computes_what_the_network_does(name, resolution, tmp_path) -> None:
    """1e-5 of the logits' standard deviation; onnxruntime's kernels add in another order than torch's."""
    module = network(name, resolution)
    path = to_onnx(module, tmp_path / "network.onnx")
    difference = onnx_difference(module, path)
    assert difference is not None and difference < 1e-5


def test_a_batch_may_have_any_size(digits, tmp_path) -> None:
    import onnxruntime

    images = torch.randn(5, *example(digits).shape[1:])
    with torch.no_grad():
        wanted = digits(images)
    session = onnxruntime.InferenceSession(
        str(to_onnx(digits, tmp_path / "n.onnx")), providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(["logits"], {"image": images.numpy()})
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * float(wanted.std()))
    program = torch.export.load(to_torch(digits, tmp_path / "n.pt2")).module()
    assert torch.equal(program(images), wanted)


def test_another_networks_weights_make_a_difference(digits, tmp_path) -> None:
    other = network("digits", 8, seed=1)
    assert onnx_difference(digits, to_onnx(other, tmp_path / "other.onnx")) > 0.1


def test_a_saved_network_reads_back_equal(digits, tmp_path) -> None:
    save_module(digits, tmp_path / "made")
    again = load_module(tmp_path / "made")
    assert again.network == digits.network
    images = example(digits)
    assert torch.equal(again(images), digits(images))
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["network.json", "weights.pt"]


def test_files_that_do_not_belong_together(digits, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"network\.json: cannot be read"):
        load_module(tmp_path)
    save_module(network("digits", 8, seed=1), tmp_path)
    weights = (tmp_path / "weights.pt").read_bytes()
    save_module(digits, tmp_path)
    (tmp_path / "weights.pt").write_bytes(weights)
    with pytest.raises(CheckpointError, match=r"weights\.pt: not the weights of .*network\.json"):
        load_module(tmp_path)
    (tmp_path / "network.json").write_text(json.dumps({"form": "another"}))
    with pytest.raises(WorkloadError, match=r"network\.json: not a network of form"):
        load_module(tmp_path)
