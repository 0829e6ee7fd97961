"""A space of one's own from a YAML file: what it builds, how it travels, and what its mistakes look like."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from accel_models.description import load_target
from accel_models.errors import DescriptionError
from accel_models.workload import Layer
from cosearch.cost_table import make_cost_table
from cosearch.errors import CosearchError, SpaceError
from cosearch.network_front import network_front
from cosearch.spaces import load_space, space_file
from cosearch.spaces.space_file import SpaceOfFile

EXAMPLE = Path(__file__).resolve().parents[3] / "docs" / "examples" / "space.yaml"

OWN = """
name: own
resolutions: [32, 48]
image_channels: 1
classes: 10
kernels: [3, 5]
stem: {channels: 16, stride: 1, activation: relu}
stages:
  - {channels: [16, 24], depths: [1, 2], stride: 2, expands: [2, 4], squeeze_excite: true}
  - {block: bottleneck, channels: 32, depths: 1, stride: 2, expands: [25, 50], groups: 2}
  - {block: depthwise_separable, channels: 40, depths: [1, 2]}
  - {block: conv, channels: 48, depths: 1, kernels: 1, activation: h_swish}
head: {channels: 64, after_pool: true}
"""

SHUFFLED = """
name: shuffled
resolutions: 32
stem: {channels: 24}
widths_percent: [50, 100]
chosen_per: stage
stages:
  - {block: shuffle, channels: 48, depths: [1, 2, 3], stride: 2, kernels: [3, 5]}
"""


def test_every_kind_of_block_is_built_as_written():
    space = SpaceOfFile(OWN)
    values = {"width_1": 24, "depth_1": 2, "kernel_1": 5, "expand_2": 4, "expand_3": 50, "kernel_4": 5}
    network = space.network(space.genome({"resolution": 48, **values}))
    layers = dict(network.layers)
    assert (network.input.channels, network.input.height) == (1, 48)
    assert layers["stem"] == Layer(K=16, C=1, P=48, Q=48, R=3, S=3)
    assert layers["stage1.block1.depthwise"] == Layer(G=32, P=24, Q=24, R=5, S=5, stride_w=2, stride_h=2)
    assert layers["stage1.block1.se.reduce"] == Layer(K=8, C=32)
    assert layers["stage1.block2.expand"] == Layer(K=96, C=24, P=24, Q=24)
    assert layers["stage2.block1.conv2"] == Layer(K=8, C=8, G=2, P=12, Q=12, R=3, S=3, stride_w=2, stride_h=2)
    assert layers["stage3.block1.depthwise"] == Layer(G=32, P=12, Q=12, R=5, S=5)
    assert layers["stage3.block1.pointwise"] == Layer(K=40, C=32, P=12, Q=12)
    assert layers["stage4.block1"] == Layer(K=48, C=40, P=12, Q=12)
    assert layers["head"] == Layer(K=64, C=48)
    assert layers["classifier"] == Layer(K=10, C=64)
    names = [node.name for node in network.nodes]
    assert "stage4.block1.h_swish" in names
    assert names.index("pool") < names.index("head")


def test_what_there_is_to_choose_is_what_the_file_says():
    space = SpaceOfFile(OWN)
    choices = {knob.name: knob.choices for knob in space.knobs}
    assert choices["width_1"] == (16, 24)
    assert choices["kernel_1"] == (3, 5)
    assert choices["kernel_3"] == (3,)  # a bottleneck's own
    assert choices["expand_3"] == (25, 50)
    assert choices["expand_4"] == (1,)  # no middle channels
    assert choices["kernel_6"] == (1,)
    # resolutions x widths x (kernel, expand) per block of stage 1 x expand x kernels of stage 3
    assert space.size == 2 * 2 * (4 + 16) * 2 * (2 + 4)
    genomes = space.canonical(space.sample_genomes(np.random.default_rng(0), 4000))
    assert len({space.network(genome) for genome in np.unique(genomes, axis=0)[:200]}) == 200


def test_one_width_scales_stem_and_stages_and_has_sub_spaces():
    space = SpaceOfFile(SHUFFLED)
    assert [knob.name for knob in space.knobs] == ["resolution", "depth_1", "width", "kernel_1", "expand_1"]
    assert space.size == 2 * 3 * 2
    layers = dict(space.network(space.genome({"width": 50})).layers)
    assert layers["stem"].K == 16  # 12 rounded as MobileNet's rule says
    assert layers["stage1.block1.passed.pointwise"].K == 12
    half = space.variant("w50-r32")
    assert (half.name, half.size) == ("shuffled@w50-r32", 6)
    with pytest.raises(SpaceError, match=r"space.yaml@w60: w60 is no choice of the space; there are: 50, 100"):
        space.variant("w60")
    with pytest.raises(SpaceError, match=r"own.yaml@w50: w50 is no choice of the space; there are: none"):
        SpaceOfFile(OWN, "own.yaml").variant("w50")


def test_it_carries_its_text_and_travels_without_its_file(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text(OWN, encoding="utf-8")
    space = load_space(file)
    assert space.definition == OWN
    expected = space.sample(seed=1)
    parcel = pickle.dumps(space)
    file.unlink()
    assert pickle.loads(parcel).sample(seed=1) == expected == SpaceOfFile(space.definition).sample(seed=1)


def test_the_example_of_the_documentation_is_loaded_by_its_path():
    space = load_space(str(EXAMPLE))
    assert (space.name, space.summary) == ("small-camera", "networks for a camera of 64 to 96 px")
    assert load_space(f"{EXAMPLE}@r64,96").knobs[0].choices == (64, 96)
    assert f"@{EXAMPLE.name}" not in space.name
    text = space_file.__doc__ or ""
    shown = "\n".join(
        line.removeprefix("    ") for line in text.split("::\n\n")[1].split("\n\n`block`")[0].splitlines()
    )
    assert SpaceOfFile(shown).name == "tiny-mbconv"  # the example that stands in the module


def test_its_front_is_found_exactly():
    space = SpaceOfFile(OWN.replace("[1, 2], stride: 2, expands", "1, stride: 2, expands"))
    table = make_cost_table(space, load_target("nvdla_256"))
    front = network_front(table, None, ["latency_s", "params"])
    every = np.unique(space.sample_genomes(np.random.default_rng(0), 5000), axis=0)
    assert len(every) == space.size == 2 * 2 * 4 * 2 * 6
    latency_s, params = table.costs(every)[0], table.sizes(every)[1]
    best = {
        (latency_s[row], params[row])
        for row in range(len(every))
        if not (
            (latency_s <= latency_s[row])
            & (params <= params[row])
            & ((latency_s < latency_s[row]) | (params < params[row]))
        ).any()
    }
    assert set(zip(front.latency_s.tolist(), front.params.tolist(), strict=True)) == best


BROKEN = """name: Bad Name
resolutions: [64, 32]
clases: 10
stem: {channels: 16, activation: rellu}
stages:
  - {block: mbcov, channels: 16, depths: 2}
  - {channels: [16, -3], depths: [1000], kernels: [3, 4], expands: [3]}
  - {channels: yes please, depths: [], expands: 3}
