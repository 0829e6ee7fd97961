"""Hardware spaces by name; the machines of a description's search section, and where in it the description itself lies."""

from __future__ import annotations

import numpy as np
import pytest

from accel_models.accelerator import Accelerator
from accel_models.description import load_target, target_names, value_at
from accel_models.errors import DescriptionError
from cosearch.errors import SpaceError, UnknownNameError
from cosearch.spaces.hardware import HARDWARE_KINDS, DescribedHardware, make_hardware, nearest
from cosearch.spaces.joint import JointSpace
from cosearch.spaces.ofa_mobilenet_v3 import OfaMobileNetV3


@pytest.mark.parametrize("kind", HARDWARE_KINDS)
def test_every_kind_makes_a_space_whose_default_is_one_of_its_canonical_genomes(kind, tiny) -> None:
    space = make_hardware(kind, tiny)
    assert space.base is tiny
    assert (space.canonical(space.default[None])[0] == space.default).all()
    assert space.sizing.shape == space.default.shape == (len(space.knobs),)
    assert isinstance(space.target(space.default), Accelerator)
    assert (len(space.knobs) == 0) == (kind == "fixed")


def test_an_unknown_kind_is_told_the_nearest_one(tiny) -> None:
    with pytest.raises(UnknownNameError, match="unknown hardware 'nas': did you mean 'naas'"):
        make_hardware("nas", tiny)


def test_a_description_without_ranges_can_be_fixed_or_searched_in_naas_space(tiny) -> None:
    bare = tiny.model_copy(update={"search": ()})
    with pytest.raises(SpaceError, match=r"'tiny' has no search: section.*--fix hardware.*--hardware naas"):
        make_hardware("described", bare)
    assert make_hardware("fixed", bare).target(np.zeros(0, dtype=np.int64)) == bare
    assert make_hardware("naas", bare).knobs


@pytest.mark.parametrize("name", [name for name in target_names() if load_target(name).search])
def test_the_default_of_a_shipped_search_section_is_the_target_itself(name) -> None:
    """Every shipped search section has the described values among its choices."""
    target = load_target(name)
    space = DescribedHardware(target)
    for setter, gene, knob in zip(target.search, space.default, space.knobs, strict=True):
        value = value_at(target, setter.sets[0])
        assert knob.choices[gene] == (tuple(value) if isinstance(value, (list, tuple)) else value), knob.name


def test_the_default_is_the_nearest_number_where_the_described_one_is_no_choice(tiny) -> None:
    knobs = [knob.model_copy(update={"minimum": 3, "maximum": 15, "step": 4}) for knob in tiny.search[:2]]
    assert make_hardware("described", tiny.model_copy(update={"search": tuple(knobs)})).default.tolist() == [
        1,
        1,
    ]  # 3 7 11


@pytest.mark.parametrize(
    ("choices", "value", "place"),
    [
        ((1, 4, 8), 8, 2), ((1, 4, 8), 5.9, 1), ((1, 4, 8), 100, 2), ((("K",), ("K", "C")), ["K", "C"], 1),
        ((("K",), ("C",)), ("P",), 0), ((False, True), True, 1), ((1, 4), None, 0), (("a", "b"), 3, 0),
    ],
)  # fmt: skip
def test_nearest(choices, value, place) -> None:
    assert nearest(choices, value) == place


def test_knobs_that_size_and_knobs_that_connect() -> None:
    space = DescribedHardware(load_target("eyeriss"))
    connects = [knob.name for knob, sizes in zip(space.knobs, space.sizing, strict=True) if not sizes]
    assert connects == ["dataflow_x", "dataflow_y", "word_bits"]


def test_a_path_of_a_search_section_that_leads_nowhere_is_told_at_once(tiny) -> None:
    lost = tiny.search[0].model_copy(update={"sets": ("bufer.entries",)})
    with pytest.raises(DescriptionError, match="did you mean 'buffer'"):
        make_hardware("described", tiny.model_copy(update={"search": (lost,)}))


def test_a_joint_genome_is_canonical_where_both_parts_are() -> None:
    networks, hardware = OfaMobileNetV3(), make_hardware("naas", load_target("eyeriss"))
    joint = JointSpace(networks, hardware)
    genomes = np.random.default_rng(0).integers(0, joint.choices_per_knob, size=(50, len(joint.knobs)))
    before = genomes.copy()
    made = joint.canonical(genomes)
    cut = len(networks.knobs)
    assert (made[:, :cut] == networks.canonical(genomes[:, :cut])).all()
    assert (made[:, cut:] == hardware.canonical(genomes[:, cut:])).all()
    assert (genomes == before).all()
    assert (made != before).any()
