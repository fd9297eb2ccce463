"""Models, and what they answer and read: what forecasts are tried on."""
