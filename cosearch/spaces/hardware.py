"""Spaces of machines that are derived from one description: its `search:` section, or the description as it is.

What can be asked for by name is in :data:`HARDWARE_KINDS`; NAAS's space is in `naas_hardware.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator, SearchKnob
from accel_models.description import value_at, with_values
from accel_models.errors import unknown_name
from cosearch.errors import SpaceError, UnknownNameError
from cosearch.space import Genomes, Knob, Space

HARDWARE_KINDS = ("described", "fixed", "naas", "naas-bits")
"""The description's `search:` section; the description as it is; NAAS's space under its resources; the same with bits."""


class HardwareSpace(Space, ABC):
    """A space whose candidates are machines derived from one target.

    Attributes
    ----------
    base
        The target.
    default
        int64 (knobs,): the canonical genome nearest to the target as described. Of a `search:` section it has, for each
        knob, the choice that the description has; else the nearest number, else the first choice.
    sizing
        bool (knobs,): True for the knobs that size a machine (entries, sides of the array, bandwidths), False for those
        that say how it is connected (dims, structure) or what it computes (bits).
    """

    base: Accelerator
    default: Genomes
    sizing: NDArray[np.bool_]

    @abstractmethod
    def target(self, genome: Genomes) -> Accelerator:
        """Return the machine that a canonical genome describes.

        Raises
        ------
        DescriptionError
            If the chosen values contradict each other.
        """


class DescribedHardware(HardwareSpace):
    """Machines that one description spans.

    Parameters
    ----------
    target
        The description.
    fixed
        True to keep it as it is: a space of one candidate without knobs.

    Raises
    ------
    SpaceError
        If it is to vary and its description has no `search:` section.
    """

    def __init__(self, target: Accelerator, *, fixed: bool = False) -> None:
        if not fixed and not target.search:
            raise SpaceError(
                f"target {target.name!r} has no search: section, so there is no hardware to search; fix the hardware "
                "(--fix hardware), search NAAS's space (--hardware naas), or add ranges to the description"
            )
        self.base = target
        self.name = target.name
        self.summary = target.summary
        self._setters = () if fixed else target.search
        self.knobs = tuple(Knob(setter.name, setter.values(), setter.unit) for setter in self._setters)
        present = [value_at(target, setter.sets[0]) for setter in self._setters]
        genes = [nearest(knob.choices, value) for knob, value in zip(self.knobs, present, strict=True)]
        self.default = np.array(genes, dtype=np.int64)
        self.sizing = np.array([_sizes(setter) for setter in self._setters], dtype=np.bool_)

    def target(self, genome: Genomes) -> Accelerator:
        """Return the accelerator that a genome describes, named after the base.

        Raises
        ------
        DescriptionError
            If the chosen values contradict each other.
        """
        values = {
            path: knob.choices[int(gene)]
            for knob, gene, setter in zip(self.knobs, genome, self._setters, strict=True)
            for path in setter.sets
        }
        return with_values(self.base, values)


def make_hardware(kind: str, target: Accelerator) -> HardwareSpace:
    """Return the space of a kind of :data:`HARDWARE_KINDS` that is derived from a target.

    Raises
    ------
    UnknownNameError
        For an unknown kind.
    SpaceError
        If the target has nothing that this kind could vary.
    """
    from cosearch.spaces.naas_hardware import NaasHardware

    if kind in ("described", "fixed"):
        return DescribedHardware(target, fixed=kind == "fixed")
    if kind in ("naas", "naas-bits"):
        return NaasHardware(target, bits=kind == "naas-bits")
    raise UnknownNameError(unknown_name("hardware", kind, HARDWARE_KINDS))


def nearest(choices: Sequence[Any], value: Any) -> int:
    """Return the place of a value among choices: of the equal one, else of the nearest number, else 0."""
    plain = tuple(value) if isinstance(value, (list, tuple)) else value
    if plain in choices:
        return choices.index(plain)
    if _is_number(plain) and all(map(_is_number, choices)):
        return min(range(len(choices)), key=lambda place: abs(choices[place] - plain))
    return 0


def _sizes(setter: SearchKnob) -> bool:
    """Tell whether a knob sizes: numbers, but not widths in bits, which say what is computed."""
    bits = any(path.startswith("precision.") or path.endswith("_bits") for path in setter.sets)
    return all(map(_is_number, setter.values())) and not bits


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
