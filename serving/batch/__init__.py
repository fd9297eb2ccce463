"""Batch routing jobs: read lines, plan them together, run them once and for all."""
