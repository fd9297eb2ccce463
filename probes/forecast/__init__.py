"""Forecasts: what a model will be able to do, before anybody pays to let it generate.

``transfer`` and ``powered`` read a checkpoint's own activations; ``proxies`` and ``ranking`` its token
probabilities on expert solutions; ``curve`` extrapolates over training; ``context`` over prompt lengths.
"""
