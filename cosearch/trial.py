"""Trying a pair for the front: its evaluation ends as soon as something known is sure to be better.

Every layer has a floor, an energy and a latency that no mapping is below (:mod:`accel_models.mapper.floor`). Floors, and the
true costs of the layers mapped so far, bound what the network costs on the machine. Once a pair that is known is at least as
good as the bound in every objective, or the bound breaks a limit, the pair can never come onto the front: it is refuted, and
the rest of its layers need no mapping. Nothing is lost by it.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accel_models.accelerator import Accelerator
from accel_models.errors import DescriptionError, MappingError
from accel_models.workload import Layer, Network
from cosearch.accuracy.quantisation import narrowest_bits
from cosearch.evaluate import Evaluator, Outcome, Specification
from cosearch.objective import Limit, Objective, to_minimise
from cosearch.space import Genomes

if TYPE_CHECKING:
    from accel_models.mapper.base import Found
    from accel_models.targets import asic

Floats = NDArray[np.float64]
Estimated = Mapping[str, float]

_KNOWN = ("top1_percent", "proxy_score", "device_latency_s", "area_mm2", "macs", "params")
"""Metrics that are no bounds but known from the start."""

_ROUNDING = 1e-9
"""Relative slack of a bound: its sums are taken in another order than an evaluation's."""


@dataclass(frozen=True, eq=False)
class Bar:
    """What a pair has to pass.

    Attributes
    ----------
    specification, objectives, limits
        Of the search.
    front
        float64 (n, objectives), to be minimised: pairs that keep the limits, none dominated.
    """

    specification: Specification
    objectives: tuple[Objective, ...]
    limits: tuple[Limit, ...]
    front: Floats

    def refutes(self, bound: Outcome, estimated: Estimated) -> bool:
        """Tell whether a pair that costs no less than `bound`, and is estimated so, cannot come onto the front."""
        if not len(self.front):
            return False
        metrics = {
            **estimated, "latency_s": bound.latency_s, "energy_j": bound.energy_j,
            "edp_js": bound.latency_s * bound.energy_j, "area_mm2": bound.area_mm2, "macs": float(bound.macs),
            "params": float(bound.params),
        }  # fmt: skip
        if any(limit.violation(metrics) > 0 for limit in self.limits if limit.sense == "<=" or limit.metric in _KNOWN):
            return True
        return bool((self.front <= to_minimise(self.objectives, [metrics])).all(axis=1).any())


def try_pairs(
    bar: Bar, genomes: Genomes, estimated: Sequence[Estimated], executor: Executor | None, workers: int, batches: int
) -> list[Outcome | None]:
    """Return what pairs of canonical genomes (n, knobs) cost, in their order; None for those that are refuted.

    Parameters
    ----------
    estimated
        Per pair what is said of its network on its machine (`cosearch.estimates.Estimate.on`).
    executor, workers, batches
        Who works; into how many parts the pairs are divided.
    """
    if executor is None or len(genomes) < workers:
        return _try_all(bar, genomes, estimated)
    pickled = pickle.dumps(bar)
    parts = np.array_split(np.arange(len(genomes)), min(batches, len(genomes)))
    futures = [executor.submit(_in_process, pickled, genomes[part], [estimated[i] for i in part]) for part in parts]
    return [outcome for future in futures for outcome in future.result()]


def _in_process(bar: bytes, genomes: Genomes, estimated: Sequence[Estimated]) -> list[Outcome | None]:
    return _try_all(_bar(bar), genomes, estimated)


@lru_cache(maxsize=2)
def _bar(pickled: bytes) -> Bar:
    bar: Bar = pickle.loads(pickled)
    return bar


def _try_all(bar: Bar, genomes: Genomes, estimated: Sequence[Estimated]) -> list[Outcome | None]:
    evaluator = Evaluator(bar.specification)
    return [_try(bar, evaluator, genome, said) for genome, said in zip(genomes, estimated, strict=True)]


def _try(bar: Bar, evaluator: Evaluator, genome: Genomes, estimated: Estimated) -> Outcome | None:
    """Return what one pair costs, or None where it is refuted."""
    network_genes, hardware_genes = evaluator.space.split(genome)
    try:
        accelerator, cache = evaluator.machine(hardware_genes)
    except DescriptionError as error:
        return None if len(bar.front) else Outcome(reason=str(error))
    if accelerator.tensor_level is None:
        network = evaluator.space.networks.network(network_genes)
        try:
            for bound, layer in _bounds(network, accelerator, cache):
                if bar.refutes(bound, estimated):
                    return None
                evaluator.map([layer], accelerator, cache)
        except MappingError:
            pass  # the evaluation says it
    outcome = evaluator(genome)
    if outcome.reason:
        return None if len(bar.front) else outcome
    least = replace(outcome, latency_s=outcome.latency_s * (1 - _ROUNDING), energy_j=outcome.energy_j * (1 - _ROUNDING))
    return None if bar.refutes(least, estimated) else outcome


def _bounds(network: Network, accelerator: Accelerator, cache: asic.Cache) -> Iterator[tuple[Outcome, Layer]]:
    """Yield what a network costs at least on a machine, and the layer to be mapped before the next, sharper bound.

    The layer with the largest floor comes first. Layers in `cache` count as mapped.
    """
    from accel_models.mapper.floor import Floor
    from accel_models.targets import asic

    counts, floor = network.distinct_layers, Floor(accelerator)
    costs = {layer: _cost(cache[layer]) if layer in cache else floor.of(layer) for layer in counts}
    open_layers = [layer for layer in counts if layer not in cache]
    open_layers.sort(key=lambda layer: -counts[layer] * costs[layer][0] * costs[layer][1])
    energy_pj, cycles = floor.of_vector_unit(network)
    energy_pj += sum(count * costs[layer][0] for layer, count in counts.items())
    cycles += sum(count * costs[layer][1] for layer, count in counts.items())
    known = Outcome(
        area_mm2=accelerator.area_mm2, macs=network.macs, params=network.params, bits=narrowest_bits(accelerator)
    )
    for layer in open_layers:
        latency_s, energy_j = asic.in_si_units(cycles, energy_pj, accelerator)
        yield replace(known, latency_s=latency_s * (1 - _ROUNDING), energy_j=energy_j * (1 - _ROUNDING)), layer
        found = _cost(cache[layer])
        energy_pj += counts[layer] * (found[0] - costs[layer][0])
        cycles += counts[layer] * (found[1] - costs[layer][1])


def _cost(found: Found) -> tuple[float, float]:
    return found.energy_pj, found.latency_cycles
