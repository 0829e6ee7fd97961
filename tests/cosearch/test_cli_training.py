"""train, extract and export: as a user types them, one after the other; and what a mistake gets."""

from __future__ import annotations

import json

import pytest
import torch

from accel_models.description import load_target
from accel_models.network_file import network_from_json
from cosearch.spaces import load_space
from cosearch.study import search
from cosearch.supernet import train as training
from cosearch.supernet.export import load_module
from cosearch.supernet.supernet import Supernet, extract

from .commands import Run, runner
from .supernet.short import short


@pytest.fixture
def run(monkeypatch, capsys) -> Run:
    return runner(monkeypatch, capsys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a schedule of one phase and, below `supernet`, a supernet trained by it; `search` is a search."""
    place = tmp_path_factory.mktemp("training")
    (place / "own.yaml").write_text(short(phases=short().phases[:1], batch_size=500).to_yaml())
    return place


@pytest.fixture
def trained(folder, run):
    if not (folder / "supernet").exists():
        told = run("train", "--space", "digits", "--schedule", folder / "own.yaml", "--out", folder / "supernet")
        assert (told.code, told.err) == (0, "")
        assert "supernet of digits after 2 epochs, top-1 of 3188 validation images: largest network" in told.out
        assert f"next: cosearch extract {folder / 'supernet'}" in told.out
    return folder / "supernet"


@pytest.fixture
def searched(folder, tiny):
    if not (folder / "search").exists():
        search("digits", tiny, ["latency", "energy"], strategy="random", budget=6, population=3, out=folder / "search")
    return folder / "search"


def test_training_and_going_on_with_it(run, trained, folder) -> None:
    rows = (trained / "epochs.jsonl").read_text().splitlines()
    assert [json.loads(row)["phase"] for row in rows] == ["teacher", "teacher"]
    again = run("train", "--out", trained, "--resume")
    assert (again.code, again.err) == (0, "") and again.out.startswith("recorded in")
    refused = run("train", "--out", trained, "--resume", "--schedule", "digits")
    assert refused.code == 2 and "its training has another schedule: batch_size: 500 there, 64 asked for" in refused.err
    taken = run("train", "--out", trained)
    assert taken.code == 2 and "already has a training" in taken.err


def test_an_extracted_network_is_the_supernets_and_exports(run, trained, tmp_path) -> None:
    values = {"resolution": 8, "depth_1": 2, "kernel_1": 5, "expand_2": 4}
    space = load_space("digits")
    genome = space.genome(values)
    made = run("extract", trained, "--network", json.dumps(values), "-o", tmp_path / "a", "--images", 100)
    assert (made.code, made.err) == (0, "")
    assert "of 3188 validation images (digits), with shared weights, not trained further" in made.out
    run("extract", trained, "--network", ",".join(map(str, genome)), "-o", tmp_path / "b", "--images", 100)
    module, same = load_module(tmp_path / "a"), load_module(tmp_path / "b")
    assert module.network == same.network == space.network(genome)
    assert all(map(torch.equal, module.state_dict().values(), same.state_dict().values()))
    supernet = Supernet(space, 10)
    supernet.load_state_dict(torch.load(trained / "supernet.pt", weights_only=True)["state"])
    plain = extract(supernet, genome).state_dict()
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, plain[name]) != ("running" in name)  # statistics of its own, weights shared
    told = run("export", tmp_path / "a", "-o", tmp_path / "c")
    assert (told.code, told.err) == (0, "")
    assert "onnxruntime's logits differ from torch's by" in told.out
    files = {path.name for path in (tmp_path / "c").iterdir()}
    assert files == {"network.json", "weights.pt", "network.pt2", "network.onnx"}


def test_a_pair_of_a_search_exports_with_and_without_weights(run, trained, searched, tmp_path) -> None:
    told = run("export", searched, 3, "-o", tmp_path / "bare")
    assert told.code == 0 and "no weights: a search records structures" in told.out
    assert sorted(path.name for path in (tmp_path / "bare").iterdir()) == ["network.json", "target.yaml"]
    network = network_from_json((tmp_path / "bare" / "network.json").read_text())
    target = load_target(tmp_path / "bare" / "target.yaml")
    shown = run("show", searched, 3, "--format", "json").json
    assert network.macs == shown["macs"]
    assert target.levels[0].name == "registers"
    assert target.levels[1].entries == shown["hardware"]["buffer"]
    told = run("export", searched, 3, "-o", tmp_path / "full", "--supernet", trained)
    assert (told.code, told.err) == (0, "")
    assert load_module(tmp_path / "full").network == network
    cut = run("extract", trained, "--network", f"{searched}:3", "-o", tmp_path / "cut")
    assert cut.code == 0
    left, right = load_module(tmp_path / "full").state_dict(), load_module(tmp_path / "cut").state_dict()
    assert all(map(torch.equal, left.values(), right.values()))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--network", "biggest"), "network 'biggest': write largest, smallest, a JSON object of knobs, genes"),
        (("--network", '{"depth_9": 1}'), "space 'digits': unknown knob 'depth_9'"),
        (("--network", '{"depth_1": 7}'), "depth_1 = 7 is not one of [1, 2, 3]"),
        (("--network", "{]"), "network '{]': no JSON"),
        (("--network", "1,2"), "space 'digits': a genome has 22 genes, not 2"),
        (("--network", "9" + ",0" * 21), "gene 9 of resolution is outside 0..2"),
        (("--network", "nowhere:3"), "nowhere"),
        (("--network", "largest", "--space", "ofa-resnet50"), "a supernet of space 'digits', not of 'ofa-resnet50'"),
        (("--network", "largest", "--data", "nowhere"), "no data 'nowhere'"),
    ],
)
def test_a_mistake_gets_one_message(run, trained, tmp_path, words, told) -> None:
    result = run("extract", trained, *words, "-o", tmp_path / "none")
    assert (result.code, result.out) == (2, "")
    assert told in result.err and "Traceback" not in result.err
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_trained_is_refused(run, tmp_path) -> None:
    (tmp_path / "train").mkdir()
    for words, told in [
        (("--device", "tpu"), "unknown device 'tpu'"),
        (("--data", tmp_path), "no images; what ends in .bmp"),
        (("--schedule", "digit"), "unknown schedule 'digit': did you mean 'digits'?; or name a YAML file"),
        (("--space", "digitz"), "did you mean 'digits'"),
        (("--space", "ofa-resnet50", "--schedule", "digits"), "opens: unknown kind of knob 'kernel'"),
        (("--resume",), "has no training to go on with"),
    ]:
        result = run("train", "--out", tmp_path / "out", *words)
        assert (result.code, result.out) == (2, ""), told
        assert told in result.err
    assert not (tmp_path / "out").exists()


def test_cuda_without_cuda_is_refused(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = run("train", "--out", tmp_path / "out", "--device", "cuda")
    assert result.code == 2 and "use --device cpu" in result.err


def test_what_cannot_be_exported_is_refused(run, trained, searched, tmp_path) -> None:
    for words, told in [
        ((searched,), "is a search; name one of its pairs"),
        ((tmp_path,), "neither a search nor a folder that `cosearch extract` wrote"),
        ((searched, 99), "no pair 99 in this run; ids go from 1 to 6"),
        ((searched, 1, "--supernet", searched / "none.pt"), "none.pt: cannot be read"),
    ]:
        result = run("export", *words, "-o", tmp_path / "out")
        assert result.code == 2 and told in result.err


def test_ctrl_c_says_how_to_go_on(run, monkeypatch, folder, tmp_path) -> None:
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_supernet", stopped)
    result = run("train", "--out", tmp_path / "out", "--schedule", folder / "own.yaml")
    assert result.code == 130
    assert f"Go on with: cosearch train --out {tmp_path / 'out'} --resume" in result.err
