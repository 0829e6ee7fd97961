"""qNEHVI: Bayesian optimisation by expected hypervolume improvement, for two or three objectives and up to 1,000 candidates.

Gaussian processes learn every objective and every limit from all that was told. They see a genome as numbers from 0 to 1,
how far along its choices each knob is. The next candidates are those from which most hypervolume is expected where the
limits are kept, by draws from the processes. The expectation is maximised over genomes themselves, by a local search of
changed genes, so nothing has to be rounded; of what that came across, a batch is chosen one by one, each given the draws of
those before it. An evaluation has no noise, so the front is the one that was told; qNEHVI would draw that too.

It is meant for costly evaluations: a batch takes seconds, and ever more with the candidates known. As every strategy it is
resumed by replay, which takes these seconds again. All of torch's work is done on one thread with seeds of its own, so that
a machine repeats it; another machine may differ in last digits, and then in proposals.

Needs botorch: ``pip install 'cosearch[botorch]'``.

References
----------
Daulton, Balandat, Bakshy: Parallel Bayesian optimization of multiple noisy objectives with expected hypervolume improvement.
NeurIPS 2021. Daulton, Balandat, Bakshy: Differentiable expected hypervolume improvement for parallel multi-objective Bayesian
optimization. NeurIPS 2020 (draws, and limits as outcomes). Hvarfner, Hellsten, Nardi: Vanilla Bayesian optimization performs
great in high dimensions. ICML 2024 (the prior of the length scales, botorch's own).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray

from cosearch.errors import SearchError
from cosearch.space import Genomes
from cosearch.strategies._base import Problem, Strategy
from cosearch.strategies._front import Front
from cosearch.strategies._genes import other_choices
from cosearch.strategies._scalar import total_violation

Floats = NDArray[np.float64]

BATCH = 10
"""Candidates at a time, at most the population."""

DRAWS = 32
"""Draws from the processes that an expectation is taken over."""

POOL = 256
"""Genomes whose expectation is compared at a time."""

CLIMBS = 4
"""Times that the best of a pool are changed and compared again."""

BEST_OF_POOL = 32
"""Genomes of a pool that are changed."""

SHORTLIST = 128
"""Best of all that were compared: a batch is chosen of these."""

FIT_STEPS = 75
"""Most steps of a fit of the processes; each starts from the last one's result."""

FIT_GROWTH = 1.15
"""Growth of the known candidates after which the processes are fitted again; until then only what they know is."""

CANNOT_RUN = 1e6
"""Relative excess from which it is no limit that is broken: the pair cannot run."""

MOST_EXCESS = 1.0
"""Relative excess beyond which more is not told from less: the processes are to be exact near the limits."""


