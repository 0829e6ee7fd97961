"""Named choices and the one codec between them and vectors of small integers.

A *genome* is an int64 vector with one entry per knob: the index of the choice taken. Strategies see genomes only.
Genes that do not count (a block beyond a stage's depth) are set to 0 by :meth:`Space.canonical`, so two genomes that
describe the same thing become the same genome, the same candidate and the same cached cost.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel_models.errors import unknown_name
from cosearch.errors import SpaceError

if TYPE_CHECKING:
    from accel_models.workload import Network

Genomes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Knob:
    """One named choice.

    Parameters
    ----------
    name
        What the user calls it.
    choices
        What can be chosen, in a meaningful order (numbers ascending).
    unit
        Unit of the choices, empty for a pure number or a name.
    """

    name: str
    choices: tuple[Any, ...]
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.choices:
            raise SpaceError(f"knob {self.name!r} has no choices")
        if len(set(self.choices)) != len(self.choices):
            raise SpaceError(f"knob {self.name!r} lists a choice twice: {self.choices}")

    @property
    def numbers(self) -> tuple[int, ...]:
        """The choices where they are whole numbers, else their indices."""
        whole = all(isinstance(choice, int) for choice in self.choices)
        return self.choices if whole else tuple(range(len(self.choices)))

    def index(self, value: Any) -> int:
        """Return the position of `value` among the choices.

        Raises
        ------
        SpaceError
            If it is not one of them.
        """
        try:
            return self.choices.index(value)
        except ValueError:
            raise SpaceError(f"{self.name} = {value!r} is not one of {list(self.choices)}") from None


class Space(ABC):
    """A set of candidates spanned by knobs.

    A subclass sets `name`, `summary` and `knobs`; all of them are constant for its lifetime.
    """

    name: str
    summary: str
    knobs: tuple[Knob, ...]

    @cached_property
    def choices_per_knob(self) -> Genomes:
        """Number of choices of each knob, shape (knobs,)."""
        return np.array([len(knob.choices) for knob in self.knobs], dtype=np.int64)

    def canonical(self, genomes: Genomes) -> Genomes:
        """Return `genomes` (n, knobs) with every gene that does not count set to 0. The input is not changed."""
        return np.where(self.active(genomes), genomes, 0)

    def active(self, genomes: Genomes) -> NDArray[np.bool_]:
        """Tell which genes of `genomes` (n, knobs) count, given the others. All do unless a subclass knows better."""
        return np.ones(genomes.shape, dtype=np.bool_)

    def sample_genomes(self, rng: np.random.Generator, count: int) -> Genomes:
        """Draw `count` genomes, each knob uniform over its choices, shape (count, knobs), canonical."""
        return self.canonical(rng.integers(0, self.choices_per_knob, size=(count, len(self.knobs)), dtype=np.int64))

    def every_genome(self) -> Genomes:
        """Return all canonical genomes, each once, (n, knobs): of small spaces, as every combination is made."""
        combinations = itertools.product(*map(range, self.choices_per_knob.tolist()))
        every = np.array(list(combinations), dtype=np.int64)
        return np.unique(self.canonical(every.reshape(len(every), len(self.knobs))), axis=0)

    def values(self, genome: Genomes) -> dict[str, Any]:
        """Return what a genome chooses, knob by knob."""
        self.check(genome)
        return {knob.name: knob.choices[int(gene)] for knob, gene in zip(self.knobs, genome, strict=True)}

    def active_values(self, genome: Genomes) -> dict[str, Any]:
        """Return the choices of a genome that count."""
        active = self.active(genome[None])[0]
        return {
            name: value for (name, value), counts in zip(self.values(genome).items(), active, strict=True) if counts
        }

    def genome(self, values: Mapping[str, Any]) -> Genomes:
        """Return the canonical genome of named values; knobs that are not named take their first choice.

        Raises
        ------
        SpaceError
            If a name is no knob or a value none of its choices.
        """
        names = [knob.name for knob in self.knobs]
        for name in values:
            if name not in names:
                raise SpaceError(f"space {self.name!r}: " + unknown_name("knob", name, names))
        genes = [knob.index(values[knob.name]) if knob.name in values else 0 for knob in self.knobs]
        return self.canonical(np.array([genes], dtype=np.int64))[0]

    def check(self, genome: Genomes) -> None:
        """Refuse a genome of the wrong length or with a gene outside its knob's choices.

        Raises
        ------
        SpaceError
            With the first offending knob.
        """
        if genome.shape != (len(self.knobs),):
            raise SpaceError(f"space {self.name!r}: a genome has {len(self.knobs)} genes, not {genome.size}")
        bad = np.flatnonzero((genome < 0) | (genome >= self.choices_per_knob))
        if bad.size:
            knob = self.knobs[bad[0]]
            raise SpaceError(
                f"space {self.name!r}: gene {genome[bad[0]]} of {knob.name} is outside 0..{len(knob.choices) - 1}"
            )


class NetworkSpace(Space):
    """A space whose candidates are networks."""

    @abstractmethod
    def network(self, genome: Genomes) -> Network:
        """Return the network that a canonical genome describes."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Number of different networks."""

    @cached_property
    def _choice_table(self) -> NDArray[np.int64]:
        table = np.zeros((len(self.knobs), int(self.choices_per_knob.max(initial=0))), dtype=np.int64)
        for row, knob in zip(table, self.knobs, strict=True):
            row[: len(knob.choices)] = knob.numbers
        return table

    def numbers(self, genomes: Genomes) -> NDArray[np.int64]:
        """Return the chosen values, shape (n, knobs), in knob order; of choices that are no whole numbers, the index."""
        return self._choice_table[np.arange(len(self.knobs)), genomes]

    def sample(self, seed: int = 0) -> Network:
        """Return one random network; the same seed gives the same one."""
        return self.network(self.sample_genomes(np.random.default_rng(seed), 1)[0])
