"""Weights go to files and come back; published checkpoints find their places, wrong ones are told which tensor is wrong."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cosearch.errors import CheckpointError, CosearchError
from cosearch.spaces import load_space
from cosearch.supernet.checkpoint import load_published, load_supernet, save_supernet
from cosearch.supernet.supernet import Supernet
from tests.cosearch.small_space import SmallSpace


def supernet_of(name: str = "ofa-proxyless") -> Supernet:
    torch.manual_seed(0)
    supernet = Supernet(load_space(name))
    with torch.no_grad():
        for tensor in supernet.state_dict().values():
            tensor.add_(torch.rand_like(tensor))
    return supernet


def published_name(own: str) -> str:
    """Once-for-All's name of a tensor of a supernet of inverted bottlenecks."""
    fixed = {"stem": "first_conv", "final_expand": "final_expand_layer", "feature_mix": "feature_mix_layer"}
    parts = {"expand": "inverted_bottleneck", "depthwise": "depth_conv", "project": "point_linear"}
    if match := re.fullmatch(r"classifier\.(.*)", own):
        return f"classifier.linear.{match[1]}"
    if match := re.fullmatch(r"(stem|final_expand|feature_mix)\.(.*)", own):
        return f"{fixed[match[1]]}.{match[2] if match[2].startswith('bn') else 'conv.' + match[2]}"
    if match := re.fullmatch(r"first\.(\w+)\.(.*)", own):
        rest = match[2] if match[2].startswith("bn") else f"conv.{match[2]}"
        return f"blocks.0.conv.{parts[match[1]]}.{rest}"
    match = re.fullmatch(r"stage(\d)\.block(\d)\.(.*)", own)
    assert match
    block = 4 * (int(match[1]) - 1) + int(match[2])
    part, _, rest = match[3].partition(".")
    if part == "se":
        return f"blocks.{block}.conv.depth_conv.se.fc.{rest}"
    if matrix := re.fullmatch(r"kernel_(\d)_to_(\d)", rest):
        return f"blocks.{block}.conv.depth_conv.conv.{matrix[1]}to{matrix[2]}_matrix"
    return f"blocks.{block}.conv.{parts[part]}.{'bn.' + rest if rest.startswith('bn') else 'conv.conv.' + rest}"


def published_state(supernet: Supernet) -> dict[str, Tensor]:
    state = {published_name(own): tensor.clone() for own, tensor in supernet.state_dict().items()}
    return state | {"first_conv.bn.num_batches_tracked": torch.tensor(3)}


def same(one: Supernet, other: Supernet) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("name", ["ofa-mobilenet-v3", "ofa-proxyless"])
def test_every_tensor_finds_its_place(name) -> None:
    supernet = supernet_of(name)
    assert same(load_published(published_state(supernet), supernet.space), supernet)


def test_the_published_names_and_shapes_are_those_of_our_supernets(shared_data) -> None:
    path = shared_data / "ofa_reference" / "state_dict_names.json.gz"
    published = json.loads(gzip.decompress(path.read_bytes()))
    spaces = {
        "ofa_mbv3_d234_e346_k357_w1.0": "ofa-mobilenet-v3",
        "ofa_mbv3_d234_e346_k357_w1.2": "ofa-mobilenet-v3-w1.2",
    }
    spaces |= {"ofa_proxyless_d234_e346_k357_w1.3": "ofa-proxyless", "ofa_resnet50": "ofa-resnet50"}
    assert published.keys() == spaces.keys()
    for name, space in spaces.items():
        # every tensor holds a number of its own: that they all arrive shows that each is used once
        tensors = {key: torch.full(shape, float(i)) for i, (key, shape) in enumerate(published[name].items())}
        supernet = load_published(tensors, load_space(space))
        arrived = sorted(tensor.flatten()[0].item() for tensor in supernet.state_dict().values())
        assert arrived == sorted(float(i) for i, key in enumerate(tensors) if "num_batches_tracked" not in key)


def test_files_of_several_spellings_are_read(tmp_path) -> None:
    supernet = supernet_of()
    state = published_state(supernet)
    path = tmp_path / "ofa.pth"
    for whole in (
        state,
        {"state_dict": state, "epoch": 3},
        {f"module.{name}": tensor for name, tensor in state.items()},
        {re.sub(r"^(blocks\.\d+)\.conv\.", r"\1.mobile_inverted_conv.", name): t for name, t in state.items()},
    ):
        torch.save(whole, path)
        assert same(load_published(path, supernet.space), supernet)