class QNehvi(Strategy):
    """Bayesian optimisation by expected hypervolume improvement; for 2 or 3 objectives, up to 1,000 candidates.

    Limits are learnt as objectives are. Needs botorch.
    """

    objectives_allowed = (2, 3)
    largest_budget = 1000

    def __init__(self, problem: Problem, seed: int) -> None:
        super().__init__(problem, seed)
        _require_botorch()
        self._rng = np.random.default_rng(seed)
        self._front = Front(len(problem.space.knobs), problem.objectives)
        self._known = np.empty(
            (0, len(problem.space.knobs)), dtype=np.int64
        )  # in the order of telling, as the next two
        self._objectives = np.empty((0, problem.objectives))
        self._violations = np.empty((0, max(problem.limits, 1)))
        self._fitted: dict[str, Any] = {}
        self._fitted_to = 0

    def ask(self) -> Genomes:
        """Return random candidates until one has run, then batches from which most is expected; none where none is new."""
        if not (total_violation(self._violations) < CANNOT_RUN).any():
            return self.problem.space.sample_genomes(self._rng, self.problem.population)
        with _alone(int(self._rng.integers(2**31))):
            outcomes = self._outcomes()
            model = self._model(np.hstack([outcomes.values, outcomes.excess]))
            pool = self._climb(outcomes, model)
            return pool[self._batch(outcomes, _draws(model, self._points(pool)))] if len(pool) else pool

    def tell(self, genomes: Genomes, objectives: Floats, violations: Floats) -> None:
        """Learn what the candidates cost."""
        new = self._front.add(genomes, objectives, total_violation(violations))
        self._known = np.concatenate([self._known, genomes[new]])
        self._objectives = np.concatenate([self._objectives, objectives[new]])
        self._violations = np.concatenate([self._violations, violations[new]])

    def _outcomes(self) -> _Outcomes:
        """Return what the processes learn.

        Objectives have mean 0 and deviation 1 over the pairs that ran; the others are as poor as the poorest of these. A
        limit that nobody ever broke is left out.
        """
        ran = total_violation(self._violations) < CANNOT_RUN
        own = self._objectives[ran]
        deviation = own.std(axis=0)
        middle, scale = own.mean(axis=0), np.where(deviation > 0, deviation, 1.0)
        values = (np.minimum(self._objectives, own.max(axis=0)) - middle) / scale
        excess = np.clip(self._violations, -MOST_EXCESS, MOST_EXCESS)
        kept = total_violation(self._violations) == 0
        front = values[kept][moocore.is_nondominated(values[kept])] if kept.any() else values[:0]
        over = front if len(front) else values[ran]
        low, high = over.min(axis=0), over.max(axis=0)
        return _Outcomes(values, excess[:, (excess > 0).any(axis=0)], front, high + 0.1 * np.maximum(high - low, 0.1))

    def _model(self, outcomes: Floats) -> Any:
        """Return Gaussian processes of the outcomes (n, outcomes) of the known candidates."""
        import torch
        from botorch import fit_gpytorch_mll
        from botorch.exceptions import ModelFittingError
        from botorch.models import SingleTaskGP
        from botorch.models.transforms import Standardize
        from gpytorch.mlls import ExactMarginalLogLikelihood

        targets = torch.tensor(outcomes, dtype=torch.float64)
        model = SingleTaskGP(self._points(self._known), targets, outcome_transform=Standardize(outcomes.shape[1]))
        own = dict(model.named_parameters())
        same = self._fitted and all(own[name].shape == value.shape for name, value in self._fitted.items())
        if same:
            model.load_state_dict(self._fitted, strict=False)
        if not same or len(outcomes) >= FIT_GROWTH * self._fitted_to:
            likelihood = ExactMarginalLogLikelihood(model.likelihood, model)
            with suppress(ModelFittingError):  # the processes stay as they were
                fit_gpytorch_mll(likelihood, optimizer_kwargs={"options": {"maxiter": FIT_STEPS}})
            self._fitted = {name: value.detach().clone() for name, value in model.named_parameters()}
            self._fitted_to = len(outcomes)
        return model.eval()

    def _climb(self, outcomes: _Outcomes, model: Any) -> Genomes:
        """Return the new genomes (n, knobs) from which most is expected, each alone, of those a local search comes across."""
        space, rng = self.problem.space, self._rng
        pool = np.concatenate([space.sample_genomes(rng, POOL // 2), self._changed(self._front.genomes, POOL // 2)])
        best, expected, excess = pool[:0], np.empty(0), np.empty(0)
        compared = set(self._front.seen)
        for _ in range(1 + CLIMBS):
            fresh = [key for key in dict.fromkeys(map(tuple, pool.tolist())) if key not in compared]
            if fresh:
                compared.update(fresh)
                genomes = np.array(fresh, dtype=np.int64)
                gain, over = outcomes.expected(_draws(model, self._points(genomes)[:, None])[:, :, 0])
                best = np.concatenate([best, genomes])
                expected, excess = np.concatenate([expected, gain]), np.concatenate([excess, over])
                order = np.lexsort((excess, -expected))[:SHORTLIST]
                best, expected, excess = best[order], expected[order], excess[order]
            if len(best):
                pool = self._changed(best[:BEST_OF_POOL], POOL)
        return best

    def _batch(self, outcomes: _Outcomes, draws: Floats) -> list[int]:
        """Return which candidates to propose, one by one, by their joint draws (draws, n, outcomes)."""
        chosen: list[int] = []
        left = np.ones(draws.shape[1], dtype=np.bool_)
        while len(chosen) < min(BATCH, self.problem.population) and left.any():
            places = np.flatnonzero(left)
            gain, over = outcomes.expected(draws[:, places], draws[:, chosen])
            chosen.append(int(places[np.lexsort((over, -gain))[0]]))
            left[chosen[-1]] = False
        return chosen

    def _changed(self, parents: Genomes, count: int) -> Genomes:
        """Return children (count, knobs) of parents (n, knobs): every other one crossed, all changed in some two genes."""
        space, rng = self.problem.space, self._rng
        mothers, fathers = parents[rng.integers(0, len(parents), (2, count))]
        cross = (np.arange(count) % 2 == 1)[:, None] & (rng.random(mothers.shape) < 0.5)
        children = np.where(cross, fathers, mothers)
        hit = (rng.random(children.shape) < 2 / children.shape[1]) & (space.choices_per_knob > 1)
        return space.canonical(np.where(hit, other_choices(children, space.choices_per_knob, rng), children))

    def _points(self, genomes: Genomes) -> Any:
        """Return genomes (n, knobs) as points of the unit cube, a float64 tensor."""
        import torch

        return torch.tensor(genomes / np.maximum(self.problem.space.choices_per_knob - 1, 1), dtype=torch.float64)


@dataclass(frozen=True)
class _Outcomes:
    """What is known of the candidates told, and how much better others are.

    Attributes
    ----------
    values
        Objectives (n, objectives), to be minimised.
    excess
        What they are over limits, (n, limits).
    front
        Objectives (m, objectives) of those that keep the limits and that nothing dominates.
    worst
        Reference point of the hypervolume, (objectives,): a tenth of the front's span beyond its worst.
    """

    values: Floats
    excess: Floats
    front: Floats
    worst: Floats

    def expected(self, draws: Floats, chosen: Floats | None = None) -> tuple[Floats, Floats]:
        """Return the hypervolume that each of n candidates is expected to add, and its expected excess over limits; (n,) each.

        `draws` (draws, n, outcomes) are theirs; `chosen` (draws, k, outcomes) those of candidates that are taken already.
        """
        count = len(self.worst)
        over = np.maximum(draws[:, :, count:], 0.0).sum(axis=2)
        gain = np.zeros(draws.shape[:2])
        for number, (values, excess) in enumerate(zip(draws[:, :, :count], over, strict=True)):
            front = self.front
            if chosen is not None:
                taken = chosen[number][(chosen[number][:, count:] <= 0).all(axis=1), :count]
                front = np.concatenate([front, taken])
            before = moocore.hypervolume(front, ref=self.worst) if len(front) else 0.0
            dominated = (front[None] <= values[:, None]).all(axis=2).any(axis=1)
            for place in np.flatnonzero(~dominated & (excess <= 0) & (values < self.worst).all(axis=1)):
                gain[number, place] = moocore.hypervolume(np.vstack([front, values[place]]), ref=self.worst) - before
        return gain.mean(axis=0), over.mean(axis=0)


def _draws(model: Any, points: Any) -> Floats:
    """Return draws (DRAWS, ..., outcomes) from the processes at points (..., knobs), joint over the last but one axis."""
    import torch
    from botorch.sampling.normal import SobolQMCNormalSampler

    with torch.no_grad():
        sampler = SobolQMCNormalSampler(torch.Size([DRAWS]), seed=0)
        draws: Floats = sampler(model.posterior(points)).numpy()
    return draws


def _require_botorch() -> None:
    """Refuse to go on where botorch is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import botorch  # noqa: F401  (with torch it takes seconds)
        except ImportError:
            raise SearchError("it needs the extra botorch: pip install 'cosearch[botorch]'") from None


@contextmanager
def _alone(seed: int) -> Iterator[None]:
    """Let torch work on one thread, with a seed of its own and without warnings; all is as it was afterwards."""
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), threadpool_limits(1):
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
