"""How a number grows over training: a - b t^(-c), fitted to its beginning and carried on to the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

from probes.errors import DataError, UsageError

Floats = npt.NDArray[np.float64]

LEAST_POINTS = 3
RATES = np.geomspace(0.02, 5.0, 80)
"""Exponents c that are tried."""
N_BOOTSTRAP = 400
SLOWEST = 0.02
FASTEST = 5.0
BELIEF = 0.02
"""Worth of the belief that c is near 1/2, as a share of the points' own variance."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A fitted curve.

    Attributes
    ----------
    limit, drop, rate
        a, b and c of ``a - b (t / unit)^(-c)``; b < 0 falls.
    unit
        The last fitted t.
    draws
        Bootstrap draws of (a, b, c) [n, 3].
    noise
        Standard deviation of the points about the curve.
    """

    limit: float
    drop: float
    rate: float
    unit: float
    draws: Floats
    noise: float

    def __call__(self, t: npt.ArrayLike) -> Floats:
        """The curve at t > 0, any shape."""
        at = _checked_times(t) / self.unit
        return np.asarray(self.limit - self.drop * at**-self.rate)

    def interval(self, t: npt.ArrayLike, *, coverage: float = 0.95) -> tuple[Floats, Floats]:
        """Where a point at t will lie: the curve's uncertainty and the points' noise together."""
        at = _checked_times(t) / self.unit
        a, b, c = (column.reshape((-1,) + (1,) * at.ndim) for column in self.draws.T)
        rng = np.random.default_rng(0)
        paths = a - b * at**-c + rng.normal(0, self.noise, size=(len(self.draws), *at.shape))
        edges = np.quantile(paths, [(1 - coverage) / 2, (1 + coverage) / 2], axis=0)
        return edges[0], edges[1]


def fit_curve(
    t: npt.ArrayLike, values: npt.ArrayLike, *, bounds: tuple[float, float] | None = None, seed: int = 0
) -> Curve:
    """Least squares; for each c, a and b are solved exactly.

    Parameters
    ----------
    t
        Steps, tokens or compute so far [n], positive.
    values
        Any score [n]; falling and noisy ones too.
    bounds
        Where the limit a may lie, e.g. (0, 1) for an accuracy.
    seed
        For the residual bootstrap.

    Raises
    ------
    UsageError
        There are fewer than three different times.
    DataError
        A time is not positive or a value not finite.

    Notes
    -----
    Form: arXiv 2605.18607, scenario 3. Three points leave c to a weak belief, and the interval says so.
    """
    times, y = _checked_times(t), np.asarray(values, dtype=np.float64)
    if times.shape != y.shape or times.ndim != 1 or not np.isfinite(y).all():
        raise DataError("A curve needs one finite value for each time.", param="values")
    if len(np.unique(times)) < LEAST_POINTS:
        raise UsageError(
            f"A curve needs {LEAST_POINTS} checkpoints, not {len(np.unique(times))}.",
            param="t",
            hint="Give more checkpoints, or forecast the last one with `foresight forecast rank`.",
        )
    unit = float(times.max())
    at = times / unit
    best = _solve(at, y, bounds)
    residual = y - _value(best, at)
    noise = float(np.sqrt((residual**2).sum() / max(1, len(y) - LEAST_POINTS)))
    rng = np.random.default_rng(seed)
    widened = residual * np.sqrt(len(y) / max(1, len(y) - LEAST_POINTS))
    paths = [_value(best, at) + rng.choice(widened, len(y)) for _ in range(N_BOOTSTRAP)]
    draws = np.array([_solve(at, path, bounds, belief=rng.normal(np.log(0.5), 0.7)) for path in paths])
    return Curve(*best, unit, draws, noise)


def _checked_times(t: npt.ArrayLike) -> Floats:
    times = np.asarray(t, dtype=np.float64)
    if not (np.isfinite(times) & (times > 0)).all():
        raise DataError("Times must be positive (steps, tokens or compute so far).", param="t")
    return times


def _value(found: tuple[float, float, float], at: Floats) -> Floats:
    a, b, c = found
    return np.asarray(a - b * at**-c)


def _solve(
    at: Floats, y: Floats, bounds: tuple[float, float] | None, belief: float = float(np.log(0.5))
) -> tuple[float, float, float]:
    """The best (a, b, c): a grid of c, then a search between its neighbours."""
    weight = BELIEF * float(y.var()) + 1e-12

    def loss(log_rate: float) -> float:
        a, b = _linear(at ** -np.exp(log_rate), y, bounds)
        miss = y - (a - b * at ** -np.exp(log_rate))
        return float((miss**2).sum() + weight * (log_rate - belief) ** 2)

    grid = np.log(RATES[::4])
    place = int(np.argmin([loss(one) for one in grid]))
    inside = grid[max(place - 1, 0)], grid[min(place + 1, len(grid) - 1)]
    found = minimize_scalar(loss, bounds=inside, method="bounded", options={"xatol": 1e-3})
    rate = float(np.exp(found.x))
    return (*_linear(at**-rate, y, bounds), rate)


def _linear(basis: Floats, y: Floats, bounds: tuple[float, float] | None) -> tuple[float, float]:
    """The best a and b for values a - b basis."""
    centred = basis - basis.mean()
    b = -float(centred @ (y - y.mean()) / (centred @ centred))
    a = float(y.mean() + b * basis.mean())
    if bounds is not None and not bounds[0] <= a <= bounds[1]:
        a = min(max(a, bounds[0]), bounds[1])
        b = float(basis @ (a - y) / (basis @ basis))
    return a, b
