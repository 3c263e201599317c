"""Bradley-Terry model with Davidson's ties, a position effect and covariates, by maximum likelihood.

With worths exp(lambda) and, for one comparison,

    eta = lambda_left - lambda_right + position + x . beta
    P(left) : P(tie) : P(right) = exp(eta / 2) : nu : exp(-eta / 2)

the logarithms are linear in all parameters (log nu included), so the likelihood is concave and has one maximum, if
any: Newton's method finds it, in the bootstrap for all resamples at once. There is a maximum only if the models cannot
be split in two groups of which one never loses to the other (Ford 1957); ties count as half a win for either side.

Source: Bradley & Terry 1952, Biometrika 39:324; Davidson 1970, J Am Stat Assoc 65:317; Davidson & Beaver 1977,
Biometrics 33:693 (order effect; theirs differs from ours by a reparametrisation of nu only).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse, stats
from scipy.sparse.csgraph import connected_components

from stats.intake import FloatArray, IntArray, among, check_confidence, cluster_codes, dropped, floats, kept
from stats.resampling import bootstrap, bootstrap_method, few_note, percentile, pool
from stats.results import NAN, Estimate, join_notes, json_ready

TIES = ("davidson", "drop")
NEWTON_STEPS = 12
LARGEST = 20.0  # a parameter beyond e^20 to one means that the likelihood has no maximum


@dataclass(frozen=True)
class BradleyTerry:
    """log_worths sum to 0; ranks: 1 is best. position: log odds of the left side against the right at equal worth.

    tie: log nu, the log odds of a tie against a win of one given side at equal worth. covariates: the slopes.
    """

    log_worths: dict[str, Estimate]
    ranks: dict[str, int | None]
    position: Estimate
    tie: Estimate
    covariates: dict[str, Estimate] = field(default_factory=dict)
    n: int = 0
    method: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        estimates = {
            k: {name: json_ready(v) for name, v in asdict(self)[k].items()} for k in ("log_worths", "covariates")
        }
        return {**asdict(self), **estimates, "position": self.position.to_dict(), "tie": self.tie.to_dict()}


@dataclass(frozen=True)
class _Design:
    """One row for each distinct (left, right, covariates): x (U, q) in the free parameters, and what they stand for."""

    x: FloatArray
    back: FloatArray  # (q [+ 1 for log nu], reported parameters): free parameters @ back = reported ones
    with_ties: bool


def bradley_terry(
    comparisons: Sequence[tuple[str, str, float | None]],
    ties: str = "davidson",
    clusters: Sequence[Any] | npt.NDArray[Any] | None = None,
    covariates: Mapping[str, npt.ArrayLike] | None = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> BradleyTerry:
    """Worth of each model from comparisons (left, right, outcome for left in {1, 0.5, 0}; missing is left out).

    ties: "davidson" models them, "drop" leaves them out (counted). covariates: name -> (n,) numbers, left minus right
    (a difference of lengths, say), added to the logit. Intervals: observed information (Wald), or cluster bootstrap.
    Undefined (nan, with the reason): models not connected by comparisons, a model that always wins or always loses,
    one model only, a position effect that the design cannot tell from the worths.

    >>> games = [("a", "b", 1)] * 6 + [("b", "a", 0)] * 6 + [("a", "b", 0)] * 2 + [("b", "a", 1)] * 2
    >>> result = bradley_terry(games)
    >>> round(result.log_worths["a"].value - result.log_worths["b"].value, 4)  # log(12 / 4)
    1.0986
    >>> result.ranks
    {'a': 1, 'b': 2}
    """
    if ties not in TIES:
        raise ValueError(f"ties must be one of {', '.join(TIES)}, not {ties!r}")
    check_confidence(confidence)
    outcome, sides, names, extra = _read(comparisons, covariates)
    groups = cluster_codes(clusters, len(outcome))
    missing = np.isnan(outcome) | np.isnan(extra).any(axis=1)
    tied = (outcome == 0.5) & (ties == "drop") & ~missing
    keep = ~missing & ~tied
    note = join_notes(
        dropped(int(missing.sum()), "no outcome or covariate", "comparison"),
        dropped(int(tied.sum()), "a tie", "comparison"),
    )
    outcome, sides, extra, groups = outcome[keep], sides[keep], extra[keep], kept(groups, keep)
    labels = list(covariates or {})
    problem = _obstacle(outcome, sides, names)
    if problem:
        return _undefined(names, labels, len(outcome), join_notes(problem, note))

    design, rows, absent = _design(outcome, sides, extra, len(names))
    theta, information = _maximum(design, np.asarray(rows.sum(axis=0)).reshape(1, -1))
    if theta is None:
        return _undefined(names, labels, len(outcome), join_notes("the likelihood has no maximum", note))
    values = theta @ design.back
    if groups is None:
        method = "observed information"
        spread = np.sqrt(np.einsum("ij,jk,ki->i", design.back.T, np.linalg.inv(information), design.back))
        half = spread * stats.norm.ppf(0.5 + confidence / 2)
        low, high, why = values - half, values + half, ""
    else:
        method = bootstrap_method(groups, n_resamples)
        low, high, why = _cluster_interval(design, rows, theta, groups, n_resamples, confidence, seed)
    note = join_notes(note, why)
    estimates = [
        Estimate(float(v), float(a), float(b), len(outcome), method) for v, a, b in zip(values, low, high, strict=True)
    ]
    return _result(names, labels, estimates, absent, len(outcome), method, note)


def _read(
    comparisons: Sequence[tuple[str, str, float | None]], covariates: Mapping[str, npt.ArrayLike] | None
) -> tuple[FloatArray, IntArray, list[str], FloatArray]:
    """Outcomes (n,), sides (n, 2) as positions in the sorted names, names, covariates (n, p)."""
    n = len(comparisons)
    outcome = among(np.array([row[2] for row in comparisons], dtype=object), (0.0, 0.5, 1.0), "outcomes")
    names = sorted({name for row in comparisons for name in row[:2]})
    index = {name: i for i, name in enumerate(names)}
    sides = np.array([[index[left], index[right]] for left, right, _ in comparisons], dtype=np.int64).reshape(n, 2)
    if (sides[:, 0] == sides[:, 1]).any():
        raise ValueError("a model is compared with itself")
    columns = [floats(column, f"covariate {name}") for name, column in (covariates or {}).items()]
    if any(len(column) != n for column in columns):
        raise ValueError(f"each covariate must have one number a comparison ({n})")
    return outcome, sides, names, np.column_stack([*columns, np.zeros((n, 0))])


def _obstacle(outcome: FloatArray, sides: IntArray, names: list[str]) -> str:
    """Why no worths can be estimated, in words; empty if they can."""
    if len(outcome) == 0 or len(names) < 2:
        return "no comparisons"
    k = len(names)
    left_scores, right_scores = outcome > 0, outcome < 1
    winner = np.concatenate([sides[left_scores, 0], sides[right_scores, 1]])
    loser = np.concatenate([sides[left_scores, 1], sides[right_scores, 0]])
    graph = sparse.csr_array((np.ones(len(winner)), (winner, loser)), shape=(k, k))
    n_parts, part = connected_components(graph, directed=False)
    if n_parts > 1:
        groups = [", ".join(names[i] for i in np.flatnonzero(part == p)) for p in range(n_parts)]
        return f"the comparisons do not connect all models: {' | '.join(groups)}"
    n_strong, strong = connected_components(graph, connection="strong")
    if n_strong > 1:
        groups = [", ".join(names[i] for i in np.flatnonzero(strong == p)) for p in range(n_strong)]
        return f"some models never lose to others, so their worth is without bound; groups: {' | '.join(groups)}"
    return ""


def _design(outcome: FloatArray, sides: IntArray, extra: FloatArray, k: int) -> tuple[_Design, Any, list[bool]]:
    """The design, sparse rows (n, 3 U) that count (left, tie, right) for each design row, and the terms left out.

    Reported parameters: k log-worths, position, covariates, log nu. Position and covariates enter only as far as they
    are no combination of what is there.
    """
    n = len(outcome)
    scale = np.where(extra.std(axis=0) > 0, extra.std(axis=0), 1.0)
    free = np.vstack([np.eye(k - 1), -np.ones(k - 1)])  # log-worths (k,) = free @ (k - 1,), summing to 0
    columns = [free[sides[:, 0]] - free[sides[:, 1]]]
    absent = []
    for term in (
        [np.ones((n, 1)), *np.split(extra / scale, extra.shape[1], axis=1)] if extra.shape[1] else [np.ones((n, 1))]
    ):
        together = np.hstack([*columns, term])
        absent.append(bool(np.linalg.matrix_rank(together) < together.shape[1]))
        if not absent[-1]:
            columns.append(term)
    x, owner = np.unique(np.hstack(columns), axis=0, return_inverse=True)
    rows = sparse.csr_array(
        (np.ones(n), (np.arange(n), 3 * owner.reshape(-1) + np.rint(2 - 2 * outcome).astype(np.int64))),
        shape=(n, 3 * len(x)),
    )
    with_ties = bool((outcome == 0.5).any())
    back = np.zeros((x.shape[1] + with_ties, k + len(absent) + 1))
    back[: k - 1, :k] = free.T
    used = k - 1
    for i, gone in enumerate(absent):
        if not gone:
            back[used, k + i] = 1.0 / (scale[i - 1] if i else 1.0)
            used += 1
    if with_ties:
        back[-1, -1] = 1.0
    return _Design(x, back, with_ties), rows, [*absent, not with_ties]


def _derivatives(design: _Design, theta: FloatArray, sums: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Log-likelihood (R,), gradient (R, p) and information (R, p, p) at theta (R, p) for counts sums (R, 3 U)."""
    x, q = design.x, design.x.shape[1]
    left, tie, right = sums[:, 0::3], sums[:, 1::3], sums[:, 2::3]
    n = left + tie + right
    eta = theta[:, :q] @ x.T
    log_nu = theta[:, -1:] if design.with_ties else np.full((len(theta), 1), -np.inf)
    log_total = np.logaddexp(np.logaddexp(eta / 2, -eta / 2), log_nu)
    p_left, p_right, p_tie = np.exp(eta / 2 - log_total), np.exp(-eta / 2 - log_total), np.exp(log_nu - log_total)
    lead = (p_left - p_right) / 2
    value = (left - right) * eta / 2 - n * log_total + (tie * log_nu if design.with_ties else 0.0)

    gradient = ((left - right) / 2 - n * lead) @ x
    outer = (x[:, :, None] * x[:, None, :]).reshape(len(x), q * q)
    information = ((n * ((p_left + p_right) / 4 - lead**2)) @ outer).reshape(-1, q, q)
    if not design.with_ties:
        return value.sum(axis=1), gradient, information
    cross = (-n * p_tie * lead) @ x
    corner = (n * p_tie * (1 - p_tie)).sum(axis=1)[:, None]
    top = np.concatenate([information, cross[:, :, None]], axis=2)
    bottom = np.concatenate([cross, corner], axis=1)[:, None, :]
    gradient = np.hstack([gradient, (tie - n * p_tie).sum(axis=1)[:, None]])
    return value.sum(axis=1), gradient, np.concatenate([top, bottom], axis=1)


