"""The ledger: every decision, what became of it, what it cost, and what people say of the answer."""
