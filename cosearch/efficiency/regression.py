"""Latency from numbers that describe a network: penalised least squares, its form and strength chosen on held-back rows.

The numbers (features) are scaled, products of them are added (none, those with the leading "scale" features, or of all
pairs), and latency or its logarithm is a weighted sum of all. Latency itself is fitted with equal weights, or with every
row weighed by its own latency.

How far off a fit is, is told as the mean absolute logarithm of estimate over measured: 0.05 for 5 per cent, the same for
half as for twice as much.

What is fitted is small enough for a JSON file, and evaluating it is one matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cosearch.errors import CosearchError

Floats = NDArray[np.float64]

FOLDS, MOST_TERMS, FEWEST_ROWS = 5, 1500, 20
RIDGES = (1e-8, 1e-5, 1e-3, 1e-2, 1e-1)
"""Strengths of the penalty that are tried, for terms of unit size and mean squared error."""

RESPONSES = ("relative", "logarithm", "absolute")
PRODUCTS = ("none", "with scales", "all")
_WORTH_MORE_TERMS = 0.98
"""A form with more terms is taken only if its error is less than this times the best with fewer."""

EXACT = 1e-4
"""Nothing is tried any more where the held-back error is below this."""


@dataclass(frozen=True)
class Form:
    """How features become latency.

    Attributes
    ----------
    scales
        How many leading features scale all others (a resolution, a number of MACs).
    products
        One of :data:`PRODUCTS`.
    response
        One of :data:`RESPONSES`: latency with rows weighed for relative errors, its logarithm, or latency as it is.
    ridge
        Strength of the penalty.
    """

    scales: int
    products: str
    response: str
    ridge: float = 1e-4

    def expand(self, features: Floats) -> Floats:
        """Return scaled features (n, f) with their products and a constant: (n, terms)."""
        ones, count = np.ones((len(features), 1)), features.shape[1]
        if self.products == "none":
            return np.hstack([ones, features])
        rows, columns = np.triu_indices(count)
        if self.products == "with scales":
            keep = rows < self.scales
            rows, columns = rows[keep], columns[keep]
        return np.hstack([ones, features, features[:, rows] * features[:, columns]])

    def terms(self, features: int) -> int:
        """Return how many terms so many features give."""
        pairs = features * (features + 1) // 2
        rest = features - self.scales
        with_scales = pairs - rest * (rest + 1) // 2
        return 1 + features + {"none": 0, "with scales": with_scales, "all": pairs}[self.products]


@dataclass(frozen=True)
class Regression:
    """A fitted model: centre and spread of the features (f,), the coefficients (terms,), and the range of latencies, s."""

    form: Form
    centre: Floats
    spread: Floats
    coefficients: Floats
    least_s: float
    most_s: float

    def latency_s(self, features: Floats) -> Floats:
        """Return latency in s (n,) of networks by their features (n, f), each from its own row alone.

        What would be below a tenth of the least that was measured is that.
        """
        terms = self.form.expand((features - self.centre) / self.spread)
        value = np.einsum("nt,t->n", terms, self.coefficients)
        if self.form.response == "logarithm":
            value = np.exp(np.clip(value, math.log(self.least_s) - 3, math.log(self.most_s) + 3))
        return np.maximum(value, 0.1 * self.least_s)

    def outside(self, latency_s: Floats) -> NDArray[np.bool_]:
        """Tell which estimates (n,) lie outside the range that was measured."""
        return (latency_s < self.least_s) | (latency_s > self.most_s)

    def to_json(self) -> dict[str, Any]:
        """Return what a JSON file holds of it."""
        arrays = {name: getattr(self, name).tolist() for name in ("centre", "spread", "coefficients")}
        return {"form": asdict(self.form), **arrays, "least_s": self.least_s, "most_s": self.most_s}

    @classmethod
    def from_json(cls, contents: dict[str, Any]) -> Regression:
        """Return the model that :meth:`to_json` wrote; KeyError, TypeError or ValueError where it is none."""
        form = Form(**contents["form"])
        centre, spread, coefficients = (
            np.array(contents[name], dtype=float) for name in ("centre", "spread", "coefficients")
        )
        if centre.shape != spread.shape or coefficients.shape != (form.terms(len(centre)),):
            raise ValueError(f"{len(coefficients)} coefficients for {len(centre)} features")
        return cls(form, centre, spread, coefficients, float(contents["least_s"]), float(contents["most_s"]))


@dataclass(frozen=True)
class Errors:
    """How far off a fit is on rows that it has not seen.

    Attributes
    ----------
    held_back
        Mean absolute logarithm of estimate over measured, on fifths of the rows that were held back in turn, everything
        chosen without them.
    beyond
        The same where the fastest or the slowest fifth is held back, whichever is worse: what extrapolation costs.
    constant
        That of the median of all other rows, on the same fifths: what a fit has to beat.
    """

    held_back: float
    beyond: float
    constant: float


def fit(features: Floats, latency_s: Floats, scales: int = 0, seed: int = 0) -> Regression:
    """Return the model of rows of features (n, f) and latencies (n,); form and penalty are chosen on a held-back fifth.

    Raises
    ------
    CosearchError
        If there are too few rows, or a latency that is none.
    """
    check_rows(features, latency_s)
    return _fit(features, latency_s, scales, seed)


def _fit(features: Floats, latency_s: Floats, scales: int, seed: int) -> Regression:
    return _solve(_choose(features, latency_s, scales, seed), features, latency_s)


def errors_of(
    features: Floats, latency_s: Floats, scales: int = 0, groups: NDArray[np.int64] | None = None, seed: int = 0
) -> tuple[Errors, Floats]:
    """Return the errors of fits to these rows, and the held-back estimates (n,); rows of one group stay together.

    Raises
    ------
    CosearchError
        As :func:`fit`.
    """
    check_rows(features, latency_s)
    groups = np.arange(len(latency_s)) if groups is None else groups
    estimates, constant = np.empty((2, len(latency_s)))
    for away in fifths(groups, seed):
        estimates[away] = _fit(features[~away], latency_s[~away], scales, seed).latency_s(features[away])
        constant[away] = np.median(latency_s[~away])
    beyond, order = [], np.argsort(latency_s, kind="stable")
    fifth = len(order) // FOLDS
    for outside, inside in ((order[:fifth], order[fifth:]), (order[-fifth:], order[:-fifth])):
        model = _fit(features[inside], latency_s[inside], scales, seed)
        beyond.append(log_error(model.latency_s(features[outside]), latency_s[outside]))
    return Errors(log_error(estimates, latency_s), max(beyond), log_error(constant, latency_s)), estimates


def log_error(estimates: Floats, measured: Floats) -> float:
    """Return the mean absolute logarithm of estimates over what was measured."""
    return float(np.mean(np.abs(np.log(estimates / measured))))


def check_rows(features: Floats, latency_s: Floats) -> None:
    """Refuse rows that nothing can be fitted to; CosearchError says why."""
    if len(latency_s) < FEWEST_ROWS:
        raise CosearchError(f"{len(latency_s)} measured networks; at least {FEWEST_ROWS} are needed for a fit")
    if not (np.isfinite(latency_s) & (latency_s > 0)).all() or not np.isfinite(features).all():
        raise CosearchError("every latency must be a positive number, every feature a number")


def fifths(groups: NDArray[np.int64], seed: int) -> Iterator[NDArray[np.bool_]]:
    """Yield which rows (n,) are held back, fifth by fifth."""
    index = np.unique(groups, return_inverse=True)[1].ravel()
    fold = np.random.default_rng(seed).permutation(index.max() + 1)[index] % FOLDS
    for number in range(FOLDS):
        yield fold == number


def _choose(features: Floats, latency_s: Floats, scales: int, seed: int) -> Form:
    """Return the form that is best on one held-back fifth; of nearly equal ones, that with the fewest terms."""
    away = next(fifths(np.arange(len(latency_s)), seed + 1))
    best, least = None, math.inf
    for products in PRODUCTS:
        count = Form(scales, products, RESPONSES[0]).terms(features.shape[1])
        if products != "none" and (
            count > min(MOST_TERMS, (~away).sum()) or (products == "with scales" and not scales) or least < EXACT
        ):
            continue
        tried = [
            (log_error(model.latency_s(features[away]), latency_s[away]), model.form)
            for response in RESPONSES
            for model in _solve_all(
                [Form(scales, products, response, ridge) for ridge in RIDGES], features[~away], latency_s[~away]
            )
        ]
        error, form = min(tried, key=lambda one: one[0])
        if error < least * (_WORTH_MORE_TERMS if best else 1):
            best, least = form, error
    assert best is not None
    return best


def _solve(form: Form, features: Floats, latency_s: Floats) -> Regression:
    return next(_solve_all([form], features, latency_s))


def _solve_all(forms: list[Form], features: Floats, latency_s: Floats) -> Iterator[Regression]:
    """Yield the fit of each form; they differ in their penalty alone."""
    from scipy.linalg import solve

    first = forms[0]
    centre, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-12 * (1 + np.abs(centre)), spread, 1.0)
    terms = first.expand((features - centre) / spread)
    weight = 1 / latency_s if first.response == "relative" else np.ones(len(latency_s))
    target = np.log(latency_s) if first.response == "logarithm" else latency_s * weight
    offset = target.mean() if first.response == "logarithm" else 0.0
    weighted = terms * weight[:, None]
    size = np.sqrt((weighted**2).mean(axis=0))  # penalties count in units of a term's own size
    size = np.where(size > 0, size, 1.0)
    weighted /= size
    normal, right = weighted.T @ weighted / len(target), weighted.T @ (target - offset) / len(target)
    for form in forms:
        penalty = np.full(len(right), form.ridge)
        penalty[0] = RIDGES[0]
        coefficients = solve(normal + np.diag(penalty), right, assume_a="pos") / size
        coefficients[0] += offset
        yield Regression(form, centre, spread, coefficients, float(latency_s.min()), float(latency_s.max()))
