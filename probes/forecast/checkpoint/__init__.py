"""A checkpoint's success from its own activations (paper B)."""
