"""Encoders: one module for each way of reading a scout's activations."""
