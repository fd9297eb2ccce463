"""Commands that answer queries, and those who watch over it."""