"""


def test_every_mistake_is_named_at_once_with_its_line():
    with pytest.raises(DescriptionError) as caught:
        SpaceOfFile(BROKEN, "mine.yaml")
    assert str(caught.value).splitlines() == [
        "mine.yaml:1: name: 'Bad Name' is wrong: a name should be lower-case letters, digits, _, - and ., a letter first",
        "mine.yaml:2: resolutions: [64, 32] is wrong: choices should ascend, none twice: [32, 64]",
        "mine.yaml:3: clases: unknown key (value 10); did you mean 'classes'?",
        "mine.yaml:4: stem.activation: unknown activation 'rellu': did you mean 'relu'?",
        "mine.yaml:6: stages.0.block: unknown kind of block 'mbcov': did you mean 'mbconv'?",
        "mine.yaml:7: stages.1.channels.1: -3 is wrong: input should be greater than 0",
        "mine.yaml:7: stages.1.depths: [1000] is wrong: a stage has at most 64 blocks",
        "mine.yaml:7: stages.1.kernels: [3, 4] is wrong: a kernel should be odd, as 4 has no centre",
        "mine.yaml:8: stages.2.channels: 'yes please' is wrong: input should be a list",
        "mine.yaml:8: stages.2.depths: the list is empty: it should have at least one item",
    ]


SHORT = "name: a\nresolutions: 32\nstem: {channels: 16}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "mine.yaml: a description is a mapping of keys to values, this file is empty"),
        ("a: [", "mine.yaml:1: no valid YAML"),
        (SHORT, "mine.yaml: stages: is missing"),
        (SHORT + "stages: []", "mine.yaml:4: stages: the list is empty"),
        (SHORT + "stages:\n  - {channels: 8, depths: 1}", "mine.yaml:5: stages.0.expands: is missing, here or for all"),
        (
            SHORT + "widths_percent: [50]\nstages:\n  - {channels: [8, 16], depths: 1, expands: 3}",
            r"mine.yaml:6: stages.0.channels: \[8, 16\] and widths_percent exclude each other",
        ),
        (
            SHORT + "stages:\n  - {block: bottleneck, channels: 8, depths: 1, expands: 25, kernels: 3}",
            "mine.yaml:5: stages.0.kernels: a bottleneck block has a 3x3 layer; leave this key out",
        ),
        (
            SHORT + "stages:\n  - {block: conv, channels: 8, depths: 1, expands: 3, squeeze_excite: true, groups: 2}",
            "mine.yaml:5: stages.0.expands: .*\n.*stages.0.squeeze_excite: .*\n.*stages.0.groups: a conv block has none",
        ),
        (
            SHORT + "stages:\n  - {block: conv, channels: 16, depths: 1}\n  - {block: shuffle, channels: 24, depths: 1}",
            "mine.yaml:6: a: stage2.block1: a shuffle block of stride 1 cannot make 24 of 16 channels",
        ),
    ],
)  # fmt: skip
def test_mistakes_say_where_and_what_would_be_right(text, said):
    with pytest.raises(DescriptionError, match=said):
        SpaceOfFile(text, "mine.yaml")


def test_files_that_cannot_be_read_say_so(tmp_path):
    with pytest.raises(SpaceError, match=r"no file .*absent\.yaml' that describes a space"):
        load_space(tmp_path / "absent.yaml")
    with pytest.raises(CosearchError, match="cannot be read"):
        (tmp_path / "folder.yaml").mkdir()
        load_space(tmp_path / "folder.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CosearchError, match="is no text in UTF-8"):
        load_space(tmp_path / "bytes.yaml")


def test_its_networks_run_in_torch():
    torch = pytest.importorskip("torch")
    from cosearch.supernet.network_module import NetworkModule

    for text, image in ((OWN, (2, 1, 32, 32)), (SHUFFLED, (2, 3, 32, 32))):
        network = SpaceOfFile(text).sample(0)
        module = NetworkModule(network).eval()
        assert module(torch.zeros(image)).shape == (2, 10 if text == OWN else 1000)
        assert sum(tensor.numel() for tensor in module.parameters()) == network.params
