"""What a ledger tells: money, traffic, decisions, and how well the probes foresaw."""
