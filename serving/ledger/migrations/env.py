"""Run by Alembic; the connection, and the transaction that it is in, come from `serving.ledger.database`."""

from __future__ import annotations

from alembic import context

from serving.ledger.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table="ledger_version",
)
context.run_migrations()
