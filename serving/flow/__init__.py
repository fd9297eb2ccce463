"""A query's way through the gateway: decided, sent, passed on, explained, recorded."""
