"""Foresight's evaluation: graded outcomes, metrics, baselines, the harness and its report.

Import names from the modules (``from eval.outcomes import Outcomes``); never ``import eval``, which would
hide the builtin of that name.
"""
