"""Candidates that a bank was not fitted on: which questions to ask them, and what few answers say."""