def changed(state: dict[str, Tensor], **changes) -> dict[str, Tensor]:
    state = dict(state)
    for name, value in changes.items():
        if value is None:
            del state[name.replace("__", ".")]
        else:
            state[name.replace("__", ".")] = value
    return state


EXPAND = "blocks__1__conv__inverted_bottleneck__conv__conv__weight"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({EXPAND: None}, "1 tensors of a supernet of 'ofa-proxyless' are missing; the first is 'stage1.block1.expand.weight'"),
        (
            {EXPAND: torch.zeros(96, 16, 1, 1)},
            "'blocks.1.conv.inverted_bottleneck.conv.conv.weight' has shape (96, 16, 1, 1), a supernet of 'ofa-proxyless' "
            "wants (144, 24, 1, 1) (stage1.block1.expand.weight)",
        ),
        ({EXPAND: 3.0}, "is a float, not a tensor"),
        ({"blocks__99__conv__depth_conv__conv__weight": torch.zeros(1)}, "'blocks.99.conv.depth_conv.conv.weight' is none"),
        ({"blocks__0__conv__depth_conv__bn__colour": torch.zeros(1)}, "'blocks.0.conv.depth_conv.bn.colour' is none"),
        ({"blocks__1__conv__depth_conv__se__fc__reduce__weight": torch.zeros(1)}, "is none of a supernet"),
        ({"module__first_conv__conv__weight": torch.zeros(40, 3, 3, 3)}, "'module.first_conv.conv.weight' is none of a supernet"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit_is_refused(changes, said) -> None:
    supernet = supernet_of()
    with pytest.raises(CheckpointError) as caught:
        load_published(changed(published_state(supernet), **changes), supernet.space)
    assert said in str(caught.value)


def test_a_checkpoint_of_another_space_is_refused() -> None:
    state = published_state(supernet_of("ofa-mobilenet-v3"))
    with pytest.raises(CheckpointError, match=r"tensor 'first_conv.conv.weight' has shape \(16, 3, 3, 3\)"):
        load_published(state, load_space("ofa-proxyless"))
    with pytest.raises(CheckpointError, match="unknown published supernet 'small'"):
        load_published(state, SmallSpace())
    with pytest.raises(CheckpointError, match="holds no tensors by name"):
        load_published({"state_dict": [1, 2]}, load_space("ofa-proxyless"))


class Evil:
    """Something that would run code when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("evil"),))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 broken"])
def test_what_is_no_file_of_tensors_is_refused(tmp_path, content) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    for load in (lambda: load_published(path, load_space("ofa-proxyless")), lambda: load_supernet(path)):
        with pytest.raises(CheckpointError, match=r"file\.pth: is no file of tensors"):
            load()


def test_no_code_is_run_and_no_file_is_needed(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Evil()}, "bad.pth")
    with pytest.raises(CheckpointError, match=r"bad\.pth: is no file of tensors"):
        load_supernet("bad.pth")
    assert not Path("evil").exists()
    with pytest.raises(CheckpointError, match=r"absent\.pth: cannot be read: No such file"):
        load_supernet("absent.pth")
    torch.save([torch.zeros(1)], "list.pth")
    with pytest.raises(CheckpointError, match="holds a list where tensors by name are expected"):
        load_supernet("list.pth")
    assert issubclass(CheckpointError, CosearchError)


def test_our_own_file_comes_back_equal(tmp_path) -> None:
    path = tmp_path / "supernet.pt"
    supernet = Supernet(SmallSpace(), classes=3)
    save_supernet(path, supernet)
    back = load_supernet(path, SmallSpace())
    assert same(back, supernet) and back.classes == 3
    registered = supernet_of()
    save_supernet(path, registered)
    assert same(load_supernet(path), registered)


def test_our_own_file_of_another_space_or_form_is_refused(tmp_path) -> None:
    path = tmp_path / "supernet.pt"
    save_supernet(path, Supernet(SmallSpace()))
    with pytest.raises(CheckpointError, match="a supernet of space 'small', not of 'ofa-proxyless'"):
        load_supernet(path, load_space("ofa-proxyless"))
    whole = torch.load(path, weights_only=True)
    for key, value, said in (
        ("form", "cosearch supernet 99", "no supernet of form"),
        ("classes", "ten", "classes = 'ten' is no number of classes"),
        ("state", {}, "tensors of a supernet of 'small' are missing"),
        ("state", {"odd": torch.zeros(1)}, "tensor 'odd' is none of a supernet of 'small'"),
    ):
        torch.save(whole | {key: value}, path)
        with pytest.raises(CheckpointError, match=said):
            load_supernet(path, SmallSpace())
