"""NAAS' evolutionary mapper: loop orders by importance, tiles by ratio, found by CMA-ES.

NAAS [1]_ writes a mapping as real numbers. Every temporal level has one importance per dim, by which its loops are sorted,
the most important one outermost, and one ratio per dim, by which its tile is cut from the tile around it. An array's
parallel dims are the most important ones. An evolution strategy moves a normal distribution of such vectors toward the best
of each generation; vectors that decode to no legal mapping are thrown away and drawn again.

Ours, because the paper leaves it open or our targets ask for it:

* The array is given, so importance and ratio of an axis decide which of its allowed dims are spread and how far.
* A ratio picks among the divisors that rules, mesh and room allow at that place (`accel_models.loopnest.decode`), so nearly
  every vector is legal; one that is not gets a penalty. Dims of bound 1 and decisions that rules take have no gene.
* The strategy is separable CMA-ES [2]_ of package ``cma``, which adapts variances and no covariances: vectors have 10 to 80
  genes and an effort of a few thousand mappings does not teach it more; nor do its numbers depend on a linear algebra
  library's threads. Genes outside 0..1 are reflected into it.
* When no better mapping was met for some generations, the strategy starts again elsewhere.

References
----------
.. [1] Lin, Yang, Han, "NAAS: Neural Accelerator Architecture Search", DAC 2021, sections II-A and II-B.
.. [2] Ros, Hansen, "A simple modification in CMA-ES achieving linear time and space complexity", PPSN 2008.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel_models.batch import evaluate_mappings
from accel_models.errors import MappingError
from accel_models.loopnest.counts import FAN_X, FAN_Y, SPATIAL_X, SPATIAL_Y, TEMPORAL
from accel_models.loopnest.decode import GENE_ROWS, IMPORTANCE, RATIO, decode_batch
from accel_models.mapper.base import Found
from accel_models.mapper.sampled import divisors
from accel_models.plan import Plan

POPULATION = 20
SIGMA = 0.3
"""First standard deviation of every gene."""

PATIENCE = 8
"""Generations without a better mapping after which the strategy starts again."""

SETTLED = 0.02
"""Largest standard deviation of a strategy that draws the same mappings over and over."""

MESH_RATIO = 0.8
"""Where the ratios of an axis start: idle elements are seldom good. All other genes start in the middle."""

PENALTY = 1e4
"""Fitness of an illegal individual: above the logarithm of any cost."""


def search(plan: Plan, objective: str, effort: int, seed: int) -> Found:
    """Return the best of `effort` mappings that the evolution strategy proposes.

    Raises
    ------
    MappingError
        If none of them was legal.
    """
    evolution = _Evolution(plan, objective, effort)
    random = np.random.default_rng(seed % 2**64)
    mean = evolution.start
    while evolution.remaining:
        _climb(evolution, mean, random)
        mean = random.uniform(size=len(mean))
    if evolution.best is None:
        raise MappingError("no legal mapping was found by evolution: fixed factors or spatial tiles fit no buffer")
    return evolution.best._replace(evaluated=evolution.evaluated)


def _climb(evolution: _Evolution, mean: NDArray[np.float64], random: np.random.Generator) -> None:
    """Run one strategy from `mean` until it is stuck or the effort is spent."""
    import cma  # loads matplotlib and scipy.stats: some 0.8 s

    options = {
        "popsize": POPULATION, "CMA_diagonal": True, "verbose": -9, "verb_log": 0, "seed": np.nan,
        "randn": lambda *shape: random.standard_normal(shape),
    }  # fmt: skip
    strategy = cma.CMAEvolutionStrategy(mean, SIGMA, options)
    best, since = np.inf, 0
    while evolution.remaining and since < PATIENCE and strategy.stds.max() > SETTLED:
        vectors = strategy.ask()[: evolution.remaining]
        fitness = evolution.evaluate(np.array(vectors))
        if len(vectors) == POPULATION:
            strategy.tell(vectors, fitness.tolist())
        since = 0 if fitness.min() < best else since + 1
        best = min(best, fitness.min())


class _Evolution:
    """The problem as a strategy sees it, what is left of the effort, and the best mapping met.

    Attributes
    ----------
    start
        float64 (free genes,): where the first strategy starts.
    """

    def __init__(self, plan: Plan, objective: str, effort: int) -> None:
        self.best: Found | None = None
        self.evaluated, self.remaining = 0, effort
        self._plan, self._objective = plan, objective
        self._lowest = np.inf
        self._divisors = divisors(tuple(int(bound) for bound in plan.layer[:8]))
        self._free = free_genes(plan)
        self._genes = np.full((POPULATION, *self._free.shape), 0.5)
        self._genes[:, :, 2 * SPATIAL_X + RATIO] = self._genes[:, :, 2 * SPATIAL_Y + RATIO] = MESH_RATIO
        start = self._genes[0, self._free]
        self.start = np.pad(start, (0, max(0, 2 - len(start))))  # CMA-ES wants two numbers: the rest is not read

    def evaluate(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the fitness (n,), the logarithm of the objective, of n <= POPULATION vectors, and spend the effort."""
        plan, genes = self._plan, self._genes[: len(vectors)]
        genes[:, self._free] = _reflect(vectors[:, : np.count_nonzero(self._free)])
        mappings = np.empty((len(vectors), plan.levels, 4, 8), dtype=np.int32)
        legal = decode_batch(
            genes, plan.layer, plan.machine, plan.most, plan.fixed, plan.order, self._divisors, mappings
        )
        self.remaining -= len(vectors)
        self.evaluated += int(legal.sum())
        fitness = np.full(len(vectors), PENALTY)
        if legal.any():
            fitness[legal] = self._cost(mappings[legal])
        return fitness

    def _cost(self, mappings: NDArray[np.int32]) -> NDArray[np.float64]:
        energies, cycles, _ = evaluate_mappings(self._plan, mappings)
        values = {"energy": energies, "latency": cycles, "edp": energies * cycles}[self._objective]
        row = int(np.argmin(values))
        if values[row] < self._lowest:
            self._lowest = values[row]
            self.best = Found(mappings[row].copy(), float(energies[row]), float(cycles[row]), self.evaluated)
        return np.log(np.maximum(values, np.finfo(np.float64).tiny))  # where all energies are 0 so is the cost


def free_genes(plan: Plan) -> NDArray[np.bool_]:
    """Return which genes (levels, GENE_ROWS, 8) make a difference: the layer has the loop and the rules leave it open."""
    free = np.zeros((plan.levels, GENE_ROWS, 8), dtype=np.bool_)
    for level, genes in enumerate(free):
        for side, column in ((TEMPORAL, None), (SPATIAL_X, FAN_X), (SPATIAL_Y, FAN_Y)):
            if column is None or plan.machine[level, column] > 1:
                loops = (plan.layer[:8] > 1) & (plan.most[level, side] > 1)
                sized = loops & (plan.fixed[level, side] == 0)
                ranked = loops if side == TEMPORAL else sized
                genes[2 * side + RATIO] = sized
                genes[2 * side + IMPORTANCE] = ranked & (np.count_nonzero(ranked) > 1)
    free[-1, 2 * TEMPORAL + RATIO] = False  # the outermost level takes what is left
    return free


def _reflect(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fold the real line into 0..1 as if there were mirrors at both ends."""
    folded = np.abs(values) % 2.0
    return np.minimum(folded, 2.0 - folded)
