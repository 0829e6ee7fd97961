"""One network under one scenario of NAAS: the known machine, and what each way to search does better.

`native` is the machine as described, held to the schedule that its designers published (`SCHEDULES`), at the best mapping
that this schedule leaves: no handicap from a bad mapper. All other columns are EDP ratios against it:

* `mapped`: the same machine, spatial dims as described, loops in any order and level: the proven best mapping.
* `sized`: machines of NAAS's space that differ in sizes only from the one nearest to the description; proven mappings.
* `naas`: NAAS as published, two nested evolutions: separable CMA-ES over machines, and for every machine and layer CMA-ES
  over mappings (`MappingOptions(mapper="naas")`).
* `exact`: machines of NAAS's space, connectivity included, proven mappings (`cosearch.best_machine`), at a tenth of the time
  of `naas` or less.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from accel_models.accelerator import Accelerator, TemporalRules
from accel_models.description import load_target
from accel_models.energy_sets import ENERGY_SETS
from accel_models.networks import load_network
from accel_models.workload import Network
from cosearch.best_machine import best_machine
from cosearch.evaluate import MappingOptions
from cosearch.rescore import Machine
from cosearch.spaces.hardware import HardwareSpace, make_hardware
from cosearch.study import search

LARGE, SMALL = ("vgg16", "resnet50", "unet"), ("mobilenet-v2", "squeezenet", "mnasnet")

SCENARIOS = {"edge_tpu": LARGE, "nvdla_1024": LARGE, "eyeriss": SMALL, "nvdla_256": SMALL, "shidiannao": SMALL}
"""Machines whose resources are the limits, and the networks that the paper runs on them."""

LARGE_PART = 0.4
"""Questions about a large network's layer for one about a small one's: the exact mapper takes longer for a large layer, the
evolution, which tries so many mappings of any, does not."""

_STRIPES = {  # a weight stays while positions pass by; then the kernel's window, then channels; then further positions
    "weight_register": TemporalRules(dims=("N", "P", "Q")),
    "accumulator": TemporalRules(dims=("R", "S", "C"), order=("R", "S", "C")),
}

SCHEDULES: dict[str, dict[str, TemporalRules]] = {
    # nvdla.org, hw/v1/ias/unit_description.html: stripe, block, channel and group operation, then further kernels
    "nvdla_256": {**_STRIPES, "convolution_buffer": TemporalRules(order=("P", "Q", "K"))},
    "nvdla_1024": {**_STRIPES, "convolution_buffer": TemporalRules(order=("P", "Q", "K"))},
    # weight stationary as the first TPU: Jouppi et al., ISCA 2017; of the Edge TPU nothing is published
    "edge_tpu": {**_STRIPES, "unified_buffer": TemporalRules(order=("P", "Q", "K"))},
    # Du et al., ISCA 2015: a neuron per element until it is done, kernel position by position, input map by input map; then
    # the next block of positions, then the next output map
    "shidiannao": {
        "output_register": TemporalRules(dims=("R", "S", "C"), order=("R", "S", "C")),
        "weight_buffer": TemporalRules(order=("P", "Q", "K")),
    },
    # Chen, Emer, Sze, ISCA 2016, section V, as descriptions/eyeriss_rs.yaml has it
    "eyeriss": {
        "psum_spad": TemporalRules(dims=("K",)),
        "weight_spad": TemporalRules(dims=("R", "C")),
        "input_spad": TemporalRules(dims=()),
    },
}
"""Scenario -> level -> the loops that the published schedule has there, innermost first."""


EXACT_TIME_SHARE = 0.08
"""Share of the `naas` column's processor time that `exact` may fill with further searches: it is held to a tenth."""

MOST_SEARCHES = 20

SEED_STEP = 1000
"""Between the seeds of these searches."""


@dataclass(frozen=True)
class Effort:
    """How long each column may search.

    Parameters
    ----------
    machines
        Of `naas`, each with its own search of mappings.
    mappings
        Per layer and machine of `naas`.
    population
        Of `naas`' search of machines.
    questions
        Of `exact` and `sized`, per distinct layer of a small network: layers that the mapper is asked for (`best_machine`).
        Of a large network :data:`LARGE_PART` of that.
    seed
        Of everything drawn.
    """

    machines: int = 300
    mappings: int = 300
    population: int = 20
    questions: int = 40
    seed: int = 0


@dataclass(frozen=True)
class Column:
    """What one way to search came to; ratios against native, `edp` and `seconds` (of processor) the smaller the better."""

    edp: float
    speedup: float
    energy_saving: float
    seconds: float
    machines: int = 1
    macs: int = 0


