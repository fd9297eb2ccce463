"""The first tables: decisions, exchanges, feedback."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Double, Integer, String, Text

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "decisions",
        Column("id", String(64), primary_key=True),
        Column("decided_s", Double, nullable=False),
        Column("took_s", Double, nullable=False),
        Column("request_id", String(128), nullable=False),
        Column("endpoint", String(32), nullable=False),
        Column("key_id", String(64)),
        Column("router", String(64), nullable=False),
        Column("policy", String(128), nullable=False),
        Column("candidate", String(128), nullable=False),
        Column("reason", Text, nullable=False),
        Column("propensity", Double),
        Column("novelty", Double),
        Column("novel", Boolean, nullable=False),
        Column("scout_cost_usd", Double, nullable=False),
        Column("input_tokens", BigInteger, nullable=False),
        Column("predicted", Text, nullable=False),
        Column("prompt", Text),
    )
    op.create_index("decisions_by_time", "decisions", ["decided_s"])
    op.create_table(
        "exchanges",
        Column("decision_id", String(64), primary_key=True),
        Column("ended_s", Double, nullable=False),
        Column("minute", BigInteger, nullable=False),
        Column("endpoint", String(32), nullable=False),
        Column("key_id", String(64)),
        Column("policy", String(128), nullable=False),
        Column("candidate", String(128)),
        Column("finish", String(16), nullable=False),
        Column("status", Integer, nullable=False),
        Column("input_tokens", BigInteger),
        Column("output_tokens", BigInteger),
        Column("tokens_exact", Boolean),
        Column("cost_usd", Double),
        Column("scout_cost_usd", Double, nullable=False),
        Column("success", Double),
        Column("expected_cost_usd", Double),
        Column("reference", String(128)),
        Column("reference_expected_usd", Double),
        Column("reference_actual_usd", Double),
        Column("novel", Boolean, nullable=False),
        Column("first_byte_s", Double),
        Column("total_s", Double, nullable=False),
        Column("failures", Text, nullable=False),
    )
    op.create_index("exchanges_by_time", "exchanges", ["ended_s"])
    op.create_index("exchanges_by_key", "exchanges", ["key_id", "ended_s"])
    op.create_table(
        "feedback",
        Column("decision_id", String(64), primary_key=True),
        Column("given_s", Double, nullable=False),
        Column("correct", Double, nullable=False),
        Column("comment", Text),
    )
    op.create_index("feedback_by_time", "feedback", ["given_s"])


def downgrade() -> None:
    """Drop them, with all that they hold."""
    for name in ("feedback", "exchanges", "decisions"):
        op.drop_table(name)
