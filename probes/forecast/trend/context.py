"""How success depends on compute and prompt length: the context law, in the parameters that data can tell.

    P(C, n) = [1 - exp(-e^a (C / 1e23)^alpha)] [1 - exp(-e^b (n / 1000)^beta)]
              sigmoid((limit - n) / (s limit))

Source: arXiv 2510.14919. Its six symbols hold four numbers: A / C_c^alpha and B / n_c^beta act only
together, so C_c = 1e23 and n_c = 1000 are fixed. With one amount of compute, alpha is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probes.errors import DataError, UsageError

Floats = npt.NDArray[np.float64]

COMPUTE_UNIT = 1e23
TOKENS_UNIT = 1e3
STEEPNESS = 0.002
"""Width of the fall at the limit, as a share of the limit: engines refuse what is a token too long."""
BOUNDS = ((-25.0, 25.0), (0.01, 5.0), (-25.0, 25.0), (0.01, 5.0))
"""Of a, alpha, b and beta."""
N_STARTS = 20
N_QUICK_STARTS = 5
N_BOOTSTRAP = 60
LEAST_LENGTHS = 3


@dataclass(frozen=True, eq=False)
class ContextData:
    """Accuracies by prompt length.

    Attributes
    ----------
    tokens
        Prompt lengths [n].
    accuracy
        Success rates there [n], in [0, 1].
    count
        Answers behind each [n].
    limit
        Context window in tokens [n]; inf for none.
    compute
        Training FLOPs [n]; all equal where there is one model.
    """

    tokens: Floats
    accuracy: Floats
    count: Floats
    limit: Floats
    compute: Floats

    @classmethod
    def build(
        cls,
        tokens: npt.ArrayLike,
        accuracy: npt.ArrayLike,
        *,
        count: npt.ArrayLike = 1.0,
        limit: npt.ArrayLike = np.inf,
        compute: npt.ArrayLike = COMPUTE_UNIT,
    ) -> ContextData:
        """Check and bring to one length; `DataError` if something is out of its range."""
        arrays = np.broadcast_arrays(
            *(np.asarray(a, np.float64) for a in (tokens, accuracy, count, limit, compute))
        )
        data = cls(*(np.array(a).reshape(-1) for a in arrays))
        if not ((data.accuracy >= 0) & (data.accuracy <= 1)).all():
            raise DataError("An accuracy is outside [0, 1].", param="accuracy")
        if not all((a > 0).all() for a in (data.tokens, data.count, data.limit, data.compute)):
            raise DataError("Lengths, counts, limits and compute must be positive.", param="tokens")
        return data

    def take(self, rows: npt.ArrayLike) -> ContextData:
        """Some of the rows."""
        index = np.asarray(rows)
        return ContextData(*(np.asarray(getattr(self, name))[index] for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class ContextLaw:
    """The fitted law.

    Attributes
    ----------
    parameters
        (a, alpha, b, beta): the four numbers that data can tell.
    draws
        Bootstrap draws of them [n, 4].
    steepness
        Width of the fall at the limit, as a share of the limit.
    """

    parameters: tuple[float, float, float, float]
    draws: Floats
    steepness: float = STEEPNESS

    def predict(
        self, tokens: npt.ArrayLike, *, limit: npt.ArrayLike = np.inf, compute: npt.ArrayLike = COMPUTE_UNIT
    ) -> Floats:
        """Success probability at prompt lengths, any shape."""
        return law(self.parameters, tokens, limit, compute, self.steepness)

    def interval(
        self,
        tokens: npt.ArrayLike,
        *,
        limit: npt.ArrayLike = np.inf,
        compute: npt.ArrayLike = COMPUTE_UNIT,
        coverage: float = 0.95,
    ) -> tuple[Floats, Floats]:
        """Where the law lies in the bootstrap draws."""
        paths = [law(tuple(draw), tokens, limit, compute, self.steepness) for draw in self.draws]
        edges = np.quantile(paths, [(1 - coverage) / 2, (1 + coverage) / 2], axis=0)
        return edges[0], edges[1]

    def parameter_intervals(self, coverage: float = 0.95) -> Floats:
        """[4, 2]: low and high of each parameter."""
        return np.quantile(self.draws, [(1 - coverage) / 2, (1 + coverage) / 2], axis=0).T


def law(
    parameters: tuple[float, ...] | Floats,
    tokens: npt.ArrayLike,
    limit: npt.ArrayLike = np.inf,
    compute: npt.ArrayLike = COMPUTE_UNIT,
    steepness: float = STEEPNESS,
) -> Floats:
    """The law's value; see the module."""
    a, alpha, b, beta = parameters
    n, bound = np.asarray(tokens, np.float64), np.asarray(limit, np.float64)
    first = -np.expm1(-_power(a, alpha, np.asarray(compute, np.float64) / COMPUTE_UNIT))
    second = -np.expm1(-_power(b, beta, n / TOKENS_UNIT))
    finite = np.where(np.isfinite(bound), bound, 1.0)
    away = np.where(np.isfinite(bound), (finite - n) / (steepness * finite), 500.0)
    fall = 0.5 * (1 + np.tanh(np.clip(away, -500, 500) / 2))
    return np.asarray(first * second * fall)