def native(scenario: str) -> Accelerator:
    """Return the known machine of a scenario, held to its published schedule."""
    target = load_target(scenario)
    rules = SCHEDULES[scenario]
    levels = [level.model_copy(update={"temporal": rules.get(level.name, level.temporal)}) for level in target.levels]
    return target.model_copy(update={"levels": tuple(levels)})


@dataclass(frozen=True)
class Cost:
    """Latency, energy and the machine that has them."""

    latency_s: float
    energy_j: float
    machine: Accelerator
    machines: int = 1


def mapped(network: Network, machine: Accelerator) -> Cost:
    """Return what a machine comes to at the best mappings that its rules leave."""
    cost = machine.evaluate(network)
    return Cost(cost.latency_s, cost.energy_j, machine)


def searched(network: Network, space: HardwareSpace, effort: Effort, *, sizes_only: bool) -> Cost:
    """Return the best machine with proven mappings; all have the whole bandwidth, for less of it saves nothing."""
    free = np.array(["bandwidth" not in knob.name for knob in space.knobs])
    if sizes_only:
        free &= space.sizing
    layers = len(network.distinct_layers) * (LARGE_PART if network.name in LARGE else 1)
    found = best_machine(network, space, budget=round(effort.questions * layers), seed=effort.seed, free=free)
    return Cost(found.latency_s, found.energy_j, found.accelerator, found.looked_at)


def restarted(network: Network, space: HardwareSpace, effort: Effort, seconds: float) -> Cost:
    """Return the best of as many searches as seconds of processor time allow: one at least, `MOST_SEARCHES` at most."""
    start, longest = time.process_time(), 0.0
    found: list[Cost] = []
    while len(found) < MOST_SEARCHES and (not found or time.process_time() - start + longest <= seconds):
        before = time.process_time()
        own = replace(effort, seed=effort.seed + SEED_STEP * len(found))
        found.append(searched(network, space, own, sizes_only=False))
        longest = max(longest, time.process_time() - before)
    best = min(found, key=lambda cost: cost.latency_s * cost.energy_j)
    return replace(best, machines=sum(cost.machines for cost in found))


def evolved(network: Network, target: Accelerator, space: HardwareSpace, effort: Effort) -> Cost:
    """Return the best machine that the nested evolution finds, with the mappings that it found."""
    study = search(
        network, target, ["edp"], hardware="naas", strategy="naas", budget=effort.machines, population=effort.population,
        seed=effort.seed, mapping=MappingOptions(mapper="naas", effort=effort.mappings, seed=effort.seed),
    )  # fmt: skip
    (best,) = study.front_pairs()
    genome = np.array(best.genome, dtype=np.int64)
    return Cost(best.metrics["latency_s"], best.metrics["energy_j"], space.target(genome), len(study.archive.pairs()))


def compare(network_name: str, scenario: str, effort: Effort, columns: tuple[str, ...]) -> dict[str, Any]:
    """Return one row of the benchmark: the columns asked for, beside `native` and `mapped`, as ratios against native."""
    network, target = load_network(network_name), load_target(scenario)
    space = make_hardware("naas", target)
    ways: dict[str, Callable[[], Cost]] = {
        "native": lambda: mapped(network, native(scenario)),
        "mapped": lambda: mapped(network, target),
        "sized": lambda: searched(network, space, effort, sizes_only=True),
        "naas": lambda: evolved(network, target, space, effort),
        "exact": lambda: restarted(
            network, space, effort, EXACT_TIME_SHARE * details["naas"]["seconds"] if "naas" in details else 0.0
        ),
    }
    mapped(network, target)  # kernels are compiled or loaded before anything is timed
    costs: dict[str, Cost] = {}
    details: dict[str, Any] = {}
    for name in ("native", "mapped", *columns):
        start = time.process_time()
        cost = costs[name] = ways[name]()
        seconds = time.process_time() - start
        base = costs["native"]
        details[name] = asdict(Column(
            cost.latency_s * cost.energy_j / (base.latency_s * base.energy_j), base.latency_s / cost.latency_s,
            base.energy_j / cost.energy_j, seconds, cost.machines, cost.machine.macs_per_cycle,
        ))  # fmt: skip
    row = {"network": network_name, "scenario": scenario, **{name: each["edp"] for name, each in details.items()}}
    if "exact" in costs:
        row["rescored"] = {
            name: rescored(network, costs["native"].machine, costs["exact"].machine, name) for name in ENERGY_SETS
        }
        row["machine"] = costs["exact"].machine.model_dump(mode="json", exclude_defaults=True)
    return {**row, "details": details}


def rescored(network: Network, before: Accelerator, after: Accelerator, energies: str) -> float:
    """Return the EDP ratio of two machines with another set of energies, mappings found anew on both."""
    native_cost, found = (Machine(machine, energies, MappingOptions()).cost(network) for machine in (before, after))
    return found.after.edp_js / native_cost.after.edp_js
