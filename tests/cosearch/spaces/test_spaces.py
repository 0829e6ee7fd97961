"""Spaces are found by name; a plug-in that fails says which one it is."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints

import pytest

import cosearch.plugins
from cosearch.errors import CosearchError, UnknownNameError
from cosearch.space import NetworkSpace
from cosearch.spaces import GROUP, load_space, space_names


@pytest.fixture
def registered(monkeypatch):
    """Return a function that makes the given entry points (name, value) the only ones."""

    def register(*entries: tuple[str, str]) -> None:
        points = EntryPoints(EntryPoint(name, value, GROUP) for name, value in entries)
        monkeypatch.setattr(cosearch.plugins, "entry_points", lambda group: points.select(group=group))

    return register


def test_every_registered_space_loads_under_its_own_name():
    assert {"ofa-mobilenet-v3", "ofa-mobilenet-v3-w1.2", "ofa-proxyless", "ofa-resnet50"} <= set(space_names())
    for name in space_names():
        space = load_space(name)
        assert isinstance(space, NetworkSpace)
        assert space.name == name
        assert space.summary


def test_an_unknown_space_is_told_the_nearest_one():
    with pytest.raises(UnknownNameError, match="unknown space 'ofa-mobilenetv3': did you mean 'ofa-mobilenet-v3'"):
        load_space("ofa-mobilenetv3")


def test_a_space_of_ones_own_is_found(registered):
    registered(("mine", "cosearch.spaces.ofa_mobilenet_v3:OfaMobileNetV3"))
    assert space_names() == ["mine"]
    assert load_space("mine").size > 1


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_package:space", "entry point 'no_such_package:space' .*No module named 'no_such_package'"),
        ("cosearch.spaces.ofa_mobilenet_v3:width_2_0", "entry point 'cosearch.spaces.ofa_mobilenet_v3:width_2_0' "),
        ("operator:truediv", "its entry point fails: TypeError: truediv expected 2 arguments"),
        ("builtins:str", "its entry point returns a str, not a NetworkSpace"),
    ],
)
def test_a_plug_in_that_fails_is_named(registered, value, said):
    registered(("broken", value))
    with pytest.raises(CosearchError, match=f"space 'broken': {said}"):
        load_space("broken")


def test_a_tree_that_is_not_installed_says_so(registered):
    registered()
    with pytest.raises(CosearchError, match=r"no search space is registered: .* not installed"):
        load_space("ofa-mobilenet-v3")


def test_listing_the_names_imports_no_space():
    script = """
import sys, cosearch.spaces
names = cosearch.spaces.space_names()
sys.exit("a space was imported" if "cosearch.spaces.ofa_mobilenet_v3" in sys.modules or not names else 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
