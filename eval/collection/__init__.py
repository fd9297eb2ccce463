"""Asking a pool questions, resumably, and keeping what it answered."""
