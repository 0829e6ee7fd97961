"""One evaluation: a pure function of (specification, genome), in this process or in others.

The unit of work is a batch of genomes. Batches merge in the order they were asked for, so that results do not depend on
how many processes computed them.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from accel_models.accelerator import Accelerator
from accel_models.errors import DescriptionError, MappingError
from accel_models.workload import Layer
from cosearch.accuracy.quantisation import narrowest_bits
from cosearch.space import Genomes, NetworkSpace
from cosearch.spaces.hardware import make_hardware
from cosearch.spaces.joint import JointSpace

if TYPE_CHECKING:
    from accel_models.targets import asic

HARDWARE_KEPT = 512
"""Accelerators whose layer costs one process remembers (some 60 KiB each)."""


@dataclass(frozen=True)
class MappingOptions:
    """How mappings are looked for; see :func:`accel_models.best_mapping`."""

    objective: str = "edp"
    mapper: str = "exact"
    effort: int = 200
    seed: int = 0


@dataclass(frozen=True)
class Specification:
    """All that an evaluation depends on beside the genome; `hardware` is one of `HARDWARE_KINDS`."""

    networks: NetworkSpace
    target: Accelerator
    hardware: str
    mapping: MappingOptions

    def space(self) -> JointSpace:
        """Return the joint space that genomes belong to."""
        return JointSpace(self.networks, make_hardware(self.hardware, self.target))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one pair costs; or, where the hardware cannot run the network at all, the reason.

    `bits` is the narrower of weights and inputs, for who says what that costs in accuracy.
    """

    latency_s: float = float("nan")
    energy_j: float = float("nan")
    area_mm2: float = float("nan")
    macs: int = 0
    params: int = 0
    bits: int = 16
    reason: str = ""


class Evaluator:
    """Evaluates genomes of one specification; remembers layer costs per accelerator (it changes speed, not results)."""

    def __init__(self, specification: Specification) -> None:
        self.space = specification.space()
        self.mapping = specification.mapping
        self._known: OrderedDict[tuple[int, ...], tuple[Accelerator, asic.Cache]] = OrderedDict()

    def __call__(self, genome: Genomes) -> Outcome:
        """Return what the pair of one canonical genome costs."""
        from accel_models.targets import asic  # brings numba: who only reads a record does without

        network_genes, hardware_genes = self.space.split(genome)
        network = self.space.networks.network(network_genes)
        try:
            accelerator, cache = self.machine(hardware_genes)
            self.map(network.distinct_layers, accelerator, cache)
        except (DescriptionError, MappingError) as error:
            return Outcome(macs=network.macs, params=network.params, reason=str(error))
        latency_s, energy_j = asic.totals(network, accelerator, cache)
        bits = narrowest_bits(accelerator)
        return Outcome(latency_s, energy_j, accelerator.area_mm2, network.macs, network.params, bits)

    def map(self, layers: Iterable[Layer], accelerator: Accelerator, cache: asic.Cache) -> None:
        """Add the mappings of layers to a machine's cache.

        Raises
        ------
        MappingError
            If a layer cannot be mapped at all.
        """
        from accel_models.targets import asic

        options = self.mapping
        asic.find_mappings(layers, accelerator, cache, options.objective, options.mapper, options.effort, options.seed)

    def machine(self, genome: Genomes) -> tuple[Accelerator, asic.Cache]:
        """Return the machine of a canonical hardware genome, and the mappings known on it.

        Raises
        ------
        DescriptionError
            If the genome describes none.
        """
        key = tuple(genome.tolist())
        if key not in self._known:
            self._known[key] = (self.space.hardware.target(genome), {})
            if len(self._known) > HARDWARE_KEPT:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]


@lru_cache(maxsize=2)
def _evaluator(specification: bytes) -> Evaluator:
    return Evaluator(pickle.loads(specification))


def evaluate_batch(specification: bytes, genomes: Genomes) -> list[Outcome]:
    """Return the outcomes of a batch; `specification` is pickled once by the caller. Runs in worker processes."""
    evaluator = _evaluator(specification)
    return [evaluator(genome) for genome in genomes]


@contextmanager
def open_pool(workers: int) -> Iterator[Executor | None]:
    """Open the processes that evaluate batches; None where this process does it alone.

    Workers do not hear Ctrl-C: what it means is for the search to say. They are stopped at once where the search ends with
    an error, and by themselves where its process is gone.
    """
    if workers == 1:
        yield None
        return
    from loky import ProcessPoolExecutor

    pool = ProcessPoolExecutor(max_workers=workers, initializer=_follow, initargs=(os.getpid(),))
    heard = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    try:
        if in_main_thread and heard is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            pool.submit(int)  # starts the processes, which inherit that
            signal.signal(signal.SIGINT, heard)
        yield pool
    except BaseException:
        pool.shutdown(wait=True, kill_workers=True)
        raise
    pool.shutdown(wait=True)


def _follow(parent: int) -> None:
    """Be deaf to Ctrl-C, and end soon after the process that started this one, however it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def evaluate_all(
    specification: bytes, genomes: Genomes, hardware_knobs: int, executor: Executor | None, batches: int
) -> list[Outcome]:
    """Return the outcomes of canonical `genomes` (n, knobs), in their order.

    Pairs that share hardware go into one batch, so that a process maps each layer once.
    """
    if not len(genomes):
        return []
    if executor is None:
        return evaluate_batch(specification, genomes)
    hardware = genomes[:, genomes.shape[1] - hardware_knobs :]
    order = np.lexsort(hardware.T[::-1]) if hardware_knobs else np.arange(len(genomes))
    parts = np.array_split(order, min(batches, len(genomes)))
    futures = [executor.submit(evaluate_batch, specification, genomes[part]) for part in parts]
    outcomes: list[Outcome | None] = [None] * len(genomes)
    for part, future in zip(parts, futures, strict=True):
        for place, outcome in zip(part, future.result(), strict=True):
            outcomes[place] = outcome
    return _complete(outcomes)


def _complete(outcomes: Sequence[Outcome | None]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome is not None]
