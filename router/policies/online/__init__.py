"""Policies that a stream of queries needs: money by the day, and chance on record."""
