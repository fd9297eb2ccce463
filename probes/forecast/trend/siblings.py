"""What finished runs teach of one that has just begun: a belief about a - b t^(-c), and so about its end.

A few early points cannot tell three numbers. Runs that have got to the end can say what such curves look
like; they are the prior, the early points the likelihood (empirical Bayes). Written with the end of training
as the unit of time, s = t / end, and both numbers that data shows well in place of a and b:

    f(s) = last - rise * (s^(-c) - 1) / (s_0^(-c) - 1),   s_0 = 1 / 20
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from probes.errors import DataError, UsageError
from probes.forecast.trend.curve import FASTEST, SLOWEST, Curve

Floats = npt.NDArray[np.float64]
Run = tuple[npt.ArrayLike, npt.ArrayLike]
"""Times and values of one run."""

ANCHOR = 0.05
LOG_RATES = np.linspace(np.log(SLOWEST), np.log(FASTEST), 60)
STRETCH = 10.0
"""Points that are this many times earlier than the last known one say nothing of a power law's end."""
LEAST_RUNS = 2
WEAK = 2.0
"""Runs' worth of the belief that the three numbers are unrelated."""
N_DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Siblings:
    """A belief about the curves of a family of runs.

    Attributes
    ----------
    mean, covariance
        Of (last, rise, log c) [3] and [3, 3], for a run of average size.
    slope
        [K, 3]: what a unit of each log size adds to them; 0 where sizes were not told.
    size
        [K]: mean log sizes.
    lack
        [2, G]: shares of training (logarithms), and how far values lie above such curves there on average:
        early in training no power law holds.
    noise
        Standard deviation of single early points about such a curve, that apart.
    shared
        Standard deviation of what all early points of a run have in common about it.
    reach
        The last early time, as a share of the whole run, in (0, 1).
    """

    mean: Floats
    covariance: Floats
    slope: Floats
    size: Floats
    lack: Floats
    noise: float
    shared: float
    reach: float

    @classmethod
    def learn(cls, runs: Sequence[Run], reach: float, *, sizes: npt.ArrayLike | None = None) -> Siblings:
        """Fit every finished run; its last point is its end.

        Parameters
        ----------
        runs
            Times [n] and values [n] of each, of two runs or more.
        reach
            The share of training that will be known of a new run.
        sizes
            Parameters or compute of each run [n], or several such sizes [n, K], positive: larger models end
            higher, which early points hide.

        Raises
        ------
        UsageError
            Fewer than two runs have points before and after `reach`.
        DataError
            A time is not positive or a value not finite.
        """
        if not 0 < reach < 1:
            raise UsageError(f"The known share of training must lie in (0, 1), not {reach}.", param="reach")
        found, misses, logs = [], [], []
        scale = np.ones(len(runs)) if sizes is None else np.asarray(sizes, np.float64)
        if len(scale) != len(runs) or not (scale > 0).all():
            raise DataError("Every run needs one positive size, or none does.", param="size")
        scale = scale.reshape(len(runs), -1)
        grid = np.log(np.geomspace(reach / STRETCH, reach, 12))
        for (times, values), one_size in zip(runs, np.log(scale), strict=True):
            s, y = _shares(times, values, float(np.max(np.asarray(times, np.float64))))
            s, y = _recent(s, y, reach)
            if not ((s <= reach).any() and (s > reach).any()):
                continue
            one, miss = _plain(s, y)
            found.append(one)
            logs.append(one_size)
            misses.append((np.log(s[s <= reach]), miss[s <= reach]))
        if len(found) < LEAST_RUNS:
            raise UsageError(
                f"{len(found)} finished runs cannot teach what such curves look like.",
                param="runs",
                hint=f"Give {LEAST_RUNS} or more with points before and after this run's last one.",
            )
        table, away = np.array(found), np.array(logs) - np.mean(logs, axis=0)
        # A run's worth of spread holds the slope back where there are few sizes.
        held = away.T @ away + np.diag(np.maximum(away.var(axis=0), 1e-9))
        slope = np.linalg.solve(held, away.T @ (table - table.mean(axis=0)))
        left = table - table.mean(axis=0) - away @ slope
        alone = np.diag(np.maximum((left**2).mean(axis=0), [1e-6, 1e-6, 0.05]))
        spare = max(1, len(table) - 1 - int(away.any(axis=0).sum()))
        covariance = (left.T @ left + WEAK * alone) / spare * (1 + 1 / len(table))
        lack = np.array([grid, np.mean([np.interp(grid, at, miss) for at, miss in misses], axis=0)])
        odd = [miss - np.interp(at, *lack) for at, miss in misses]
        common = float(np.sqrt(np.mean([one.mean() ** 2 for one in odd])))
        single = np.concatenate([one - one.mean() for one in odd])
        # One number of each run went into its mean.
        noise = np.sqrt((single**2).sum() / max(1, len(single) - len(odd)))
        noise = float(noise + 1e-4 * (np.ptp(table[:, 0]) + 1e-6))
        return cls(table.mean(axis=0), covariance, slope, np.mean(logs, axis=0), lack, noise, common, reach)

    def foresee(
        self,
        times: npt.ArrayLike,
        values: npt.ArrayLike,
        end: float,
        *,
        size: npt.ArrayLike | None = None,
        seed: int = 0,
    ) -> Curve:
        """The curve of a run of which only the beginning is known, with what is left open as draws.

        Parameters
        ----------
        times, values
            The points so far [n], one or more.
        end
            The time at which training ends, later than those.
        size
            Of this run, one number or [K], where the others' were told.
        seed
            For the draws.
        """
        s, y = _shares(times, values, end)
        s, y = _recent(s, y, float(s.max(initial=0.0)))
        if not len(s) or s.max() >= 1:
            raise UsageError("A run to be foreseen needs points, all of them before its end.", param="t")
        weight, means, halves = self._posterior(s, y - np.interp(np.log(s), *self.lack), size)
        rng = np.random.default_rng(seed)
        place = rng.choice(len(LOG_RATES), N_DRAWS, p=weight)
        straight = means[place] + np.einsum("nij,nj->ni", halves[place], rng.normal(size=(N_DRAWS, 2)))
        draws = np.array(
            [_as_curve(two, LOG_RATES[i]) for two, i in zip(straight, place, strict=True)], dtype=np.float64
        )
        # One curve stands for all: at the likeliest rate, through the mean end and the mean rise.
        rate = LOG_RATES[int(weight.argmax())]
        middle = _as_curve(weight @ means, rate)
        return Curve(*middle, float(end), draws, self.noise)

    def _posterior(self, s: Floats, y: Floats, size: npt.ArrayLike | None) -> tuple[Floats, Floats, Floats]:
        """Weight of each rate [R]; mean [R, 2] and root of the covariance [R, 2, 2] of (last, rise) there."""
        mean = self.mean if size is None else self.mean + (np.log(size) - self.size) @ self.slope
        pull = self.covariance[:2, 2] / self.covariance[2, 2]
        prior = self.covariance[:2, :2] - np.outer(pull, self.covariance[:2, 2])
        sd = np.sqrt(self.covariance[2, 2])
        logs, means, halves = [], [], []
        for log_rate in LOG_RATES:
            centre = mean[:2] + pull * (log_rate - mean[2])
            design = np.column_stack([np.ones(len(s)), -_fall(s, log_rate)])
            spread = design @ prior @ design.T + self.noise**2 * np.eye(len(s)) + self.shared**2
            miss = y - design @ centre
            gain = np.linalg.solve(spread, design @ prior).T
            left = prior - gain @ design @ prior
            values, vectors = np.linalg.eigh((left + left.T) / 2)
            halves.append(vectors * np.sqrt(np.maximum(values, 0)))
            means.append(centre + gain @ miss)
            fit = -0.5 * (miss @ np.linalg.solve(spread, miss) + np.linalg.slogdet(spread)[1])
            logs.append(fit - 0.5 * ((log_rate - mean[2]) / sd) ** 2)
        weight = np.exp(np.array(logs) - logsumexp(logs))
        return weight / weight.sum(), np.array(means), np.array(halves)