def _power(level: float, exponent: float, ratio: Floats) -> Floats:
    return np.asarray(np.exp(np.clip(level + exponent * np.log(ratio), -50, 50)))


def fit_law(
    data: ContextData,
    *,
    steepness: float = STEEPNESS,
    seed: int = 0,
    n_bootstrap: int = N_BOOTSTRAP,
    quick: bool = False,
) -> ContextLaw:
    """Differential evolution, then least squares from it and from `N_STARTS` other points; the best is kept.

    `quick` leaves the evolution out and starts from fewer points: for held-out folds.

    Raises
    ------
    UsageError
        There are fewer than three lengths within the limit.
    """
    lengths = len(np.unique(data.tokens[data.tokens < data.limit]))
    if lengths < LEAST_LENGTHS:
        raise UsageError(
            f"{lengths} prompt lengths within the limit cannot show how success depends on length.",
            param="tokens",
            hint=f"Give outcomes at {LEAST_LENGTHS} lengths or more; with one, use its mean accuracy.",
        )
    free = _free(data)
    best = _search(data, free, steepness, seed, quick)
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(n_bootstrap):
        again = rng.binomial(np.maximum(data.count, 1).astype(int), np.clip(data.accuracy, 0, 1))
        rows = rng.integers(len(data.tokens), size=len(data.tokens))
        drawn = ContextData(
            data.tokens, again / np.maximum(data.count, 1), data.count, data.limit, data.compute
        ).take(rows)
        draws.append(_refine(drawn, free, steepness, best))
    return ContextLaw(tuple(best), np.array(draws or [best]), steepness)


def _free(data: ContextData) -> tuple[int, ...]:
    """Parameters that this data can tell: alpha only where compute differs."""
    return (0, 1, 2, 3) if np.ptp(np.log(data.compute)) > 1e-9 else (0, 2, 3)


def _residual(x: Floats, data: ContextData, free: tuple[int, ...], steepness: float) -> Floats:
    full = np.array([0.0, 1.0, 0.0, 1.0])
    full[list(free)] = x
    miss = law(full, data.tokens, data.limit, data.compute, steepness) - data.accuracy
    return np.asarray(np.sqrt(data.count / data.count.mean()) * miss)


def _search(data: ContextData, free: tuple[int, ...], steepness: float, seed: int, quick: bool) -> Floats:
    bounds = [BOUNDS[i] for i in free]

    def loss(x: Floats) -> float:
        return float((_residual(x, data, free, steepness) ** 2).sum())

    rng = np.random.default_rng(seed)
    low, high = np.array(bounds).T
    count = N_QUICK_STARTS if quick else N_STARTS
    starts = [np.array([0.0, 1.0, 0.0, 1.0])[list(free)]]
    starts += [low + (high - low) * rng.beta(2, 2, size=len(free)) for _ in range(count)]
    if not quick:
        from scipy.optimize import differential_evolution  # a gateway never fits: 50 MB that it does not need

        starts.append(differential_evolution(loss, bounds, rng=seed, maxiter=80, popsize=10, polish=False).x)
    ends = [_refined(data, free, steepness, start) for start in starts]
    return _full(min(ends, key=loss), free)


def _refine(data: ContextData, free: tuple[int, ...], steepness: float, start: Floats) -> Floats:
    return _full(_refined(data, free, steepness, start[list(free)]), free)


def _refined(data: ContextData, free: tuple[int, ...], steepness: float, start: Floats) -> Floats:
    from scipy.optimize import least_squares  # as above

    low, high = np.array([BOUNDS[i] for i in free]).T
    inside = np.clip(start, low + 1e-9, high - 1e-9)
    done = least_squares(
        _residual,
        inside,
        bounds=(low, high),
        args=(data, free, steepness),
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
    )
    return np.asarray(done.x)


def _full(x: Floats, free: tuple[int, ...]) -> Floats:
    full = np.array([0.0, 1.0, 0.0, 1.0])
    full[list(free)] = x
    return full
