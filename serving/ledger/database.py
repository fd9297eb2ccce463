"""Where a ledger is kept: a SQLite file, or a PostgreSQL server, by one URL."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, SQLAlchemyError

from probes.errors import BackendError, ConfigError, MissingExtraError

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK = 0x466F7265
"""Key of the advisory lock under which PostgreSQL's tables are made ("Fore")."""
WAIT_S = 5
"""Longest wait for a connection, or for another process that writes to the same file."""
_MIGRATING = threading.Lock()
"""Alembic keeps what it is doing in its module, once a process."""
_SCHEME = re.compile(r"[a-z][a-z0-9+]*://")


def ledger_url(text: str, folder: Path) -> URL:
    """The database that a setting or an argument names: a URL, or the path of a SQLite file.

    Parameters
    ----------
    text
        ``postgresql://user:password@host/name``, ``sqlite:///file``, or a path.
    folder
        Relative paths are taken from here.

    Raises
    ------
    ConfigError
        It names another kind of database, or none.
    """
    hint = "Give the path of a SQLite file, or postgresql://user:password@host/name."
    try:
        url = make_url(text if _SCHEME.match(text) else f"sqlite:///{text}")
    except (ArgumentError, ValueError) as error:
        raise ConfigError("The ledger's URL cannot be read.", param="ledger.url", hint=hint) from error
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        message = f"A ledger cannot be kept in {url.get_backend_name()!r}."
        raise ConfigError(message, param="ledger.url", hint=hint)
    if url.database in (None, "", ":memory:"):
        raise ConfigError("A ledger in memory would not outlive the gateway.", param="ledger.url", hint=hint)
    return url.set(drivername="sqlite", database=str(folder / Path(url.database).expanduser()))


class Database:
    """A ledger's tables, and connections to them.

    Parameters
    ----------
    url
        As `ledger_url` gives it.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url)

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def shown(self) -> str:
        """Its place for people, without the password."""
        return str(self.url.database) if self.is_sqlite else self.url.render_as_string(hide_password=True)

    def migrate(self) -> None:
        """Make the tables, or bring older ones up to date.

        Raises
        ------
        ConfigError
            A newer Foresight has written to it.
        SQLAlchemyError
            The database does not answer, or refuses.
        """
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with _MIGRATING, self.writing() as connection:
            if not self.is_sqlite:  # two gateways that start at the same time
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise ConfigError(
                    f"The ledger {self.shown} was written by a newer Foresight ({error}).",
                    param="ledger.url",
                    hint="Update Foresight, or name another ledger.",
                ) from error

    def require(self) -> None:
        """For readers: the ledger must be there already, and is brought up to date.

        Raises
        ------
        ConfigError
            There is no such file, or it is no ledger.
        BackendError
            The server does not answer.
        """
        if self.is_sqlite and not Path(str(self.url.database)).is_file():
            hint = "foresight serve writes one; its start-up lines say where."
            raise ConfigError(f"There is no ledger {self.shown}.", param="ledger", hint=hint)
        try:
            self.migrate()
        except DatabaseError as error:
            raise _told(error, self.shown) from error

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that will write; committed at the end, rolled back on any error."""
        with (
            self.engine.connect().execution_options(begin="BEGIN IMMEDIATE") as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads: all that is read in it is of one moment."""
        with self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    def insert(self, table: Table) -> Any:
        """An INSERT of this dialect, which knows what to do about rows that are there already."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def insert_new(self, table: Table) -> str:
        """An INSERT that passes over rows that are there already, in the driver's own words.

        It takes the values of all columns in the table's order, and is compiled once: compiling for every
        row, or finding values by their names, costs as much as writing the row.
        """
        kind: Any = type(self.engine.dialect)
        positional = kind(paramstyle="qmark" if self.is_sqlite else "format")
        return str(self.insert(table).on_conflict_do_nothing().compile(dialect=positional))

    def close(self) -> None:
        """Close every connection, those that threads still hold as soon as they give them back.

        The object may be used again.
        """
        pool = self.engine.pool
        self.engine.dispose()
        event.listen(pool, "checkin", lambda _, record: record.invalidate())
        pool.dispose()  # what came back in between


def open_ledger(text: str, folder: Path | None = None) -> Database:
    """A ledger that must exist, to read from; relative paths are taken from the working directory.

    Raises
    ------
    ConfigError
        The name is wrong, or there is no ledger.
    BackendError
        The server does not answer.
    """
    database = Database(ledger_url(text, folder or Path.cwd()))
    database.require()
    return database


def _told(error: SQLAlchemyError, place: str) -> ConfigError | BackendError:
    cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0][:200]
    if "not a database" in cause:
        return ConfigError(f"{place} is no ledger: {cause}.", param="ledger")
    return BackendError(f"The ledger {place} cannot be read: {cause}.", param="ledger", hint="Is it running?")


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, paramstyle="named", connect_args={"timeout": WAIT_S}, hide_parameters=True)

    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 4000"):
            connection.execute(f"PRAGMA {pragma}").close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begin)
    return engine


def _postgres_engine(url: URL) -> Engine:
    options = {
        "connect_timeout": WAIT_S,
        "tcp_user_timeout": 2 * WAIT_S * 1000,
        "options": "-c statement_timeout=60s -c lock_timeout=10s",
        "application_name": "foresight",
        "client_encoding": "utf8",  # text comes as bytes from a database without an encoding otherwise
    }
    try:
        return create_engine(url, connect_args=options, pool_pre_ping=True, hide_parameters=True)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "A ledger in PostgreSQL needs psycopg.", hint='pip install "foresight-router[postgres]"'
        ) from error
