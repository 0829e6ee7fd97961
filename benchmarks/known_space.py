"""A joint sub-space whose every machine is known: what each piece of every network costs on each of its machines.

The machines are those of a shortened `search:` section of nvdla_256: array, three memories, what runs along the array's
axes, and the width of words. The networks are all of ofa-mobilenet-v3 at a few resolutions. Costs of a network are sums
over its pieces (`cosearch.cost_table`), so a pair's cost is some forty look-ups, and what a strategy proposes is answered
without evaluating anything. How the numbers are made: `benchmarks.ground_truth`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator, SearchKnob
from accel_models.description import load_target
from accel_models.workload import Layer
from cosearch.accuracy import estimator_for
from cosearch.accuracy._base import AccuracyEstimator
from cosearch.accuracy.quantisation import quantisation_drop
from cosearch.cost_table import CostTable
from cosearch.errors import RunError
from cosearch.evaluate import MappingOptions
from cosearch.network_front import NetworkFront, network_front
from cosearch.objective import OBJECTIVES, parse_objectives
from cosearch.space import Genomes, Knob
from cosearch.spaces.hardware import DescribedHardware
from cosearch.spaces.joint import JointSpace
from cosearch.spaces.ofa_mobilenet_v3 import OfaMobileNetV3
from cosearch.spaces.piece_index import PieceIndex

TARGET = "nvdla_256"
FORMAT = 1
DEFAULT_FILE = Path("runs/ground_truth.npz")
RESOLUTIONS = (160,)
CHOICES: dict[str, tuple[Any, ...]] = {
    "word_bits": (8, 16),
    "weight_register": (2, 8, 32),
    "accumulator": (32, 128, 512),
    "convolution_buffer": (32768, 65536, 131072, 524288),
    "array_x": (16, 32, 64),
    "array_y": (8, 16, 32),
    "dataflow_x": (("C",), ("P",), ("C", "R"), ("C", "G")),
    "dataflow_y": (("K",), ("Q",), ("K", "Q"), ("K", "G")),
}
"""What the machines may choose, by knob of the target's search section: 10,368 machines, the target itself among them."""

COSTS = ("cycles", "energy_j", "area_mm2", "macs", "params")
"""Arrays of a :class:`KnownSpace`."""


class FewResolutions(OfaMobileNetV3):
    """All networks of ofa-mobilenet-v3 at some of its resolutions (px)."""

    def __init__(self, resolutions: tuple[int, ...]) -> None:
        super().__init__(1.0)
        PieceIndex(self, resolutions)  # refuses what is no resolution of the space
        self.knobs = (Knob("resolution", resolutions, "px"), *self.knobs[1:])
        self.arguments = (resolutions,)


def machines_of(choices: Mapping[str, Sequence[Any]] = CHOICES) -> Accelerator:
    """Return the target with a search section of these choices alone."""
    target = load_target(TARGET)
    paths = {knob.name: knob for knob in target.search}
    search = tuple(
        SearchKnob(name=name, sets=paths[name].sets, choices=tuple(values), unit=paths[name].unit)
        for name, values in choices.items()
    )
    return target.model_copy(update={"search": search})


