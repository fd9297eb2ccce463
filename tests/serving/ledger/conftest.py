"""The same ledger in a file and in a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from serving.ledger.database import Database, ledger_url
from serving.ledger.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty ledger."""
    if request.param == "sqlite":
        url = "ledger.db"
    else:
        url = request.getfixturevalue("postgres").url
    database = Database(ledger_url(url, tmp_path))
    if request.param == "postgresql":
        with database.writing() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> Store:
    """The ledger, to be written to."""
    return Store(database)
