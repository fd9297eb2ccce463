"""Rows in, rows out: everything that changes the ledger's tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from sqlalchemy import Connection, delete, func, select

from serving.ledger.database import Database
from serving.ledger.entries import Decided, Entry, Finished, Rated
from serving.ledger.schema import decisions, exchanges, feedback

PRUNE_AT_ONCE = 2000
"""Decisions that one transaction removes, so that writers never wait long."""
DAY_S = 86_400.0


class Store:
    """A ledger that is written to.

    Parameters
    ----------
    database
        Where; its tables are made when they are first needed.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._prepared = False
        self._new_decision = database.insert_new(decisions)
        self._new_exchange = database.insert_new(exchanges)
        self._of_decision = itemgetter(*decisions.columns.keys())
        self._of_exchange = itemgetter(*exchanges.columns.keys())
        rated = database.insert(feedback)
        changed = {name: rated.excluded[name] for name in ("given_s", "correct", "comment")}
        self._rating = rated.on_conflict_do_update(index_elements=["decision_id"], set_=changed)

    def prepare(self) -> None:
        """Make the tables.

        Raises
        ------
        ConfigError
            A newer Foresight has written to them.
        SQLAlchemyError
            The database does not answer.
        """
        if not self._prepared:
            self.database.migrate()
            self._prepared = True

    def write(self, entries: Sequence[Entry]) -> None:
        """Write entries in one transaction: all of them, or none. Writing them again changes nothing.

        Raises
        ------
        SQLAlchemyError
            The database does not answer, or refuses.
        """
        self.prepare()
        chosen = [self._of_decision(entry.row()) for entry in entries if isinstance(entry, Decided)]
        ended = [self._of_exchange(entry.row()) for entry in entries if isinstance(entry, Finished)]
        ratings = [entry for entry in entries if isinstance(entry, Rated) and not entry.done.cancelled()]
        with self.database.writing() as connection:
            if chosen:
                connection.exec_driver_sql(self._new_decision, chosen)
            if ended:
                connection.exec_driver_sql(self._new_exchange, ended)
            known = self._owners(connection, [rating.decision_id for rating in ratings])
            valid = [r for r in ratings if known.get(r.decision_id, r) == r.key_id]
            if rows := {rating.decision_id: rating.row() for rating in valid}:
                connection.execute(self._rating, list(rows.values()))
        for rating in ratings:  # not before the commit
            if rating.done.set_running_or_notify_cancel():
                rating.done.set_result(rating in valid)

    def _owners(self, connection: Connection, ids: Sequence[str]) -> dict[str, str | None]:
        """Key of each decision that there is."""
        if not ids:
            return {}
        found = connection.execute(select(decisions.c.id, decisions.c.key_id).where(decisions.c.id.in_(ids)))
        return {row.id: row.key_id for row in found}

    def spent_usd(self, since_s: float) -> Mapping[str, float]:
        """What every key's answers have cost since this Unix time, in US dollars."""
        self.prepare()
        cost = func.sum(exchanges.c.cost_usd)
        statement = (
            select(exchanges.c.key_id, cost)
            .where(exchanges.c.ended_s >= since_s, exchanges.c.key_id.is_not(None))
            .group_by(exchanges.c.key_id)
        )
        with self.database.reading() as connection:
            return {key_id: float(usd or 0.0) for key_id, usd in connection.execute(statement)}

    def spent_by(self, policy: str, since_s: float) -> tuple[float, int]:
        """US dollars and requests of one policy since this Unix time, the scout's reading included."""
        self.prepare()
        ended = exchanges.c
        cost = func.sum(func.coalesce(ended.cost_usd, 0.0) + ended.scout_cost_usd)
        statement = select(cost, func.count()).where(ended.ended_s >= since_s, ended.policy == policy)
        with self.database.reading() as connection:
            usd, queries = connection.execute(statement).one()
        return float(usd or 0.0), int(queries)

    def prune(self, before_s: float) -> int:
        """Remove decisions made before this Unix time, and all that belongs to them; returns how many."""
        self.prepare()
        oldest = (
            select(decisions.c.id)
            .where(decisions.c.decided_s < before_s)
            .order_by(decisions.c.decided_s)
            .limit(PRUNE_AT_ONCE)
        )
        removed = 0
        while True:
            with self.database.writing() as connection:
                ids = list(connection.execute(oldest).scalars())
                self._remove(connection, ids)
            removed += len(ids)
            if len(ids) < PRUNE_AT_ONCE:
                return removed

    def _remove(self, connection: Connection, ids: Iterable[str]) -> None:
        connection.execute(delete(feedback).where(feedback.c.decision_id.in_(ids)))
        connection.execute(delete(exchanges).where(exchanges.c.decision_id.in_(ids)))
        connection.execute(delete(decisions).where(decisions.c.id.in_(ids)))
