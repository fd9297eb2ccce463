"""Commands that turn answers into a router, and keep it up to date."""
