"""The hardware space of a description's `search:` section, or the single point of a description as it is."""

from __future__ import annotations

from accel_models.accelerator import Accelerator
from accel_models.description import with_values
from cosearch.errors import SpaceError
from cosearch.space import Genomes, Knob, Space


class HardwareSpace(Space):
    """Accelerators that one description spans.

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
                "(--fix hardware) or add ranges to the description"
            )
        self.base = target
        self.name = target.name
        self.summary = target.summary
        self._knobs = () if fixed else target.search
        self.knobs = tuple(Knob(knob.name, knob.values(), knob.unit) for knob in self._knobs)

    def target(self, genome: Genomes) -> Accelerator:
        """Return the accelerator that a genome describes, named after the base.

        Raises
        ------
        DescriptionError
            If the chosen values contradict each other.
        """
        values = {
            path: knob.choices[int(gene)]
            for knob, gene, setter in zip(self.knobs, genome, self._knobs, strict=True)
            for path in setter.sets
        }
        return with_values(self.base, values)
