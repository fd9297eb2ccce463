"""Lets requests in, or not: keys, rates, parallel requests, budgets, allowed candidates.

Rates and parallel requests are counted by each gateway for itself. Budgets are shared by gateways that write
to one ledger: each reads it every few seconds, so that together they may overshoot by what they spend in that
time and by what is still being answered.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from probes.errors import ConfigError
from router.decisions.decision import Decision
from serving.clock import Clock
from serving.flow.record import Exchange
from serving.http.errors import ApiError
from serving.http.protocol import Query
from serving.keys.bucket import Bucket
from serving.keys.budget import Spending, end_of
from serving.keys.file import parse_keys, read_keys
from serving.keys.key import Key, KeyRing, Lock
from serving.settings import KeySettings

logger = logging.getLogger("foresight.keys")

BURST_S = 10.0
"""A burst that a key does not state is what comes in this time."""
UNPAID = frozenset({"/v1/route", "/v1/feedback", "/v1/files"})
"""Requests that cost nothing and need no budget."""


@dataclass(frozen=True)
class Need:
    """What a request must show: any key, an operator's, or none."""

    key: bool
    operator: bool = False


class _Admitted:
    """Counts one request of a key among those that are being answered."""

    __slots__ = ("_key_id", "_parallel")

    def __init__(self, parallel: Counter[str], key_id: str) -> None:
        self._parallel = parallel
        self._key_id = key_id

    def __enter__(self) -> None:
        self._parallel[self._key_id] += 1

    def __exit__(self, *_: object) -> None:
        self._parallel[self._key_id] -= 1


