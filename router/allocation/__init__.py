"""One decision for a whole job: who answers which of its lines, for one budget or one floor of accuracy.

Import the modules; this package itself loads nothing, so that policies may use the multiplier.
"""
