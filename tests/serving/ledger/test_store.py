"""What is written is what is read, on both databases; writing again changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from probes.errors import ConfigError
from serving.ledger.database import Database, ledger_url, open_ledger
from serving.ledger.reading import decisions, money
from serving.ledger.reading.window import Window
from serving.ledger.schema import METADATA
from serving.ledger.store import PRUNE_AT_ONCE, Store
from tests.serving.ledger.postgres import PostgresServer
from tests.serving.ledger.rows import NOW_S, decided, decision, exchange, failures, finished, rated

ALL = Window(0, 4e9)


def test_the_migrations_build_the_tables_that_the_code_knows(database: Database) -> None:
    database.migrate()
    database.migrate()
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "ledger_version"})
        assert compare_metadata(context, METADATA) == []


def test_a_decision_is_read_as_it_was_made(store: Store) -> None:
    chosen = decision(novel=True, ineligible={"huge": "no tools"}, reason="odd \0 text ≥ 0.8")
    found = exchange(chosen, candidate="large", failures=failures("timeout"), status=200, key_id="team")
    prompt = '[{"role": "user", "content": "hi"}]'
    store.write([decided(chosen, key_id="team", prompt=prompt), finished(found)])
    rating = rated(chosen.id, 0.5, "team", comment="so \0 so")
    store.write([rating])

    assert rating.done.result(0) is True
    row = decisions.decision(store.database, chosen.id)
    assert row is not None
    assert row == decisions.recent(store.database)[0]
    assert (row.id, row.candidate, row.served_by) == (chosen.id, "small", "large")
    assert row.predicted["success"] == chosen.success
    assert row.predicted["ranking"] == ["small", "large"]
    assert row.predicted["ineligible"] == {"huge": "no tools"}
    assert (row.reason, row.comment) == ("odd  text ≥ 0.8", "so  so")
    assert row.failures == [{"candidate": "small", "kind": "timeout"}]
    assert (row.input_tokens, row.output_tokens, row.cost_usd) == (12, 10, 3.2e-5)
    assert (row.novel, row.key_id, row.correct) == (True, "team", 0.5)
    assert row.prompt == [{"role": "user", "content": "hi"}]
    assert decisions.decision(store.database, "dec-unknown") is None


def test_a_database_that_knows_no_encoding_keeps_text_all_the_same(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    """As `initdb` makes one where no locale is set."""
    server = Database(ledger_url(postgres.url, tmp_path))
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE plain ENCODING SQL_ASCII LOCALE 'C' TEMPLATE template0"))
    server.close()

    database = Database(ledger_url(postgres.url.replace("/postgres", "/plain"), tmp_path))
    chosen = decision(reason="odd ≥ 0.8")
    Store(database).write([decided(chosen)])
    row = decisions.decision(database, chosen.id)
    database.close()

    assert row is not None
    assert row.reason == "odd ≥ 0.8"


def test_writing_a_batch_again_changes_nothing(store: Store) -> None:
    chosen = decision()
    batch = [decided(chosen), finished(exchange(chosen))]
    store.write(batch)
    once = money.totals(store.database, ALL)
    store.write(batch)

    assert money.totals(store.database, ALL) == once
    assert once.requests == once.decisions == 1


def test_the_last_word_of_feedback_counts(store: Store) -> None:
    chosen = decision()
    first, last = rated(chosen.id, 0.0), rated(chosen.id, 1.0, comment="now right")
    store.write([first, decided(chosen), last])  # of one batch: the decision comes first

    assert first.done.result(0) is last.done.result(0) is True
    row = decisions.decision(store.database, chosen.id)
    assert row is not None
    assert (row.correct, row.comment) == (1.0, "now right")
    assert money.totals(store.database, ALL).rated == 1


@pytest.mark.parametrize(
    ("owner", "rater", "allowed"),
    [
        (None, None, True),
        ("a", "a", True),
        ("a", "b", False),
        ("a", None, False),
        (None, "a", False),
    ],
)
def test_only_who_asked_may_rate(store: Store, owner: str | None, rater: str | None, allowed: bool) -> None:
    chosen = decision()
    rating, unknown = rated(chosen.id, 1.0, rater), rated("dec-unknown", 1.0, rater)
    store.write([decided(chosen, key_id=owner), rating, unknown])

    assert rating.done.result(0) is allowed
    assert unknown.done.result(0) is False


def test_a_number_that_is_none_does_not_spoil_a_row(store: Store) -> None:
    chosen = decision(success={"small": float("nan"), "large": 0.9}, novelty=float("inf"))
    store.write([decided(chosen), finished(exchange(chosen, cost_usd=float("nan")))])

    row = decisions.decision(store.database, chosen.id)
    assert row is not None
    assert row.predicted["success"] == {"small": None, "large": 0.9}
    assert (row.novelty, row.cost_usd) == (None, None)


def test_spending_is_summed_by_key_from_a_moment_on(store: Store) -> None:
    for key_id, usd, at_s in [
        ("a", 1.0, 0),
        ("a", 2.0, 10),
        ("b", 4.0, 11),
        (None, 8.0, 12),
        ("a", None, 13),
    ]:
        chosen = decision()
        store.write([decided(chosen), finished(exchange(chosen, key_id=key_id, cost_usd=usd), NOW_S + at_s)])

    assert store.spent_usd(NOW_S + 10) == {"a": 2.0, "b": 4.0}
    assert store.spent_usd(NOW_S) == {"a": 3.0, "b": 4.0}


def test_pruning_removes_all_that_belongs_to_old_decisions(store: Store) -> None:
    old = [decision() for _ in range(PRUNE_AT_ONCE + 3)]
    young = decision()
    entries: list[Any] = [decided(chosen, NOW_S - 1) for chosen in old] + [decided(young, NOW_S)]
    for chosen in (*old, young):
        entries += [finished(exchange(chosen)), rated(chosen.id)]
    store.write(entries)

    assert store.prune(NOW_S) == len(old)
    assert store.prune(NOW_S) == 0
    left = money.totals(store.database, ALL)
    assert (left.decisions, left.requests, left.rated) == (1, 1, 1)


@pytest.mark.parametrize(
    "url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:", "postgresql://h:port/x", ""]
)
def test_an_address_that_cannot_be_used_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        ledger_url(url, tmp_path)
    assert caught.value.param == "ledger.url"


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    database = Database(ledger_url("postgres://me:secret@127.0.0.1:1/x", tmp_path))
    assert "secret" not in database.shown
    assert database.url.drivername == "postgresql+psycopg"


def test_a_ledger_of_a_newer_foresight_is_left_alone(store: Store) -> None:
    store.prepare()
    with store.database.writing() as connection:
        connection.execute(text("UPDATE ledger_version SET version_num = '9999'"))

    with pytest.raises(ConfigError, match="newer Foresight"):
        Store(store.database).prepare()


def test_readers_need_a_ledger_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no ledger"):
        open_ledger("nowhere.db", tmp_path)
    (tmp_path / "text.db").write_text("this is no database, and long enough to tell " * 50)
    with pytest.raises(ConfigError, match="is no ledger"):
        open_ledger("text.db", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.db"]


def test_what_a_thread_still_holds_at_the_close_is_closed_when_it_comes_back(database: Database) -> None:
    with database.reading() as connection:
        connection.execute(text("SELECT 1"))
        held = connection.connection.dbapi_connection
        database.close()
        assert connection.execute(text("SELECT 2")).scalar() == 2
    assert held is not None
    with pytest.raises(Exception, match="closed"):
        held.cursor().execute("SELECT 3")
    with database.reading() as connection:
        assert connection.execute(text("SELECT 4")).scalar() == 4