class Guard:
    """Knows the keys and what they have used up; an `Observer`.

    Parameters
    ----------
    settings
        Where the keys are, and what needs one.
    folder
        Where a relative path of the key file begins.
    clock
        The time of day, for budgets.
    steady
        A clock that never goes back, for rates.

    Raises
    ------
    ConfigError
        The keys cannot be read.
    """

    def __init__(
        self,
        settings: KeySettings,
        folder: Path,
        clock: Clock | None = None,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._path = None if settings.file is None else folder / settings.file
        self._clock = clock or Clock()
        self._steady = steady
        self._stamp = self._stamped()
        self.ring = self._read()
        self._lock = Lock(self.ring.keys)
        self._buckets: dict[str, Bucket] = {}
        self._parallel: Counter[str] = Counter()
        self.spending = Spending(self._clock.now())

    def need(self, path: str) -> Need:
        """What a path asks for; health checks ask for nothing."""
        if path in ("/health", "/ready"):
            return Need(key=False)
        if path == "/metrics":
            return Need(key=self.settings.protect_metrics, operator=True)
        if path == "/dashboard" or path.startswith("/dashboard/"):
            return Need(key=self.settings.protect_dashboard, operator=True)
        return Need(key=True)

    def identify(self, presented: str | None, need: Need) -> Key:
        """Whose key it is.

        Raises
        ------
        ApiError
            401 for no key or a wrong one, 403 for one that may not do this.
        """
        scheme = {"www-authenticate": 'Basic realm="Foresight"' if need.operator else "Bearer"}
        if presented is None:
            message = "No API key was given. Send it as `Authorization: Bearer KEY`."
            raise ApiError(401, message, code="missing_api_key", headers=scheme)
        key = self._lock.open(presented)
        if key is None:
            raise ApiError(401, "The API key is not valid.", code="invalid_api_key", headers=scheme)
        if need.operator and not key.operator:
            raise ApiError(403, "This page needs an operator's key.", code="operator_required")
        return key

    def admitted(self, key: Key, path: str) -> _Admitted:
        """A request of this key that is being answered, for as long as the context lasts.

        Raises
        ------
        ApiError
            429 with `Retry-After`: too many requests, too many at once, or no money left.
        """
        if path not in UNPAID and not path.endswith("/cancel"):
            self._check_budget(key)
        if key.max_parallel is not None and self._parallel[key.id] >= key.max_parallel:
            message = f"This key may have {key.max_parallel} requests answered at the same time."
            raise ApiError(429, message, code="too_many_parallel_requests", headers={"retry-after": "1"})
        self._check_rate(key)
        return _Admitted(self._parallel, key.id)

    def check_budget(self, key_id: str) -> None:
        """For work that outlives its request: `ApiError` 429 if no money is left, 401 if the key is gone."""
        key = self.ring.get(key_id)
        if key is None:
            raise ApiError(401, "The API key of this work is not valid any more.", code="invalid_api_key")
        self._check_budget(key)

    def restrict(self, query: Query, key: Key, names: Sequence[str]) -> Query:
        """The query as this key may ask it: other candidates than its own are ruled out.

        Parameters
        ----------
        names
            The pool's candidates.

        Raises
        ------
        ApiError
            403 if it names a candidate that it may not ask.
        """
        if query.key_id != key.id:
            query = replace(query, key_id=key.id)
        if key.candidates is None:
            return query
        if query.model in names and query.model not in key.candidates:
            message = "This key may not ask this candidate. `auto` chooses among those that it may."
            raise ApiError(403, message, param="model", code="candidate_not_allowed")
        if not set(names) & set(key.candidates):
            message = "None of the candidates that this key may ask is in the pool."
            raise ApiError(403, message, param="model", code="candidate_not_allowed")
        others = tuple(name for name in names if name not in key.candidates)
        wishes = query.preferences
        excluded = tuple(dict.fromkeys((*wishes.exclude, *others)))
        return replace(query, preferences=wishes.model_copy(update={"exclude": excluded}))

    def decided(self, decision: Decision, seconds: float, query: Query) -> None:
        """Nothing to count yet."""

    def finished(self, exchange: Exchange) -> None:
        """Count what an answer has cost."""
        if exchange.key_id is not None and exchange.cost_usd is not None:
            self.spending.add(exchange.key_id, exchange.cost_usd, self._clock.now())

    def now_s(self) -> float:
        """Unix time by this guard's clock."""
        return self._clock.now()

    def reread(self) -> bool:
        """Read the key file again if it has changed; a file that is wrong leaves the old keys in force."""
        stamp = self._stamped()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            self.ring = self._read()
        except ConfigError as error:
            logger.error("the old keys stay in force: %s", error.message)
            return False
        self._lock = Lock(self.ring.keys)
        self._buckets.clear()
        return True

    def _check_budget(self, key: Key) -> None:
        now_s = self._clock.now()
        period = self.spending.exhausted(key, now_s)
        if period is not None:
            wait_s = max(1, round(end_of(period, now_s) - now_s))
            headers = {"retry-after": str(wait_s), "x-should-retry": "false"}
            message = f"The budget of this key for the {period} is used up. It begins anew in {wait_s} s."
            raise ApiError(429, message, code="insufficient_quota", headers=headers)

    def _check_rate(self, key: Key) -> None:
        if key.requests_per_minute is None:
            return
        per_s, now_s = key.requests_per_minute / 60, self._steady()
        bucket = self._buckets.get(key.id)
        if bucket is None:
            bucket = self._buckets[key.id] = Bucket(per_s, key.burst or max(1.0, BURST_S * per_s), now_s)
        wait_s = bucket.take(now_s)
        if wait_s:
            headers = {"retry-after": str(max(1, -int(-wait_s // 1)))}
            message = f"This key may send {key.requests_per_minute:g} requests a minute."
            raise ApiError(429, message, code="rate_limit_exceeded", headers=headers)

    def _read(self) -> KeyRing:
        if self._path is not None:
            return read_keys(self._path)
        name = str(self.settings.env)
        if name not in os.environ:
            message = f"The environment variable {name} is not set."
            raise ConfigError(message, param="serve.keys.env", hint="It holds what a key file would.")
        return parse_keys(os.environ[name], f"${name}")

    def _stamp_of(self, path: Path) -> tuple[int, int]:
        found = path.stat()
        return found.st_mtime_ns, found.st_ino

    def _stamped(self) -> tuple[int, int] | None:
        """What changes when the file does; None if there is none."""
        try:
            return None if self._path is None else self._stamp_of(self._path)
        except OSError:
            return None
