"""Every published routing metric, each with its source, on one kind of curve.

A router is judged by its `Curve` (mean cost and accuracy as its knob moves) against the `Singles`, the
candidates each used alone, and by how well its success probabilities separate and calibrate.
"""
