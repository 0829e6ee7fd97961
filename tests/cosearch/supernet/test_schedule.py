"""Schedules: what ships, what is refused, and which networks a phase trains."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from accel_models.errors import DescriptionError
from cosearch.errors import TrainingError, UnknownNameError
from cosearch.spaces import load_space
from cosearch.supernet.schedule import (
    AloneSchedule,
    Course,
    Phase,
    Schedule,
    draw_open,
    load_schedule,
    open_choices,
    schedule_names,
    smallest_open,
    trained_sizes,
)

TEACHER = Phase(name="teacher", epochs=1, learning_rate=0.1)


@pytest.mark.parametrize("name", schedule_names())
def test_what_ships_fits_a_space_opens_every_kind_and_reads_back_equal(name, tmp_path) -> None:
    schedule = load_schedule(name)
    space = load_space("ofa-mobilenet-v3" if "imagenet" in name else "digits")
    opened = [open_choices(space, phase) for phase in schedule.phases]
    assert all((later >= earlier).all() for earlier, later in itertools.pairwise(opened))
    elastic = [knob.name != "resolution" for knob in space.knobs]
    assert (opened[-1] == space.choices_per_knob)[elastic].all()
    file = tmp_path / "own.yaml"
    file.write_text(schedule.to_yaml())
    assert load_schedule(file) == schedule


def test_the_imagenet_schedule_is_the_papers() -> None:
    """Epochs, learning rates for 64 images and sub-networks per step: Once-for-All, section 4.1, and its authors' code."""
    schedule = load_schedule("ofa-imagenet")
    assert [(p.epochs, p.learning_rate, p.networks_per_step) for p in schedule.phases[1:]] == [
        (120, 0.03, 1), (25, 0.0025, 2), (120, 0.0075, 2), (25, 0.0025, 4), (120, 0.0075, 4),
    ]  # fmt: skip
    assert schedule.phases[0].epochs == 180
    assert schedule.phases[0].learning_rate == 2.6 / 2048 * schedule.batch_size
    assert (schedule.weight_decay, schedule.momentum, schedule.nesterov) == (3e-5, 0.9, True)
    assert (schedule.label_smoothing, schedule.dropout) == (0.1, 0.1)
    assert {p.distillation for p in schedule.phases[1:]} == {1.0}


def test_the_rate_rises_evenly_and_falls_along_a_cosine() -> None:
    course = Course(epochs=5, learning_rate=0.4, warmup_epochs=1)
    assert [course.rate(step, 4) for step in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert course.rate(4, 4) == 0.4
    assert course.rate(12, 4) == pytest.approx(0.2)
    assert course.rate(20, 4) == pytest.approx(0.0)


def test_a_phase_opens_the_largest_choices_and_draws_only_these() -> None:
    space = load_space("digits")
    phase = Phase(name="p", epochs=1, learning_rate=0.1, opens={"kernel": "all", "depth": 2})
    opened = open_choices(space, phase)
    drawn = draw_open(space, opened, np.random.default_rng(0), 300)
    seen = {knob.name: set() for knob in space.knobs}
    for genome in drawn:
        for name, value in space.active_values(genome).items():
            seen[name].add(value)
    assert seen["resolution"] == {10}
    assert all(values == {2, 3} for name, values in seen.items() if name.startswith("depth"))
    assert all(values == {3, 5} for name, values in seen.items() if name.startswith("kernel"))
    assert all(values == {6} for name, values in seen.items() if name.startswith("expand"))
    least = space.active_values(smallest_open(space, opened))
    assert {value for name, value in least.items() if name.startswith(("depth", "kernel"))} == {2, 3}


def test_the_sizes_trained_before_are_those_of_the_phase_before() -> None:
    space = load_space("ofa-mobilenet-v3")
    first = open_choices(space, Phase(name="p", epochs=1, learning_rate=0.1, opens={"kernel": "all", "expand": 2}))
    sizes = [space.active_values(genome) for genome in trained_sizes(space, first)]
    assert [{values["expand_1"], values["expand_20"]} for values in sizes] == [{6}, {6}, {4}]
    assert [values["kernel_1"] for values in sizes] == [5, 3, 7]
    assert trained_sizes(space, open_choices(space, TEACHER)) == []


def refused(text: str, tmp_path) -> str:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(DescriptionError) as caught:
        load_schedule(file)
    return str(caught.value).replace(str(file), "bad.yaml")


def test_a_mistake_in_a_file_is_told_with_its_line(tmp_path) -> None:
    good = "batch_size: 8\nphases:\n  - name: teacher\n    epochs: 2\n    learning_rate: 0.1\n"
    assert refused(good.replace("batch_size", "batchsize"), tmp_path) == (
        "bad.yaml:1: batchsize: unknown key (value 8); did you mean 'batch_size'?"
    )
    assert "bad.yaml:4: phases.teacher.epochs: 0 is wrong: input should be greater than 0" in refused(
        good.replace("2", "0"), tmp_path
    )
    assert "warmup_epochs 2 must be fewer" in refused(good + "    warmup_epochs: 2\n", tmp_path)
    assert "trains the largest network alone" in refused(good + "    opens: {depth: 2}\n", tmp_path)
    assert "at least one item" in refused("phases: []\n", tmp_path)
    assert "this file is empty" in refused("", tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        load_schedule("digit")
    with pytest.raises(DescriptionError, match="cannot be read"):
        load_schedule(tmp_path / "none.yaml")


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="sandwich takes networks_per_step of 3 or more"):
        Phase(name="p", epochs=1, learning_rate=0.1, networks_per_step=2, sandwich=True)
    with pytest.raises(ValueError, match="two phases share a name"):
        Schedule(phases=(TEACHER, TEACHER))
    with pytest.raises(ValueError, match="less than 1"):
        AloneSchedule(epochs=1, learning_rate=0.1, dropout=1.0)


def test_a_phase_that_a_space_does_not_have_is_refused() -> None:
    resnet = load_space("ofa-resnet50")
    with pytest.raises(TrainingError, match="space 'ofa-resnet50': opens: unknown kind of knob 'kernel'"):
        open_choices(resnet, Phase(name="p", epochs=1, learning_rate=0.1, opens={"kernel": "all"}))
    with pytest.raises(TrainingError, match="opens 9 choices of 'depth', of which there are 3"):
        open_choices(resnet, Phase(name="p", epochs=1, learning_rate=0.1, opens={"depth": 9}))
