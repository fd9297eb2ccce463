"""A candidate's success by prompt length: the context law, or a monotone curve where that fits better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from probes.errors import ArtefactError, UsageError
from probes.forecast.trend.context import ContextData, fit_law, law

Floats = npt.NDArray[np.float64]

TrendKind: TypeAlias = Literal["law", "isotonic", "flat"]
LEAST_HELD_LENGTHS = 5
N_BANDS = 16
"""Bands of like length that single answers are gathered in."""
CHOSEN = "chosen"
EDGE = 0.02
"""Trends are kept this far from 0 and 1 before their logit is taken."""


@dataclass(frozen=True, eq=False)
class LengthTrend:
    """Success by prompt length for one candidate.

    Attributes
    ----------
    kind
        ``law``: the context law; ``isotonic``: a monotone curve, rising or falling; ``flat``: one number.
    parameters
        Of the law (a, alpha, b, beta); for ``flat`` the number; empty for ``isotonic``.
    knots
        [2, k] for ``isotonic``: lengths, rising, and success there.
    limit
        Context window in tokens.
    seen
        Shortest and longest prompt that the router's probes were fitted on, in tokens.
    held_out_error
        Mean absolute error on lengths left out, by kind; ``chosen``: of the kind that the other lengths
        choose.
    """

    kind: TrendKind
    parameters: tuple[float, ...]
    knots: Floats
    limit: float
    seen: tuple[float, float]
    held_out_error: Mapping[str, float]

    def predict(self, tokens: npt.ArrayLike) -> Floats:
        """Success at prompt lengths, any shape; nothing is answered beyond the limit."""
        n = np.asarray(tokens, dtype=np.float64)
        if self.kind == "law":
            return law(self.parameters, n, self.limit)
        if self.kind == "flat":
            return np.where(n <= self.limit, self.parameters[0], 0.0)
        return np.where(n <= self.limit, np.interp(n, self.knots[0], self.knots[1]), 0.0)

    def shift(self, tokens: npt.ArrayLike) -> Floats:
        """What a prompt's length adds to the logit of success that probes say, any shape.

        Nothing where the probes have seen such lengths: activations tell them of length. Beyond, the trend is
        carried on from the nearest length that they know.
        """
        n = np.asarray(tokens, dtype=np.float64)
        there, known = (_logit(self.predict(length)) for length in (n, np.clip(n, *self.seen)))
        return np.asarray(there - known)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "kind": self.kind,
            "parameters": list(self.parameters),
            "knots": self.knots.tolist(),
            "limit": self.limit if np.isfinite(self.limit) else None,
            "seen": list(self.seen),
            "held_out_error": dict(self.held_out_error),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LengthTrend:
        """The inverse of `to_dict`; `ArtefactError` where a field is missing or wrong."""
        try:
            knots = np.asarray(data["knots"], dtype=np.float64).reshape(2, -1)
            trend = cls(
                data["kind"],
                tuple(float(value) for value in data["parameters"]),
                knots,
                float(np.inf if data["limit"] is None else data["limit"]),
                (float(data["seen"][0]), float(data["seen"][1])),
                dict(data["held_out_error"]),
            )
            sizes = {"law": 4, "flat": 1, "isotonic": 0}
            sound = len(trend.parameters) == sizes[trend.kind] and 0 <= trend.seen[0] <= trend.seen[1]
            if not sound or (trend.kind == "isotonic" and not knots.shape[1]):
                raise ValueError("its numbers do not fit its kind")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ArtefactError(f"A length trend is damaged: {error!r}", param="lengths") from error
        return trend


def _logit(rate: Floats) -> Floats:
    inside = np.clip(rate, EDGE, 1 - EDGE)
    return np.asarray(np.log(inside / (1 - inside)))


def fit_trend(
    tokens: npt.ArrayLike,
    correct: npt.ArrayLike,
    *,
    limit: float = float("inf"),
    count: npt.ArrayLike = 1.0,
    seen: tuple[float, float] | None = None,
    seed: int = 0,
) -> LengthTrend:
    """Fit a candidate's trend to single answers or to means by length.

    Parameters
    ----------
    tokens, correct
        Prompt length and success rate of each answer [n]; NaN rates are left out.
    limit
        Context window in tokens.
    count
        Draws behind each rate.
    seen
        Shortest and longest prompt that the probes know; by default those of these answers.
    seed
        For the law's search.

    Raises
    ------
    UsageError
        There is no answer at all.

    Notes
    -----
    The law is kept where its mean absolute error on held-out bands of length is within one standard error of
    the best kind's, else the best kind; few lengths give a flat trend.
    """
    data = gather(tokens, correct, count, limit)
    mean = _level(data)
    n = np.asarray(tokens, np.float64)[~np.isnan(np.asarray(correct, np.float64))]
    span = (float(n.min()), float(n.max())) if seen is None else seen
    empty = np.empty((2, 0))
    if len(data.tokens) < LEAST_HELD_LENGTHS:
        return LengthTrend("flat", (mean,), empty, limit, span, {})
    error, kind = _held_out(data, seed)
    if kind == "flat":
        return LengthTrend("flat", (mean,), empty, limit, span, error)
    if kind == "law":
        found = fit_law(data, seed=seed, n_bootstrap=0)
        return LengthTrend("law", found.parameters, empty, limit, span, error)
    return LengthTrend("isotonic", (), isotonic(data), limit, span, error)


def gather(tokens: npt.ArrayLike, correct: npt.ArrayLike, count: npt.ArrayLike, limit: float) -> ContextData:
    """Means over bands of like length; few different lengths stay as they are."""
    n, rate = np.asarray(tokens, np.float64), np.asarray(correct, np.float64)
    weight = np.broadcast_to(np.asarray(count, np.float64), rate.shape)
    seen = ~np.isnan(rate) & ~np.isnan(n)
    if not seen.any():
        raise UsageError("There is no graded answer with a prompt length.", param="outcomes")
    n, rate, weight = n[seen], rate[seen], weight[seen]
    values = np.unique(n)
    if len(values) > N_BANDS:
        edges = np.unique(np.quantile(n, np.linspace(0, 1, N_BANDS + 1)[1:-1]))
        band = np.searchsorted(edges, n, side="right")
    else:
        band = np.searchsorted(values, n)
    rows = [band == one for one in np.unique(band)]
    return ContextData.build(
        [np.average(n[row], weights=weight[row]) for row in rows],
        [np.average(rate[row], weights=weight[row]) for row in rows],
        count=[weight[row].sum() for row in rows],
        limit=limit,
    )


def isotonic(data: ContextData) -> Floats:
    """Knots [2, k] of the monotone curve within the limit, rising or falling, whichever fits better."""
    from sklearn.isotonic import IsotonicRegression

    data = _within(data)
    order = np.argsort(data.tokens)
    n, rate, weight = data.tokens[order], data.accuracy[order], data.count[order]
    both = [
        IsotonicRegression(increasing=rises).fit_transform(n, rate, sample_weight=weight)
        for rises in (True, False)
    ]
    return np.array([n, min(both, key=lambda fitted: float(weight @ (fitted - rate) ** 2))])


def _within(data: ContextData) -> ContextData:
    """What lies within the limit; everything where nothing does."""
    inside = data.tokens <= data.limit
    return data.take(inside) if inside.any() else data


def _level(data: ContextData) -> float:
    within = _within(data)
    return float(np.average(within.accuracy, weights=within.count))


def _held_out(data: ContextData, seed: int) -> tuple[dict[str, float], TrendKind]:
    """Mean absolute error of each kind on bands left out in turn, every fifth together; and the kind to keep.

    Under `CHOSEN`: that of the kind which the other four parts would keep. A kind's own error would flatter
    it, because it is kept for being small.
    """
    place = np.argsort(np.argsort(data.tokens)) % LEAST_HELD_LENGTHS
    miss: list[dict[str, Floats]] = [
        _missed(data.take(place != fold), data.take(place == fold), seed)
        for fold in range(LEAST_HELD_LENGTHS)
    ]
    kinds = [name for name in miss[0] if all(name in one for one in miss)]
    chosen = [one[_kept(miss[:fold] + miss[fold + 1 :], kinds)] for fold, one in enumerate(miss)]
    error = {name: float(_all(miss, name).mean()) for name in kinds}
    return error | {CHOSEN: float(np.concatenate(chosen).mean())}, _kept(miss, kinds)


def _kept(miss: Sequence[Mapping[str, Floats]], kinds: Sequence[str]) -> TrendKind:
    """The kind of least error; the law, which is carried on beyond the data, within one standard error."""
    best = min(kinds, key=lambda name: (float(_all(miss, name).mean()), name != "flat"))
    if "law" in kinds:
        worse = _all(miss, "law") - _all(miss, best)
        if worse.mean() <= worse.std(ddof=1) / np.sqrt(len(worse)):
            best = "law"
    return cast(TrendKind, best)


def _all(miss: Sequence[Mapping[str, Floats]], name: str) -> Floats:
    return np.concatenate([one[name] for one in miss])


def _missed(train: ContextData, test: ContextData, seed: int) -> dict[str, Floats]:
    """Absolute errors of each kind on some bands, fitted to the others."""
    inside = test.tokens <= test.limit
    curve = np.interp(test.tokens, *isotonic(train))
    forecast = {"isotonic": np.where(inside, curve, 0.0), "flat": np.where(inside, _level(train), 0.0)}
    try:
        found = fit_law(train, seed=seed, n_bootstrap=0, quick=True)
        forecast["law"] = found.predict(test.tokens, limit=test.limit)
    except UsageError:  # too few lengths within the limit
        pass
    return {name: np.abs(value - test.accuracy) for name, value in forecast.items()}