@dataclass(frozen=True)
class Question:
    """Which sub-space is meant: all that its costs and its front depend on, beside the programs that work them out.

    Attributes
    ----------
    machines
        Description with the search section that spans the machines.
    resolutions
        Those of ofa-mobilenet-v3 (px).
    mapping
        What mappings are to be best in.
    """

    machines: Accelerator
    resolutions: tuple[int, ...]
    mapping: MappingOptions = field(default_factory=MappingOptions)

    @cached_property
    def space(self) -> JointSpace:
        """The joint space: a proper one, that any strategy can search."""
        return JointSpace(FewResolutions(self.resolutions), DescribedHardware(self.machines))

    @cached_property
    def index(self) -> PieceIndex:
        """Every piece of the networks."""
        return PieceIndex(self.space.networks, self.resolutions)  # type: ignore[arg-type]

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every distinct layer of the networks."""
        nodes = (node for _, piece in self.index.pieces() for node in piece.nodes)
        return tuple(dict.fromkeys(node.op for node in nodes if isinstance(node.op, Layer)))

    @cached_property
    def count(self) -> int:
        """Number of machines; they are numbered row by row, the last knob fastest."""
        return int(np.prod(self.space.hardware.choices_per_knob))

    @cached_property
    def word_bits(self) -> NDArray[np.int64]:
        """Width of the words of each machine (machines,): the narrower, the less accurate."""
        knobs = self.space.hardware.knobs
        place = [knob.name for knob in knobs].index("word_bits")
        return np.array(knobs[place].choices)[self.hardware_genomes(np.arange(self.count))[:, place]]

    def hardware_genomes(self, machines: NDArray[np.int64]) -> Genomes:
        """Return the genomes (n, hardware knobs) of machines (n,), by number."""
        return np.stack(np.unravel_index(machines, tuple(self.space.hardware.choices_per_knob)), axis=1).astype(
            np.int64
        )

    def machine_numbers(self, genomes: Genomes) -> NDArray[np.int64]:
        """Return the numbers (n,) of the machines of hardware genomes (n, hardware knobs)."""
        return np.ravel_multi_index(tuple(genomes.T), tuple(self.space.hardware.choices_per_knob)).astype(np.int64)

    def to_json(self) -> str:
        """Return the question as text."""
        return json.dumps({
            "format": FORMAT, "machines": self.machines.model_dump(mode="json"), "resolutions": self.resolutions,
            "mapping": asdict(self.mapping),
        })  # fmt: skip

    @classmethod
    def from_json(cls, text: str) -> Question:
        """Read what :meth:`to_json` wrote."""
        told = json.loads(text)
        return cls(
            Accelerator.model_validate(told["machines"]), tuple(told["resolutions"]), MappingOptions(**told["mapping"])
        )

    def table(self, machine: int, costs: Mapping[str, NDArray[np.float64]], row: int) -> CostTable:
        """Return the cost table of a machine, whose costs are in some row of ``cycles`` and ``energy_j``."""
        accelerator = self.space.hardware.target(self.hardware_genomes(np.array([machine]))[0])
        return CostTable(
            self.index, accelerator, costs["cycles"][row], costs["energy_j"][row], costs["macs"], costs["params"],
            len(self.layers),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class TrueFront:
    """The front of the whole sub-space in some objectives, best first objective first.

    Attributes
    ----------
    machines
        int64 (n,): numbers of the machines.
    genomes
        int64 (n, knobs): of the pairs.
    values
        float64 (n, objectives): in display units, all to be minimised.
    """

    machines: NDArray[np.int64] = field(repr=False)
    genomes: Genomes = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, eq=False)
class KnownSpace:
    """A sub-space with the costs of every piece on every machine, and its true fronts.

    Attributes
    ----------
    question
        Which one.
    costs
        ``cycles`` and ``energy_j`` (machines, entries), ``area_mm2`` (machines,), ``macs`` and ``params`` (entries,).
    fronts
        By the names of the objectives.
    """

    question: Question
    costs: dict[str, NDArray[np.float64]] = field(repr=False)
    fronts: dict[tuple[str, ...], TrueFront] = field(repr=False)

    @classmethod
    def load(cls, file: Path) -> KnownSpace:
        """Read what `benchmarks.ground_truth` wrote.

        Raises
        ------
        RunError
            If there is no such file, it is of another program, or says of accuracy what the estimator does not say now.
        """
        arrays = read_arrays(file)
        told = json.loads(str(arrays.get("question", "null")))
        if not isinstance(told, dict) or told.get("format") != FORMAT:
            raise RunError(
                f"{file}: not a truth of this program; write it again with python -m benchmarks.ground_truth"
            )
        question = Question.from_json(str(arrays["question"]))
        fronts = {}
        for name in arrays:
            if name.startswith("machines of "):
                names = name.removeprefix("machines of ")
                machines, networks, values = (
                    arrays[f"{part} of {names}"] for part in ("machines", "networks", "values")
                )
                genomes = np.hstack([networks.astype(np.int64), question.hardware_genomes(machines)])
                fronts[tuple(names.split(","))] = TrueFront(machines, genomes, values)
        known = cls(question, {name: arrays[name] for name in COSTS}, fronts)
        for objectives, front in fronts.items():
            if not np.allclose(known.values(front.genomes, objectives), front.values, rtol=1e-9, atol=0.0):
                raise RunError(f"{file}: made with another model of accuracy; remove it and make it again")
        return known

    @property
    def space(self) -> JointSpace:
        """The joint space."""
        return self.question.space

    @cached_property
    def estimator(self) -> AccuracyEstimator:
        """Who says how accurate the networks are."""
        found = estimator_for(self.space.networks)
        assert found is not None
        return found

    @cached_property
    def _drops(self) -> NDArray[np.float64]:
        """What the arithmetic of each machine costs in top-1, in points; nothing, as in a search, where it runs none."""
        points = np.array([quantisation_drop(bits).points for bits in self.question.word_bits])
        return np.where(np.isnan(self.costs["area_mm2"]), 0.0, points)

    def metrics(self, genomes: Genomes) -> dict[str, NDArray[np.float64]]:
        """Return top1_percent, latency_s and energy_j, (n,) each, of pairs (n, knobs): by look-up.

        NaN, but for top1_percent, where the machine cannot run the networks.
        """
        networks, hardware = self.space.split(genomes)
        machines = self.question.machine_numbers(hardware)
        entries = self.question.index.look_ups(networks) + machines * self.question.index.entries
        cycles, energy_j = (self.costs[name].ravel()[entries].sum(axis=0) for name in ("cycles", "energy_j"))
        top1 = self.estimator.estimate(self.space.networks.numbers(networks)).value - self._drops[machines]
        return {
            "top1_percent": top1,
            "latency_s": cycles / (self.question.machines.clock_mhz * 1e6),
            "energy_j": energy_j,
        }

    def values(self, genomes: Genomes, objectives: Sequence[str]) -> NDArray[np.float64]:
        """Return objectives (n, objectives) of pairs (n, knobs), in display units, all to be minimised; NaN as above."""
        return minimised(self.metrics(genomes), objectives)

    def network_front(self, machine: int, objectives: Sequence[str]) -> NetworkFront | None:
        """Return the front over all networks on one machine; None where it cannot run them."""
        if np.isnan(self.costs["area_mm2"][machine]):
            return None
        table = self.question.table(machine, self.costs, machine)
        return network_front(table, self.estimator, [OBJECTIVES[name].metric for name in objectives])


def minimised(metrics: Mapping[str, NDArray[np.float64]], objectives: Sequence[str]) -> NDArray[np.float64]:
    """Return metrics (n,) as objectives (n, objectives) in display units, maximised ones negated."""
    asked = parse_objectives(objectives)
    scales = [-objective.scale if objective.maximise else objective.scale for objective in asked]
    return np.stack([metrics[each.metric] * scale for each, scale in zip(asked, scales, strict=True)], axis=1)


def write_arrays(file: Path, arrays: Mapping[str, Any]) -> None:
    """Write a compressed archive of arrays, whole or not at all; equal arrays give equal bytes.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(file.name + ".unfinished")
    with unfinished.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    unfinished.replace(file)


def read_arrays(file: Path) -> dict[str, Any]:
    """Read what :func:`write_arrays` wrote.

    Raises
    ------
    RunError
        If there is no such file, or it is none of these.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            return dict(stored)
    except FileNotFoundError:
        raise RunError(f"{file}: there is no such file; python -m benchmarks.ground_truth makes it") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{file}: no archive of arrays: {error}") from None