def _maximum(design: _Design, sums: FloatArray) -> tuple[FloatArray | None, FloatArray]:
    """theta (p,) and its information; None where the likelihood only grows towards infinity."""
    total = sums.sum()

    def at(theta: FloatArray, which: int, sign: float) -> Any:
        return sign * _derivatives(design, theta[None, :], sums)[which][0] / total

    fit = optimize.minimize(
        at,
        np.zeros(len(design.back)),
        args=(0, -1.0),
        jac=lambda theta, *_: at(theta, 1, -1.0),
        hess=lambda theta, *_: at(theta, 2, 1.0),
        method="trust-exact",
        options={"gtol": 1e-10, "maxiter": 500},
    )
    _, gradient, information = _derivatives(design, fit.x[None, :], sums)
    settled = np.abs(gradient).max() < 1e-6 * total and np.abs(fit.x).max() < LARGEST
    return (fit.x if settled and np.linalg.eigvalsh(information[0])[0] > 1e-8 * total else None), information[0]


def _cluster_interval(
    design: _Design, rows: Any, start: FloatArray, groups: IntArray, n_resamples: int, confidence: float, seed: int
) -> tuple[FloatArray, FloatArray, str]:
    """Percentile bounds of the reported parameters over cluster bootstrap samples, refitted from `start`."""
    units = pool(rows, groups)

    def refit(sums: FloatArray) -> FloatArray:
        theta = np.tile(start, (len(sums), 1))
        ridge = 1e-9 * np.eye(len(start))
        for _ in range(NEWTON_STEPS):
            _, gradient, information = _derivatives(design, theta, sums)
            step = np.linalg.solve(information + ridge, gradient[:, :, None])[:, :, 0]
            theta = np.clip(theta + np.clip(step, -2.0, 2.0), -LARGEST, LARGEST)
            if np.abs(step).max() < 1e-7:  # Newton doubles the digits: what is left is rounding
                break
        _, gradient, information = _derivatives(design, theta, sums)
        total = sums.sum(axis=1)
        smallest = np.linalg.eigvalsh(information)[:, 0]
        settled = (np.abs(gradient).max(axis=1) < 1e-6 * total) & (smallest > 1e-8 * total)
        return np.where(settled[:, None], theta @ design.back, np.nan)

    replicates = bootstrap(units, refit, n_resamples, seed)
    bounds = [percentile(replicates[:, i], confidence, units.n) for i in range(replicates.shape[1])]
    lost = int(np.isnan(replicates[:, 0]).sum())
    why = f"{lost:,} of {n_resamples:,} resamples without a maximum, left out" if lost else ""
    return (
        np.array([b[0] for b in bounds]),
        np.array([b[1] for b in bounds]),
        join_notes(why, few_note(units.n, groups)),
    )


