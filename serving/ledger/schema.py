"""The tables. What is here must equal what the migrations build; a test compares them.

Times are Unix seconds (UTC), money is US dollars. Rows of `decisions` and `exchanges` are written once and
never changed, so a batch whose commit was in doubt can simply be written again.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

decisions = Table(
    "decisions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("decided_s", Double, nullable=False),
    Column("took_s", Double, nullable=False),  # the scout's reading included
    Column("request_id", String(128), nullable=False),
    Column("endpoint", String(32), nullable=False),
    Column("key_id", String(64)),
    Column("router", String(64), nullable=False),  # which fit made the probabilities
    Column("policy", String(128), nullable=False),
    Column("candidate", String(128), nullable=False),
    Column("reason", Text, nullable=False),
    Column("propensity", Double),  # probability of this very choice, where a policy draws
    Column("novelty", Double),
    Column("novel", Boolean, nullable=False),
    Column("scout_cost_usd", Double, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("predicted", Text, nullable=False),  # JSON: what is known of every candidate
    Column("prompt", Text),  # JSON, only where the operator asks for it
    Index("decisions_by_time", "decided_s"),
)
"""What the router chose."""

exchanges = Table(
    "exchanges",
    METADATA,
    Column("decision_id", String(64), primary_key=True),
    Column("ended_s", Double, nullable=False),
    Column("minute", BigInteger, nullable=False),  # of `ended_s`, since 1970
    Column("endpoint", String(32), nullable=False),
    Column("key_id", String(64)),
    Column("policy", String(128), nullable=False),
    Column("candidate", String(128)),  # who answered
    Column("finish", String(16), nullable=False),
    Column("status", Integer, nullable=False),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("tokens_exact", Boolean),
    Column("cost_usd", Double),
    Column("scout_cost_usd", Double, nullable=False),
    Column("success", Double),  # predicted for who answered
    Column("expected_cost_usd", Double),  # predicted for who answered
    Column("reference", String(128)),  # who would always answer if nobody routed
    Column("reference_expected_usd", Double),  # its cost, at the tokens expected of it
    Column("reference_actual_usd", Double),  # its cost, at the tokens that were used
    Column("novel", Boolean, nullable=False),
    Column("first_byte_s", Double),
    Column("total_s", Double, nullable=False),
    Column("failures", Text, nullable=False),  # JSON
    Index("exchanges_by_time", "ended_s"),
    Index("exchanges_by_key", "key_id", "ended_s"),
)
"""What became of the decisions that were to be answered."""

feedback = Table(
    "feedback",
    METADATA,
    Column("decision_id", String(64), primary_key=True),
    Column("given_s", Double, nullable=False),
    Column("correct", Double, nullable=False),
    Column("comment", Text),
    Index("feedback_by_time", "given_s"),
)
"""How good the answers were."""
