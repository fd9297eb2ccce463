"""Batches at work."""
