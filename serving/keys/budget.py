"""What every key has spent today and this month (UTC), as far as this gateway knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

from serving.keys.key import Key

Period = Literal["day", "month"]
PERIODS: tuple[Period, ...] = ("day", "month")


def begin_of(period: Period, now_s: float) -> float:
    """Unix time at which the current day or month began."""
    now = datetime.fromtimestamp(now_s, UTC)
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return (start if period == "day" else start.replace(day=1)).timestamp()


def end_of(period: Period, now_s: float) -> float:
    """Unix time at which the current day or month ends."""
    begin = datetime.fromtimestamp(begin_of(period, now_s), UTC)
    if period == "day":
        return (begin + timedelta(days=1)).timestamp()
    return (begin + timedelta(days=32)).replace(day=1).timestamp()


@dataclass
class Account:
    """Spending of one period, in US dollars by key."""

    begin_s: float
    end_s: float
    usd: dict[str, float] = field(default_factory=dict)


class Spending:
    """Adds up what answers cost.

    Parameters
    ----------
    now_s
        Unix time.
    """

    def __init__(self, now_s: float) -> None:
        self._accounts = {period: _new_account(period, now_s) for period in PERIODS}

    def add(self, key_id: str, usd: float, now_s: float) -> None:
        """An answer to this key has cost so much."""
        for period in PERIODS:
            spent = self._account(period, now_s).usd
            spent[key_id] = spent.get(key_id, 0.0) + usd

    def exhausted(self, key: Key, now_s: float) -> Period | None:
        """The budget that this key has used up; None if it may go on."""
        for period, limit in (("day", key.usd_per_day), ("month", key.usd_per_month)):
            if limit is not None and self.spent(period, key.id, now_s) >= limit:  # type: ignore[arg-type]
                return period  # type: ignore[return-value]
        return None

    def spent(self, period: Period, key_id: str, now_s: float) -> float:
        """What this key has spent in the current period."""
        return self._account(period, now_s).usd.get(key_id, 0.0)

    def snapshot(self, period: Period, now_s: float) -> dict[str, float]:
        """All that is known now, to be handed to `reconcile` with what the ledger says."""
        return dict(self._account(period, now_s).usd)

    def reconcile(
        self, period: Period, before: Mapping[str, float], ledger: Mapping[str, float], now_s: float
    ) -> None:
        """Take over what the ledger knows (other gateways write to it, too).

        Parameters
        ----------
        before
            The snapshot that was taken before the ledger was asked.
        ledger
            Spending since the period began, by key. What was dropped on its way there is not forgotten: a
            total never falls.
        """
        usd = self._account(period, now_s).usd
        for key_id, written in ledger.items():
            known = usd.get(key_id, 0.0)
            usd[key_id] = max(known, written + known - before.get(key_id, 0.0))

    def _account(self, period: Period, now_s: float) -> Account:
        account = self._accounts[period]
        if now_s >= account.end_s:
            account = self._accounts[period] = _new_account(period, now_s)
        return account


def _new_account(period: Period, now_s: float) -> Account:
    return Account(begin_of(period, now_s), end_of(period, now_s))