def _shares(times: npt.ArrayLike, values: npt.ArrayLike, end: float) -> tuple[Floats, Floats]:
    t, y = np.asarray(times, np.float64), np.asarray(values, np.float64)
    if t.shape != y.shape or t.ndim != 1 or not (np.isfinite(t) & (t > 0) & np.isfinite(y)).all() or end <= 0:
        raise DataError("A run needs one finite value for each positive time.", param="runs")
    order = np.argsort(t)
    return t[order] / end, y[order]


def _recent(s: Floats, y: Floats, reach: float) -> tuple[Floats, Floats]:
    kept = s >= reach / STRETCH
    return s[kept], y[kept]


def _fall(s: Floats, log_rate: npt.ArrayLike) -> Floats:
    """How far below its end a curve is, as a share of its rise from `ANCHOR` on [n]; [R, n] for rates [R]."""
    rate = np.exp(np.asarray(log_rate, np.float64))[..., None]
    return np.asarray(np.expm1(-rate * np.log(s)) / np.expm1(-rate * np.log(ANCHOR)))


def _plain(s: Floats, y: Floats) -> tuple[Floats, Floats]:
    """(last, rise, log c) by least squares, and what they miss [n]; every octave of time counts alike."""
    octave = np.floor(np.log2(s))
    weight = 1 / np.array([(octave == one).sum() for one in octave])
    weight /= weight.sum()
    basis = -_fall(s, LOG_RATES)
    centred, away = basis - (basis @ weight)[:, None], y - weight @ y
    spread = np.maximum(centred**2 @ weight, 1e-300)
    rise = (centred * weight) @ away / spread
    miss = away - rise[:, None] * centred
    loss = miss**2 @ weight * (1 + 1e-3 * (LOG_RATES - np.log(0.5)) ** 2)
    best = int(loss.argmin())
    last = weight @ y - rise[best] * (basis[best] @ weight)
    return np.array([last, rise[best], LOG_RATES[best]]), miss[best]


def _as_curve(two: Floats, log_rate: float) -> tuple[float, float, float]:
    """(limit, drop, rate) of ``limit - drop s^(-rate)`` from (last, rise)."""
    last, rise = float(two[0]), float(two[1])
    rate = float(np.exp(log_rate))
    drop = rise / np.expm1(-rate * np.log(ANCHOR))
    return last + drop, drop, rate