def _undefined(names: list[str], labels: list[str], n: int, note: str) -> BradleyTerry:
    gone = Estimate.undefined("Bradley-Terry", note, n)
    return BradleyTerry(
        dict.fromkeys(names, gone),
        dict.fromkeys(names),
        gone,
        gone,
        dict.fromkeys(labels, gone),
        n,
        "Bradley-Terry",
        note,
    )


def _result(
    names: list[str], labels: list[str], estimates: list[Estimate], absent: list[bool], n: int, method: str, note: str
) -> BradleyTerry:
    k = len(names)
    worths, others = dict(zip(names, estimates[:k], strict=True)), estimates[k:]
    reasons = ["the design cannot tell it from the other terms"] * (len(others) - 1) + ["no ties"]
    others = [
        Estimate(NAN, NAN, NAN, n, method, why) if gone else estimate
        for estimate, gone, why in zip(others, absent, reasons, strict=True)
    ]
    ranks: dict[str, int | None] = {
        name: 1 + sum(other.value > worth.value + 1e-9 for other in worths.values()) for name, worth in worths.items()
    }
    covariates = dict(zip(labels, others[1:-1], strict=True))
    full = "Bradley-Terry, Davidson's ties, position effect; maximum likelihood; " + method
    return BradleyTerry(worths, ranks, others[0], others[-1], covariates, n, full, note)
