"""Cumulative-link mixed model of ordered ratings: one random effect (the case), any fixed effects (arm, annotator).

For rating y of observation i in case c, with thresholds theta_1 < … < theta_{J-1} and u_c standard normal,

    logit P(y <= j) = theta_j - x_i . beta - sigma u_c

so that exp(beta) is the odds ratio of a higher rating. The likelihood integrates u_c out by adaptive Gauss-Hermite
quadrature: nodes are centred on the mode of u_c given the case's ratings and scaled by the curvature there; one node is
Laplace's approximation. With the logistic link all derivatives are simple: with F_hi, F_lo the cumulative chances
above and below a rating, d log P / d eta = F_hi + F_lo - 1 and its second derivative is -(f_hi + f_lo), so the mode is
unique.

Source: McCullagh 1980, J R Stat Soc B 42:109; Pinheiro & Bates 1995, J Comput Graph Stat 4:12 (adaptive quadrature).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats
from scipy.special import expit

from stats.intake import FloatArray, IntArray, check_confidence, cluster_codes, dropped, floats, is_missing
from stats.results import NAN, Estimate, TestResult, join_notes

LARGEST = 15.0  # a log odds ratio beyond e^15 to one means that the likelihood has no maximum
MODE_STEPS = 30


@dataclass(frozen=True)
class OrdinalMixed:
    """effects: log odds ratios by name ("arm: dpo" against the reference level); thresholds; sd of the case effect."""

    effects: dict[str, TestResult]
    thresholds: dict[str, Estimate]
    sd: Estimate
    log_likelihood: float
    n: int
    n_cases: int
    method: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        likelihood = None if np.isnan(self.log_likelihood) else self.log_likelihood
        return {
            "effects": {name: effect.to_dict() for name, effect in self.effects.items()},
            "thresholds": {name: threshold.to_dict() for name, threshold in self.thresholds.items()},
            "sd": self.sd.to_dict(),
            "log_likelihood": likelihood,
            **{name: getattr(self, name) for name in ("n", "n_cases", "method", "note")},
        }


@dataclass(frozen=True)
class _Data:
    y: IntArray  # (n,) 0 … J-1
    x: FloatArray  # (n, p)
    case: IntArray  # (n,) 0 … C-1
    n_levels: int
    nodes: FloatArray  # (K,)
    log_weights: FloatArray  # (K,) of the integral over u, exp(nodes^2 / 2) included

    @property
    def n_cases(self) -> int:
        return int(self.case.max()) + 1


def ordinal_mixed(
    ratings: npt.ArrayLike,
    cases: Sequence[Any] | npt.NDArray[Any],
    fixed: Mapping[str, Sequence[Any] | npt.NDArray[Any]],
    clusters: Sequence[Any] | npt.NDArray[Any] | None = None,
    n_points: int = 15,
    confidence: float = 0.95,
) -> OrdinalMixed:
    """Fit by maximum likelihood. One row a judgement: its rating, its case, and its fixed effects by name.

    ratings: (n,) numbers, higher is better, categories those seen. fixed: name -> (n,) numbers, or labels, of which the
    first in sorted order is the reference. A row with anything missing is left out. Intervals and P: Wald, from the
    observed information; with clusters (patients above the cases) from the sandwich of the clusters' scores, with the
    t quantile of clusters - 1. sd: its interval on the log scale. Undefined: one category, fixed effects that cannot
    be told apart, no maximum (a level with only lowest or highest ratings). A sensitivity analysis: it assumes
    proportional odds and a normal case effect.

    >>> ratings, cases = [1, 2, 2, 3, 2, 1, 2, 2, 3, 3, 1, 3], [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    >>> fit = ordinal_mixed(ratings, cases, {"arm": ["base", "dpo"] * 6})
    >>> {name: round(effect.effect, 1) for name, effect in fit.effects.items()}
    {'arm: dpo': 1.4}
    """
    check_confidence(confidence)
    if n_points < 1:
        raise ValueError(f"n_points must be at least 1, not {n_points}")
    y = floats(ratings, "ratings")
    columns = {name: _columns(name, values, len(y)) for name, values in fixed.items()}
    names = [label for labels, _ in columns.values() for label in labels]
    x = np.column_stack([*(block for _, block in columns.values()), np.zeros((len(y), 0))])
    groups, above = cluster_codes(cases, len(y)), cluster_codes(clusters, len(y))
    keep = ~np.isnan(y) & ~np.isnan(x).any(axis=1)
    note = dropped(int((~keep).sum()), "a rating or fixed effect is missing", "judgement")
    assert groups is not None
    levels, codes = np.unique(y[keep], return_inverse=True)
    case = np.unique(groups[keep], return_inverse=True)[1].reshape(-1)
    x = x[keep]
    x_mean = np.asarray(x.mean(axis=0) if len(x) else np.zeros(x.shape[1]))
    x = x - x_mean
    problem = _obstacle(levels, x, names)
    if problem:
        return _undefined(names, join_notes(problem, note), int(keep.sum()))
    nodes, weights = np.polynomial.hermite.hermgauss(n_points)
    nodes = np.sqrt(2.0) * nodes
    data = _Data(codes.reshape(-1), x, case, len(levels), nodes, np.log(weights) + nodes**2 / 2 - np.log(np.pi) / 2)
    theta = _maximum(data)
    if theta is None:
        return _undefined(
            names, join_notes("the likelihood has no maximum: an effect is without bound", note), data.n_cases
        )
    owner = None if above is None else np.unique(above[keep], return_inverse=True)[1].reshape(-1)
    covariance = _covariance(data, theta, owner)
    if covariance is None:
        return _undefined(names, join_notes("the likelihood is flat at its maximum", note), data.n_cases)
    n_clusters = 0 if owner is None else int(owner.max()) + 1
    return _result(data, theta, covariance, names, levels, x_mean, n_clusters, confidence, note)


def _columns(name: str, values: Sequence[Any] | npt.NDArray[Any], n: int) -> tuple[list[str], FloatArray]:
    """Numbers as they are; labels as indicators of all but the first."""
    if len(values) != n:
        raise ValueError(f"{name} must have one value a rating ({n})")
    if not any(isinstance(value, str) for value in values):
        return [name], floats(list(values), name)[:, None]
    levels = sorted({str(value) for value in values if not is_missing(value)})
    missing = np.array([is_missing(value) for value in values])
    block = np.array([[float(str(value) == level) for level in levels[1:]] for value in values]).reshape(n, -1)
    block[missing] = NAN
    return [f"{name}: {level}" for level in levels[1:]], block


def _obstacle(levels: FloatArray, x: FloatArray, names: list[str]) -> str:
    if len(levels) == 0:
        return "no ratings"
    if len(levels) < 2:
        return "no variation: every rating is the same"
    if x.shape[1] and np.linalg.matrix_rank(x) < x.shape[1]:
        return f"the design cannot tell the fixed effects apart: {', '.join(names)}"
    return ""


def _split(data: _Data, theta: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Thresholds with the two infinite ones (J + 1,), slopes (p,), sigma."""
    j = data.n_levels - 1
    return np.concatenate([[-np.inf], theta[:j], [np.inf]]), theta[j:-1], float(theta[-1])


def _pieces(data: _Data, cuts: FloatArray, eta: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """log P of each rating, F_hi and F_lo, at linear predictors eta (n,) or (n, K)."""
    shape = (-1,) + (1,) * (eta.ndim - 1)
    high, low = cuts[data.y + 1].reshape(shape) - eta, cuts[data.y].reshape(shape) - eta
    # P = F(high) - F(low) = F(high) F(-low) (1 - exp(low - high)), which loses no digits in the tails
    gap = np.log(-np.expm1(np.minimum(cuts[data.y] - cuts[data.y + 1], -1e-300))).reshape(shape)
    log_p = -np.logaddexp(0.0, -high) - np.logaddexp(0.0, low) + gap
    return log_p, expit(high), expit(low)


def _modes(data: _Data, cuts: FloatArray, eta: FloatArray, sigma: float) -> tuple[FloatArray, FloatArray]:
    """Mode (C,) of each case's u given its ratings, and 1 / sqrt of the curvature there, by damped Newton."""
    u, n_cases = np.zeros(data.n_cases), data.n_cases
    for _ in range(MODE_STEPS):
        _, high, low = _pieces(data, cuts, eta + sigma * u[data.case])
        slope = sigma * np.bincount(data.case, high + low - 1.0, minlength=n_cases) - u
        bend = 1.0 + sigma**2 * np.bincount(data.case, high * (1 - high) + low * (1 - low), minlength=n_cases)
        step = np.clip(slope / bend, -2.0, 2.0)
        u = u + step
        if np.abs(step).max() < 1e-10:
            break
    return u, 1.0 / np.sqrt(bend)


def _scores(data: _Data, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log-likelihood of each case (C,), and its gradient (C, parameters): posterior means over the nodes."""
    cuts, beta, sigma = _split(data, theta)
    eta, n_cases, j = data.x @ beta, data.n_cases, data.n_levels - 1
    mode, scale = _modes(data, cuts, eta, sigma)
    u = mode[:, None] + scale[:, None] * data.nodes  # (C, K)
    log_p, high, low = _pieces(data, cuts, eta[:, None] + sigma * u[data.case])
    each = np.zeros((n_cases, len(data.nodes)))
    np.add.at(each, data.case, log_p)
    each += data.log_weights - u**2 / 2 + np.log(scale)[:, None]
    top = each.max(axis=1, keepdims=True)
    value = top[:, 0] + np.log(np.exp(each - top).sum(axis=1))
    posterior = np.exp(each - value[:, None])[data.case]  # (n, K)

    lead = high + low - 1.0  # d log P / d eta
    share = np.exp(-log_p)
    rises = (posterior * high * (1 - high) * share).sum(axis=1)  # d log P / d threshold above
    falls = (posterior * low * (1 - low) * share).sum(axis=1)
    rows = np.zeros((len(data.y), len(theta)))
    at = np.arange(len(data.y))
    inner = data.y < j
    rows[at[inner], data.y[inner]] += rises[inner]
    inner = data.y > 0
    rows[at[inner], data.y[inner] - 1] -= falls[inner]
    rows[:, j:-1] = (posterior * lead).sum(axis=1)[:, None] * data.x
    rows[:, -1] = (posterior * lead * u[data.case]).sum(axis=1)
    gradient = np.zeros((n_cases, len(theta)))
    np.add.at(gradient, data.case, rows)
    return value, gradient


def _slope(data: _Data, theta: FloatArray) -> FloatArray:
    """Gradient of the log-likelihood. Under one node the posterior means are too coarse: differences instead."""
    if len(data.nodes) > 3:
        return np.asarray(_scores(data, theta)[1].sum(axis=0))
    step = 1e-5
    shifts = np.eye(len(theta)) * step
    values = [_scores(data, theta + shift)[0].sum() - _scores(data, theta - shift)[0].sum() for shift in shifts]
    return np.array(values) / (2 * step)


def _maximum(data: _Data) -> FloatArray | None:
    """Thresholds are searched as the lowest and the logarithms of the gaps, which keeps them in order."""
    j, p = data.n_levels - 1, data.x.shape[1]
    below = np.cumsum(np.bincount(data.y, minlength=data.n_levels))[:-1] / len(data.y)
    start = 1.3 * np.log(below / (1 - below))
    free = np.concatenate([start[:1], np.log(np.diff(start)), np.zeros(p), [1.0]])

    def natural(free: FloatArray) -> FloatArray:
        cuts = np.cumsum(np.concatenate([free[:1], np.exp(np.clip(free[1:j], -20, 5))]))
        return np.concatenate([cuts, free[j:]])

    def loss(free: FloatArray) -> tuple[float, FloatArray]:
        theta = natural(free)
        slope = _slope(data, theta)
        tail = np.cumsum(slope[:j][::-1])[::-1]  # a gap moves its threshold and all above
        slope = np.concatenate([tail[:1], tail[1:] * np.exp(np.clip(free[1:j], -20, 5)), slope[j:]])
        return -float(_scores(data, theta)[0].sum()) / len(data.y), -slope / len(data.y)

    fit = optimize.minimize(
        loss, free, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "ftol": 1e-13, "gtol": 1e-7}
    )
    theta = natural(fit.x)
    theta[-1] = abs(theta[-1])  # the likelihood is the same for sigma and -sigma
    settled = np.abs(loss(fit.x)[1]).max() < 1e-4 and np.abs(theta[j:]).max() < LARGEST
    return theta if settled else None


def _covariance(data: _Data, theta: FloatArray, clusters: IntArray | None) -> FloatArray | None:
    step = 1e-4
    shifts = np.eye(len(theta)) * step
    information = np.array([_slope(data, theta - shift) - _slope(data, theta + shift) for shift in shifts]) / (2 * step)
    information = (information + information.T) / 2
    if np.linalg.eigvalsh(information)[0] <= 1e-8 * len(data.y):
        return None
    inverse = np.asarray(np.linalg.inv(information), dtype=np.float64)
    if clusters is None:
        return inverse
    _, of_case = np.unique(data.case, return_index=True)
    n = int(clusters.max()) + 1
    scores = np.zeros((n, len(theta)))
    np.add.at(scores, clusters[of_case], _scores(data, theta)[1])
    return np.asarray(inverse @ (scores.T @ scores) @ inverse * n / max(n - 1, 1))


def _result(
    data: _Data,
    theta: FloatArray,
    covariance: FloatArray,
    names: list[str],
    levels: FloatArray,
    x_mean: FloatArray,
    n_clusters: int,
    confidence: float,
    note: str,
) -> OrdinalMixed:
    j, n = data.n_levels - 1, len(data.y)
    law = stats.t(n_clusters - 1) if n_clusters > 1 else stats.norm  # few clusters leave the sandwich too small
    z = float(law.ppf(0.5 + confidence / 2))
    how = "Laplace" if len(data.nodes) == 1 else f"{len(data.nodes)} adaptive Gauss-Hermite points"
    method = f"cumulative logit, random case effect; {how}; Wald, {'cluster sandwich' if n_clusters else 'information'}"
    # x was centred for the search: thresholds are moved back, by theta + mean . beta
    back = np.eye(len(theta))
    back[:j, j:-1] = x_mean
    values, spread = back @ theta, np.sqrt(np.diag(back @ covariance @ back.T))
    low, high = values - z * spread, values + z * spread
    effects = {}
    for i, name in enumerate(names, start=j):
        ratio = values[i] / spread[i]
        p = 2 * float(law.sf(abs(ratio)))
        effects[name] = TestResult(float(ratio), p, float(values[i]), float(low[i]), float(high[i]), n, method)
    thresholds = {
        f"{levels[i]:g}|{levels[i + 1]:g}": Estimate(float(values[i]), float(low[i]), float(high[i]), n, method)
        for i in range(j)
    }
    sd, bounds, spread_note = float(theta[-1]), (NAN, NAN), "no spread between cases beyond chance: no interval"
    if sd > 0.01:
        factor = float(np.exp(min(z * spread[-1] / sd, 300.0)))
        bounds, spread_note = (sd / factor, sd * factor), ""
    likelihood = float(_scores(data, theta)[0].sum())
    return OrdinalMixed(
        effects,
        thresholds,
        Estimate(sd, *bounds, data.n_cases, method, spread_note),
        likelihood,
        n,
        data.n_cases,
        method,
        note,
    )


def _undefined(names: list[str], note: str, n: int) -> OrdinalMixed:
    method = "cumulative logit, random case effect"
    gone = Estimate.undefined(method, note, n)
    return OrdinalMixed(dict.fromkeys(names, TestResult.undefined(method, note, n)), {}, gone, NAN, n, 0, method, note)
