"""Plots as self-contained SVG."""
